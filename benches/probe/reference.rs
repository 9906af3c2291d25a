//! The network, its gradient and Adam in f64, in plain loops: what backends are compared with.

/// A multilayer perceptron with relu, under training by Adam.
pub(crate) struct Reference {
    layers: Vec<Layer>,
    step: i32,
}

struct Layer {
    outputs: usize,
    /// `[inputs, outputs]`, then the bias.
    numbers: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
}

/// Of the default run.
const RATE: f64 = 1e-3;
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-7;

impl Reference {
    /// Of weights `[outputs, inputs]` and biases, layer by layer.
    pub(crate) fn new(layers: impl Iterator<Item = (Vec<f32>, Vec<f32>)>) -> Self {
        let layers = layers.map(|(weight, bias)| {
            let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
            let mut numbers = Vec::with_capacity(weight.len() + outputs);
            for i in 0..inputs {
                numbers.extend((0..outputs).map(|o| f64::from(weight[o * inputs + i])));
            }
            numbers.extend(bias.into_iter().map(f64::from));
            let zeros = vec![0.0; numbers.len()];
            Layer { outputs, numbers, mean: zeros.clone(), square: zeros }
        });
        Self { layers: layers.collect(), step: 0 }
    }

    /// The values of every layer for one row, from the input to the logits.
    fn values(&self, input: &[f64]) -> Vec<Vec<f64>> {
        let mut values = vec![input.to_vec()];
        for (i, layer) in self.layers.iter().enumerate() {
            let x = &values[i];
            let (weights, bias) = layer.numbers.split_at(x.len() * layer.outputs);
            let mut y = bias.to_vec();
            for (&x, weights) in x.iter().zip(weights.chunks_exact(layer.outputs)) {
                if x != 0.0 {
                    y.iter_mut().zip(weights).for_each(|(y, &w)| *y += x * w);
                }
            }
            if i + 1 < self.layers.len() {
                y.iter_mut().for_each(|y| *y = y.max(0.0));
            }
            values.push(y);
        }
        values
    }

    /// The logits of one row.
    pub(crate) fn logits(&self, input: &[f64]) -> Vec<f64> {
        self.values(input).pop().unwrap_or_default()
    }

    /// One step of Adam on the mean cross-entropy of some rows.
    pub(crate) fn train(&mut self, inputs: &[Vec<f64>], classes: &[usize]) {
        let mut gradients: Vec<Vec<f64>> =
            self.layers.iter().map(|layer| vec![0.0; layer.numbers.len()]).collect();
        for (input, &class) in inputs.iter().zip(classes) {
            let values = self.values(input);
            let mut by_y = probabilities(&values[self.layers.len()]);
            by_y[class] -= 1.0;
            by_y.iter_mut().for_each(|g| *g /= inputs.len() as f64);
            for (i, layer) in self.layers.iter().enumerate().rev() {
                let x = &values[i];
                let mut by_x = vec![0.0; x.len()];
                let weights = x.len() * layer.outputs;
                for (j, &x) in x.iter().enumerate() {
                    let row = j * layer.outputs..(j + 1) * layer.outputs;
                    let gradient = &mut gradients[i][row.clone()];
                    for ((g, &w), &d) in gradient.iter_mut().zip(&layer.numbers[row]).zip(&by_y) {
                        *g += x * d;
                        by_x[j] += w * d;
                    }
                    // The derivative of relu: 0 where its output is.
                    if x <= 0.0 {
                        by_x[j] = 0.0;
                    }
                }
                gradients[i][weights..].iter_mut().zip(&by_y).for_each(|(g, d)| *g += d);
                by_y = by_x;
            }
        }
        self.step += 1;
        let corrections = BETAS.map(|beta| 1.0 - beta.powi(self.step));
        for (layer, gradient) in self.layers.iter_mut().zip(&gradients) {
            for (i, &g) in gradient.iter().enumerate() {
                layer.mean[i] = BETAS[0] * layer.mean[i] + (1.0 - BETAS[0]) * g;
                layer.square[i] = BETAS[1] * layer.square[i] + (1.0 - BETAS[1]) * g * g;
                let root = (layer.square[i] / corrections[1]).sqrt() + EPSILON;
                layer.numbers[i] -= RATE * layer.mean[i] / corrections[0] / root;
            }
        }
    }
}

/// `softmax(z)`.
fn probabilities(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|z| (z - most).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// The mean of `-log softmax(z)[class]` over rows.
pub(crate) fn loss(logits: &[Vec<f64>], classes: &[usize]) -> f64 {
    let losses = logits.iter().zip(classes).map(|(z, &class)| {
        let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + z.iter().map(|z| (z - most).exp()).sum::<f64>().ln() - z[class]
    });
    losses.sum::<f64>() / classes.len() as f64
}
