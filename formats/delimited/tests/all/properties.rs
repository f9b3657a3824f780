//! What holds for any input: a second parser agrees, resuming changes nothing, nothing panics, and
//! what is written is read back.

use crate::common::{Pieces, Seen, drain, open};
use proptest::collection::vec;
use proptest::prelude::*;
use tidings_delimited::{
    ErrorFileWriter, ExportOptions, ExportWriter, Layout, Limits, LineEnding, Position, Reader,
    detect, restore,
};

/// A second parser, written to be obviously right rather than quick: the records of a text, and
/// whether the last one was closed. Blank lines are no records.
fn naive(text: &str) -> (Vec<Vec<String>>, bool) {
    let chars: Vec<char> = text.chars().collect();
    let mut records = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if chars[at] == '\n' || chars[at] == '\r' {
            at += 1;
            continue;
        }
        let mut cells = Vec::new();
        loop {
            let mut cell = String::new();
            if chars.get(at) == Some(&'"') {
                at += 1;
                loop {
                    match (chars.get(at), chars.get(at + 1)) {
                        (None, _) => return (records, false),
                        (Some('"'), Some('"')) => {
                            cell.push('"');
                            at += 2;
                        }
                        (Some('"'), _) => break,
                        (Some(other), _) => {
                            cell.push(*other);
                            at += 1;
                        }
                    }
                }
                at += 1;
            }
            while at < chars.len() && !",\n\r".contains(chars[at]) {
                cell.push(chars[at]);
                at += 1;
            }
            cells.push(cell);
            if chars.get(at) != Some(&',') {
                break;
            }
            at += 1;
        }
        records.push(cells);
    }
    (records, true)
}

/// Text in which everything that matters to the format is frequent.
fn messy_text() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &["a", "b", "é", ",", ",", "\"", "\"\"", "\n", "\r\n", "\r", " ", "12"];
    vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

fn messy_bytes() -> impl Strategy<Value = Vec<u8>> {
    let frequent = prop::sample::select(&b",;\t|\"'\n\r\0ab1\xef\xbb\xbf\xc3\xa9\xff"[..]);
    vec(prop_oneof![4 => frequent, 1 => any::<u8>()], 0..300)
}

fn cell() -> impl Strategy<Value = String> {
    const PIECES: &[&str] =
        &["", "x", "Zoë", ",", ";", "\"", "'", "\n", "\r", "\t", "=", "-", "@", " ", "\u{feff}"];
    vec(prop::sample::select(PIECES), 0..6).prop_map(|pieces| pieces.concat())
}

fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (1..6_usize).prop_flat_map(|width| vec(vec(cell(), width), 1..20))
}

fn layout() -> impl Strategy<Value = Layout> {
    let endings = [LineEnding::CrLf, LineEnding::Lf, LineEnding::Cr];
    (
        any::<bool>(),
        prop::sample::select(&b",;\t|"[..]),
        prop::sample::select(&b"\"'"[..]),
        any::<bool>(),
        prop::sample::select(endings.to_vec()),
    )
        .prop_map(|(bom, delimiter, quote, header, line_ending)| Layout {
            bom,
            delimiter,
            quote: Some(quote),
            header,
            line_ending,
            ..Layout::default()
        })
}

fn tiny() -> impl Strategy<Value = Limits> {
    (1..30_usize, 1..60_usize, 1..6_usize, 0..20_usize).prop_map(
        |(field_bytes, record_bytes, columns, kept_bytes)| Limits {
            field_bytes,
            record_bytes,
            columns,
            kept_bytes,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_second_parser_reads_the_same(text in messy_text()) {
        let layout = Layout { header: false, ..Layout::default() };
        let (records, closed) = naive(&text);
        let Ok(mut reader) = open(text.as_bytes(), &layout, Limits::default()) else {
            prop_assert!(records.is_empty() && closed);
            return Ok(());
        };
        let steps = drain(&mut reader);
        prop_assert_eq!(steps.len(), records.len() + usize::from(!closed));
        for (step, cells) in steps.iter().zip(&records) {
            match &step.seen {
                Seen::Row(row) => prop_assert_eq!(row, cells),
                Seen::Refused(_) => prop_assert_ne!(cells.len(), reader.columns()),
            }
        }
        if let (false, Some(last)) = (closed, steps.last()) {
            let Seen::Refused(fault) = &last.seen else { panic!("an open quote was read") };
            prop_assert_eq!(fault.code(), "unclosed_quote");
        }
    }

    #[test]
    fn lines_and_offsets_are_those_of_the_text(text in messy_text()) {
        let layout = Layout { header: false, ..Layout::default() };
        let Ok(mut reader) = open(text.as_bytes(), &layout, Limits::default()) else {
            return Ok(());
        };
        for (index, step) in drain(&mut reader).iter().enumerate() {
            let before = &text[..step.at.byte as usize];
            let lines = before.replace("\r\n", "\n").replace('\r', "\n").matches('\n').count();
            prop_assert_eq!(step.at.line, lines as u64 + 1);
            prop_assert_eq!(step.at.row, index as u64 + 1);
            prop_assert!(text.as_bytes()[step.at.byte as usize..].starts_with(&step.raw));
        }
    }

    #[test]
    fn pieces_and_resuming_change_nothing(
        bytes in messy_bytes(), layout in layout(), limits in tiny(), most in 1..9_usize,
    ) {
        let Ok(mut reader) = open(&bytes, &layout, limits) else { return Ok(()) };
        let columns = reader.columns();
        let steps = drain(&mut reader);
        let pieces = Pieces { bytes: &bytes, most, interrupted: false };
        let mut again = Reader::open(pieces, &layout, limits).expect("opened before");
        prop_assert_eq!(&drain(&mut again), &steps);
        // Where the first record cannot be split, the width is learnt on the way and not known here.
        if columns > 0 {
            for (index, step) in steps.iter().enumerate() {
                let rest = &bytes[step.after.byte as usize..];
                let mut resumed = Reader::resume(rest, &layout, limits, columns, step.after);
                prop_assert_eq!(&drain(&mut resumed)[..], &steps[index + 1..]);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in messy_bytes(), limits in tiny()) {
        let layout = detect(&bytes).unwrap_or_default();
        if let Ok(mut reader) = open(&bytes, &layout, limits) {
            drain(&mut reader);
        }
        let start = Position { byte: 0, row: 1, line: 1 };
        drain(&mut Reader::resume(&bytes[..], &layout, limits, 0, start));
    }

    #[test]
    fn exports_are_read_back(table in table(), layout in layout()) {
        let layout = Layout { header: false, ..layout };
        let mut writer = ExportWriter::new(
            Vec::new(), ExportOptions { layout, defuse_formulas: true });
        for row in &table {
            writer.write_row(row).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let steps = drain(&mut open(&bytes, &layout, Limits::default()).unwrap());
        let read: Vec<Vec<String>> = steps
            .into_iter()
            .map(|step| match step.seen {
                Seen::Row(cells) => cells.iter().map(|cell| restore(cell).to_owned()).collect(),
                Seen::Refused(fault) => panic!("{fault}"),
            })
            .collect();
        prop_assert_eq!(read, table);
    }

    #[test]
    fn what_the_csv_crate_writes_is_read(table in table()) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // A plain first row, as a first cell could begin with a byte order mark.
        writer.write_record(vec!["plain"; table[0].len()]).unwrap();
        for row in &table {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let layout = Layout { header: false, ..Layout::default() };
        let steps = drain(&mut open(&bytes, &layout, Limits::default()).unwrap());
        let mut theirs = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
        for (step, record) in steps.iter().zip(theirs.records()) {
            let record: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
            prop_assert_eq!(&step.seen, &Seen::Row(record));
        }
        prop_assert_eq!(steps.len(), table.len() + 1);
    }

    #[test]
    fn error_files_are_in_order_whatever_was_refused(
        bytes in messy_bytes(), layout in layout(), limits in tiny(),
    ) {
        let Ok(mut reader) = open(&bytes, &layout, limits) else { return Ok(()) };
        let header = reader.header().to_vec();
        let steps = drain(&mut reader);
        let columns = reader.columns().max(1);
        let mut writer = ErrorFileWriter::create(Vec::new(), &layout, &header, columns).unwrap();
        for step in &steps {
            writer.write(&step.raw, "because").unwrap();
        }
        let file = writer.finish().unwrap();
        let Ok(mut reader) = open(&file, &layout, Limits::default()) else {
            prop_assert!(steps.is_empty() && !layout.header);
            return Ok(());
        };
        let again = drain(&mut reader);
        prop_assert_eq!(again.len(), steps.len());
        for (written, original) in again.iter().zip(&steps) {
            let Seen::Row(cells) = &written.seen else { panic!("{written:?}") };
            prop_assert_eq!(cells.len(), columns + 1);
            prop_assert_eq!(&cells[columns], "because");
            if let Seen::Row(row) = &original.seen {
                prop_assert_eq!(&cells[..columns], &row[..]);
            }
        }
    }
}
