//! A training to show in tests.

use std::sync::LazyLock;

use super::TrainReport;
use crate::compare::{self, Comparison};
use crate::metrics::Scores;
use crate::train::{EvalRecord, StepRecord};

static STEPS: LazyLock<Vec<StepRecord>> = LazyLock::new(|| (1..=4).map(step).collect());
static EVALS: LazyLock<Vec<EvalRecord>> = LazyLock::new(|| [0, 4].map(eval).to_vec());
static WARNINGS: LazyLock<Vec<String>> = LazyLock::new(|| vec!["step 3: something fell".into()]);

fn step(step: usize) -> StepRecord {
    StepRecord {
        step,
        loss: Some(0.7 / step as f64),
        rewards_accuracies: Some(0.2 * step as f64),
        first_turn_probability_harmful: Some(0.1 * step as f64),
        num_tokens: 100,
        num_tokens_distinct: 20,
        ..StepRecord::default()
    }
}

fn eval(step: usize) -> EvalRecord {
    EvalRecord {
        step,
        eval_loss: Some(0.693 - 0.1 * step as f64),
        eval_first_turn_probability_harmful: Some(0.05 + 0.1 * step as f64),
        ..EvalRecord::default()
    }
}

/// What a report is of.
pub(super) struct Fixture {
    scores: Scores,
    comparison: Comparison,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let comparison = compare::compare(&compare::fixture::runs()[..2], &[]).unwrap();
        Self { scores: super::super::fixture::scores(), comparison }
    }

    pub(super) fn report(&self) -> TrainReport<'_> {
        TrainReport {
            model: "smollm2",
            objective: "fork",
            steps: &STEPS,
            evals: &EVALS,
            best: Some(4),
            scores: Some([&self.scores; 2]),
            comparison: Some(&self.comparison),
            warnings: &WARNINGS,
            details: vec![("seed".into(), "0".into())],
        }
    }
}
