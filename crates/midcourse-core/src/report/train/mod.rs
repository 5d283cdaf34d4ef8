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
pub use markdown::markdown;

use crate::compare::Comparison;
use crate::metrics::Scores;
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
    pub scores: Option<[&'a Scores; 2]>,
    /// The trained model against the base in everything that was measured; none where nothing was.
    pub comparison: Option<&'a Comparison>,
    /// What was warned of, in sentences.
    pub warnings: &'a [String],
    /// Settings and provenance, a name and a value each, in the order in which they are shown.
    pub details: Vec<(String, String)>,
}
