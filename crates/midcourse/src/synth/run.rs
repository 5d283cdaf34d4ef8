//! A synthesis under way: samples in windows, each grown and judged until nothing is left to ask.
//!
//! A window's records are appended as they come, so that a run that is killed repeats nothing; when the window is
//! done they are put in order and its rankings written, last of all. What a draft asks for depends on its records
//! alone, so a resumed run makes the same rankings as an uninterrupted one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use midcourse_core::judge::{Case, Opinion};
use midcourse_core::synth::{Asked, Candidate, Draft, Dropped, Evidence, Growth, Heard, Planner, Ranking};
use rayon::iter::{IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use super::growing::{Session, Window};
use super::outset::{Entry, Outset};
use super::{CANDIDATES, DROPPED, JUDGEMENTS, PARTS, RANKINGS, SynthManifest, SynthPlan, read_manifest};
use crate::failure::Failure;
use crate::judges::JudgeIdentity;
use crate::judging::Bench;
use crate::model::Model;
use crate::run_dir::{self, Opening, RunDir};
use crate::session::into_anyhow;
use crate::signals::Signals;
use crate::storage::{StorageError, at, write_joined};

/// Samples that are grown and judged together: enough for any batch, few enough to keep in memory.
const WINDOW: usize = 1024;

/// Where windows lie that have been joined and are not gone yet.
const JOINED: &str = "parts.joined";

/// What a judge said of a text: a line of `judgements.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Judgement {
    index: usize,
    asked: Asked,
    #[serde(flatten)]
    heard: Heard,
}

/// A synthesis under way.
pub(crate) struct SynthRun {
    pub dir: RunDir,
    manifest: SynthManifest,
    plan: SynthPlan,
    judge: String,
}

impl SynthRun {
    /// Makes or opens the directory and writes down what the run is made from.
    pub(crate) fn open(
        out: &Path,
        opening: Opening,
        (plan, judge): (&SynthPlan, &JudgeIdentity),
        model: &Model,
        outset: &Outset,
    ) -> Result<Self> {
        let dir = RunDir::open(out, opening)?;
        let mut manifest = SynthManifest::new(plan, judge, model, (&outset.sources, outset.samples.len()));
        if let Some(earlier) = read_manifest(&dir.path)? {
            if let Some(difference) = manifest.difference(&earlier) {
                return Err(StorageError::Mismatch { path: dir.path, difference }.into());
            }
            manifest.sessions = earlier.sessions;
            manifest.judging = earlier.judging;
            manifest.spent = earlier.spent;
        }
        dir.write(run_dir::PLAN, &toml::to_string(&plan.options())?)?;
        let run = Self { dir, manifest, plan: plan.clone(), judge: judge.id.clone() };
        run.write_manifest()?;
        let parts = run.dir.file(PARTS);
        if !is_grown(&run.dir.path) {
            fs::create_dir_all(&parts).map_err(at(&parts))?;
        }
        Ok(run)
    }

    fn write_manifest(&self) -> Result<()> {
        Ok(self.dir.write(run_dir::MANIFEST, &run_dir::pretty(&self.manifest)?)?)
    }

    /// Grows and judges every window that is not done.
    pub(crate) fn make(
        &mut self,
        model: &Model,
        outset: Outset,
        (bench, signals): (&mut Bench, &Signals),
    ) -> Result<()> {
        if is_grown(&self.dir.path) {
            return Ok(());
        }
        let shard = self.manifest.shard;
        let entries = outset.samples.into_iter().enumerate().filter(|(index, _)| shard.holds(*index));
        let mut entries = entries.peekable();
        let settings = self.plan.settings.clone();
        let n_shard = (0..self.manifest.n_samples).filter(|index| shard.holds(*index)).count();
        let n_paths = n_shard * settings.n_answers() * settings.candidates;
        let mut session = Session::new(signals, n_paths, settings.sampling.max_new_tokens);
        let planner = Planner {
            settings: &settings,
            template: &model.template,
            tokenizer: model.tokenizer.as_ref(),
            context: model.engine.context(),
        };
        let earlier = (self.manifest.sessions.len(), self.manifest.judging);
        let mut ended = Ok(());
        for number in 0.. {
            if entries.peek().is_none() || signals.stopping() || ended.is_err() {
                break;
            }
            let window: Vec<(usize, Entry)> = entries.by_ref().take(WINDOW).collect();
            let n_done = (number * WINDOW + window.len()) * settings.n_answers() * settings.candidates;
            if !self.dir.file(&part(number, RANKINGS)).is_file() {
                let mut work =
                    WindowRun { run: self, number, planner, bench, session: &mut session, earlier };
                ended = work.make(model, window);
            }
            session.n_ended = n_done;
        }
        session.progress.finish();
        let written = self.account(&session, bench, earlier);
        ended.and(written)
    }

    /// Writes down what the session has cost.
    fn account(
        &mut self,
        session: &Session,
        bench: &Bench,
        (n_earlier, judging): (usize, Option<crate::judging::JudgingCost>),
    ) -> Result<()> {
        self.manifest.sessions.truncate(n_earlier);
        self.manifest.sessions.push(session.cost());
        self.manifest.judging = bench.cost(judging);
        let all = self.manifest.cost();
        let prices = self.plan.endpoint.prices;
        self.manifest.spent = prices.map(|prices| prices.cost(all.n_tokens_prompt, all.n_tokens_sampled));
        self.write_manifest()
    }

    /// The failure to end with, once a signal has come.
    pub(crate) fn stopped(&self, signals: &Signals) -> Option<Failure> {
        signals.failure(resume_hint(&self.dir.path))
    }
}

/// How to go on with what was stopped.
pub(crate) fn resume_hint(dir: &Path) -> String {
    format!("go on with `midcourse synth --resume --out {}`", dir.display())
}

/// Whether an earlier session has grown everything of a directory.
pub(crate) fn is_grown(dir: &Path) -> bool {
    dir.join(RANKINGS).is_file() && !dir.join(PARTS).is_dir()
}

/// Joins the windows of a directory to its record files, and lets the windows go.
pub(crate) fn assemble(dir: &RunDir) -> Result<()> {
    let (parts, joined) = (dir.file(PARTS), dir.file(JOINED));
    if parts.is_dir() {
        for name in super::RECORDS {
            let windows = (0..).map(|number| dir.file(&part(number, name)));
            write_joined(&dir.file(name), windows.take_while(|path| path.is_file()))?;
        }
        // Half of the windows must never look like a run under way.
        fs::rename(&parts, &joined).map_err(at(&parts))?;
    }
    if joined.is_dir() {
        fs::remove_dir_all(&joined).map_err(at(&joined))?;
    }
    Ok(())
}

/// The name of a window's record file.
fn part(number: usize, name: &str) -> String {
    format!("{PARTS}/{number:05}.{name}")
}

/// One window under way.
struct WindowRun<'r, 'a, 'b> {
    run: &'r mut SynthRun,
    number: usize,
    planner: Planner<'a>,
    bench: &'r mut Bench<'b>,
    session: &'r mut Session<'a>,
    earlier: (usize, Option<crate::judging::JudgingCost>),
}

impl WindowRun<'_, '_, '_> {
    /// Makes the rankings of a window, as far as no signal comes.
    fn make(&mut self, model: &Model, window: Vec<(usize, Entry)>) -> Result<()> {
        let (mut drafts, mut dropped) = self.lay_out(window);
        self.recover(&mut drafts)?;
        loop {
            self.judge(&mut drafts)?;
            if self.session.signals.stopping() {
                return Ok(());
            }
            if !self.grow(&mut drafts, model)? {
                break;
            }
        }
        let settings = self.planner.settings;
        let mut rankings: Vec<Ranking> = Vec::new();
        for draft in drafts {
            match draft.finish(settings, &self.run.judge) {
                Ok(ranking) => rankings.push(ranking),
                Err(reason) => dropped.push(reason),
            }
        }
        dropped.sort_by_key(|dropped| dropped.index);
        let dir = &self.run.dir;
        self.in_order()?;
        dir.write_records(&part(self.number, DROPPED), &dropped)?;
        Ok(dir.write_records(&part(self.number, RANKINGS), &rankings)?)
    }

    fn lay_out(&self, window: Vec<(usize, Entry)>) -> (Vec<Draft>, Vec<Dropped>) {
        let planner = self.planner;
        let lay_out = |(index, Entry { set, sample, dropped }): (usize, Entry)| match dropped {
            None => Ok(Draft::new(&planner, index, set, sample)),
            Some((reason, detail)) => {
                Err(Dropped { index, set, sample: sample.id, reason, detail, dropped: Vec::new() })
            }
        };
        let laid: Vec<Result<Draft, Dropped>> = window.into_par_iter().map(lay_out).collect();
        let (mut drafts, mut dropped) = (Vec::new(), Vec::new());
        for entry in laid {
            match entry {
                Ok(draft) => drafts.push(draft),
                Err(reason) => dropped.push(reason),
            }
        }
        (drafts, dropped)
    }

    /// Takes what earlier sessions recorded of the window. What failed is tried again.
    fn recover(&self, drafts: &mut [Draft]) -> Result<()> {
        let dir = &self.run.dir;
        let name = part(self.number, CANDIDATES);
        let candidates: Vec<Candidate> = dir.recover(&name)?;
        let judgements: Vec<Judgement> = dir.recover(&part(self.number, JUDGEMENTS))?;
        let places: BTreeMap<usize, usize> =
            drafts.iter().enumerate().map(|(place, draft)| (draft.index(), place)).collect();
        let n_recorded = candidates.len();
        let grown: Vec<Candidate> =
            candidates.into_iter().filter(|c| matches!(c.outcome, Growth::Grown { .. })).collect();
        if grown.len() < n_recorded {
            dir.write_records(&name, &grown)?;
        }
        let strange =
            |line: usize, problem: String| StorageError::Record { path: dir.file(&name), line, problem };
        for (line, candidate) in grown.into_iter().enumerate() {
            let place = places.get(&candidate.index).copied();
            let Some(place) = place.filter(|place| drafts[*place].sample() == candidate.sample) else {
                let problem = format!("sample {} is not in this window", candidate.sample);
                return Err(strange(line + 1, problem).into());
            };
            drafts[place].take(self.planner.settings, candidate);
        }
        for judgement in judgements {
            if let Some(&place) = places.get(&judgement.index) {
                drafts[place].hear(judgement.asked, judgement.heard);
            }
        }
        self.advance(drafts);
        Ok(())
    }

    fn advance(&self, drafts: &mut [Draft]) {
        let planner = self.planner;
        drafts.par_iter_mut().for_each(|draft| draft.advance(&planner));
    }

    /// Asks the judge until nothing is left to ask.
    fn judge(&mut self, drafts: &mut [Draft]) -> Result<()> {
        let settings = self.planner.settings;
        loop {
            let asked = drafts.iter().enumerate().flat_map(|(place, draft)| {
                draft.unheard(settings).into_iter().map(move |asked| (place, asked))
            });
            let asked: Vec<(usize, Asked)> = asked.collect();
            if asked.is_empty() || self.session.signals.stopping() {
                return Ok(());
            }
            let shown = |&(place, asked): &(usize, Asked)| {
                (drafts[place].prompt().to_owned(), drafts[place].evidence(asked))
            };
            let shown: Vec<(String, Evidence)> = asked.iter().map(shown).collect();
            let cases: Vec<Case> = shown.iter().map(|(prompt, evidence)| evidence.case(prompt)).collect();
            let mut file = self.run.dir.append(&part(self.number, JUDGEMENTS))?;
            self.bench.judge(&cases, &mut |opinions: Vec<(usize, Opinion)>| {
                let judgement = |(at, opinion): (usize, Opinion)| {
                    let (place, asked) = asked[at];
                    let index = drafts[place].index();
                    (place, Judgement { index, asked, heard: opinion.into() })
                };
                let judgements: Vec<(usize, Judgement)> = opinions.into_iter().map(judgement).collect();
                file.append(&judgements.iter().map(|(_, judgement)| judgement).collect::<Vec<_>>())?;
                for (place, judgement) in judgements {
                    drafts[place].hear(judgement.asked, judgement.heard);
                }
                Ok(())
            })?;
            self.advance(drafts);
        }
    }

    /// Grows what the drafts ask for; false when that is nothing.
    fn grow(&mut self, drafts: &mut [Draft], model: &Model) -> Result<bool> {
        let settings = self.planner.settings;
        if !drafts.iter().any(|draft| draft.tree(settings, 0).is_some()) {
            return Ok(false);
        }
        let mut records = self.run.dir.append(&part(self.number, CANDIDATES))?;
        let mut window = Window {
            planner: self.planner,
            drafts,
            records: &mut records,
            session: self.session,
            next: 0,
            tokens_of_growing: 0,
        };
        let grown = model.engine.grow(&settings.sampling, &mut window);
        let usage = grown.map_err(|error| into_anyhow(error, &model.identity.name))?;
        self.session.add(usage);
        self.advance(drafts);
        self.run.account(self.session, self.bench, self.earlier)?;
        Ok(true)
    }

    /// Puts the records of the window in order.
    fn in_order(&self) -> Result<()> {
        let dir = &self.run.dir;
        let name = part(self.number, CANDIDATES);
        let mut candidates: Vec<Candidate> = dir.recover(&name)?;
        candidates.sort_by_key(|c| (c.index, c.slot, c.candidate));
        candidates.dedup_by_key(|c| (c.index, c.slot, c.candidate));
        dir.write_records(&name, &candidates)?;
        let name = part(self.number, JUDGEMENTS);
        let mut judgements: Vec<Judgement> = dir.recover(&name)?;
        judgements.sort_by_key(|j| (j.index, j.asked));
        judgements.dedup_by_key(|j| (j.index, j.asked));
        Ok(dir.write_records(&name, &judgements)?)
    }
}
