//! Tables from a file to encoded rows: kinds of columns, and what fitting may know.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod hostile;

use std::fs;
use std::path::PathBuf;

use fireclay_model::{FieldKind, InputSpec, TermPlaces, TextEncoding};
use fireclay_tables::{Kind, Schema, Table, TableError, TableOptions, encode, fit, read};

/// A table in a folder of its own.
fn table(text: &str) -> Table {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("rows.csv");
    fs::write(&path, text).unwrap();
    read(&path).unwrap().table
}

fn options(target: &str) -> TableOptions {
    TableOptions { target: vec![target.to_owned()], ..TableOptions::default() }
}

/// 60 rows; `other` is added to what the last 20 of them hold.
fn mixed(other: f64) -> String {
    let mut text = "size,colour,when,new,price\n".to_owned();
    for i in 0..60_usize {
        let of_other = if i < 40 { 0.0 } else { other };
        let colour = if i >= 40 && other > 0.0 { "violet" } else { ["red", "blue"][i % 2] };
        let size = (i * 37 % 41) as f64 + of_other;
        let year = 2000 + (i % 9) + of_other as usize;
        let answer = ["yes", "no"][(i / 3) % 2];
        text += &format!("{size},{colour},{year}-03-0{},{answer},{}\n", 1 + i % 9, i % 31 + 100);
    }
    text
}

fn fitted(table: &Table, options: &TableOptions) -> Result<InputSpec, TableError> {
    let schema = Schema::of(table, options)?;
    let training: Vec<usize> = (0..40).collect();
    let all: Vec<usize> = (0..60).collect();
    fit(table, &schema, &training, &all)
}

#[test]
fn rows_of_other_splits_change_nothing_that_is_fitted() {
    for numbers in ["standardize", "robust", "quantile", "min-max", "piecewise-linear"] {
        let options = TableOptions { numbers: Some(numbers.parse().unwrap()), ..options("price") };
        let plain = fitted(&table(&mixed(0.0)), &options).unwrap();
        let other = fitted(&table(&mixed(1000.0)), &options).unwrap();
        assert_eq!(plain, other, "{numbers}");
        // What is changed would change the fit, were it among the training rows.
        let changed = table(&mixed(1000.0));
        let schema = Schema::of(&changed, &options).unwrap();
        let late: Vec<usize> = (20..60).collect();
        assert_ne!(plain, fit(&changed, &schema, &late, &late).unwrap(), "{numbers}");
    }
}

/// 60 rows of a text and a number, of which the last 20 have a word of their own, and some no text.
fn reviews() -> String {
    let mut text = "review,price\n".to_owned();
    for i in 0..60 {
        let word = if i < 40 { "tea" } else { "coffee" };
        let review = if i % 7 == 3 { String::new() } else { format!("good {word} number {i}") };
        text += &format!("{review},{}\n", i % 31 + 100);
    }
    text
}

#[test]
fn terms_are_those_of_the_training_rows() {
    let encoding = TextEncoding { word_ngrams: "1".parse().unwrap(), ..TextEncoding::default() };
    let options =
        TableOptions { text: vec!["review".to_owned()], texts: Some(encoding), ..options("price") };
    let table = table(&reviews());
    let input = fitted(&table, &options).unwrap();
    let FieldKind::Text(text) = &input.fields()[0].kind else { panic!("{input:?}") };
    let TermPlaces::Vocabulary { terms } = &text.places else { panic!("{text:?}") };
    assert!(terms.place("tea").is_some() && terms.place("coffee").is_none());
    // Three words, of which one is of this row; nothing; and of other rows two that are known.
    let encoded = encode(&table, &input, &[0, 3, 58]).unwrap();
    let count = |row| encoded.sparse[0].row(row).0.len();
    assert_eq!((encoded.len(), count(0), count(1), count(2)), (3, 4, 0, 2));
    assert!(encoded.dense.is_empty());
}

#[test]
fn texts_are_left_out_unless_an_encoding_is_given() {
    let table = table("review,size,price\na b c,1,2\nd e f,2,3\n");
    let given = TableOptions { text: vec!["review".to_owned()], ..options("price") };
    let schema = Schema::of(&table, &given).unwrap();
    assert_eq!(schema.columns()[0].profile.kind, Kind::Text);
    assert_eq!(schema.features().count(), 1);
    let given = TableOptions { texts: Some(TextEncoding::default()), ..given };
    assert_eq!(Schema::of(&table, &given).unwrap().features().count(), 2);
    let texts = TextEncoding { min_df: 9, ..TextEncoding::default() };
    let given = TableOptions { texts: Some(texts), ..given };
    let error = fit(&table, &Schema::of(&table, &given).unwrap(), &[0, 1], &[0, 1]).unwrap_err();
    assert!(error.to_string().contains("lower --min-df"), "{error}");
    let texts = TextEncoding { max_features: 0, ..TextEncoding::default() };
    let given = TableOptions { texts: Some(texts), ..given };
    let error = Schema::of(&table, &given).unwrap_err();
    assert!(error.to_string().contains("--max-features"), "{error}");
}

#[test]
fn every_kind_is_encoded_by_name() {
    let found = table(&mixed(0.0));
    let input = fitted(&found, &options("price")).unwrap();
    let names: Vec<&str> = input.fields().iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["size", "colour", "when", "new"]);
    let rows = encode(&found, &input, &[0, 1, 59]).unwrap().dense;
    assert_eq!(rows.len(), 3 * input.width());
    // Red is the second of two colours, and the first answer is yes.
    let width = input.width();
    assert_eq!(rows[1..3], [0.0, 1.0]);
    assert_eq!((rows[width - 1], rows[2 * width + width - 1]), (1.0, -1.0));
    // The same columns elsewhere give the same rows.
    let text = "new,extra,price,when,colour,size\nyes,?,1,2000-03-01,red,0\n";
    assert_eq!(encode(&table(text), &input, &[0]).unwrap().dense, rows[..width]);
}

#[test]
fn ordered_categories_keep_their_order() {
    let given = vec!["colour=red < blue<violet".to_owned()];
    let ordered = TableOptions { ordered: given, ..options("price") };
    let found = table(&mixed(0.0));
    let rows = encode(&found, &fitted(&found, &ordered).unwrap(), &[0, 1]).unwrap().dense;
    let width = rows.len() / 2;
    assert_eq!((&rows[1..3], &rows[width + 1..width + 3]), (&[-1.0, 0.0][..], &[0.0, 0.0][..]));
    for wrong in ["colour", "colour=red", "colour=red<red", "colour=red<"] {
        let ordered = TableOptions { ordered: vec![wrong.to_owned()], ..options("price") };
        let error = fitted(&found, &ordered).unwrap_err();
        assert!(matches!(error, TableError::BadOrder { .. }), "{wrong}: {error}");
    }
}

#[test]
fn dates_that_may_be_read_in_two_ways_are_asked_about() {
    let text = |day: &str| -> String {
        let rows: String = (0..60).map(|i| format!("0{}/{day}/2024,{i}.5\n", 1 + i % 9)).collect();
        "when,price\n".to_owned() + &rows
    };
    let error = fitted(&table(&text("05")), &options("price")).unwrap_err();
    assert!(error.to_string().contains("--date-format"), "{error}");
    let months_first = fitted(&table(&text("25")), &options("price")).unwrap();
    let given = "month-day-year".parse().unwrap();
    let given = TableOptions { date_format: Some(given), ..options("price") };
    assert_eq!(fitted(&table(&text("25")), &given).unwrap(), months_first);
    assert!(fitted(&table(&text("05")), &given).is_ok());
}

#[test]
fn values_that_no_training_row_has_are_told_by_row_and_column() {
    let found = table(&mixed(0.0));
    let input = fitted(&found, &options("price")).unwrap();
    for (row, expected) in [
        ("big,red,2000-03-01,yes,1", "row 1, column \"size\": it is a text, \"big\""),
        (",red,2000-03-01,yes,1", "row 1, column \"size\": it is missing"),
        ("1,red,yesterday,yes,1", "row 1, column \"when\""),
        ("1,red,2000-03-01,maybe,1", "row 1, column \"new\""),
    ] {
        let other = table(&format!("size,colour,when,new,price\n{row}\n"));
        let error = encode(&other, &input, &[0]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let lacks = table("size,color,when,new\n1,red,2000-03-01,yes\n");
    let error = encode(&lacks, &input, &[0]).unwrap_err().to_string();
    assert!(error.contains("no column colour (did you mean \"color\"?)"), "{error}");
}
