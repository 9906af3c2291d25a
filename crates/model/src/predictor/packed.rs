//! A weight matrix laid out for products with rows.

use std::ops::Range;

/// Numbers that are multiplied together: as many as the widest vector register holds, and a line of
/// cache. Aligned, since a load that crosses two lines takes twice as long.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Lanes(pub(super) [f32; LANES]);

/// Numbers of one [`Lanes`].
pub(super) const LANES: usize = 16;

/// Numbers of a matrix up to which lanes are filled up with zeros, however few outputs there are.
const FEW: usize = 1 << 14;

impl Lanes {
    pub(super) const ZERO: Self = Self([0.0; LANES]);
}

/// A matrix `[inputs, outputs]` in panels of columns, each row by row; columns beyond the last are
/// zero. One that would take much more memory so is kept row by row as it is.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    inputs: usize,
    outputs: usize,
    panels: Vec<Panel>,
    weights: Vec<Lanes>,
    /// Of a matrix without panels.
    narrow: Vec<f32>,
    /// True if an input of zero adds nothing: no weight is infinite or no number.
    is_finite: bool,
}

/// Some columns of the matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// The first of its columns, in lanes.
    pub(super) first: usize,
    /// Its width, in lanes.
    pub(super) width: usize,
    /// Where its weights begin.
    start: usize,
}

impl Packed {
    /// Of zeros; a panel has at most `widest` lanes.
    pub(crate) fn zeros([inputs, outputs]: [usize; 2], widest: usize) -> Self {
        let (count, lanes) = (inputs * outputs, outputs.div_ceil(LANES));
        // With panels it would take more than four times its own memory.
        let is_narrow =
            count > FEW && inputs.saturating_mul(lanes * LANES) > count.saturating_mul(4);
        let mut packed = Self {
            inputs,
            outputs,
            panels: Vec::new(),
            weights: Vec::new(),
            narrow: vec![0.0; if is_narrow { count } else { 0 }],
            is_finite: true,
        };
        if is_narrow {
            return packed;
        }
        let mut first = 0;
        while first < lanes {
            // A power of two: there is a body for each.
            let width = 1 << (lanes - first).min(widest).ilog2();
            packed.panels.push(Panel { first, width, start: first * inputs });
            first += width;
        }
        packed.weights = vec![Lanes::ZERO; lanes * inputs];
        packed
    }

    /// Of `[inputs, outputs]` numbers row by row.
    pub(crate) fn new(weights: &[f32], sizes @ [_, outputs]: [usize; 2], widest: usize) -> Self {
        let mut packed = Self::zeros(sizes, widest);
        for (input, row) in weights.chunks_exact(outputs).enumerate() {
            for (output, &weight) in row.iter().enumerate() {
                packed.set(output, input, weight);
            }
        }
        packed
    }

    /// Writes one number.
    pub(crate) fn set(&mut self, output: usize, input: usize, weight: f32) {
        self.is_finite &= weight.is_finite();
        *self.place(output, input) = weight;
    }

    /// Writes all inputs of some outputs, which lie one after the other from `first` on: input by
    /// input, so that what is written lies together.
    pub(crate) fn set_outputs(&mut self, first: usize, weights: &[[u8; 4]]) {
        for input in 0..self.inputs {
            let column = weights.iter().skip(input).step_by(self.inputs);
            for (output, &bytes) in (first..).zip(column) {
                self.set(output, input, f32::from_le_bytes(bytes));
            }
        }
    }

    /// Adds to the number there.
    pub(super) fn add(&mut self, output: usize, input: usize, more: f64) {
        let place = self.place(output, input);
        let sum = (f64::from(*place) + more) as f32;
        *place = sum;
        self.is_finite &= sum.is_finite();
    }

    fn place(&mut self, output: usize, input: usize) -> &mut f32 {
        if self.panels.is_empty() {
            return &mut self.narrow[input * self.outputs + output];
        }
        let lanes = self.lanes_of(output, input);
        &mut self.weights[lanes].0[output % LANES]
    }

    /// Where the lanes of a number are, of a matrix with panels.
    fn lanes_of(&self, output: usize, input: usize) -> usize {
        let lane = output / LANES;
        let at = self.panels.partition_point(|panel| panel.first <= lane) - 1;
        let Panel { first, width, start } = self.panels[at];
        start + input * width + lane - first
    }

    fn get(&self, output: usize, input: usize) -> f32 {
        if self.panels.is_empty() {
            return self.narrow[input * self.outputs + output];
        }
        self.weights[self.lanes_of(output, input)].0[output % LANES]
    }

    /// Some of its outputs, as a matrix of their own with panels of at most `widest` lanes.
    pub(super) fn part(&self, outputs: Range<usize>, widest: usize) -> Self {
        let mut part = Self::zeros([self.inputs, outputs.len()], widest);
        for input in 0..self.inputs {
            for (to, from) in outputs.clone().enumerate() {
                part.set(to, input, self.get(from, input));
            }
        }
        part
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

    pub(super) fn is_finite(&self) -> bool {
        self.is_finite
    }

    pub(super) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// All numbers row by row, if they are not in panels.
    pub(super) fn narrow(&self) -> &[f32] {
        &self.narrow
    }

    /// The rows of a panel, one after the other.
    #[inline(always)]
    pub(super) fn weights(&self, panel: &Panel) -> &[Lanes] {
        &self.weights[panel.start..][..self.inputs * panel.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_has_its_place() {
        for (inputs, outputs, widest) in [(3, 1, 8), (2, 16, 8), (5, 37, 2), (4, 300, 8)] {
            let weights: Vec<f32> = (0..inputs * outputs).map(|i| i as f32 + 1.0).collect();
            let packed = Packed::new(&weights, [inputs, outputs], widest);
            let mut seen = 0;
            for panel in packed.panels() {
                assert!(panel.width <= widest && panel.width.is_power_of_two());
                for (k, row) in packed.weights(panel).chunks_exact(panel.width).enumerate() {
                    for (at, &weight) in row.iter().flat_map(|lanes| &lanes.0).enumerate() {
                        let column = panel.first * LANES + at;
                        let is_there = column < outputs;
                        let expected = if is_there { weights[k * outputs + column] } else { 0.0 };
                        assert_eq!(weight, expected);
                        seen += usize::from(is_there);
                    }
                }
            }
            assert_eq!(seen, weights.len());
        }
    }

    #[test]
    fn a_part_has_the_outputs_that_it_was_cut_of() {
        let weights: Vec<f32> = (0..3 * 40).map(|i| i as f32).collect();
        let part = Packed::new(&weights, [3, 40], 2).part(17..22, 2);
        for (input, output) in (0..3).flat_map(|input| (0..5).map(move |output| (input, output))) {
            assert_eq!(part.get(output, input), (input * 40 + 17 + output) as f32);
        }
    }

    #[test]
    fn a_matrix_of_few_outputs_takes_no_more_memory_than_it_has_numbers() {
        let narrow = Packed::zeros([FEW + 1, 1], 8);
        assert_eq!((narrow.narrow().len(), narrow.weights.len()), (FEW + 1, 0));
        let wide = Packed::zeros([FEW, 4], 8);
        assert_eq!((wide.narrow().len(), wide.weights.len()), (0, FEW));
    }
}
