//! `midcourse synth`: make preferences that teach course-correction.

use std::path::Path;

use anyhow::{Context, Result};
use midcourse_core::report::strip_controls;
use midcourse_engine::local::{BatchLimits, LoadOptions};

use crate::args::{MergeArgs, SynthArgs, SynthCommand};
use crate::failure;
use crate::judging::Bench;
use crate::model::{self, Loading};
use crate::run_dir::{self, Opening, RunDir};
use crate::signals::Signals;
use crate::storage::StorageError;
use crate::synth::{self, Sources, SynthPlan, SynthRun};
use crate::terminal::{print, say};
use crate::{framing, options, synth_pages};

/// Runs the command.
pub(crate) fn run(args: &SynthArgs) -> Result<u8> {
    match &args.command {
        Some(SynthCommand::Merge(args)) => merge(args),
        None => make(args),
    }
}

fn make(args: &SynthArgs) -> Result<u8> {
    let (plan, out) =
        options::resolve(&args.options.with_preset(), args.config.as_deref(), Opening::of(args.resume))?;
    let signals = Signals::listen().context("listening for signals")?;
    if let Some(threads) = plan.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting threads")?;
    }
    let judge = plan.judge.identify()?;
    let recorded = out.as_deref().filter(|_| args.resume).map(synth::read_manifest).transpose()?.flatten();
    let outset = synth::read(&plan, recorded.as_ref())?;
    if plan.benign.is_none() {
        say(synth::WITHOUT_CONTRAST);
    }
    if let Some(out) = out.as_deref().filter(|out| args.resume && !args.dry_run && synth::is_grown(out)) {
        return finish_grown((args, &plan), (out, &outset.sources), &signals);
    }
    let limits = BatchLimits { paths: plan.batch_paths.unwrap_or(usize::MAX), ..BatchLimits::default() };
    let template = framing::choice(plan.chat_template.as_deref());
    let recorded = recorded.map(|run| run.model).filter(|recorded| recorded.name == plan.model);
    let commit = recorded.and_then(|recorded| recorded.commit);
    let local = LoadOptions { limits, template, dtype: plan.dtype, adapter: plan.adapter.clone() };
    let loading = Loading { local, endpoint: plan.endpoint.clone(), seed: plan.settings.seed };
    if args.dry_run {
        let foretold = synth::foretell((&plan, &judge), outset, (commit.as_deref(), &loading))?;
        print(&if args.json { serde_json::to_string_pretty(&foretold)? } else { foretold.text() });
        return Ok(0);
    }
    let mut model = model::load_at(&plan.model, commit.as_deref(), &loading)?;
    model.template = model.template.framed(plan.settings.framing.clone());
    say(&format!("chat template: {}", strip_controls(model.template.origin())));
    framing::note(&plan.settings.framing, &model.template).into_iter().for_each(say);
    let opening = Opening::of(args.resume);
    let out = out.map_or_else(|| run_dir::free(&format!("synth-{}", model::short_name(&plan.model))), Ok)?;
    let mut run = SynthRun::open(&out, opening, (&plan, &judge.identity), &model, &outset)?;
    let mut bench = Bench::new(&judge, &plan.judge, &signals)?;
    run.make(&model, outset, (&mut bench, &signals))?;
    bench.say_cost();
    if let Some(stopped) = run.stopped(&signals) {
        return Err(stopped.into());
    }
    drop(model);
    show(&run.dir, &signals, args.json)
}

/// Finishes a directory in which everything is grown: no model is asked for.
fn finish_grown(
    (args, plan): (&SynthArgs, &SynthPlan),
    (out, sources): (&Path, &Sources),
    signals: &Signals,
) -> Result<u8> {
    let dir = RunDir::open(out, Opening::Resume)?;
    let recorded = synth::read_manifest(out)?;
    if let Some(difference) = recorded.and_then(|run| run.difference_of_rows(&sources.data, &sources.exclude))
    {
        return Err(StorageError::Mismatch { path: dir.path, difference }.into());
    }
    dir.write(run_dir::PLAN, &toml::to_string(&plan.options())?)?;
    show(&dir, signals, args.json)
}

/// Joins shards.
fn merge(args: &MergeArgs) -> Result<u8> {
    let signals = Signals::listen().context("listening for signals")?;
    let dir = synth::merge(&args.shards, &args.out, &signals)?;
    show(&dir, &signals, args.json)
}

/// Makes pairs, card and pages of the rankings, shows what there is, and returns 1 when more paths failed than allowed.
fn show(dir: &RunDir, signals: &Signals, json: bool) -> Result<u8> {
    synth::assemble(dir)?;
    let summary = synth::finish(dir, signals)?;
    let made = synth::Made::read(&dir.path)?;
    if json {
        print(&serde_json::to_string_pretty(&summary)?);
    } else {
        print(&synth_pages::terminal(&dir.path, &made.facts())?);
        say(&format!("report: {}", dir.file("report.html").display()));
    }
    let (n_failed, n_allowed) = (synth::n_failed(&dir.path)?, made.max_failed());
    if n_failed <= n_allowed {
        return Ok(0);
    }
    say(&format!(
        "{n_failed} paths failed, --max-failed allows {n_allowed}; see candidates.jsonl for reasons"
    ));
    Ok(failure::GATE)
}
