//! A corpus of good and bad files, and what is read from each.

use crate::common::{Pieces, Seen, Step, drain, open};
use tidings_delimited::{Item, Layout, Limits, Position, Reader};

/// Limits small enough to write a test by hand.
const SMALL: Limits = Limits { field_bytes: 20, record_bytes: 40, columns: 5, kept_bytes: 10 };

/// What is read, as short text: cells joined by `/`, or `code@row:line:column`.
fn summary(steps: &[Step]) -> Vec<String> {
    let mut lines = Vec::new();
    for step in steps {
        lines.push(match &step.seen {
            Seen::Row(cells) => cells.join("/"),
            Seen::Refused(fault) => {
                let column = fault.column.map(|c| c.to_string()).unwrap_or_default();
                let (row, line) = (fault.row.unwrap(), fault.line.unwrap());
                format!("{}@{row}:{line}:{column}", fault.code())
            }
        });
    }
    lines
}

/// Given bytes under the default layout, reads the expected rows and refusals, also when the bytes
/// come one by one, and also when each record is the first that a resumed reader sees.
#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) {
    let layout = Layout::default();
    let mut reader = open(bytes, &layout, SMALL).expect("the file is usable");
    let columns = reader.columns();
    let steps = drain(&mut reader);
    assert_eq!(summary(&steps), expected, "in one piece");

    let pieces = Pieces { bytes, most: 1, interrupted: false };
    let mut reader = Reader::open(pieces, &layout, SMALL).expect("the file is usable");
    assert_eq!(drain(&mut reader), steps, "byte by byte");

    for (index, step) in steps.iter().enumerate() {
        let from = step.at.byte as usize;
        let mut resumed = Reader::resume(&bytes[from..], &layout, SMALL, columns, step.at);
        assert_eq!(drain(&mut resumed), steps[index..], "resumed at record {index}");
        let from = step.after.byte as usize;
        let mut resumed = Reader::resume(&bytes[from..], &layout, SMALL, columns, step.after);
        assert_eq!(drain(&mut resumed), steps[index + 1..], "resumed after record {index}");
    }
}

#[track_caller]
fn check_unusable(bytes: &[u8], code: &str, text: &str) {
    let fault = open(bytes, &Layout::default(), SMALL).map(|_| ()).unwrap_err();
    assert_eq!((fault.code(), fault.to_string().as_str()), (code, text));
}

#[test]
fn plain_rows() {
    check(b"a,b\n1,2\n3,4\n", &["1/2", "3/4"]);
    check(b"a,b\n1,2\n3,4", &["1/2", "3/4"]);
    check(b"a,b\n,\n x , y\n", &["/", " x / y"]);
    check("a,b\né,€\n".as_bytes(), &["é/€"]);
    check(b"\xef\xbb\xbfa,b\n1,2\n", &["1/2"]);
    check(b"a\n1\n", &["1"]);
}

#[test]
fn line_endings_of_every_kind_even_mixed() {
    check(b"a,b\r\n1,2\r\n3,4\r\n", &["1/2", "3/4"]);
    check(b"a,b\r1,2\r3,4\r", &["1/2", "3/4"]);
    check(b"a,b\r\n1,2\n3,4\r5,6", &["1/2", "3/4", "5/6"]);
    check(b"\n\r\n\ra,b\n\n\n1,2\r\r\n\n", &["1/2"]);
}

#[test]
fn quotes() {
    check(b"a,b\n\"1,5\",\"say \"\"hi\"\"\"\n", &["1,5/say \"hi\""]);
    check(b"a,b\n\"x\ny\",\"\r\n\"\n1,2\n", &["x\ny/\r\n", "1/2"]);
    check(b"a,b\n\"\",\"\"\n", &["/"]);
    // Quotes that are not where they belong are taken as most spreadsheets do.
    check(b"a,b\nx\"y,\"p\"q\n1,\"2\"", &["x\"y/pq", "1/2"]);
}

#[test]
fn lines_are_counted_through_quoted_cells_and_blank_lines() {
    check(
        b"a,b\r\n\"1\r\n1\",2\r\n\r\nbad\r\n\"\n\r\",4\rbad",
        &["1\r\n1/2", "too_few_columns@2:5:", "\n\r/4", "too_few_columns@4:9:"],
    );
}

#[test]
fn ragged_rows() {
    check(
        b"a,b,c\n1,2\n1,2,3\n1,2,3,4\n1,2,3,\n",
        &["too_few_columns@1:2:", "1/2/3", "too_many_columns@3:4:", "too_many_columns@4:5:"],
    );
    // Wider than any file may be: the cells are counted, not kept.
    check(b"a,b\n1,2,3,4,5,6,7,8,9,10,11,12\n1,2\n", &["too_many_columns@1:2:", "1/2"]);
}

#[test]
fn bytes_that_are_not_text() {
    check(b"a,b\n1,x\0y\n1,2\n", &["nul_byte@1:2:2", "1/2"]);
    check(b"a,b\n\0,2\n\"\n\0\",2\n", &["nul_byte@1:2:1", "nul_byte@2:3:1"]);
    check(b"a,b\n1,\xff\n1,2\n", &["invalid_utf8@1:2:2", "1/2"]);
    check(b"a,b\n\xe9,2\n1,2\n", &["invalid_utf8@1:2:1", "1/2"]);
    // Two halves of é in neighbouring cells.
    check(b"a,b\n\xc3,\xa9\n1,2\n", &["invalid_utf8@1:2:1", "1/2"]);
    // And with a closing quote between them.
    check(b"a,b\n1,\"\xc3\"\xa9\n1,2\n", &["invalid_utf8@1:2:", "1/2"]);
}

#[test]
fn cells_and_records_over_the_limit() {
    let (cell, more) = ("x".repeat(20), "x".repeat(21));
    check(
        format!("a,b\n1,{cell}\n{cell},2\n").as_bytes(),
        &[&format!("1/{cell}"), &format!("{cell}/2")],
    );
    check(format!("a,b\n1,{more}\n1,2\n").as_bytes(), &["field_too_long@1:2:2", "1/2"]);
    let line = "x,".repeat(30);
    check(format!("a,b\n{line}\n1,2\n").as_bytes(), &["record_too_long@1:2:", "1/2"]);
    check(
        format!("a,b\r\n\"{more}\r\n{more}\r\n\",2\r\n1,2\r\nbad").as_bytes(),
        &["record_too_long@1:2:", "1/2", "too_few_columns@3:6:"],
    );
}

#[test]
fn a_quote_that_is_not_closed() {
    check(b"a,b\n1,2\n3,\"4\n5,6\n7,8\n", &["1/2", "unclosed_quote@2:3:2"]);
    check(b"a,b\n\"", &["unclosed_quote@1:2:1"]);
    let rest = "5,6\n".repeat(30);
    check(format!("a,b\n1,2\n3,\"4\n{rest}").as_bytes(), &["1/2", "unclosed_quote@2:3:2"]);
}

#[test]
fn a_header_without_rows_is_no_fault() {
    for bytes in [&b"a,b"[..], b"a,b\n", b"\xef\xbb\xbfa,b\r\n\r\n"] {
        let mut reader = open(bytes, &Layout::default(), SMALL).unwrap();
        assert_eq!(reader.header(), ["a", "b"]);
        assert_eq!(drain(&mut reader), []);
    }
}

#[test]
fn files_that_cannot_be_used() {
    let empty =
        "the file is empty: expected a header and rows; check that the export wrote its data";
    for bytes in [&b""[..], b"\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r"] {
        check_unusable(bytes, "empty_file", empty);
    }
    check_unusable(
        b"a,b,c,d,e,f\n1,2,3,4,5,6\n",
        "too_many_file_columns",
        "the file has 6 columns and at most 5 are read: leave out columns, or check the delimiter and the quotes",
    );
    check_unusable(
        b"a,b, a,b,a\n",
        "duplicate_headers",
        "header, line 1, column 3: the header has the same name more than once: \"a\" (columns 1, 3 and 5), \"b\" (columns 2 and 4); give every column a name of its own",
    );
    check_unusable(
        b"a,\"b\n1,2\n",
        "unclosed_quote",
        "header, line 1, column 2: a quote is opened and never closed, so the rest of the file (2 lines) was taken as one cell: close the quote, or double it if it is part of the text",
    );
    check_unusable(
        b"\na,\0\n",
        "nul_byte",
        "header, line 2, column 2: the cell holds a NUL byte: remove it, or export the file again as plain text",
    );
}

#[test]
fn two_thousand_columns_are_refused_under_the_default_limits() {
    let header: Vec<String> = (0..2_000).map(|n| format!("c{n}")).collect();
    let fault = open(header.join(",").as_bytes(), &Layout::default(), Limits::default())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(fault.code(), "too_many_file_columns");
    let header = header[..1_000].join(",");
    let reader = open(header.as_bytes(), &Layout::default(), Limits::default()).unwrap();
    assert_eq!(reader.columns(), 1_000);
}

#[test]
fn empty_names_are_not_duplicates() {
    let reader = open(b"a,,b,,\n", &Layout::default(), SMALL).unwrap();
    assert_eq!(reader.header(), ["a", "", "b", "", ""]);
}

#[test]
fn without_a_header_the_first_record_is_row_one_and_sets_the_width() {
    let layout = Layout { header: false, delimiter: b';', ..Layout::default() };
    let mut reader = open(b"\xef\xbb\xbf1;2\n3\n4;5\n", &layout, SMALL).unwrap();
    assert_eq!(reader.columns(), 2);
    assert_eq!(reader.position(), Position { byte: 3, row: 1, line: 1 });
    let steps = drain(&mut reader);
    assert_eq!(summary(&steps), ["1/2", "too_few_columns@2:2:", "4/5"]);

    let long = "x".repeat(50);
    let mut reader = Reader::open(format!("{long}\n1;2\n3;4\n").as_bytes(), &layout, SMALL)
        .map_err(|error| error.to_string())
        .map(|mut reader| (reader.columns(), summary(&drain(&mut reader)), reader.columns()));
    let (before, read, after) = reader.as_mut().unwrap();
    assert_eq!((*before, *after), (0, 2));
    assert_eq!(read, &["record_too_long@1:1:", "1/2", "3/4"]);
}

#[test]
fn raw_text_is_what_stands_in_the_file_without_its_line_ending() {
    let bytes = b"a,b\r\n\"1\",\"x\r\n\"\r\nbad\r\n";
    let steps = drain(&mut open(bytes, &Layout::default(), SMALL).unwrap());
    let raw: Vec<&[u8]> = steps.iter().map(|step| step.raw.as_slice()).collect();
    assert_eq!(raw, [&b"\"1\",\"x\r\n\""[..], b"bad"]);
    // Of a record over the limit, and of what an open quote took in, only the beginning.
    let bytes = format!("a,b\n{}\n\"{}", "0123456789".repeat(5), "abcdefghijk\n");
    let steps = drain(&mut open(bytes.as_bytes(), &Layout::default(), SMALL).unwrap());
    assert_eq!(
        (steps[0].raw.as_slice(), steps[1].raw.as_slice()),
        (&b"0123456789"[..], &b"\"abcdefghi"[..])
    );
}

#[test]
fn a_resumed_row_keeps_a_leading_byte_order_mark_like_any_other_character() {
    let bytes = "a,b\n\u{feff}x,2\n".as_bytes();
    check(bytes, &["\u{feff}x/2"]);
}

#[test]
fn an_input_that_fails_is_an_error_and_not_the_end() {
    struct Fails;
    impl std::io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("cable pulled"))
        }
    }
    use std::io::Read;
    let input = b"a,b\n1,2\n3,".chain(Fails);
    let mut reader = Reader::open(input, &Layout::default(), SMALL).unwrap();
    assert!(matches!(reader.read(), Ok(Some(Item::Row(_)))));
    assert_eq!(reader.read().map(|_| ()).unwrap_err().to_string(), "cable pulled");
    assert!(Reader::open(Fails, &Layout::default(), SMALL).is_err());
}

#[test]
fn layout_and_position_can_be_saved_and_taken_up_again() {
    let bytes = b"a;b\n1;2\n3;4\n";
    let layout = Layout { delimiter: b';', ..Layout::default() };
    let mut reader = open(bytes, &layout, SMALL).unwrap();
    reader.read().unwrap();
    let saved = serde_json::to_string(&(layout, reader.columns(), reader.position())).unwrap();
    assert_eq!(
        saved,
        r#"[{"encoding":"utf-8","bom":false,"delimiter":59,"quote":34,"header":true,"line_ending":"lf"},2,{"byte":8,"row":2,"line":3}]"#
    );
    let (layout, columns, at): (Layout, usize, Position) = serde_json::from_str(&saved).unwrap();
    let mut reader = Reader::resume(&bytes[at.byte as usize..], &layout, SMALL, columns, at);
    assert_eq!(summary(&drain(&mut reader)), ["3/4"]);
}

#[test]
fn without_quotes_every_mark_is_text() {
    let layout = Layout { quote: None, ..Layout::default() };
    let mut reader = open(b"a,b\n5\" disk,\"x\n\"y\",z\n", &layout, SMALL).unwrap();
    assert_eq!(summary(&drain(&mut reader)), ["5\" disk/\"x", "\"y\"/z"]);
}
