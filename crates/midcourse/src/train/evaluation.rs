//! Before and after: C²-Eval and benchmarks of the base and of the trained model, on the same prompts with the same seeds.
//!
//! Each is a run of its own in a directory of the training, which `midcourse report` and `midcourse judge` take like any
//! other. One that is finished is not done again, one that was interrupted is gone on with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::chat::Message;
use midcourse_core::data::{Responses, Sample, prompt_hash};
use midcourse_core::metrics::Scores;

use super::TrainPlan;
use crate::bench::{self, BenchOptions, BenchPlan, SafetyOptions};
use crate::commands::{benchmark, evaluate};
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
    /// The directory of its evaluation.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }

    /// The directory of its benchmark run.
    pub(crate) fn bench_name(self) -> &'static str {
        match self {
            Self::Before => "bench-before",
            Self::After => "bench-after",
        }
    }

    fn of(adapter: Option<&PathBuf>) -> Self {
        if adapter.is_some() { Self::After } else { Self::Before }
    }
}

/// Measures the base, or the base with `adapter`, in everything that data are named for. The figures are those of
/// course-correction; none where no data are named for it.
pub(crate) fn measure(
    plan: &TrainPlan,
    dir: &RunDir,
    adapter: Option<&PathBuf>,
    signals: &Signals,
) -> Result<Option<Scores>> {
    let moment = Moment::of(adapter);
    let part = Part { dir, signals, moment };
    let scores = match eval_plan(plan, adapter)? {
        None => None,
        Some(eval) => Some(part.evaluate(&eval)?),
    };
    if let Some(bench) = bench_plan(plan, adapter)? {
        part.benchmark(&bench)?;
    }
    Ok(scores)
}

/// A run inside a training.
struct Part<'a> {
    dir: &'a RunDir,
    signals: &'a Signals,
    moment: Moment,
}

impl Part<'_> {
    fn evaluate(&self, plan: &EvalPlan) -> Result<Scores> {
        let out = self.dir.file(self.moment.name());
        if out.join(run_dir::SCORES).is_file() {
            return pages::read_scores(&out);
        }
        let opening = begun::<EvalOptions>(&out, plan)?;
        say(&format!("measuring course-correction {} training", self.moment.name()));
        self.ended(evaluate(plan, &out, opening, self.signals))
    }

    fn benchmark(&self, plan: &BenchPlan) -> Result<()> {
        let out = self.dir.file(self.moment.bench_name());
        if out.join(bench::SUMMARY).is_file() {
            return Ok(());
        }
        let opening = begun::<BenchOptions>(&out, plan)?;
        say(&format!("measuring {} {} training", plan.tasks.join(", "), self.moment.name()));
        self.ended(benchmark(plan, &out, opening, self.signals))
    }

    /// The part of a training is not gone on with by itself.
    fn ended<T>(&self, measured: Result<T>) -> Result<T> {
        match self.signals.failure(super::resume_hint(&self.dir.path)) {
            Some(stopped) if measured.is_err() => Err(stopped.into()),
            _ => measured,
        }
    }
}

/// How a run that may have begun is opened; one that has begun otherwise is refused.
fn begun<O: options::Planned>(out: &Path, plan: &O::Plan) -> Result<Opening> {
    let saved = out.join(run_dir::PLAN);
    if !saved.is_file() {
        return Ok(Opening::New);
    }
    let earlier: O = options::read(&saved)?;
    match O::difference(plan, &earlier.plan()?)? {
        None => Ok(Opening::Resume),
        Some(difference) => Err(StorageError::Mismatch { path: saved, difference }.into()),
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
fn eval_plan(plan: &TrainPlan, adapter: Option<&PathBuf>) -> Result<Option<EvalPlan>> {
    let options = &plan.options;
    let Some(data) = options.eval_data.clone() else { return Ok(None) };
    let preset = options.eval_preset.unwrap_or(Preset::Quick);
    let lengths = [vec![0], preset.prefix_lengths()].concat();
    let eval = EvalOptions {
        model: Some(plan.model.clone()),
        adapter: adapter.cloned(),
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

/// The benchmarks that a training asks for. What is told apart from the training's own options by `bench-`, and the
/// prompts of both sets, which safety tasks ask about too.
fn bench_plan(plan: &TrainPlan, adapter: Option<&PathBuf>) -> Result<Option<BenchPlan>> {
    let options = &plan.options;
    let Some(tasks) = options.bench.clone() else { return Ok(None) };
    let bench = BenchOptions {
        model: Some(plan.model.clone()),
        adapter: adapter.cloned(),
        tasks: Some(tasks),
        data: options.bench_data.clone(),
        limit: options.bench_limit,
        seed: options.seed,
        safety: SafetyOptions {
            benign: options.benign.clone(),
            prefills: options.eval_data.clone(),
            ..SafetyOptions::default()
        },
        framing: options.framing.clone(),
        ..BenchOptions::default()
    };
    Ok(Some(bench.resolve()?))
}
