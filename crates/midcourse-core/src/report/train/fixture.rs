//! A training to show in tests.

use std::sync::LazyLock;

use super::{Change, Measured, Rate, TrainReport};
use crate::metrics::{Difference, Scores};
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

pub(super) fn report(scores: &Scores) -> TrainReport<'_> {
    let change = |rate, [before, after]: [f64; 2], ci| Change {
        rate,
        before,
        after,
        difference: Difference {
            figures: [before, after],
            difference: after - before,
            ci,
            p: 0.01,
            detectable: None,
            n_prompts: 40,
        },
    };
    TrainReport {
        model: "smollm2",
        objective: "fork",
        steps: &STEPS,
        evals: &EVALS,
        best: Some(4),
        measured: Some(Measured {
            before: scores,
            after: scores,
            changes: vec![
                change(Rate::CorrMean, [0.124, 0.412], [0.21, 0.365]),
                change(Rate::FalseCorrections, [0.01, 0.02], [-0.005, 0.03]),
            ],
        }),
        warnings: &WARNINGS,
        details: vec![("seed".into(), "0".into())],
    }
}
