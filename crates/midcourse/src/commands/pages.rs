//! `midcourse report`: make the pages of a finished run again.

use std::path::Path;

use anyhow::Result;

use crate::failure::Failure;
use crate::run_dir::{MANIFEST, Opening, RunDir};
use crate::terminal::{print, say};

/// Runs the command.
pub(crate) fn run(run: &Path) -> Result<u8> {
    if !run.join(MANIFEST).is_file() {
        return Err(Failure::Input {
            problem: format!("{}: expected the directory of a run, found no {MANIFEST} there", run.display()),
            hint: "`midcourse eval --out DIR` makes one".into(),
        }
        .into());
    }
    let dir = RunDir::open(run, Opening::Resume)?;
    crate::pages::write(&dir)?;
    print(&crate::pages::terminal(run)?);
    say(&format!("report: {}", dir.file("report.html").display()));
    Ok(0)
}
