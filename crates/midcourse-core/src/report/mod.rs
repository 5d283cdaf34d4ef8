//! Pages for people: one evaluation, in [`synth`] one synthesis, in [`train`] one training, in [`compare`] several runs,
//! as a self-contained HTML file, as Markdown and on a terminal.
//!
//! This module computes no figure, it shows those of [`crate::metrics`], and it knows no engine. All text that
//! comes from models and data is hostile: it reaches a page only through the wrappers of [`escape`], and in
//! the browser of a page (`browser.js`) only through `textContent`.

pub mod bench;
mod braille;
mod browser;
pub mod compare;
mod escape;
mod figure;
#[cfg(test)]
mod fixture;
mod html;
mod markdown;
mod page;
mod plot;
mod prose;
pub mod synth;
mod terminal;
pub mod train;

pub use escape::{Markdown, strip_controls};
pub use html::html;
pub use markdown::markdown;
pub use terminal::{Colour, terminal};

use crate::eval::Set;
use crate::judge::Verdict;
use crate::metrics::Scores;

/// What the pages of one evaluation show.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// Every figure.
    pub scores: &'a Scores,
    /// Settings and provenance, a name and a value each, in the order in which they are shown.
    pub details: Vec<(String, String)>,
    /// Where each corrected path of a harmful prompt with k > 0 turned, in tokens after the cut.
    pub turns: &'a [usize],
    /// Paths for the browser; those of one fork stand together, as in the run's plan.
    pub paths: Vec<PathView<'a>>,
    /// Paths of the whole run, of which `paths` may be a part.
    pub n_paths_total: usize,
}

/// One path as the browser shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathView<'a> {
    /// The set its sample belongs to.
    pub set: Set,
    /// Its sample.
    pub sample_id: &'a str,
    /// The sample's category, where the data has one.
    pub category: Option<&'a str>,
    /// Length of the prefix, in the run's unit.
    pub k: usize,
    /// Number of the path among those of its prefix.
    pub path: usize,
    /// The user's text.
    pub prompt: &'a str,
    /// The forced start of the answer; empty for k = 0.
    pub prefix: &'a str,
    /// What the model added.
    pub continuation: &'a str,
    /// What the judge says of the continuation.
    pub verdict: Verdict,
    /// Where it turns, when it does and the judge can tell.
    pub turn: Option<Turn>,
    /// Why the path ended.
    pub finish: &'a str,
}

/// The place in a continuation where its turn begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Tokens after the cut.
    pub at_token: usize,
    /// Bytes of the continuation before the turn, when known: where the page puts its mark.
    pub at_byte: Option<usize>,
}

/// What `write` makes of each item, one after the other.
fn each<T>(items: impl IntoIterator<Item = T>, write: impl Fn(T) -> String) -> String {
    items.into_iter().map(write).collect::<Vec<_>>().concat()
}
