//! Tables of strangers: an error that names the place, or a rule, and never all of the memory.

use std::fs;

use fireclay_tables::read;
use fireclay_terminal::message;

/// Of each kind of bad file, the words of its error.
#[test]
fn bad_files_are_errors_with_their_place() {
    let columns = (0..1_000_000).map(|i| format!("c{i}")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(3 << 20);
    let sparse: String = (0..9000).map(|i| format!("{{\"a{i}\": 1, \"b{i}\": 1}}\n")).collect();
    let deep = format!("{{\"a\": {}1{}}}\n", "[".repeat(100_000), "]".repeat(100_000));
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut bomb, &b"a\n".repeat(20 << 20)).unwrap();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "the table is empty"),
        ("a heading alone", b"a,b\n".to_vec(), "no rows"),
        ("a short row", b"a,b\n1,2\n3\n".to_vec(), "line 3 has"),
        ("a long row", b"a,b\n1,2\n3,4,5\n".to_vec(), "line 3 has"),
        ("an open quote", format!("a,b\n1,2\n\"{long}").into_bytes(), "line 3: the row has more"),
        ("a long field", format!("a,b\n1,{long}\n").into_bytes(), "line 2: the row has more"),
        ("a long name", long.clone().into_bytes(), "the first line has more"),
        ("many columns", columns.into_bytes(), "the first line has more"),
        ("many empty names", vec![b','; 1_000_000], "has 1000001 columns"),
        ("a NUL", b"a,b\n1,\0\n".to_vec(), "line 2, column b"),
        ("Latin-1", b"a,b\n1,na\xefve\n".to_vec(), "line 2, column b: it is not UTF-8"),
        ("UTF-16", b"\xff\xfea\0\n\0".to_vec(), "UTF-16"),
        ("two equal names", b"a,b,a\n1,2,3\n".to_vec(), "columns 1 and 3"),
        ("no names", b",,\n1,2,3\n".to_vec(), "no column with a name"),
        ("a packed bomb", bomb.finish().unwrap(), "more than is likely"),
        ("JSON that ends", b"{\"a\": 1}\n{\"a\"".to_vec(), "line 2 is not a JSON object"),
        ("deep JSON", deep.into_bytes(), "line 1 is not a JSON object"),
        ("a long line", format!("{{\"a\": \"{long}\"}}").into_bytes(), "line 1: the row has more"),
        ("keys of their own", sparse.into_bytes(), "few in common"),
        ("Parquet that ends", b"PAR1\0\0\0\0".to_vec(), "no whole Parquet file"),
        ("an endless footer", b"PAR1....\xff\xff\xff\xffPAR1".to_vec(), "its footer is too long"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, expected) in cases {
        let path = folder.path().join("table");
        fs::write(&path, bytes).unwrap();
        let error = message(&read(&path).unwrap_err());
        assert!(error.contains(expected), "{name}: {error}");
    }
}

/// Quotes, a mark of the byte order and any ends of lines are a table like any other.
#[test]
fn unusual_tables_are_read_by_their_rule() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, "\u{feff}a,\"b \"\"c\"\"\",d\r\n\"1,5\",\"x\r\ny\",\" \"\r\n,,\r\n").unwrap();
    let table = read(&path).unwrap().table;
    assert_eq!(table.names(), ["a", "b \"c\"", "d"]);
    let cells = |row: usize| -> Vec<String> {
        table.columns().iter().map(|column| column.cells.get(row).text().into_owned()).collect()
    };
    // A decimal comma is no number; the check of a table says so.
    assert_eq!(
        (cells(0), cells(1)),
        (vec!["1,5".into(), "x\r\ny".into(), String::new()], vec![String::new(); 3])
    );
}
