//! Products of rows with a matrix of small integers.
//!
//! A row is rounded to 8 bits, with a scale of its own; then all arithmetic within a group of inputs is
//! that of integers and exact, on every machine. Groups are added in their order. So an output depends
//! on its row and on the matrix alone, to the bit.

use std::ops::Range;

use super::packed::{LANES, Lanes};
use crate::{EncodedMatrix, Numbers};

/// Inputs that are multiplied together.
pub(super) const QUAD: usize = 4;

/// The most inputs of a group whose sum of products always fits 32 bits: 255 · 128 · 65,536 < 2³¹.
const MOST_OF_A_GROUP: usize = 1 << 16;

/// Codes of four inputs for each of [`LANES`] outputs.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Codes(pub(super) [i8; LANES * QUAD]);

/// Sums of integers of a machine's own kind, [`LANES`] of them.
pub(super) trait Dots: Copy {
    /// All zero.
    const ZERO: Self;

    /// Adds the products of four bytes, the first of them the lowest, with the codes of each output.
    fn add(self, quad: u32, codes: &Codes) -> Self;

    /// The sums as numbers.
    fn store(self) -> [i32; LANES];
}

/// A matrix of integers `[inputs, outputs]`.
#[derive(Clone, Debug)]
pub(crate) struct Integers {
    inputs: usize,
    outputs: usize,
    /// Where the inputs of each part end: parts of the groups that share a scale.
    ends: Vec<usize>,
    /// Quads of all parts.
    quads: usize,
    /// For each lane of outputs the codes of all quads of its groups.
    codes: Vec<Codes>,
    /// For each lane and group: scales, and the sums of all codes.
    groups: Vec<(Lanes, [i32; LANES])>,
}

/// A row in 8 bits: `offset + x / scale`, rounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounded {
    scale: f32,
    offset: i32,
    /// Quads that are not zero, with their places among all, group by group.
    quads: Vec<(u32, u32)>,
    /// Where those of each group end.
    ends: Vec<usize>,
}

impl Integers {
    /// Of a valid matrix, if its encoding is one of integers.
    pub(crate) fn of(matrix: &EncodedMatrix) -> Option<Self> {
        let EncodedMatrix { outputs, inputs, ref numbers } = *matrix;
        let scales = match numbers {
            Numbers::Int8 { scales, .. } | Numbers::Int4 { scales, .. } => scales,
            _ => return None,
        };
        let mut ends = Vec::new();
        for start in (0..inputs).step_by(scales.group) {
            let end = inputs.min(start.saturating_add(scales.group));
            ends.extend((start..end).step_by(MOST_OF_A_GROUP).skip(1));
            ends.push(end);
        }
        let (codes, groups) = (Vec::new(), Vec::new());
        let mut integers = Self { inputs, outputs, ends, quads: 0, codes, groups };
        integers.quads = integers.parts().map(|part| part.len().div_ceil(QUAD)).sum();
        let parts: Vec<Range<usize>> = integers.parts().collect();
        for lane in 0..integers.width() {
            parts.iter().for_each(|part| integers.add_part(matrix, lane, part.clone()));
        }
        Some(integers)
    }

    /// The inputs of each part.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| start..end)
    }

    /// Packs the codes of a part for one lane of outputs.
    fn add_part(&mut self, matrix: &EncodedMatrix, lane: usize, inputs: Range<usize>) {
        let outputs = lane * LANES..((lane + 1) * LANES).min(self.outputs);
        let (mut scales, mut sums) = (Lanes::ZERO, [0; LANES]);
        for (at, output) in outputs.clone().enumerate() {
            scales.0[at] = matrix.scale_of(output, inputs.start);
        }
        for first in inputs.clone().step_by(QUAD) {
            let mut codes = Codes([0; LANES * QUAD]);
            for (at, output) in outputs.clone().enumerate() {
                for (k, input) in (first..inputs.end.min(first + QUAD)).enumerate() {
                    let code = matrix.code_of(output, input);
                    codes.0[at * QUAD + k] = code;
                    sums[at] += i32::from(code);
                }
            }
            self.codes.push(codes);
        }
        self.groups.push((scales, sums));
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Outputs, in lanes.
    pub(super) fn width(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Writes `rows · matrix`, row by row; `into` has the matrix' width in lanes for each row.
    #[inline(always)]
    pub(super) fn multiply<D: Dots>(
        &self,
        rows: &[f32],
        rounded: &mut Rounded,
        into: &mut [Lanes],
    ) {
        let count = self.ends.len();
        let into = into.chunks_exact_mut(self.width());
        for (row, into) in rows.chunks_exact(self.inputs).zip(into) {
            rounded.round(row, &self.ends);
            for (lane, sums) in into.iter_mut().enumerate() {
                let codes = &self.codes[lane * self.quads..][..self.quads];
                let groups = &self.groups[lane * count..][..count];
                *sums = rounded.dot::<D>(codes, groups);
            }
        }
    }
}

impl Rounded {
    /// Rounds a row. One without negative numbers has an offset of zero, and its zeros stay zero.
    #[inline(always)]
    fn round(&mut self, row: &[f32], ends: &[usize]) {
        let least = row.iter().fold(0.0f32, |least, &x| least.min(x));
        // Not `max`, which forgets a NaN.
        let larger = |most: f32, x: &f32| if x.abs() > most || x.is_nan() { x.abs() } else { most };
        let most = row.iter().fold(0.0, larger);
        let (offset, steps) = if least < 0.0 { (128, 127.0) } else { (0, 255.0) };
        (self.offset, self.scale) = (offset, most / steps);
        // Numbers that cannot be distinguished from zero are zero.
        let factor = if self.scale.is_finite() { 1.0 / self.scale } else { 0.0 };
        let factor = if factor.is_finite() { factor } else { 0.0 };
        self.quads.clear();
        self.ends.clear();
        let mut place = 0;
        let mut start = 0;
        for &end in ends {
            for quad in row[start..end].chunks(QUAD) {
                let mut bytes = [0; QUAD];
                for (byte, x) in bytes.iter_mut().zip(quad) {
                    *byte = ((x * factor).round_ties_even() as i32)
                        .saturating_add(offset)
                        .clamp(0, 255) as u8;
                }
                let bytes = u32::from_le_bytes(bytes);
                if bytes != 0 {
                    self.quads.push((place, bytes));
                }
                place += 1;
            }
            self.ends.push(self.quads.len());
            start = end;
        }
    }

    /// The products with a lane of outputs.
    #[inline(always)]
    fn dot<D: Dots>(&self, codes: &[Codes], groups: &[(Lanes, [i32; LANES])]) -> Lanes {
        let mut all = Lanes::ZERO;
        let mut start = 0;
        for (&end, (scales, sums)) in self.ends.iter().zip(groups) {
            let mut dots = D::ZERO;
            for &(place, quad) in &self.quads[start..end] {
                dots = dots.add(quad, &codes[place as usize]);
            }
            let dots = dots.store();
            for i in 0..LANES {
                all.0[i] += scales.0[i] * (dots[i] - self.offset * sums[i]) as f32;
            }
            start = end;
        }
        all.0.iter_mut().for_each(|sum| *sum *= self.scale);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::Machine;
    use super::super::{Predictor, Session};
    use super::*;
    use crate::model_file::Weights;
    use crate::{
        Description, InputSpec, MlpConfig, Model, NamedTensor, ParameterPath, Preprocessing,
        Provenance, Scales, Task,
    };
    use proptest::prelude::*;

    fn scales(group: usize, outputs: usize, inputs: usize) -> Scales {
        let count = outputs * inputs.div_ceil(group);
        Scales { group, values: (0..count).map(|i| 0.01 + 0.003 * (i % 7) as f32).collect() }
    }

    /// A linear model with integer weights and no bias.
    fn model(matrix: EncodedMatrix) -> Model {
        let config =
            MlpConfig { output_bias: false, ..MlpConfig::new([matrix.inputs], [], matrix.outputs) };
        let description = Description {
            task: Task::numbered_classes(matrix.outputs),
            architecture: config.architecture().unwrap(),
            input: InputSpec::dense(&[matrix.inputs], Preprocessing::Scale { scale: 1.0 }),
            provenance: Provenance::default(),
        };
        let weights: Vec<NamedTensor> = Vec::new();
        Model { description, weights, encoded: [(ParameterPath::Weight(0), matrix)].into() }
    }

    fn outputs(model: &Model, rows: &[f32], machine: Machine) -> Vec<f32> {
        let weights = Weights::of(model.clone());
        let predictor = Predictor::build(model.description.clone(), weights, machine).unwrap();
        let mut session: Session<'_> = predictor.session();
        let rows = rows.chunks_exact(predictor.features());
        rows.flat_map(|row| session.outputs(row).unwrap().to_vec()).collect()
    }

    /// Returns the numbers that the rounded row stands for, in double precision.
    fn dequantized(row: &[f32]) -> Vec<f64> {
        let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let is_signed = row.iter().any(|&x| x < 0.0);
        let scale = most / if is_signed { 127.0 } else { 255.0 };
        let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        row.iter().map(|x| f64::from((x * factor).round_ties_even()) * f64::from(scale)).collect()
    }

    proptest! {
        #[test]
        fn products_are_those_of_the_decoded_weights_with_the_rounded_row(
            (outputs_, inputs) in (1usize..40, 1usize..70),
            group in prop_oneof![1usize..9, Just(32), Just(1000)],
            is_int4 in any::<bool>(),
            is_signed in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let byte = |i: usize| ((i as u64).wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
            let scales = scales(group, outputs_, inputs);
            let numbers = if is_int4 {
                Numbers::Int4 {
                    codes: (0..outputs_ * inputs.div_ceil(2))
                        .map(|i| {
                            let is_half = !inputs.is_multiple_of(2) && i % inputs.div_ceil(2) == inputs / 2;
                            if is_half { byte(i) & 0xF } else { byte(i) }
                        })
                        .collect(),
                    scales,
                }
            } else {
                Numbers::Int8 { codes: (0..outputs_ * inputs).map(|i| byte(i).cast_signed()).collect(), scales }
            };
            let matrix = EncodedMatrix { outputs: outputs_, inputs, numbers };
            let decoded = matrix.decode();
            let model = model(matrix);
            let lift = if is_signed { 128.0 } else { 0.0 };
            let rows: Vec<f32> = (0..5 * inputs).map(|i| f32::from(byte(i + 7)) - lift).collect();
            let found = outputs(&model, &rows, Machine::Plain);
            for (row, found) in rows.chunks(inputs).zip(found.chunks(outputs_)) {
                let row = dequantized(row);
                for (weights, found) in decoded.chunks(inputs).zip(found) {
                    let products = row.iter().zip(weights).map(|(x, w)| x * f64::from(*w));
                    let (sum, size) = products.fold((0.0, 1e-6), |(sum, size), p| (sum + p, size + p.abs()));
                    prop_assert!((f64::from(*found) - sum).abs() <= 1e-5 * size, "{found} {sum}");
                }
            }
            for machine in Machine::all() {
                prop_assert_eq!(&outputs(&model, &rows, machine), &found, "{:?}", machine);
            }
        }
    }

    #[test]
    fn long_groups_do_not_overflow() {
        let inputs = 2 * MOST_OF_A_GROUP + 3;
        let codes = vec![i8::MIN; inputs];
        let numbers = Numbers::Int8 { codes, scales: Scales { group: inputs, values: vec![1.0] } };
        let model = model(EncodedMatrix { outputs: 1, inputs, numbers });
        for machine in Machine::all() {
            let found = outputs(&model, &vec![1.0; inputs], machine)[0];
            let expected = -128.0 * inputs as f32;
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} {expected}");
        }
    }

    #[test]
    fn parts_of_long_groups_keep_their_scales() {
        let (group, inputs) = (MOST_OF_A_GROUP + 1, 2 * MOST_OF_A_GROUP + 2);
        let codes: Vec<i8> =
            (0..inputs).map(|i| if i % group == group - 1 { 1 } else { 0 }).collect();
        let numbers = Numbers::Int8 { codes, scales: Scales { group, values: vec![1.0, 100.0] } };
        let model = model(EncodedMatrix { outputs: 1, inputs, numbers });
        let found = outputs(&model, &vec![1.0; inputs], Machine::Plain)[0];
        assert!((found - 101.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn a_number_that_is_none_stays_none() {
        let numbers = Numbers::Int8 { codes: vec![1, 2], scales: scales(2, 1, 2) };
        let matrix = Integers::of(&EncodedMatrix { outputs: 1, inputs: 2, numbers }).unwrap();
        let mut sums = [Lanes::ZERO];
        let mut rounded = Rounded::default();
        for row in [[f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            rounded.round(&row, &[2]);
            assert!(!rounded.scale.is_finite());
        }
        rounded.round(&[0.0, 0.0], &[2]);
        rounded.round(&[-1e-40, 1e-41], &[2]);
        rounded.round(&[0.0, 0.0], &[2]);
        matrix.multiply::<super::super::machine::PlainDots>(&[0.0, 0.0], &mut rounded, &mut sums);
        assert_eq!(sums[0].0[0], 0.0);
    }
}
