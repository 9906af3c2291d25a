//! Pickles, as data.
//!
//! A pickle is a program that a machine with a stack runs to build an object
//! ([`pickletools`](https://github.com/python/cpython/blob/3.13/Lib/pickletools.py) explains each
//! instruction). Python's machine lets it call any function there is. This one knows only the
//! instructions that build plain data, has a short list of names that may occur, and calls nothing:
//! a call becomes a [`Value::Call`], which says what was to be called with what.
//!
//! Values refer to each other by number, so that one that is used a thousand times is there once,
//! one that contains itself is harmless, and nesting costs no stack, however deep.

use crate::bytes::Cursor;
use crate::error::shown;
use crate::{Dtype, Problem};

/// The most instructions of a pickle: about a hundred are spent on a parameter and its optimizer.
const MOST_STEPS: u64 = 2_000_000;

/// The most values that a pickle may build: about twenty are spent on a tensor.
const MOST_VALUES: u64 = 250_000;

/// The most collections that may be begun and not ended.
const MOST_OPEN: u64 = 256;

/// The most bytes of a name of Python's.
const LONGEST_NAME: u64 = 200;

/// A number of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

/// What a pickle builds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// `None`.
    None,
    /// An integer of 64 bits.
    Int(i64),
    /// Text.
    Text(&'a str),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary, in the order it was filled.
    Dict(Vec<(Id, Id)>),
    /// A name of the list.
    Global(Global),
    /// What a call of this name with this tuple would give.
    Call(Global, Id),
    /// What the program that wrote the pickle keeps outside it under this tuple: a storage.
    Outside(Id),
    /// Data that no tensor needs, in words.
    Other(&'static str),
}

impl Value<'_> {
    /// In words, for messages.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Value::None => "nothing",
            Value::Int(_) => "a number",
            Value::Text(_) => "text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Global(_) => "a name",
            Value::Call(Global::Tensor | Global::TypedTensor | Global::Parameter, _) => "a tensor",
            Value::Call(..) => "an object",
            Value::Outside(_) => "a storage",
            Value::Other(what) => what,
        }
    }
}

/// A name that may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// An ordered dictionary.
    OrderedDict,
    /// A dictionary of counts, such as the milestones of a learning rate.
    Counter,
    /// A device.
    Device,
    /// A shape.
    Size,
    /// Makes a tensor of a storage of its own type.
    Tensor,
    /// Makes a tensor of this type of a storage of bytes.
    TypedTensor,
    /// Makes a parameter of a tensor.
    Parameter,
    /// A storage of numbers of a type.
    Storage(Dtype),
    /// A storage of bytes.
    UntypedStorage,
    /// A type of numbers.
    Dtype(Dtype),
}

impl Global {
    /// The name in this module, if it is on the list.
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("collections", "Counter") => Self::Counter,
            ("torch", "device") => Self::Device,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TypedTensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch", "UntypedStorage") | ("torch.storage", "UntypedStorage") => {
                Self::UntypedStorage
            }
            ("torch", name) => return Self::of_type(name),
            _ => return None,
        })
    }

    /// A type, or the storage of one, by its name in the module `torch`.
    fn of_type(name: &str) -> Option<Self> {
        const TYPES: [(&str, &str, Dtype); 13] = [
            ("float64", "DoubleStorage", Dtype::F64),
            ("float32", "FloatStorage", Dtype::F32),
            ("float16", "HalfStorage", Dtype::F16),
            ("bfloat16", "BFloat16Storage", Dtype::Bf16),
            ("int64", "LongStorage", Dtype::I64),
            ("int32", "IntStorage", Dtype::I32),
            ("int16", "ShortStorage", Dtype::I16),
            ("int8", "CharStorage", Dtype::I8),
            ("uint8", "ByteStorage", Dtype::U8),
            ("bool", "BoolStorage", Dtype::Bool),
            // These have no storage of their own.
            ("uint64", "", Dtype::U64),
            ("uint32", "", Dtype::U32),
            ("uint16", "", Dtype::U16),
        ];
        TYPES.iter().find_map(|&(dtype, storage, of)| match name {
            "" => None,
            _ if name == dtype => Some(Self::Dtype(of)),
            _ if name == storage => Some(Self::Storage(of)),
            _ => None,
        })
    }
}

/// What a pickle has built.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// The value of the whole pickle.
    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    /// A value.
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// All values.
    pub(super) fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Text.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An integer that counts something.
    pub(super) fn count(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            &Value::Int(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }
}

/// Runs the pickle that begins here, to its end.
///
/// # Errors
///
/// [`Problem::Refused`] for an instruction or a name that is not of plain data,
/// [`Problem::Malformed`] if it is cut off or does what no pickle does, [`Problem::Limit`] if it is
/// longer, or builds more, than is allowed.
pub(super) fn load<'a>(cursor: &mut Cursor<'a>) -> Result<Pickle<'a>, Problem> {
    let mut machine = Machine {
        cursor,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
    };
    for _ in 0..MOST_STEPS {
        match machine.cursor.u8()? {
            b'.' => return machine.finish(),
            instruction => machine.step(instruction)?,
        }
    }
    let what = "the number of instructions of a pickle";
    Err(Problem::Limit { what, found: MOST_STEPS + 1, most: MOST_STEPS })
}

struct Machine<'a, 'c> {
    cursor: &'c mut Cursor<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// How high the stack was where each collection was begun.
    marks: Vec<usize>,
    /// Values to be used again, by number.
    memo: Vec<Option<Id>>,
}

impl<'a> Machine<'a, '_> {
    /// One instruction; its names in `pickletools` are on the right.
    fn step(&mut self, instruction: u8) -> Result<(), Problem> {
        match instruction {
            0x80 => self.protocol(),                          // PROTO
            0x95 => self.frame(),                             // FRAME
            b'(' => self.mark(),                              // MARK
            b'N' => self.push(Value::None),                   // NONE
            0x88 | 0x89 => self.push(Value::Other("a flag")), // NEWTRUE, NEWFALSE
            b'J' => {
                let number = self.cursor.u32()?.cast_signed(); // BININT
                self.push(Value::Int(i64::from(number)))
            }
            b'K' => {
                let number = self.cursor.u8()?; // BININT1
                self.push(Value::Int(i64::from(number)))
            }
            b'M' => {
                let number = self.cursor.u16()?; // BININT2
                self.push(Value::Int(i64::from(number)))
            }
            b'G' => {
                self.cursor.take(8)?; // BINFLOAT
                self.push(Value::Other("a number"))
            }
            0x8a => self.long(1),         // LONG1
            0x8b => self.long(4),         // LONG4
            b'X' => self.text(4),         // BINUNICODE
            0x8c => self.text(1),         // SHORT_BINUNICODE
            0x8d => self.text(8),         // BINUNICODE8
            b'U' => self.old_text(1),     // SHORT_BINSTRING
            b'T' => self.old_text(4),     // BINSTRING
            b'C' => self.bytes(1),        // SHORT_BINBYTES
            b'B' => self.bytes(4),        // BINBYTES
            0x8e | 0x96 => self.bytes(8), // BINBYTES8, BYTEARRAY8
            _ => self.step_of_collection(instruction),
        }
    }

    fn step_of_collection(&mut self, instruction: u8) -> Result<(), Problem> {
        match instruction {
            b']' => self.push(Value::List(Vec::new())),  // EMPTY_LIST
            b'}' => self.push(Value::Dict(Vec::new())),  // EMPTY_DICT
            b')' => self.push(Value::Tuple(Vec::new())), // EMPTY_TUPLE
            0x8f => self.push(Value::Other("a set")),    // EMPTY_SET
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(instruction - 0x84))?; // TUPLE1 to TUPLE3
                self.push(Value::Tuple(items))
            }
            b't' => {
                let items = self.pop_mark()?; // TUPLE
                self.push(Value::Tuple(items))
            }
            0x91 => {
                self.pop_mark()?; // FROZENSET
                self.push(Value::Other("a set"))
            }
            b'a' => {
                let items = self.pop_many(1)?; // APPEND
                self.append(&items)
            }
            b'e' => {
                let items = self.pop_mark()?; // APPENDS
                self.append(&items)
            }
            b's' => {
                let items = self.pop_many(2)?; // SETITEM
                self.set(&items)
            }
            b'u' => {
                let items = self.pop_mark()?; // SETITEMS
                self.set(&items)
            }
            0x90 => {
                self.pop_mark()?; // ADDITEMS
                match self.top()? {
                    Value::Other("a set") => Ok(()),
                    other => {
                        let what = other.what();
                        Err(self.unexpected("adds to", what))
                    }
                }
            }
            _ => self.step_of_names(instruction),
        }
    }

    fn step_of_names(&mut self, instruction: u8) -> Result<(), Problem> {
        match instruction {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?); // GLOBAL
                self.global(module, name)
            }
            0x93 => self.stack_global(), // STACK_GLOBAL
            b'R' => self.call(),         // REDUCE
            b'b' => self.build(),        // BUILD
            b'Q' => self.outside(),      // BINPERSID
            b'q' => {
                let number = self.cursor.u8()?; // BINPUT
                self.remember(u64::from(number))
            }
            b'r' => {
                let number = self.cursor.u32()?; // LONG_BINPUT
                self.remember(u64::from(number))
            }
            0x94 => self.remember(self.memo.len() as u64), // MEMOIZE
            b'h' => {
                let number = self.cursor.u8()?; // BINGET
                self.recall(usize::from(number))
            }
            b'j' => {
                let number = self.cursor.u32()?; // LONG_BINGET
                self.recall(number as usize)
            }
            _ => {
                let at = self.cursor.position() - 1;
                let what =
                    format!("its pickle has the instruction {instruction:#04x} at byte {at}");
                Err(Problem::refused(what, format!("it does not build plain data; {ADVICE}")))
            }
        }
    }

    fn finish(mut self) -> Result<Pickle<'a>, Problem> {
        let root = self.pop_many(1)?[0];
        if self.stack.is_empty() && self.marks.is_empty() {
            Ok(Pickle { values: self.values, root })
        } else {
            Err(self.malformed("ends in the middle of a collection"))
        }
    }

    fn protocol(&mut self) -> Result<(), Problem> {
        match self.cursor.u8()? {
            2..=5 => Ok(()),
            other => Err(self.malformed(&format!("is of protocol {other}, not 2 to 5,"))),
        }
    }

    /// Frames say how much can be read at once, which does not matter here.
    fn frame(&mut self) -> Result<(), Problem> {
        let length = self.cursor.u64()?;
        if length > self.cursor.left() as u64 {
            return Err(self.malformed(&format!("has a frame of {length} bytes")));
        }
        Ok(())
    }

    fn mark(&mut self) -> Result<(), Problem> {
        self.marks.push(self.stack.len());
        let found = self.marks.len() as u64;
        if found > MOST_OPEN {
            let what = "the number of collections in each other in a pickle";
            return Err(Problem::Limit { what, found, most: MOST_OPEN });
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        let number = self.values.len() as u64;
        let id = match u32::try_from(number) {
            Ok(id) if number < MOST_VALUES => Id(id),
            _ => {
                let what = "the number of values of a pickle";
                return Err(Problem::Limit { what, found: number + 1, most: MOST_VALUES });
            }
        };
        self.values.push(value);
        self.stack.push(id);
        Ok(())
    }

    /// The last `count` values of the collection that is open.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        let open = self.stack.len() - self.marks.last().copied().unwrap_or(0);
        if count > open {
            return Err(self.malformed("takes a value that is not there"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    /// All values of the collection that is open, which ends.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.malformed("ends a collection that was not begun")),
        }
    }

    fn top_id(&mut self) -> Result<Id, Problem> {
        let top = self.pop_many(1)?[0];
        self.stack.push(top);
        Ok(top)
    }

    fn top(&mut self) -> Result<&mut Value<'a>, Problem> {
        let top = self.top_id()?;
        Ok(&mut self.values[top.0 as usize])
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Problem> {
        match self.top()? {
            Value::List(list) => {
                list.extend_from_slice(items);
                Ok(())
            }
            other => {
                let what = other.what();
                Err(self.unexpected("appends to", what))
            }
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Problem> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed("has a key without a value"));
        }
        match self.top()? {
            Value::Dict(dict) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            other => {
                let what = other.what();
                Err(self.unexpected("sets an item of", what))
            }
        }
    }

    /// A number that says in `width` bytes how many follow.
    fn length(&mut self, width: u8) -> Result<u64, Problem> {
        match width {
            1 => Ok(u64::from(self.cursor.u8()?)),
            4 => Ok(u64::from(self.cursor.u32()?)),
            _ => self.cursor.u64(),
        }
    }

    /// An integer of any length, in two's complement, the lowest byte first.
    fn long(&mut self, width: u8) -> Result<(), Problem> {
        let length = self.length(width)?;
        let bytes = self.cursor.take(length)?;
        let sign = bytes.last().map_or(0, |last| if last >> 7 == 0 { 0 } else { 0xff });
        let mut number = [sign; 8];
        match number.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                self.push(Value::Int(i64::from_le_bytes(number)))
            }
            None => self.push(Value::Other("a large number")),
        }
    }

    fn text(&mut self, width: u8) -> Result<(), Problem> {
        let length = self.length(width)?;
        match std::str::from_utf8(self.cursor.take(length)?) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => Err(self.malformed("has text that is not UTF-8")),
        }
    }

    /// Text of Python 2, which is bytes.
    fn old_text(&mut self, width: u8) -> Result<(), Problem> {
        let length = self.length(width)?;
        match std::str::from_utf8(self.cursor.take(length)?) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => self.push(Value::Other("bytes")),
        }
    }

    fn bytes(&mut self, width: u8) -> Result<(), Problem> {
        let length = self.length(width)?;
        self.cursor.take(length)?;
        self.push(Value::Other("bytes"))
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<&'a str, Problem> {
        let mut ahead = self.cursor.clone();
        let mut length = 0;
        while ahead.u8()? != b'\n' {
            length += 1;
            if length > LONGEST_NAME {
                return Err(self.malformed("has a name without an end"));
            }
        }
        let line = self.cursor.take(length)?;
        self.cursor.take(1)?;
        std::str::from_utf8(line).map_err(|_| self.malformed("has a name that is not UTF-8"))
    }

    fn stack_global(&mut self) -> Result<(), Problem> {
        let names = self.pop_many(2)?;
        let text = |id: Id| match self.values[id.0 as usize] {
            Value::Text(text) => Some(text),
            _ => None,
        };
        match (text(names[0]), text(names[1])) {
            (Some(module), Some(name)) => self.global(module, name),
            _ => Err(self.malformed("has a name that is not text")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => {
                let what = format!("its pickle refers to {}", shown(&format!("{module}.{name}")));
                Err(Problem::refused(what, format!("it is not of plain data; {ADVICE}")))
            }
        }
    }

    fn call(&mut self) -> Result<(), Problem> {
        let arguments = self.pop_many(1)?[0];
        let callee = self.pop_many(1)?[0];
        let Value::Tuple(given) = &self.values[arguments.0 as usize] else {
            return Err(self.malformed("calls something without a tuple"));
        };
        match self.values[callee.0 as usize] {
            Value::Global(Global::OrderedDict) if given.is_empty() => {
                self.push(Value::Dict(Vec::new()))
            }
            Value::Global(
                global @ (Global::Counter
                | Global::Device
                | Global::Size
                | Global::Tensor
                | Global::TypedTensor
                | Global::Parameter),
            ) => self.push(Value::Call(global, arguments)),
            ref other => {
                let what = format!("its pickle calls {}", other.what());
                Err(Problem::refused(what, format!("it is no function of tensors; {ADVICE}")))
            }
        }
    }

    /// Attributes of an object, which only dictionaries have here, and which do not matter.
    fn build(&mut self) -> Result<(), Problem> {
        self.pop_many(1)?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            other => {
                let what = format!("its pickle sets the state of {}", other.what());
                Err(Problem::refused(what, format!("it is not of plain data; {ADVICE}")))
            }
        }
    }

    fn outside(&mut self) -> Result<(), Problem> {
        let name = self.pop_many(1)?[0];
        self.push(Value::Outside(name))
    }

    fn remember(&mut self, number: u64) -> Result<(), Problem> {
        let id = self.top_id()?;
        let at = match usize::try_from(number) {
            Ok(at) if number < MOST_VALUES => at,
            _ => {
                let what = "the number of a value that a pickle remembers";
                return Err(Problem::Limit { what, found: number, most: MOST_VALUES - 1 });
            }
        };
        if at >= self.memo.len() {
            self.memo.resize(at + 1, None);
        }
        self.memo[at] = Some(id);
        Ok(())
    }

    fn recall(&mut self, number: usize) -> Result<(), Problem> {
        match self.memo.get(number).copied().flatten() {
            Some(id) => {
                self.stack.push(id);
                Ok(())
            }
            None => Err(self.malformed(&format!("uses value {number}, which it has not"))),
        }
    }

    fn unexpected(&self, does: &str, what: &str) -> Problem {
        self.malformed(&format!("{does} {what}"))
    }

    fn malformed(&self, what: &str) -> Problem {
        self.cursor.malformed(format!("its pickle {what} before byte {}", self.cursor.position()))
    }
}

/// What to do with a file that is refused.
pub(super) const ADVICE: &str = "only dictionaries of tensors and plain data are read, and nothing \
    is executed. If you trust the file, load it in Python and save its tensors alone: \
    torch.save(model.state_dict(), path)";
