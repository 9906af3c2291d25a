//! The meaning of a network's outputs: the names of the classes, or that they are none.

use std::collections::{BTreeMap, HashMap};

use super::super::elementwise::activation;
use super::super::proto::{Model, Node};
use super::super::tensor::TensorProto;
use super::Chain;
use super::labels::holds_labels;
use crate::classes::{is_key_of_classes, of_metadata};
use crate::error::shown;
use crate::{Layer, OutputKind, Problem};
use fireclay_terminal::counted;

/// The meaning of the outputs.
#[derive(Default)]
pub(super) struct Meaning {
    pub(super) labels: Option<Vec<String>>,
    /// Names in what the file says of itself, each list below its key.
    pub(super) class_names: Vec<(String, Vec<String>)>,
    pub(super) task: Option<OutputKind>,
    pub(super) notes: Vec<String>,
}

/// The result of one operator for a sample of one class.
#[derive(Clone, Debug, PartialEq)]
enum ClassValue {
    /// The outputs, of which this is the largest.
    Outputs { largest: usize },
    /// The outputs, each of which was compared with the number that makes it a label.
    Compared,
    /// Numbers: the only output and what is computed of it.
    Numbers(Vec<f64>),
    /// A label.
    Label(Label),
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    Number(i64),
    Text(String),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Probabilities at which the label of one output is looked at, and the outputs that stand for them.
const PROBABILITIES: [f64; 4] = [1e-4, 0.499, 0.501, 0.9999];
const LOGITS: [f64; 4] = [-1e3, -1e-3, 1e-3, 1e3];

impl<'a> Chain<'a> {
    /// The meaning of the outputs.
    ///
    /// # Errors
    ///
    /// [`Problem::Refused`] if the graph gives labels that are not understood: others would be wrong.
    pub(super) fn meaning(&mut self, model: &Model<'a>) -> Result<Meaning, Problem> {
        let mut meaning = Meaning { notes: self.labels.notes(), ..Meaning::default() };
        let count = match self.sample.as_deref() {
            Some(sample) => {
                sample.iter().try_fold(1, |count: usize, &size| count.checked_mul(size?))
            }
            None => None,
        };
        if !self.labels.nodes.is_empty() {
            self.of_labels(count, &mut meaning)?;
        }
        let is_plain = meaning.labels.as_ref().is_none_or(|labels| {
            labels.iter().enumerate().all(|(at, label)| *label == at.to_string())
        });
        if is_plain {
            meaning.labels = None;
        }
        let items = model.metadata.iter().copied().filter(|(key, _)| is_key_of_classes(key));
        let (class_names, notes) = of_metadata(items);
        meaning.class_names = class_names;
        meaning.notes.extend(notes);
        let is_regression = model.producer == "skl2onnx"
            && self.labels.nodes.is_empty()
            && model.graph.outputs.iter().all(|output| output.name.starts_with("variable"))
            && matches!(self.layers.last(), Some(Layer::Dense { .. }));
        if is_regression {
            meaning.task = Some(OutputKind::Regression);
        }
        Ok(meaning)
    }

    /// Reads the labels that nodes make of the outputs.
    fn of_labels(&mut self, count: Option<usize>, meaning: &mut Meaning) -> Result<(), Problem> {
        let is_probability = self.check_starts()?;
        let Some(count) = count.filter(|&count| count > 0) else {
            let what = "labels of an unknown number of outputs";
            return Err(Problem::refused(what, WITHOUT_LABELS));
        };
        let cases: Vec<ClassValue> = match (count, is_probability) {
            (1, true) => PROBABILITIES.map(|p| ClassValue::Numbers(vec![p])).into(),
            (1, false) => LOGITS.map(|z| ClassValue::Numbers(vec![z])).into(),
            _ => (0..count).map(|largest| ClassValue::Outputs { largest }).collect(),
        };
        let mut all: BTreeMap<String, Vec<ClassValue>> = BTreeMap::new();
        for case in cases {
            for (name, found) in self.case(case, is_probability)? {
                all.entry(name).or_default().push(found);
            }
        }
        let (mut lists, mut is_compared) = (self.lists_of_maps()?, false);
        let maps = lists.len();
        for (name, found) in all {
            if found.iter().all(|found| *found == ClassValue::Compared) {
                is_compared = !self.ends_in("softmax");
            } else {
                lists.push(list(&name, found, count)?);
            }
        }
        let has_answers = lists.len() > maps;
        if is_compared && has_answers {
            let what = "labels of which one output has the greatest and another has several";
            return Err(Problem::refused(what, "export the network with one of the two"));
        }
        // Names alone do not show whether one of them is the answer or several.
        let is_one = has_answers || !lists.is_empty() && (count == 1 || self.ends_in("softmax"));
        if is_compared {
            meaning.task = Some(OutputKind::MultiLabel);
        } else if is_one {
            meaning.task = Some(OutputKind::Classification);
        }
        let Some((first, others)) = lists.split_first() else { return Ok(()) };
        if let Some(other) = others.iter().find(|other| *other != first) {
            let what =
                format!("labels that contradict each other, {} and {}", some(first), some(other));
            return Err(Problem::refused(what, WITHOUT_LABELS));
        }
        if first.len() != count.max(2) {
            let (labels, outputs) =
                (counted(first.len() as u64, "label"), counted(count as u64, "output"));
            let what = format!("{labels} for {outputs}");
            return Err(Problem::refused(what, WITHOUT_LABELS));
        }
        meaning.labels = Some(first.clone());
        if count == 1 && !is_probability && matches!(self.layers.last(), Some(Layer::Dense { .. }))
        {
            self.layers.push(Layer::Activation(activation("sigmoid")));
            meaning
                .notes
                .push("the only output is read as the logit of its second label".to_owned());
        }
        Ok(())
    }

    /// Requires that labels are made of the outputs, and returns whether of probabilities.
    fn check_starts(&self) -> Result<bool, Problem> {
        let mut is_probability = false;
        for (value, start) in &self.labels.starts {
            let start = start.as_ref().filter(|start| self.is_end(start));
            let Some(start) = start else {
                let what = format!("labels of the value {} within the network", shown(value));
                return Err(Problem::refused(what, "labels are only understood at its end"));
            };
            let before = start.layers.checked_sub(1).and_then(|at| self.layers.get(at));
            is_probability |= matches!(before, Some(Layer::Activation(found))
                if ["softmax", "sigmoid"].contains(&found.name.as_str()));
        }
        Ok(is_probability)
    }

    /// Returns true if the last layer is this activation.
    fn ends_in(&self, name: &str) -> bool {
        matches!(self.layers.last(), Some(Layer::Activation(found)) if found.name == name)
    }

    /// The lists of classes that `ZipMap` gives.
    fn lists_of_maps(&self) -> Result<Vec<Vec<String>>, Problem> {
        let mut lists = Vec::new();
        for &at in &self.labels.nodes {
            let node = &self.graph.nodes[at];
            if node.classical_operator() != "ZipMap" {
                continue;
            }
            if let Some(numbers) = node.all_ints("classlabels_int64s")? {
                lists.push(numbers.iter().map(i64::to_string).collect());
            }
            lists.extend(node.all_texts("classlabels_strings")?);
        }
        Ok(lists)
    }

    /// Returns the graph's outputs that hold labels for a sample of one class, by name.
    fn case(
        &mut self,
        case: ClassValue,
        is_probability: bool,
    ) -> Result<Vec<(String, ClassValue)>, Problem> {
        let mut found: HashMap<&'a str, ClassValue> = HashMap::new();
        for value in self.labels.starts.keys() {
            found.insert(value, case.clone());
        }
        let graph = self.graph;
        // What one node and one output cost is about that of a hundred numbers.
        self.pay_for_labels(100 * (self.labels.nodes.len() + graph.outputs.len()))?;
        for at in self.labels.nodes.clone() {
            let node = &graph.nodes[at];
            if let (Some(made), Some(&output)) =
                (self.made(node, &found, is_probability)?, node.outputs.first())
            {
                found.insert(output, made);
            }
        }
        let mut labels = Vec::new();
        for output in &graph.outputs {
            let is_score = self.labels.scores.contains(output.name);
            if is_score || !self.labels.values.contains(output.name) {
                continue;
            }
            match found.get(output.name) {
                Some(ClassValue::Numbers(numbers)) if holds_labels(output) => match numbers[..] {
                    [number] if number.trunc() == number => {
                        let label = match output.element {
                            BOOL => truth(number as i64),
                            _ => Label::Number(number as i64),
                        };
                        labels.push((output.name.to_owned(), ClassValue::Label(label)));
                    }
                    _ => return Err(not_understood(output.name)),
                },
                Some(ClassValue::Label(Label::Number(number))) if output.element == BOOL => {
                    labels.push((output.name.to_owned(), ClassValue::Label(truth(*number))));
                }
                Some(found @ (ClassValue::Label(_) | ClassValue::Compared))
                    if output.element != 0 =>
                {
                    labels.push((output.name.to_owned(), found.clone()));
                }
                _ if holds_labels(output) => return Err(not_understood(output.name)),
                _ => {}
            }
        }
        Ok(labels)
    }

    /// Computes a node for a sample of one class; none if that is not possible.
    fn made(
        &mut self,
        node: &'a Node<'a>,
        found: &HashMap<&'a str, ClassValue>,
        is_probability: bool,
    ) -> Result<Option<ClassValue>, Problem> {
        let input = |at: usize| node.inputs.get(at).and_then(|name| found.get(name));
        let first = input(0);
        Ok(match (node.operator(), node.classical_operator()) {
            ("Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten", _) => first.cloned(),
            ("Cast", _) => first.and_then(|first| cast(first, node.int("to").ok()??)),
            ("ArgMax", _) => {
                let axis = node.int("axis")?.unwrap_or(0);
                first.filter(|_| axis == 1 || axis == -1).and_then(largest)
            }
            ("Gather" | "ArrayFeatureExtractor", _) | (_, "ArrayFeatureExtractor") => {
                let axis = node.int("axis")?.unwrap_or(0);
                match (first, input(1).and_then(index)) {
                    (None, Some(at)) if axis == 0 => self.entry(node.inputs.first(), at)?,
                    _ => None,
                }
            }
            (_, "LabelEncoder") => match first {
                Some(first) => self.encoded(node, first)?,
                None => None,
            },
            ("Where", _) => match input(0).and_then(index) {
                Some(truth @ (0 | 1)) => {
                    let name = node.inputs.get(if truth == 1 { 1 } else { 2 });
                    self.entry(name, 0)?
                }
                _ => None,
            },
            ("Concat", _) => {
                let parts = node.inputs.iter().map(|name| match found.get(name) {
                    Some(ClassValue::Numbers(numbers)) => Some(numbers.clone()),
                    _ => None,
                });
                parts.collect::<Option<Vec<_>>>().map(|parts| ClassValue::Numbers(parts.concat()))
            }
            (_, "Binarizer") => {
                let threshold = f64::from(node.float("threshold", 0.0)?);
                first.and_then(|first| compared(first, threshold, is_probability, |x, y| x > y))
            }
            (operator, _) => self.arithmetic_of_labels(node, operator, found, is_probability)?,
        })
    }

    /// `LabelEncoder`: from one list to another.
    fn encoded(
        &mut self,
        node: &'a Node<'a>,
        found: &ClassValue,
    ) -> Result<Option<ClassValue>, Problem> {
        let ClassValue::Label(label) = found else { return Ok(None) };
        // The first version had a list of texts, and made texts of their places and places of texts.
        if let Some(classes) = node.all_texts("classes_strings")? {
            self.pay_for_labels(10 * classes.len())?;
            return Ok(match label {
                Label::Number(at) => {
                    let text = usize::try_from(*at).ok().and_then(|at| classes.into_iter().nth(at));
                    text.map(|text| ClassValue::Label(Label::Text(text)))
                }
                Label::Text(text) => {
                    let at = classes.iter().position(|class| class == text);
                    let at = at.and_then(|at| i64::try_from(at).ok());
                    at.map(|at| ClassValue::Label(Label::Number(at)))
                }
            });
        }
        let Some(&output) = node.outputs.first() else { return Ok(None) };
        if !self.encoders.contains_key(output) {
            let (Some(keys), Some(values)) = (column(node, "keys")?, column(node, "values")?)
            else {
                return Ok(None);
            };
            let count = keys.len();
            let encoder: BTreeMap<Label, Label> = std::iter::zip(keys, values).collect();
            // A key that occurs twice could mean either.
            if encoder.len() != count {
                return Ok(None);
            }
            self.encoders.insert(output, encoder);
        }
        match self.encoders.get(output).and_then(|encoder| encoder.get(label)) {
            Some(label) => Ok(Some(ClassValue::Label(label.clone()))),
            None => Ok(default(node)?.map(ClassValue::Label)),
        }
    }

    /// Takes what the labels of one class cost from what may be computed.
    fn pay_for_labels(&mut self, count: usize) -> Result<(), Problem> {
        if self.may_compute(count) {
            return Ok(());
        }
        Err(Problem::refused("so many labels made by so many operators", WITHOUT_LABELS))
    }

    /// Operators that meet one number.
    fn arithmetic_of_labels(
        &mut self,
        node: &'a Node<'a>,
        operator: &str,
        found: &HashMap<&'a str, ClassValue>,
        is_probability: bool,
    ) -> Result<Option<ClassValue>, Problem> {
        let &[first, ref rest @ ..] = &node.inputs[..] else { return Ok(None) };
        // Half is rounded to the even number, which is 0.
        if let ("Round", Some(outputs @ ClassValue::Outputs { .. })) = (operator, found.get(first))
        {
            return Ok(compared(outputs, 0.5, is_probability, |x, y| x > y));
        }
        if let ("Round" | "Not", Some(ClassValue::Numbers(numbers))) = (operator, found.get(first))
        {
            let results = numbers
                .iter()
                .map(|x| if operator == "Round" { x.round_ties_even() } else { 1.0 - x });
            return Ok(Some(ClassValue::Numbers(results.collect())));
        }
        let &[second] = rest else { return Ok(None) };
        let function: fn(f64, f64) -> f64 = match operator {
            "Add" => |x, y| x + y,
            "Sub" => |x, y| x - y,
            "Mul" => |x, y| x * y,
            "Greater" => |x, y| f64::from(u8::from(x > y)),
            "GreaterOrEqual" => |x, y| f64::from(u8::from(x >= y)),
            "Less" => |x, y| f64::from(u8::from(x < y)),
            "LessOrEqual" => |x, y| f64::from(u8::from(x <= y)),
            _ => return Ok(None),
        };
        Ok(match (found.get(first), found.get(second)) {
            (Some(found), None) => self.scalar(second)?.and_then(|y| match found {
                ClassValue::Outputs { .. } if operator.starts_with("Greater") => {
                    compared(found, y, is_probability, |x, y| x > y)
                }
                found => with_number(found, |x| function(x, y)),
            }),
            (None, Some(found)) => self.scalar(first)?.and_then(|x| match found {
                ClassValue::Outputs { .. } if operator.starts_with("Less") => {
                    compared(found, x, is_probability, |x, y| x > y)
                }
                found => with_number(found, |y| function(x, y)),
            }),
            _ => None,
        })
    }

    /// A constant of one number.
    fn scalar(&mut self, name: &'a str) -> Result<Option<f64>, Problem> {
        Ok(self.constants.get(name)?.and_then(|found| found.scalar()))
    }

    /// Entry `at` of a constant, as a label.
    fn entry(&mut self, name: Option<&&'a str>, at: usize) -> Result<Option<ClassValue>, Problem> {
        let Some(&name) = name else { return Ok(None) };
        if let Some(table) = self.tables.get(name) {
            return Ok(table.get(at).cloned().map(ClassValue::Label));
        }
        let Some(constant) = self.constants.get(name)? else { return Ok(None) };
        match constant.source {
            Some(source) => {
                let table = entries(source.tensor)?;
                let entry = table.get(at).cloned().map(ClassValue::Label);
                self.tables.insert(name, table);
                Ok(entry)
            }
            None => {
                let number = constant.few.as_ref().and_then(|few| few.get(at).copied());
                let whole = number.filter(|number| number.trunc() == *number);
                Ok(whole.map(|number| ClassValue::Label(Label::Number(number as i64))))
            }
        }
    }
}

/// `TensorProto.BOOL`.
const BOOL: i64 = 9;

/// A truth value as Python writes it.
fn truth(number: i64) -> Label {
    Label::Text((if number == 0 { "False" } else { "True" }).to_owned())
}

const WITHOUT_LABELS: &str = "wrong labels would be worse than none; export the network without labels, and name them with \
     --labels";

/// The error of labels that are not understood.
fn not_understood(output: &str) -> Problem {
    let what = format!("the labels of the output {}, which are not understood", shown(output));
    Problem::refused(what, WITHOUT_LABELS)
}

/// The first labels of a list, in messages.
fn some(labels: &[String]) -> String {
    let first = labels.iter().take(3).map(|label| shown(label)).collect::<Vec<_>>().join(", ");
    if labels.len() > 3 { format!("{first}, ...") } else { first }
}

/// The labels of an output: one for each case.
fn list(name: &str, found: Vec<ClassValue>, count: usize) -> Result<Vec<String>, Problem> {
    let labels = found.into_iter().map(|found| match found {
        ClassValue::Label(label) => Some(label.to_string()),
        _ => None,
    });
    let labels: Vec<String> = labels.collect::<Option<_>>().ok_or_else(|| not_understood(name))?;
    if count > 1 {
        return Ok(labels);
    }
    match &labels[..] {
        [low, below, above, high] if low == below && above == high && low != high => {
            Ok(vec![low.clone(), high.clone()])
        }
        _ => {
            let what = format!(
                "the labels of the output {}, which do not change where both classes are equally \
                 probable",
                shown(name)
            );
            Err(Problem::refused(what, WITHOUT_LABELS))
        }
    }
}

/// `Cast`, where it makes one label of another.
fn cast(found: &ClassValue, to: i64) -> Option<ClassValue> {
    match (found, to) {
        (ClassValue::Label(label), 8) => Some(ClassValue::Label(Label::Text(label.to_string()))),
        (ClassValue::Label(Label::Text(text)), 6 | 7) => {
            Some(ClassValue::Label(Label::Number(text.parse().ok()?)))
        }
        (ClassValue::Label(Label::Number(number)), 9) => {
            Some(ClassValue::Label(Label::Number(i64::from(*number != 0))))
        }
        (ClassValue::Label(Label::Text(_)), _) => None,
        (ClassValue::Numbers(numbers), 2..=7 | 12 | 13) => {
            Some(ClassValue::Numbers(numbers.iter().map(|number| number.trunc()).collect()))
        }
        (ClassValue::Numbers(numbers), 9) => {
            let truths = numbers.iter().map(|&number| f64::from(u8::from(number != 0.0)));
            Some(ClassValue::Numbers(truths.collect()))
        }
        (ClassValue::Outputs { .. }, 2..=9 | 12 | 13) => None,
        (found, _) => Some(found.clone()),
    }
}

/// `ArgMax`.
fn largest(found: &ClassValue) -> Option<ClassValue> {
    let at = match found {
        &ClassValue::Outputs { largest } => largest,
        ClassValue::Numbers(numbers) if numbers.len() > 1 => {
            (0..numbers.len()).max_by(|&a, &b| numbers[a].total_cmp(&numbers[b]))?
        }
        _ => return None,
    };
    Some(ClassValue::Label(Label::Number(i64::try_from(at).ok()?)))
}

/// A label or number as the place of another.
fn index(found: &ClassValue) -> Option<usize> {
    match found {
        ClassValue::Label(Label::Number(number)) => usize::try_from(*number).ok(),
        ClassValue::Numbers(numbers) => match numbers[..] {
            [number] if number >= 0.0 && number.trunc() == number => Some(number as usize),
            _ => None,
        },
        _ => None,
    }
}

/// Applies a function to one number.
fn with_number(found: &ClassValue, function: impl Fn(f64) -> f64) -> Option<ClassValue> {
    match found {
        ClassValue::Numbers(numbers) => {
            Some(ClassValue::Numbers(numbers.iter().map(|&number| function(number)).collect()))
        }
        ClassValue::Label(Label::Number(number)) => {
            let made = function(*number as f64);
            (made.trunc() == made).then_some(ClassValue::Label(Label::Number(made as i64)))
        }
        _ => None,
    }
}

/// Outputs compared with the number that makes them labels: half a probability, or a logit of 0.
fn compared(
    found: &ClassValue,
    threshold: f64,
    is_probability: bool,
    function: impl Fn(f64, f64) -> bool,
) -> Option<ClassValue> {
    match found {
        ClassValue::Outputs { .. } => {
            let middle = if is_probability { 0.5 } else { 0.0 };
            (threshold == middle).then_some(ClassValue::Compared)
        }
        found => with_number(found, |x| f64::from(u8::from(function(x, threshold)))),
    }
}

/// The keys or values of `LabelEncoder`.
fn column(node: &Node<'_>, name: &str) -> Result<Option<Vec<Label>>, Problem> {
    if let Some(tensor) = node.tensor_of(&format!("{name}_tensor")) {
        return Ok(Some(entries(tensor)?));
    }
    if let Some(numbers) = node.all_ints(&format!("{name}_int64s"))? {
        return Ok(Some(numbers.into_iter().map(Label::Number).collect()));
    }
    let texts = node.all_texts(&format!("{name}_strings"))?;
    Ok(texts.map(|texts| texts.into_iter().map(Label::Text).collect()))
}

/// Returns the label that `LabelEncoder` gives for an unknown key, if the file has one.
fn default(node: &Node<'_>) -> Result<Option<Label>, Problem> {
    if let Some(tensor) = node.tensor_of("default_tensor") {
        return Ok(entries(tensor)?.into_iter().next());
    }
    // Of several defaults the one of the values' type counts.
    if node.has("values_int64s") {
        return Ok(node.int("default_int64")?.map(Label::Number));
    }
    if !node.has("values_strings") || !node.has("default_string") {
        return Ok(None);
    }
    let text = std::str::from_utf8(node.text("default_string", "")?);
    Ok(text.ok().map(|text| Label::Text(text.to_owned())))
}

/// The entries of a tensor as labels.
fn entries(tensor: &TensorProto<'_>) -> Result<Vec<Label>, Problem> {
    if tensor.is_text {
        return Ok(tensor.texts()?.into_iter().map(Label::Text).collect());
    }
    let numbers = tensor.to_tensor(tensor.name)?;
    if numbers.dtype == crate::ElementType::I64 {
        let bytes = numbers.bytes()?;
        let each = bytes.as_chunks::<8>().0;
        return Ok(each.iter().map(|&bytes| Label::Number(i64::from_le_bytes(bytes))).collect());
    }
    let numbers = numbers.to_f64()?.into_iter().take_while(|number| number.trunc() == *number);
    Ok(numbers.map(|number| Label::Number(number as i64)).collect())
}
