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
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::template::Tokenizer;
use midcourse_core::train::Example;

pub(crate) use accelerate::Accelerate;
pub(crate) use base::Base;
pub(crate) use launch::Launch;
pub(crate) use relay::Seen;
pub(crate) use settings::Settings;
pub(crate) use settings::{Adam, Lora};

use crate::signals::Signals;
use crate::storage::{at, write_whole};

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

/// An adapter as PEFT wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trained {
    /// `adapter_config.json`.
    pub config: String,
    /// `adapter_model.safetensors`.
    pub weights: Vec<u8>,
}

impl HandOver<'_> {
    /// Writes `trl/` into the directory of a run; the same training gives the same bytes.
    pub(crate) fn write(&self, run: &Path) -> Result<()> {
        let dir = run.join(DIR);
        let data = dir.join("data");
        fs::create_dir_all(&data).map_err(at(&data))?;
        let trained: BTreeSet<usize> = self.data.steps.iter().flatten().copied().collect();
        let rows = |trees: Vec<usize>| rows::lines(&self.data, &trees, &self.settings.objective);
        write_whole(&data.join("train.jsonl"), &rows(trained.into_iter().collect())?)?;
        if !self.data.held_out.is_empty() {
            write_whole(&data.join("eval.jsonl"), &rows(self.data.held_out.to_vec())?)?;
        }
        let settings = self.settings.json(&self.base, self.data.steps)?;
        let texts = [
            (SETTINGS, settings),
            (SCRIPT, include_str!("train.py").to_owned()),
            (ACCELERATE, self.accelerate.yaml()?),
            (REQUIREMENTS, include_str!("requirements.txt").to_owned()),
            ("README.md", include_str!("README.md").to_owned()),
        ];
        for (name, text) in texts {
            write_whole(&dir.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// Runs what was written, from its newest checkpoint where there is one, until it ends or a signal comes. `seen` is
    /// told of every line of the log; the run's `train.jsonl` and `eval.jsonl` hold them all.
    ///
    /// # Errors
    /// When Python or a package is missing, when the training fails, and when a signal has come.
    pub(crate) fn launch(
        &self,
        run: &Path,
        launch: &Launch<'_>,
        seen: &mut dyn FnMut(&Seen),
    ) -> Result<Trained> {
        launch.check()?;
        launch.run(run, self.data, seen)?;
        let adapter = run.join(DIR).join("adapter");
        let read = |name: &str| -> Result<(PathBuf, Vec<u8>)> {
            let path = adapter.join(name);
            let bytes = fs::read(&path).map_err(at(&path))?;
            Ok((path, bytes))
        };
        let (path, config) = read("adapter_config.json")?;
        let config = String::from_utf8(config)
            .map_err(|error| at(&path)(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
        Ok(Trained { config, weights: read("adapter_model.safetensors")?.1 })
    }
}

/// Passes signals on to what was launched, and ends with the run's own failure.
fn stopped(signals: &Signals, run: &Path) -> Option<anyhow::Error> {
    let hint = format!("go on with it by adding --resume --out {}", run.display());
    signals.failure(hint).map(Into::into)
}
