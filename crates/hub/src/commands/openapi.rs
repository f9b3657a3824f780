//! `tidings openapi`: the API's document.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

pub fn run() -> Result<ExitCode> {
    println!("{}", tidings_wire_api::document().to_pretty_json().context("write the document")?);
    Ok(ExitCode::SUCCESS)
}
