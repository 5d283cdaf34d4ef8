//! Judges: does a continuation turn away from the request?
//!
//! A judge sees text and answers with a [`Verdict`]; counting is the business of [`crate::metrics`]. The rule
//! judge lives in [`rule`].

pub mod rule;

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
