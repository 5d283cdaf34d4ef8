//! What is grown for a ranking: the paths of one answer, before any of them is chosen.

use serde::{Deserialize, Serialize};

use crate::engine::{Finish, TokenId};
use crate::eval::Set;

/// Which answer of a sample a path is grown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Slot {
    /// The model's own answer: a refusal perhaps, or the helpful response of a row without one.
    Answer,
    /// The model's answer after a refusal opener.
    Opened,
    /// The correction that leaves the response at cut i, counted from 1.
    Correction(usize),
}

impl Slot {
    /// Its place among the slots of a sample.
    pub(super) fn place(self) -> usize {
        match self {
            Self::Answer => 0,
            Self::Opened => 1,
            Self::Correction(i) => i + 1,
        }
    }

    /// The slot at a place.
    pub(super) fn at(place: usize) -> Self {
        match place {
            0 => Self::Answer,
            1 => Self::Opened,
            i => Self::Correction(i - 1),
        }
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Answer => "answer".into(),
            Slot::Opened => "opened".into(),
            Slot::Correction(i) => format!("correction_{i}"),
        }
    }
}

impl TryFrom<String> for Slot {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match (name.as_str(), name.strip_prefix("correction_").and_then(|i| i.parse().ok())) {
            ("answer", _) => Ok(Self::Answer),
            ("opened", _) => Ok(Self::Opened),
            (_, Some(i)) if i > 0 => Ok(Self::Correction(i)),
            _ => Err(format!("expected answer, opened or correction_1, …, found {name:?}")),
        }
    }
}

/// A path that was grown for an answer, chosen or not: a line of `candidates.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Place of the sample among all of the run.
    pub index: usize,
    /// Which data.
    pub set: Set,
    /// The sample's id.
    pub sample: String,
    /// Which answer it is for.
    pub slot: Slot,
    /// Number of the path.
    pub candidate: usize,
    /// Its seed.
    pub seed: u32,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Growth,
}

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Growth {
    /// It has grown.
    Grown {
        /// The sampled tokens and nothing else.
        token_ids: Vec<TokenId>,
        /// Their text.
        text: String,
        /// Why it ended.
        finish: Finish,
    },
    /// The engine could not grow it.
    Failed {
        /// Why, in words.
        reason: String,
    },
}
