//! C²-Syn: ranked answers to a prompt, from a full response to it, and the preferences they make.
//!
//! A [`Ranking`] is what is recorded of one prompt; a [`Dropped`] says why there is none. [`pairs`] reads the
//! preferences off a ranking. Growing answers is an engine's business, judging them a judge's, writing to disk the
//! binary's.
//!
//! Source: Xu et al. 2024, section 4; where the released scripts differ is said at the line.

mod clauses;
mod cuts;
mod falling_back;
mod near;
mod pairs;
mod ranking;
mod script;
mod sentences;
mod triggers;

pub use cuts::{CutRule, TooFewClauses, cuts};
pub use falling_back::{Overlap, OverlapUnit, falls_back};
pub use near::{NEAR, Near, NearIndex};
pub use pairs::{Pair, pairs};
pub use ranking::{
    Answer, AnswerEnd, AnswerKind, Cut, Dropped, DroppedAnswer, Judged, Origin, Ranking, Reason,
};
pub use sentences::{ends_sentence, whole_sentences};
pub use triggers::{Triggers, joined};
