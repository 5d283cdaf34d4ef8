//! `midcourse eval`: measure course-correction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use midcourse_core::data::Sample;
use midcourse_core::engine::BoxError;
use midcourse_core::eval::{
    self, EvalSettings, Judgement, Observer, Outcome, PathKey, PlannedSample, Prefixes, Set, Trial,
};
use midcourse_core::judge::rule::RuleJudge;
use midcourse_core::metrics::{self, Scores};
use midcourse_engine::local::BatchLimits;

use crate::args::EvalArgs;
use crate::failure;
use crate::manifest::{self, DataIdentity, Manifest, PrefillSummary};
use crate::model::{self, Model};
use crate::plan::{EvalOptions, EvalPlan};
use crate::run_dir::{self, Opening, RunDir};
use crate::session::{Cost, Records, Session};
use crate::signals::Signals;
use crate::storage::StorageError;
use crate::terminal::{print, say};
use crate::{input, pages};

/// The manifest is rewritten at most this often while sampling.
const MANIFEST_EVERY: Duration = Duration::from_secs(5);

/// Runs the command.
pub(crate) fn run(args: &EvalArgs) -> Result<u8> {
    let plan = resolve(args)?;
    let signals = Signals::listen().context("listening for signals")?;
    if let Some(threads) = plan.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting threads")?;
    }
    let (samples, data) = read_data(&plan)?;
    let limits = BatchLimits { paths: plan.batch_paths.unwrap_or(usize::MAX), ..BatchLimits::default() };
    let model = model::load(&plan.model, limits)?;
    let planned = plan_samples(&plan, &samples, &model)?;
    let opening = if args.resume { Opening::Resume } else { Opening::New };
    let out = args.options.out.clone().map_or_else(|| free_directory(&plan.model), Ok)?;
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

/// Flags over the file, which is the saved plan when a run is resumed.
fn resolve(args: &EvalArgs) -> Result<EvalPlan> {
    let saved = args.options.out.as_ref().filter(|_| args.resume).map(|out| out.join(run_dir::PLAN));
    let saved = saved.filter(|path| path.exists());
    let file = match args.config.as_ref().or(saved.as_ref()) {
        Some(path) => EvalOptions::read(path)?,
        None => EvalOptions::default(),
    };
    let plan = args.options.over(&file)?.resolve()?;
    if let Some(path) = saved {
        let earlier = EvalOptions::read(&path)?.resolve()?;
        if let Some(difference) = plan.difference(&earlier)? {
            return Err(StorageError::Mismatch { path, difference }.into());
        }
    }
    Ok(plan)
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
    let text = (&model.template, model.tokenizer.as_ref());
    let planned =
        samples.iter().map(|(set, sample)| eval::plan((*set, sample), &plan.settings, text, context));
    let planned: Vec<_> = planned.collect::<midcourse_core::Result<_>>()?;
    let n_special: usize = planned.iter().map(|sample| sample.n_special_as_text).sum();
    if n_special > 0 {
        say(&format!("{n_special} special-token strings in the rows are given to the model as text"));
    }
    Ok(planned)
}

/// The first of runs/MODEL-1, runs/MODEL-2, … that is not there.
fn free_directory(model: &str) -> Result<PathBuf> {
    let name = Path::new(model).file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let candidates = (1..10_000).map(|n| Path::new("runs").join(format!("{name}-{n}")));
    let free = candidates.into_iter().find(|path| !path.exists());
    free.ok_or_else(|| anyhow::anyhow!("runs/ holds 10,000 runs of {name}"))
}

/// A run under way.
struct Run {
    dir: RunDir,
    settings: EvalSettings,
    plan: Vec<PlannedSample>,
    manifest: Manifest,
    judge: RuleJudge,
}

impl Run {
    fn open(
        out: &Path,
        opening: Opening,
        plan: &EvalPlan,
        model: &Model,
        (planned, data): (Vec<PlannedSample>, Vec<DataIdentity>),
    ) -> Result<Self> {
        let dir = RunDir::open(out, opening)?;
        let mut manifest = Manifest {
            schema: manifest::SCHEMA.into(),
            midcourse: env!("CARGO_PKG_VERSION").into(),
            platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            seed: plan.settings.seed,
            judge: RuleJudge::NAME.into(),
            model: model.identity.clone(),
            data,
            prefill: PrefillSummary::of(&planned, plan.settings.mode.name()),
            sessions: Vec::new(),
        };
        if let Some(earlier) = pages::read_manifest(&dir.path)? {
            if let Some(difference) = manifest.difference(&earlier) {
                return Err(StorageError::Mismatch { path: dir.path, difference }.into());
            }
            manifest.sessions = earlier.sessions;
        }
        dir.write(run_dir::PLAN, &toml::to_string(&plan.options())?)?;
        dir.write_records(
            run_dir::SAMPLES,
            &planned.iter().map(pages::SampleRecord::of).collect::<Vec<_>>(),
        )?;
        let run =
            Self { dir, settings: plan.settings.clone(), plan: planned, manifest, judge: RuleJudge::new() };
        run.write_manifest()?;
        Ok(run)
    }

    fn write_manifest(&self) -> Result<()> {
        Ok(self.dir.write(run_dir::MANIFEST, &pretty(&self.manifest)?)?)
    }

    /// Samples what is not recorded yet.
    fn sample(&mut self, model: &Model, signals: &Signals) -> Result<()> {
        let done = self.recover(model)?;
        let earlier = self.manifest.sessions.len();
        let mut written = Instant::now();
        let (dir, manifest) = (&self.dir, &mut self.manifest);
        let mut on_recorded = |cost: Cost| -> std::result::Result<(), BoxError> {
            if written.elapsed() >= MANIFEST_EVERY {
                manifest.sessions.truncate(earlier);
                manifest.sessions.push(cost);
                dir.write(run_dir::MANIFEST, &pretty(manifest)?)?;
                written = Instant::now();
            }
            Ok(())
        };
        let records =
            Records { trials: dir.append(run_dir::TRIALS)?, judgements: dir.append(run_dir::JUDGEMENTS)? };
        let observer = Observer {
            settings: &self.settings,
            plan: &self.plan,
            tokenizer: model.tokenizer.as_ref(),
            judge: &self.judge,
        };
        let session = Session { observer, signals, records, done, on_recorded: &mut on_recorded };
        let cost = session.sample(model)?;
        self.manifest.sessions.truncate(earlier);
        self.manifest.sessions.push(cost);
        self.write_manifest()
    }
}

/// What the records of a run hold.
struct Recorded {
    trials: Vec<(PathKey, Trial)>,
    judgements: Vec<Judgement>,
}

impl Run {
    /// Reads what earlier sessions recorded and judges it again, so that both record files agree. Returns the
    /// numbers of the paths that need not be sampled.
    fn recover(&self, model: &Model) -> Result<BTreeSet<usize>> {
        let observer = Observer {
            settings: &self.settings,
            plan: &self.plan,
            tokenizer: model.tokenizer.as_ref(),
            judge: &self.judge,
        };
        let mut judgements = Vec::new();
        let mut done = BTreeSet::new();
        for (key, trial) in self.grown_trials(self.dir.recover(run_dir::TRIALS)?)? {
            let Some(grown) = trial.grown(key.id(&self.settings)) else { continue };
            if done.insert(grown.id) {
                judgements.push(observer.observe(&grown)?.judgement);
            }
        }
        self.dir.write_records(run_dir::JUDGEMENTS, &judgements)?;
        Ok(done)
    }

    /// The grown paths among `trials`, each with its place in the plan.
    fn grown_trials(&self, trials: Vec<Trial>) -> Result<Vec<(PathKey, Trial)>> {
        let index: BTreeMap<_, _> =
            self.plan.iter().enumerate().map(|(at, sample)| ((sample.set, sample.id.as_str()), at)).collect();
        let mut placed = Vec::new();
        for (line, trial) in trials.into_iter().enumerate() {
            if !matches!(trial.outcome, Outcome::Grown { .. }) {
                continue;
            }
            let sample = index.get(&(trial.set, trial.sample.as_str()));
            let length = self.settings.prefix_lengths.iter().position(|&k| k == trial.k);
            let (Some(&sample), Some(length), Some(path)) = (sample, length, trial.path()) else {
                let path = self.dir.file(run_dir::TRIALS);
                let problem = format!("sample {} with k = {} is not in the plan", trial.sample, trial.k);
                return Err(StorageError::Record { path, line: line + 1, problem }.into());
            };
            placed.push((PathKey { sample, length, path }, trial));
        }
        Ok(placed)
    }

    /// Puts the records in plan order and computes the scores.
    fn finish(&self) -> Result<Scores> {
        let recorded = self.in_order()?;
        let n_planned = self.plan.len() * self.settings.prefix_lengths.len() * self.settings.paths;
        let n_skipped = recorded.trials.iter().filter(|(_, t)| matches!(t.outcome, Outcome::Skipped { .. })).count();
        let n_recorded = recorded.trials.len() - n_skipped + n_skipped * self.settings.paths;
        ensure!(n_recorded == n_planned, "{n_planned} trials were planned, {n_recorded} are recorded");
        let trials: Vec<&Trial> = recorded.trials.iter().map(|(_, trial)| trial).collect();
        self.dir.write_records(run_dir::TRIALS, &trials)?;
        self.dir.write_records(run_dir::JUDGEMENTS, &recorded.judgements)?;
        let scores = self.scores(&recorded);
        self.dir.write(run_dir::SCORES, &pretty(&scores)?)?;
        Ok(scores)
    }

    fn in_order(&self) -> Result<Recorded> {
        let mut trials = self.grown_trials(run_dir::read_records(&self.dir.file(run_dir::TRIALS))?)?;
        for (index, sample) in self.plan.iter().enumerate() {
            trials.extend(sample.without_paths(index, &self.settings));
        }
        trials.sort_by_key(|(key, _)| *key);
        trials.dedup_by_key(|(key, _)| *key);
        let mut judgements: Vec<Judgement> = run_dir::read_records(&self.dir.file(run_dir::JUDGEMENTS))?;
        let order: BTreeMap<_, _> =
            self.plan.iter().enumerate().map(|(at, sample)| ((sample.set, sample.id.clone()), at)).collect();
        judgements.sort_by_cached_key(|j| (order.get(&(j.set, j.sample.clone())).copied(), j.k, j.path));
        judgements.dedup_by(|a, b| (a.set, a.k, a.path, &a.sample) == (b.set, b.k, b.path, &b.sample));
        Ok(Recorded { trials, judgements })
    }

    fn scores(&self, recorded: &Recorded) -> Scores {
        let outcomes = |set| eval::outcomes(set, &self.plan, self.settings.paths, &recorded.judgements);
        let figures = metrics::figures(&outcomes(Set::Harmful), &outcomes(Set::Benign), self.settings.seed);
        let cost = self.manifest.cost();
        let timing = metrics::Timing {
            wall_secs: cost.wall_secs,
            n_tokens_computed: cost.n_tokens_computed,
            n_tokens_distinct: self.n_distinct(recorded),
            n_tokens_sampled: cost.n_tokens_sampled,
            sampled_tokens_per_sec: cost.n_tokens_sampled as f64 / cost.wall_secs.max(1e-9),
        };
        Scores {
            schema: metrics::SCHEMA.into(),
            model: self.manifest.model.name.clone(),
            mode: self.settings.mode.name().into(),
            unit: self.settings.unit.name().into(),
            judge: self.manifest.judge.clone(),
            n_samples: figures.n_samples,
            paths: self.settings.paths,
            max_new_tokens: self.settings.sampling.max_new_tokens,
            settings: self.settings.for_scores(),
            corr_at_k: figures.corr_at_k,
            corr_mean: figures.corr_mean,
            tokens_to_correction: figures.tokens_to_correction,
            plain: figures.plain,
            benign: figures.benign,
            by_category: figures.by_category,
            timing,
        }
    }

    fn n_distinct(&self, recorded: &Recorded) -> usize {
        let of_sample = |trials: &[(PathKey, Trial)]| {
            let grown = trials.iter().filter_map(|(key, trial)| match &trial.outcome {
                Outcome::Grown { token_ids, finish, .. } => Some((*key, token_ids.as_slice(), *finish)),
                _ => None,
            });
            eval::distinct_tokens(&self.plan[trials[0].0.sample], grown)
        };
        recorded.trials.chunk_by(|a, b| a.0.sample == b.0.sample).map(of_sample).sum()
    }

    /// 1 when more trials failed than allowed.
    fn exit_code(&self, max_failed: usize) -> u8 {
        let forks = self.plan.iter().flat_map(|sample| &sample.forks);
        let failed = forks.filter(|(_, prefixes)| matches!(prefixes, Prefixes::Failed(_))).count();
        let n_failed = failed * self.settings.paths;
        if n_failed <= max_failed {
            return 0;
        }
        say(&format!(
            "{n_failed} trials failed, --max-failed allows {max_failed}; see trials.jsonl for reasons"
        ));
        failure::GATE
    }

    fn resume_hint(&self) -> String {
        format!("go on with `midcourse eval --resume --out {}`", self.dir.path.display())
    }
}

/// JSON as people read it, ended by a newline.
fn pretty(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|json| json + "\n")
}
