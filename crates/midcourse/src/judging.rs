//! Judging what is recorded: from grown trials to judgements, in one pass over a run or over labelled rows.
//!
//! What the cache knows is not asked again; the judge itself is loaded only when something is left to ask. Judgements
//! are appended in groups that are on disk before the next group begins, so that a run that is stopped or killed goes
//! on where it was. When all are there they are put in plan order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use midcourse_core::engine::{BoxError, Finish, Usage};
use midcourse_core::eval::{self, JudgedPath, Judgement, Outcome, Set, Trial};
use midcourse_core::judge::interview::AtMost;
use midcourse_core::judge::{Case, Docket, Ending, Judge, Opinion};
use midcourse_core::metrics::calibrated::{self, Calibrated, Calibration};
use midcourse_core::metrics::{self, Figures};

use serde::{Deserialize, Serialize};

use crate::dry_run::Judging;
use crate::judgement_cache::JudgementCache;
use crate::judges::{JudgePlan, KnownJudge};
use crate::pages::SampleRecord;
use crate::progress::Judged;
use crate::run_dir::{self, RunDir};
use crate::session::into_anyhow;
use crate::signals::Signals;
use crate::storage::user_cache;
use crate::terminal::say;

/// A judge at work.
pub(crate) struct Bench<'a> {
    pub judge: &'a KnownJudge,
    pub signals: &'a Signals,
    cache: Option<JudgementCache>,
    /// Loaded when something is left to ask.
    opened: Option<Box<dyn Judge>>,
    usage: Usage,
}

/// What the requests to a judge's server have cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct JudgingCost {
    /// Requests that were answered.
    pub n_requests: usize,
    /// Tokens that the server was given, as it counts them.
    pub n_tokens_prompt: usize,
    /// Tokens that it sampled, as it counts them.
    pub n_tokens_sampled: usize,
    /// What they cost at the prices that the user gave last.
    pub spent: Option<f64>,
}

impl std::ops::Add for JudgingCost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            n_requests: self.n_requests + other.n_requests,
            n_tokens_prompt: self.n_tokens_prompt + other.n_tokens_prompt,
            n_tokens_sampled: self.n_tokens_sampled + other.n_tokens_sampled,
            spent: self.spent.zip(other.spent).map(|(a, b)| a + b),
        }
    }
}

/// Where opinions go: each with the place of its case.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Vec<(usize, Opinion)>) -> Result<(), BoxError>;

impl<'a> Bench<'a> {
    /// A judge with its cache, where it has one.
    pub(crate) fn new(judge: &'a KnownJudge, plan: &JudgePlan, signals: &'a Signals) -> Result<Self> {
        let dir = match plan.cache.as_deref() {
            _ if !judge.is_model() => None,
            Some("off") => None,
            Some(dir) => Some(dir.into()),
            None => Some(user_cache()?.join("midcourse").join("judgements")),
        };
        let cache =
            dir.map(|dir: std::path::PathBuf| JudgementCache::open(&dir, &judge.identity)).transpose()?;
        Ok(Self { judge, signals, cache, opened: None, usage: Usage::default() })
    }

    /// What was asked of the judge's server came on top of `earlier`; none where the judge has no server.
    pub(crate) fn cost(&self, earlier: Option<JudgingCost>) -> Option<JudgingCost> {
        let (_, prices) = self.judge.at_server()?;
        let JudgingCost { n_requests, n_tokens_prompt, n_tokens_sampled, .. } = earlier.unwrap_or_default();
        let n_tokens_prompt = n_tokens_prompt + self.usage.n_prompt;
        let n_tokens_sampled = n_tokens_sampled + self.usage.n_sampled;
        Some(JudgingCost {
            n_requests: n_requests + self.usage.n_requests,
            n_tokens_prompt,
            n_tokens_sampled,
            spent: prices.map(|prices| prices.cost(n_tokens_prompt, n_tokens_sampled)),
        })
    }

    /// Says what was asked of the judge's server.
    pub(crate) fn say_cost(&self) {
        let Some(JudgingCost { n_requests, n_tokens_prompt, n_tokens_sampled, spent }) = self.cost(None)
        else {
            return;
        };
        let spent = spent.map(|spent| format!(", {spent:.4} at the given prices")).unwrap_or_default();
        say(&format!(
            "judging: {n_requests} requests, {n_tokens_prompt} tokens given, {n_tokens_sampled} sampled{spent}"
        ));
    }

    /// What judging `cases` would ask for, most of it at least.
    pub(crate) fn foretell(&self, cases: &[Case]) -> Judging {
        let is_known = |case: &&Case| self.cache.as_ref().is_some_and(|cache| cache.get(case).is_some());
        let n_known = cases.iter().filter(is_known).count();
        let open = cases.iter().filter(|case| !is_known(case));
        let at_most = self.judge.at_server().map(|(prompt, prices)| {
            (open.map(|case| AtMost::of(prompt, case)).fold(AtMost::default(), |a, b| a + b), prices)
        });
        Judging::new(self.judge.identity.id.clone(), (cases.len(), Some(n_known)), at_most)
    }

    /// Judges `cases`; stops between groups when a signal has come.
    pub(crate) fn judge(&mut self, cases: &[Case], take: Take) -> Result<()> {
        let known = |case: &Case| self.cache.as_ref().and_then(|cache| cache.get(case).cloned());
        let (mut said, mut open) = (Vec::new(), Vec::new());
        for (at, case) in cases.iter().enumerate() {
            match known(case) {
                Some(opinion) => said.push((at, opinion)),
                None => open.push(at),
            }
        }
        let n_said = said.len();
        if n_said > 0 {
            take(said).map_err(|error| into_anyhow(error, &self.judge.identity.id))?;
        }
        if open.is_empty() {
            return Ok(());
        }
        let judge = match self.opened.take() {
            Some(judge) => judge,
            None => self.judge.open()?,
        };
        let progress = Judged::new(open.len());
        let asked: Vec<Case> = open.iter().map(|&at| cases[at]).collect();
        let mut hearing = Hearing { cases: &asked, places: &open, bench: self, take, progress };
        let heard = judge.hear(&asked, &mut hearing);
        hearing.progress.finish();
        self.opened = Some(judge);
        heard.map_err(|error| into_anyhow(error, &self.judge.identity.id))
    }
}

/// Cases that are being heard.
struct Hearing<'a, 'b> {
    cases: &'a [Case<'a>],
    /// The caller's places of the cases.
    places: &'a [usize],
    bench: &'a mut Bench<'b>,
    take: Take<'a>,
    progress: Judged,
}

impl Docket for Hearing<'_, '_> {
    fn stopping(&self) -> bool {
        self.bench.signals.stopping()
    }

    fn decide(&mut self, opinions: Vec<(usize, Opinion)>) -> Result<(), BoxError> {
        if let Some(cache) = &mut self.bench.cache {
            let said: Vec<_> = opinions.iter().map(|(at, opinion)| (&self.cases[*at], opinion)).collect();
            cache.add(&said)?;
        }
        self.progress.advance(opinions.len());
        (self.take)(opinions.into_iter().map(|(at, opinion)| (self.places[at], opinion)).collect())
    }

    fn spend(&mut self, usage: Usage) {
        self.bench.usage += usage;
    }
}

/// What a run recorded before it was judged.
pub(crate) struct Recorded {
    pub samples: Vec<SampleRecord>,
    /// Each path once, in plan order.
    pub trials: Vec<Trial>,
}

impl Recorded {
    /// Reads the records of the run in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let samples: Vec<SampleRecord> = run_dir::read_records(&dir.join(run_dir::SAMPLES))?;
        let mut trials: Vec<Trial> = run_dir::read_records(&dir.join(run_dir::TRIALS))?;
        let places = samples.iter().enumerate().map(|(at, s)| ((s.set, s.sample.as_str()), at));
        let places: BTreeMap<_, _> = places.collect();
        let place = |t: &Trial| (places.get(&(t.set, t.sample.as_str())).copied(), t.k, t.path());
        trials.sort_by_cached_key(place);
        trials.dedup_by_key(|trial| place(trial));
        Ok(Self { samples, trials })
    }

    /// Every grown path and what a judge is shown of it, in the order of the trials.
    pub(crate) fn cases(&self) -> Vec<(JudgedPath, Case<'_>)> {
        let samples: BTreeMap<_, _> = self.samples.iter().map(|s| ((s.set, s.sample.as_str()), s)).collect();
        let case = |trial: &'_ Trial| {
            let Outcome::Grown { path, prefix_bytes, finish, .. } = &trial.outcome else { return None };
            let sample = samples.get(&(trial.set, trial.sample.as_str()))?;
            let ending = if *finish == Finish::Stopped { Ending::Open } else { Ending::Ended };
            let judged = JudgedPath { set: trial.set, sample: trial.sample.clone(), k: trial.k, path: *path };
            Some((judged, sample.prompt.as_str(), sample.prefix(*prefix_bytes), ending))
        };
        let cases = self.trials.iter().filter_map(|trial| {
            let (judged, prompt, prefix, ending) = case(trial)?;
            let Outcome::Grown { text, .. } = &trial.outcome else { return None };
            Some((judged, Case { prompt, prefix, continuation: text, ending }))
        });
        cases.collect()
    }

    /// The figures of `judgements`, and the corrected ones where a calibration is given.
    pub(crate) fn figures(
        &self,
        judgements: &[Judgement],
        calibration: Option<&Calibration>,
        seed: u64,
    ) -> (Figures, Option<Calibrated>) {
        let names = || self.samples.iter().map(|s| (s.set, s.sample.as_str(), s.category.as_deref()));
        let outcomes = |set| eval::outcomes(set, names(), &self.trials, judgements);
        let (harmful, benign) = (outcomes(Set::Harmful), outcomes(Set::Benign));
        let calibrated = calibration.map(|known| calibrated::calibrated(&harmful, &benign, known, seed));
        (metrics::figures(&harmful, &benign, seed), calibrated)
    }
}

/// Judges every grown path of `recorded` that the record file `name` does not hold yet. Returns all judgements in the
/// order of the trials; when a signal has come, those that are there.
pub(crate) fn judge_trials(
    dir: &RunDir,
    name: &str,
    recorded: &Recorded,
    bench: &mut Bench,
) -> Result<Vec<Judgement>> {
    let id = bench.judge.identity.id.clone();
    let earlier = dir.recover::<Judgement>(name)?.into_iter().filter(|judgement| judgement.judge == id);
    let mut judged: BTreeMap<JudgedPath, Judgement> = earlier.map(|j| (j.judged(), j)).collect();
    let all = recorded.cases();
    let open: Vec<_> = all.iter().filter(|(path, _)| !judged.contains_key(path)).collect();
    let cases: Vec<Case> = open.iter().map(|(_, case)| *case).collect();
    let mut file = dir.append(name)?;
    bench.judge(&cases, &mut |opinions| {
        let judgement =
            |(at, opinion): (usize, Opinion)| Judgement::new(open[at].0.clone(), &id, opinion, None);
        let judgements: Vec<Judgement> = opinions.into_iter().map(judgement).collect();
        file.append(&judgements)?;
        judged.extend(judgements.into_iter().map(|judgement| (judgement.judged(), judgement)));
        Ok(())
    })?;
    let judgements: Vec<Judgement> = all.iter().filter_map(|(path, _)| judged.remove(path)).collect();
    if judgements.len() == all.len() {
        dir.write_records(name, &judgements)?;
    }
    Ok(judgements)
}

/// What [`judge_trials`] would ask `bench` for.
pub(crate) fn foretell(dir: &RunDir, name: &Path, recorded: &Recorded, bench: &Bench) -> Result<Judging> {
    let file = dir.path.join(name);
    let judged: Vec<Judgement> = if file.exists() { run_dir::read_records(&file)? } else { Vec::new() };
    let judged: BTreeSet<JudgedPath> = judged.iter().map(Judgement::judged).collect();
    let all = recorded.cases();
    let open: Vec<Case> =
        all.iter().filter(|(path, _)| !judged.contains(path)).map(|(_, case)| *case).collect();
    let foretold = bench.foretell(&open);
    let n_known = foretold.n_known.map(|n| n + all.len() - open.len());
    Ok(Judging { n_judgements: all.len(), n_known, ..foretold })
}
