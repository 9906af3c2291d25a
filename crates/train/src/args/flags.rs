//! Settings as flags give them.

use std::fmt::Display;
use std::str::FromStr;

use clap::ValueEnum;
use toml::Value;

use crate::settings::{FLAGS, NONE, Partial, SettingsError};

/// A value, or `none`: no value, although a recipe or a file has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrNone<T> {
    /// Typed as `none`.
    None,
    /// A value.
    Some(T),
}

impl<T: FromStr<Err: Display>> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self::None);
        }
        text.parse().map(Self::Some).map_err(|error| format!("{error}; type a number, or {NONE}"))
    }
}

/// The settings that flags give, by their path in a settings file; flags that were not typed leave
/// them as they are.
#[derive(Clone, Debug, Default)]
pub struct Flags(toml::Table);

impl Flags {
    /// Sets a number.
    pub fn number(&mut self, path: &str, number: Option<f64>) {
        self.set(path, number.map(Value::Float));
    }

    /// Sets a whole number.
    pub fn count(&mut self, path: &str, count: Option<u32>) {
        self.set(path, count.map(|count| Value::Integer(count.into())));
    }

    /// Sets a number, or takes a setting away.
    pub fn number_or_none(&mut self, path: &str, number: Option<OrNone<f64>>) {
        match number {
            Some(OrNone::None) => self.text(path, Some(NONE)),
            Some(OrNone::Some(number)) => self.number(path, Some(number)),
            None => {}
        }
    }

    /// Sets the number of a section, or takes the section away.
    pub fn count_or_none(&mut self, section: &str, field: &str, count: Option<OrNone<u32>>) {
        match count {
            Some(OrNone::None) => self.text(section, Some(NONE)),
            Some(OrNone::Some(count)) => self.count(&format!("{section}.{field}"), Some(count)),
            None => {}
        }
    }

    /// Turns a setting on.
    pub fn on(&mut self, path: &str, is_on: bool) {
        self.set(path, is_on.then_some(Value::Boolean(true)));
    }

    /// Sets what is written as text.
    pub fn text(&mut self, path: &str, text: Option<impl ToString>) {
        self.set(path, text.map(|text| Value::String(text.to_string())));
    }

    /// Sets one of several choices.
    pub fn choice(&mut self, path: &str, choice: Option<impl ValueEnum>) {
        let value = choice.and_then(|choice| choice.to_possible_value());
        self.text(path, value.as_ref().map(|value| value.get_name()));
    }

    /// Sets a list of what is written as text, unless it is empty.
    pub fn list(&mut self, path: &str, list: &[impl ToString]) {
        let values: Vec<_> = list.iter().map(|one| Value::String(one.to_string())).collect();
        self.set(path, (!values.is_empty()).then_some(Value::Array(values)));
    }

    /// Sets a list of numbers, unless it is empty.
    pub fn numbers(&mut self, path: &str, list: &[f64]) {
        let values: Vec<_> = list.iter().map(|&one| Value::Float(one)).collect();
        self.set(path, (!values.is_empty()).then_some(Value::Array(values)));
    }

    /// Sets a value.
    pub(super) fn set(&mut self, path: &str, value: Option<Value>) {
        if let Some(value) = value {
            insert(&mut self.0, path, value);
        }
    }
}

impl From<Flags> for Partial {
    fn from(Flags(table): Flags) -> Self {
        Self { origin: FLAGS.to_owned(), table }
    }
}

/// The settings of one `--set path=value`; a value that is not TOML is taken as a string.
pub(super) fn assigned(assignment: &str) -> Result<Partial, SettingsError> {
    let origin = format!("--set {assignment}");
    let Some((path, text)) = assignment.split_once('=') else {
        let message = "give it as PATH=VALUE, such as optimizer.alpha=0.9".to_owned();
        return Err(SettingsError::Parse { origin, message });
    };
    let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut table = toml::Table::new();
    insert(&mut table, path.trim(), value);
    Ok(Partial { origin, table })
}

/// Sets `a.b.c` in nested tables.
fn insert(table: &mut toml::Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let below = table.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(below) = below {
                insert(below, rest, value);
            }
        }
    }
}
