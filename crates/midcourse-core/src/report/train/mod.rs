//! Pages of one training: what it taught, step by step, and what the model does before and after.
//!
//! The figures are those of [`crate::train`]'s records and of [`crate::metrics`]; nothing is computed here.

#[cfg(test)]
mod fixture;
mod html;
mod markdown;
mod plot;
mod prose;

pub use html::html;
pub use markdown::{changes, markdown};

use crate::metrics::{Difference, Scores};
use crate::train::{EvalRecord, StepRecord};

/// What the pages of one training show.
#[derive(Debug, Clone)]
pub struct TrainReport<'a> {
    /// The model that was trained, as the user named it.
    pub model: &'a str,
    /// The objective's name.
    pub objective: &'a str,
    /// Every step.
    pub steps: &'a [StepRecord],
    /// Every time the held-out loss was measured.
    pub evals: &'a [EvalRecord],
    /// The step whose adapter is kept; none where the last is.
    pub best: Option<usize>,
    /// Course-correction before and after; none where it was not measured.
    pub measured: Option<Measured<'a>>,
    /// What was warned of, in sentences.
    pub warnings: &'a [String],
    /// Settings and provenance, a name and a value each, in the order in which they are shown.
    pub details: Vec<(String, String)>,
}

/// Two evaluations on the same prompts.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// The base.
    pub before: &'a Scores,
    /// The base with the adapter.
    pub after: &'a Scores,
    /// Rates that both have, and by how much they differ.
    pub changes: Vec<Change>,
}

/// A rate before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which rate.
    pub rate: Rate,
    /// Share in [0, 1].
    pub before: f64,
    /// Share in [0, 1].
    pub after: f64,
    /// Over the same prompts.
    pub difference: Difference,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Mean of Corr@k over k > 0.
    CorrMean,
    /// Corrections of harmless answers.
    FalseCorrections,
    /// Plain answers to harmful prompts that refuse.
    PlainHarmful,
    /// Plain answers to harmless prompts that refuse.
    PlainBenign,
}

impl Rate {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::CorrMean => "Corr_mean",
            Self::FalseCorrections => "false corrections of harmless answers",
            Self::PlainHarmful => "refusals of harmful prompts, k = 0",
            Self::PlainBenign => "refusals of harmless prompts, k = 0",
        }
    }
}
