//! `midcourse train`: teach course-correction to a model.

use anyhow::{Context, Result};
use midcourse_core::metrics::Scores;
use midcourse_core::report::strip_controls;

use crate::args::TrainArgs;
use crate::model::Base;
use crate::run_dir::{self, Opening};
use crate::signals::Signals;
use crate::terminal::{print, say};
use crate::train::{
    self, ByTrl, Course, Ended, Engine, Foretold, LaidOut, Made, TrainManifest, TrainPlan, TrainRun, trl,
};
use crate::{framing, model, options};

/// Runs the command.
pub(crate) fn run(args: &TrainArgs) -> Result<u8> {
    let (plan, out) = options::resolve(&args.options, args.config.as_deref(), Opening::of(args.resume))?;
    if plan.engine() == Engine::Trl {
        // What cannot be handed over is refused before anything is read.
        trl::Base::find(&plan.model, None)?;
    }
    let signals = Signals::listen().context("listening for signals")?;
    if let Some(threads) = plan.options.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting threads")?;
    }
    let recorded = out.as_deref().filter(|_| args.resume).map(train::read_manifest).transpose()?.flatten();
    let commit = recorded.as_ref().and_then(|run| run.data.commit.as_deref());
    let inputs = train::read(&plan.data, commit, plan.options.limit.unwrap_or(usize::MAX))?;
    say(&inputs.identity.summary());
    let base = base(&plan, recorded.as_ref())?;
    let LaidOut { course, counts, dropped, prompts } =
        Course::lay_out(&inputs.preferences, &plan.settings, &base)?;
    let foretold = Foretold::of(&base, &inputs.identity, (&course, &counts), &plan.settings);
    train::refuse_trained(&plan, &prompts)?;
    if args.dry_run && plan.engine() == Engine::Local {
        print(&if args.json {
            serde_json::to_string_pretty(&foretold)?
        } else {
            foretold.text(Engine::Local)
        });
        return Ok(0);
    }
    let opening = Opening::of(args.resume);
    let out = out.map_or_else(|| run_dir::free(&format!("train-{}", model::short_name(&plan.model))), Ok)?;
    let n_steps = course.steps.len();
    let made = Made {
        plan: &plan,
        base: &base,
        data: &inputs.identity,
        counts,
        dropped: &dropped,
        prompts: &prompts,
        n_steps,
    };
    let mut run = TrainRun::open(&out, opening, made)?;
    if args.dry_run {
        ByTrl { plan: &plan, base: &base, course: &course, signals: &signals }.write(&run.dir.path)?;
        print(&if args.json { serde_json::to_string_pretty(&foretold)? } else { foretold.text(Engine::Trl) });
        say(&trl::ways_on(&run.dir.path));
        return Ok(0);
    }
    say(&foretold.text(plan.engine()));
    let scores = teach(&mut run, (&plan, &base, course), &signals)?;
    let results = train::finish(&run, &plan, scores)?;
    print(&if args.json { serde_json::to_string_pretty(&results)? } else { results.text() });
    say(&format!("report: {}", run.dir.file("report.html").display()));
    say(&format!("adapter: {}", run.adapter().display()));
    Ok(0)
}

/// The model that is trained, at the commit that a run was begun with.
fn base(plan: &TrainPlan, recorded: Option<&TrainManifest>) -> Result<Base> {
    let commit = recorded.filter(|run| run.model.name == plan.model);
    let commit = commit.and_then(|run| run.model.commit.as_deref());
    let template = framing::choice(plan.options.framing.chat_template.as_deref());
    let mut base = model::base(&plan.model, commit, &template)?;
    base.template = base.template.framed(plan.options.framing.framing());
    say(&format!("chat template: {}", strip_controls(base.template.origin())));
    framing::note(&plan.options.framing.framing(), &base.template).into_iter().for_each(say);
    Ok(base)
}

/// Trains, and measures before and after.
fn teach(
    run: &mut TrainRun,
    (plan, base, course): (&TrainPlan, &Base, Course),
    signals: &Signals,
) -> Result<[Option<Scores>; 2]> {
    if plan.engine() == Engine::Trl {
        let by_trl = ByTrl { plan, base, course: &course, signals };
        by_trl.write(&run.dir.path)?;
        by_trl.check(run)?;
    }
    // Three models need not fit into memory together: each is gone before the next.
    let before = train::measure(plan, &run.dir, None, signals)?;
    let ended = match plan.engine() {
        Engine::Local => run.train(base, course, signals)?,
        Engine::Trl => ByTrl { plan, base, course: &course, signals }.train(run)?,
    };
    if ended == Ended::Stopped {
        let stopped = signals.failure(train::resume_hint(&run.dir.path));
        return Err(stopped.context("a training that stopped without a signal")?.into());
    }
    Ok([before, train::measure(plan, &run.dir, Some(&run.adapter()), signals)?])
}
