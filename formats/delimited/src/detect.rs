//! Finding out how a file is written from its first bytes.

use crate::encoding::{decoded, encoding_of, mark};
use crate::header::is_header;
use crate::splitter::{Fed, Splitter};
use crate::{Adjust, Encoding, Fault, Layout, Limits, LineEnding, Reason};

/// How many of a file's first bytes [`detect`] wants. A shorter sample is taken for the whole file,
/// and of a longer one the rest is not looked at.
pub const SAMPLE_BYTES: usize = 64 * 1024;

/// Records looked at; enough to see a pattern, few enough to be quick.
const RECORDS: usize = 200;

/// Candidates, each with its head start when rows are as wide with another. Commas also stand in
/// decimals and addresses, bars in lists; tabs and semicolons seldom stand in text.
const DELIMITERS: [(u8, f64); 4] = [(b',', 0.0), (b';', 1.5), (b'\t', 1.5), (b'|', 0.5)];

/// How the file that begins with `sample` is written.
///
/// # Errors
/// A fault without a row when the file is empty, of another kind altogether (a workbook, an
/// archive), or wider than the default limit. Whether names in the header repeat is for
/// [`crate::Reader::open`] to say.
pub fn detect(sample: &[u8]) -> Result<Layout, Fault> {
    detect_as(sample, &Adjust::default())
}

/// The same, with what somebody knows better.
///
/// # Errors
/// As [`detect`].
pub fn detect_as(sample: &[u8], adjust: &Adjust) -> Result<Layout, Fault> {
    let whole = sample.len() < SAMPLE_BYTES;
    let sample = &sample[..sample.len().min(SAMPLE_BYTES)];
    refuse_other_kinds(sample)?;
    let (encoding, bom) = match adjust.encoding {
        Some(encoding) => {
            let mark = mark(encoding);
            (encoding, !mark.is_empty() && sample.starts_with(mark))
        }
        None => encoding_of(sample, whole),
    };
    let text = decoded(sample, encoding, whole);
    let text = text.strip_prefix(mark(Encoding::Utf8)).unwrap_or(&text);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault::of_file(Reason::EmptyFile));
    }
    let double = best_split(text, Some(b'"'), adjust.delimiter, whole);
    let best = match adjust.quote {
        Some(quote) => best_split(text, quote, adjust.delimiter, whole),
        None if written_with_apostrophes(text, double.layout.delimiter) => {
            best_split(text, Some(b'\''), adjust.delimiter, whole)
        }
        None => double,
    };
    let (limit, first) = (Limits::default().columns, &best.records[0]);
    if first.len() > limit {
        let reason = Reason::TooManyFileColumns { found: first.len(), limit };
        return Err(Fault::of_file(reason));
    }
    Ok(Layout {
        encoding,
        bom,
        header: adjust.header.unwrap_or_else(|| is_header(first, &best.records[1..])),
        line_ending: line_ending_of(text),
        ..best.layout
    })
}

/// Kinds of files that people send in place of CSV, by their first bytes.
fn refuse_other_kinds(sample: &[u8]) -> Result<(), Fault> {
    let kinds: [(&[u8], &str); 4] = [
        (b"PK\x03\x04", "an Excel workbook or a ZIP archive"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"\x1f\x8b", "compressed with gzip"),
        (b"%PDF-", "a PDF document"),
    ];
    for (magic, found) in kinds {
        if sample.starts_with(magic) {
            return Err(Fault::of_file(Reason::NotDelimitedText { found }));
        }
    }
    Ok(())
}

struct Split {
    layout: Layout,
    /// At least one.
    records: Vec<Vec<String>>,
    score: f64,
}

fn best_split(text: &[u8], quote: Option<u8>, given: Option<u8>, whole: bool) -> Split {
    let candidates = match given {
        Some(delimiter) => vec![(delimiter, 0.0)],
        None => DELIMITERS.to_vec(),
    };
    let mut best = None;
    for (delimiter, head_start) in candidates {
        let layout = Layout { delimiter, quote, ..Layout::default() };
        let records = split(text, &layout, whole);
        let score = score(&records, head_start);
        if best.as_ref().is_none_or(|best: &Split| score > best.score) {
            best = Some(Split { layout, records, score });
        }
    }
    best.expect("there is at least one candidate")
}

/// The first records of the sample. The last one is left out when the sample may have cut it.
fn split(text: &[u8], layout: &Layout, whole: bool) -> Vec<Vec<String>> {
    let mut splitter = Splitter::new(layout, text.len());
    let mut records = Vec::new();
    let mut at = 0;
    while records.len() < RECORDS {
        splitter.begin();
        let (fed, taken) = splitter.feed(&text[at..]);
        let cut = fed == Fed::NeedsMore;
        if cut
            && (text[at..].iter().all(|b| b"\r\n".contains(b)) || (!whole && !records.is_empty()))
        {
            break;
        }
        if cut {
            splitter.finish();
        }
        at += taken;
        records.push(strings(&splitter));
        if cut {
            break;
        }
    }
    records
}

fn strings(splitter: &Splitter) -> Vec<String> {
    let (text, ends) = splitter.cells();
    let mut start = 0;
    let mut cells = Vec::with_capacity(ends.len());
    for &end in ends {
        cells.push(String::from_utf8_lossy(&text[start..end]).into_owned());
        start = end;
    }
    // In a record with an open quote the last cell has no end yet.
    if start < text.len() || cells.is_empty() {
        cells.push(String::from_utf8_lossy(&text[start..]).into_owned());
    }
    cells
}

/// High when many records have the same number of cells, more than one, and the first one too.
fn score(records: &[Vec<String>], head_start: f64) -> f64 {
    let mut best = 0.0_f64;
    for width in records.iter().map(Vec::len).filter(|&width| width > 1) {
        let same = records.iter().filter(|record| record.len() == width).count();
        let share = same as f64 / records.len() as f64;
        let as_first = if records[0].len() == width { 1.0 } else { 0.1 };
        best = best.max(share * share * as_first * (width as f64 + head_start));
    }
    best
}

/// Cells are quoted with `'`: several begin with one, each of those ends with one, and no cell
/// begins with `"`. So neither `'t Hof` nor a cell defused for spreadsheets counts.
fn written_with_apostrophes(text: &[u8], delimiter: u8) -> bool {
    let at_edge = |byte: Option<&u8>| byte.is_none_or(|b| *b == delimiter || b"\r\n".contains(b));
    let (mut opened, mut closed) = (0, 0);
    for (index, &byte) in text.iter().enumerate().filter(|(_, b)| b"'\"".contains(b)) {
        let opens = at_edge(index.checked_sub(1).and_then(|before| text.get(before)));
        if byte == b'"' && opens {
            return false;
        }
        if byte == b'\'' {
            opened += usize::from(opens);
            closed += usize::from(at_edge(text.get(index + 1)));
        }
    }
    opened > 1 && opened == closed
}

fn line_ending_of(text: &[u8]) -> LineEnding {
    let crlf = text.windows(2).filter(|pair| pair == b"\r\n").count();
    let lf = text.iter().filter(|&&byte| byte == b'\n').count() - crlf;
    let cr = text.iter().filter(|&&byte| byte == b'\r').count() - crlf;
    if crlf > 0 && crlf >= lf && crlf >= cr {
        LineEnding::CrLf
    } else if cr > lf {
        LineEnding::Cr
    } else {
        LineEnding::Lf
    }
}
