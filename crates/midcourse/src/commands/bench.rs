//! `midcourse bench`: what else a model can do, and what it refuses.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use midcourse_core::bench::BenchSummary;
use midcourse_core::report::strip_controls;

use crate::bench::{self, BenchArgs, BenchManifest, BenchPlan, BenchRun, Task, TaskForetold};
use crate::judges::KnownJudge;
use crate::model::{self, MeasurableModel};
use crate::run_dir::{self, Opening};
use crate::signals::Signals;
use crate::terminal::{print, say};
use crate::{adapted, options};

/// Runs the command.
pub(crate) fn run(args: &BenchArgs) -> Result<u8> {
    if args.list {
        return list(args);
    }
    let opening = Opening::of(args.resume);
    let (plan, out) = options::resolve(&args.options, args.config.as_deref(), opening)?;
    let signals = Signals::listen().context("listening for signals")?;
    if let Some(threads) = plan.options.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting threads")?;
    }
    let judge = Rc::new(plan.judge.identify()?);
    let tasks = bench::tasks(&plan, &judge)?;
    let commit = recorded_commit(&plan, out.as_deref().filter(|_| args.resume))?;
    if args.dry_run {
        return foretell(&plan, &tasks, commit.as_deref(), args.json);
    }
    let out = out.map_or_else(|| run_dir::free(&format!("bench-{}", model::short_name(&plan.model))), Ok)?;
    let outset = Outset { judge, tasks, commit };
    let summary = outset.measure(&plan, (&out, opening), &signals)?;
    if args.json {
        print(&serde_json::to_string_pretty(&summary)?);
    } else {
        print(&bench::terminal(&out)?);
        say(&format!("report: {}", out.join("report.html").display()));
    }
    Ok(0)
}

/// Measures as a plan says, as a part of another command; a run that is there is gone on with. Says what it does, prints
/// nothing.
pub(crate) fn benchmark(plan: &BenchPlan, out: &Path, opening: Opening, signals: &Signals) -> Result<()> {
    let judge = Rc::new(plan.judge.identify()?);
    let tasks = bench::tasks(plan, &judge)?;
    let commit = recorded_commit(plan, (opening == Opening::Resume).then_some(out))?;
    Outset { judge, tasks, commit }.measure(plan, (out, opening), signals).map(drop)
}

/// What a run begins with, before the model is loaded.
struct Outset {
    judge: Rc<KnownJudge>,
    tasks: Vec<Box<dyn Task>>,
    /// The commit of the model's repository that was begun with.
    commit: Option<String>,
}

impl Outset {
    /// Measures, sums up and writes the pages.
    fn measure(
        self,
        plan: &BenchPlan,
        (out, opening): (&Path, Opening),
        signals: &Signals,
    ) -> Result<BenchSummary> {
        let model = load(plan, self.commit.as_deref())?;
        let manifest = BenchManifest::new((plan, &self.judge.identity), &model, &self.tasks, Vec::new());
        let mut run = BenchRun::open(out, opening, plan, (manifest, self.tasks))?;
        run.measure(&model, signals)?;
        if let Some(stopped) = run.stopped(signals) {
            return Err(stopped.into());
        }
        // Two models need not fit into memory together.
        drop(model);
        run.conclude(signals)?;
        if let Some(stopped) = run.stopped(signals) {
            return Err(stopped.into());
        }
        let summary = run.finish()?;
        bench::write_pages(&run.dir.path)?;
        Ok(summary)
    }
}

/// The commit of the model's repository that a run was begun with.
fn recorded_commit(plan: &BenchPlan, run: Option<&Path>) -> Result<Option<String>> {
    let recorded = run.map(bench::read_manifest).transpose()?.flatten();
    Ok(recorded.map(|run| run.model).filter(|model| model.name == plan.model).and_then(|model| model.commit))
}

fn list(args: &BenchArgs) -> Result<u8> {
    let listed = bench::list(args.options.data.as_deref())?;
    if args.json {
        print(&serde_json::to_string_pretty(&listed)?);
        return Ok(0);
    }
    for bench::Listed { task, version, licence, source, there } in &listed {
        let there = if *there { "there" } else { "–" };
        print(&format!("{task:<16} {version:<4} {there:<6} {licence:<16} {source}"));
    }
    print(&format!("safety tasks: {}", bench::safety_names().join(", ")));
    Ok(0)
}

fn load(plan: &BenchPlan, commit: Option<&str>) -> Result<MeasurableModel> {
    let framing = plan.options.framing.framing();
    let mut model = model::load_measurable(&plan.model, commit, &plan.loading())?;
    adapted::warn(plan.options.adapter.as_deref(), &model.identity, &framing.system)?;
    model.template = model.template.framed(framing);
    say(&format!("chat template: {}", strip_controls(model.template.origin())));
    Ok(model)
}

/// Says what a run would ask for.
fn foretell(plan: &BenchPlan, tasks: &[Box<dyn Task>], commit: Option<&str>, json: bool) -> Result<u8> {
    let outline = model::outline(&plan.model, commit, &plan.loading())?;
    let foretold = tasks.iter().map(|task| task.foretell(&outline)).collect::<Result<Vec<TaskForetold>>>()?;
    if json {
        print(&serde_json::to_string_pretty(&foretold)?);
        return Ok(0);
    }
    for task in &foretold {
        print(&task.text());
    }
    print(crate::dry_run::NOTHING_ASKED);
    Ok(0)
}
