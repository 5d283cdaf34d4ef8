//! C²-Syn: ranked answers to a prompt, from a full response to it, and the preferences they make.
//!
//! A [`Draft`] is a ranking in the making, laid out by a [`Planner`]; [`Candidate`]s are what was grown for it. A
//! [`Ranking`] is what is recorded of one prompt; a [`Dropped`] says why there is none. [`pairs`] reads the
//! preferences off a ranking. Growing answers is an engine's business, judging them a judge's, writing to disk the
//! binary's.
//!
//! Source: Xu et al. 2024, section 4; where the released scripts differ is said at the line.

mod candidate;
mod cuts;
mod falling_back;
mod near;
mod sentences;
mod triggers;
pub use cuts::{CutRule, TooFewClauses};
pub use near::{Near, NearIndex};
pub use triggers::Triggers;
mod draft;
mod pairs;
mod planner;
mod ranking;
mod settings;
#[cfg(test)]
mod tests;

pub use candidate::{Candidate, Growth, Slot};
pub use draft::{Asked, Draft, Evidence, Heard};
pub use pairs::{Pair, pairs};
pub use planner::Planner;
pub use ranking::{
    Answer, AnswerEnd, AnswerKind, Cut, Dropped, DroppedAnswer, Judged, Origin, Ranking, Reason,
};
pub use settings::{Completeness, OpenerPolicy, SafeResponse, SynthSettings};
