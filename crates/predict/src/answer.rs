//! Predictions as text and as JSON.

use std::path::Path;

use fireclay_model::{Description, Intervals, Prediction};
use fireclay_pictures::blocks;
use fireclay_terminal::{printable, wrapped_at};
use serde_json::{Map, Value, json};

/// The form in which predictions are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form {
    /// JSON and no text.
    pub json: bool,
    /// Labels of a row, the most probable first.
    pub top_k: usize,
    /// The lowest probability of a label; below it the answer is that the model is unsure.
    pub abstain: Option<f32>,
    /// What was done to make the rows, below the text of the first.
    pub notes: bool,
    /// The features of each row, drawn below its text if they are a picture.
    pub show: bool,
}

impl Default for Form {
    /// Text, one label and notes.
    fn default() -> Self {
        Self { json: false, top_k: 1, abstain: None, notes: true, show: false }
    }
}

/// The prediction of a row, and what it is of.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The input.
    pub input: &'a Path,
    /// The row, from 0; none if the input is no list.
    pub row: Option<usize>,
    /// Where its window begins in the recording, in seconds, if it is one.
    pub start: Option<f64>,
    /// Raw features, `[features]`; none of tables whose columns have names.
    pub features: &'a [f32],
    /// The prediction.
    pub prediction: &'a Prediction,
    /// The standard deviation over the members of an ensemble of each probability, or of each value in
    /// the unit of its target, `[names]`; empty of a model that is no ensemble.
    pub spread: &'a [f32],
    /// The model that predicted it.
    pub model: &'a Description,
    /// What was done to make the row, in order.
    pub done: &'a [String],
}

impl Answer<'_> {
    /// The answer in this form, as one line of JSON, or as a line of text with what belongs to it below.
    pub fn line(&self, form: &Form) -> String {
        if form.json { self.json(form).to_string() } else { self.text(form) }
    }

    /// The label, unless it is not probable enough.
    pub(crate) fn label(&self, form: &Form) -> Option<&str> {
        match self.prediction {
            Prediction::Class { label, probability, .. }
                if form.abstain.is_none_or(|least| *probability >= least) =>
            {
                Some(label)
            }
            _ => None,
        }
    }

    /// Labels with their probabilities and, of an ensemble, their spread: the class that the model decides for, then the most probable;
    /// equal ones by index.
    fn ranked(&self, form: &Form) -> Vec<(&str, f32, Option<f32>)> {
        let probabilities = match self.prediction {
            Prediction::Class { distribution, .. } => distribution,
            Prediction::Labels { probabilities, .. } => probabilities,
            Prediction::Values { .. } => return Vec::new(),
        };
        let names = self.model.task.names().iter().map(String::as_str);
        let named = names.zip(probabilities).enumerate();
        let mut ranked: Vec<_> =
            named.map(|(at, (label, &p))| (label, p, self.spread.get(at).copied())).collect();
        let decided = match self.prediction {
            Prediction::Class { label, .. } => Some(label.as_str()),
            _ => None,
        };
        ranked.sort_by(|(a_label, a, _), (b_label, b, _)| {
            let is_later = |label: &str| decided.is_some_and(|decided| decided != label);
            is_later(a_label).cmp(&is_later(b_label)).then(b.total_cmp(a))
        });
        ranked.truncate(form.top_k);
        ranked
    }

    fn text(&self, form: &Form) -> String {
        let name = printable(&self.input.display().to_string(), 200);
        let name = match (self.start, self.row) {
            (Some(start), _) => format!("{name} {start:.3} s"),
            (None, Some(row)) => format!("{name} {row}"),
            (None, None) => name,
        };
        let mut text = format!("{name}  {}", self.words(form));
        if form.notes && !self.done.is_empty() && self.row.is_none_or(|row| row == 0) {
            text += &format!("\n  {}", wrapped_at(&self.done.join("; "), 2));
        }
        if form.show {
            let shape = &self.model.architecture.input_shape;
            let drawn = blocks(shape, self.features);
            text += &format!("\n{}", drawn.as_deref().unwrap_or("  not a picture"));
        }
        text
    }

    /// The prediction in words.
    fn words(&self, form: &Form) -> String {
        let ranked = self.ranked(form);
        let shares =
            ranked.iter().map(|(label, p, _)| format!("{} {:.2} %", short(label), 100.0 * p));
        let ranked = shares.collect::<Vec<_>>().join("  ");
        match self.prediction {
            Prediction::Class { .. } if self.label(form).is_none() => format!("unsure ({ranked})"),
            Prediction::Class { .. } => ranked,
            Prediction::Labels { labels, .. } if labels.is_empty() => format!("none ({ranked})"),
            Prediction::Labels { labels, .. } => format!("{} ({ranked})", labels.join(", ")),
            Prediction::Values { values, intervals } => {
                let named = self.model.task.names().iter().zip(values).enumerate();
                let values = named.map(|(at, (name, value))| match intervals.get(at) {
                    Some([low, high]) => format!("{} {value} ({low} to {high})", short(name)),
                    None => format!("{} {value}", short(name)),
                });
                values.collect::<Vec<_>>().join("  ")
            }
        }
    }

    fn json(&self, form: &Form) -> Value {
        let ranked = self.ranked(form);
        let top = ranked.iter().map(|(label, p, spread)| match spread {
            Some(spread) => json!({ "label": label, "probability": p, "spread": spread }),
            None => json!({ "label": label, "probability": p }),
        });
        let top: Vec<Value> = top.collect();
        let mut answer = json!({ "input": self.input.to_string_lossy(), "row": self.row });
        if let Some(start) = self.start {
            answer["start"] = json!(start);
        }
        let more = match self.prediction {
            Prediction::Class { class, probability, .. } => json!({
                "label": self.label(form), "class": class, "probability": probability,
                "abstained": self.label(form).is_none(), "top": top,
            }),
            Prediction::Labels { labels, .. } => json!({ "labels": labels, "top": top }),
            Prediction::Values { values, intervals } => self.numbers(values, intervals),
        };
        if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
            answer.extend(more);
            if !self.done.is_empty() {
                answer.insert("done".to_owned(), json!(self.done));
            }
        }
        answer
    }

    /// The values of a regression by target, and their intervals if it has any.
    fn numbers(&self, values: &[f32], intervals: &[[f32; 2]]) -> Value {
        let names = || self.model.task.names().iter().cloned();
        let values: Map<_, _> = names().zip(values.iter().map(|value| json!(value))).collect();
        let mut numbers = json!({ "values": values });
        if let Some(level) = self.model.task.intervals().and_then(Intervals::level) {
            let ends = intervals.iter().map(|[low, high]| json!({ "lower": low, "upper": high }));
            numbers["intervals"] = json!(names().zip(ends).collect::<Map<_, _>>());
            numbers["level"] = json!(level);
        }
        if !self.spread.is_empty() {
            let spread = names().zip(self.spread.iter().map(|spread| json!(spread)));
            numbers["spread"] = json!(spread.collect::<Map<_, _>>());
        }
        numbers
    }
}

/// A name from a model as it may be shown.
fn short(name: &str) -> String {
    printable(name, 40)
}
