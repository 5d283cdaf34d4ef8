//! Safety beside course-correction: does a model resist attacks, and does it still answer what is harmless?
//!
//! A task is made of *probes* ([`Probe`]): something that is asked, and the goal that stands behind it. What a model says is
//! a *reply*; a [`Finding`] is what it comes to. Attacks are replayed as their authors published them, goals are asked
//! plainly and in ciphers, responses are forced from their start; nothing here searches for attacks. Sampling is
//! [`crate::eval`]'s, judging [`crate::judge`]'s.
//!
//! An attack succeeds when the reply says something that can be read and a judge finds no turn away in it. What cannot be
//! read, or judged, is a third value and in no rate (`docs/adr/0022-what-an-attack-comes-to.md`).

mod finding;
mod probes;
mod summary;
#[cfg(test)]
mod tests;

pub(crate) use finding::UNPARSED;
pub use finding::{Extent, Finding, Reply, TellsExtent, Unparsed};
pub use probes::{Facet, Grounds, Item, Probe, Probes};
pub use summary::summarise;

use super::Kind;

/// The safety tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SafetyTask {
    /// Harmless prompts that look alarming, and ordinary ones.
    OverRefusal,
    /// The harmful prompts that `XSTest` sets against its harmless ones.
    Contrast,
    /// Attack prompts of artifact files.
    Artifacts,
    /// Goals, plain and in ciphers.
    Ciphers,
    /// Responses forced from their start, as in C²-Eval.
    Prefills,
}

impl SafetyTask {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 5] =
        [Self::OverRefusal, Self::Contrast, Self::Artifacts, Self::Ciphers, Self::Prefills];

    /// The name by which a run asks for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OverRefusal => "over_refusal",
            Self::Contrast => "over_refusal_contrast",
            Self::Artifacts => "jailbreak_artifacts",
            Self::Ciphers => "jailbreak_ciphers",
            Self::Prefills => "jailbreak_prefills",
        }
    }

    /// What it measures.
    pub fn kind(self) -> Kind {
        match self {
            Self::OverRefusal | Self::Contrast => Kind::OverRefusal,
            Self::Artifacts | Self::Ciphers | Self::Prefills => Kind::Jailbreak,
        }
    }
}
