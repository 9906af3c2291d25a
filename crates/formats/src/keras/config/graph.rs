//! Functional models: layers that are called with the outputs of other layers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::functions::plain;
use super::steps::{Sample, Shape};
use super::{Content, Entry, Flow, Reader, Step, malformed};
use crate::Problem;
use crate::error::{shown, shown_shape};

/// The most residual connections within each other.
const MOST_NESTED: usize = 16;

/// A call of a layer.
#[derive(Default)]
struct Call {
    /// The layer's place in the list.
    layer: usize,
    /// The calls whose outputs it takes.
    inputs: Vec<usize>,
    /// A number that it takes as well, and whether that comes first.
    constant: Option<(f64, bool)>,
}

/// The inputs of a call, as the configuration has them.
#[derive(Default)]
struct Inputs<'v> {
    /// Names of layers, and which of their calls.
    calls: Vec<(&'v str, u64)>,
    constant: Option<(f64, bool)>,
}

/// The sum of a sample and a branch.
#[derive(Clone, Copy)]
struct Sum {
    /// True if the second is subtracted.
    is_subtracted: bool,
    /// The factor of the whole.
    scale: f64,
}

/// A residual connection that has begun and not ended.
struct OpenBranch {
    /// The call that adds.
    sum: usize,
    /// The call whose output is added to the sample.
    other: usize,
    sum_of: Sum,
    shape: Option<Shape>,
    /// The flow before it.
    flow: Vec<Flow>,
}

impl Reader {
    /// Returns the flow of a sample through a functional model.
    pub(super) fn functional(
        &self,
        config: &Value,
        layers: &[Entry<'_>],
        sample: &mut Sample,
        known: &mut BTreeMap<usize, Content>,
    ) -> Result<Vec<Flow>, Problem> {
        let [input, output] = ["input_layers", "output_layers"].map(|key| end(&config[key], key));
        let (input, output) = (input?, output?);
        let (calls, places) = calls(layers, output)?;
        let (mut current, output) = (place(&places, input)?, place(&places, output)?);
        let users = users(&calls);
        let order = order(&calls, &users, layers)?;
        let mut flow =
            self.call(calls[current].layer, &layers[calls[current].layer], sample, known)?;
        let mut open: Vec<OpenBranch> = Vec::new();
        let mut passed = 1;
        loop {
            let mut next = users[current].clone();
            next.retain(|call| open.iter().all(|open| open.sum != *call));
            match next[..] {
                [] => {
                    let Some(ended) = open.pop_if(|open| open.other == current) else {
                        let is_whole = current == output && passed == calls.len();
                        return ended(&open, &calls, layers, is_whole).map(|()| flow);
                    };
                    current = ended.sum;
                    let layer = &layers[calls[current].layer];
                    check_shapes(layer, &ended, sample)?;
                    flow = self.closed(ended, flow, layer);
                    known.insert(calls[current].layer, Content::Layer(Step::Nothing));
                    passed += 1;
                }
                [only] if calls[only].inputs.len() == 1 => {
                    current = only;
                    flow.extend(self.only_call(&calls[only], layers, sample, known)?);
                    passed += 1;
                }
                _ => {
                    let Some(sum) = outermost(&next, &calls, &order) else {
                        let name = shown(layers[calls[current].layer].name);
                        return Err(branches(&format!("two layers follow {name}")));
                    };
                    let (other, sum_of) = other_side(&calls[sum], current, layers)?;
                    if open.len() == MOST_NESTED {
                        let what = "the depth of residual connections";
                        let most = MOST_NESTED as u64;
                        return Err(Problem::Limit { what, found: most + 1, most });
                    }
                    let (shape, flow) = (sample.shape.clone(), std::mem::take(&mut flow));
                    open.push(OpenBranch { sum, other, sum_of, shape, flow });
                }
            }
        }
    }

    /// Returns the flow up to the end of a residual connection whose branch is `branch`.
    fn closed(&self, ended: OpenBranch, branch: Vec<Flow>, layer: &Entry<'_>) -> Vec<Flow> {
        let OpenBranch { mut flow, sum_of: Sum { is_subtracted, scale }, .. } = ended;
        flow.push(Flow::Residual { flow: branch, is_subtracted });
        if scale != 1.0 {
            flow.push(Flow::Layer(self.path(layer), Step::Rescale { scale, offset: 0.0 }));
        }
        flow
    }

    /// Returns the flow through a call that takes the sample alone, or it and a number.
    fn only_call(
        &self,
        call: &Call,
        layers: &[Entry<'_>],
        sample: &mut Sample,
        known: &mut BTreeMap<usize, Content>,
    ) -> Result<Vec<Flow>, Problem> {
        let layer = &layers[call.layer];
        let Some(constant) = call.constant else {
            return self.call(call.layer, layer, sample, known);
        };
        let step = with_constant(layer, constant)?;
        known.insert(call.layer, Content::Layer(step.clone()));
        Ok(vec![Flow::Layer(self.path(layer), step)])
    }
}

/// The place of a call, by its layer's name and its number.
fn place(places: &Places<'_>, (name, call): (&str, u64)) -> Result<usize, Problem> {
    let place = places.get(&(name, call)).copied();
    place.ok_or_else(|| branches(&format!("there is no call {call} of {}", shown(name))))
}

/// Requires that the way from the input ends at the output, has passed all calls, and leaves no
/// residual connection open.
fn ended(
    open: &[OpenBranch],
    calls: &[Call],
    layers: &[Entry<'_>],
    is_whole: bool,
) -> Result<(), Problem> {
    if let Some(open) = open.last() {
        let layer = &layers[calls[open.sum].layer];
        return Err(branches(&format!("{} adds two branches", layer.called())));
    }
    if is_whole {
        return Ok(());
    }
    Err(branches("not all layers lie on one way from the input to the output"))
}

/// The place of each call by the layer's name and the call's number.
type Places<'v> = BTreeMap<(&'v str, u64), usize>;

/// The calls of all layers, of which one makes the output, and the place of each.
fn calls<'v>(
    layers: &[Entry<'v>],
    output: (&'v str, u64),
) -> Result<(Vec<Call>, Places<'v>), Problem> {
    let mut taken = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let nodes = layer.nodes.as_array().map(Vec::as_slice).unwrap_or_default();
        let inputs: Vec<Inputs<'v>> = if nodes.is_empty() {
            vec![Inputs::default()]
        } else {
            nodes.iter().map(|node| inputs(layer, node)).collect::<Result<_, _>>()?
        };
        taken.extend(inputs.into_iter().map(|inputs| (at, inputs)));
    }
    let used = taken.iter().flat_map(|(_, inputs)| inputs.calls.iter().copied());
    let used: BTreeSet<_> = used.chain([output]).collect();
    let mut places = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (place, (at, _)) in taken.iter().enumerate() {
        let layer = &layers[*at];
        let number = counts.entry(*at).or_insert_with(|| first_number(layer, &taken, *at, &used));
        if places.insert((layer.name, *number), place).is_some() {
            return Err(malformed(format!("two layers are called {}", shown(layer.name))));
        }
        *number += 1;
    }
    let mut calls = Vec::new();
    for (layer, Inputs { calls: names, constant }) in taken {
        let inputs: Option<Vec<usize>> =
            names.iter().map(|name| places.get(name).copied()).collect();
        let inputs =
            inputs.ok_or_else(|| branches("not all layers lie on one way from the input"))?;
        if inputs.len() > 2 {
            let called = layers[layer].called();
            return Err(branches(&format!("{called} has more than two inputs")));
        }
        calls.push(Call { layer, inputs, constant });
    }
    Ok((calls, places))
}

/// The number of the first call of a layer: 1 for most models within a model, whose own making counts
/// as a call. Which of them, differs by version, and shows in the calls that are used.
fn first_number(
    layer: &Entry<'_>,
    taken: &[(usize, Inputs<'_>)],
    at: usize,
    used: &BTreeSet<(&str, u64)>,
) -> u64 {
    let count = taken.iter().filter(|(layer, _)| *layer == at).count() as u64;
    u64::from(layer.is_model() && used.contains(&(layer.name, count)))
}

/// Reads the inputs of a call.
fn inputs<'v>(layer: &Entry<'v>, node: &'v Value) -> Result<Inputs<'v>, Problem> {
    let mut found = Inputs::default();
    match node {
        // Keras 3: {"args": [{"config": {"keras_history": [name, 0, 0]}}], "kwargs": {}}
        Value::Object(_) => {
            for value in node["args"].as_array().map(Vec::as_slice).unwrap_or_default() {
                match value {
                    Value::Array(values) => {
                        for value in values {
                            found.add(layer, &value["config"]["keras_history"])?;
                        }
                    }
                    Value::Number(_) => found.meet(layer, value)?,
                    value => found.add(layer, &value["config"]["keras_history"])?,
                }
            }
            idle(layer, &node["kwargs"])?;
        }
        // Before: [[name, 0, 0, {}]], and of an operator without the list around it.
        _ => {
            let list = match node.as_array().map(Vec::as_slice).unwrap_or_default() {
                [Value::String(_), ..] => std::slice::from_ref(node),
                list => list,
            };
            for input in list {
                found.take(layer, input)?;
                let mut options = input[3].clone();
                if layer.class == "TFOpLambda" && !options["y"].is_null() {
                    found.take(layer, &input[3]["y"])?;
                    options["y"] = Value::Null;
                }
                idle(layer, &options)?;
            }
        }
    }
    if found.calls.is_empty() {
        return Err(branches(&format!("{} has no single input", layer.called())));
    }
    Ok(found)
}

impl<'v> Inputs<'v> {
    /// Adds what an operator of Keras 2 takes: the output of a call, or a number.
    fn take(&mut self, layer: &Entry<'_>, value: &'v Value) -> Result<(), Problem> {
        match value {
            Value::Number(_) => self.meet(layer, value),
            value if value[0] == "_CONSTANT_VALUE" => self.meet(layer, &value[2]),
            value => self.add(layer, value),
        }
    }

    /// Adds the output of a call: `[name, call, 0]`.
    fn add(&mut self, layer: &Entry<'_>, history: &'v Value) -> Result<(), Problem> {
        match (history[0].as_str(), history[1].as_u64(), history[2].as_u64()) {
            (Some(name), Some(call), Some(0)) => {
                self.calls.push((name, call));
                Ok(())
            }
            _ => Err(branches(&format!("{} has no single input", layer.called()))),
        }
    }

    /// Adds a number that the call meets.
    fn meet(&mut self, layer: &Entry<'_>, value: &Value) -> Result<(), Problem> {
        match value.as_f64() {
            Some(number) if self.constant.is_none() => {
                self.constant = Some((number, self.calls.is_empty()));
                Ok(())
            }
            _ => Err(branches(&format!("{} takes several numbers", layer.called()))),
        }
    }
}

/// Requires that a layer is called without options that do anything.
fn idle(layer: &Entry<'_>, options: &Value) -> Result<(), Problem> {
    let mut options = options.as_object().into_iter().flatten();
    // A name changes nothing, nor does an option that is switched off.
    if options.all(|(key, value)| key == "name" || value.is_null() || value == false) {
        return Ok(());
    }
    let why = "only layers called with their input alone are read";
    Err(layer.refused("is called with options", why))
}

/// For each call those that take its output.
fn users(calls: &[Call]) -> Vec<Vec<usize>> {
    let mut users = vec![Vec::new(); calls.len()];
    for (at, call) in calls.iter().enumerate() {
        for &input in &call.inputs {
            if users[input].last() != Some(&at) {
                users[input].push(at);
            }
        }
    }
    users
}

/// The place of each call in an order in which each follows on its inputs.
fn order(
    calls: &[Call],
    users: &[Vec<usize>],
    layers: &[Entry<'_>],
) -> Result<Vec<usize>, Problem> {
    let mut missing: Vec<usize> = calls.iter().map(|call| call.inputs.len()).collect();
    let mut order = vec![usize::MAX; calls.len()];
    let mut ready: Vec<usize> = (0..calls.len()).filter(|&at| missing[at] == 0).collect();
    let mut count = 0;
    while let Some(at) = ready.pop() {
        order[at] = count;
        count += 1;
        for &user in &users[at] {
            let uses = calls[user].inputs.iter().filter(|&&input| input == at).count();
            missing[user] -= uses;
            if missing[user] == 0 {
                ready.push(user);
            }
        }
    }
    match order.iter().position(|&place| place == usize::MAX) {
        Some(at) => Err(malformed(format!("{} follows itself", layers[calls[at].layer].called()))),
        None => Ok(order),
    }
}

/// Of calls that take one output, the last that takes another one too.
fn outermost(next: &[usize], calls: &[Call], order: &[usize]) -> Option<usize> {
    let sums = next.iter().copied().filter(|&call| match calls[call].inputs[..] {
        [first, second] => first != second,
        _ => false,
    });
    sums.max_by_key(|&call| order[call])
}

/// Returns the other input of a call of two, and the kind of sum.
fn other_side(sum: &Call, sample: usize, layers: &[Entry<'_>]) -> Result<(usize, Sum), Problem> {
    let (first, second) = match sum.inputs[..] {
        [first, second] => (first, second),
        _ => return Err(branches("a sum has two sides")),
    };
    let sum_of = sum_of(&layers[sum.layer], first == sample)?;
    Ok((if first == sample { second } else { first }, sum_of))
}

/// Returns the kind of sum that a layer of two inputs makes.
fn sum_of(layer: &Entry<'_>, sample_is_first: bool) -> Result<Sum, Problem> {
    let name = layer.config["function"].as_str().unwrap_or_default();
    let (is_subtracted, scale) = match (layer.class, name.rsplit('.').next()) {
        ("Add", _) | ("TFOpLambda", Some("add" | "__add__")) => (false, 1.0),
        // Of Keras 1.
        ("Merge", _) if layer.config["mode"] == "sum" => (false, 1.0),
        ("Merge", _) if layer.config["mode"] == "ave" => (false, 0.5),
        ("Average", _) => (false, 0.5),
        // f(x) - x is -(x - f(x)).
        ("Subtract", _) | ("TFOpLambda", Some("subtract" | "sub")) => {
            (true, if sample_is_first { 1.0 } else { -1.0 })
        }
        _ => {
            return Err(layer.refused(
                "has two inputs",
                "only the sum, the difference or the average of a value and what layers make of \
                 it is read",
            ));
        }
    };
    Ok(Sum { is_subtracted, scale })
}

/// Returns the step of an operation on a sample and one number.
fn with_constant(layer: &Entry<'_>, (number, is_first): (f64, bool)) -> Result<Step, Problem> {
    let name = layer.config["function"].as_str().unwrap_or_default();
    let operation = match layer.class {
        "TFOpLambda" => name.rsplit('.').next().unwrap_or_default(),
        class => class,
    };
    if (operation.to_ascii_lowercase().as_str(), number) == ("maximum", 0.0) {
        return Ok(Step::Activation(plain("relu")));
    }
    let divides = ["Divide", "TrueDivide", "truediv", "divide"].contains(&operation);
    if divides && is_first {
        let why = "no layer divides a number by features; they may be divided by numbers";
        return Err(layer.refused("divides a number by features", why));
    }
    let (scale, offset) = match (operation, is_first) {
        ("Add" | "add", _) => (1.0, number),
        ("Subtract" | "subtract" | "sub", false) => (1.0, -number),
        ("Subtract" | "subtract" | "sub", true) => (-1.0, number),
        ("Multiply" | "multiply" | "mul", _) => (number, 0.0),
        _ if divides => (1.0 / number, 0.0),
        _ => {
            return Err(layer.refused(
                "meets a number",
                "only + - * / of features and the maximum with 0 are read",
            ));
        }
    };
    if !scale.is_finite() || scale == 0.0 || !offset.is_finite() {
        return Err(layer.refused("meets a number", "the result must depend on the features"));
    }
    Ok(Step::Rescale { scale, offset })
}

/// Requires that both sides of a sum have one known shape.
fn check_shapes(layer: &Entry<'_>, open: &OpenBranch, sample: &Sample) -> Result<(), Problem> {
    match (&open.shape, &sample.shape) {
        (Some(before), Some(after)) if before == after && !before.contains(&None) => Ok(()),
        (before, after) => {
            let [before, after] = [before, after]
                .map(|shape| shape.as_deref().map_or("unknown".to_owned(), shown_shape));
            let what = format!("adds samples of shape {before} and of shape {after}");
            let why = "both sides of a residual connection must have one known shape";
            Err(layer.refused(&what, why))
        }
    }
}

fn branches(what: &str) -> Problem {
    let why = "only layers one after the other are read, and residual connections: the sum of a \
               value and what layers make of it";
    Problem::refused(format!("a functional Keras model: {what}"), why)
}

/// The only input or output: the name of a layer, and which of its calls.
fn end<'v>(value: &'v Value, key: &str) -> Result<(&'v str, u64), Problem> {
    // Keras 3 writes the only one without a list around it.
    let only = match value.as_array().map(Vec::as_slice) {
        Some([only]) => only,
        _ => value,
    };
    if let (Some(name), Some(call)) = (only[0].as_str(), only[1].as_u64()) {
        return Ok((name, call));
    }
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> =
        all.iter().filter_map(|each| each[0].as_str()).take(10).map(shown).collect();
    let what = match (key, all.len()) {
        (_, 0) => return Err(branches(&format!("its {key} are not one layer"))),
        ("output_layers", count) => (count, "outputs", "model.inputs, model.outputs[0]"),
        (_, count) => (count, "inputs", "one input, the output"),
    };
    let (count, kind, of) = what;
    let what = format!("a functional Keras model with {count} {kind}, {}", names.join(", "));
    let why = format!("a network has one; make a model with one, keras.Model({of}), and save it");
    Err(Problem::refused(what, why))
}
