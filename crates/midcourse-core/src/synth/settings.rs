//! The settings that decide what a synthesis makes.

use serde::{Deserialize, Serialize};

use super::cuts::CutRule;
use super::triggers::Triggers;
use crate::engine::Sampling;
use crate::eval::{Opener, Set};
use crate::template::Framing;
use crate::{Error, Result};

/// Everything that decides which answers are grown and which are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthSettings {
    /// Places at which a response is cut; a ranking has two answers more.
    pub n_cuts: usize,
    /// How the places are chosen.
    pub cut_rule: CutRule,
    /// Text that answers begin with.
    pub opener: OpenerPolicy,
    /// Where refusals come from.
    pub safe_response: SafeResponse,
    /// Paths grown for every answer; the first that passes is kept.
    pub candidates: usize,
    /// How tokens are drawn, and how many.
    pub sampling: Sampling,
    /// What becomes of a ranking that lost a rank.
    pub completeness: Completeness,
    /// What stands around prompt and answer.
    pub framing: Framing,
    /// Texts that begin a correction.
    pub triggers: Triggers,
    /// Texts that begin a refusal.
    pub refusals: Triggers,
    /// Seed of the run.
    pub seed: u64,
}

/// Text that answers begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum OpenerPolicy {
    /// Nothing: responses as the data has them.
    #[default]
    None,
    /// All answers of a ranking begin with the same one of 15 sentences, chosen by the run's seed.
    Shared,
    /// As in the released scripts: corrections begin with one of 15 sentences, the refusal and the whole response
    /// do not.
    Released,
    /// All answers begin with this text.
    Text(String),
}

impl OpenerPolicy {
    /// The opener of one sample; `chance` is any number that depends on run and sample.
    pub(super) fn choose(&self, chance: u64) -> String {
        match self {
            Self::None => String::new(),
            Self::Shared | Self::Released => Opener::Random.choose(chance).to_owned(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl From<String> for OpenerPolicy {
    fn from(text: String) -> Self {
        match text.trim() {
            "none" | "" => Self::None,
            "shared" => Self::Shared,
            "released" => Self::Released,
            text => Self::Text(text.trim().to_owned()),
        }
    }
}

impl From<OpenerPolicy> for String {
    fn from(opener: OpenerPolicy) -> Self {
        match opener {
            OpenerPolicy::None => "none".into(),
            OpenerPolicy::Shared => "shared".into(),
            OpenerPolicy::Released => "released".into(),
            OpenerPolicy::Text(text) => text,
        }
    }
}

/// Where the refusal of a ranking comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SafeResponse {
    /// The row; else the model's own answer, if it refuses; else the model after a refusal opener.
    #[default]
    Auto,
    /// The row only.
    Column,
    /// The model's own answer only.
    Model,
    /// The model after a refusal opener only.
    Opened,
}

/// Where a refusal can come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Row,
    Model,
    Opened,
}

impl SafeResponse {
    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Column => "column",
            Self::Model => "model",
            Self::Opened => "opened",
        }
    }

    /// The sources that are tried, in this order. Rows of the harmless file have no refusal of their own: a safe
    /// response to a harmless prompt is a helpful one.
    pub(super) fn sources(self, set: Set) -> &'static [Source] {
        match (self, set) {
            (Self::Auto, Set::Harmful) => &[Source::Row, Source::Model, Source::Opened],
            (Self::Auto, Set::Benign) => &[Source::Model, Source::Opened],
            (Self::Column, Set::Harmful) => &[Source::Row],
            (Self::Model, _) => &[Source::Model],
            (Self::Opened, _) | (Self::Column, Set::Benign) => &[Source::Opened],
        }
    }
}

/// What becomes of a ranking that lost a rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Completeness {
    /// It yields the pairs that remain.
    #[default]
    Any,
    /// It is dropped.
    All,
}

/// The most cuts: rankings beyond are not rankings of answers but of words.
const MAX_CUTS: usize = 32;
/// The most candidates.
const MAX_CANDIDATES: usize = 1024;

impl SynthSettings {
    /// Checks that the settings make sense.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field, problem: String, hint: &str| Err(Error::Setting { field, problem, hint: hint.into() });
        if !(1..=MAX_CUTS).contains(&self.n_cuts) {
            let problem = format!("expected 1 to {MAX_CUTS}, found {}", self.n_cuts);
            return wrong("cuts", problem, "the paper has 4");
        }
        if !(1..=MAX_CANDIDATES).contains(&self.candidates) {
            let problem = format!("expected 1 to {MAX_CANDIDATES}, found {}", self.candidates);
            return wrong("candidates", problem, "a handful is enough; one is kept of each answer");
        }
        if self.candidates > 1 && self.sampling.temperature == 0.0 {
            let problem = format!("{} greedy candidates are all the same", self.candidates);
            return wrong("candidates", problem, "give --decoding sample, or one candidate");
        }
        self.sampling.check()
    }

    /// Answers of a whole ranking.
    pub fn n_answers(&self) -> usize {
        self.n_cuts + 2
    }

    /// Pairs of a whole ranking.
    pub fn n_pairs(&self) -> usize {
        self.n_answers() * (self.n_answers() - 1) / 2
    }
}
