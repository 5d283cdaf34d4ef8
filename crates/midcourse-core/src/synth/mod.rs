//! C²-Syn: ranked answers to a prompt, from a full response to it, and the preferences they make.
//!
//! A [`Ranking`] is what is recorded of one prompt; a [`Dropped`] says why there is none. [`pairs`] reads the
//! preferences off a ranking. Growing answers is an engine's business, judging them a judge's, writing to disk the
//! binary's.
//!
//! Source: Xu et al. 2024, section 4; where the released scripts differ is said at the line.

#[cfg(test)]
pub(crate) mod fixture;
mod leak;
mod pairs;
mod ranking;
mod summary;

pub use leak::{
    Accuracies, Accuracy, Cue, CueAccuracy, LEAK_ABOVE, MAX_RANKINGS, StyleCheck, StyleLeak, Telling,
};
pub use pairs::{Pair, n_pairs, pairs};
pub use ranking::{
    Answer, AnswerEnd, AnswerKind, Cut, Dropped, DroppedAnswer, Judged, Origin, Ranking, Reason,
};
pub use summary::{CutSummary, KindSummary, N_BARS, SUMMARY_SCHEMA, SetSummary, Summary, Tally, Verdicts};
