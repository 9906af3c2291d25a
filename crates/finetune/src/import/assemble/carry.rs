//! Skip connections that are not ours, of relu networks: units beside those of the hidden layers
//! carry the input past them, `x` as `relu(x) - relu(-x)`.

use super::super::ImportError;
use super::finish::compose_all;
use super::fold::{Block, Blocks, Done};
use super::functions::Function;
use super::linear::Linear;
use super::tensors::Tensors;

/// How units carry an input of so many numbers.
#[derive(Clone, Copy)]
struct Units {
    width: usize,
    /// What the difference of the two units of a number is multiplied by; none if there is one unit,
    /// of a number that is never below 0.
    factor: Option<f64>,
}

impl Units {
    fn count(self) -> usize {
        self.width * if self.factor.is_some() { 2 } else { 1 }
    }

    /// What a unit is of a number: itself, or its negative.
    fn of(self, unit: usize, number: usize) -> f64 {
        if unit % self.width != number {
            0.0
        } else if unit < self.width {
            1.0
        } else {
            -1.0
        }
    }

    /// What a number is of a unit behind its function.
    fn number(self, number: usize, unit: usize) -> f64 {
        self.factor.unwrap_or(1.0) * self.of(unit, number)
    }

    /// Units that carry on what these carry.
    fn next(self, unit: usize, before: usize) -> f64 {
        let sign = if unit < self.width { 1.0 } else { -1.0 };
        sign * self.number(unit % self.width, before)
    }
}

/// Goes on with `x + f(x)` for the blocks of `f`.
///
/// # Errors
///
/// A function that is no relu, or a layer norm.
pub(super) fn carry(network: &mut Blocks<'_>, mut inner: Blocks<'_>) -> Result<(), ImportError> {
    let tensors = network.tensors;
    compose_all(&mut inner)?;
    network.done.append(&mut inner.done);
    let width = inner.input.scale.len();
    let is_positive = network.blocks.last().is_some_and(|last| {
        let is_relu = |function: &Function| {
            matches!(function, Function::Bent(slopes) if slopes.iter().all(|&slope| slope == 0.0))
        };
        last.after.is_identity() && last.function.as_ref().is_some_and(is_relu)
    });
    let mut units = Units { width, factor: (!is_positive).then_some(1.0) };
    let last = inner.blocks.len() - 1;
    for (at, mut block) in inner.blocks.into_iter().enumerate() {
        if at == 0 {
            block.linear.after(inner.input.clone(), tensors)?;
        }
        if block.fold_norm("inside of a skip connection")? {
            network.done.insert(Done::FoldedNorms);
        }
        let before = (at > 0).then_some(units);
        let Some(function) = block.function.take() else {
            // Only the last has none.
            let linear = added(&block.linear, before, units, tensors)?;
            return network.linear(linear);
        };
        let (function, factor) = extended(function, units, &block)?;
        let linear = extended_linear(&block.linear, before, units, tensors)?;
        units.factor = units.factor.map(|_| factor);
        network.linear(linear)?;
        if let Some(new) = network.blocks.last_mut() {
            (new.function, new.slopes) = (Some(function), block.slopes.take());
            new.dropout = block.dropout.max(inner.input_dropout);
        }
        if at == last {
            return network.linear(summed(&block, units)?);
        }
    }
    Ok(())
}

/// The function of a block for its units and those that carry, and the factor of the latter.
fn extended(
    function: Function,
    units: Units,
    block: &Block,
) -> Result<(Function, f64), ImportError> {
    let Function::Bent(mut slopes) = function else {
        return Err(ImportError::unsupported(
            format!(
                "{} behind {} stands inside of a skip connection",
                function.name(),
                block.linear.name()
            ),
            "only relus can carry what a skip takes past several layers",
        ));
    };
    let first = slopes.first().copied().unwrap_or_default();
    let is_one = slopes.iter().all(|&slope| slope == first) && first != -1.0;
    let slope = if is_one { first } else { 0.0 };
    slopes.extend(vec![slope; units.count()]);
    Ok((Function::Bent(slopes), 1.0 / (1.0 + slope)))
}

/// A layer with units that carry on, of the layer's own input or of what units `before` carry.
fn extended_linear(
    linear: &Linear,
    before: Option<Units>,
    units: Units,
    tensors: &Tensors,
) -> Result<Linear, ImportError> {
    let (inputs, outputs) = (linear.inputs, linear.outputs);
    let all = inputs + before.map_or(0, Units::count);
    let extra = vec![0.0; units.count()];
    linear.in_block([all, outputs + units.count()], &extra, tensors, |output, input| {
        match (output >= outputs, before) {
            (true, None) => units.of(output - outputs, input),
            (true, Some(before)) if input >= inputs => {
                before.next(output - outputs, input - inputs)
            }
            _ => 0.0,
        }
    })
}

/// The last layer, with what units `before` carry, or its own input, added.
fn added(
    linear: &Linear,
    before: Option<Units>,
    units: Units,
    tensors: &Tensors,
) -> Result<Linear, ImportError> {
    let inputs = linear.inputs;
    let all = inputs + before.map_or(0, Units::count);
    linear.in_block([all, linear.outputs], &[], tensors, |output, input| match before {
        None => f64::from(u8::from(output == input)),
        Some(_) if input >= inputs => units.number(output, input - inputs),
        Some(_) => 0.0,
    })
}

/// The sum of what a block gives and what units carry beside it.
fn summed(block: &Block, units: Units) -> Result<Linear, ImportError> {
    let width = units.width;
    Linear::made_of([width + units.count(), width], &block.after, |output, input| {
        if input >= width {
            units.number(output, input - width)
        } else if input == output {
            block.after.scale[output]
        } else {
            0.0
        }
    })
}
