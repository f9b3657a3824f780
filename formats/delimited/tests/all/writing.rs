//! Export files and error files, and that both can be read again.

use crate::common::{Seen, drain, open};
use std::io::Read;

use tidings_delimited::{
    Decoder, Encoding, ErrorFileWriter, ExportOptions, ExportWriter, Layout, Limits, LineEnding,
    defuse, detect, restore,
};

fn export(options: ExportOptions, rows: &[&[&str]]) -> String {
    let mut writer = ExportWriter::new(Vec::new(), options);
    for row in rows {
        writer.write_row(*row).unwrap();
    }
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

/// Given refused raw rows of a two-column file, writes the expected error file.
#[track_caller]
fn check_errors(layout: Layout, raw: &[&[u8]], expected: &str) {
    let header = ["a".to_owned(), "b".to_owned()];
    let mut writer = ErrorFileWriter::create(Vec::new(), &layout, &header, 2).unwrap();
    for raw in raw {
        writer.write(raw, "no").unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
    // Whatever stood in the rows, the error file itself is in order.
    let steps = drain(&mut open(&written, &layout, Limits::default()).unwrap());
    assert_eq!(steps.len(), raw.len());
    for step in steps {
        assert!(matches!(&step.seen, Seen::Row(cells) if cells[2] == "no"), "{step:?}");
    }
}

#[test]
fn exports_quote_only_what_needs_it() {
    let text = export(
        ExportOptions::default(),
        &[&["a", "b"], &["x,y", "say \"hi\""], &["", "l1\nl2"], &[" p", "q "], &["é;|", "'"]],
    );
    assert_eq!(
        text,
        "a,b\r\n\"x,y\",\"say \"\"hi\"\"\"\r\n,\"l1\nl2\"\r\n\" p\",\"q \"\r\né;|,'\r\n"
    );
    // A blank line would not come back as a row.
    assert_eq!(export(ExportOptions::default(), &[&["a"], &[""]]), "a\r\n\"\"\r\n");
}

#[test]
fn exports_follow_the_layout() {
    let layout = Layout {
        bom: true,
        delimiter: b';',
        quote: Some(b'\''),
        line_ending: LineEnding::Cr,
        ..Layout::default()
    };
    let options = ExportOptions { layout, defuse_formulas: false };
    assert_eq!(
        export(options, &[&["a;b", "it's"], &["\"", "=1"]]),
        "\u{feff}'a;b';'it''s'\r\";=1\r"
    );
}

#[test]
fn formulas_are_defused_and_restored() {
    let cases = [
        ("=1+1", "'=1+1"),
        ("+31612345678", "'+31612345678"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("'=1", "''=1"),
        ("", ""),
        ("x=1", "x=1"),
        ("'s-Gravenhage", "'s-Gravenhage"),
        (" =1", " =1"),
    ];
    for (cell, defused) in cases {
        assert_eq!(defuse(cell), defused);
        assert_eq!(restore(defused), cell);
    }
    assert_eq!(export(ExportOptions::default(), &[&["=1", "\rx"]]), "'=1,\"'\rx\"\r\n");
}

#[test]
fn refused_rows_keep_their_text() {
    let layout = Layout { line_ending: LineEnding::CrLf, ..Layout::default() };
    check_errors(
        layout,
        &[b"1,2", b"\"x\r\ny\",=1", b"\"p\"q,r\"s"],
        "a,b,reason\r\n1,2,no\r\n\"x\r\ny\",=1,no\r\n\"p\"q,r\"s,no\r\n",
    );
}

#[test]
fn refused_rows_of_another_width_are_padded_or_joined() {
    check_errors(
        Layout { delimiter: b';', bom: true, ..Layout::default() },
        &[b"1", b"1;2;\"x;y\";4"],
        "\u{feff}a;b;reason\n1;;no\n1;\"2;x;y;4\";no\n",
    );
}

#[test]
fn refused_rows_that_cannot_be_split_stand_in_one_cell() {
    let wide = vec![b','; 3_000];
    let commas = ",".repeat(3_000);
    check_errors(
        Layout::default(),
        &[b"1,\"2\n3,4", b"1,\xff", b"1,\0", b"1,\"2\xc3", &wide],
        &format!(
            "a,b,reason\n\"1,\"\"2\n3,4\",,no\n\"1,\u{fffd}\",,no\n\"1,\u{fffd}\",,no\n\"1,\"\"2\u{fffd}\",,no\n\"{commas}\",,no\n"
        ),
    );
}

#[test]
fn the_reason_column_finds_a_free_name() {
    let header = ["reason".to_owned(), "reason 2".to_owned()];
    let writer = ErrorFileWriter::create(Vec::new(), &Layout::default(), &header, 2).unwrap();
    assert_eq!(writer.finish().unwrap(), b"reason,reason 2,reason 3\n");
}

#[test]
fn an_error_file_goes_on_after_a_restart_and_quotes_its_reasons() {
    let layout = Layout { header: false, ..Layout::default() };
    let writer = ErrorFileWriter::create(Vec::new(), &layout, &[], 2).unwrap();
    let mut writer = ErrorFileWriter::append(writer.finish().unwrap(), &layout, 2);
    writer.write(b"1,2", "expected a date, found \"x\"").unwrap();
    assert_eq!(writer.finish().unwrap(), b"1,2,\"expected a date, found \"\"x\"\"\"\n");
}

#[test]
fn an_error_file_is_written_in_the_encoding_of_its_input() {
    let text = "a,b\nZoë €,2\n";
    for (encoding, bom) in [
        (Encoding::Utf8, true),
        (Encoding::Utf16Le, true),
        (Encoding::Utf16Be, true),
        (Encoding::Windows1252, false),
    ] {
        let layout = Layout { encoding, bom, ..Layout::default() };
        let header = ["a".to_owned(), "b".to_owned()];
        let mut writer = ErrorFileWriter::create(Vec::new(), &layout, &header, 2).unwrap();
        writer.write("Zoë €,2".as_bytes(), "no").unwrap();
        let written = writer.finish().unwrap();
        assert_eq!(detect(&written).unwrap(), layout);
        let mut read = String::new();
        Decoder::new(&written[..], encoding).read_to_string(&mut read).unwrap();
        let expected = text.replace("b\n", "b,reason\n").replace("2\n", "2,no\n");
        assert_eq!(read.trim_start_matches('\u{feff}'), expected, "{encoding:?}");
    }
    // What the encoding has no character for is shown as such.
    let layout = Layout { encoding: Encoding::Iso88591, ..Layout::default() };
    let mut writer = ErrorFileWriter::append(Vec::new(), &layout, 1);
    writer.write("é".as_bytes(), "ő").unwrap();
    assert_eq!(writer.finish().unwrap(), b"\xe9,?\n");
}

#[test]
fn without_quotes_a_reason_cannot_split_its_row() {
    let layout = Layout { quote: None, ..Layout::default() };
    let mut writer = ErrorFileWriter::append(Vec::new(), &layout, 1);
    writer.write(b"5\"", "expected a, b").unwrap();
    assert_eq!(writer.finish().unwrap(), b"5\",expected a  b\n");
}
