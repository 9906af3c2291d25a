//! A weight matrix laid out for products with rows.

/// Numbers that are multiplied together: as many as the widest vector register holds, and a line of
/// cache. Aligned, since a load that crosses two lines takes twice as long.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes(pub(super) [f32; LANES]);

/// Numbers of one [`Lanes`].
pub(super) const LANES: usize = 16;

impl Lanes {
    pub(super) const ZERO: Self = Self([0.0; LANES]);
}

/// A matrix `[inputs, outputs]` in panels of columns, each row by row; columns beyond the last are
/// zero.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    inputs: usize,
    outputs: usize,
    panels: Vec<Panel>,
    weights: Vec<Lanes>,
    /// Whether an input of zero adds nothing, which it does unless a weight is infinite or no number.
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
    /// Of `[inputs, outputs]` numbers row by row; a panel has at most `widest` lanes.
    pub(super) fn new(weights: &[f32], [inputs, outputs]: [usize; 2], widest: usize) -> Self {
        let mut panels = Vec::new();
        let mut packed = Vec::with_capacity(inputs * outputs.div_ceil(LANES));
        let mut first = 0;
        while first < outputs.div_ceil(LANES) {
            // A power of two: there is a body for each.
            let width = 1 << (outputs.div_ceil(LANES) - first).min(widest).ilog2();
            panels.push(Panel { first, width, start: packed.len() });
            for row in weights.chunks_exact(outputs) {
                packed.extend((first..first + width).map(|at| lanes_of(row, at)));
            }
            first += width;
        }
        let is_finite = weights.iter().all(|weight| weight.is_finite());
        Self { inputs, outputs, panels, weights: packed, is_finite }
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

    /// The rows of a panel, one after the other.
    #[inline(always)]
    pub(super) fn weights(&self, panel: &Panel) -> &[Lanes] {
        &self.weights[panel.start..][..self.inputs * panel.width]
    }
}

/// The numbers of a row that lie in its lanes `at`.
pub(super) fn lanes_of(row: &[f32], at: usize) -> Lanes {
    let mut lanes = Lanes::ZERO;
    let there = &row[(at * LANES).min(row.len())..((at + 1) * LANES).min(row.len())];
    lanes.0[..there.len()].copy_from_slice(there);
    lanes
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
}
