//! Linear layers as numbers, and what can be put into them.

use fireclay_formats::{ElementType, Layout};
use fireclay_terminal::counted;

use super::super::ImportError;
use super::tensors::Tensors;

/// The most numbers of a weight matrix that is made here and is in no file, unless the file has as
/// many itself.
const MOST_MADE: usize = 1 << 24;

/// `scale x + offset`, feature by feature.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Diagonal {
    pub(super) scale: Vec<f64>,
    pub(super) offset: Vec<f64>,
    /// The tensors that it is made of.
    pub(super) from: Vec<String>,
}

impl Diagonal {
    pub(super) fn identity(width: usize) -> Self {
        Self::same(width, 1.0, 0.0)
    }

    /// The same for each feature.
    pub(super) fn same(width: usize, scale: f64, offset: f64) -> Self {
        Self { scale: vec![scale; width], offset: vec![offset; width], from: Vec::new() }
    }

    /// This, and then another.
    pub(super) fn then(&mut self, next: Self) {
        for (offset, (scale, shift)) in
            self.offset.iter_mut().zip(next.scale.iter().zip(next.offset))
        {
            *offset = scale * *offset + shift;
        }
        multiply(&mut self.scale, &next.scale);
        self.from.extend(next.from);
    }

    pub(super) fn is_identity(&self) -> bool {
        self.scale.iter().all(|&scale| scale == 1.0) && self.offset.iter().all(|&x| x == 0.0)
    }
}

fn multiply(values: &mut [f64], factors: &[f64]) {
    values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
}

/// The weights of a linear layer.
#[derive(Clone, Debug)]
enum Weight {
    /// As the file has them.
    Stored { name: String, layout: Layout },
    /// `[outputs, inputs]`, row by row.
    Numbers(Vec<f64>),
}

/// What a tensor is to a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Weight {
        /// Whether it lies the other way in the file.
        is_transposed: bool,
    },
    Bias,
    /// Of what stood beside the layer in the file.
    Beside,
}

/// `y = s (W (r x)) + b`. Factors of inputs and outputs, `r` and `s`, are kept apart from the
/// weights until they are needed, so that a large matrix is in memory once.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    weight: Weight,
    bias: Vec<f64>,
    of_inputs: Option<Vec<f64>>,
    of_outputs: Option<Vec<f64>>,
    parts: Vec<(String, Part)>,
    /// Whether it is the second of two outputs, of which the first is 0, and else as in the file.
    second: Option<bool>,
}

impl Linear {
    /// A layer of the file; the shapes have been checked.
    pub(super) fn stored(
        sizes: [usize; 2],
        weight: &str,
        layout: Layout,
        bias: Option<(&str, Vec<f64>)>,
    ) -> Self {
        let [inputs, outputs] = sizes;
        let is_transposed = layout == Layout::InOut;
        let mut parts = vec![(weight.to_owned(), Part::Weight { is_transposed })];
        parts.extend(bias.iter().map(|(name, _)| ((*name).to_owned(), Part::Bias)));
        Self {
            inputs,
            outputs,
            weight: Weight::Stored { name: weight.to_owned(), layout },
            bias: bias.map_or_else(|| vec![0.0; outputs], |(_, bias)| bias),
            of_inputs: None,
            of_outputs: None,
            parts,
            second: None,
        }
    }

    /// The layer that changes nothing.
    pub(super) fn identity(width: usize) -> Result<Self, ImportError> {
        let mut values = made(width, width, 0)?;
        values.iter_mut().step_by(width + 1).for_each(|value| *value = 1.0);
        Ok(Self::of_numbers([width, width], values, vec![0.0; width], Vec::new()))
    }

    fn of_numbers(
        sizes: [usize; 2],
        values: Vec<f64>,
        bias: Vec<f64>,
        parts: Vec<(String, Part)>,
    ) -> Self {
        let [inputs, outputs] = sizes;
        let weight = Weight::Numbers(values);
        let (of_inputs, of_outputs, second) = (None, None, None);
        Self { inputs, outputs, weight, bias, of_inputs, of_outputs, parts, second }
    }

    /// What it is called in messages: its weights, as the file names them.
    pub(super) fn name(&self) -> String {
        let weight = self.parts.iter().find(|(_, part)| matches!(part, Part::Weight { .. }));
        let own = weight.or(self.parts.first());
        own.map_or_else(|| "the first linear layer".to_owned(), |(name, _)| name.clone())
    }

    /// Whether it computes what the file has, and nothing was folded in.
    pub(super) fn is_as_in_file(&self) -> bool {
        self.second.unwrap_or_else(|| self.is_stored())
    }

    /// Whether it adds biases: of the file, or of what was folded in.
    pub(super) fn has_bias(&self) -> bool {
        let is_of_file = self.parts.iter().any(|(_, part)| *part == Part::Bias);
        is_of_file || self.bias.iter().any(|&bias| bias != 0.0)
    }

    fn is_stored(&self) -> bool {
        matches!(self.weight, Weight::Stored { .. })
            && self.of_inputs.is_none()
            && self.of_outputs.is_none()
            && self.parts.iter().all(|(_, part)| *part != Part::Beside)
    }

    /// This, and then a factor and a shift of each output.
    pub(super) fn and_then(&mut self, after: Diagonal) {
        multiply(&mut self.bias, &after.scale);
        self.bias.iter_mut().zip(&after.offset).for_each(|(bias, offset)| *bias += offset);
        scale_by(&mut self.of_outputs, after.scale);
        self.parts.extend(after.from.into_iter().map(|name| (name, Part::Beside)));
    }

    /// A factor and a shift of each input, and then this.
    pub(super) fn after(&mut self, before: Diagonal, tensors: &Tensors) -> Result<(), ImportError> {
        if before.offset.iter().any(|&offset| offset != 0.0) {
            let shifts = self.product(&before.offset, tensors)?;
            self.bias.iter_mut().zip(shifts).for_each(|(bias, shift)| *bias += shift);
        }
        scale_by(&mut self.of_inputs, before.scale);
        self.parts.extend(before.from.into_iter().map(|name| (name, Part::Beside)));
        Ok(())
    }

    /// One output as two: 0, and itself.
    pub(super) fn after_zero(&self, tensors: &Tensors) -> Result<Self, ImportError> {
        let values = [vec![0.0; self.inputs], self.numbers(tensors)?].concat();
        let bias = [vec![0.0], self.bias.clone()].concat();
        let sizes = [self.inputs, self.outputs + 1];
        let second = Some(self.is_stored());
        Ok(Self { second, ..Self::of_numbers(sizes, values, bias, self.parts.clone()) })
    }

    /// With the negative of some outputs right behind each of them.
    pub(super) fn with_negatives(
        &self,
        is_doubled: &[bool],
        tensors: &Tensors,
    ) -> Result<Self, ImportError> {
        let outputs = self.outputs + is_doubled.iter().filter(|&&doubled| doubled).count();
        let mut values = made(self.inputs, outputs, self.inputs * self.outputs * 2)?;
        values.clear();
        let mut bias = Vec::with_capacity(outputs);
        let rows = self.numbers(tensors)?;
        let rows = rows.chunks_exact(self.inputs).zip(&self.bias).zip(is_doubled);
        for ((row, &shift), &doubled) in rows {
            values.extend(row);
            bias.push(shift);
            if doubled {
                values.extend(row.iter().map(|value| -value));
                bias.push(-shift);
            }
        }
        Ok(Self::of_numbers([self.inputs, outputs], values, bias, self.parts.clone()))
    }

    /// Of inputs that come as `relu(x)` and, where there is a slope, `relu(-x)` behind it: what it
    /// makes of `x` where that is above 0 and of `slope x` where not. `from` is the tensor of slopes.
    pub(super) fn of_halves(
        &self,
        slopes: &[Option<f64>],
        from: Option<String>,
        tensors: &Tensors,
    ) -> Result<Self, ImportError> {
        let inputs = self.inputs + slopes.iter().flatten().count();
        let mut values = made(inputs, self.outputs, self.inputs * self.outputs * 2)?;
        values.clear();
        for row in self.numbers(tensors)?.chunks_exact(self.inputs) {
            for (weight, slope) in row.iter().zip(slopes) {
                values.push(*weight);
                values.extend(slope.map(|slope| -slope * weight));
            }
        }
        let mut parts = self.parts.clone();
        parts.extend(from.map(|name| (name, Part::Beside)));
        Ok(Self::of_numbers([inputs, self.outputs], values, self.bias.clone(), parts))
    }

    /// What it makes of an input.
    pub(super) fn apply(&self, input: &[f64], tensors: &Tensors) -> Result<Vec<f64>, ImportError> {
        let mut sums = self.product(input, tensors)?;
        sums.iter_mut().zip(&self.bias).for_each(|(sum, bias)| *sum += bias);
        Ok(sums)
    }

    /// What it makes of an input, but for the biases.
    fn product(&self, input: &[f64], tensors: &Tensors) -> Result<Vec<f64>, ImportError> {
        let mut sums = vec![0.0; self.outputs];
        match &self.weight {
            Weight::Numbers(values) => {
                let mut input = input.to_vec();
                multiply(&mut input, self.of_inputs.as_deref().unwrap_or_default());
                for (sum, row) in sums.iter_mut().zip(values.chunks_exact(self.inputs)) {
                    *sum = dot(row, &input);
                }
                multiply(&mut sums, self.of_outputs.as_deref().unwrap_or_default());
            }
            Weight::Stored { name, layout } => self.each(tensors, name, *layout, |at, value| {
                sums[at / self.inputs] += value * input[at % self.inputs];
            })?,
        }
        Ok(sums)
    }

    /// Its weights, `[outputs, inputs]` row by row.
    fn numbers(&self, tensors: &Tensors) -> Result<Vec<f64>, ImportError> {
        let mut all = match &self.weight {
            Weight::Numbers(values) => values.clone(),
            Weight::Stored { name, layout } => {
                let mut all = vec![0.0; self.inputs * self.outputs];
                self.each(tensors, name, *layout, |at, value| all[at] = value)?;
                return Ok(all);
            }
        };
        for (output, row) in all.chunks_exact_mut(self.inputs).enumerate() {
            multiply(row, self.of_inputs.as_deref().unwrap_or_default());
            if let Some(factors) = &self.of_outputs {
                row.iter_mut().for_each(|value| *value *= factors[output]);
            }
        }
        Ok(all)
    }

    /// Gives `each` its stored weights, with their factors, and their places in `[outputs, inputs]`.
    fn each(
        &self,
        tensors: &Tensors,
        name: &str,
        layout: Layout,
        mut each: impl FnMut(usize, f64),
    ) -> Result<(), ImportError> {
        let factor = |factors: &Option<Vec<f64>>, at: usize| {
            factors.as_ref().map_or(1.0, |factors| factors[at])
        };
        let mut one = |input: usize, output: usize, value: f64| {
            let value = value * factor(&self.of_inputs, input) * factor(&self.of_outputs, output);
            each(output * self.inputs + input, value);
        };
        match layout {
            Layout::OutIn => {
                tensors.each(name, self.inputs, |row, column, value| one(column, row, value))
            }
            Layout::InOut => tensors.each(name, self.outputs, one),
        }
    }

    /// Its weights, `[inputs, outputs]`, and its biases, rounded to `f32`; remembers where its
    /// tensors went, and lets go of them.
    pub(super) fn finished(
        self,
        index: usize,
        tensors: &mut Tensors,
    ) -> Result<[Vec<f32>; 2], ImportError> {
        let weights = self.rounded(tensors)?;
        let bias: Vec<f32> = self.bias.iter().map(|&value| value as f32).collect();
        if !weights.iter().chain(&bias).all(|value| value.is_finite()) {
            return Err(ImportError::NotFinite { name: self.name() });
        }
        for (name, part) in &self.parts {
            let (path, mut how) = match part {
                Part::Weight { .. } => (format!("layers.{index}.weight"), Vec::new()),
                Part::Bias => (format!("layers.{index}.bias"), Vec::new()),
                Part::Beside => (format!("layers.{index}"), vec!["folded in".to_owned()]),
            };
            if *part == (Part::Weight { is_transposed: true }) {
                how.push("transposed".to_owned());
            }
            let dtype = tensors.named(name)?.dtype;
            if dtype != ElementType::F32 {
                how.push(format!("{} to f32", dtype.name()));
            }
            if *part != Part::Beside && self.second.is_some() {
                how.push("second of two".to_owned());
            }
            if *part != Part::Beside && !self.is_as_in_file() {
                how.push("with what was folded in".to_owned());
            }
            let how = if how.is_empty() { "as is".to_owned() } else { how.join(", ") };
            tensors.went(name, path, how);
        }
        Ok([weights, bias])
    }

    /// The tensors that it is made of.
    pub(super) fn sources(&self) -> Vec<String> {
        self.parts.iter().map(|(name, _)| name.clone()).collect()
    }

    fn rounded(&self, tensors: &Tensors) -> Result<Vec<f32>, ImportError> {
        let mut all = vec![0.0; self.inputs * self.outputs];
        let mut put = |at: usize, value: f64| {
            all[at % self.inputs * self.outputs + at / self.inputs] = value as f32;
        };
        match &self.weight {
            Weight::Stored { name, layout } => self.each(tensors, name, *layout, put)?,
            Weight::Numbers(_) => {
                self.numbers(tensors)?
                    .into_iter()
                    .enumerate()
                    .for_each(|(at, value)| put(at, value));
            }
        }
        Ok(all)
    }
}

fn dot(row: &[f64], input: &[f64]) -> f64 {
    row.iter().zip(input).map(|(weight, x)| weight * x).sum()
}

fn scale_by(factors: &mut Option<Vec<f64>>, by: Vec<f64>) {
    match factors {
        Some(factors) => multiply(factors, &by),
        None if by.iter().all(|&factor| factor == 1.0) => {}
        None => *factors = Some(by),
    }
}

/// Room for a matrix that is in no file: at most as large as what is there, or small.
fn made(inputs: usize, outputs: usize, in_file: usize) -> Result<Vec<f64>, ImportError> {
    match inputs.checked_mul(outputs) {
        Some(count) if count <= in_file.max(MOST_MADE) => Ok(vec![0.0; count]),
        _ => Err(ImportError::unsupported(
            format!(
                "one linear layer of {} and {} would be needed",
                counted(inputs as u64, "input"),
                counted(outputs as u64, "output")
            ),
            "that is much larger than what is in the file",
        )),
    }
}
