//! Measured numbers and how they are written.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::process;

/// A number over the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of a field of several documents.
    pub(crate) fn of(documents: &[Value], field: &str) -> Result<Self> {
        let numbers = documents.iter().map(|document| document[field].as_f64());
        let numbers: Option<Vec<f64>> = numbers.collect();
        let mut numbers = numbers.with_context(|| format!("the probe did not print {field}"))?;
        numbers.sort_by(f64::total_cmp);
        let last = numbers.len().saturating_sub(1);
        let [median, least, most] =
            [last / 2, 0, last].map(|i| numbers.get(i).copied().unwrap_or(f64::NAN));
        Ok(Self { median, least, most })
    }
}

/// A number with its thousands apart; small ones keep a digit.
pub(crate) fn grouped(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rows of cells, the heading first.
pub(crate) type Table = Vec<Vec<String>>;

/// A row of a table.
pub(crate) fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

/// A table for a page.
pub(crate) fn markdown(table: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (i, row) in table.iter().enumerate() {
        text += &format!("| {} |\n", row.join(" | "));
        if i == 0 {
            text += &format!("|{}\n", "---|".repeat(row.len()));
        }
    }
    text
}

/// Puts a text between the marks of docs/benchmarks.md.
pub(crate) fn write_page(name: &str, text: &str) -> Result<()> {
    let page = process::root().join("docs/benchmarks.md");
    let old = std::fs::read_to_string(&page)?;
    std::fs::write(&page, between_marks(&old, name, text)?)?;
    println!("wrote {}", page.display());
    Ok(())
}

/// A page with another text between its marks, `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
pub(crate) fn between_marks(page: &str, name: &str, text: &str) -> Result<String> {
    let [begin, end] = ["begin", "end"].map(|mark| format!("<!-- {name}:{mark} -->"));
    let (Some(first), Some(last)) = (page.find(&begin), page.find(&end)) else {
        bail!("the page has no `{begin}` and `{end}`");
    };
    Ok(format!("{}\n\n{}\n\n{}", &page[..first + begin.len()], text.trim(), &page[last..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spread_is_that_of_the_rounds() {
        let documents = [3.0, 1.0, 2.0].map(|x| json!({ "x": x }));
        let spread = Spread::of(&documents, "x").unwrap();
        assert_eq!([spread.least, spread.median, spread.most], [1.0, 2.0, 3.0]);
        assert!(Spread::of(&documents, "y").is_err());
    }

    #[test]
    fn what_stands_between_the_marks_is_replaced() {
        let (begin, end) = ("<!-- peers:begin -->", "<!-- peers:end -->");
        let page = format!("a\n{begin}\nold\n{end}\nb\n");
        let new = between_marks(&page, "peers", "new\n").unwrap();
        assert_eq!(new, format!("a\n{begin}\n\nnew\n\n{end}\nb\n"));
        assert!(between_marks("no marks", "peers", "new").is_err());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.8), "1,234,568");
        assert_eq!(grouped(123.4), "123");
        assert_eq!(grouped(12.34), "12.3");
    }
}
