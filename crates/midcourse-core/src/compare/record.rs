//! The shape of `compare.json`.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::measure::Measure;
use crate::metrics::Difference;

/// Names the shape of [`Comparison`].
pub const SCHEMA: &str = "midcourse.compare/1";

/// Runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// The baseline first.
    pub runs: Vec<RunSummary>,
    /// All measures that any run has.
    pub measures: Vec<Measure>,
    /// Every run after the first against the first.
    pub comparisons: Vec<Compared>,
    /// Every gate for every run after the first.
    pub gates: Vec<GateResult>,
}

impl Comparison {
    /// A measure by its name.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }
}

/// A run and what it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub sources: Vec<String>,
    /// Its figures, over everything that it has.
    pub values: Vec<Told>,
}

impl RunSummary {
    /// Its figure of a measure.
    pub fn value(&self, measure: &str) -> Option<&Told> {
        self.values.iter().find(|told| told.measure == measure)
    }

    /// Corr@k by k, ascending, as a curve shows it.
    pub fn curve(&self) -> Vec<CurvePoint<'_>> {
        let at = |told| Some(CurvePoint { k: Told::k(told)?, told });
        let mut points: Vec<_> = self.values.iter().filter_map(at).collect();
        points.sort_by_key(|point| point.k);
        points
    }
}

/// Corr@k at one length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint<'a> {
    /// The length.
    pub k: usize,
    /// The figure.
    pub told: &'a Told,
}

/// A figure as a run tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The measure's name.
    pub measure: String,
    /// The figure.
    pub value: f64,
    /// Its 95 % interval.
    pub ci: [f64; 2],
    /// Judged paths, or items.
    pub n: usize,
}

impl Told {
    /// The length of which it is Corr@k.
    fn k(&self) -> Option<usize> {
        self.measure.strip_prefix("corr@")?.parse().ok()
    }
}

/// One run against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The run's name.
    pub run: String,
    /// The baseline's name.
    pub baseline: String,
    /// Measures that could be compared.
    pub changes: Vec<Change>,
    /// Those that could not.
    pub not_compared: Vec<NotCompared>,
}

impl Compared {
    /// The change of a measure.
    pub fn change(&self, measure: &str) -> Option<&Change> {
        self.changes.iter().find(|change| change.measure == measure)
    }
}

/// By how much a measure differs from the baseline's, over what both runs have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The measure's name.
    pub measure: String,
    /// The run less the baseline.
    #[serde(flatten)]
    pub difference: Difference,
    /// `p` corrected for the number of measures of this pair of runs (Holm).
    pub p_holm: f64,
    /// How clear it is.
    pub clarity: Clarity,
    /// Prompts or items that only one of the runs has a value for.
    pub n_unpaired: usize,
}

/// How clear a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clarity {
    /// Clearly to the good, also among all measures.
    Better,
    /// Clearly to the bad, also among all measures.
    Worse,
    /// Clear if it were the only measure, but not among so many.
    Alone,
    /// No change detected.
    No,
}

/// A measure that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCompared {
    /// The measure's name.
    pub measure: String,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Why a measure could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// The other run has not measured it.
    OnlyInBaseline,
    /// The baseline has not measured it.
    OnlyHere,
    /// It means something else in the other run.
    Differs {
        /// What differs.
        field: String,
        /// In the baseline.
        baseline: String,
        /// In the other run.
        run: String,
    },
    /// No prompt or item has a value in both runs.
    NoPairs,
    /// Too few differ for an interval of a figure without bounds.
    TooFew {
        /// Items or clusters of them.
        n: usize,
    },
}

impl Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyInBaseline => f.write_str("only the baseline has it"),
            Self::OnlyHere => f.write_str("the baseline does not have it"),
            Self::Differs { field, baseline, run } => {
                write!(f, "{field} differs: the baseline has {baseline}, this run {run}")
            }
            Self::NoPairs => f.write_str("no prompt or item has a value in both runs"),
            Self::TooFew { n } => {
                write!(f, "{n} items are too few for an interval of a figure without bounds")
            }
        }
    }
}

/// What a gate says of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// The gate as it was given.
    pub gate: String,
    /// The run.
    pub run: String,
    /// Whether it is met.
    pub outcome: GateOutcome,
    /// What was held against it, in points or the measure's own unit; null where nothing could be.
    pub found: Option<f64>,
    /// Why nothing could be; null otherwise.
    pub reason: Option<String>,
}

/// Whether a gate is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcome {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// The measure cannot be compared in this run, which counts as missed.
    Untold,
}
