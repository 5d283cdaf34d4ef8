//! `midcourse train`: from preferences to an adapter.
//!
//! What an example is, what an objective asks of it and in which order examples come is decided in `midcourse-core`;
//! gradients are the engine's. Here data are read ([`inputs`]) and laid out ([`course`]), the loop runs ([`run`]) over
//! whatever learns ([`learner`]), or TRL is handed everything ([`by_trl`], [`trl`]), and everything is on disk in a form that survives being killed ([`checkpoint`],
//! [`log`], [`adapter`]).

mod adapter;
mod by_trl;
mod card;
mod checkpoint;
mod course;
mod diverged;
mod evaluation;
mod finish;
mod foretell;
mod inputs;
mod learner;
mod local;
mod log;
mod manifest;
mod notes;
mod options;
pub(crate) mod pages;
mod reference;
mod run;
mod session;
mod settings;
mod targets;
mod tensorboard;
mod tensors;
#[cfg(test)]
mod tests;
pub(crate) mod trl;
mod watch;

use std::path::Path;

pub(crate) use by_trl::ByTrl;
pub(crate) use course::{Course, LaidOut};
pub(crate) use evaluation::{measure, refuse_trained};
pub(crate) use finish::finish;
pub(crate) use foretell::Foretold;
pub(crate) use inputs::read;
pub(crate) use manifest::{TrainManifest, read_manifest};
pub(crate) use options::{Engine, TrainOptions, TrainPlan};
pub(crate) use run::Ended;
pub(crate) use session::{Made, TrainRun};

/// What was dropped, a record each.
pub(crate) const DROPPED: &str = "dropped.jsonl";

/// How to go on with what was stopped.
pub(crate) fn resume_hint(dir: &Path) -> String {
    format!("go on with `midcourse train --resume --out {}`", dir.display())
}
