//! How fast is learned at every step: up while it warms up, then down or on.
//!
//! Source: `get_scheduler` of transformers 5 and `TrainingArguments.get_warmup_steps`: the first step has the number 0,
//! and with a warm-up its rate is 0. `constant` is their `constant_with_warmup`.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Falls to 0 as half a cosine.
    #[default]
    Cosine,
    /// Falls to 0 in a line.
    Linear,
    /// Stays.
    Constant,
}

/// The learning rate of every step of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    peak: f64,
    schedule: Schedule,
    n_warmup: usize,
    n_steps: usize,
}

impl LearningRate {
    /// The rates of `n_steps` steps, of which the share `warmup` (rounded up to whole steps) is warm-up.
    ///
    /// # Errors
    /// [`Error::Setting`] when `peak` is no number, 0 or above, or `warmup` no share from 0 to 1.
    pub fn new(peak: f64, schedule: Schedule, warmup: f64, n_steps: usize) -> Result<Self> {
        if !(peak.is_finite() && peak >= 0.0) {
            return Err(Error::Setting {
                field: "--learning-rate",
                problem: format!("expected a number, 0 or above, found {peak}"),
                hint: "1e-4 is usual for adapters".into(),
            });
        }
        if !(0.0..=1.0).contains(&warmup) {
            return Err(Error::Setting {
                field: "--warmup",
                problem: format!("expected a share from 0 to 1, found {warmup}"),
                hint: "0.05 warms up for a twentieth of the steps".into(),
            });
        }
        let n_warmup = (n_steps as f64 * warmup).ceil() as usize;
        Ok(Self { peak, schedule, n_warmup, n_steps })
    }

    /// The rate of a step, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        self.peak * self.share(step)
    }

    fn share(&self, step: usize) -> f64 {
        if step < self.n_warmup {
            return step as f64 / self.n_warmup as f64;
        }
        let n_after = self.n_steps.saturating_sub(self.n_warmup).max(1) as f64;
        match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => self.n_steps.saturating_sub(step) as f64 / n_after,
            Schedule::Cosine => {
                let progress = (step - self.n_warmup) as f64 / n_after;
                (0.5 * (1.0 + (PI * progress).cos())).max(0.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From transformers 5.23: `get_scheduler(name, optimizer, 3, 10)`, peak 1e-4, `get_last_lr()` before every step.
    #[test]
    fn rates_are_those_of_transformers() {
        let third = 1e-4 / 3.0;
        let cosine = [
            0.0,
            third,
            2.0 * third,
            1e-4,
            9.504_844_339_512_096e-5,
            8.117_449_009_293_668e-5,
            6.112_604_669_781_572e-5,
            3.887_395_330_218_429e-5,
            1.882_550_990_706_332_5e-5,
            4.951_556_604_879_043e-6,
        ];
        let linear = [
            0.0,
            third,
            2.0 * third,
            1e-4,
            6e-4 / 7.0,
            5e-4 / 7.0,
            4e-4 / 7.0,
            3e-4 / 7.0,
            2e-4 / 7.0,
            1e-4 / 7.0,
        ];
        let mut constant = [1e-4; 10];
        constant[..3].copy_from_slice(&linear[..3]);
        let all = [(Schedule::Cosine, cosine), (Schedule::Linear, linear), (Schedule::Constant, constant)];
        for (schedule, expected) in all {
            // A quarter of ten steps, rounded up.
            let rates = LearningRate::new(1e-4, schedule, 0.25, 10).unwrap();
            for (step, expected) in expected.into_iter().enumerate() {
                assert!((rates.at(step) - expected).abs() < 1e-18, "{schedule:?} {step}: {}", rates.at(step));
            }
        }
    }

    #[test]
    fn a_run_without_warm_up_begins_at_its_peak_and_one_step_does_not_divide_by_nothing() {
        for schedule in [Schedule::Cosine, Schedule::Linear, Schedule::Constant] {
            let first = |warmup, n_steps| LearningRate::new(2.0, schedule, warmup, n_steps).unwrap().at(0);
            assert!((first(0.0, 7) - 2.0).abs() < 1e-15);
            assert!(first(0.05, 1).abs() < 1e-15 && first(1.0, 3).abs() < 1e-15);
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        let refused =
            |peak, warmup| LearningRate::new(peak, Schedule::Cosine, warmup, 4).unwrap_err().to_string();
        assert_eq!(refused(-1.0, 0.0), "--learning-rate: expected a number, 0 or above, found -1");
        assert!(refused(f64::NAN, 0.0).starts_with("--learning-rate: "));
        assert_eq!(refused(1.0, 1.5), "--warmup: expected a share from 0 to 1, found 1.5");
    }
}
