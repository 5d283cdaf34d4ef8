//! Which pairs are trained on and which are kept for tests: by prompt, so that no prompt is in both.

use midcourse_core::chat::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Split {
    Train,
    Test,
}

impl Split {
    /// Every split, in the order in which they are named.
    pub(crate) const ALL: [Self; 2] = [Self::Train, Self::Test];

    /// The name that `datasets` knows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// Which splits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SplitChoice {
    Train,
    Test,
    All,
}

impl SplitChoice {
    /// Whether a split is among them.
    pub(crate) fn holds(self, split: Split) -> bool {
        match self {
            Self::Train => split == Split::Train,
            Self::Test => split == Split::Test,
            Self::All => true,
        }
    }
}

/// The share of prompts that are kept for tests, from 0 up to but not including 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub(crate) struct TestShare(f64);

impl Default for TestShare {
    fn default() -> Self {
        Self(0.1)
    }
}

impl std::str::FromStr for TestShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.parse().ok().and_then(|share: f64| share.try_into().ok());
        share.ok_or_else(|| format!("expected a number from 0 to less than 1, found {text}"))
    }
}

impl TryFrom<f64> for TestShare {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        let is_share = (0.0..1.0).contains(&share);
        is_share
            .then_some(Self(share))
            .ok_or_else(|| format!("expected a number from 0 to less than 1, found {share}"))
    }
}

impl From<TestShare> for f64 {
    fn from(share: TestShare) -> Self {
        share.0
    }
}

impl std::fmt::Display for TestShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl TestShare {
    /// The split of a prompt: what its SHA-256 says, whatever other prompts there are.
    ///
    /// Role and text of every message stand after their lengths in bytes (8 bytes, little-endian). The first 53 bits
    /// of the hash are a number from 0 to 1, exactly; below the share it is a test.
    pub(crate) fn split(self, prompt: &[Message]) -> Split {
        let mut hash = Sha256::new();
        for text in prompt.iter().flat_map(|message| [message.role.name(), &message.content]) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let bits = hash.finalize().iter().take(8).fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        let place = (bits >> 11) as f64 / (1_u64 << 53) as f64;
        if place < self.0 { Split::Test } else { Split::Train }
    }
}
