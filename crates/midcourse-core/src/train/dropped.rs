//! What cannot be trained on, and why: nothing is left out without a record.

use serde::{Deserialize, Serialize};

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The sample's id.
    pub sample: String,
    /// How much of it.
    pub what: Lost,
    /// Why.
    pub reason: DropReason,
    /// More, in words; empty for nothing.
    pub detail: String,
    /// Pairs that are lost by it and by no earlier one.
    pub n_pairs: usize,
}

/// How much is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// A pair.
    Pair,
    /// An answer, with its pairs.
    Answer,
    /// A prompt, with all its answers.
    Prompt,
}

/// Why something cannot be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Of a pair: chosen and rejected are the same to the model.
    SameSides,
    /// It says nothing.
    Empty,
    /// It has more tokens than `--max-tokens`; of a prompt, it leaves no room for an answer.
    TooLong,
    /// Of a prompt: what is left of its answers makes no pair.
    NoPairs,
    /// The template or the tokenizer cannot write it.
    Unwritable,
}

impl Lost {
    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Answer => "answer",
            Self::Prompt => "prompt",
        }
    }
}

impl DropReason {
    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SameSides => "same_sides",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::NoPairs => "no_pairs",
            Self::Unwritable => "unwritable",
        }
    }
}
