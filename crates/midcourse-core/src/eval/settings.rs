//! The settings that decide what an evaluation means.

use serde::{Deserialize, Serialize};

use super::Opener;
use crate::engine::Sampling;
use crate::metrics::Settings;
use crate::template::{Framing, Mode};
use crate::{Error, Result};

/// What a prefix length counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Tokens of the response.
    #[default]
    Tokens,
    /// Whitespace-separated words, as the released scripts count.
    Words,
}

impl Unit {
    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Words => "words",
        }
    }
}

/// Whether a path stops growing once the judge has seen it turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EarlyStop {
    /// Every path grows to its end.
    #[default]
    Off,
    /// A path stops when it has turned; verdicts are the same.
    On,
}

/// Everything that decides which paths are sampled and how.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalSettings {
    /// Lengths of the forced prefixes, ascending; 0 is the plain answer.
    pub prefix_lengths: Vec<usize>,
    /// What a length counts.
    pub unit: Unit,
    /// Text put before every response.
    pub opener: Opener,
    /// What stands after the prefix.
    pub mode: Mode,
    /// What stands around prompt and response.
    pub framing: Framing,
    /// Paths a prefix.
    pub paths: usize,
    /// How tokens are drawn, and how many.
    pub sampling: Sampling,
    /// Whether paths stop once they have turned.
    pub early_stop: EarlyStop,
    /// Seed of the run.
    pub seed: u64,
}

impl EvalSettings {
    /// The settings as `scores.json` shows them.
    pub fn for_scores(&self) -> Settings {
        Settings {
            prefix_lengths: self.prefix_lengths.clone(),
            temperature: self.sampling.temperature,
            top_p: self.sampling.top_p,
            opener: self.opener.clone().into(),
            early_stop: self.early_stop == EarlyStop::On,
            system: self.framing.system.clone().into(),
            thinking: self.framing.thinking.clone().into(),
            seed: self.seed,
        }
    }

    /// Refuses settings that make no sense.
    pub fn check(&self) -> Result<()> {
        let refuse =
            |field, problem: String, hint: &str| Err(Error::Setting { field, problem, hint: hint.into() });
        if self.prefix_lengths.is_empty() {
            return refuse(
                "prefix-lengths",
                "expected at least one length, found none".into(),
                "for instance 10..80:10",
            );
        }
        let pairs = self.prefix_lengths.iter().zip(self.prefix_lengths.iter().skip(1));
        if let Some((first, second)) = pairs.into_iter().find(|(first, second)| first >= second) {
            let problem = format!("expected ascending lengths, found {first} before {second}");
            return refuse("prefix-lengths", problem, "name every length once, shortest first");
        }
        if self.paths == 0 || self.paths > 100_000 {
            return refuse(
                "paths",
                format!("expected 1 to 100000, found {}", self.paths),
                "the paper takes 20",
            );
        }
        self.sampling.check()
    }
}
