//! Pages of one synthesis: what was made and lost, whether style alone tells it, and some rankings to look at.
//!
//! The figures are those of [`crate::synth::Summary`]. Rankings are on the HTML page only, hidden until they are opened.

#[cfg(test)]
mod fixture;
mod html;
mod markdown;
mod plot;
mod prose;
mod rows;
mod terminal;

pub use html::html;
pub use markdown::markdown;
pub use terminal::terminal;

use crate::synth::{Ranking, Summary};

/// What the pages of one synthesis show.
#[derive(Debug, Clone)]
pub struct SynthReport<'a> {
    /// The name of the model that wrote the answers.
    pub model: &'a str,
    /// Every figure.
    pub summary: &'a Summary,
    /// Settings and provenance, a name and a value each, in the order in which they are shown.
    pub details: Vec<(String, String)>,
    /// What cannot be promised of this run, in sentences.
    pub caveats: Vec<String>,
    /// Rankings for the browser, a part of the run's.
    pub examples: &'a [Ranking],
}
