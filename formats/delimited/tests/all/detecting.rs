//! What is found out about files as people really send them.

use std::io::Read;

use crate::common::Pieces;
use tidings_delimited::{
    Adjust, Decoder, Encoding, Layout, LineEnding, SAMPLE_BYTES, detect, detect_as, detect_encoding,
};

/// Given a file, finds delimiter, quote, header and line ending; `;"h lf` reads: semicolon, double
/// quote, header, LF; `-` stands for no header, a leading `+` for a byte order mark.
#[track_caller]
fn check(sample: impl AsRef<[u8]>, expected: &str) {
    let layout = detect(sample.as_ref()).expect("the file is usable");
    let end = match layout.line_ending {
        LineEnding::CrLf => "crlf",
        LineEnding::Lf => "lf",
        LineEnding::Cr => "cr",
    };
    let bom = if layout.bom { "+" } else { "" };
    let header = if layout.header { 'h' } else { '-' };
    let (delimiter, quote) = (char::from(layout.delimiter), layout.quote.map_or('0', char::from));
    assert_eq!(format!("{bom}{delimiter}{quote}{header} {end}"), expected);
}

#[track_caller]
fn check_refused(sample: impl AsRef<[u8]>, code: &str, word: &str) {
    let fault = detect(sample.as_ref()).unwrap_err();
    assert_eq!(fault.code(), code);
    assert!(fault.to_string().contains(word), "{fault}");
}

#[test]
fn delimiters() {
    check("id,name\n1,Piet\n2,Jan\n", ",\"h lf");
    check("id;name\n1;Piet\n2;Jan\n", ";\"h lf");
    check("id\tname\n1\tPiet\n2\tJan\n", "\t\"h lf");
    check("id|name\n1|Piet\n2|Jan\n", "|\"h lf");
    check("id;name", ";\"h lf");
    check("email\na@example.com\nb@example.com\n", ",\"h lf");
}

#[test]
fn delimiters_among_others_in_the_text() {
    check("id;x;y\n1;1,5;2,5\n2;3,5;4,5\n", ";\"h lf");
    check("1;1,5;2,5\n2;3,5;4,5\n", ";\"- lf");
    check("id;town\n1;Breda, NL\n2;Gent, BE\n", ";\"h lf");
    check("id,tags,town\n1,a|b,Breda\n2,c|d,Gent\n", ",\"h lf");
    check("id,tags,town\n1,a;b,Breda\n2,c;d,Gent\n", ",\"h lf");
    check("id,text\n1,\"a;b;c;d\"\n2,\"e;f;g;h\"\n", ",\"h lf");
    check("id,text\n1,\"a;b\nc;d\"\n2,\"e\nf;g;h\"\n", ",\"h lf");
    // A few ragged rows do not hide the pattern.
    check(format!("a,b,c\n{}1,2\n", "1,2;x,3\n".repeat(20)), ",\"h lf");
}

#[test]
fn quotes() {
    check("id,name\n1,'Jansen, Piet'\n2,'Smit, Jan'\n", ",'h lf");
    check("id,town\n1,'s-Gravenhage\n2,'t Harde\n", ",\"h lf");
    check("id,name\n1,\"'x'\"\n2,'y'\n3,'z'\n", ",\"h lf");
    check("id,sum\n1,'=1+1\n2,'=2+2\n", ",\"h lf");
}

#[test]
fn headers() {
    check("name,town\nPiet,Breda\n", ",\"h lf");
    check("1,Piet\n2,Jan\n", ",\"- lf");
    check("a@example.com,Piet\nb@example.com,Jan\n", ",\"- lf");
    check("2024-01-31,Piet\n2024-02-01,Jan\n", ",\"- lf");
    check("+31 6 1234,Piet\n+31 6 9876,Jan\n", ",\"- lf");
    check("true,Piet\nfalse,Jan\n", ",\"- lf");
    check("q1,q2,2024_total\n1,2,3\n", ",\"h lf");
    // A town that comes back in its own column is no name.
    check("Piet,Breda\nJan,Gent\nAn,Breda\n", ",\"- lf");
    check("name,town\nPiet,Breda\nname,town\n", ",\"h lf");
    // Names that are double or missing are a header with a fault, or with spare columns.
    check("email,email\na@example.com,b@example.com\n", ",\"h lf");
    check("email,name,\na@example.com,Piet,\n", ",\"h lf");
    check(",,name\n1,2,Piet\n", ",\"- lf");
}

#[test]
fn line_endings_and_byte_order_mark() {
    check("a,b\r\nc,d\r\n", ",\"h crlf");
    check("a,b\rc,d\r", ",\"h cr");
    check("a,b\nc,\"x\r\ny\"\nd,e\n", ",\"h lf");
    check("a,b", ",\"h lf");
    check("\u{feff}a,b\r\nc,d\r\n", "+,\"h crlf");
}

/// Given bytes, finds the encoding and reads the same text from them in pieces of any size.
#[track_caller]
fn check_encoding(bytes: &[u8], expected: Encoding, bom: bool, text: &str) {
    let layout = detect(bytes).expect("the file is usable");
    assert_eq!((layout.encoding, layout.bom), (expected, bom), "{text}");
    assert_eq!(detect_encoding(bytes).unwrap(), (expected, bom), "{text}");
    for most in [1, 2, 3, 7, 100_000] {
        let pieces = Pieces { bytes, most, interrupted: false };
        let mut read = Vec::new();
        Decoder::new(pieces, expected).read_to_end(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), text, "in pieces of {most}");
    }
}

#[test]
fn encodings_are_found_and_read() {
    let utf16 = |order: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    };
    let text = "id,name\n1,Zoë\n2,Jürgen €\n3,😀\n";
    let marked = format!("\u{feff}{text}");
    check_encoding(&utf16(u16::to_le_bytes, &marked), Encoding::Utf16Le, true, text);
    check_encoding(&utf16(u16::to_be_bytes, &marked), Encoding::Utf16Be, true, text);
    check_encoding(&utf16(u16::to_le_bytes, text), Encoding::Utf16Le, false, text);
    check_encoding(&utf16(u16::to_be_bytes, text), Encoding::Utf16Be, false, text);
    let (western, zoe) = (Encoding::Windows1252, "id,name\n1,Zoë\n2,Jürgen\n");
    check_encoding(b"id,name\n1,Zo\xeb\n2,J\xfcrgen\n", western, false, zoe);
    check_encoding(b"id,price\n1,\x80 5\n", western, false, "id,price\n1,€ 5\n");
}

#[test]
fn an_encoding_shows_itself_behind_the_sample_too() {
    let mut bytes = b"id,name\n".to_vec();
    while bytes.len() < 3 * SAMPLE_BYTES - 1 {
        bytes.extend_from_slice(b"1,Jan\n");
    }
    bytes.truncate(3 * SAMPLE_BYTES - 1);
    let with = |tail: &[u8]| detect_encoding(&*[&bytes[..], tail].concat()).unwrap().0;
    assert_eq!(with("é".as_bytes()), Encoding::Utf8, "a character cut in two");
    assert_eq!(with(b"\xe9t\xe9"), Encoding::Windows1252);
    assert_eq!(with(b"x"), Encoding::Utf8);
}

#[test]
fn half_a_character_refuses_its_row_alone() {
    let units = [u16::from(b'a'), 10, 0xd800, 10, u16::from(b'b')];
    let bytes: Vec<u8> = units.into_iter().flat_map(u16::to_le_bytes).chain([0x41]).collect();
    let mut read = Vec::new();
    Decoder::new(&bytes[..], Encoding::Utf16Le).read_to_end(&mut read).unwrap();
    assert_eq!(read, b"a\n\xff\nb\xff");
}

#[test]
fn what_somebody_knows_better_is_taken() {
    let file = b"id|na'me\n1|'x,y'\n2|'z'\n";
    let adjust = Adjust {
        encoding: Some(Encoding::Iso88591),
        delimiter: Some(b','),
        quote: Some(None),
        header: Some(false),
    };
    let layout = detect_as(file, &adjust).unwrap();
    assert_eq!((layout.encoding, layout.delimiter), (Encoding::Iso88591, b','));
    assert_eq!((layout.quote, layout.header), (None, false));
    let layout = detect_as(file, &Adjust { quote: Some(Some(b'\'')), ..Adjust::default() });
    assert_eq!(layout.unwrap().delimiter, b'|');
    // A Windows-1252 file taken for Latin-1 has control characters where the euro signs were.
    let mut read = String::new();
    Decoder::new(&b"\x80"[..], Encoding::Iso88591).read_to_string(&mut read).unwrap();
    assert_eq!(read, "\u{80}");
}

#[test]
fn encodings_go_by_many_names() {
    for encoding in Encoding::ALL {
        assert_eq!(Encoding::parse(encoding.name()), Some(encoding));
    }
    for (name, expected) in [
        ("UTF8", Some(Encoding::Utf8)),
        ("Latin-1", Some(Encoding::Iso88591)),
        ("CP1252", Some(Encoding::Windows1252)),
        ("UTF-16", Some(Encoding::Utf16Le)),
        ("koi8-r", None),
    ] {
        assert_eq!(Encoding::parse(name), expected, "{name}");
    }
}

#[test]
fn utf8_with_some_broken_cells_is_still_utf8() {
    check("id,name\n1,Zoë\n2,Jürgen\n".as_bytes(), ",\"h lf");
    check([b"id,name\n1,", "Zoë\n2,Jürgen\n".as_bytes(), b"3,\xff\n"].concat(), ",\"h lf");
    check(b"id,name\n1,a\0b\n2,c\n", ",\"h lf");
}

#[test]
fn a_sample_may_end_anywhere() {
    let mut text = "id;naam\n".to_owned();
    while text.len() < SAMPLE_BYTES + 10 {
        text.push_str("1;\"Zoë; Jürgen\"\n");
    }
    for end in SAMPLE_BYTES - 20..SAMPLE_BYTES + 5 {
        let found = detect(&text.as_bytes()[..end]);
        // A shorter sample counts as a whole file, in which half a character is broken.
        assert_eq!(found.unwrap(), Layout { delimiter: b';', ..Layout::default() }, "at {end}");
    }
    let all_cut = "é".repeat(SAMPLE_BYTES);
    assert!(detect(&all_cut.as_bytes()[..SAMPLE_BYTES + 1]).is_ok());
    assert!(detect(&all_cut.as_bytes()[1..]).is_ok());
}

#[test]
fn what_is_no_table_is_refused() {
    for sample in ["", "\n\n", " \r\n\t", "\u{feff}", "\u{feff}\n"] {
        check_refused(sample, "empty_file", "empty");
    }
    check_refused(b"PK\x03\x04\x14\0", "not_delimited_text", "Excel");
    check_refused(b"\xd0\xcf\x11\xe0\xa1\xb1", "not_delimited_text", "Excel");
    check_refused(b"\x1f\x8b\x08\0", "not_delimited_text", "gzip");
    check_refused(b"%PDF-1.7\n", "not_delimited_text", "PDF");
    let wide: Vec<String> = (0..2_000).map(|n| format!("c{n}")).collect();
    check_refused(wide.join(";"), "too_many_file_columns", "2000 columns");
    let wider: Vec<String> = (0..100_000).map(|n| format!("c{n}")).collect();
    check_refused(wider.join(","), "too_many_file_columns", "columns");
}
