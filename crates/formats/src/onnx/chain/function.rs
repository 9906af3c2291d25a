//! Functions of one number, of one operator or of many.

use std::collections::BTreeSet;

use super::super::constants::Constant;
use super::super::elementwise::{self, Alone, Function, PROBES};
use super::super::proto::Node;
use super::Chain;
use super::features::Spread;
use crate::{Layer, Problem};

/// The most operators that may make one activation.
const LONGEST_ACTIVATION: usize = 16;

/// The most numbers that are computed to find activations with a number for each feature.
const MOST_COMPUTED: usize = 20_000_000;

/// A function that was found, the operator that ends it, and its value.
struct FoundFunction<'a, F> {
    function: F,
    end: usize,
    output: &'a str,
}

/// The inputs of a node at [`PROBES`], by feature; none for an input that is not there.
type Inputs = Vec<Option<Vec<f64>>>;

impl<'a> Chain<'a> {
    /// Reads the longest function that is known, of one operator or of many.
    pub(super) fn function(&mut self) -> Result<bool, Problem> {
        if let Some(found) = self.longest(1, elementwise::recognise)? {
            match found.function {
                Function::Affine { scale: 1.0, offset: 0.0 } => {}
                Function::Affine { scale, offset } => {
                    self.layers.push(Layer::Rescale { scale, offset });
                }
                Function::Activation(activation) => self.layers.push(Layer::Activation(activation)),
            }
            self.value = found.output;
            return Ok(true);
        }
        let Some(&[Some(features)]) = self.sample.as_deref() else { return Ok(false) };
        if features < 2 || self.columns {
            return Ok(false);
        }
        let Some(found) = self.longest(features, elementwise::recognise_each)? else {
            return Ok(false);
        };
        let graph = self.graph;
        self.each_feature(&graph.nodes[found.end], found.function)?;
        self.value = found.output;
        Ok(true)
    }

    /// Adds a function that differs by feature.
    fn each_feature(&mut self, node: &Node<'a>, found: elementwise::Each) -> Result<(), Problem> {
        let count = found.scales.len();
        self.pay(2 * count)?;
        if found.is_prelu {
            let slope = self.row(node, "slope", Spread::Made(found.scales), count, None)?;
            self.layers.push(Layer::Prelu { slope });
            return Ok(());
        }
        self.layers.extend(found.activation.map(Layer::Activation));
        let scale = Some(self.row(node, "scale", Spread::Made(found.scales), count, None)?);
        let offset = Some(self.row(node, "offset", Spread::Made(found.offsets), count, None)?);
        self.layers.push(Layer::Affine { scale, offset });
        Ok(())
    }

    /// The longest function from the value that has been reached that `recognise` knows, computed
    /// for this number of features.
    fn longest<F>(
        &mut self,
        features: usize,
        recognise: fn(&[f64], Alone<'_, '_>) -> Result<Option<F>, Problem>,
    ) -> Result<Option<FoundFunction<'a, F>>, Problem> {
        let graph = self.graph;
        let start = self.value;
        let mut values = vec![(start, PROBES.repeat(features))];
        let mut users = vec![self.users_of(start)?];
        let mut waiting: BTreeSet<_> = users.concat().into_iter().collect();
        let mut done = BTreeSet::new();
        let mut longest = None;
        self.differs = false;
        while let Some(index) = waiting.pop_first().filter(|_| done.len() < LONGEST_ACTIVATION) {
            let node = &graph.nodes[index];
            let Some(inputs) = self.inputs_at_probes(node, &values, features)? else { break };
            let &[output] = &node.outputs[..] else { break };
            let Some(results) = elementwise::apply(node, &inputs)? else { break };
            done.insert(index);
            // Whether what was computed before is not needed any more.
            if users.iter().flatten().all(|user| done.contains(user)) {
                let alone = (done.len() == 1).then_some((node, &inputs[..]));
                let is_likely = features == 1 || self.differs;
                if is_likely && let Some(function) = recognise(&results, alone)? {
                    longest = Some(FoundFunction { function, end: index, output });
                }
            }
            if self.outputs.contains(output) {
                break;
            }
            let of_output = self.users_of(output)?;
            // Labels begin at a value that is reached.
            if self.labels.starts.contains_key(output) {
                break;
            }
            waiting.extend(&of_output);
            users.push(of_output);
            values.push((output, results));
        }
        Ok(longest)
    }

    /// The inputs of a node at [`PROBES`] for each feature, if each input is among `values`, or is a
    /// constant of one number, or of one for each feature.
    fn inputs_at_probes(
        &mut self,
        node: &Node<'a>,
        values: &[(&'a str, Vec<f64>)],
        features: usize,
    ) -> Result<Option<Inputs>, Problem> {
        let mut inputs = Vec::new();
        // No operator here has more than three.
        if node.inputs.len() > 3 {
            return Ok(None);
        }
        let cost = features.saturating_mul(PROBES.len() * (node.inputs.len() + 1));
        if features > 1 && !self.may_compute(cost) {
            return Ok(None);
        }
        // Of other values it is not known that they are of floating point.
        if node.operator() == "CastLike"
            && node.inputs.get(1) != values.first().map(|(name, _)| name)
        {
            return Ok(None);
        }
        for &name in &node.inputs {
            if let Some((_, values)) = values.iter().find(|(value, _)| *value == name) {
                inputs.push(Some(values.clone()));
            } else if name.is_empty() {
                inputs.push(None);
            } else {
                let Some(each) = self.constant_at_probes(name, features)? else { return Ok(None) };
                inputs.push(Some(each));
            }
        }
        Ok(Some(inputs))
    }

    /// Takes this count of numbers from what may be computed.
    pub(super) fn may_compute(&mut self, count: usize) -> bool {
        self.computed = self.computed.saturating_add(count);
        self.computed <= MOST_COMPUTED
    }

    /// A constant at [`PROBES`] for each feature.
    fn constant_at_probes(
        &mut self,
        name: &'a str,
        features: usize,
    ) -> Result<Option<Vec<f64>>, Problem> {
        let dimensions = self.sample.as_ref().map_or(1, |sample| sample.len() + 1);
        let Some(constant) = self.constants.get(name)? else { return Ok(None) };
        if let Some(number) = constant.scalar() {
            // A constant of more dimensions would give its own to the result.
            let fits = constant.shape.len() <= dimensions;
            return Ok(fits.then(|| vec![number; PROBES.len() * features]));
        }
        if features == 1 {
            return Ok(None);
        }
        let constant: Constant<'a> = constant.clone();
        let each = match self.spread(&constant)? {
            Some(Spread::Made(values)) => values,
            Some(Spread::Tensor(source)) if source.tensor.dtype.is_some() => {
                source.tensor.to_tensor(source.name)?.to_f64()?
            }
            _ => return Ok(None),
        };
        self.differs = true;
        Ok((each.len() == features).then(|| {
            each.iter().flat_map(|&value| std::iter::repeat_n(value, PROBES.len())).collect()
        }))
    }
}
