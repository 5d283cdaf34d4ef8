//! C²-Syn: ranked answers to a prompt, from a full response to it, and the preferences they make.
//!
//! A [`Draft`] is a ranking in the making, laid out by a [`Planner`]; [`Candidate`]s are what was grown for it. A
//! [`Ranking`] is what is recorded of one prompt; a [`Dropped`] says why there is none. [`pairs`] reads the
//! preferences off a ranking; a [`Tally`] counts what was made and lost, and a [`StyleCheck`] asks whether style alone
//! tells chosen from rejected. Growing answers is an engine's business, judging them a judge's, writing to disk the
//! binary's.
//!
//! Source: Xu et al. 2024, section 4; where the released scripts differ is said at the line.

mod candidate;
mod clauses;
mod cuts;
mod draft;
mod falling_back;
#[cfg(test)]
pub(crate) mod fixture;
mod leak;
mod near;
mod pairs;
mod planner;
mod ranking;
mod script;
mod sentences;
mod settings;
mod summary;
#[cfg(test)]
mod tests;
mod triggers;

pub use candidate::{Candidate, Growth, Slot};
pub use cuts::{CutRule, TooFewClauses, cuts};
pub use draft::{Asked, Draft, Evidence, Heard};
pub use falling_back::{Overlap, OverlapUnit, falls_back};
pub use leak::{
    Accuracies, Accuracy, Cue, CueAccuracy, LEAK_ABOVE, MAX_RANKINGS, StyleCheck, StyleLeak, Telling,
};
pub use near::{Near, NearIndex};
pub use pairs::{Pair, n_pairs, pairs};
pub use planner::Planner;
pub use ranking::{
    Answer, AnswerEnd, AnswerKind, Cut, Dropped, DroppedAnswer, Judged, Origin, Ranking, Reason,
};
pub use sentences::{ends_sentence, whole_sentences};
pub use settings::{Completeness, OpenerPolicy, SafeResponse, SynthSettings};
pub use summary::{CutSummary, KindSummary, N_BARS, SUMMARY_SCHEMA, SetSummary, Summary, Tally, Verdicts};
pub use triggers::{Triggers, joined};
