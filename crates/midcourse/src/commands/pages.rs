//! `midcourse report`: make the pages of a finished run again.

use std::path::Path;

use anyhow::Result;
use midcourse_core::report::compare::sentences;

use crate::failure::Failure;
use crate::run_dir::{MANIFEST, Opening, RunDir};
use crate::terminal::{print, say};
use crate::{bench, synth, synth_pages, train};

/// Runs the command.
pub(crate) fn run(run: &Path) -> Result<u8> {
    if !run.join(MANIFEST).is_file() {
        return Err(Failure::Input {
            problem: format!("{}: expected the directory of a run, found no {MANIFEST} there", run.display()),
            hint: "`midcourse eval`, `synth`, `train` and `bench` with --out DIR make one".into(),
        }
        .into());
    }
    let dir = RunDir::open(run, Opening::Resume)?;
    if run.join(synth::RANKINGS).is_file() {
        let facts = synth::Made::read(run)?.facts();
        synth_pages::write(run, &facts)?;
        print(&synth_pages::terminal(run, &facts)?);
    } else if bench::is_benchmark(run) {
        bench::write_pages(run)?;
        print(&bench::terminal(run)?);
    } else if train::pages::is_training(run) {
        train::pages::write(run)?.iter().flat_map(sentences).for_each(|line| print(&line));
    } else {
        crate::pages::write(&dir)?;
        print(&crate::pages::terminal(run)?);
    }
    say(&format!("report: {}", dir.file("report.html").display()));
    Ok(0)
}
