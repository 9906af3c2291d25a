//! How much a model needs each column of a table.

use std::ops::Range;

use fireclay::{EncodedRows, FieldKind, InputSpec, Loaded};
use fireclay_data::{Dataset, permutation};
use serde::{Deserialize, Serialize};

use crate::error::EvaluateError;
use crate::evaluate::evaluate_outputs;
use crate::options::Options;
use crate::targets::matched;

/// The importance of a column by permutation: how much the loss grows when its values are dealt out to
/// other rows.
///
/// Source: L. Breiman, "Random forests", Machine Learning 45 (2001), section 10.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The column.
    pub column: String,
    /// Mean growth of the mean loss; about 0 for a column that the model does not need.
    pub growth: f64,
    /// Standard deviation over the permutations, divided by one less than their number.
    pub deviation: f64,
}

/// Permutations of each column.
const PERMUTATIONS: u64 = 5;
/// Rows that are used: more would take long and change little.
const MOST_ROWS: usize = 10_000;

/// Measures the importance of each column that a model takes, the most important first.
///
/// Of more than 10,000 rows, that many are drawn by `options.seed`, which fixes the permutations too.
///
/// # Errors
///
/// [`EvaluateError::NoColumns`] for rows that are not of a table; as [`evaluate`](crate::evaluate).
pub fn importance(
    model: &Loaded,
    data: &Dataset,
    options: &Options,
) -> Result<Vec<Importance>, EvaluateError> {
    let input = data.input().cloned().ok_or(EvaluateError::NoColumns)?;
    if input != model.description().input {
        return Err(EvaluateError::OtherColumns);
    }
    let task = &model.description().task;
    let some = if data.len() > MOST_ROWS {
        let order = permutation(data.len(), options.seed, u64::MAX).into_iter();
        let rows: Vec<usize> = order.take(MOST_ROWS).map(|row| row as usize).collect();
        data.only_rows(&rows).map_err(crate::MatchError::from)?
    } else {
        data.clone()
    };
    let targets = matched(&some, task)?.targets().clone();
    let width = input.width();
    let rows = some.encoded_rows(0..some.len());
    let numbers = Options { batch_size: options.batch_size, ..Options::of_numbers() };
    let loss = |rows: &EncodedRows| -> Result<f64, EvaluateError> {
        let outputs = model.outputs_of_encoded(rows)?;
        Ok(evaluate_outputs(task, &outputs, &targets, &numbers)?.loss.value)
    };
    let base = loss(&rows)?;
    let (mut stream, mut found) = (0, Vec::new());
    for column in input.columns() {
        let places = places(&input, &column);
        let mut growths = Vec::new();
        for _ in 0..PERMUTATIONS {
            let order = permutation(some.len(), options.seed, stream);
            stream += 1;
            let mut dealt = rows.clone();
            let order: Vec<usize> = order.into_iter().map(|from| from as usize).collect();
            for &text in &places.texts {
                dealt.sparse[text] = rows.sparse[text].only(&order);
            }
            let width = width.max(1);
            for (into, &from) in dealt.dense.chunks_exact_mut(width).zip(&order) {
                let from = &rows.dense[from * width..][..width];
                for place in &places.columns {
                    into[place.clone()].copy_from_slice(&from[place.clone()]);
                }
            }
            growths.push(loss(&dealt)? - base);
        }
        found.push(Importance::of(column, &growths));
    }
    found.sort_by(|a, b| b.growth.total_cmp(&a.growth));
    Ok(found)
}

/// What is encoded from a column; in an ensemble of models each has its own.
struct Places {
    /// Its places in the dense columns of a row.
    columns: Vec<Range<usize>>,
    /// Its places among the texts.
    texts: Vec<usize>,
}

fn places(input: &InputSpec, column: &str) -> Places {
    let (mut first, mut text) = (0, 0);
    let mut places = Places { columns: Vec::new(), texts: Vec::new() };
    for field in input.fields() {
        let place = first..first + field.width();
        first = place.end;
        let is_text = matches!(field.kind, FieldKind::Text(_));
        if field.name == column && is_text {
            places.texts.push(text);
        } else if field.name == column {
            places.columns.push(place);
        }
        text += usize::from(is_text);
    }
    places
}

impl Importance {
    fn of(column: String, growths: &[f64]) -> Self {
        let count = growths.len() as f64;
        let growth = growths.iter().sum::<f64>() / count;
        let squares: f64 = growths.iter().map(|other| (other - growth).powi(2)).sum();
        Self { column, growth, deviation: (squares / (count - 1.0)).sqrt() }
    }
}
