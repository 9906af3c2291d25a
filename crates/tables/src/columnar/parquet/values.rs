//! The values of a page, in the encodings of Parquet.

use super::super::Budget;
use super::footer::Stored;
use super::hybrid::deltas;
use super::pages::{Page, PageProblem};
use crate::table::{Cells, Texts};

type Result<T> = std::result::Result<T, PageProblem>;

/// A column without cells, for values that are stored in this way.
pub(super) fn none(stored: Stored) -> Cells {
    match stored {
        Stored::Fixed(meaning) => meaning.cells(&[]),
        Stored::Nothing => Cells::Numbers(Vec::new()),
        Stored::Booleans | Stored::Texts => Cells::Texts(Texts::default()),
    }
}

/// The first `count` values, one behind the other.
pub(super) fn plain(
    bytes: &[u8],
    stored: Stored,
    count: usize,
    budget: &mut Budget,
) -> Result<Cells> {
    match stored {
        Stored::Nothing => Ok(Cells::Numbers(vec![f64::NAN; count])),
        Stored::Booleans => {
            if bytes.len() < count.div_ceil(8) {
                return Err(PageProblem::Damaged);
            }
            Ok(booleans((0..count).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1)))
        }
        Stored::Fixed(meaning) => {
            let size = count.checked_mul(meaning.bytes());
            let bytes = size.and_then(|size| bytes.get(..size));
            Ok(meaning.cells(bytes.ok_or(PageProblem::Damaged)?))
        }
        Stored::Texts => {
            let (mut texts, mut rest) = (Texts::default(), bytes);
            for _ in 0..count {
                let (length, behind) = rest.split_first_chunk::<4>().ok_or(PageProblem::Damaged)?;
                let text = behind.split_at_checked(u32::from_le_bytes(*length) as usize);
                let (text, behind) = text.ok_or(PageProblem::Damaged)?;
                push(&mut texts, text, budget)?;
                rest = behind;
            }
            Ok(Cells::Texts(texts))
        }
    }
}

/// Truth values as texts.
pub(super) fn booleans(values: impl Iterator<Item = bool>) -> Cells {
    let mut texts = Texts::default();
    values.for_each(|value| texts.push(if value { "true" } else { "false" }));
    Cells::Texts(texts)
}

/// Texts behind the lengths of all of them.
pub(super) fn behind_lengths(bytes: &[u8], count: usize, budget: &mut Budget) -> Result<Cells> {
    let (lengths, mut rest) = deltas(bytes, count).ok_or(PageProblem::Damaged)?;
    let mut texts = Texts::default();
    for length in lengths {
        let length = usize::try_from(length).map_err(|_| PageProblem::Damaged)?;
        let (text, behind) = rest.split_at_checked(length).ok_or(PageProblem::Damaged)?;
        push(&mut texts, text, budget)?;
        rest = behind;
    }
    Ok(Cells::Texts(texts))
}

/// Texts of which each begins as the one before: lengths of these beginnings, and what follows them.
pub(super) fn behind_prefixes(bytes: &[u8], count: usize, budget: &mut Budget) -> Result<Cells> {
    let (prefixes, rest) = deltas(bytes, count).ok_or(PageProblem::Damaged)?;
    let (lengths, mut rest) = deltas(rest, count).ok_or(PageProblem::Damaged)?;
    let (mut texts, mut text) = (Texts::default(), Vec::new());
    for (prefix, length) in prefixes.into_iter().zip(lengths) {
        let [prefix, length] = [prefix, length].map(usize::try_from);
        let (prefix, length) =
            (prefix.map_err(|_| PageProblem::Damaged)?, length.map_err(|_| PageProblem::Damaged)?);
        let (suffix, behind) = rest.split_at_checked(length).ok_or(PageProblem::Damaged)?;
        if prefix > text.len() {
            return Err(PageProblem::Damaged);
        }
        text.truncate(prefix);
        text.extend_from_slice(suffix);
        push(&mut texts, &text, budget)?;
        rest = behind;
    }
    Ok(Cells::Texts(texts))
}

/// Values of `width` bytes whose first bytes lie behind each other, then the second ones, and so on.
pub(super) fn joined(bytes: &[u8], width: usize) -> Vec<u8> {
    let count = bytes.len() / width.max(1);
    let places = (0..count).flat_map(|value| (0..width).map(move |byte| byte * count + value));
    places.map(|place| bytes[place]).collect()
}

/// Adds the rows of a page to a column; a missing number is NaN, and a missing text empty.
pub(super) fn append(column: &mut Cells, page: &Page<'_>, budget: &mut Budget) -> Result<()> {
    let Page { values, places } = page;
    let more = match &**values {
        Cells::Numbers(numbers) => {
            let numbers = places.iter().map(|place| match place {
                Some(place) => numbers.get(*place as usize).copied().unwrap_or(f64::NAN),
                None => f64::NAN,
            });
            Cells::Numbers(numbers.collect())
        }
        Cells::Texts(known) => {
            let mut texts = Texts::default();
            for place in places {
                let text = place.map_or("", |place| known.get(place as usize));
                budget.take(text.len() as u64).ok_or(PageProblem::Inflated)?;
                texts.push(text);
            }
            Cells::Texts(texts)
        }
    };
    if column.is_empty() {
        *column = more;
    } else {
        column.append(&more);
    }
    Ok(())
}

fn push(texts: &mut Texts, text: &[u8], budget: &mut Budget) -> Result<()> {
    budget.take(text.len() as u64).ok_or(PageProblem::Inflated)?;
    texts.push(std::str::from_utf8(text).map_err(|_| PageProblem::Damaged)?);
    Ok(())
}
