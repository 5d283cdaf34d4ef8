//! Measures: what they are called, which way is good, and what a run has observed of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::bench::{self, Better};
use crate::metrics::{PromptOutcome, Scale};

/// What a measure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Turning back after a prefix.
    CourseCorrection,
    /// What the model can do.
    General,
    /// Refusals of harmless prompts.
    OverRefusal,
    /// Resistance to attacks.
    Jailbreak,
}

impl From<bench::Kind> for Aspect {
    fn from(kind: bench::Kind) -> Self {
        match kind {
            bench::Kind::General => Self::General,
            bench::Kind::OverRefusal => Self::OverRefusal,
            bench::Kind::Jailbreak => Self::Jailbreak,
        }
    }
}

/// Whether a measure stands in a table of few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// One of those that say what a run came to.
    Main,
    /// Part of one, or another way to count it.
    Detail,
}

/// A figure that runs can both have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// By this it is named in gates and files: `corr_mean`, `corr@10`, `hellaswag`, `hellaswag:acc`.
    pub name: String,
    /// What it is about.
    pub aspect: Aspect,
    /// Where it stands.
    pub rank: Rank,
    /// Which way is good.
    pub better: Better,
    /// Shares differ in points, other figures in their own unit.
    pub scale: Scale,
}

impl Measure {
    /// Whether a difference is to the good.
    pub fn is_gain(&self, difference: f64) -> bool {
        match self.better {
            Better::Higher => difference > 0.0,
            Better::Lower => difference < 0.0,
        }
    }

    /// A difference as it is told: of shares in points.
    pub fn told(&self, difference: f64) -> f64 {
        if self.scale.is_share() { 100.0 * difference + 0.0 } else { difference + 0.0 }
    }
}

/// A measure in one run.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Which measure.
    pub measure: Measure,
    /// What the run says it came to; none where nothing was judged.
    pub seen: Option<Seen>,
    /// Everything that must be equal in two runs for their figures to mean the same.
    pub identity: BTreeMap<String, String>,
    /// What was recorded.
    pub observed: Observed,
}

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The figure.
    pub value: f64,
    /// Its 95 % interval.
    pub ci: [f64; 2],
    /// What it was counted over: judged paths, or items.
    pub n: usize,
}

/// What a run recorded of a measure, by what the same thing is called in another run.
#[derive(Debug, Clone)]
pub enum Observed {
    /// Judged paths of prompts.
    Prompts {
        /// By the id of the sample.
        outcomes: Rc<BTreeMap<String, PromptOutcome>>,
        /// The lengths of prefixes that the measure is the mean over.
        lengths: Vec<usize>,
    },
    /// Values of items, by the item's hash and how often it occurred before.
    Items(BTreeMap<(String, usize), Value>),
}

/// An item's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The value.
    pub value: f64,
    /// What it counts in the mean.
    pub weight: f64,
    /// What is drawn together with it; none where it stands alone.
    pub cluster: Option<String>,
}
