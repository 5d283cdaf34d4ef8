//! One process's part of a training: opening the directory, the reference, the loop, and what it cost.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use midcourse_core::chat::Message;
use midcourse_core::train::Dropped;

use super::adapter::{self, AdapterDir};
use super::checkpoint::{Checkpoints, State};
use super::course::Course;
use super::inputs::DataIdentity;
use super::learner::{Learner, Weights};
use super::local::LocalLearner;
use super::log::Log;
use super::manifest::{Counts, SessionCost, TrainManifest, read_manifest};
use super::notes::notes;
use super::reference::{self, Cache};
use super::run::{EVAL_LOG, Ended, Files, TRAIN_LOG, Training};
use super::tensorboard::EventFile;
use super::watch::Watch;
use super::{DROPPED, TrainPlan};
use crate::adapter_notes::base_sha256;
use crate::model::Base;
use crate::progress::Steps;
use crate::run_dir::{self, Opening, RunDir};
use crate::signals::Signals;
use crate::storage::{StorageError, user_cache};
use crate::terminal::say;

/// A training under way.
pub(crate) struct TrainRun {
    pub dir: RunDir,
    pub manifest: TrainManifest,
    plan: TrainPlan,
    /// `midcourse.json` of the adapter.
    notes: String,
}

/// What a run is made from.
pub(crate) struct Made<'a> {
    pub plan: &'a TrainPlan,
    pub base: &'a Base,
    pub data: &'a DataIdentity,
    pub counts: Counts,
    pub dropped: &'a [Dropped],
    pub prompts: &'a [Vec<Message>],
    pub n_steps: usize,
}

impl TrainRun {
    /// Makes or opens the directory and writes down what the run is made from.
    pub(crate) fn open(out: &Path, opening: Opening, made: Made<'_>) -> Result<Self> {
        let Made { plan, base, data, counts, dropped, prompts, n_steps } = made;
        let dir = RunDir::open(out, opening)?;
        let mut manifest = TrainManifest { n_steps, ..TrainManifest::new(plan, base, data, counts) };
        if let Some(earlier) = read_manifest(&dir.path)? {
            if let Some(difference) = manifest.difference(&earlier) {
                return Err(StorageError::Mismatch { path: dir.path, difference }.into());
            }
            let TrainManifest { reference, best, warnings, sessions, .. } = earlier;
            manifest = TrainManifest { reference, best, warnings, sessions, ..manifest };
        }
        dir.write(run_dir::PLAN, &toml::to_string(&plan.options)?)?;
        dir.write_records(DROPPED, dropped)?;
        let notes = notes(plan, base, prompts)?;
        let run = Self { dir, manifest, plan: plan.clone(), notes };
        run.write_manifest()?;
        Ok(run)
    }

    pub(crate) fn write_manifest(&self) -> Result<()> {
        Ok(self.dir.write(run_dir::MANIFEST, &run_dir::pretty(&self.manifest)?)?)
    }

    /// The adapter's directory.
    pub(crate) fn adapter(&self) -> PathBuf {
        self.dir.file(adapter::DIR)
    }

    /// Where the adapter is written.
    pub(crate) fn adapter_dir(&self) -> AdapterDir {
        AdapterDir::new(&self.dir, self.notes.clone())
    }

    /// Trains what is not trained yet.
    pub(crate) fn train(&mut self, base: &Base, mut course: Course, signals: &Signals) -> Result<Ended> {
        let checkpoints = Checkpoints::open(&self.dir, self.plan.keep_checkpoints())?;
        let found = checkpoints.newest()?;
        let n_steps = course.steps.len();
        if found.as_ref().is_some_and(|(state, _)| state.step == n_steps) && self.adapter().is_dir() {
            return Ok(Ended::Done);
        }
        let started = Instant::now();
        let mut learner = LocalLearner::load(&self.plan, base)?;
        if !self.refer(&learner, (base, &mut course), signals)? {
            return Ok(Ended::Stopped);
        }
        let (state, restored) =
            found.map_or((State::start(), None), |(state, weights)| (state, Some(weights)));
        let (first, tokens_before) = (state.step, state.n_tokens_distinct);
        let mut training = self.prepare((&mut learner, restored), (&course, state), checkpoints, signals)?;
        let ended = training.run();
        let state = training.state.clone();
        drop(training);
        self.manifest.best = state.best;
        self.manifest.warnings = state.warning.into_iter().collect();
        self.manifest.sessions.push(SessionCost {
            wall_secs: started.elapsed().as_secs_f64(),
            n_steps: state.step - first,
            n_tokens_distinct: (state.n_tokens_distinct - tokens_before) as u64,
        });
        // What failed has cost something, too.
        let written = self.write_manifest();
        ended.and_then(|ended| written.map(|()| ended))
    }

    /// Takes up a state: logs are cut back to it.
    fn prepare<'a>(
        &'a self,
        (learner, restored): (&'a mut dyn Learner, Option<Weights>),
        (course, state): (&'a Course, State),
        checkpoints: Checkpoints,
        signals: &'a Signals,
    ) -> Result<Training<'a>> {
        if let Some(weights) = &restored {
            learner.restore(weights)?;
            say(&format!("going on after step {} of {}", state.step, course.steps.len()));
        }
        let train_log = Log::open(&self.dir, TRAIN_LOG, state.train_bytes)?;
        let eval_log = Log::open(&self.dir, EVAL_LOG, state.eval_bytes)?;
        let from = restored.is_some().then_some(state.step as u64 + 1);
        let files = Files {
            dir: &self.dir,
            checkpoints,
            adapter: self.adapter_dir(),
            train_log,
            eval_log,
            events: EventFile::create(&self.dir.path, from)?,
        };
        let mut watch = Watch::new(self.plan.settings.objective.beta);
        for record in super::run::read_steps(&self.dir)? {
            watch.see(record.logps_chosen, record.rewards_chosen);
        }
        Ok(Training {
            settings: &self.plan.settings.steps,
            progress: Steps::new(course.steps.len(), state.step, self.plan.log_every()),
            course,
            learner,
            files,
            state,
            watch,
            signals,
        })
    }

    /// Finds out what the base says of every tree; false when a signal came before the end.
    fn refer(
        &mut self,
        learner: &dyn Learner,
        (base, course): (&Base, &mut Course),
        signals: &Signals,
    ) -> Result<bool> {
        if !self.plan.settings.objective.objective.needs_reference() {
            return Ok(true);
        }
        let used = course.used();
        let examples: Vec<_> = used.iter().map(|&at| &course.items[at].example).collect();
        let cache = self
            .cache_dir()?
            .map(|dir| Cache::open(&dir, &base_sha256(&base.identity.files), &examples))
            .transpose()?;
        let Some((references, counts)) = reference::compute(&examples, learner, cache, signals)? else {
            return Ok(false);
        };
        for (at, reference) in used.into_iter().zip(references) {
            let item = &mut course.items[at];
            item.reference = reference.of(item.terms.scored());
        }
        self.manifest.reference.get_or_insert(counts);
        Ok(true)
    }

    fn cache_dir(&self) -> Result<Option<PathBuf>> {
        Ok(match self.plan.options.reference_cache.as_deref() {
            Some("off") => None,
            Some(dir) => Some(dir.into()),
            None => Some(user_cache()?.join("midcourse").join("reference")),
        })
    }
}
