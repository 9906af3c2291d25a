//! Files that `tests/goldens/typed.py` wrote with Apache's own program.

use std::path::PathBuf;

use fireclay_terminal::message;
use serde_json::{Map, Value, json};

use crate::table::Cell;
use crate::{Blocks, Table, TableError, read};

const FILES: [&str; 7] = [
    "typed-snappy.parquet",
    "typed-zstd-2.parquet",
    "typed-gzip.parquet",
    "typed-lz4.parquet",
    "typed-plain.parquet",
    "typed-delta.parquet",
    "typed-int96.parquet",
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn from_bytes(bytes: &[u8]) -> Result<Table, TableError> {
    Ok(crate::read::from_bytes(bytes)?.table)
}

fn as_json(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Text(text) => json!(text),
        Cell::Number(number) if number.is_infinite() => json!(number.to_string()),
        // A missing number becomes null.
        Cell::Number(number) => json!(number),
    }
}

/// As JSON has them: whole numbers without a point.
fn is_same(found: &Value, expected: &Value) -> bool {
    found == expected || found.as_f64().is_some() && found.as_f64() == expected.as_f64()
}

#[test]
fn every_type_becomes_cells() {
    let golden: Map<String, Value> = serde_json::from_slice(&bytes("typed.json")).unwrap();
    for file in FILES {
        let table = read(&path(file)).unwrap().table;
        assert_eq!((table.rows(), table.columns().len()), (3, golden.len()), "{file}");
        for column in table.columns() {
            let expected = golden[&column.name].as_array().unwrap();
            let found: Vec<Value> = column.cells.iter().map(as_json).collect();
            let is_same = found.iter().zip(expected).all(|(found, expected)| {
                // A batch without large numbers has numbers where another has texts.
                is_same(found, expected) || found.as_str() == Some(&expected.to_string())
            });
            assert!(is_same, "{file} {}: {found:?} {expected:?}", column.name);
        }
        assert_eq!(from_bytes(&bytes(file)).unwrap().names(), table.names(), "{file}");
    }
}

#[test]
fn rows_are_read_some_at_a_time() {
    for file in FILES {
        let mut blocks = Blocks::open(&path(file)).unwrap();
        let mut rows = Vec::new();
        while let Some(block) = blocks.next_block(1).unwrap() {
            rows.push((block.rows, block.columns[9].get(0) == Cell::Text("a")));
        }
        assert_eq!(rows, [(1, true), (1, false), (1, false)], "{file}");
    }
}

#[test]
fn what_cells_do_not_have_is_named() {
    let error = message(&read(&path("lists.parquet")).unwrap_err());
    assert!(error.contains("column tags: its type is a list"), "{error}");
}

#[test]
fn more_rows_than_a_small_file_has_are_refused() {
    for error in
        [read(&path("many.parquet")).unwrap_err(), from_bytes(&bytes("many.parquet")).unwrap_err()]
    {
        assert!(message(&error).contains("hundreds of times"), "{error}");
    }
}

#[test]
fn files_that_end_early_are_refused() {
    for file in FILES {
        let whole = bytes(file);
        for end in (8..whole.len()).step_by(37) {
            assert!(from_bytes(&whole[..end]).is_err(), "{file} {end}");
        }
    }
}

/// A change may go unnoticed, such as that of a number, but is never more than an error.
#[test]
fn no_changed_byte_makes_it_panic() {
    for file in FILES {
        let whole = bytes(file);
        let changed = (0..whole.len()).step_by(29).map(|place| {
            let mut other = whole.clone();
            other[place] ^= 0x55;
            from_bytes(&other)
        });
        assert!(changed.filter(Result::is_err).count() > 10, "{file}");
    }
}

#[test]
fn arrays_are_columns() {
    let names = ["features.0", "features.1", "features.2", "label", "seen"];
    for file in ["arrays.npz", "packed.npz", "arrays.safetensors"] {
        let table = read(&path(file)).unwrap().table;
        assert_eq!((table.names(), table.rows()), (names.map(str::to_owned).to_vec(), 4), "{file}");
        let row: Vec<Value> =
            table.columns().iter().map(|column| as_json(column.cells.get(1))).collect();
        assert_eq!(row, [json!(0.375), json!(0.5), json!(0.625), json!(-1.0), json!("false")]);
        assert_eq!(from_bytes(&bytes(file)).unwrap(), table, "{file}");
        for end in (9..bytes(file).len()).step_by(19) {
            assert!(from_bytes(&bytes(file)[..end]).is_err(), "{file} {end}");
        }
    }
    let table = read(&path("features.npy")).unwrap().table;
    assert_eq!(table.names(), ["0", "1", "2"]);
    assert_eq!(table.column("2").unwrap().cells.get(3), Cell::Number(1.375));
}
