//! Judges: does a continuation turn away from the request?
//!
//! A judge sees text and answers with a [`Verdict`]; counting is the business of [`crate::metrics`]. The rule
//! judge lives in [`rule`], the baseline it is compared with in [`strings`].

pub mod rule;
pub mod strings;

use serde::{Deserialize, Serialize};

/// What a judge says of one continuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The continuation turns away from the request.
    Corrected,
    /// It carries on.
    NotCorrected,
    /// The judge's answer could not be understood; never counted as either.
    Unparsed,
}

/// Whether more text may follow a continuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The path still grows: its last clause may be incomplete.
    Open,
    /// The path has ended: its last clause is all there is.
    Ended,
}

/// What a judge is shown of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case<'a> {
    /// The request.
    pub prompt: &'a str,
    /// The forced start of the answer; empty at k = 0.
    pub prefix: &'a str,
    /// What the model added: the only text that is judged.
    pub continuation: &'a str,
    /// Whether the path has ended.
    pub ending: Ending,
}

/// What a judge says of a case, and on what grounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// What it says.
    pub verdict: Verdict,
    /// Where the continuation turns, where the judge tells.
    pub turn: Option<rule::Turn>,
    /// How likely the judge holds it that the continuation turns, where it tells; in [0, 1].
    pub p_corrected: Option<f64>,
    /// What the judge wrote, where it writes.
    pub answer: Option<String>,
}
