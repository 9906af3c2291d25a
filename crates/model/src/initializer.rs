//! Initial weights, drawn on the host so that every backend starts from the same bits.

use chacha20::ChaCha8Rng;

use crate::rng::{Purpose, generator, normal, uniform};
use crate::{
    AdapterSide, Architecture, FrontParameter, FrontPart, NormPart, ParameterPath, Parametrization,
    named_enum,
};

named_enum! {
    /// The distribution of the initial weights of a layer.
    ///
    /// `inputs` and `outputs` are the widths on either side of the layer.
    /// A uniform distribution is `U(-l, l)`; a normal one is not truncated.
    #[derive(Default)]
    pub enum Initializer as "initializer" {
        /// Uniform with variance `2 / (inputs + outputs)` (Glorot and Bengio 2010); Keras' default.
        #[default]
        GlorotUniform = "glorot-uniform",
        /// Normal with variance `2 / (inputs + outputs)`.
        GlorotNormal = "glorot-normal",
        /// Uniform with variance `2 / inputs` (He et al. 2015), for ReLU and its kin.
        HeUniform = "he-uniform",
        /// Normal with variance `2 / inputs`.
        HeNormal = "he-normal",
        /// Uniform with variance `1 / inputs` (LeCun et al. 1998).
        LecunUniform = "lecun-uniform",
        /// Normal with variance `1 / inputs`; what SELU assumes.
        LecunNormal = "lecun-normal",
        /// A random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014).
        Orthogonal = "orthogonal",
    }
}

named_enum! {
    /// The distribution of the initial biases of linear layers.
    #[derive(Default)]
    pub enum BiasInitializer as "initializer of biases" {
        /// All zero.
        #[default]
        Zeros = "zeros",
        /// Standard normal.
        Normal = "normal",
    }
}

/// The values that a parameter of a new network begins with, drawn from `seed` where they are drawn;
/// a matrix that rows are multiplied with is `[inputs, outputs]`, row by row, and all else as in a
/// file.
///
/// Weights have the distribution of the network's [`Initializer`], for each member of an ensemble by
/// itself. Shifts are zero, scales one. The `A` of an adapter is uniform in `±1 / sqrt(inputs)`, as
/// PEFT has it, and its `B` zero.
pub fn initial_values(architecture: &Architecture, seed: u64, path: ParameterPath) -> Vec<f32> {
    let layer = path.layer();
    let [inputs, outputs] = architecture.sizes(layer);
    let norm_width = architecture.norm_width(layer).unwrap_or_default();
    let rank = architecture.lora.as_ref().map_or(0, |lora| lora.rank);
    match path {
        ParameterPath::Weight(_) => initial_weights(architecture, seed, layer),
        ParameterPath::Bias(_) => initial_biases(architecture, seed, layer),
        ParameterPath::Norm(_, NormPart::Weight | NormPart::RunningVar) => vec![1.0; norm_width],
        ParameterPath::Norm(_, NormPart::Bias | NormPart::RunningMean) => vec![0.0; norm_width],
        ParameterPath::Adapter(_, AdapterSide::A) => {
            let mut rng = generator(seed, Purpose::Adapters, layer as u64);
            let limit = 1.0 / (inputs as f64).sqrt();
            within(limit, inputs * rank, &mut rng)
        }
        ParameterPath::Adapter(_, AdapterSide::B) => vec![0.0; rank * outputs],
        ParameterPath::Activation(_) => vec![1.0; outputs],
        ParameterPath::Scaling => vec![1.0; inputs],
        ParameterPath::Members => {
            let mut rng = generator(seed, Purpose::Members, 0);
            let count = architecture.members() * inputs;
            (0..count).map(|_| if uniform(&mut rng) < 0.5 { -1.0 } else { 1.0 }).collect()
        }
        ParameterPath::Front(part, parameter) => {
            let part = architecture.front.get(part).map(|found| (part as u64, found));
            part.map_or_else(Vec::new, |part| initial_front(part, parameter, seed))
        }
    }
}

fn initial_weights(architecture: &Architecture, seed: u64, layer: usize) -> Vec<f32> {
    let [inputs, outputs] = architecture.sizes(layer);
    if layer == architecture.hidden.len() && architecture.zero_output {
        return vec![0.0; inputs * outputs];
    }
    let mut rng = generator(seed, Purpose::Weights, layer as u64);
    // The inputs are divided by the root of their number, whose variance the weights give back.
    let factor = match architecture.parametrization {
        Parametrization::Standard => 1.0,
        Parametrization::Ntk => (inputs as f64).sqrt() as f32,
    };
    let mut draw = |outputs| {
        let mut weights = architecture.initializer.weights(inputs, outputs, &mut rng);
        weights.iter_mut().for_each(|weight| *weight *= factor);
        weights
    };
    if layer < architecture.hidden.len() || architecture.ensemble.is_none() {
        return draw(outputs);
    }
    let members: Vec<Vec<f32>> =
        (0..architecture.members()).map(|_| draw(architecture.outputs)).collect();
    let rows = (0..inputs).map(|input| input * architecture.outputs);
    let rows = rows.map(|start| start..start + architecture.outputs);
    rows.flat_map(|row| members.iter().flat_map(move |member| &member[row.clone()]))
        .copied()
        .collect()
}

fn initial_biases(architecture: &Architecture, seed: u64, layer: usize) -> Vec<f32> {
    let [_, outputs] = architecture.sizes(layer);
    let is_zero = layer == architecture.hidden.len() && architecture.zero_output;
    match architecture.bias_initializer {
        BiasInitializer::Normal if !is_zero => {
            let mut rng = generator(seed, Purpose::Biases, layer as u64);
            (0..outputs).map(|_| normal(&mut rng) as f32).collect()
        }
        _ => vec![0.0; outputs],
    }
}

/// Vectors of levels are standard normal, frequencies normal, and phases uniform on a period; the
/// linear map is PyTorch's. Source: `PLREmbeddingsFactory` of pytabkit. Vectors of terms are uniform in
/// `±1 / width`, and their bias zero. Source: `FastText::train` of fastText.
fn initial_front((at, part): (u64, &FrontPart), parameter: FrontParameter, seed: u64) -> Vec<f32> {
    let mut rng = generator(seed, Purpose::Front, 4 * at + parameter as u64);
    let (columns, frequencies, width, sigma) = match *part {
        FrontPart::Pass { .. } => return Vec::new(),
        FrontPart::Embedding { levels, width } => {
            return (0..levels * width).map(|_| normal(&mut rng) as f32).collect();
        }
        FrontPart::Bag { width, .. } if parameter == FrontParameter::Bias => {
            return vec![0.0; width];
        }
        FrontPart::Bag { terms, width, .. } => {
            return within(1.0 / width as f64, terms * width, &mut rng);
        }
        FrontPart::Periodic { columns, frequencies, width, sigma } => {
            (columns, frequencies, width, sigma)
        }
    };
    let limit = 1.0 / (frequencies as f64).sqrt();
    match parameter {
        FrontParameter::Weight => within(limit, columns * frequencies * (width - 1), &mut rng),
        FrontParameter::Bias => within(limit, columns * (width - 1), &mut rng),
        FrontParameter::Frequency => {
            (0..columns * frequencies).map(|_| (sigma * normal(&mut rng)) as f32).collect()
        }
        FrontParameter::Phase => within(std::f64::consts::PI, columns * frequencies, &mut rng),
    }
}

impl Initializer {
    /// A weight matrix `[inputs, outputs]`, row by row.
    fn weights(self, inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (fan_in, fan_out) = (inputs as f64, outputs as f64);
        let variance = match self {
            Self::GlorotUniform | Self::GlorotNormal => 2.0 / (fan_in + fan_out),
            Self::HeUniform | Self::HeNormal => 2.0 / fan_in,
            Self::LecunUniform | Self::LecunNormal => 1.0 / fan_in,
            Self::Orthogonal => return orthogonal(inputs, outputs, rng),
        };
        let count = inputs * outputs;
        if self.is_uniform() {
            // U(-l, l) has variance l² / 3.
            let limit = (3.0 * variance).sqrt();
            within(limit, count, rng)
        } else {
            let deviation = variance.sqrt();
            (0..count).map(|_| (deviation * normal(rng)) as f32).collect()
        }
    }

    fn is_uniform(self) -> bool {
        matches!(self, Self::GlorotUniform | Self::HeUniform | Self::LecunUniform)
    }
}

/// This many numbers of the uniform distribution from `-limit` to `limit`.
fn within(limit: f64, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..count).map(|_| (limit * (2.0 * uniform(rng) - 1.0)) as f32).collect()
}

/// Orthonormalises Gaussian vectors, which makes them uniform over all orthonormal sets.
fn orthogonal(inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (count, length) = (inputs.min(outputs), inputs.max(outputs));
    let mut vectors: Vec<Vec<f64>> =
        (0..count).map(|_| (0..length).map(|_| normal(rng)).collect()).collect();
    for i in 0..count {
        let (done, rest) = vectors.split_at_mut(i);
        let vector = &mut rest[0];
        // Once would leave a part along the others that grows with their number.
        // Twice is enough for full precision (Giraud et al. 2005).
        for _ in 0..2 {
            for unit in done.iter() {
                let along = dot(unit, vector);
                vector.iter_mut().zip(unit).for_each(|(x, u)| *x -= along * u);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    let elements = (0..inputs * outputs).map(|i| {
        let (row, column) = (i / outputs, i % outputs);
        if inputs <= outputs { vectors[row][column] } else { vectors[column][row] }
    });
    elements.map(|element| element as f32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, generator};

    fn draw(initializer: Initializer, inputs: usize, outputs: usize) -> Vec<f32> {
        initializer.weights(inputs, outputs, &mut generator(1, Purpose::Weights, 0))
    }

    #[test]
    fn variances_are_those_of_the_papers() {
        let (inputs, outputs) = (300, 200);
        let expected = |initializer| match initializer {
            Initializer::GlorotUniform | Initializer::GlorotNormal => 2.0 / 500.0,
            Initializer::HeUniform | Initializer::HeNormal => 2.0 / 300.0,
            Initializer::LecunUniform | Initializer::LecunNormal => 1.0 / 300.0,
            // Columns of unit length spread over 300 inputs.
            Initializer::Orthogonal => 1.0 / 300.0,
        };
        for &initializer in Initializer::ALL {
            let weights = draw(initializer, inputs, outputs);
            let n = weights.len() as f64;
            let variance = weights.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / n;
            let ratio = variance / expected(initializer);
            assert!((ratio - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{initializer}: {ratio}");
        }
    }

    #[test]
    fn uniform_weights_stay_within_their_limit() {
        let limit = (6.0f32 / 20.0).sqrt();
        let weights = draw(Initializer::GlorotUniform, 10, 10);
        assert!(weights.iter().all(|w| w.abs() <= limit));
        assert!(weights.iter().any(|w| w.abs() > 0.9 * limit));
    }

    #[test]
    fn orthogonal_vectors_are_orthonormal_in_either_direction() {
        for (inputs, outputs) in [(7, 12), (12, 7), (9, 9), (1, 4)] {
            let weights = draw(Initializer::Orthogonal, inputs, outputs);
            let at = |row: usize, column: usize| f64::from(weights[row * outputs + column]);
            let count = inputs.min(outputs);
            for i in 0..count {
                for j in 0..count {
                    let product: f64 = if inputs <= outputs {
                        (0..outputs).map(|k| at(i, k) * at(j, k)).sum()
                    } else {
                        (0..inputs).map(|k| at(k, i) * at(k, j)).sum()
                    };
                    let expected = f64::from(u8::from(i == j));
                    assert!((product - expected).abs() < 1e-6, "{inputs}x{outputs} {i} {j}");
                }
            }
        }
    }
}
