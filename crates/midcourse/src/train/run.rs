//! The loop: steps, held-out loss, checkpoints, logs.
//!
//! What a step learns from depends on the plan alone, so a training that was interrupted goes on from its last checkpoint
//! to the same adapter, optimiser and logs. The loop sees a [`Learner`] and no tensors.

use anyhow::Result;
use midcourse_core::train::{EvalRecord, StepFacts, StepRecord, Sums};
use midcourse_engine::train::AdapterUse;
use serde::Serialize;

use super::adapter::AdapterDir;
use super::checkpoint::{Best, Checkpoints, State};
use super::course::{Course, Item, packs};
use super::diverged::{self, Batch};
use super::learner::{Asked, Learner};
use super::log::Log;
use super::settings::StepSettings;
use super::tensorboard::EventFile;
use super::watch::Watch;
use crate::progress::Steps;
use crate::run_dir::{self, RunDir};
use crate::signals::Signals;

/// The log of steps, and that of what is held out.
pub(crate) const TRAIN_LOG: &str = "train.jsonl";
pub(crate) const EVAL_LOG: &str = "eval.jsonl";
/// What torch's `clip_grad_norm_` adds to a norm before it divides by it.
const CLIP_EPS: f64 = 1e-6;

/// How a session of training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every step is done.
    Done,
    /// A signal came; a checkpoint was made.
    Stopped,
}

/// Files of a run that the loop writes to.
pub(crate) struct Files<'a> {
    pub dir: &'a RunDir,
    pub checkpoints: Checkpoints,
    pub adapter: AdapterDir,
    pub train_log: Log,
    pub eval_log: Log,
    pub events: EventFile,
}

/// A training under way.
pub(crate) struct Training<'a> {
    pub settings: &'a StepSettings,
    pub course: &'a Course,
    pub learner: &'a mut dyn Learner,
    pub files: Files<'a>,
    pub state: State,
    pub watch: Watch,
    pub progress: Steps,
    pub signals: &'a Signals,
}

impl Training<'_> {
    /// Trains from where the state is to the end, or to a signal.
    pub(crate) fn run(&mut self) -> Result<Ended> {
        self.begin()?;
        while self.state.step < self.course.steps.len() {
            if self.signals.stopping() {
                self.save()?;
                return Ok(Ended::Stopped);
            }
            self.advance()?;
        }
        Ok(Ended::Done)
    }

    /// Scores what is held out before the first step, unless a session has done so.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.state.step == 0 && self.state.eval_bytes == 0 { self.evaluate() } else { Ok(()) }
    }

    /// A step, and a checkpoint where one is due.
    pub(super) fn advance(&mut self) -> Result<()> {
        self.step()?;
        if self.is_due() {
            self.evaluate()?;
            self.save()?;
        }
        Ok(())
    }

    /// One step: every tree of it forward and back, and a step against the gradient.
    fn step(&mut self) -> Result<()> {
        let items = self.course.step(self.state.step);
        let weight: f64 = items.iter().map(|item| item.terms.weight()).sum();
        let mut sums = Sums::default();
        for pack in packs(&items, self.settings.batch_tokens) {
            self.learner.gather(asked(pack), &mut |logps| {
                let gradient = |(item, logps): (&&Item, &Vec<f64>)| {
                    let loss = item.terms.loss(logps, &item.reference);
                    sums.add(&item.example, &loss);
                    loss.gradient.into_iter().map(|slope| slope / weight).collect()
                };
                pack.iter().zip(logps).map(gradient).collect()
            })?;
        }
        let norm = self.learner.norm();
        let learning_rate = self.course.learning_rate.at(self.state.step);
        if !(is_number(sums.loss()) && norm.is_finite()) {
            return Err(self.diverged(("loss", self.state.step + 1), (sums.loss(), norm), &items)?);
        }
        self.learner.step((self.settings.clip / (norm + CLIP_EPS)).min(1.0), learning_rate)?;
        self.record(&sums, (norm, learning_rate))
    }

    /// Logs a step and goes on to the next.
    fn record(&mut self, sums: &Sums, (grad_norm, learning_rate): (f64, f64)) -> Result<()> {
        self.state.step += 1;
        let step = self.state.step;
        let epoch = self.course.epoch(step);
        let n_tokens_before = (self.state.n_tokens_pairs, self.state.n_tokens_distinct);
        let record = sums.step(&StepFacts { step, epoch, grad_norm, learning_rate, n_tokens_before });
        (self.state.n_tokens_pairs, self.state.n_tokens_distinct) =
            (record.num_tokens, record.num_tokens_distinct);
        self.files.train_log.add(&record)?;
        self.files.events.add(step as u64, &figures(&record)?)?;
        self.progress.show(step, &step_text(&record));
        let warning = self.watch.see(record.logps_chosen, record.rewards_chosen);
        if let Some(warning) = warning.filter(|_| self.state.warning.is_none()) {
            self.progress.say(&format!("warning: step {step}: {warning}"));
            self.state.warning = Some(format!("step {step}: {warning}"));
        }
        Ok(())
    }

    /// Whether a checkpoint is due.
    fn is_due(&self) -> bool {
        let step = self.state.step;
        step.is_multiple_of(self.settings.save_every) || step == self.course.steps.len()
    }

    /// Scores what is held out, and keeps the adapter when it is the best so far; where nothing is held out, the last.
    fn evaluate(&mut self) -> Result<()> {
        let step = self.state.step;
        if !self.learner.is_finite() {
            return Err(self.diverged(("adapter", step), (None, f64::NAN), &[])?);
        }
        if self.course.held_out.is_empty() {
            return if step == self.course.steps.len() { self.keep() } else { Ok(()) };
        }
        let items = self.course.held_out();
        let mut sums = Sums::default();
        for pack in packs(&items, self.settings.batch_tokens) {
            let logps = self.learner.score(asked(pack), AdapterUse::On)?;
            for (item, logps) in pack.iter().zip(&logps) {
                sums.add(&item.example, &item.terms.loss(logps, &item.reference));
            }
        }
        let Some(loss) = sums.loss().filter(|loss| loss.is_finite()) else {
            return Err(self.diverged(("held-out loss", step), (sums.loss(), f64::NAN), &items)?);
        };
        let record = sums.eval(step, self.course.epoch(step));
        self.files.eval_log.add(&record)?;
        self.files.events.add(step as u64, &figures(&record)?)?;
        self.progress.say(&eval_text(&record));
        let is_best = self.state.best.is_none_or(|best| (loss as f32) < best.loss);
        // The base is no adapter to keep.
        if step > 0 && is_best {
            self.state.best = Some(Best { step, loss: loss as f32 });
            self.keep()?;
        }
        Ok(())
    }

    fn diverged(
        &self,
        (what, step): (&'static str, usize),
        (loss, norm): (Option<f64>, f64),
        items: &[&Item],
    ) -> Result<anyhow::Error> {
        let learning_rate = self.course.learning_rate.at(step.saturating_sub(1));
        diverged::failure(self.files.dir, &Batch { what, step, loss, norm, learning_rate }, items)
    }

    /// Puts the adapter as it is into its directory.
    fn keep(&self) -> Result<()> {
        self.files.adapter.put(&self.learner.export()?)
    }

    /// Makes a checkpoint.
    fn save(&mut self) -> Result<()> {
        self.state.train_bytes = self.files.train_log.sync()?;
        self.state.eval_bytes = self.files.eval_log.sync()?;
        self.files.checkpoints.save(&self.state, &self.learner.weights()?)
    }
}

/// What is asked of the trees of a pass.
fn asked<'a>(pack: &[&'a Item]) -> Asked<'a> {
    pack.iter().map(|item| (&item.example.trie, item.terms.scored())).collect()
}

fn is_number(loss: Option<f64>) -> bool {
    loss.is_some_and(f64::is_finite)
}

/// Every figure of a record by its key.
pub(super) fn figures(record: &impl Serialize) -> Result<Vec<(String, f64)>> {
    let serde_json::Value::Object(fields) = serde_json::to_value(record)? else { return Ok(Vec::new()) };
    let figure = |(key, value): (String, serde_json::Value)| Some((key, value.as_f64()?));
    Ok(fields.into_iter().filter(|(key, _)| key != "step").filter_map(figure).collect())
}

/// A step as people watch it.
pub(super) fn step_text(record: &StepRecord) -> String {
    let StepRecord { loss, rewards_accuracies, learning_rate, .. } = record;
    let turns = (record.first_turn_probability_harmful, record.first_turn_probability_benign);
    format!("{}, learning rate {learning_rate:.2e}", text((*loss, *rewards_accuracies), turns))
}

/// What is held out, as people watch it.
pub(super) fn eval_text(record: &EvalRecord) -> String {
    let turns = (record.eval_first_turn_probability_harmful, record.eval_first_turn_probability_benign);
    format!(
        "step {} · held out: {}",
        record.step,
        text((record.eval_loss, record.eval_rewards_accuracies), turns)
    )
}

fn text(
    (loss, accuracy): (Option<f64>, Option<f64>),
    (harmful, benign): (Option<f64>, Option<f64>),
) -> String {
    let percent = |name: &str, share: f64| format!("{name} {:.1} %", 100.0 * share);
    let parts = [
        loss.map(|loss| format!("loss {loss:.4}")),
        accuracy.map(|share| percent("accuracy", share)),
        harmful.map(|share| percent("first token of a turn", share)),
        benign.map(|share| percent("of a false one", share)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The steps that are in the log of a run.
pub(crate) fn read_steps(dir: &RunDir) -> Result<Vec<StepRecord>> {
    Ok(run_dir::read_records(&dir.file(TRAIN_LOG))?)
}

/// What was measured of held-out data, in the order of the steps.
pub(crate) fn read_evals(dir: &RunDir) -> Result<Vec<EvalRecord>> {
    Ok(run_dir::read_records(&dir.file(EVAL_LOG))?)
}
