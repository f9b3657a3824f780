//! `tidings csv`: the rows of a file as the import reads them, as JSON.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};
use tidings_delimited::{Adjust, Encoding, Item, Layout, Reader, detect_forms};
use tidings_engine::Error;
use tidings_engine::imports::{Packing, Source, read_file};

/// Rows by whose values the forms of numbers and dates are judged.
const FORM_ROWS: usize = 200;

#[derive(Args, Debug)]
pub struct Arguments {
    file: PathBuf,
    #[command(flatten)]
    written: Written,
}

/// How a file is written, where somebody knows better than what is found out.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Written {
    /// utf-8, utf-16le, utf-16be, windows-1252 or iso-8859-1
    #[arg(long, value_parser = encoding)]
    encoding: Option<Encoding>,
    /// The character between columns, or tab, comma, semicolon, pipe, space
    #[arg(long, value_parser = delimiter)]
    delimiter: Option<u8>,
    /// The character around cells, or none
    #[arg(long, value_parser = quote)]
    quote: Option<Quote>,
    /// Whether the first row names the columns
    #[arg(long, value_enum)]
    header: Option<YesNo>,
}

#[derive(Clone, Copy, Debug)]
struct Quote(Option<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

impl Written {
    pub fn adjust(self) -> Adjust {
        Adjust {
            encoding: self.encoding,
            delimiter: self.delimiter,
            quote: self.quote.map(|quote| quote.0),
            header: self.header.map(|header| header == YesNo::Yes),
        }
    }
}

fn encoding(text: &str) -> Result<Encoding, String> {
    let known = || Encoding::ALL.map(Encoding::name).join(", ");
    Encoding::parse(text).ok_or_else(|| format!("expected one of {}", known()))
}

fn delimiter(text: &str) -> Result<u8, String> {
    tidings_engine::imports::parse_delimiter(text)
}

fn quote(text: &str) -> Result<Quote, String> {
    tidings_engine::imports::parse_quote(text).map(Quote)
}

/// Prints `{"rows", "encoding", "delimiter", …}`, the header being the first row, or `{"error"}`
/// for a file that cannot be read as rows. Rows that the import refuses are in `refused`, and how
/// numbers and dates are written in `forms`, one a column.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    // What is packed, or no delimited text, is made such text first, as the import does.
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let path = &arguments.file;
    let opened = match File::open(path) {
        Err(error) => Err(format!("read {}: {error}", path.display())),
        Ok(_) => read_file(path, folder.path(), arguments.written.adjust()).map_err(explained),
    };
    match opened {
        Ok((layout, source, reader)) => {
            print_rows(&mut out, &layout, source, reader).context("print rows")?;
        }
        Err(fault) => writeln!(out, "{}", json!({"error": fault}))?,
    }
    out.flush().context("print rows")?;
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with the file, without the path in the API that it stands under.
fn explained(error: Error) -> String {
    match error {
        Error::Invalid(faults) => {
            let texts: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
            texts.join("; ")
        }
        other => other.to_string(),
    }
}

fn print_rows<R: Read>(
    out: &mut impl Write,
    layout: &Layout,
    source: Source,
    mut reader: Reader<R>,
) -> Result<()> {
    write!(out, "{{\"rows\":[")?;
    let mut separator = "";
    if layout.header {
        write!(out, "{}", json!(reader.header()))?;
        separator = ",";
    }
    let mut values: Vec<Vec<String>> = vec![Vec::new(); reader.columns()];
    let mut refused: Vec<Json> = Vec::new();
    while let Some(item) = reader.read()? {
        match item {
            Item::Row(row) => {
                let cells: Vec<&str> = row.cells().collect();
                write!(out, "{separator}{}", json!(cells))?;
                separator = ",";
                for (cell, kept) in cells.into_iter().zip(&mut values) {
                    if kept.len() < FORM_ROWS {
                        kept.push(cell.to_owned());
                    }
                }
            }
            Item::Refused(one) => refused.push(json!({
                "row": one.position.row,
                "line": one.position.line,
                "column": one.fault.column,
                "code": one.fault.code(),
                "message": one.fault.reason.to_string(),
            })),
        }
    }
    writeln!(
        out,
        "],\"encoding\":{},\"delimiter\":{},\"quote\":{},\"header\":{},\"bom\":{},\
         \"line_ending\":{},\"kind\":{},\"packing\":{},\"forms\":{},\"refused\":{}}}",
        json!(layout.encoding.name()),
        json!(char::from(layout.delimiter).to_string()),
        json!(layout.quote.map(|quote| char::from(quote).to_string())),
        layout.header,
        layout.bom,
        json!(layout.line_ending.name()),
        json!(source.kind.name()),
        json!(source.packing.map(Packing::name)),
        json!(detect_forms(&values, layout.delimiter)),
        json!(refused),
    )?;
    Ok(())
}
