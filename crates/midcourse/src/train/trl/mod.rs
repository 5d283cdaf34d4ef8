//! Training beyond one machine: the run is handed over to TRL on accelerate.
//!
//! A [`HandOver`] writes everything that a training needs into the run's `trl/`: the data as decisions in tokens, the
//! settings, a readable script, the configuration of accelerate. It launches the script, relays its log into the
//! run's own, and brings the adapter back. It trains nothing itself, and what it wrote can be carried to other machines
//! and launched there.
//!
//! Source: TRL 1.16, `DPOTrainer`; accelerate 1.15, `accelerate launch`. `docs/trl.md` says what was run.

mod accelerate;
mod base;
mod launch;
mod output;
mod relay;
mod rows;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use midcourse_core::template::Tokenizer;
use midcourse_core::train::Example;

pub(crate) use accelerate::{Accelerate, Device};
pub(crate) use base::Base;
pub(crate) use launch::{Launch, n_steps_done};
pub(crate) use relay::Seen;
pub(crate) use settings::{Adam, Lora, Settings};

use super::adapter::{self, Exported};
use crate::storage::{StorageError, at, write_whole};

/// Where the hand-over lies in a run.
pub(crate) const DIR: &str = "trl";
const SCRIPT: &str = "train.py";
const ACCELERATE: &str = "accelerate.yaml";
const SETTINGS: &str = "settings.json";
const REQUIREMENTS: &str = "requirements.txt";

/// A training as it is handed over.
pub(crate) struct HandOver<'a> {
    /// The model that is trained, as transformers loads it.
    pub base: Base,
    pub settings: Settings,
    pub data: Data<'a>,
    pub accelerate: Accelerate,
}

/// What is trained on.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    /// Turns the tokens of a row back into text, for those who read it.
    pub tokenizer: &'a dyn Tokenizer,
    /// Every tree; the others name them by their places.
    pub examples: &'a [&'a Example],
    /// The trees of every step of the whole training.
    pub steps: &'a [Vec<usize>],
    /// The trees by which the adapter that is kept is chosen; may be none.
    pub held_out: &'a [usize],
    /// How often the steps go through the data.
    pub n_epochs: usize,
}

impl HandOver<'_> {
    /// Writes `trl/` into the directory of a run; the same training gives the same bytes. What is there already is left
    /// as it is, so that what was changed in it counts; but for the processes, which a run that is resumed may change.
    pub(crate) fn write(&self, run: &Path) -> Result<()> {
        let dir = run.join(DIR);
        let data = dir.join("data");
        fs::create_dir_all(&data).map_err(at(&data))?;
        let trained: BTreeSet<usize> = self.data.steps.iter().flatten().copied().collect();
        let rows = |trees: Vec<usize>| rows::lines(&self.data, &trees, &self.settings.objective);
        write_new(&data.join("train.jsonl"), &rows(trained.into_iter().collect())?)?;
        if !self.data.held_out.is_empty() {
            write_new(&data.join("eval.jsonl"), &rows(self.data.held_out.to_vec())?)?;
        }
        let settings = self.settings.json(&self.base, self.data.steps)?;
        let texts = [
            (SETTINGS, settings),
            (SCRIPT, include_str!("train.py").to_owned()),
            (REQUIREMENTS, include_str!("requirements.txt").to_owned()),
            ("README.md", include_str!("README.md").to_owned()),
        ];
        for (name, text) in texts {
            write_new(&dir.join(name), text.as_bytes())?;
        }
        Ok(write_whole(&dir.join(ACCELERATE), self.accelerate.yaml()?.as_bytes())?)
    }

    /// Runs what was written, from its newest checkpoint where there is one, until it ends or a signal comes. `seen` is
    /// told of every line of the log; the run's `train.jsonl` and `eval.jsonl` hold them all.
    ///
    /// # Errors
    /// When the training fails, and when a signal has come.
    pub(crate) fn launch(
        &self,
        run: &Path,
        launch: &Launch<'_>,
        seen: &mut dyn FnMut(&Seen),
    ) -> Result<Exported> {
        launch.run(run, self.data, seen)?;
        let dir = run.join(DIR).join(adapter::DIR);
        let (config, weights) = (dir.join(adapter::CONFIG), dir.join(adapter::WEIGHTS));
        Ok(Exported {
            config: fs::read_to_string(&config).map_err(at(&config))?,
            weights: fs::read(&weights).map_err(at(&weights))?,
        })
    }
}

/// How to launch what was written.
pub(crate) fn ways_on(run: &Path) -> String {
    format!(
        "written: {}\nhere: {}\nelsewhere: `accelerate launch --config_file {ACCELERATE} {SCRIPT}` in a copy of it; its \
         README.md says more",
        run.join(DIR).display(),
        super::resume_hint(run)
    )
}

/// Writes a file that is not there.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    if path.exists() { Ok(()) } else { write_whole(path, bytes) }
}
