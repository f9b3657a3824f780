//! Workbooks as programs write them, and those that nobody should.

use std::io::{Cursor, Write};

use tidings_workbook::{Fault, Limits, is_workbook, read};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const BOOK: &str = "<?xml version=\"1.0\"?><x:workbook xmlns:x=\"m\" xmlns:r=\"r\"><x:sheets>\
    <x:sheet name=\"Hidden\" state=\"hidden\" r:id=\"r1\"/><x:sheet name=\"Rows\" r:id=\"r2\"/>\
    </x:sheets></x:workbook>";
const LINKS: &str = "<Relationships><Relationship Id=\"r1\" Target=\"worksheets/hidden.xml\"/>\
    <Relationship Id=\"r2\" Target=\"/xl/worksheets/rows.xml\"/></Relationships>";
const STYLES: &str = "<styleSheet><numFmts><numFmt numFmtId=\"164\" formatCode=\"dd/mm/yyyy\\ hh:mm\"/>\
    </numFmts><cellStyleXfs><xf numFmtId=\"14\"/></cellStyleXfs>\
    <cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf numFmtId=\"164\"/></cellXfs></styleSheet>";
const TEXTS: &str = "<sst><si><t xml:space=\"preserve\"> Zoë &amp; Ann</t></si>\
    <si><r><t>ri</t></r><r><t>ch</t></r><rPh><t>no</t></rPh></si></sst>";

fn book(rows: &str) -> Vec<u8> {
    book_with(rows, TEXTS)
}

/// A book of these rows and shared texts.
fn book_with(rows: &str, texts: &str) -> Vec<u8> {
    let sheet = format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [
        ("xl/workbook.xml", BOOK),
        ("xl/_rels/workbook.xml.rels", LINKS),
        ("xl/styles.xml", STYLES),
        ("xl/sharedStrings.xml", texts),
        ("xl/worksheets/rows.xml", &sheet),
    ] {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn rows(file: &[u8], limits: &Limits) -> Result<Vec<Vec<String>>, Fault> {
    let mut rows = Vec::new();
    read(Cursor::new(file), limits, &mut |cells: &[String]| {
        rows.push(cells.to_vec());
        Ok(())
    })?;
    Ok(rows)
}

/// Given the cells of one row, reads the expected texts.
#[track_caller]
fn check(cells: &str, expected: &[&str]) {
    let file = book(&format!("<row r=\"1\">{cells}</row>"));
    assert!(is_workbook(Cursor::new(&file)));
    assert_eq!(rows(&file, &Limits::default()).unwrap(), [expected], "{cells}");
}

#[test]
fn cells_of_every_kind() {
    check(
        "<c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"s\"><v>1</v></c>",
        &[" Zoë & Ann", "rich"],
    );
    check(
        "<c t=\"inlineStr\"><is><t>a</t></is></c><c t=\"str\"><f>A1</f><v>b</v></c>",
        &["a", "b"],
    );
    check(
        "<c><v>12</v></c><c><v>1.1000000000000001</v></c><c><v>1E+3</v></c>",
        &["12", "1.1", "1000"],
    );
    check(
        "<c s=\"1\"><v>46349</v></c><c s=\"2\"><v>46349.354166666664</v></c>",
        &["2026-11-23", "2026-11-23T08:30:00"],
    );
    check("<c t=\"b\"><v>1</v></c><c t=\"e\"><v>#N/A</v></c>", &["true", "#N/A"]);
    // Cells that are missing, blank or at the end of the row.
    check("<c r=\"B1\"><v>1</v></c><c r=\"D1\"><v>2</v></c><c r=\"E1\"/>", &["", "1", "", "2"]);
}

#[test]
fn blank_rows_are_passed_over() {
    let file = book(
        "<row><c><v>1</v></c></row><row/><row><c r=\"A3\" s=\"1\"/></row><row><c><v>2</v></c></row>",
    );
    assert_eq!(rows(&file, &Limits::default()).unwrap(), [["1"], ["2"]]);
}

#[track_caller]
fn check_refused(file: &[u8], limits: &Limits, code: &str) {
    assert_eq!(rows(file, limits).unwrap_err().code(), code);
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let limits = Limits::default();
    check_refused(b"PK\x03\x04 and so on", &limits, "damaged_workbook");
    check_refused(&book(""), &limits, "empty_file");
    check_refused(&book("<row><c><v>1</v></c>"), &limits, "damaged_workbook");
    check_refused(&book("<row><c r=\"ZZZ1\"><v>1</v></c></row>"), &limits, "too_many_file_columns");
    let long = format!("<row><c t=\"str\"><v>{}</v></c></row>", "x".repeat(100));
    check_refused(&book(&long), &Limits { cell_bytes: 99, ..limits }, "too_large_unpacked");
    check_refused(&book(&long), &Limits { shared_bytes: 5, ..limits }, "too_large_unpacked");
    check_refused(&book(&long), &Limits { total_bytes: 300, ..limits }, "too_large_unpacked");
    let dtd = "<!DOCTYPE x [<!ENTITY a \"b\">]><row><c t=\"str\"><v>&a;</v></c></row>";
    check_refused(&book(dtd), &limits, "damaged_workbook");
}

#[test]
fn a_bomb_is_stopped_by_its_ratio() {
    let bomb = format!("<row><c t=\"str\"><v>{}</v></c></row>", "<!-- -->".repeat(8 << 20));
    check_refused(&book(&bomb), &Limits::default(), "too_large_unpacked");
}

/// A book of five small parts whose cells all show one long text: what they grow to is bounded, by
/// the cell, by the row and by all together.
#[test]
fn row_31_a_shared_text_counts_for_each_cell_that_shows_it() {
    let limits =
        Limits { cell_bytes: 1_000, row_bytes: 5_000, total_bytes: 50_000, ..Limits::default() };
    let check = |length: usize, cells: usize, rows: usize, expected: Option<&str>| {
        let row = format!("<row>{}</row>", "<c t=\"s\"><v>2</v></c>".repeat(cells));
        let texts =
            TEXTS.replace("</sst>", &format!("<si><t>{}</t></si></sst>", "x".repeat(length)));
        let file = book_with(&row.repeat(rows), &texts);
        let code = handed_out(&file, &limits).err().map(|fault| fault.code());
        assert_eq!(code, expected, "{length} bytes in {cells} cells of {rows} rows");
    };
    check(1_000, 5, 5, None);
    check(1_001, 1, 1, Some("too_large_unpacked"));
    check(1_000, 6, 1, Some("too_large_unpacked"));
    check(1_000, 5, 12, Some("too_large_unpacked"));
}

fn handed_out(file: &[u8], limits: &Limits) -> Result<u64, Fault> {
    let mut bytes = 0;
    read(Cursor::new(file), limits, &mut |cells: &[String]| {
        bytes += cells.iter().map(|cell| cell.len() as u64 + 1).sum::<u64>();
        assert!(bytes <= limits.total_bytes, "{bytes} bytes were handed out");
        Ok(())
    })?;
    Ok(bytes)
}

/// Entities, document types, depth and attributes without end: nothing is looked up, loaded or grown.
#[test]
fn row_33_xml_made_to_break_its_reader_is_refused_or_read_as_text() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
    let outside = "<!DOCTYPE x SYSTEM \"http://127.0.0.1:9/x.dtd\">";
    let file = "<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>";
    for doctype in [bomb, outside, file] {
        let texts = format!("{doctype}{TEXTS}");
        let refused = rows(&book_with("<row><c><v>1</v></c></row>", &texts), &Limits::default());
        assert_eq!(refused.unwrap_err().code(), "damaged_workbook", "{doctype}");
    }
    for entity in ["&f;", "&a;", "&#0;", "&#x110000;", "&"] {
        let cell = format!("<row><c t=\"str\"><v>x{entity}y</v></c></row>");
        match rows(&book(&cell), &Limits::default()) {
            Ok(found) => assert!(!found[0][0].contains("root:"), "{entity}: {found:?}"),
            Err(fault) => assert_eq!(fault.code(), "damaged_workbook", "{entity}"),
        }
    }
    let deep =
        format!("<row><c><v>1</v></c></row>{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    assert_eq!(rows(&book(&deep), &Limits::default()).unwrap(), [["1"]]);
    let many: String = (0..100_000).map(|at| format!(" a{at}=\"1\"")).collect();
    let wide = format!("<row><c{many} t=\"str\"><v>1</v></c></row>");
    assert_eq!(rows(&book(&wide), &Limits::default()).unwrap(), [["1"]]);
}
