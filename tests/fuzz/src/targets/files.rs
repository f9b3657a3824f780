//! Files as people upload them, read without a hub.

use std::io::{Cursor, Read, Write};

use tidings_delimited::{
    Decoder, ErrorFileWriter, Item, Layout, Limits, OpenError, Reader, detect, detect_encoding,
    detect_forms,
};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::plain;
use crate::Target;
use crate::corpus::bytes;

pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "delimited", short: 6_000, open: || plain(delimited), seeds: tables },
        Target { name: "workbook", short: 4_000, open: || plain(workbook), seeds: workbooks },
    ]
}

/// Limits that inputs of this size reach.
const SMALL: Limits =
    Limits { field_bytes: 200, record_bytes: 2_000, columns: 40, kept_bytes: 1_000 };

/// A file is detected and read to its end; reading it in two pieces, and with an error file of what
/// was refused, changes nothing.
fn delimited(input: &[u8]) {
    let (encoding, _) = detect_encoding(input).expect("memory does not fail");
    let mut decoded = Vec::new();
    Decoder::new(input, encoding).read_to_end(&mut decoded).expect("memory does not fail");
    let layout = detect(input).unwrap_or_default();
    for limits in [SMALL, Limits::default()] {
        read(&decoded, &layout, limits);
        read(&decoded, &Layout { quote: None, ..layout }, limits);
    }
}

fn read(input: &[u8], layout: &Layout, limits: Limits) {
    let mut reader = match Reader::open(input, layout, limits) {
        Ok(reader) => reader,
        Err(OpenError::Fault(_)) => return,
        Err(error) => panic!("memory does not fail: {error}"),
    };
    let header = reader.header().to_vec();
    assert!(header.len() <= limits.columns, "{} columns", header.len());
    let mut errors = ErrorFileWriter::create(Vec::new(), layout, &header, header.len().max(1))
        .expect("write to memory");
    let (mut last, mut columns) = (0, vec![Vec::new(); reader.columns()]);
    while let Some(item) = reader.read().expect("memory does not fail") {
        match item {
            Item::Row(row) => {
                assert_eq!(row.columns(), row.cells().count());
                for (cells, cell) in columns.iter_mut().zip(row.cells()) {
                    assert!(cell.len() <= limits.field_bytes, "a cell of {} bytes", cell.len());
                    cells.push(cell.to_owned());
                }
            }
            Item::Refused(refused) => {
                assert!(!refused.fault.to_string().is_empty());
                errors.write(refused.raw, "because").expect("write to memory");
            }
        }
        let at = reader.position().byte;
        assert!(at > last || input.is_empty(), "reading goes on from {last} to {at}");
        last = at;
    }
    errors.finish().expect("write to memory");
    detect_forms(&columns, layout.delimiter);
}

fn tables() -> Vec<Vec<u8>> {
    let mut seeds = bytes(&[
        "email,name,city\nann@example.com,Ann,Oslo\nbob@example.com,\"Bob, the \"\"1st\"\"\",Rome\n",
        "e-mail;vorname;betrag\r\nann@example.com;Zo\u{eb};1.234,56\r\n\r\n",
        "a\tb\tc\n1\t2\t3\n\"multi\nline\"\t5\t6\n7\t8\n",
        "name|joined|score\rAnn|31-12-2026|1,5\rBob|01-02-2026|2,75\r",
        "'quoted','with ''single'' marks'\n'a','b'\n",
        "\u{feff}id,text\n1,=cmd()\n2,\"'+1\"\n",
        "only one column\nvalue\n",
        "a,a,b\n1,2,3\n",
    ]);
    let wide = "email;name\r\nzo\u{eb}@example.com;\u{5c71}\u{1f600}\r\n";
    seeds.push([&b"\xff\xfe"[..], &utf16(wide, u16::to_le_bytes)].concat());
    seeds.push(utf16(wide, u16::to_be_bytes));
    seeds.push(b"name,city\nZo\xeb,K\xf6ln\nAndr\xe9,Malm\xf6 \x80\n".to_vec());
    seeds
}

pub fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

const BOOK: &str = "<workbook xmlns:r=\"r\"><workbookPr date1904=\"0\"/><sheets>\
    <sheet name=\"Rows\" r:id=\"r2\"/></sheets></workbook>";
const LINKS: &str =
    "<Relationships><Relationship Id=\"r2\" Target=\"worksheets/rows.xml\"/></Relationships>";
const STYLES: &str = "<styleSheet><numFmts><numFmt numFmtId=\"164\" formatCode=\"dd/mm/yyyy\"/>\
    </numFmts><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf numFmtId=\"164\"/></cellXfs>\
    </styleSheet>";
const TEXTS: &str = "<sst><si><t> Zo\u{eb} &amp; Ann</t></si><si><r><t>ri</t></r></si></sst>";
const SHEET: &str = "<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c>\
    <c r=\"B1\" s=\"1\"><v>46349.25</v></c><c t=\"inlineStr\"><is><t>in</t></is></c></row>\
    <row r=\"3\"><c r=\"C3\"><v>1E+3</v></c><c t=\"b\"><v>1</v></c></row></sheetData></worksheet>";

/// The parts of a workbook in one text, each behind a line with its number. The archive around them
/// is made anew, so that what is changed is the XML; an input that is an archive itself is taken as
/// it is.
fn workbook(input: &[u8]) {
    let file = if input.starts_with(b"PK") { input.to_vec() } else { packed(input) };
    let limits = tidings_workbook::Limits {
        total_bytes: 1 << 20,
        shared_bytes: 1 << 16,
        cell_bytes: 1_000,
        row_bytes: 5_000,
        columns: 50,
        ..tidings_workbook::Limits::default()
    };
    let mut all = 0;
    let mut take = |cells: &[String]| {
        assert!(cells.len() <= limits.columns);
        assert!(cells.iter().all(|cell| cell.len() <= limits.cell_bytes));
        let bytes: usize = cells.iter().map(String::len).sum();
        assert!(bytes <= limits.row_bytes, "a row of {bytes} bytes");
        all += bytes as u64;
        assert!(all <= limits.total_bytes, "{all} bytes of cells");
        Ok(())
    };
    tidings_workbook::is_workbook(Cursor::new(&file));
    if let Err(fault) = tidings_workbook::read(Cursor::new(&file), &limits, &mut take) {
        assert!(!fault.code().is_empty() && !fault.to_string().is_empty());
    }
}

const PARTS: [&str; 5] = [
    "xl/workbook.xml",
    "xl/_rels/workbook.xml.rels",
    "xl/styles.xml",
    "xl/sharedStrings.xml",
    "xl/worksheets/rows.xml",
];

fn packed(input: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut parts = input.split(|byte| *byte == 0x1e);
    for name in PARTS {
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(name, options).expect("write to memory");
        writer.write_all(parts.next().unwrap_or_default()).expect("write to memory");
    }
    writer.finish().expect("write to memory").into_inner()
}

pub fn workbooks() -> Vec<Vec<u8>> {
    let parts = [BOOK, LINKS, STYLES, TEXTS, SHEET].join("\u{1e}").into_bytes();
    let file = packed(&parts);
    vec![parts, file]
}
