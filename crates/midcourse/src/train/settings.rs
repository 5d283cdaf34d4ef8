//! What decides how an adapter is trained, and what no training can be done with.

use std::fmt;

use midcourse_core::train::{ObjectiveSettings, OrderSettings, Schedule};

use super::targets::TargetsText;
use crate::failure::Failure;

/// What decides how an adapter is trained.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrainSettings {
    pub objective: ObjectiveSettings,
    pub contrast_share: f64,
    pub lora: LoraSettings,
    pub steps: StepSettings,
    pub eval_fraction: f64,
    pub seed: u64,
}

/// The adapter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoraSettings {
    pub rank: usize,
    pub alpha: f64,
    pub targets: TargetsText,
}

/// The optimiser's steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepSettings {
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub warmup: f64,
    pub epochs: usize,
    pub prompts_per_step: usize,
    pub max_tokens: usize,
    pub weight_decay: f64,
    pub clip: f64,
    pub batch_tokens: usize,
    pub save_every: usize,
}

impl TrainSettings {
    /// Refuses what no training can be done with.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let steps = &self.steps;
        let counts = [
            ("anchor-tokens", self.objective.anchor_tokens, 1 << 20),
            ("lora-rank", self.lora.rank, 1 << 12),
            ("epochs", steps.epochs, 1 << 16),
            ("prompts-per-step", steps.prompts_per_step, 1 << 20),
            ("max-tokens", steps.max_tokens, 1 << 20),
            ("save-every", steps.save_every, usize::MAX),
            ("batch-tokens", steps.batch_tokens, usize::MAX),
        ];
        for (flag, found, most) in counts {
            if found == 0 || found > most {
                let expected = if most == usize::MAX { "1 or more".into() } else { format!("1 to {most}") };
                return Err(wrong(flag, &expected, found));
            }
        }
        let within = |value: f64, low: f64, high: f64| (low..=high).contains(&value);
        let numbers = [
            ("beta", self.objective.beta, "a number above 0", self.objective.beta > 0.0),
            ("anchor", self.objective.anchor, "0 or more", self.objective.anchor >= 0.0),
            ("contrast-share", self.contrast_share, "0 to 1", within(self.contrast_share, 0.0, 1.0)),
            ("lora-alpha", self.lora.alpha, "a number above 0", self.lora.alpha > 0.0),
            ("learning-rate", steps.learning_rate, "a number above 0", steps.learning_rate > 0.0),
            ("warmup", steps.warmup, "0 to 1", within(steps.warmup, 0.0, 1.0)),
            ("weight-decay", steps.weight_decay, "0 or more", steps.weight_decay >= 0.0),
            ("clip", steps.clip, "a number above 0", steps.clip > 0.0),
            (
                "eval-fraction",
                self.eval_fraction,
                "0 to less than 1",
                within(self.eval_fraction, 0.0, 0.999_999),
            ),
        ];
        match numbers.into_iter().find(|(_, found, _, is_right)| !is_right || !found.is_finite()) {
            None => Ok(()),
            Some((flag, found, expected, _)) => Err(wrong(flag, expected, found)),
        }
    }
}

fn wrong(flag: &str, expected: &str, found: impl fmt::Display) -> Failure {
    Failure::Usage {
        problem: format!("--{flag}: expected {expected}, found {found}"),
        hint: "leave the flag out for its default; `midcourse train --help` says what it is".into(),
    }
}

impl TrainSettings {
    /// How examples are divided and ordered.
    pub(crate) fn order(&self) -> OrderSettings {
        OrderSettings {
            seed: self.seed,
            epochs: self.steps.epochs,
            prompts_per_step: self.steps.prompts_per_step,
            contrast_share: self.contrast_share,
            eval_fraction: self.eval_fraction,
        }
    }
}
