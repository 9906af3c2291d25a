//! ONNX models field by field, so that they may be wrong.

/// A model with the input `x` of 4 numbers and the output `y`, unless they are changed.
#[derive(Clone)]
pub(crate) struct Model {
    nodes: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    opset: u64,
    /// More fields of the graph and of the model.
    more: [Vec<u8>; 2],
}

/// A model of these nodes.
pub(crate) fn model(nodes: &[Vec<u8>]) -> Model {
    Model {
        nodes: nodes.to_vec(),
        tensors: vec![],
        inputs: vec![value("x", Some(&[None, Some(4)]))],
        outputs: vec![value("y", None)],
        opset: 20,
        more: Default::default(),
    }
}

impl Model {
    pub(crate) fn nodes(mut self, nodes: &[Vec<u8>]) -> Self {
        self.nodes = nodes.to_vec();
        self
    }

    /// Adds an initializer of numbers of 32 bits.
    pub(crate) fn tensor(self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(numbers(name, shape, 1, &bytes(9, &raw)))
    }

    /// Adds an initializer.
    pub(crate) fn initializer(mut self, tensor: Vec<u8>) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// Gives the input `x` this shape.
    pub(crate) fn input(self, shape: &[Option<u64>]) -> Self {
        self.inputs(&[value("x", Some(shape))])
    }

    pub(crate) fn inputs(mut self, inputs: &[Vec<u8>]) -> Self {
        self.inputs = inputs.to_vec();
        self
    }

    pub(crate) fn outputs(mut self, outputs: &[&str]) -> Self {
        self.outputs = outputs.iter().map(|name| value(name, None)).collect();
        self
    }

    /// Gives the graph these outputs, with their types.
    pub(crate) fn output_values(mut self, outputs: &[Vec<u8>]) -> Self {
        self.outputs = outputs.to_vec();
        self
    }

    pub(crate) fn opset(mut self, opset: u64) -> Self {
        self.opset = opset;
        self
    }

    /// Adds fields to the graph.
    pub(crate) fn graph_field(mut self, field: Vec<u8>) -> Self {
        self.more[0].extend(field);
        self
    }

    /// Adds fields to the model.
    pub(crate) fn field(mut self, field: Vec<u8>) -> Self {
        self.more[1].extend(field);
        self
    }

    /// The graph.
    pub(crate) fn graph(&self) -> Vec<u8> {
        let fields = |number, messages: &[Vec<u8>]| {
            messages.iter().flat_map(|message| bytes(number, message)).collect::<Vec<_>>()
        };
        [
            fields(1, &self.nodes),
            bytes(2, b"graph"),
            fields(5, &self.tensors),
            fields(11, &self.inputs),
            fields(12, &self.outputs),
            self.more[0].clone(),
        ]
        .concat()
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let opset = element(2, self.opset);
        [
            element(1, 8),
            bytes(2, b"test"),
            bytes(7, &self.graph()),
            bytes(8, &opset),
            self.more[1].clone(),
        ]
        .concat()
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A field that is a whole number.
pub(crate) fn element(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// A field that is bytes, a text or a message.
pub(crate) fn bytes(number: u64, value: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A field that is a number of 64 bits.
pub(crate) fn double(number: u64, value: f64) -> Vec<u8> {
    [varint(number << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

/// A field that is a number of 32 bits.
fn single(number: u64, value: f32) -> Vec<u8> {
    [varint(number << 3 | 5), value.to_le_bytes().to_vec()].concat()
}

/// A node without a name.
pub(crate) fn node(
    operator: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: &[Vec<u8>],
) -> Vec<u8> {
    let names = |number, names: &[&str]| {
        names.iter().flat_map(|name| bytes(number, name.as_bytes())).collect::<Vec<_>>()
    };
    let attributes = attributes.iter().flat_map(|attribute| bytes(5, attribute));
    [
        names(1, inputs),
        names(2, outputs),
        bytes(4, operator.as_bytes()),
        attributes.collect::<Vec<_>>(),
    ]
    .concat()
}

/// An attribute of a type, with these fields.
pub(crate) fn attribute(name: &str, kind: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    [bytes(1, name.as_bytes()), fields.concat(), element(20, kind)].concat()
}

pub(crate) fn float(name: &str, value: f32) -> Vec<u8> {
    attribute(name, 1, &[single(2, value)])
}

pub(crate) fn int(name: &str, value: i64) -> Vec<u8> {
    attribute(name, 2, &[element(3, value.cast_unsigned())])
}

pub(crate) fn text(name: &str, value: &str) -> Vec<u8> {
    attribute(name, 3, &[bytes(4, value.as_bytes())])
}

pub(crate) fn floats(name: &str, values: &[f32]) -> Vec<u8> {
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    attribute(name, 6, &[bytes(7, &packed)])
}

pub(crate) fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let fields: Vec<_> = values.iter().map(|value| element(8, value.cast_unsigned())).collect();
    attribute(name, 7, &fields)
}

/// A tensor with a field that holds its numbers.
pub(crate) fn numbers(name: &str, shape: &[u64], kind: u64, data: &[u8]) -> Vec<u8> {
    let shape: Vec<u8> = shape.iter().flat_map(|&size| element(1, size)).collect();
    [shape, element(2, kind), bytes(8, name.as_bytes()), data.to_vec()].concat()
}

/// An input or output of numbers of 32 bits; a dimension that is not known has a name.
pub(crate) fn value(name: &str, shape: Option<&[Option<u64>]>) -> Vec<u8> {
    value_of(name, 1, shape)
}

/// An input or output of numbers of this type.
pub(crate) fn value_of(name: &str, kind: u64, shape: Option<&[Option<u64>]>) -> Vec<u8> {
    let dimension = |size: &Option<u64>| match size {
        Some(size) => bytes(1, &element(1, *size)),
        None => bytes(1, &bytes(2, b"N")),
    };
    let shape = shape.map(|shape| shape.iter().flat_map(dimension).collect::<Vec<_>>());
    let shape = shape.map_or(vec![], |shape| bytes(2, &shape));
    let of_tensor = bytes(1, &[element(1, kind), shape].concat());
    [bytes(1, name.as_bytes()), bytes(2, &of_tensor)].concat()
}
