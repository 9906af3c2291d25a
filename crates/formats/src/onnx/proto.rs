//! The messages of [onnx.proto] that a plain network needs; fields that are not known are skipped.
//!
//! [onnx.proto]: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto

use fireclay_terminal::printable;

use super::KIND;
use super::external::Beside;
use super::tensor::{FEW, TensorProto, push_dimension};
use super::wire::{Field, Message};
use crate::Problem;
use crate::error::shown;
use crate::store::{MOST_KEPT, Part};

/// The most nodes of a graph, and the most initializers, inputs and outputs.
const MOST_NODES: usize = 10_000;

/// The most names and attributes that a graph may have, and the most bytes of all those names: the
/// work on a graph grows with both.
const MOST_PARTS: usize = 50_000;
const MOST_NAME_BYTES: usize = 4 << 20;

/// The most labels of a list.
const MOST_LABELS: usize = 65_536;

/// The most items of metadata that are looked at.
const MOST_METADATA: usize = 100;

/// `ModelProto`: a graph, and what is needed to understand it.
#[derive(Debug)]
pub(super) struct Model<'a> {
    /// The version of the standard operators.
    pub(super) opset: i64,
    /// The program that wrote it.
    pub(super) producer: &'a str,
    /// The file's metadata, by name.
    pub(super) metadata: Vec<(&'a str, &'a str)>,
    /// The graph.
    pub(super) graph: Graph<'a>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    /// Operators, each after those whose values it uses.
    pub(super) nodes: Vec<Node<'a>>,
    /// Constants.
    pub(super) initializers: Vec<TensorProto<'a>>,
    /// The inputs; older files list the initializers too.
    pub(super) inputs: Vec<ValueInfo<'a>>,
    /// The outputs.
    pub(super) outputs: Vec<ValueInfo<'a>>,
}

/// `NodeProto`: an operator with its inputs and outputs.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    name: &'a str,
    operator: &'a str,
    domain: &'a str,
    /// Names of values; an empty name stands for nothing.
    pub(super) inputs: Vec<&'a str>,
    /// Names of values.
    pub(super) outputs: Vec<&'a str>,
    attributes: Vec<Attribute<'a>>,
}

/// `AttributeProto`.
#[derive(Debug)]
struct Attribute<'a> {
    name: &'a str,
    value: AttributeValue<'a>,
}

#[derive(Debug)]
enum AttributeValue<'a> {
    Float(f32),
    Int(i64),
    Text(&'a [u8]),
    Tensor(Box<TensorProto<'a>>),
    /// At most [`FEW`].
    Floats(Vec<f32>),
    /// At most [`FEW`].
    Ints(Vec<i64>),
    /// A list of numbers or texts, which stay where they are.
    List(Message<'a>),
    /// Of another type.
    Other,
}

/// `ValueInfoProto`: a value with its shape.
#[derive(Debug, Default)]
pub(super) struct ValueInfo<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The size of each dimension where it is known, if it is a tensor whose dimensions are known.
    pub(super) shape: Option<Vec<Option<usize>>>,
    /// The number of its type in `TensorProto.DataType`, 0 if that is not known.
    pub(super) element: i64,
}

impl<'a> Model<'a> {
    /// Reads the file.
    pub(super) fn read(file: &'a Part, beside: &'a Beside) -> Result<Self, Problem> {
        let (mut opset, mut graph, mut producer, mut metadata) = (None, None, "", Vec::new());
        let mut fields = Message::whole("ModelProto", file).fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                7 if graph.is_some() => {
                    return Err(Problem::malformed(KIND, "there are two graphs"));
                }
                2 => producer = field.text()?,
                7 => graph = Some(Graph::read(field.message("GraphProto")?, beside)?),
                8 => opset = standard_opset(field)?.or(opset),
                14 if metadata.len() < MOST_METADATA => {
                    metadata.push(field.message("StringStringEntryProto")?.pair()?);
                }
                20 => {
                    let what = "the model has graphs for training (training_info)";
                    let why = "only a graph for inference is read; export it without them";
                    return Err(Problem::refused(what, why));
                }
                25 => {
                    let what = "the model has functions of its own";
                    let why = "they may do anything; inline them with \
                               onnx.inliner.inline_local_functions(model)";
                    return Err(Problem::refused(what, why));
                }
                _ => {}
            }
        }
        let graph = graph.ok_or_else(|| Problem::malformed(KIND, "there is no graph"))?;
        let opset = opset.ok_or_else(|| {
            Problem::malformed(KIND, "there is no version of the standard operators")
        })?;
        Ok(Self { opset, producer, metadata, graph })
    }
}

/// Of `OperatorSetIdProto` the version, if it is that of the standard operators.
fn standard_opset(field: Field<'_>) -> Result<Option<i64>, Problem> {
    let (mut domain, mut version) = ("", 0);
    let mut fields = field.message("OperatorSetIdProto")?.fields()?;
    while let Some(field) = fields.read()? {
        match field.number {
            1 => domain = field.text()?,
            2 => version = field.int()?,
            _ => {}
        }
    }
    Ok(is_standard(domain).then_some(version))
}

/// The domain of operators for classical machine learning.
const CLASSICAL: &str = "ai.onnx.ml";

/// The domain of operators that ONNX Runtime fuses from standard ones.
const RUNTIME: &str = "com.microsoft";

fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

impl<'a> Graph<'a> {
    fn read(message: Message<'a>, beside: &'a Beside) -> Result<Self, Problem> {
        let mut graph = Self::default();
        let mut names = NameBudget::default();
        let mut fields = message.fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                1 => {
                    let node = Node::read(field.message("NodeProto")?, beside, &mut names)?;
                    push(&mut graph.nodes, "the number of nodes", node)?;
                }
                5 => {
                    let tensor = TensorProto::read(field.message("TensorProto")?, beside)?;
                    names.count(tensor.name)?;
                    push(&mut graph.initializers, "the number of initializers", tensor)?;
                }
                11 | 12 => {
                    let value = ValueInfo::read(field.message("ValueInfoProto")?)?;
                    names.count(value.name)?;
                    if field.number == 11 {
                        push(&mut graph.inputs, "the number of inputs", value)?;
                    } else {
                        push(&mut graph.outputs, "the number of outputs", value)?;
                    }
                }
                15 => {
                    let what = "the graph has a sparse initializer";
                    let why = "only dense tensors are read; export it with dense weights";
                    return Err(Problem::refused(what, why));
                }
                _ => {}
            }
        }
        Ok(graph)
    }
}

/// The count of names and attributes so far.
#[derive(Default)]
struct NameBudget {
    parts: usize,
    bytes: usize,
}

impl NameBudget {
    fn count(&mut self, name: &str) -> Result<(), Problem> {
        self.parts += 1;
        self.bytes += name.len();
        let (what, found, most) = if self.parts > MOST_PARTS {
            ("the number of names in the graph", self.parts, MOST_PARTS)
        } else if self.bytes > MOST_NAME_BYTES {
            ("the size in bytes of the names in the graph", self.bytes, MOST_NAME_BYTES)
        } else {
            return Ok(());
        };
        Err(Problem::Limit { what, found: found as u64, most: most as u64 })
    }
}

/// Appends an item if there is room for it.
fn push<T>(items: &mut Vec<T>, what: &'static str, item: T) -> Result<(), Problem> {
    if items.len() == MOST_NODES {
        return Err(Problem::Limit { what, found: MOST_NODES as u64 + 1, most: MOST_NODES as u64 });
    }
    items.push(item);
    Ok(())
}

impl<'a> Node<'a> {
    fn read(
        message: Message<'a>,
        beside: &'a Beside,
        names: &mut NameBudget,
    ) -> Result<Self, Problem> {
        let mut node = Self::default();
        let mut fields = message.fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                1 => push_name(&mut node.inputs, field.text()?, names)?,
                2 => push_name(&mut node.outputs, field.text()?, names)?,
                3 => node.name = field.text()?,
                4 => node.operator = field.text()?,
                5 => {
                    let attribute = Attribute::read(field.message("AttributeProto")?, beside)?;
                    names.count(attribute.name)?;
                    node.attributes.push(attribute);
                }
                7 => node.domain = field.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// Its operator if that is one of the standard, otherwise an empty text.
    pub(super) fn operator(&self) -> &'a str {
        if is_standard(self.domain) { self.operator } else { "" }
    }

    /// Its operator if that is one of the standard's for classical machine learning.
    pub(super) fn classical_operator(&self) -> &'a str {
        if self.domain == CLASSICAL { self.operator } else { "" }
    }

    /// Its operator if that is one of ONNX Runtime's own.
    pub(super) fn runtime_operator(&self) -> &'a str {
        if self.domain == RUNTIME { self.operator } else { "" }
    }

    /// The operator and where it is, in messages.
    pub(super) fn shown(&self) -> String {
        let domain = if self.operator().is_empty() {
            printable(self.domain, 60) + "."
        } else {
            String::new()
        };
        let operator = printable(self.operator, 60);
        match (self.name, self.outputs.first()) {
            ("", Some(output)) => {
                format!("operator {domain}{operator} (that makes {})", shown(output))
            }
            (name, _) => format!("operator {domain}{operator} (node {})", shown(name)),
        }
    }

    /// The error of something about this node that is not read.
    pub(super) fn refused(&self, what: impl AsRef<str>, why: impl Into<String>) -> Problem {
        Problem::refused(format!("{} in {}", what.as_ref(), self.shown()), why)
    }

    /// The error of a node that the standard forbids.
    pub(super) fn malformed(&self, what: impl AsRef<str>) -> Problem {
        Problem::malformed(KIND, format!("{} in {}", what.as_ref(), self.shown()))
    }

    /// Refuses attributes other than these: one that is not known may change what is computed.
    pub(super) fn has_only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.attributes.iter().find(|attribute| !known.contains(&attribute.name)) {
            Some(other) => Err(self.refused(
                format!("the attribute {}", shown(other.name)),
                "what it does is not known; export the model with another opset_version",
            )),
            None => Ok(()),
        }
    }

    fn attribute(&self, name: &str) -> Option<&AttributeValue<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|found| &found.value)
    }

    fn wrong_type(&self, name: &str, expected: &str) -> Problem {
        self.malformed(format!("the attribute {name} is not {expected}"))
    }

    /// An attribute that is a number of floating point.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, Problem> {
        match self.attribute(name) {
            None => Ok(default),
            Some(AttributeValue::Float(value)) => Ok(*value),
            Some(_) => Err(self.wrong_type(name, "a float")),
        }
    }

    /// An attribute that is a whole number, if it is there.
    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Problem> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Int(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong_type(name, "an integer")),
        }
    }

    /// Returns true if an attribute is there and not 0.
    pub(super) fn is_set(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.int(name)?.unwrap_or(0) != 0)
    }

    /// Returns true if there is an attribute of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// An attribute that is a text.
    pub(super) fn text(&self, name: &str, default: &'static str) -> Result<&'a [u8], Problem> {
        match self.attribute(name) {
            None => Ok(default.as_bytes()),
            Some(AttributeValue::Text(value)) => Ok(value),
            Some(_) => Err(self.wrong_type(name, "a string")),
        }
    }

    /// An attribute that is a list of few whole numbers, if it is there.
    pub(super) fn ints(&self, name: &str) -> Result<Option<&[i64]>, Problem> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(values)) => Ok(Some(values)),
            Some(_) => Err(self.wrong_type(name, "a short list of integers")),
        }
    }

    /// An attribute that is a list of numbers of floating point, if it is there.
    pub(super) fn all_floats(&self, name: &str) -> Result<Option<Vec<f64>>, Problem> {
        let mut all = Vec::new();
        match self.attribute(name) {
            None => return Ok(None),
            Some(AttributeValue::Floats(values)) => {
                all.extend(values.iter().copied().map(f64::from));
            }
            Some(AttributeValue::List(message)) => {
                let mut fields = message.fields()?;
                while let Some(field) = fields.read()? {
                    if field.number == 7 {
                        let part = field.fixed(4)?;
                        if part.size() > MOST_KEPT {
                            let (what, found) = ("the size in bytes of an attribute", part.size());
                            return Err(Problem::Limit { what, found, most: MOST_KEPT });
                        }
                        let bytes = part.read()?;
                        let floats = bytes.as_chunks().0;
                        all.extend(
                            floats.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))),
                        );
                    }
                }
            }
            Some(_) => return Err(self.wrong_type(name, "a list of floats")),
        }
        Ok(Some(all))
    }

    /// An attribute that is a list of whole numbers, if it is there.
    pub(super) fn all_ints(&self, name: &str) -> Result<Option<Vec<i64>>, Problem> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(values)) => Ok(Some(values.clone())),
            Some(AttributeValue::List(message)) => {
                let mut all = Vec::new();
                let mut fields = message.fields()?;
                while let Some(field) = fields.read()? {
                    if field.number == 8 {
                        field.ints(|value| self.push_label(name, &mut all, value))?;
                    }
                }
                Ok(Some(all))
            }
            Some(_) => Err(self.wrong_type(name, "a list of integers")),
        }
    }

    /// An attribute that is a list of texts, if it is there.
    pub(super) fn all_texts(&self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::List(message)) => {
                let mut all = Vec::new();
                let mut fields = message.fields()?;
                while let Some(field) = fields.read()? {
                    if field.number == 9 {
                        self.push_label(name, &mut all, field.text()?.to_owned())?;
                    }
                }
                Ok(Some(all))
            }
            Some(_) => Err(self.wrong_type(name, "a list of strings")),
        }
    }

    /// Appends to a list of labels, up to the limit.
    fn push_label<T>(&self, name: &str, all: &mut Vec<T>, label: T) -> Result<(), Problem> {
        if all.len() == MOST_LABELS {
            let why =
                format!("at most {MOST_LABELS} labels are read; export the network without them");
            return Err(self.refused(format!("the list {name}, which is too long,"), why));
        }
        all.push(label);
        Ok(())
    }

    /// An attribute that is a tensor, if it is there.
    pub(super) fn tensor_of(&self, name: &str) -> Option<&TensorProto<'a>> {
        match self.attribute(name) {
            Some(AttributeValue::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// The tensor of the node Constant, if it has one.
    pub(super) fn tensor(&self) -> Option<&TensorProto<'a>> {
        self.tensor_of("value")
    }

    /// Shape and values of the node Constant, if it has a few numbers rather than a tensor.
    pub(super) fn numbers(&self) -> Option<(Vec<usize>, Vec<f64>)> {
        let Attribute { name, value } = self.attributes.first()?;
        let values: Vec<f64> = match (*name, value) {
            ("value_float", &AttributeValue::Float(value)) => {
                return Some((vec![], vec![value.into()]));
            }
            ("value_int", &AttributeValue::Int(value)) => {
                return Some((vec![], vec![value as f64]));
            }
            ("value_floats", AttributeValue::Floats(values)) => {
                values.iter().map(|&value| f64::from(value)).collect()
            }
            ("value_ints", AttributeValue::Ints(values)) => {
                values.iter().map(|&value| value as f64).collect()
            }
            _ => return None,
        };
        Some((vec![values.len()], values))
    }
}

impl<'a> Attribute<'a> {
    fn read(message: Message<'a>, beside: &'a Beside) -> Result<Self, Problem> {
        let (mut name, mut kind) = ("", None);
        let (mut float, mut int, mut text, mut tensor) = (0.0, 0, &b""[..], None);
        let (mut floats, mut ints, mut long) = (Vec::new(), Vec::new(), false);
        let mut fields = message.fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                1 => name = field.text()?,
                20 => kind = Some(field.int()?),
                2 => float = field.float()?,
                3 => int = field.int()?,
                4 => text = field.bytes()?,
                5 => {
                    let read = TensorProto::read(field.message("TensorProto")?, beside)?;
                    tensor = Some(Box::new(read));
                }
                7 => {
                    let part = field.fixed(4)?;
                    long |= part.size() > 4 * FEW as u64;
                    if !long {
                        for &bytes in part.read()?.as_chunks().0 {
                            long |= !push_few(&mut floats, f32::from_le_bytes(bytes));
                        }
                    }
                }
                8 => field.ints(|value| {
                    long |= !push_few(&mut ints, value);
                    Ok(())
                })?,
                21 => {
                    let what = format!("the attribute {} is that of a function", shown(name));
                    return Err(Problem::malformed(KIND, what));
                }
                _ => {}
            }
        }
        let value = match (kind, tensor) {
            (Some(1), _) => AttributeValue::Float(float),
            (Some(2), _) => AttributeValue::Int(int),
            (Some(3), _) => AttributeValue::Text(text),
            (Some(4), Some(tensor)) => AttributeValue::Tensor(tensor),
            (Some(6), _) if !long => AttributeValue::Floats(floats),
            (Some(7), _) if !long => AttributeValue::Ints(ints),
            (Some(6..=8), _) => AttributeValue::List(message),
            _ => AttributeValue::Other,
        };
        Ok(Self { name, value })
    }
}

fn push_name<'a>(
    list: &mut Vec<&'a str>,
    name: &'a str,
    names: &mut NameBudget,
) -> Result<(), Problem> {
    names.count(name)?;
    list.push(name);
    Ok(())
}

/// Appends a number if there are only few of them.
fn push_few<T>(numbers: &mut Vec<T>, number: T) -> bool {
    let few = numbers.len() < FEW;
    if few {
        numbers.push(number);
    }
    few
}

impl<'a> ValueInfo<'a> {
    fn read(message: Message<'a>) -> Result<Self, Problem> {
        let mut value = Self::default();
        let mut fields = message.fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                1 => value.name = field.text()?,
                2 => value.read_type(field.message("TypeProto")?)?,
                _ => {}
            }
        }
        Ok(value)
    }

    /// Reads `TypeProto`, if it is that of a tensor.
    fn read_type(&mut self, message: Message<'_>) -> Result<(), Problem> {
        let mut fields = message.fields()?;
        while let Some(field) = fields.read()? {
            if field.number != 1 {
                continue;
            }
            let mut of_tensor = field.message("TypeProto.Tensor")?.fields()?;
            while let Some(field) = of_tensor.read()? {
                match field.number {
                    1 => self.element = field.int()?,
                    2 => self.shape = Some(tensor_shape(field.message("TensorShapeProto")?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn tensor_shape(message: Message<'_>) -> Result<Vec<Option<usize>>, Problem> {
    let mut shape = Vec::new();
    let mut fields = message.fields()?;
    while let Some(field) = fields.read()? {
        if field.number != 1 {
            continue;
        }
        let mut size = None;
        let mut dimension = field.message("TensorShapeProto.Dimension")?.fields()?;
        while let Some(field) = dimension.read()? {
            if field.number == 1 {
                // Zero and less stand for a size that is not known.
                size = usize::try_from(field.int()?).ok().filter(|&size| size > 0);
            }
        }
        push_dimension(&mut shape, size)?;
    }
    Ok(shape)
}
