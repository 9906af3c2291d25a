//! From the input of a graph to its output, layer by layer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::constants::{BATCH, Constant, Constants, Source};
use super::elementwise::{self, Function, PROBES, activation, decimal};
use super::proto::{Graph, Model, Node, ValueInfo};
use crate::error::shown;
use crate::{Dtype, Layer, Layout, Network, Norm, Problem, Tensor};

/// Versions of the standard operators that are understood: before 7, `Add` and others wrote down how
/// their inputs fit together.
const OLDEST_OPSET: i64 = 7;

/// The most operators that may make one activation.
const LONGEST_ACTIVATION: usize = 16;

const ONE_AFTER_THE_OTHER: &str = "only dense layers, batch and layer normalisation, dropout and \
                                   activations, one after the other, are read";

/// Reads the network of a model: its tensors, its layers, and what was left out.
pub(super) fn read(model: &Model<'_>) -> Result<(Vec<Tensor>, Network, Vec<String>), Problem> {
    if model.opset < OLDEST_OPSET {
        let what = format!("version {} of the standard operators", model.opset);
        let why = format!(
            "{OLDEST_OPSET} and later are understood; convert the model with \
             onnx.version_converter.convert_version(model, 17)"
        );
        return Err(Problem::refused(what, why));
    }
    let graph = &model.graph;
    let mut chain = Chain::new(graph)?;
    let input_shape = chain.sample.clone().and_then(|sample| sample.into_iter().collect());
    chain.walk()?;
    chain.check_outputs()?;
    let network = Network { input_shape, layers: chain.layers };
    let tensors = chain.used.into_values().map(|(source, shape)| {
        let mut tensor = source.tensor.to_tensor(source.name)?;
        tensor.shape = shape;
        Ok(tensor)
    });
    Ok((tensors.collect::<Result<_, Problem>>()?, network, chain.labels.notes()))
}

/// The size of each dimension of a sample where it is known.
type Sample = Vec<Option<usize>>;

/// The way from the input as far as it has been walked.
struct Chain<'a> {
    graph: &'a Graph<'a>,
    constants: Constants<'a>,
    /// For each value the nodes that use it.
    users: HashMap<&'a str, Vec<usize>>,
    labels: Labels<'a>,
    /// The value that has been reached.
    value: &'a str,
    /// Its shape without the batch, if the number of its dimensions is known.
    sample: Option<Sample>,
    /// The size of the batch, if that is fixed.
    batch: Option<usize>,
    layers: Vec<Layer>,
    /// The tensors of the layers by their places in the file, with the shapes that layers need.
    used: BTreeMap<usize, (Source<'a>, Vec<usize>)>,
}

/// Nodes that make labels, or the probabilities of two classes, of the outputs.
#[derive(Default)]
struct Labels<'a> {
    /// In words, the first of them.
    first: Option<String>,
    nodes: HashSet<usize>,
    values: HashSet<&'a str>,
}

impl<'a> Chain<'a> {
    fn new(graph: &'a Graph<'a>) -> Result<Self, Problem> {
        let constants = Constants::new(graph)?;
        let mut inputs = graph.inputs.iter().filter(|input| !constants.is_known(input.name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            let count = graph.inputs.iter().filter(|input| !constants.is_known(input.name)).count();
            let what = format!("a graph with {count} inputs");
            return Err(Problem::refused(what, "a network has one"));
        };
        let users = users(graph, &constants)?;
        let (batch, sample) = batch_and_sample(input)?;
        Ok(Self {
            graph,
            constants,
            users,
            labels: Labels::default(),
            value: input.name,
            sample,
            batch,
            layers: Vec::new(),
            used: BTreeMap::new(),
        })
    }

    /// Walks to where nothing follows.
    fn walk(&mut self) -> Result<(), Problem> {
        loop {
            let users = self.users_of(self.value)?;
            let understood = match users[..] {
                [] => return Ok(()),
                [only] => self.layer(&self.graph.nodes[only])? || self.function()?,
                _ => self.function()?,
            };
            if !understood {
                return Err(self.not_understood(&users));
            }
        }
    }

    /// Checks that nothing is computed beside the network but labels.
    fn check_outputs(&self) -> Result<(), Problem> {
        let reached = |output: &&ValueInfo<'_>| {
            output.name == self.value || self.labels.values.contains(output.name)
        };
        let unreached = self.graph.outputs.iter().find(|output| !reached(output));
        let what = match unreached {
            Some(other) => format!("the output {} beside {}", shown(other.name), shown(self.value)),
            None if self.graph.outputs.is_empty() => "a graph without outputs".to_owned(),
            None if self.layers.is_empty() => "a graph without layers".to_owned(),
            None => return Ok(()),
        };
        Err(Problem::refused(what, ONE_AFTER_THE_OTHER))
    }

    /// The nodes that use a value, but for those that only look at its shape or make labels of it.
    fn users_of(&mut self, value: &'a str) -> Result<Vec<usize>, Problem> {
        let mut others = Vec::new();
        for index in self.users.get(value).cloned().unwrap_or_default() {
            let node = &self.graph.nodes[index];
            if node.operator() == "Shape" {
                if let (Some(sizes), Some(&output)) = (self.sizes(node)?, node.outputs.first()) {
                    self.constants.add_shape(output, sizes);
                }
            } else if node.operator() == "ArgMax"
                || node.classical_operator() == "ZipMap"
                || self.is_other_probability(node, value)?
            {
                self.labels.add(index, self.graph, &self.users)?;
            } else if !self.labels.nodes.contains(&index) {
                others.push(index);
            }
        }
        Ok(others)
    }

    /// Whether a node makes `1 - p` of the probability `p` of the second of two classes, which is then
    /// put before it, as skl2onnx does.
    fn is_other_probability(&mut self, node: &Node<'a>, p: &'a str) -> Result<bool, Problem> {
        let (&[one, subtracted], &[output]) = (&node.inputs[..], &node.outputs[..]) else {
            return Ok(false);
        };
        if node.operator() != "Sub" || subtracted != p {
            return Ok(false);
        }
        let Some(&[user]) = self.users.get(output).map(Vec::as_slice) else { return Ok(false) };
        let user = &self.graph.nodes[user];
        let both = user.operator() == "Concat" && user.inputs == [output, p];
        Ok(both && self.constants.get(one)?.and_then(Constant::scalar) == Some(1.0))
    }

    /// What the node Shape makes of the value that has been reached, if the sizes are known.
    fn sizes(&self, node: &Node<'_>) -> Result<Option<Vec<f64>>, Problem> {
        let sample = self.sample.iter().flatten().map(|size| size.map(|size| size as f64));
        let batch = self.batch.map_or(BATCH, |batch| batch as f64);
        let Some(sizes) = [Some(batch)].into_iter().chain(sample).collect::<Option<Vec<_>>>()
        else {
            return Ok(None);
        };
        let place = |name, absent: usize| {
            let place = node.int(name)?.map_or(Some(absent), |at| axis(at, sizes.len()));
            Ok::<_, Problem>(place.unwrap_or(absent))
        };
        let (start, end) = (place("start", 0)?, place("end", sizes.len())?);
        Ok(sizes.get(start..end).filter(|_| self.sample.is_some()).map(<[f64]>::to_vec))
    }

    /// Goes on to the output of a node that has been understood.
    fn advance(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        let (output, others) = match node.outputs.split_first() {
            Some((&output, others)) if !output.is_empty() => (output, others),
            _ => return Err(node.malformed("there is no output")),
        };
        let in_use = |name: &&&str| self.users.contains_key(**name) || self.is_output(name);
        if let Some(other) = others.iter().find(in_use) {
            let what = format!("the output {}", shown(other));
            return Err(node.refused(what, ONE_AFTER_THE_OTHER));
        }
        self.value = output;
        Ok(())
    }

    fn is_output(&self, name: &str) -> bool {
        self.graph.outputs.iter().any(|output| output.name == name)
    }

    /// The error of a value that does not go on to one layer.
    fn not_understood(&self, users: &[usize]) -> Problem {
        let node = &self.graph.nodes[users[0]];
        if let [_, second, ..] = *users {
            let second = &self.graph.nodes[second];
            let what = format!(
                "value {}, which goes to {} and to {}",
                shown(self.value),
                node.shown(),
                second.shown()
            );
            return Problem::refused(what, ONE_AFTER_THE_OTHER);
        }
        let why = match (node.operator(), node.classical_operator()) {
            ("", "") => {
                "only operators of the standard are read; export the model without the \
                 optimisations of a runtime"
            }
            ("", _) => {
                "of operators for classical machine learning only ZipMap and labels at the end are \
                 left out; export the network without what comes before and after it"
            }
            ("Add" | "Sub" | "Mul" | "Div", _) => {
                "only one number for all features is understood here, and a bias right after MatMul; \
                 if it is what is left of a batch normalisation, give the file that the training \
                 program itself saved, such as .keras or .pt"
            }
            ("DequantizeLinear" | "QuantizeLinear" | "DynamicQuantizeLinear", _) => {
                "numbers of few bits are not read; export the network before quantisation"
            }
            _ => ONE_AFTER_THE_OTHER,
        };
        Problem::refused(node.shown(), why)
    }
}

/// For each value the nodes that use it.
///
/// # Errors
///
/// [`Problem::Malformed`] if a node uses a value that is made after it or nowhere: then there may be
/// a circle.
fn users<'a>(
    graph: &'a Graph<'a>,
    constants: &Constants<'a>,
) -> Result<HashMap<&'a str, Vec<usize>>, Problem> {
    let inputs: HashSet<_> = graph.inputs.iter().map(|input| input.name).collect();
    let mut users: HashMap<_, Vec<_>> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for &name in node.inputs.iter().filter(|name| !name.is_empty()) {
            let made = match constants.maker(name) {
                Some(maker) => maker < index && !inputs.contains(name),
                None => constants.is_known(name) || inputs.contains(name),
            };
            if !made {
                let what = format!("the value {} is not made by a node before", shown(name));
                return Err(node.malformed(what));
            }
            let users = users.entry(name).or_default();
            if users.last() != Some(&index) {
                users.push(index);
            }
        }
    }
    Ok(users)
}

fn batch_and_sample(input: &ValueInfo<'_>) -> Result<(Option<usize>, Option<Sample>), Problem> {
    let Some(shape) = &input.shape else { return Ok((None, None)) };
    match shape.split_first() {
        Some((&batch, sample)) if !sample.is_empty() => Ok((batch, Some(sample.to_vec()))),
        _ => {
            let count = shape.len();
            let what = format!("the input {} of {count} dimensions", shown(input.name));
            let why = "the first must count the samples; export the network for a batch";
            Err(Problem::refused(what, why))
        }
    }
}

/// Dimension `at` of `count`; negative ones count from the end.
fn axis(at: i64, count: usize) -> Option<usize> {
    let at = if at < 0 { at.checked_add(i64::try_from(count).ok()?)? } else { at };
    usize::try_from(at).ok().filter(|&at| at <= count)
}

impl<'a> Labels<'a> {
    /// What may follow on labels.
    const OPERATORS: [&'static str; 9] = [
        "ArgMax",
        "Cast",
        "Concat",
        "Gather",
        "Identity",
        "Reshape",
        "Squeeze",
        "Sub",
        "Unsqueeze",
    ];
    const CLASSICAL: [&'static str; 3] = ["ArrayFeatureExtractor", "LabelEncoder", "ZipMap"];

    /// Adds a node and all that follows on it.
    fn add(
        &mut self,
        index: usize,
        graph: &'a Graph<'a>,
        users: &HashMap<&'a str, Vec<usize>>,
    ) -> Result<(), Problem> {
        let mut waiting = vec![index];
        while let Some(index) = waiting.pop() {
            if !self.nodes.insert(index) {
                continue;
            }
            let node = &graph.nodes[index];
            if !Self::OPERATORS.contains(&node.operator())
                && !Self::CLASSICAL.contains(&node.classical_operator())
            {
                return Err(node.refused("labels", "they are only understood at the end"));
            }
            self.first.get_or_insert_with(|| node.shown());
            for &output in &node.outputs {
                self.values.insert(output);
                waiting.extend(users.get(output).into_iter().flatten());
            }
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let note = |first| {
            let count = self.nodes.len();
            format!(
                "left out: {count} operators that make labels or probabilities of the outputs, from {first} on"
            )
        };
        self.first.as_ref().map(note).into_iter().collect()
    }
}

/// Functions of one number.
impl<'a> Chain<'a> {
    /// Reads the longest function that is known, of one operator or of many.
    fn function(&mut self) -> Result<bool, Problem> {
        let start = self.value;
        let mut values = vec![(start, PROBES.to_vec())];
        let mut users = vec![self.users_of(start)?];
        let mut waiting: BTreeSet<_> = users.concat().into_iter().collect();
        let mut done = BTreeSet::new();
        let mut longest = None;
        while let Some(index) = waiting.pop_first().filter(|_| done.len() < LONGEST_ACTIVATION) {
            let node = &self.graph.nodes[index];
            let Some(inputs) = self.inputs_at_probes(node, &values)? else { break };
            let &[output] = &node.outputs[..] else { break };
            let Some(results) = elementwise::apply(node, &inputs)? else { break };
            done.insert(index);
            // Whether what was computed before is not needed any more.
            if users.iter().flatten().all(|user| done.contains(user)) {
                let alone = (done.len() == 1).then_some((node, &inputs[..]));
                if let Some(function) = elementwise::recognise(&results, alone)? {
                    longest = Some((function, output));
                }
            }
            if self.is_output(output) {
                break;
            }
            let of_output = self.users_of(output)?;
            waiting.extend(&of_output);
            users.push(of_output);
            values.push((output, results));
        }
        let Some((function, output)) = longest else { return Ok(false) };
        match function {
            Function::Affine { scale: 1.0, offset: 0.0 } => {}
            Function::Affine { scale, offset } => {
                self.layers.push(Layer::Rescale { scale, offset });
            }
            Function::Activation(activation) => self.layers.push(Layer::Activation(activation)),
        }
        self.value = output;
        Ok(true)
    }

    /// The inputs of a node at [`PROBES`], if each is among `values` or one number.
    fn inputs_at_probes(
        &mut self,
        node: &Node<'a>,
        values: &[(&'a str, Vec<f64>)],
    ) -> Result<Option<Vec<Option<Vec<f64>>>>, Problem> {
        let dimensions = self.sample.as_ref().map_or(1, |sample| sample.len() + 1);
        let mut inputs = Vec::new();
        // No operator here has more than three.
        if node.inputs.len() > 3 {
            return Ok(None);
        }
        for &name in &node.inputs {
            if let Some((_, values)) = values.iter().find(|(value, _)| *value == name) {
                inputs.push(Some(values.clone()));
            } else if name.is_empty() {
                inputs.push(None);
            } else {
                let constant = self.constants.get(name)?;
                // A constant of more dimensions would give its own to the result.
                let fits = |constant: &&Constant<'_>| constant.shape.len() <= dimensions;
                match constant.filter(fits).and_then(Constant::scalar) {
                    Some(number) => inputs.push(Some(vec![number; PROBES.len()])),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(inputs))
    }
}

/// Layers.
impl<'a> Chain<'a> {
    /// Reads a node that is a layer by itself; no other is touched.
    fn layer(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        match node.operator() {
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.matmul(node)?,
            "Add" if self.bias(node)? => {}
            "Flatten" => self.flatten(node)?,
            "Reshape" => self.reshape(node)?,
            "Squeeze" | "Unsqueeze" => self.squeeze(node)?,
            "Dropout" => self.dropout(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "LayerNormalization" => self.layer_norm(node)?,
            "Softmax" => self.softmax(node, "softmax")?,
            "LogSoftmax" => self.softmax(node, "log-softmax")?,
            _ => return Ok(false),
        }
        self.advance(node)?;
        Ok(true)
    }

    /// `Gemm`: `alpha A B + beta C`.
    fn gemm(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["alpha", "beta", "transA", "transB"])?;
        // It takes nothing but two dimensions.
        self.sample.get_or_insert_with(|| vec![None]);
        let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
        let bias = self.constant(node, 2)?;
        if alpha != 1.0 || (beta != 1.0 && bias.is_some()) {
            let what = format!("factors alpha = {alpha} and beta = {beta}");
            return Err(
                node.refused(what, "they must be 1; multiply the weights and biases by them")
            );
        }
        if node.int("transA")?.unwrap_or(0) != 0 {
            return Err(node.refused("transA", "samples must be rows; export the model again"));
        }
        let transposed = node.int("transB")?.unwrap_or(0) != 0;
        let weight = self.weight(node, transposed)?;
        self.dense(node, weight, bias)
    }

    /// `MatMul`: `A B`.
    fn matmul(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&[])?;
        let weight = self.weight(node, false)?;
        self.dense(node, weight, None)
    }

    /// The weights of a dense layer, the second input of a node.
    fn weight(&mut self, node: &'a Node<'a>, transposed: bool) -> Result<Weight<'a>, Problem> {
        let Some(constant) = self.constant(node, 1)? else {
            return Err(node.malformed("there are no weights"));
        };
        let (&[rows, columns], Some(source)) = (&constant.shape[..], constant.source) else {
            let what = format!("weights of shape {:?}", constant.shape);
            return Err(node.refused(what, "they must be a matrix"));
        };
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        let layout = if transposed == source.transposed { Layout::InOut } else { Layout::OutIn };
        let name = self.tensor(node, source, source.tensor.shape.clone())?;
        Ok(Weight { name, layout, inputs, outputs })
    }

    fn dense(
        &mut self,
        node: &'a Node<'a>,
        weight: Weight<'a>,
        bias: Option<Constant<'a>>,
    ) -> Result<(), Problem> {
        let features = self.features(node)?;
        let empty = weight.inputs == 0 || weight.outputs == 0;
        if empty || features.is_some_and(|features| features != weight.inputs) {
            let (inputs, outputs) = (weight.inputs, weight.outputs);
            let features = features.map_or("some".to_owned(), |features| features.to_string());
            return Err(node.malformed(format!(
                "weights from {inputs} to {outputs} numbers for samples of {features} numbers"
            )));
        }
        let bias = match bias {
            Some(bias) => Some(self.vector(node, "biases", &bias, weight.outputs)?.to_owned()),
            None => None,
        };
        let Weight { name, layout, outputs, .. } = weight;
        self.layers.push(Layer::Dense { weight: name.to_owned(), bias, layout });
        self.sample = Some(vec![Some(outputs)]);
        Ok(())
    }

    /// `Add` right after a dense layer without bias: a constant of as many numbers as that has
    /// outputs is its bias.
    fn bias(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        let (Some(Layer::Dense { bias: None, .. }), Some([Some(outputs)])) =
            (self.layers.last(), self.sample.as_deref())
        else {
            return Ok(false);
        };
        let outputs = *outputs;
        let (&[first, second], value) = (&node.inputs[..], self.value) else { return Ok(false) };
        let other = if first == value { second } else { first };
        let constant = match self.constants.get(other)? {
            Some(constant) if constant.shape.iter().product::<usize>() == outputs => {
                constant.clone()
            }
            _ => return Ok(false),
        };
        if constant.source.is_none() {
            return Ok(false);
        }
        node.has_only(&[])?;
        let name = self.vector(node, "biases", &constant, outputs)?;
        if let Some(Layer::Dense { bias, .. }) = self.layers.last_mut() {
            *bias = Some(name.to_owned());
        }
        Ok(true)
    }

    /// `Flatten`: to two dimensions, of which the first counts the samples.
    fn flatten(&mut self, node: &Node<'_>) -> Result<(), Problem> {
        node.has_only(&["axis"])?;
        let dimensions = self.sample.as_ref().map(|sample| sample.len() + 1);
        let at = node.int("axis")?.unwrap_or(1);
        if at != 1 && dimensions.is_none_or(|dimensions| axis(at, dimensions) != Some(1)) {
            let what = format!("axis {at}");
            return Err(node.refused(what, "only the first dimension may count the samples"));
        }
        let size = self.sample.as_deref().and_then(size);
        self.reshape_to(vec![size]);
        Ok(())
    }

    /// `Reshape`, if it leaves the samples apart.
    fn reshape(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["allowzero"])?;
        let target = self.constant(node, 1)?;
        let target = target.as_ref().and_then(Constant::list).unwrap_or_default();
        let keeps_zero = node.int("allowzero")?.unwrap_or(0) != 0;
        match self.reshaped(target, keeps_zero) {
            Some(sample) => {
                self.reshape_to(sample);
                Ok(())
            }
            None => {
                let from = self.sample.as_deref().map_or("unknown".to_owned(), shown_shape);
                let what = format!("a change of samples of shape {from} to {target:?}");
                let why = "it must keep the numbers of each sample together in their order, and the \
                           shapes must be known; use Flatten";
                Err(node.refused(what, why))
            }
        }
    }

    /// The shape of a sample after `Reshape`, if its first number is that of the samples.
    fn reshaped(&self, target: &[f64], keeps_zero: bool) -> Option<Sample> {
        let (&first, rest) = target.split_first()?;
        let size = self.sample.as_deref().and_then(size);
        let same_batch = first.is_nan()
            || (first == 0.0 && !keeps_zero)
            || self.batch.is_some_and(|batch| batch as f64 == first);
        let mut sample = Vec::new();
        for (at, &wanted) in rest.iter().enumerate() {
            sample.push(match wanted {
                0.0 if !keeps_zero => Some((*self.sample.as_ref()?.get(at)?)?),
                -1.0 => None,
                wanted if wanted >= 1.0 && wanted <= f64::from(u32::MAX) => Some(wanted as usize),
                _ => return None,
            });
        }
        let open: Vec<_> = (0..sample.len()).filter(|&at| sample[at].is_none()).collect();
        match open[..] {
            [] if first == -1.0 || same_batch => {
                (size.is_some() && self::size(&sample) == size).then_some(sample)
            }
            [at] if same_batch => {
                sample[at] = Some(1);
                let others = self::size(&sample).filter(|&others| others > 0)?;
                match size {
                    Some(size) if size.is_multiple_of(others) => sample[at] = Some(size / others),
                    // Of rows it need not be known how long they are.
                    None if sample.len() == 1 => sample[at] = None,
                    _ => return None,
                }
                Some(sample)
            }
            _ => None,
        }
    }

    /// `Squeeze` and `Unsqueeze`, which remove and add dimensions of size 1.
    fn squeeze(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["axes"])?;
        let axes = match node.ints("axes")? {
            Some(axes) => Some(axes.to_vec()),
            None => self.constant(node, 1)?.and_then(|constant| {
                Some(constant.few?.into_iter().map(|axis| axis as i64).collect())
            }),
        };
        let squeezed = axes.clone().zip(self.sample.as_deref()).and_then(|(axes, sample)| {
            if node.operator() == "Squeeze" {
                squeezed(sample, &axes)
            } else {
                unsqueezed(sample, &axes)
            }
        });
        match squeezed {
            Some(sample) => {
                self.reshape_to(sample);
                Ok(())
            }
            None => {
                let from = self.sample.as_deref().map_or("unknown".to_owned(), shown_shape);
                let what = format!("axes {axes:?} of samples of shape {from}");
                Err(node.refused(what, "only dimensions of size 1 of a sample may come and go"))
            }
        }
    }

    fn reshape_to(&mut self, sample: Sample) {
        let was_row = self.sample.as_ref().is_some_and(|sample| sample.len() == 1);
        if sample.len() == 1 && !was_row {
            self.layers.push(Layer::Flatten);
        }
        self.sample = Some(sample);
    }

    /// `Dropout`: the share is an attribute before version 12, an input since.
    fn dropout(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["ratio", "seed"])?;
        let share = match self.constant(node, 1)? {
            Some(share) => share.scalar(),
            None => Some(f64::from(node.float("ratio", 0.5)?)),
        };
        let Some(share) = share.filter(|share| (0.0..1.0).contains(share)) else {
            return Err(node.malformed("the share to drop is no number from 0 to 1"));
        };
        let training = self.constant(node, 2)?;
        if training.is_some_and(|training| training.scalar() != Some(0.0)) {
            return Err(node.refused("training_mode", EXPORT_FOR_INFERENCE));
        }
        self.layers.push(Layer::Dropout(decimal(share as f32)));
        Ok(())
    }

    /// `BatchNormalization`.
    fn batch_norm(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["epsilon", "momentum", "spatial", "training_mode"])?;
        if node.int("training_mode")?.unwrap_or(0) != 0 || node.int("spatial")?.unwrap_or(1) != 1 {
            return Err(node.refused("training_mode or spatial", EXPORT_FOR_INFERENCE));
        }
        let scale = self.norm_vector(node, 1, "factors")?;
        let shift = self.norm_vector(node, 2, "offsets")?;
        let mean = self.norm_vector(node, 3, "means")?;
        let variance = self.norm_vector(node, 4, "variances")?;
        if scale.is_none() || shift.is_none() || mean.is_none() || variance.is_none() {
            return Err(node.malformed("factors, offsets, means or variances are missing"));
        }
        let epsilon = decimal(node.float("epsilon", 1e-5)?);
        let kind = Norm::Batch;
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon });
        Ok(())
    }

    /// `LayerNormalization`.
    fn layer_norm(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["axis", "epsilon", "stash_type"])?;
        self.check_axis(node)?;
        let scale = self.norm_vector(node, 1, "factors")?;
        if scale.is_none() {
            return Err(node.malformed("the factors are missing"));
        }
        let shift = self.norm_vector(node, 2, "offsets")?;
        let epsilon = decimal(node.float("epsilon", 1e-5)?);
        let (mean, variance) = (None, None);
        let kind = Norm::Layer;
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon });
        Ok(())
    }

    /// `Softmax` and `LogSoftmax`.
    fn softmax(&mut self, node: &Node<'_>, name: &str) -> Result<(), Problem> {
        node.has_only(&["axis"])?;
        self.check_axis(node)?;
        self.features(node)?;
        self.layers.push(Layer::Activation(activation(name)));
        Ok(())
    }

    /// Of rows, the features are the last dimension of two.
    fn check_axis(&self, node: &Node<'_>) -> Result<(), Problem> {
        match node.int("axis")? {
            None | Some(1 | -1) => Ok(()),
            Some(axis) => {
                Err(node.refused(format!("axis {axis}"), "it must be that of the features"))
            }
        }
    }

    /// A vector of a normalisation, if it is there.
    fn norm_vector(
        &mut self,
        node: &'a Node<'a>,
        at: usize,
        what: &str,
    ) -> Result<Option<String>, Problem> {
        let Some(constant) = self.constant(node, at)? else { return Ok(None) };
        let features = match self.features(node)? {
            Some(features) => features,
            None => constant.shape.iter().product(),
        };
        self.sample = Some(vec![Some(features)]);
        Ok(Some(self.vector(node, what, &constant, features)?.to_owned()))
    }

    /// The length of the rows that have been reached, if that is known.
    fn features(&self, node: &Node<'_>) -> Result<Option<usize>, Problem> {
        match self.sample.as_deref() {
            Some(&[features]) => Ok(features),
            Some(sample) => Err(node.refused(
                format!("samples of shape {}", shown_shape(sample)),
                "they must be rows of numbers; add Flatten before",
            )),
            None => Err(node.refused(
                "samples of unknown shape",
                "the graph does not say that they are rows; export it with the shape of its input",
            )),
        }
    }

    /// Input `at` of a node, if there is one.
    fn constant(&mut self, node: &'a Node<'a>, at: usize) -> Result<Option<Constant<'a>>, Problem> {
        let data_is_first = node.inputs.first() == Some(&self.value);
        let name = match node.inputs.get(at) {
            Some(&name) if !name.is_empty() => name,
            _ => return Ok(None),
        };
        match self.constants.get(name)? {
            Some(constant) if data_is_first => Ok(Some(constant.clone())),
            _ => Err(node.refused(
                format!("the input {}", shown(name)),
                "all but the first must be constants; if it is computed from constants, simplify \
                 the model first, for example with onnxslim or onnxsim",
            )),
        }
    }

    /// A constant of `length` numbers, as a tensor of one dimension.
    fn vector(
        &mut self,
        node: &Node<'_>,
        what: &str,
        constant: &Constant<'a>,
        length: usize,
    ) -> Result<&'a str, Problem> {
        let leading = constant.shape.len().saturating_sub(1);
        let is_row = constant.shape[..leading].iter().all(|&size| size == 1);
        match constant.source {
            Some(source) if is_row && constant.shape.last() == Some(&length) => {
                self.tensor(node, source, vec![length])
            }
            _ => Err(node.refused(
                format!("{what} of shape {:?}", constant.shape),
                format!("they must be a tensor of {length} numbers"),
            )),
        }
    }

    /// Remembers that a layer needs a tensor in this shape, and gives its name.
    fn tensor(
        &mut self,
        node: &Node<'_>,
        source: Source<'a>,
        shape: Vec<usize>,
    ) -> Result<&'a str, Problem> {
        if !source.tensor.dtype.is_some_and(Dtype::is_float) {
            let kind = source.tensor.dtype.map_or("another type", Dtype::name);
            let what = format!("the tensor {} of {kind}", shown(source.name));
            return Err(
                node.refused(what, "it must be of floating point; export before quantisation")
            );
        }
        let (_, before) = self.used.entry(source.place).or_insert((source, shape.clone()));
        if *before != shape {
            let what = format!("the tensor {} in two shapes", shown(source.name));
            return Err(node.refused(what, "one that is used twice must be used alike"));
        }
        Ok(source.name)
    }
}

const EXPORT_FOR_INFERENCE: &str =
    "it must be as in inference; export the model after model.eval()";

/// The weights of a dense layer.
struct Weight<'a> {
    name: &'a str,
    layout: Layout,
    inputs: usize,
    outputs: usize,
}

/// How many numbers a sample has, if that is known.
fn size(sample: &[Option<usize>]) -> Option<usize> {
    sample.iter().try_fold(1, |product: usize, &size| product.checked_mul(size?))
}

fn shown_shape(sample: &[Option<usize>]) -> String {
    let sizes = sample.iter().map(|size| size.map_or("?".to_owned(), |size| size.to_string()));
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

/// The sample without these dimensions, of which each must have size 1; 0 is the batch.
fn squeezed(sample: &[Option<usize>], axes: &[i64]) -> Option<Sample> {
    let axes = axes.iter().map(|&at| axis(at, sample.len() + 1)).collect::<Option<Vec<_>>>()?;
    let fits = |&at: &usize| at > 0 && sample.get(at - 1) == Some(&Some(1));
    let kept = (1..=sample.len()).filter(|at| !axes.contains(at)).map(|at| sample[at - 1]);
    (!axes.is_empty() && axes.iter().all(fits)).then(|| kept.collect())
}

/// The sample with dimensions of size 1 added at these places; 0 is the batch.
fn unsqueezed(sample: &[Option<usize>], axes: &[i64]) -> Option<Sample> {
    let count = sample.len() + 1 + axes.len();
    let axes = axes.iter().map(|&at| axis(at, count)).collect::<Option<BTreeSet<_>>>()?;
    if axes.iter().any(|&at| at == 0 || at >= count) || axes.len() + sample.len() + 1 != count {
        return None;
    }
    let mut old = sample.iter().copied();
    let mut size = |at| if axes.contains(&at) { Some(1) } else { old.next().flatten() };
    Some((1..count).map(&mut size).collect())
}
