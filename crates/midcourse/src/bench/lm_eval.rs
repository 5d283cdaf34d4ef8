//! The files of lm-evaluation-harness in a run's directory: results, and samples of every task.
//!
//! Its file names hold a date; records here hold no times, so `midcourse` stands in its place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::bench::LmEvalResults;

use super::BenchManifest;
use crate::run_dir::pretty;
use crate::storage::{at, write_whole};

/// Their directory in a run.
const DIR: &str = "lm-eval";
/// What stands in the place of a date.
const NAME: &str = "midcourse";

/// The files of a run in the making.
pub(crate) struct LmEvalFiles {
    dir: PathBuf,
    pub results: LmEvalResults,
    n_tasks: usize,
}

impl LmEvalFiles {
    pub(crate) fn new(run: &Path, manifest: &BenchManifest) -> Self {
        let name = &manifest.model.name;
        let model = manifest
            .adapter
            .as_ref()
            .map_or_else(|| name.clone(), |adapter| format!("{name},peft={adapter}"));
        let limit = manifest.tasks.iter().find_map(|task| task.identity.get("limit")?.parse().ok());
        Self { dir: run.join(DIR), results: LmEvalResults::new(&model, limit), n_tasks: 0 }
    }

    /// Writes the samples of a task, a line each.
    pub(crate) fn write_samples(&mut self, task: &str, lines: &str) -> Result<()> {
        // Groups are named by rows.
        let plain = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '-' };
        let task: String = task.chars().map(plain).take(100).collect();
        fs::create_dir_all(&self.dir).map_err(at(&self.dir))?;
        self.n_tasks += 1;
        Ok(write_whole(&self.dir.join(format!("samples_{task}_{NAME}.jsonl")), lines.as_bytes())?)
    }

    /// Writes the results, where there are any.
    pub(crate) fn finish(self) -> Result<()> {
        if self.n_tasks == 0 {
            return Ok(());
        }
        let text = pretty(&self.results.into_json())?;
        Ok(write_whole(&self.dir.join(format!("results_{NAME}.json")), text.as_bytes())?)
    }
}
