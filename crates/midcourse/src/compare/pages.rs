//! The pages of a comparison, which are there as a whole or not at all.

use std::path::Path;

use anyhow::Result;
use midcourse_core::compare::Comparison;
use midcourse_core::report::Colour;
use midcourse_core::report::compare::{self, CompareReport};

use crate::new_dir::NewDir;
use crate::storage::write_whole;
use crate::{run_dir, terminal};

const HTML: &str = "compare.html";
const MARKDOWN: &str = "compare.md";
const JSON: &str = "compare.json";

/// Writes the three files into a directory that is not there yet.
pub(crate) fn write(out: &Path, comparison: &Comparison) -> Result<()> {
    let report = report(comparison);
    let dir = NewDir::create(out)?;
    write_whole(&dir.file(JSON)?, run_dir::pretty(comparison)?.as_bytes())?;
    write_whole(&dir.file(HTML)?, compare::html(&report).as_bytes())?;
    write_whole(&dir.file(MARKDOWN)?, compare::markdown(&report).as_bytes())?;
    Ok(dir.finish()?)
}

/// The tables for the terminal.
pub(crate) fn terminal(comparison: &Comparison) -> String {
    let colour = if terminal::wants_colour() { Colour::On } else { Colour::Off };
    compare::terminal(&report(comparison), terminal::width(), colour)
}

fn report(comparison: &Comparison) -> CompareReport<'_> {
    let runs = comparison.runs.iter().map(|run| (run.name.clone(), run.sources.join(", ")));
    let made = ("Made with".to_owned(), format!("midcourse {}", env!("CARGO_PKG_VERSION")));
    CompareReport { comparison, details: runs.chain([made]).collect() }
}
