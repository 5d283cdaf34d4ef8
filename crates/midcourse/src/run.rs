//! A run under way: from a plan and a model to records, and from records to scores.
//!
//! Everything that decides what is recorded happens in `midcourse-core`; this module puts it on disk in an order
//! that survives being killed. On resumption trials are read back and judged again, so that both record files
//! always agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use midcourse_core::engine::BoxError;
use midcourse_core::eval::{self, EvalSettings, Judgement, Observer, Outcome, PathKey, PlannedSample, Trial};
use midcourse_core::judge::rule::RuleJudge;
use midcourse_core::metrics::calibrated::Calibration;
use midcourse_core::metrics::{self, Scores};
use midcourse_engine::remote::Survey;

use crate::endpoint::Prices;
use crate::failure;
use crate::judges::JudgeIdentity;
use crate::judging::{self, Bench};
use crate::manifest::{self, DataIdentity, Manifest, PrefillSummary};
use crate::model::Model;
use crate::pages;
use crate::plan::EvalPlan;
use crate::planned::PlannedPaths;
use crate::run_dir::{self, Opening, RunDir};
use crate::session::{Cost, Records, Session};
use crate::signals::Signals;
use crate::storage::StorageError;
use crate::terminal::say;

/// The manifest is rewritten at most this often while sampling.
const MANIFEST_EVERY: Duration = Duration::from_secs(5);

/// A run under way.
pub(crate) struct Run {
    pub dir: RunDir,
    settings: EvalSettings,
    plan: Vec<PlannedSample>,
    manifest: Manifest,
    /// Asked as soon as a path has ended; none when another judge is asked at the end.
    judge: Option<RuleJudge>,
    prices: Option<Prices>,
}

impl Run {
    /// Makes or opens the run's directory and writes down what the run is made from.
    pub(crate) fn open(
        out: &Path,
        opening: Opening,
        (plan, judge): (&EvalPlan, &JudgeIdentity),
        model: &Model,
        (planned, data): (Vec<PlannedSample>, Vec<DataIdentity>),
    ) -> Result<Self> {
        let dir = RunDir::open(out, opening)?;
        let mut manifest = Manifest {
            schema: manifest::SCHEMA.into(),
            midcourse: env!("CARGO_PKG_VERSION").into(),
            platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            seed: plan.settings.seed,
            judge: judge.id.clone(),
            judge_identity: Some(judge.clone()),
            model: model.identity.clone(),
            data,
            prefill: PrefillSummary::of(&planned, plan.settings.mode, &model.template),
            caveats: model.survey.iter().flat_map(Survey::caveats).map(str::to_owned).collect(),
            endpoint: model.survey.clone(),
            spent: None,
            judging: None,
            sessions: Vec::new(),
        };
        if let Some(earlier) = pages::read_manifest(&dir.path)? {
            if let Some(difference) = manifest.difference(&earlier) {
                return Err(StorageError::Mismatch { path: dir.path, difference }.into());
            }
            manifest.sessions = earlier.sessions;
            manifest.judging = earlier.judging;
        }
        dir.write(run_dir::PLAN, &toml::to_string(&plan.options())?)?;
        dir.write_records(
            run_dir::SAMPLES,
            &planned.iter().map(pages::SampleRecord::of).collect::<Vec<_>>(),
        )?;
        let judge = plan.judge.is_rule().then(RuleJudge::new);
        let settings = plan.settings.clone();
        let run = Self { dir, settings, plan: planned, manifest, judge, prices: plan.endpoint.prices };
        run.write_manifest()?;
        Ok(run)
    }

    /// Records what cannot be promised of the run.
    pub(crate) fn caution(&mut self, caveats: Vec<String>) -> Result<()> {
        self.manifest.caveats.extend(caveats);
        self.write_manifest()
    }

    fn write_manifest(&self) -> Result<()> {
        Ok(self.dir.write(run_dir::MANIFEST, &run_dir::pretty(&self.manifest)?)?)
    }

    /// Samples what is not recorded yet.
    pub(crate) fn sample(&mut self, model: &Model, signals: &Signals) -> Result<()> {
        let done = self.recover(model)?;
        let earlier = self.manifest.sessions.len();
        let mut written = Instant::now();
        let (dir, manifest) = (&self.dir, &mut self.manifest);
        let mut on_recorded = |cost: Cost| -> std::result::Result<(), BoxError> {
            manifest.sessions.truncate(earlier);
            manifest.sessions.push(cost);
            if written.elapsed() >= MANIFEST_EVERY {
                dir.write(run_dir::MANIFEST, &run_dir::pretty(manifest)?)?;
                written = Instant::now();
            }
            Ok(())
        };
        let records = Records {
            trials: dir.append(run_dir::TRIALS)?,
            judgements: Some(dir.append(run_dir::JUDGEMENTS)?),
        };
        let observer = Observer {
            settings: &self.settings,
            plan: &self.plan,
            tokenizer: model.tokenizer.as_ref(),
            judge: self.judge.as_ref(),
        };
        let session = Session { observer, signals, records, done, on_recorded: &mut on_recorded };
        let ended = session.sample(model).map(|cost| {
            self.manifest.sessions.truncate(earlier);
            self.manifest.sessions.push(cost);
        });
        let all = self.manifest.cost();
        self.manifest.spent =
            self.prices.map(|prices| prices.cost(all.n_tokens_prompt, all.n_tokens_sampled));
        // A session that failed has cost what it has recorded.
        let written = self.write_manifest();
        ended.and(written)
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
            judge: self.judge.as_ref(),
        };
        let mut judgements = Vec::new();
        let mut done = BTreeSet::new();
        for (key, trial) in self.paths().recover(&self.dir, run_dir::TRIALS)? {
            let Some(grown) = trial.grown(key.id(&self.settings)) else { continue };
            if done.insert(grown.id) {
                judgements.extend(observer.observe(&grown)?.judgement);
            }
        }
        if self.judge.is_some() {
            self.dir.write_records(run_dir::JUDGEMENTS, &judgements)?;
        }
        Ok(done)
    }

    fn paths(&self) -> PlannedPaths<'_> {
        PlannedPaths { settings: &self.settings, plan: &self.plan }
    }

    /// Asks a judge about every path that it has not judged yet.
    pub(crate) fn judge(&mut self, bench: &mut Bench) -> Result<()> {
        let recorded = judging::Recorded::read(&self.dir.path)?;
        let judged = judging::judge_trials(&self.dir, run_dir::JUDGEMENTS, &recorded, bench);
        bench.say_cost();
        // Also what failed in the end has cost something.
        self.manifest.judging = bench.cost(self.manifest.judging);
        let written = self.write_manifest();
        judged.and(written)
    }

    /// Puts the records in plan order and computes the scores.
    pub(crate) fn finish(&self, calibration: Option<&Calibration>) -> Result<Scores> {
        let recorded = self.in_order()?;
        let n_planned = self.plan.len() * self.settings.prefix_lengths.len() * self.settings.paths;
        let n_skipped =
            recorded.trials.iter().filter(|(_, t)| matches!(t.outcome, Outcome::Skipped { .. })).count();
        let n_recorded = recorded.trials.len() - n_skipped + n_skipped * self.settings.paths;
        ensure!(n_recorded == n_planned, "{n_planned} trials were planned, {n_recorded} are recorded");
        let trials: Vec<&Trial> = recorded.trials.iter().map(|(_, trial)| trial).collect();
        self.dir.write_records(run_dir::TRIALS, &trials)?;
        self.dir.write_records(run_dir::JUDGEMENTS, &recorded.judgements)?;
        let scores = self.scores(&recorded, calibration)?;
        self.dir.write(run_dir::SCORES, &run_dir::pretty(&scores)?)?;
        Ok(scores)
    }

    fn in_order(&self) -> Result<Recorded> {
        let trials = self.paths().in_order(&self.dir, run_dir::TRIALS)?;
        let mut judgements: Vec<Judgement> = run_dir::read_records(&self.dir.file(run_dir::JUDGEMENTS))?;
        let order: BTreeMap<_, _> =
            self.plan.iter().enumerate().map(|(at, sample)| ((sample.set, sample.id.clone()), at)).collect();
        judgements.sort_by_cached_key(|j| (order.get(&(j.set, j.sample.clone())).copied(), j.k, j.path));
        judgements.dedup_by(|a, b| (a.set, a.k, a.path, &a.sample) == (b.set, b.k, b.path, &b.sample));
        Ok(Recorded { trials, judgements })
    }

    fn scores(&self, recorded: &Recorded, calibration: Option<&Calibration>) -> Result<Scores> {
        let records = judging::Recorded::read(&self.dir.path)?;
        let (figures, calibrated) = records.figures(&recorded.judgements, calibration, self.settings.seed);
        let cost = self.manifest.cost();
        let timing = metrics::Timing {
            wall_secs: cost.wall_secs,
            n_tokens_computed: cost.n_tokens_computed,
            n_tokens_distinct: self.n_distinct(recorded),
            n_tokens_sampled: cost.n_tokens_sampled,
            sampled_tokens_per_sec: cost.n_tokens_sampled as f64 / cost.wall_secs.max(1e-9),
        };
        Ok(Scores {
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
            calibrated,
            timing,
        })
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
    pub(crate) fn exit_code(&self, max_failed: usize) -> Result<u8> {
        let recorded: Vec<Trial> = run_dir::read_records(&self.dir.file(run_dir::TRIALS))?;
        let failed = recorded.iter().filter(|trial| matches!(trial.outcome, Outcome::Failed { .. }));
        let n_failed = failed.count();
        if n_failed <= max_failed {
            return Ok(0);
        }
        say(&format!(
            "{n_failed} trials failed, --max-failed allows {max_failed}; see trials.jsonl for reasons"
        ));
        Ok(failure::GATE)
    }

    /// How to go on after an interruption.
    pub(crate) fn resume_hint(&self) -> String {
        format!("go on with `midcourse eval --resume --out {}`", self.dir.path.display())
    }
}
