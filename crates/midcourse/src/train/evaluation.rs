//! Before and after: C²-Eval of the base and of the trained model, on the same prompts with the same seeds.
//!
//! Each is a run of its own in a directory of the training, which `midcourse report` and `midcourse judge` take like any
//! other. One that is finished is not done again, one that was interrupted is gone on with.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use midcourse_core::chat::Message;
use midcourse_core::data::{Responses, Sample, prompt_hash};
use midcourse_core::metrics::Scores;

use super::TrainPlan;
use crate::commands::evaluate;
use crate::failure::Failure;
use crate::plan::{EvalOptions, EvalPlan, Lengths, Preset};
use crate::run_dir::{self, Opening, RunDir};
use crate::signals::Signals;
use crate::storage::StorageError;
use crate::terminal::say;
use crate::{input, options, pages};

/// Which model is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

impl Moment {
    /// The directory of its run.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Measures the base, or the base with `adapter`; none where no data is named for it.
pub(crate) fn measure(
    plan: &TrainPlan,
    dir: &RunDir,
    adapter: Option<PathBuf>,
    signals: &Signals,
) -> Result<Option<Scores>> {
    let moment = if adapter.is_some() { Moment::After } else { Moment::Before };
    let Some(eval) = eval_plan(plan, adapter)? else { return Ok(None) };
    let out = dir.file(moment.name());
    if out.join(run_dir::SCORES).is_file() {
        return Ok(Some(pages::read_scores(&out)?));
    }
    let saved = out.join(run_dir::PLAN);
    let opening = if saved.is_file() { Opening::Resume } else { Opening::New };
    if opening == Opening::Resume {
        let earlier: EvalOptions = options::read(&saved)?;
        if let Some(difference) = eval.difference(&earlier.resolve()?)? {
            return Err(StorageError::Mismatch { path: saved, difference }.into());
        }
    }
    say(&format!("measuring course-correction {} training", moment.name()));
    let measured = evaluate(&eval, &out, opening, signals);
    // The part of a training is not gone on with by itself.
    match signals.failure(super::resume_hint(&dir.path)) {
        Some(stopped) if measured.is_err() => Err(stopped.into()),
        _ => measured.map(Some),
    }
}

/// Refuses to measure on prompts that are trained on: what was learned by heart says nothing of others.
pub(crate) fn refuse_trained(plan: &TrainPlan, prompts: &[Vec<Message>]) -> Result<()> {
    let trained: BTreeSet<String> = prompts.iter().map(|prompt| prompt_hash(prompt)).collect();
    for source in plan.options.eval_data.iter().chain(&plan.options.benign) {
        let samples = input::read(source, Responses::Required)?.set.samples;
        let is_trained = |sample: &&Sample| trained.contains(&prompt_hash(&sample.messages()));
        let met: Vec<&Sample> = samples.iter().filter(is_trained).collect();
        if let Some(first) = met.first() {
            return Err(Failure::Input {
                problem: format!(
                    "{source}: {} of {} prompts are trained on, the first of them that of sample {}",
                    met.len(),
                    samples.len(),
                    first.id
                ),
                hint: "measure on other prompts; `midcourse synth --exclude FILE` keeps those of a file out of what is \
                       trained on"
                    .into(),
            }
            .into());
        }
    }
    Ok(())
}

/// The evaluation that a training asks for.
fn eval_plan(plan: &TrainPlan, adapter: Option<PathBuf>) -> Result<Option<EvalPlan>> {
    let options = &plan.options;
    let Some(data) = options.eval_data.clone() else { return Ok(None) };
    let preset = options.eval_preset.unwrap_or(Preset::Quick);
    let lengths = [vec![0], preset.prefix_lengths()].concat();
    let eval = EvalOptions {
        model: Some(plan.model.clone()),
        adapter,
        data: Some(data),
        benign: options.benign.clone(),
        preset: Some(preset),
        // The plain answer shows what training does to outright refusals.
        prefix_lengths: Some(Lengths(lengths)),
        framing: options.framing.clone(),
        seed: options.seed,
        ..EvalOptions::default()
    };
    Ok(Some(eval.resolve()?))
}
