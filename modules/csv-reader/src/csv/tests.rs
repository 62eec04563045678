//! Rows, errors and lines, whole and in pieces of every size.

use super::*;

type Read = (Vec<(u64, Vec<String>)>, Option<CsvError>);

const PLAIN: Options = Options { delimiter: None, ragged: false };

fn in_pieces(bytes: &[u8], size: usize, options: &Options) -> Read {
    let mut rows = Vec::new();
    let mut read = || {
        let mut csv = Csv::new(options)?;
        bytes.chunks(size).try_for_each(|piece| csv.read(piece, &mut rows))?;
        csv.finish(&mut rows)
    };
    let error = read().err();
    (rows.into_iter().map(|row| (row.line, row.fields)).collect(), error)
}

/// The same whatever the pieces are.
fn read(text: impl AsRef<[u8]>, options: &Options) -> Read {
    let bytes = text.as_ref();
    let whole = in_pieces(bytes, bytes.len().max(1), options);
    for size in 1..bytes.len().min(20) {
        assert_eq!(in_pieces(bytes, size, options), whole, "in pieces of {size}");
    }
    whole
}

fn rows(text: &str) -> Vec<(u64, Vec<String>)> {
    let (rows, error) = read(text, &PLAIN);
    assert_eq!(error, None, "{text:?}");
    rows
}

fn row(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
    (line, fields.iter().map(|&field| field.to_owned()).collect())
}

#[test]
fn rows_come_with_their_lines() {
    let wanted = [row(1, &["a", "b"]), row(2, &["", "ü"]), row(4, &["1", "2"])];
    assert_eq!(rows("a,b\n,ü\n\n1,2\n"), wanted);
    assert_eq!(rows("a,b\r\n,ü\r\n\r\n1,2"), wanted);
    assert_eq!(rows("\u{feff}a,b\n,ü\n\n1,2\n\n\n"), wanted);
    assert_eq!(rows(""), []);
    assert_eq!(rows("\n\r\n"), []);
    assert_eq!(rows("a"), [row(1, &["a"])]);
}

#[test]
fn quotes_hold_delimiters_and_ends_of_lines() {
    let text = "a,\"b, \"\"c\"\"\r\nd\"\n\"\",\"\n\n\"\n x ,y\n";
    let wanted = [row(1, &["a", "b, \"c\"\r\nd"]), row(3, &["", "\n\n"]), row(6, &[" x ", "y"])];
    assert_eq!(rows(text), wanted);
}

#[test]
fn the_first_row_says_how_many_fields_there_are() {
    let (rows, error) = read("a,b\n1,2\n3\n4,5\n", &PLAIN);
    assert_eq!(rows, [row(1, &["a", "b"]), row(2, &["1", "2"])]);
    let trouble = Trouble::Ragged(Ragged { wanted: 2, found: 1 });
    assert_eq!(error, Some(CsvError { line: 3, trouble }));
    let ragged = Options { ragged: true, ..PLAIN };
    let (rows, error) = read("a,b\n3\n4,5,6\n", &ragged);
    assert_eq!((rows.len(), error), (3, None));
}

#[test]
fn what_is_wrong_has_a_line() {
    let (rows, error) = read("a,b\n1,\"2\n3,4\n", &PLAIN);
    assert_eq!(rows, [row(1, &["a", "b"])]);
    assert_eq!(error, Some(CsvError { line: 2, trouble: Trouble::OpenQuote }));
    let (rows, error) = read(b"a,b\n1,2\n3,\xff\n", &PLAIN);
    assert_eq!(rows.len(), 2);
    assert_eq!(error, Some(CsvError { line: 3, trouble: Trouble::NotText(1) }));
    // A quote that is closed by the last byte is no open one, nor is a doubled one outside.
    assert_eq!(read("a,\"b\"", &PLAIN).1, None);
    assert_eq!(read("a,b\"\"c", &PLAIN).1, None);
}

#[test]
fn delimiters_are_chosen() {
    let by = |delimiter| Options { delimiter: Some(delimiter), ragged: false };
    assert_eq!(read("a;b,c\n", &by(';')).0, [row(1, &["a", "b,c"])]);
    assert_eq!(read("a\tb\n", &by('\t')).0, [row(1, &["a", "b"])]);
    for wrong in ['"', '\n', '\r', 'ü', '→'] {
        let error = CsvError { line: 0, trouble: Trouble::Delimiter };
        assert_eq!(read("a", &by(wrong)), (Vec::new(), Some(error)));
    }
}

#[test]
fn rows_are_as_large_as_may_be_and_no_larger() {
    let long = format!("a\n{}\n", "x".repeat(MOST_BYTES));
    let (rows, error) = in_pieces(long.as_bytes(), 1000, &PLAIN);
    assert_eq!((rows[1].1[0].len(), error), (MOST_BYTES, None));
    let longer = format!("a\n{}\n", "x".repeat(MOST_BYTES + 1));
    let (rows, error) = in_pieces(longer.as_bytes(), 1000, &PLAIN);
    let too_large = Some(CsvError { line: 2, trouble: Trouble::TooLarge });
    assert_eq!((rows.len(), &error), (1, &too_large));
    let wide = |fields| format!("a\n{}\n", vec!["x"; fields].join(","));
    let ragged = Options { ragged: true, ..PLAIN };
    let (rows, error) = in_pieces(wide(MOST_FIELDS).as_bytes(), 1000, &ragged);
    assert_eq!((rows[1].1.len(), error), (MOST_FIELDS, None));
    assert_eq!(in_pieces(wide(MOST_FIELDS + 1).as_bytes(), 1000, &ragged).1, too_large);
}
