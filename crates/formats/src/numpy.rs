//! Arrays of NumPy, and the networks of scikit-learn that are saved as such.
//!
//! Written after NumPy's description of its format (`numpy.lib.format`). Its header is a literal of
//! Python; the few that NumPy writes are read by a grammar of their own. An array of objects is a
//! pickle, a program that runs as it is read, and is refused.

use std::collections::BTreeMap;

use fireclay_terminal::counted;

use crate::archive::size_in_bytes;
use crate::bytes::Cursor;
use crate::error::shown;
use crate::names::{first, label};
use crate::numbers::{Stored, columns};
use crate::store::{MOST_KEPT, Part};
use crate::zipped::Zipped;
use crate::{
    Activation, Archive, ElementType, Kind, Layer, Layout, Network, OutputKind, Problem, Tensor,
};

/// The name in messages.
const KIND: &str = "NumPy";

const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes of a header; NumPy itself reads no more from strangers.
const LARGEST_HEADER: u64 = 10_000;

/// Bytes before a header, and more.
const LONGEST_BEGINNING: u64 = 16;

/// Dimensions of an array; NumPy itself has no more.
const MOST_DIMENSIONS: usize = 64;

/// Texts of an array, such as the names of classes.
const MOST_TEXTS: usize = 10_000;

/// Bytes of each text.
const LONGEST_TEXT: u64 = 1024;

/// Returns true if these bytes begin as an array does.
pub(crate) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Returns true if an archive holds arrays and nothing else.
pub(crate) fn is_npz(zip: &Zipped<'_>) -> bool {
    !zip.names().is_empty() && zip.names().iter().all(|name| name.ends_with(".npy"))
}

/// Reads a `.npy` file; the array has no name in it and gets that which `numpy.savez` would give.
///
/// # Errors
///
/// A [`Problem`] if it is damaged or holds something else than numbers.
pub(crate) fn read_npy(file: &Part) -> Result<Archive, Problem> {
    let name = "arr_0";
    let tensors = match array(name, file)? {
        ArrayContent::Numbers(tensor) => vec![tensor],
        ArrayContent::Texts(_) => {
            return Err(Problem::refused("an array of text", "only numbers are weights"));
        }
    };
    Ok(Archive::new(Kind::NumPy, tensors))
}

/// Reads a `.npz` file, with the network if its arrays are those of scikit-learn:
///
/// ```python
/// numpy.savez(
///     path,
///     **{f"coefs_{i}": c for i, c in enumerate(model.coefs_)},
///     **{f"intercepts_{i}": b for i, b in enumerate(model.intercepts_)},
///     activation=model.activation, out_activation_=model.out_activation_, classes_=model.classes_,
/// )
/// ```
///
/// # Errors
///
/// A [`Problem`] if it is damaged, if any array holds something else than numbers or texts, or if
/// the arrays of a network do not fit each other.
pub(crate) fn read_npz(zip: &Zipped<'_>) -> Result<Archive, Problem> {
    let (mut tensors, mut texts) = (Vec::new(), BTreeMap::new());
    for entry in zip.names() {
        // Once, as `numpy.load` does: an array may itself be called `a.npy`.
        let name = entry.strip_suffix(".npy").unwrap_or(entry);
        match array(name, &zip.part(entry)?)? {
            ArrayContent::Numbers(tensor) => tensors.push(tensor),
            ArrayContent::Texts(found) => {
                texts.insert(name.to_owned(), found);
            }
        }
    }
    if tensors.is_empty() {
        return Err(Problem::malformed(KIND, "it has no array of numbers"));
    }
    let mut archive = Archive::new(Kind::NumPy, tensors);
    archive.network = network(&mut archive, &mut texts)?;
    for name in texts.keys() {
        archive.notes.push(format!("the texts {} are left out", shown(name)));
    }
    Ok(archive)
}

/// The values of an array.
enum ArrayContent {
    Numbers(Tensor),
    Texts(Vec<String>),
}

/// Reads an array.
fn array(name: &str, part: &Part) -> Result<ArrayContent, Problem> {
    let before = part.size().min(LARGEST_HEADER + LONGEST_BEGINNING);
    let beginning = part.part(0..before).ok_or_else(|| ends_early(name))?.read()?;
    let mut cursor = Cursor::new(KIND, &beginning);
    let header = Header::read(&mut cursor, name)?;
    let rest = part.part(cursor.position() as u64..part.size()).ok_or_else(|| ends_early(name))?;
    let (order, kind) = header.descr.split_at_checked(1).unwrap_or_default();
    let big_endian = match order {
        "<" | "|" => false,
        ">" => true,
        _ => return Err(header.refused(name)),
    };
    let dtype = match kind {
        "f8" => ElementType::F64,
        "f4" => ElementType::F32,
        "f2" => ElementType::F16,
        "i8" => ElementType::I64,
        "i4" => ElementType::I32,
        "i2" => ElementType::I16,
        "i1" => ElementType::I8,
        "u8" => ElementType::U64,
        "u4" => ElementType::U32,
        "u2" => ElementType::U16,
        "u1" => ElementType::U8,
        "b1" => ElementType::Bool,
        _ => return header.texts(name, kind, big_endian, &rest).map(ArrayContent::Texts),
    };
    let left = rest.size();
    if size_in_bytes(&header.shape, dtype).map(|size| size as u64) != Some(left) {
        let (shape, dtype) = (&header.shape, dtype.name());
        return Err(malformed(
            name,
            &format!("of shape {shape:?} and type {dtype} has {}", counted(left, "byte")),
        ));
    }
    if dtype == ElementType::Bool {
        let mut largest = 0;
        rest.pieces(&mut |piece| largest = piece.iter().copied().fold(largest, u8::max))?;
        if largest > 1 {
            return Err(malformed(name, "of truth values has others than 0 and 1"));
        }
    }
    let is_by_columns = header.fortran && header.shape.len() > 1;
    let strides = is_by_columns.then(|| columns(&header.shape, dtype));
    let numbers = Stored { part: rest, is_reversed: big_endian, strides };
    Tensor::new(KIND, name, header.shape, dtype, numbers).map(ArrayContent::Numbers)
}

fn malformed(name: &str, what: &str) -> Problem {
    Problem::malformed(KIND, format!("array {} {what}", shown(name)))
}

fn ends_early(name: &str) -> Problem {
    malformed(name, "ends too early")
}

/// The description of an array before its values.
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(cursor: &mut Cursor<'_>, name: &str) -> Result<Self, Problem> {
        if cursor.take(MAGIC.len() as u64)? != MAGIC {
            let what = format!("array {} does not begin as one", shown(name));
            return Err(cursor.malformed(what));
        }
        let (version, _) = (cursor.u8()?, cursor.u8()?);
        let length = match version {
            1 => cursor.u16()?.into(),
            2 | 3 => cursor.u32()?.into(),
            _ => {
                let what = format!("array {} has version {version}; 1 to 3 are known", shown(name));
                return Err(cursor.malformed(what));
            }
        };
        if length > LARGEST_HEADER {
            let what = "the number of bytes of an array's header";
            return Err(Problem::Limit { what, found: length, most: LARGEST_HEADER });
        }
        let text = cursor.take(length)?;
        let text = std::str::from_utf8(text).ok();
        let header = text.and_then(|text| Literal { rest: text }.header());
        let header = header.ok_or_else(|| {
            let text = shown(text.unwrap_or("not of UTF-8"));
            cursor.malformed(format!("array {} has header {text}", shown(name)))
        })?;
        if header.shape.len() > MOST_DIMENSIONS {
            let (found, most) = (header.shape.len() as u64, MOST_DIMENSIONS as u64);
            return Err(Problem::Limit {
                what: "the number of an array's dimensions",
                found,
                most,
            });
        }
        Ok(header)
    }

    /// Texts, each of the same size and filled with zeros.
    fn texts(
        &self,
        name: &str,
        kind: &str,
        big_endian: bool,
        values: &Part,
    ) -> Result<Vec<String>, Problem> {
        let (unit, size) = match (kind.split_at_checked(1), kind.get(1..)) {
            (Some(("U", _)), Some(size)) => (4, size.parse::<u64>()),
            (Some(("S", _)), Some(size)) => (1, size.parse::<u64>()),
            _ => return Err(self.refused(name)),
        };
        let size = size.ok().filter(|&size| size <= LONGEST_TEXT);
        let size = size.ok_or_else(|| self.refused(name))? * unit;
        let count = size_in_bytes(&self.shape, ElementType::U8).unwrap_or(usize::MAX);
        if count > MOST_TEXTS {
            let (found, most) = (count as u64, MOST_TEXTS as u64);
            return Err(Problem::Limit { what: "the number of texts of an array", found, most });
        }
        if values.size() > MOST_KEPT {
            let (what, found) = ("the size in bytes of an array of texts", values.size());
            return Err(Problem::Limit { what, found, most: MOST_KEPT });
        }
        let values = values.read()?;
        let mut cursor = Cursor::new(KIND, &values);
        let mut texts = Vec::new();
        for _ in 0..count {
            let bytes = cursor.take(size)?;
            let text = if unit == 1 {
                std::str::from_utf8(bytes).map(str::to_owned).ok()
            } else {
                let number = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
                let chars = bytes.as_chunks::<4>().0.iter().copied().map(number);
                chars.map(char::from_u32).collect::<Option<String>>()
            };
            let text = text.ok_or_else(|| malformed(name, "of text holds something else"))?;
            texts.push(text.trim_end_matches('\0').to_owned());
        }
        if cursor.left() > 0 {
            return Err(malformed(name, "of text has bytes after its values"));
        }
        Ok(texts)
    }

    /// The error of a type that is not read.
    fn refused(&self, name: &str) -> Problem {
        let what = format!("array {} of type {}", shown(name), shown(&self.descr));
        let why = if self.descr.ends_with('O') {
            "it is a pickle, a program that would run; save each array of numbers by its own name, \
             as numpy.savez(path, **{f\"coefs_{i}\": c for i, c in enumerate(model.coefs_)})"
        } else {
            "only truth values, whole numbers, floats of 16 to 64 bits and texts are read; convert \
             it with .astype(numpy.float32)"
        };
        Problem::refused(what, why)
    }
}

/// A literal of Python that NumPy writes as a header, from a place on.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
    fn header(mut self) -> Option<Header> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect("{")?;
        while self.expect("}").is_none() {
            let key = self.text()?;
            self.expect(":")?;
            let again = match key {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran.replace(self.truth()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return None,
            };
            if again {
                return None;
            }
            if self.expect(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        let done = self.rest.trim_matches(SPACE).is_empty();
        done.then_some(Header { descr: descr?, fortran: fortran?, shape: shape? })
    }

    /// A type, which is a list if it has fields.
    fn descr(&mut self) -> Option<String> {
        if self.expect("[").is_some() {
            let end = self.rest.rfind(']')?;
            let fields = format!("[{}]", &self.rest[..end]);
            self.rest = &self.rest[end + 1..];
            return Some(fields);
        }
        self.text().map(str::to_owned)
    }

    fn truth(&mut self) -> Option<bool> {
        match self.expect("True") {
            Some(()) => Some(true),
            None => self.expect("False").map(|()| false),
        }
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while self.expect(")").is_none() {
            self.rest = self.rest.trim_start_matches(SPACE);
            let digits = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let (size, rest) = self.rest.split_at(self.rest.len() - digits.len());
            self.rest = rest;
            sizes.push(size.parse().ok()?);
            // Python 2 wrote long numbers so.
            let _ = self.expect("L");
            if self.expect(",").is_none() {
                self.expect(")")?;
                break;
            }
        }
        Some(sizes)
    }

    /// A text in quotes, without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start_matches(SPACE);
        let quote = self.rest.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
        let (text, rest) = self.rest[1..].split_once(quote)?;
        self.rest = rest;
        (!text.contains('\\')).then_some(text)
    }

    /// Goes behind this, if it is next.
    fn expect(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start_matches(SPACE).strip_prefix(token)?;
        Some(())
    }
}

const SPACE: [char; 3] = [' ', '\n', '\t'];

/// The network of scikit-learn whose arrays these are, if it is one and its function is given; the
/// names of its classes are put where they belong.
fn network(
    archive: &mut Archive,
    texts: &mut BTreeMap<String, Vec<String>>,
) -> Result<Option<Network>, Problem> {
    let Archive { tensors, labels, task, notes, advice, .. } = archive;
    let named = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let widths = widths(&named)?;
    if widths.is_empty() {
        if is_unnamed(tensors) {
            *advice = Some(
                "the arrays are like coefs_ and intercepts_ of scikit-learn without their names; \
                 saved as coefs_0, intercepts_0 and so on, with activation, they are a network"
                    .to_owned(),
            );
        }
        return Ok(None);
    }
    *labels = classes(tensors, texts)?;
    notes.extend(labels.as_deref().map(|names| format!("classes: {}", first(names))));
    let out = one(texts, "out_activation_");
    if let (Some(out), Some(&(_, outputs))) = (&out, widths.last()) {
        *task = meaning(out, outputs, labels.is_some());
    }
    let Some(activation) = one(texts, "activation") else {
        *advice = Some(
            "the function of the hidden layers is not in the file; save it with \
             activation=model.activation to have the network"
                .to_owned(),
        );
        return Ok(None);
    };
    let hidden = function(&activation)?;
    if out.is_none() {
        notes.push("out_activation_ is not in the file; the outputs are as they are".to_owned());
    }
    let out = out.map_or(Ok(None), |out| function(&out))?;
    let mut layers = Vec::new();
    let last = widths.len() - 1;
    for layer in 0..=last {
        layers.push(Layer::Dense {
            weight: format!("coefs_{layer}"),
            bias: Some(format!("intercepts_{layer}")),
            layout: Layout::InOut,
        });
        let function = if layer < last { &hidden } else { &out };
        layers.extend(function.clone().map(Layer::Activation));
    }
    Ok(Some(Network { input_shape: Some(vec![widths[0].0]), layers }))
}

/// The meaning of the outputs of scikit-learn's networks, which their last function shows: only a
/// regressor has none, and a classifier of several labels has one logistic function for each.
fn meaning(out: &str, outputs: usize, has_classes: bool) -> Option<OutputKind> {
    match out {
        "identity" if !has_classes => Some(OutputKind::Regression),
        "softmax" => Some(OutputKind::Classification),
        "logistic" if outputs == 1 => Some(OutputKind::Classification),
        "logistic" => Some(OutputKind::MultiLabel),
        _ => None,
    }
}

/// Inputs and outputs of each layer, which must fit those of the next.
fn widths(named: &BTreeMap<&str, &Tensor>) -> Result<Vec<(usize, usize)>, Problem> {
    let mut widths: Vec<(usize, usize)> = Vec::new();
    while let Some(coefs) = named.get(format!("coefs_{}", widths.len()).as_str()) {
        let name = format!("intercepts_{}", widths.len());
        let biases = named
            .get(name.as_str())
            .ok_or_else(|| Problem::malformed(KIND, format!("there is no array {name} in it")))?;
        let before = widths.last().map(|&(_, outputs)| outputs);
        match (coefs.shape.as_slice(), biases.shape.as_slice()) {
            (&[inputs, outputs], &[found])
                if before.is_none_or(|before| before == inputs) && outputs == found =>
            {
                widths.push((inputs, outputs));
            }
            (coefs, biases) => {
                let what = format!(
                    "coefs_ and intercepts_ of layer {} have shapes {coefs:?} and {biases:?}, after \
                     layers of {widths:?}",
                    widths.len()
                );
                return Err(Problem::malformed(KIND, what));
            }
        }
    }
    Ok(widths)
}

/// Returns true if arrays without names are weights, followed by as many biases that fit them.
fn is_unnamed(tensors: &[Tensor]) -> bool {
    let (coefs, intercepts) = tensors.split_at(tensors.len() / 2);
    !coefs.is_empty()
        && coefs.len() == intercepts.len()
        && tensors.iter().enumerate().all(|(at, tensor)| tensor.name == format!("arr_{at}"))
        && coefs.iter().zip(intercepts).all(|(coefs, intercepts)| {
            coefs.shape.len() == 2 && coefs.shape[1..] == *intercepts.shape.as_slice()
        })
}

/// Takes the only text of this name.
fn one(texts: &mut BTreeMap<String, Vec<String>>, name: &str) -> Option<String> {
    let [text] = <[String; 1]>::try_from(texts.remove(name)?).ok()?;
    Some(text)
}

/// Takes the classes, texts or numbers.
fn classes(
    tensors: &mut Vec<Tensor>,
    texts: &mut BTreeMap<String, Vec<String>>,
) -> Result<Option<Vec<String>>, Problem> {
    let name = "classes_";
    if let Some(classes) = texts.remove(name) {
        return Ok(Some(classes.iter().map(|class| label(class)).collect()));
    }
    let mut all = tensors.iter();
    let at = all.position(|tensor| tensor.name == name && tensor.count() <= MOST_TEXTS);
    let Some(at) = at else { return Ok(None) };
    let classes = tensors.remove(at);
    Ok(Some(classes.to_f64()?.into_iter().map(|class| in_python(class, classes.dtype)).collect()))
}

/// A number as Python writes it.
pub(crate) fn in_python(number: f64, dtype: ElementType) -> String {
    match dtype {
        ElementType::Bool => (if number == 0.0 { "False" } else { "True" }).to_owned(),
        ElementType::F32 | ElementType::F16 | ElementType::Bf16 => format!("{:?}", number as f32),
        ElementType::F64 => format!("{number:?}"),
        _ => number.to_string(),
    }
}

/// A function of scikit-learn, none if it changes nothing.
fn function(name: &str) -> Result<Option<Activation>, Problem> {
    let name = match name {
        "identity" => return Ok(None),
        "logistic" => "sigmoid",
        "tanh" | "relu" | "softmax" => name,
        _ => {
            let what = format!("activation {}", shown(name));
            let why = "scikit-learn has identity, logistic, tanh, relu and softmax";
            return Err(Problem::refused(what, why));
        }
    };
    Ok(Some(Activation { name: name.to_owned(), constants: BTreeMap::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Option<(String, bool, Vec<usize>)> {
        let header = Literal { rest: text }.header()?;
        Some((header.descr, header.fortran, header.shape))
    }

    #[test]
    fn headers_as_numpy_writes_them() {
        for (text, descr, fortran, shape) in [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n",
                "<f4",
                false,
                vec![3, 4],
            ),
            ("{'descr': '|b1', 'fortran_order': True, 'shape': (), }   \n", "|b1", true, vec![]),
            ("{\"shape\": (7L,), 'fortran_order': False, 'descr': '<U3'}", "<U3", false, vec![7]),
            (
                "{'descr': [('a', '<f4'), ('b', '<i4', (2,))], 'fortran_order': False, 'shape': (1,)}",
                "[('a', '<f4'), ('b', '<i4', (2,))]",
                false,
                vec![1],
            ),
        ] {
            assert_eq!(header(text), Some((descr.to_owned(), fortran, shape)), "{text}");
        }
    }

    #[test]
    fn other_headers() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': True}",
            "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}",
            "{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} + {}",
            "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (3,)}",
        ] {
            assert_eq!(header(text), None, "{text}");
        }
    }
}
