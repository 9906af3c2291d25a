//! What was found, in words.

use fireclay::{
    Architecture, Decision, FieldKind, InputSpec, Intervals, Pictures, Preprocessing, Provenance,
    Sounds, TargetScaling, Task,
};
use fireclay_terminal::{
    counted, digest_start, group, listed, names, printable, sizes, table, wrapped_at,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Found;
use super::numbers::Numbers;
use crate::output::wrapped;

/// Tensors that are shown unless all are asked for.
const MOST_TENSORS: usize = 40;
/// Oddities that are shown unless all are asked for.
const MOST_ODD: usize = 20;
/// Labels that are named.
const MOST_LABELS: usize = 12;

/// A network in words: `784-128-10 relu, 101,770 parameters`.
pub(super) fn network(network: &Architecture) -> String {
    let mut text =
        format!("{}, {}", network.in_words(), counted(network.parameters() as u64, "parameter"));
    if !(0..network.layers()).all(|i| network.has_bias(i)) {
        text += ", layers without biases";
    }
    let mut rates: Vec<f64> =
        network.hidden.iter().map(|layer| layer.dropout).filter(|&r| r > 0.0).collect();
    rates.dedup();
    if !rates.is_empty() {
        let rates: Vec<String> = rates.iter().map(ToString::to_string).collect();
        text += &format!(", dropout {}", rates.join(" and "));
    }
    if let Some(lora) = &network.lora {
        text += &format!(", adapters of rank {}", lora.rank);
    }
    text
}

/// All that was found.
pub(super) fn text(found: &Found, is_all: bool) -> String {
    let mut lines = Lines { text: format!("{}: {}\n", found.file, found.kind) };
    lines.item("size", &counted(found.bytes, "byte"));
    let digest = found.sha256.as_deref();
    lines.item("sha256", digest.unwrap_or("not computed: the file is large and refused"));
    if let Some(digest) = &found.digest {
        let verdict = match digest.is_valid {
            Some(true) => "valid",
            Some(false) => "NOT VALID: the content was changed",
            None => "not checked: the file is too damaged",
        };
        lines.item("digest", &format!("{}, {verdict}", short(&digest.found)));
    }
    if let Some(network) = &found.network {
        lines.item("network", network);
    }
    if let Some(document) = &found.document {
        lines.document(document);
    }
    lines.tensors(found, is_all);
    for note in &found.notes {
        lines.text += &format!("{}\n", wrapped(&format!("note: {note}")));
    }
    lines.odd(&found.odd, is_all);
    lines.text
}

/// The beginning of a digest, enough to tell it from others.
fn short(digest: &str) -> String {
    if digest.is_empty() { "none".to_owned() } else { printable(digest_start(digest), 19) }
}

/// How each target was standardised for training.
fn standardized(task: &Task, scaling: &TargetScaling) -> String {
    let numbers = scaling.mean.iter().zip(&scaling.deviation);
    let each =
        task.names().iter().zip(numbers).map(|(name, (mean, deviation))| {
            format!("{} {mean} and {deviation}", printable(name, 16))
        });
    let each = names(&each.collect::<Vec<_>>(), MOST_LABELS);
    let learned = if scaling.logarithm { "as natural logarithms, " } else { "" };
    format!("{learned}standardized for training, by mean and deviation: {each}")
}

/// The calibration and the thresholds of classes or labels.
fn decided(task: &Task, decision: &Decision) -> Option<String> {
    let temperature = decision.temperature.map(|t| format!("temperature {t}"));
    // Of two classes the second has the threshold.
    let labels = task.names().iter().rev().take(decision.thresholds.len()).rev();
    let each = labels
        .zip(&decision.thresholds)
        .map(|(label, threshold)| format!("{} from {threshold}", printable(label, 16)));
    let each: Vec<String> = each.collect();
    let thresholds = (!each.is_empty()).then(|| names(&each, MOST_LABELS));
    let parts: Vec<String> = temperature.into_iter().chain(thresholds).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The quantiles of a regression, and its intervals.
fn spread(task: &Task, intervals: &Intervals) -> Option<String> {
    let level = intervals.level()?;
    let quantiles: Vec<String> = intervals.quantiles.iter().map(ToString::to_string).collect();
    let mut text = format!("{:.4} %", 100.0 * level).replace(".0000", "");
    if !quantiles.is_empty() {
        text += &format!(", between the quantiles {}", quantiles.join(", "));
    }
    if let Some(conformal) = &intervals.conformal {
        let margins = task.names().iter().zip(&conformal.margins);
        let each = margins.map(|(name, margin)| format!("{} {margin}", printable(name, 16)));
        let unit = if task.is_logarithmic() { " in the logarithm" } else { "" };
        let each = names(&each.collect::<Vec<_>>(), MOST_LABELS);
        text += &format!(", with conformal margins{unit}: {each}");
    }
    Some(text)
}

struct Lines {
    text: String,
}

impl Lines {
    fn item(&mut self, name: &str, value: &str) {
        self.text += &format!("  {name:<13} {}\n", wrapped_at(value, 16));
    }

    /// What our own files say of themselves; what cannot be understood is left out here, and
    /// listed as odd.
    fn document(&mut self, document: &Value) {
        if let Some(version) = document.get("version").and_then(Value::as_u64) {
            self.item("format", &format!("version {version}"));
        }
        // The models of an ensemble have one task, and one kind of each column.
        let model = document.pointer("/ensemble/0").unwrap_or(document);
        if let Some(shape) = part::<Vec<usize>>(model.pointer("/architecture/input_shape")) {
            let shape = if shape == [0] { "text".to_owned() } else { sizes(&shape) };
            self.item("input", &shape);
        }
        if let Some(task) = part::<Task>(model.get("task")) {
            let labels = names(task.names(), MOST_LABELS);
            self.item("task", &format!("{}: {labels}", task.kind()));
            if let Some(scaling) = task.scaling() {
                self.item("targets", &standardized(&task, scaling));
            }
            if let Some(decided) = task.decision().and_then(|decision| decided(&task, decision)) {
                self.item("decision", &decided);
            }
            if let Some(spread) = task.intervals().and_then(|intervals| spread(&task, intervals)) {
                self.item("intervals", &spread);
            }
        }
        if let Some(input) = part::<InputSpec>(model.get("input")) {
            self.item("columns", &columns(&input));
        }
        if let Some(preprocessing) = part::<Preprocessing>(model.get("preprocessing")) {
            self.item("preprocessing", &prepared(&preprocessing));
        }
        if let Some(pictures) = part::<Pictures>(model.get("pictures")) {
            self.item("pictures", &pictures.to_string());
        }
        if let Some(sounds) = part::<Sounds>(document.get("sounds")) {
            self.item("recordings", &sounds.to_string());
        }
        if let Some(base) = document.get("base").and_then(Value::as_str) {
            self.item("base", &format!("{} (required)", short(base)));
        }
        if let Some(provenance) = part::<Provenance>(document.get("provenance")) {
            self.provenance(&provenance);
        }
        if let Some(Value::Object(run)) = document.pointer("/run/state/progress") {
            let items = run.iter().filter(|(_, value)| value.is_number() || value.is_boolean());
            let items = items.take(8);
            let items: Vec<String> =
                items.map(|(name, value)| format!("{} {value}", printable(name, 30))).collect();
            self.item("run", &items.join(", "));
        }
    }

    fn provenance(&mut self, provenance: &Provenance) {
        let Provenance { program, data, parent, ancestors, metrics, .. } = provenance;
        if !program.is_empty() {
            self.item("made by", &printable(program, 60));
        }
        if let Some(data) = data {
            self.item("trained on", &printable(data, 60));
        }
        if let (Some(parent), true) = (parent, ancestors.is_empty()) {
            self.item("tuned from", &short(parent));
        }
        for (i, ancestor) in ancestors.iter().take(8).enumerate() {
            let name = if i == 0 { "tuned from" } else { "before that" };
            let data = ancestor.data.as_ref().map(|data| format!(", on {}", printable(data, 40)));
            let program = printable(&ancestor.program, 60);
            let digest = short(&ancestor.digest);
            self.item(name, &format!("{digest}, {program}{}", data.unwrap_or_default()));
        }
        for (name, value) in metrics.iter().take(12) {
            self.item(&printable(name, 30), &format!("{value:.6}"));
        }
    }

    fn tensors(&mut self, found: &Found, is_all: bool) {
        let count = found.tensors.len();
        if count == 0 {
            return;
        }
        self.item(
            "tensors",
            &format!("{}, {}", group(count as u64), counted(found.numbers, "number")),
        );
        let shown = &found.tensors[..if is_all { count } else { count.min(MOST_TENSORS) }];
        let longest = shown.iter().map(|tensor| tensor.name.chars().count()).max().unwrap_or(0);
        // Beside long names, 80 columns have no room for all of it; --json has it.
        let columns = if longest > MOST_NAME { &COLUMNS[..5] } else { &COLUMNS[..] };
        let mut rows = vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect()];
        rows.extend(
            shown.iter().map(|tensor| columns.iter().map(|(_, cell)| cell(tensor)).collect()),
        );
        let shown = shown.len();
        self.text += &table(&rows);
        if shown < count {
            self.text +=
                &format!("  and {} more; --all shows them\n", group((count - shown) as u64));
        }
    }

    fn odd(&mut self, odd: &[String], is_all: bool) {
        if odd.is_empty() {
            self.text += "No anomalies.\n";
            return;
        }
        self.text += "Anomalies:\n";
        let shown = if is_all { odd.len() } else { odd.len().min(MOST_ODD) };
        odd[..shown].iter().for_each(|odd| self.text += &format!("{}\n", wrapped(odd)));
        if shown < odd.len() {
            self.text += &format!("  and {} more; --all shows them\n", odd.len() - shown);
        }
    }
}

fn part<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    serde_json::from_value(value?.clone()).ok()
}

/// A column of the table of tensors: its name, and what stands in it.
type Column = (&'static str, fn(&Numbers) -> String);

const COLUMNS: [Column; 7] = [
    ("name", |tensor| printable(&tensor.name, 60)),
    ("shape", |tensor| sizes(&tensor.shape)),
    ("type", |tensor| tensor.dtype.to_owned()),
    ("minimum", |tensor| number(tensor.least)),
    ("maximum", |tensor| number(tensor.largest)),
    ("mean", |tensor| number(tensor.mean)),
    ("deviation", |tensor| number(tensor.deviation)),
];

/// The longest name beside which 80 columns have room for all columns.
const MOST_NAME: usize = 22;

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2e}"))
}

/// The fields of an input, and what each of them takes.
fn columns(input: &InputSpec) -> String {
    listed(input.fields(), MOST_LABELS, |field| {
        let takes = match &field.kind {
            FieldKind::Dense(dense) => format!("{} numbers", sizes(&dense.shape)),
            FieldKind::Number(_) => "number".to_owned(),
            FieldKind::Boolean(_) => "true or false".to_owned(),
            FieldKind::Date(date) => format!("date, {}", date.format),
            FieldKind::Category(category) => {
                let count = category.values.len();
                format!("{count} {}", if count == 1 { "category" } else { "categories" })
            }
            FieldKind::Text(text) => format!("text, {} terms", text.terms()),
            _ => "another kind".to_owned(),
        };
        format!("{} ({takes})", printable(&field.name, 30))
    })
}

fn prepared(preprocessing: &Preprocessing) -> String {
    match preprocessing {
        Preprocessing::None => "none".to_owned(),
        Preprocessing::Scale { scale } => format!("x * {scale}"),
        Preprocessing::Normalize { scale, mean, deviation } => {
            format!("(x * {scale} - {mean}) / {deviation}")
        }
        Preprocessing::Standardize { mean, .. } => {
            format!("standardized, feature by feature ({})", mean.len())
        }
    }
}
