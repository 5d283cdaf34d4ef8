//! `midcourse synth`: from options and rows to a directory of rankings.
//!
//! What a ranking is and which answers are kept is decided in `midcourse-core`; here samples are read and excluded
//! ([`outset`]), answers are grown and judged in windows ([`run`], [`growing`]), and shards are joined ([`merge`]).
//! A directory is finished in one way, whether it was grown or joined: [`finish`].

mod finish;
mod foretell;
mod growing;
mod manifest;
mod merge;
mod options;
mod outset;
mod run;

pub(crate) use finish::{Made, finish, n_failed};
pub(crate) use foretell::foretell;
pub(crate) use manifest::{SynthManifest, is_there, read_manifest};
pub(crate) use merge::merge;
pub(crate) use options::{SynthOptions, SynthPlan};
pub(crate) use outset::{Sources, read};
pub(crate) use run::{SynthRun, assemble, is_grown, resume_hint};

/// What it costs to have harmful rankings only.
pub(crate) const WITHOUT_CONTRAST: &str = "without --benign there are no contrast rankings: the pairs teach to turn \
    always, not to turn when it is wrong; add harmless prompts, those that look alarming above all";

/// Files of a directory, beside those that every run has.
pub(crate) const RANKINGS: &str = "rankings.jsonl";
pub(crate) const DROPPED: &str = "dropped.jsonl";
pub(crate) const CANDIDATES: &str = "candidates.jsonl";
pub(crate) const JUDGEMENTS: &str = crate::run_dir::JUDGEMENTS;
/// The record files, in the order in which a window writes them.
pub(crate) const RECORDS: [&str; 4] = [CANDIDATES, JUDGEMENTS, DROPPED, RANKINGS];
/// Where windows lie until the directory is finished.
pub(crate) const PARTS: &str = "parts";
