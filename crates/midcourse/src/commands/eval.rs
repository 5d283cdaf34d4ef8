//! `midcourse eval`: measure course-correction.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use midcourse_core::data::{Responses, Sample};
use midcourse_core::eval::{PlannedSample, Set};
use midcourse_core::metrics::Scores;
use midcourse_core::metrics::calibrated::Calibration;
use midcourse_core::report::strip_controls;
use midcourse_core::template::{ChatTemplate, Tokenizer};
use midcourse_engine::local::{BatchLimits, LoadOptions};

use crate::adapted::Adapted;
use crate::args::EvalArgs;
use crate::dry_run::{DryRun, Judging, Where};
use crate::judges::KnownJudge;
use crate::judging::Bench;
use crate::manifest::{DataIdentity, Manifest};
use crate::model::{self, Loading, ModelName, Outline};
use crate::plan::EvalPlan;
use crate::run::Run;
use crate::run_dir::{self, Opening};
use crate::signals::Signals;
use crate::terminal::{print, say};
use crate::{calibration, framing, input, options, pages, planned};

/// Runs the command.
pub(crate) fn run(args: &EvalArgs) -> Result<u8> {
    let (plan, out) =
        options::resolve(&args.options.with_preset(), args.config.as_deref(), Opening::of(args.resume))?;
    let signals = Signals::listen().context("listening for signals")?;
    if let Some(threads) = plan.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting threads")?;
    }
    let opening = Opening::of(args.resume);
    let recorded = recorded(opening, out.as_deref())?;
    let outset = Outset::read(&plan, recorded)?;
    if args.dry_run {
        return dry_run(args, &plan, &outset);
    }
    let (run, scores) = outset.evaluate(&plan, (out, opening), &signals)?;
    if args.json {
        print(&serde_json::to_string_pretty(&scores)?);
    } else {
        print(&pages::terminal(&run.dir.path)?);
        say(&format!("report: {}", run.dir.file("report.html").display()));
    }
    run.exit_code(plan.max_failed)
}

/// Evaluates as a plan says, as a part of another command; a run that is there is gone on with. Says what it does,
/// prints nothing.
pub(crate) fn evaluate(plan: &EvalPlan, out: &Path, opening: Opening, signals: &Signals) -> Result<Scores> {
    let outset = Outset::read(plan, recorded(opening, Some(out))?)?;
    Ok(outset.evaluate(plan, (Some(out.to_owned()), opening), signals)?.1)
}

/// What an evaluation begins with, before the model is loaded.
struct Outset<'a> {
    judge: KnownJudge,
    calibration: Option<Calibration>,
    samples: Samples,
    data: Vec<DataIdentity>,
    /// What is known of the adapter.
    adapted: Option<Adapted<'a>>,
    /// The commit of the model's repository that was begun with.
    commit: Option<String>,
    loading: Loading,
}

impl<'a> Outset<'a> {
    /// Reads what a plan names; what comes from a hub at the commits that are `recorded`.
    fn read(plan: &'a EvalPlan, recorded: Option<Manifest>) -> Result<Self> {
        let judge = plan.judge.identify()?;
        let calibration = plan.judge.calibration.as_deref();
        let calibration = calibration.map(|path| calibration::read(path, &judge.identity)).transpose()?;
        let (samples, data) = read_data(plan, recorded.as_ref())?;
        let adapted = Adapted::of(plan, samples.iter().map(|(_, sample)| sample))?;
        let limits = BatchLimits { paths: plan.batch_paths.unwrap_or(usize::MAX), ..BatchLimits::default() };
        let template = framing::choice(plan.chat_template.as_deref());
        let commit = recorded.map(|recorded| recorded.model).filter(|model| model.name == plan.model);
        let commit = commit.and_then(|model| model.commit);
        let local = LoadOptions { limits, template, dtype: plan.dtype, adapter: plan.adapter.clone() };
        let loading = Loading { local, endpoint: plan.endpoint.clone(), seed: plan.settings.seed };
        Ok(Self { judge, calibration, samples, data, adapted, commit, loading })
    }

    /// Samples, judges and scores.
    fn evaluate(
        self,
        plan: &EvalPlan,
        (out, opening): (Option<PathBuf>, Opening),
        signals: &Signals,
    ) -> Result<(Run, Scores)> {
        let mut model = model::load_at(&plan.model, self.commit.as_deref(), &self.loading)?;
        model.template = model.template.framed(plan.settings.framing.clone());
        let caveats = self.adapted.map_or(Ok(Vec::new()), |adapted| adapted.caveats(plan, &model))?;
        say(&format!("chat template: {}", strip_controls(model.template.origin())));
        framing::note(&plan.settings.framing, &model.template).into_iter().for_each(say);
        let text: (_, &dyn Tokenizer) = (&model.template, model.tokenizer.as_ref());
        let planned = plan_samples(plan, &self.samples, text, model.engine.context())?;
        let out = out.map_or_else(|| run_dir::free(&model::short_name(&plan.model)), Ok)?;
        let mut run = Run::open(&out, opening, (plan, &self.judge.identity), &model, (planned, self.data))?;
        run.caution(caveats)?;
        run.sample(&model, signals)?;
        stop_where_told(&run, signals)?;
        // Two models need not fit into memory together.
        drop(model);
        if !plan.judge.is_rule() {
            run.judge(&mut Bench::new(&self.judge, &plan.judge, signals)?)?;
            stop_where_told(&run, signals)?;
        }
        let scores = run.finish(self.calibration.as_ref())?;
        pages::write(&run.dir)?;
        Ok((run, scores))
    }
}

/// Ends the command when a signal has come.
fn stop_where_told(run: &Run, signals: &Signals) -> Result<()> {
    signals.failure(run.resume_hint()).map_or(Ok(()), |failure| Err(failure.into()))
}

/// What is recorded of the run to go on with: the commits of what came from a hub.
fn recorded(opening: Opening, out: Option<&Path>) -> Result<Option<Manifest>> {
    out.filter(|_| opening == Opening::Resume).map_or(Ok(None), pages::read_manifest)
}

/// Samples, each with the set it belongs to.
type Samples = Vec<(Set, Sample)>;

/// The samples of all files, and what is recorded of the files. Says what was found.
fn read_data(plan: &EvalPlan, recorded: Option<&Manifest>) -> Result<(Samples, Vec<DataIdentity>)> {
    let mut samples = Vec::new();
    let mut data = Vec::new();
    let files = [(Set::Harmful, Some(&plan.data)), (Set::Benign, plan.benign.as_ref())];
    for (set, source) in files.into_iter().filter_map(|(set, source)| Some((set, source?))) {
        let name = source.to_string();
        let earlier =
            recorded.and_then(|run| run.data.iter().find(|data| data.set == set && data.file == name));
        let commit = earlier.and_then(|data| data.commit.as_deref());
        let file = input::read_at(source, commit, Responses::Required)?;
        let identity = DataIdentity::of(set, source, &file);
        say(&identity.summary());
        let limit = plan.limit.unwrap_or(usize::MAX);
        samples.extend(file.set.samples.into_iter().take(limit).map(|sample| (set, sample)));
        data.push(identity);
    }
    Ok((samples, data))
}

/// Prints what the run would ask for.
fn dry_run(args: &EvalArgs, plan: &EvalPlan, outset: &Outset<'_>) -> Result<u8> {
    let Outset { judge, samples, commit, loading, .. } = outset;
    let Outline { tokenizer, template, context } = model::outline(&plan.model, commit.as_deref(), loading)?;
    let template = template.framed(plan.settings.framing.clone());
    let planned = plan_samples(plan, samples, (&template, tokenizer.as_ref()), context)?;
    let asked = match ModelName::parse(&plan.model)? {
        ModelName::Endpoint(_) => Where::AtEndpoint,
        _ => Where::Here,
    };
    let counted =
        DryRun::of(&planned, &plan.settings, asked, tokenizer.counts_tokens(), plan.endpoint.prices);
    let counted = DryRun { judging: Judging::of(judge, &planned, &plan.settings), ..counted };
    print(&if args.json { serde_json::to_string_pretty(&counted)? } else { counted.text() });
    Ok(0)
}

fn plan_samples(
    plan: &EvalPlan,
    samples: &[(Set, Sample)],
    text: (&ChatTemplate, &dyn Tokenizer),
    context: usize,
) -> Result<Vec<PlannedSample>> {
    let samples: Vec<_> = samples.iter().map(|(set, sample)| (*set, sample)).collect();
    planned::lay_out(&samples, &plan.settings, &plan.model, text, context)
}
