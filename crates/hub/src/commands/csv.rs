//! `tidings csv`: the rows of a file as the import reads them, as JSON.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value as Json, json};
use tidings_delimited::{Encoding, Item, Layout, Limits, OpenError, Reader, SAMPLE_BYTES, detect};

#[derive(Args, Debug)]
pub struct Arguments {
    file: PathBuf,
}

/// Prints `{"rows", "encoding", "delimiter", …}`, the header being the first row, or `{"error"}`
/// for a file that cannot be read as rows. Rows that the import refuses are in `refused`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match open(&arguments.file) {
        Ok((layout, reader)) => print_rows(&mut out, &layout, reader).context("print rows")?,
        Err(fault) => writeln!(out, "{}", json!({"error": fault}))?,
    }
    out.flush().context("print rows")?;
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<(Layout, Reader<File>), String> {
    let open = || File::open(path).map_err(|error| format!("read {}: {error}", path.display()));
    let mut sample = Vec::with_capacity(SAMPLE_BYTES);
    let read = open()?.take(SAMPLE_BYTES as u64).read_to_end(&mut sample);
    read.map_err(|error| format!("read {}: {error}", path.display()))?;
    let layout = detect(&sample).map_err(|fault| fault.to_string())?;
    let reader = Reader::open(open()?, &layout, Limits::default());
    let reader = reader.map_err(|error| match error {
        OpenError::Fault(fault) => fault.to_string(),
        OpenError::Io(error) => format!("read {}: {error}", path.display()),
    })?;
    Ok((layout, reader))
}

fn print_rows(out: &mut impl Write, layout: &Layout, mut reader: Reader<File>) -> Result<()> {
    write!(out, "{{\"rows\":[")?;
    let mut separator = "";
    if layout.header {
        write!(out, "{}", json!(reader.header()))?;
        separator = ",";
    }
    let mut refused: Vec<Json> = Vec::new();
    while let Some(item) = reader.read()? {
        match item {
            Item::Row(row) => {
                let cells: Vec<&str> = row.cells().collect();
                write!(out, "{separator}{}", json!(cells))?;
                separator = ",";
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
    let encoding = match layout.encoding {
        Encoding::Utf8 => "utf-8",
        Encoding::Utf16Le => "utf-16le",
        Encoding::Utf16Be => "utf-16be",
        Encoding::Windows1252 => "windows-1252",
    };
    writeln!(
        out,
        "],\"encoding\":{},\"delimiter\":{},\"quote\":{},\"header\":{},\"bom\":{},\"refused\":{}}}",
        json!(encoding),
        json!(char::from(layout.delimiter).to_string()),
        json!(char::from(layout.quote).to_string()),
        layout.header,
        layout.bom,
        json!(refused),
    )?;
    Ok(())
}
