//! The machine that runs a pickle.

use fireclay_terminal::counted;

use super::names::Global;
use super::pickle::{ADVICE, Id, Pickle, Value};
use crate::Problem;
use crate::bytes::Cursor;
use crate::error::{limit, shown};

/// The most instructions of a pickle: about a hundred are spent on a parameter and its optimizer.
const MOST_STEPS: u64 = 2_000_000;

/// The most values that a pickle may build: about twenty are spent on a tensor.
const MOST_VALUES: u64 = 250_000;

/// The most collections that may be begun and not ended.
const MOST_OPEN: u64 = 256;

/// The most bytes of a name of Python's.
const LONGEST_NAME: u64 = 200;

/// The instructions that build plain data, by their names in `pickletools`.
mod op {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const FRAME: u8 = 0x95;
    pub(super) const STOP: u8 = b'.';
    pub(super) const MARK: u8 = b'(';
    pub(super) const NONE: u8 = b'N';
    pub(super) const NEWTRUE: u8 = 0x88;
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const BININT: u8 = b'J';
    pub(super) const BININT1: u8 = b'K';
    pub(super) const BININT2: u8 = b'M';
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const LONG4: u8 = 0x8b;
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const BINUNICODE8: u8 = 0x8d;
    pub(super) const BINSTRING: u8 = b'T';
    pub(super) const SHORT_BINSTRING: u8 = b'U';
    pub(super) const BINBYTES: u8 = b'B';
    pub(super) const SHORT_BINBYTES: u8 = b'C';
    pub(super) const BINBYTES8: u8 = 0x8e;
    pub(super) const BYTEARRAY8: u8 = 0x96;
    pub(super) const EMPTY_LIST: u8 = b']';
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const EMPTY_SET: u8 = 0x8f;
    pub(super) const TUPLE1: u8 = 0x85;
    pub(super) const TUPLE2: u8 = 0x86;
    pub(super) const TUPLE3: u8 = 0x87;
    pub(super) const TUPLE: u8 = b't';
    pub(super) const FROZENSET: u8 = 0x91;
    pub(super) const APPEND: u8 = b'a';
    pub(super) const APPENDS: u8 = b'e';
    pub(super) const SETITEM: u8 = b's';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const ADDITEMS: u8 = 0x90;
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const NEWOBJ: u8 = 0x81;
    pub(super) const BUILD: u8 = b'b';
    pub(super) const BINPERSID: u8 = b'Q';
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const BINGET: u8 = b'h';
    pub(super) const LONG_BINGET: u8 = b'j';
}

/// Runs the pickle that begins here, to its end.
///
/// # Errors
///
/// [`Problem::Refused`] for an instruction or a name that is not of plain data,
/// [`Problem::Malformed`] if it is cut off or does what no pickle does, [`Problem::Limit`] if it is
/// longer, or builds more, than is allowed.
pub(super) fn load<'a>(cursor: &mut Cursor<'a>) -> Result<Pickle<'a>, Problem> {
    let mut machine = PickleMachine {
        cursor,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        copied: 0,
    };
    for _ in 0..MOST_STEPS {
        match machine.cursor.u8()? {
            op::STOP => return machine.finish(),
            instruction => machine.step(instruction)?,
        }
    }
    let what = "the number of instructions of a pickle";
    Err(Problem::Limit { what, found: MOST_STEPS + 1, most: MOST_STEPS })
}

/// Returns true if bytes are UTF-8 but for halves of characters (U+D800 to U+DFFF), each in three
/// bytes.
fn is_text_of_python(mut bytes: &[u8]) -> bool {
    while let Err(error) = std::str::from_utf8(bytes) {
        match &bytes[error.valid_up_to()..] {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, rest @ ..] => bytes = rest,
            _ => return false,
        }
    }
    true
}

struct PickleMachine<'a, 'c> {
    cursor: &'c mut Cursor<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// The height of the stack where each collection was begun.
    marks: Vec<usize>,
    /// Values to be used again, by number.
    memo: Vec<Option<Id>>,
    /// Pairs that dictionaries were given at once.
    copied: u64,
}

impl<'a> PickleMachine<'a, '_> {
    /// One instruction.
    fn step(&mut self, instruction: u8) -> Result<(), Problem> {
        match instruction {
            op::PROTO => self.protocol(),
            op::FRAME => self.frame(),
            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Flag(true)),
            op::NEWFALSE => self.push(Value::Flag(false)),
            op::BININT => {
                let number = self.cursor.u32()?.cast_signed();
                self.push(Value::Int(i64::from(number)))
            }
            op::BININT1 => {
                let number = self.cursor.u8()?;
                self.push(Value::Int(i64::from(number)))
            }
            op::BININT2 => {
                let number = self.cursor.u16()?;
                self.push(Value::Int(i64::from(number)))
            }
            op::BINFLOAT => {
                let number = f64::from_be_bytes(self.cursor.array()?);
                self.push(Value::Float(number))
            }
            op::LONG1 => self.long(1),
            op::LONG4 => self.long(4),
            op::SHORT_BINUNICODE => self.text(1),
            op::BINUNICODE => self.text(4),
            op::BINUNICODE8 => self.text(8),
            op::SHORT_BINSTRING => self.old_text(1),
            op::BINSTRING => self.old_text(4),
            op::SHORT_BINBYTES => self.bytes(1),
            op::BINBYTES => self.bytes(4),
            op::BINBYTES8 | op::BYTEARRAY8 => self.bytes(8),
            _ => self.step_of_collections(instruction),
        }
    }

    fn step_of_collections(&mut self, instruction: u8) -> Result<(), Problem> {
        match instruction {
            op::MARK => self.mark(),
            op::EMPTY_LIST => self.push(Value::List(Vec::new())),
            op::EMPTY_DICT => self.push(Value::Dict(Vec::new())),
            op::EMPTY_TUPLE => self.push(Value::Tuple(Vec::new())),
            op::EMPTY_SET => self.push(Value::Other(super::names::SET)),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let items = self.pop_many(usize::from(instruction - op::TUPLE1) + 1)?;
                self.push(Value::Tuple(items))
            }
            op::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))
            }
            op::FROZENSET => {
                self.pop_mark()?;
                self.push(Value::Other(super::names::SET))
            }
            op::APPEND => {
                let items = self.pop_many(1)?;
                self.append(&items)
            }
            op::APPENDS => {
                let items = self.pop_mark()?;
                self.append(&items)
            }
            op::SETITEM => {
                let items = self.pop_many(2)?;
                self.set(&items)
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.set(&items)
            }
            op::ADDITEMS => self.add(),
            _ => self.step_of_names(instruction),
        }
    }

    fn step_of_names(&mut self, instruction: u8) -> Result<(), Problem> {
        match instruction {
            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            op::STACK_GLOBAL => self.stack_global(),
            // To call a class makes an object of it, which is what the other does too.
            op::REDUCE | op::NEWOBJ => self.call(),
            op::BUILD => self.build(),
            op::BINPERSID => self.outside(),
            op::BINPUT => {
                let number = self.cursor.u8()?;
                self.remember(u64::from(number))
            }
            op::LONG_BINPUT => {
                let number = self.cursor.u32()?;
                self.remember(u64::from(number))
            }
            op::MEMOIZE => self.remember(self.memo.len() as u64),
            op::BINGET => {
                let number = self.cursor.u8()?;
                self.recall(usize::from(number))
            }
            op::LONG_BINGET => {
                let number = self.cursor.u32()?;
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
            return Err(self.malformed(&format!("has a frame of {}", counted(length, "byte"))));
        }
        Ok(())
    }

    fn mark(&mut self) -> Result<(), Problem> {
        self.marks.push(self.stack.len());
        let what = "the number of collections in each other in a pickle";
        limit(what, self.marks.len() as u64, MOST_OPEN)
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
            Value::Other(super::names::DEQUE) => Ok(()),
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
            Value::Other(super::names::COUNTER) => Ok(()),
            other => {
                let what = other.what();
                Err(self.unexpected("sets an item of", what))
            }
        }
    }

    /// Takes the items of a set away: they do not matter.
    fn add(&mut self) -> Result<(), Problem> {
        self.pop_mark()?;
        match self.top()? {
            Value::Other(super::names::SET) => Ok(()),
            other => {
                let what = other.what();
                Err(self.unexpected("adds to", what))
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
        let bytes = self.cursor.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Text(text)),
            // Python's text may have halves of characters, which UTF-8 has not.
            Err(_) if is_text_of_python(bytes) => self.push(Value::Other("text")),
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
        let (module, name) = (names[0].0 as usize, names[1].0 as usize);
        match (&self.values[module], &self.values[name]) {
            (&Value::Text(module), &Value::Text(name)) => self.global(module, name),
            _ => Err(self.malformed("has a name that is not text")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(self.unknown(module, name)),
        }
    }

    /// The refusal of a name that is not on the list.
    fn unknown(&self, module: &str, name: &str) -> Problem {
        let what = format!("its pickle refers to {}", shown(&format!("{module}.{name}")));
        // A module saved as a whole begins with its class (in a legacy file with a word before it),
        // or has those of its layers in it.
        let is_first = matches!(self.values[..], [] | [Value::Text("module")]);
        let is_module = is_first || module.starts_with("torch.nn.modules");
        let why = if is_module {
            "it holds an object with its code, such as a whole module from torch.save(model)"
        } else {
            "it is not of plain data"
        };
        Problem::refused(what, format!("{why}; {ADVICE}"))
    }

    fn call(&mut self) -> Result<(), Problem> {
        let arguments = self.pop_many(1)?[0];
        let callee = self.pop_many(1)?[0];
        let Value::Tuple(given) = &self.values[arguments.0 as usize] else {
            return Err(self.malformed("calls something without a tuple"));
        };
        let first = given.first().copied();
        match self.values[callee.0 as usize] {
            Value::Global(Global::Dictionary) => match first {
                None => self.push(Value::Dict(Vec::new())),
                Some(pairs) => self.dictionary_of(pairs),
            },
            // What it is called with is what an item is when it is missing.
            Value::Global(Global::DefaultDictionary) => self.push(Value::Dict(Vec::new())),
            Value::Global(Global::Plain(what)) => self.push(Value::Other(what)),
            Value::Global(Global::ParameterClass) => {
                self.push(Value::Call(Global::Parameter, arguments))
            }
            Value::Global(global) if global.makes_tensors() => {
                self.push(Value::Call(global, arguments))
            }
            ref other => {
                let what = format!("its pickle calls {}", other.what());
                Err(Problem::refused(what, format!("it is no function of tensors; {ADVICE}")))
            }
        }
    }

    /// A dictionary that is given all its pairs at once, as Python 2 has it.
    fn dictionary_of(&mut self, pairs: Id) -> Result<(), Problem> {
        let entries = match &self.values[pairs.0 as usize] {
            Value::Dict(entries) => Some(entries.clone()),
            Value::List(pairs) => pairs.iter().map(|&pair| self.pair(pair)).collect(),
            _ => None,
        };
        match entries {
            Some(entries) => {
                // A copy is paid for, so that a large one cannot be made again and again.
                self.copied += entries.len() as u64;
                limit("the number of values of a pickle", self.copied, MOST_VALUES)?;
                self.push(Value::Dict(entries))
            }
            None => Err(self.malformed("makes a dictionary of what are no pairs")),
        }
    }

    fn pair(&self, id: Id) -> Option<(Id, Id)> {
        match self.values[id.0 as usize] {
            Value::List(ref items) | Value::Tuple(ref items) => match items[..] {
                [key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Attributes of an object, which do not matter: those of the dictionaries and of the plain
    /// data that occur here.
    fn build(&mut self) -> Result<(), Problem> {
        self.pop_many(1)?;
        match self.top()? {
            Value::Dict(_) | Value::Other(_) => Ok(()),
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
