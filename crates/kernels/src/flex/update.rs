//! The steps of a chain's parameters.

use std::ops::Range;

use super::chain::{DenseLayer, Panel, PartRules};
use super::dense::sum_rows;
use super::optimizer::TypedRule;
use super::product::{Addend, Matrix, MatrixMut, multiply, pieces};
use super::tuning::{SMALL_PIECE, by_outputs, step_rows};
use super::{Real, team};
use crate::Part;

/// Steps every parameter that is trained: some weights at a time, while their gradient is in cache.
pub(super) fn update<T: Real>(
    layers: &mut [DenseLayer<T>],
    rule: &PartRules<'_>,
    values: &[&mut [T]],
    gradients: &[&mut [T]],
    rows: usize,
) {
    let sizes: Vec<_> = layers.iter().map(|layer| layer.sizes).collect();
    let mut parts = trained(layers, rule, rows);
    in_order(&mut parts, &sizes, rows);
    team::each(&mut parts, |part| {
        let [inputs, outputs] = sizes[part.layer];
        let by_y = Matrix::new(gradients[part.layer], [rows, outputs]);
        let by_y = by_y.columns(part.columns.clone());
        T::with_scratch(part.value.len(), |gradient| {
            match &part.inputs {
                Some(some) => {
                    let x = Matrix::new(values[part.layer], [rows, inputs]);
                    let x = x.columns(some.clone()).transposed();
                    let sizes = [some.len(), part.columns.len()];
                    multiply(x, by_y, Addend::Zero, &mut MatrixMut::new(gradient, sizes));
                }
                None => {
                    gradient.fill(T::zero());
                    (0..rows).for_each(|row| sum_rows(by_y.row(row), gradient));
                }
            }
            part.rule.take(part.value, gradient, &mut part.memory);
        });
    });
}

/// A piece of a parameter, which one thread updates.
struct Trained<'a, T> {
    layer: usize,
    /// Of the weights; none for a bias.
    inputs: Option<Range<usize>>,
    columns: Range<usize>,
    rule: TypedRule<T>,
    value: &'a mut [T],
    memory: Vec<&'a mut [T]>,
}

/// The pieces of all parameters that are trained.
fn trained<'a, T: Real>(
    layers: &'a mut [DenseLayer<T>],
    rule: &PartRules<'_>,
    rows: usize,
) -> Vec<Trained<'a, T>> {
    let mut parts = Vec::new();
    for (layer, DenseLayer { weight, bias, .. }) in layers.iter_mut().enumerate() {
        for (parameter, is_weight) in [(weight, true), (bias, false)] {
            if parameter.rule.is_none() {
                continue;
            }
            let [high, _] = parameter.sizes;
            let most = step_rows(rows, parameter.sizes);
            let rule = rule(Part::Layer(layer), is_weight);
            parameter.rule = Some(rule);
            for Panel { columns, value, memory } in &mut parameter.panels {
                let count = most * columns.len();
                let mut memory: Vec<_> =
                    memory.iter_mut().map(|part| part.all_mut().chunks_mut(count)).collect();
                let values = value.all_mut().chunks_mut(count);
                for (inputs, value) in pieces(high, most).into_iter().zip(values) {
                    let memory = memory.iter_mut().filter_map(Iterator::next).collect();
                    let (columns, inputs) = (columns.clone(), is_weight.then_some(inputs));
                    let rule = TypedRule::new(&rule);
                    parts.push(Trained { layer, inputs, columns, rule, value, memory });
                }
            }
        }
    }
    parts
}

/// Puts the pieces of one thread behind each other, and the small ones into the middle, so that each
/// half of the others stays with its thread.
fn in_order<T>(parts: &mut [Trained<'_, T>], sizes: &[[usize; 2]], rows: usize) {
    parts.sort_by_key(|part| {
        let place = match &part.inputs {
            Some(inputs) if !by_outputs(rows, sizes[part.layer][1]) => inputs.start,
            _ => part.columns.start,
        };
        (part.value.len() < SMALL_PIECE, part.layer, place)
    });
    // Each thread begins with its own half of the pieces: the small ones are last of the first half,
    // where whoever is done first takes them.
    let large = parts.partition_point(|part| part.value.len() >= SMALL_PIECE);
    parts[large / 2..].rotate_left(large - large / 2);
}
