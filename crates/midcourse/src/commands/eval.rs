//! `midcourse eval`: measure course-correction.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use midcourse_core::data::Sample;
use midcourse_core::eval::{self, PlannedSample, Set};
use midcourse_core::report::strip_controls;
use midcourse_core::template::Tokenizer;
use midcourse_engine::local::{BatchLimits, LoadOptions};

use crate::args::EvalArgs;
use crate::failure::Failure;
use crate::manifest::DataIdentity;
use crate::model::{self, Model};
use crate::plan::{EvalOptions, EvalPlan};
use crate::run::Run;
use crate::run_dir::{self, Opening};
use crate::signals::Signals;
use crate::storage::StorageError;
use crate::terminal::{print, say};
use crate::{framing, input, pages};

/// Runs the command.
pub(crate) fn run(args: &EvalArgs) -> Result<u8> {
    let (plan, out) = resolve(args)?;
    let signals = Signals::listen().context("listening for signals")?;
    if let Some(threads) = plan.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting threads")?;
    }
    let (samples, data) = read_data(&plan)?;
    let limits = BatchLimits { paths: plan.batch_paths.unwrap_or(usize::MAX), ..BatchLimits::default() };
    let template = framing::choice(plan.chat_template.as_deref());
    let commit = recorded_commit(args, out.as_deref(), &plan.model)?;
    let options = LoadOptions { limits, template, dtype: plan.dtype, adapter: plan.adapter.clone() };
    let mut model = model::load_at(&plan.model, commit.as_deref(), &options)?;
    model.template = model.template.framed(plan.settings.framing.clone());
    say(&format!("chat template: {}", strip_controls(model.template.origin())));
    framing::note(&plan.settings.framing, &model.template).into_iter().for_each(say);
    let planned = plan_samples(&plan, &samples, &model)?;
    let opening = if args.resume { Opening::Resume } else { Opening::New };
    let out = out.map_or_else(|| free_directory(&plan.model), Ok)?;
    let mut run = Run::open(&out, opening, &plan, &model, (planned, data))?;
    run.sample(&model, &signals)?;
    if let Some(failure) = signals.failure(run.resume_hint()) {
        return Err(failure.into());
    }
    let scores = run.finish()?;
    pages::write(&run.dir)?;
    if args.json {
        print(&serde_json::to_string_pretty(&scores)?);
    } else {
        print(&pages::terminal(&run.dir.path)?);
        say(&format!("report: {}", run.dir.file("report.html").display()));
    }
    Ok(run.exit_code(plan.max_failed))
}

/// Flags over the file over the saved plan of a run that is resumed; and the run's directory, where one is named.
fn resolve(args: &EvalArgs) -> Result<(EvalPlan, Option<PathBuf>)> {
    let file = args.config.as_deref().map(EvalOptions::read).transpose()?.unwrap_or_default();
    let given = args.options.with_preset().over(&file)?;
    let saved = match (&given.out, args.resume) {
        (Some(out), true) => Some(out.join(run_dir::PLAN)),
        (None, true) => return Err(no_run_named().into()),
        _ => None,
    };
    let Some(path) = saved else { return Ok((given.resolve()?, given.out)) };
    if !path.exists() {
        return Err(StorageError::NothingToResume { path: given.out.unwrap_or_default() }.into());
    }
    let earlier = EvalOptions::read(&path)?;
    let plan = given.over(&earlier)?.resolve()?;
    if let Some(difference) = plan.difference(&earlier.resolve()?)? {
        return Err(StorageError::Mismatch { path, difference }.into());
    }
    Ok((plan, given.out))
}

/// The commit of `model` that the run to go on with was begun with, of a hub's model.
fn recorded_commit(args: &EvalArgs, out: Option<&Path>, model: &str) -> Result<Option<String>> {
    let Some(out) = out.filter(|_| args.resume) else { return Ok(None) };
    let recorded = pages::read_manifest(out)?.map(|manifest| manifest.model);
    Ok(recorded.filter(|recorded| recorded.name == model).and_then(|recorded| recorded.commit))
}

fn no_run_named() -> Failure {
    Failure::Usage {
        problem: "--resume: --out is missing".into(),
        hint: "name the directory of the run to go on with, for instance --out runs/first".into(),
    }
}

/// Samples, each with the set it belongs to.
type Samples = Vec<(Set, Sample)>;

/// The samples of all files, and what is recorded of the files. Says what was found.
fn read_data(plan: &EvalPlan) -> Result<(Samples, Vec<DataIdentity>)> {
    let mut samples = Vec::new();
    let mut data = Vec::new();
    let files = [(Set::Harmful, Some(&plan.data)), (Set::Benign, plan.benign.as_ref())];
    for (set, path) in files.into_iter().filter_map(|(set, path)| Some((set, path?))) {
        let file = input::read(path)?;
        let identity = DataIdentity::of(set, path, &file);
        say(&format!(
            "{}: {} rows ({}), {} samples, {} duplicates, {} without harm",
            path.display(),
            identity.n_rows,
            identity.format,
            identity.n_samples,
            identity.n_duplicates,
            identity.n_without_harm,
        ));
        let limit = plan.limit.unwrap_or(usize::MAX);
        samples.extend(file.set.samples.into_iter().take(limit).map(|sample| (set, sample)));
        data.push(identity);
    }
    Ok((samples, data))
}

fn plan_samples(plan: &EvalPlan, samples: &[(Set, Sample)], model: &Model) -> Result<Vec<PlannedSample>> {
    let context = model.engine.context();
    let text: (_, &dyn Tokenizer) = (&model.template, model.tokenizer.as_ref());
    let planned = samples.iter().enumerate().map(|(at, (set, sample))| {
        let planned = eval::plan((*set, sample), &plan.settings, text, context);
        planned.with_context(|| format!("sample {} of {} ({})", at + 1, samples.len(), sample.id))
    });
    let planned: Vec<_> = planned.collect::<Result<_>>()?;
    let n_special: usize = planned.iter().map(|sample| sample.n_special_as_text).sum();
    if n_special > 0 {
        say(&format!("{n_special} special-token strings in the rows are given to the model as text"));
    }
    let n_rewritten = planned.iter().filter(|sample| sample.rewritten).count();
    if n_rewritten > 0 {
        say(&format!(
            "{n_rewritten} of {} responses are forced as the chat template rewrites them; samples.jsonl has them so",
            planned.len()
        ));
    }
    Ok(planned)
}

/// The first of runs/MODEL-1, runs/MODEL-2, … that is not there.
fn free_directory(model: &str) -> Result<PathBuf> {
    let name = Path::new(model).file_name().unwrap_or_default().to_string_lossy();
    // Names hold dots: only what says a file's format is its ending.
    let name =
        [".gguf", ".jsonl"].into_iter().fold(name.as_ref(), |name, ending| name.trim_end_matches(ending));
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let candidates = (1..10_000).map(|n| Path::new("runs").join(format!("{name}-{n}")));
    let free = candidates.into_iter().find(|path| !path.exists());
    free.ok_or_else(|| anyhow::anyhow!("runs/ holds 10,000 runs of {name}"))
}
