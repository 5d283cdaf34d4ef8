//! Pages of one benchmark run: every task's figures, and those of its groups.
//!
//! The figures are those of [`crate::bench`]'s summaries; no reply and no prompt is shown here.

#[cfg(test)]
mod fixture;
mod html;
mod markdown;
mod rows;
mod terminal;

pub use html::html;
pub use markdown::markdown;
pub use terminal::terminal;

use crate::bench::{BenchSummary, Kind};

/// What the pages of a benchmark run show.
#[derive(Debug, Clone)]
pub struct BenchReport<'a> {
    /// The model, as the user named it.
    pub model: &'a str,
    /// Directory of its adapter.
    pub adapter: Option<&'a str>,
    /// Every figure.
    pub summary: &'a BenchSummary,
    /// What cannot be promised of the run, in sentences.
    pub warnings: &'a [String],
    /// Settings and provenance, a name and a value each, in the order in which they are shown.
    pub details: Vec<(String, String)>,
}

impl BenchReport<'_> {
    /// The model and its adapter.
    fn name(&self) -> String {
        self.adapter.map_or_else(|| self.model.to_owned(), |adapter| format!("{} + {adapter}", self.model))
    }
}

/// What tasks of a kind measure, as a heading.
fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::General => "General ability",
        Kind::OverRefusal => "Refusals of harmless prompts",
        Kind::Jailbreak => "Resistance to attacks",
    }
}

/// How to read the figures of a kind.
fn how_to_read(kind: Kind) -> &'static str {
    match kind {
        Kind::General => {
            "Scored as lm-evaluation-harness scores these tasks. Whether two runs differ is told by midcourse compare, \
             item by item; intervals that overlap say little."
        }
        Kind::OverRefusal => "Harmless prompts that look harmful. Less refusal is better.",
        Kind::Jailbreak => "Attacks as their authors published them. Less success is better.",
    }
}

/// Every kind, in the order in which pages show them.
const KINDS: [Kind; 3] = [Kind::General, Kind::OverRefusal, Kind::Jailbreak];
