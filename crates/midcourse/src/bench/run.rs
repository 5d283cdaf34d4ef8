//! A benchmark run under way: its tasks in order, their records on disk before it goes on, and at the end all records
//! in the order of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use midcourse_core::bench::{BenchSummary, ItemRecord, SUMMARY_SCHEMA};
use midcourse_core::engine::Usage;

use super::manifest::{BenchManifest, read_manifest};
use super::options::BenchPlan;
use super::{ITEMS, LmEvalFiles, SUMMARY, Task, Work};
use crate::failure::Failure;
use crate::model::MeasurableModel;
use crate::progress::Items;
use crate::run_dir::{self, Opening, RunDir};
use crate::session::Cost;
use crate::signals::Signals;
use crate::storage::StorageError;
use crate::terminal::say;

/// A benchmark run under way.
pub(crate) struct BenchRun {
    pub dir: RunDir,
    manifest: BenchManifest,
    tasks: Vec<Box<dyn Task>>,
}

/// What is done with every task in turn.
#[derive(Clone, Copy)]
enum Phase<'a> {
    Measure(&'a MeasurableModel),
    Conclude,
}

impl BenchRun {
    /// Makes or opens the run's directory and writes down what the run is made from.
    pub(crate) fn open(
        out: &Path,
        opening: Opening,
        plan: &BenchPlan,
        (mut manifest, tasks): (BenchManifest, Vec<Box<dyn Task>>),
    ) -> Result<Self> {
        let dir = RunDir::open(out, opening)?;
        if let Some(earlier) = read_manifest(&dir.path)? {
            if let Some(difference) = manifest.difference(&earlier) {
                return Err(StorageError::Mismatch { path: dir.path, difference }.into());
            }
            manifest.sessions = earlier.sessions;
        }
        dir.write(run_dir::PLAN, &toml::to_string(&plan.options)?)?;
        let run = Self { dir, manifest, tasks };
        run.write_manifest()?;
        Ok(run)
    }

    fn write_manifest(&self) -> Result<()> {
        Ok(self.dir.write(run_dir::MANIFEST, &run_dir::pretty(&self.manifest)?)?)
    }

    /// Measures what is not recorded yet, task by task.
    pub(crate) fn measure(&mut self, model: &MeasurableModel, signals: &Signals) -> Result<()> {
        self.go_through(Phase::Measure(model), signals)
    }

    /// Records what is left when all tasks are measured; the model is not needed any more.
    pub(crate) fn conclude(&mut self, signals: &Signals) -> Result<()> {
        self.go_through(Phase::Conclude, signals)
    }

    fn go_through(&mut self, phase: Phase<'_>, signals: &Signals) -> Result<()> {
        let recorded = self.recover()?;
        let started = Instant::now();
        let n_earlier = self.manifest.sessions.len();
        let n_all: usize = self.manifest.tasks.iter().map(|task| task.n_items).sum();
        let n_recorded = recorded.values().map(BTreeSet::len).sum();
        let progress = Items::new(n_all, n_recorded);
        let mut usage = Usage::default();
        let mut ended = Ok(());
        for at in 0..self.tasks.len() {
            let task = &self.tasks[at];
            let done = recorded.get(task.name()).cloned().unwrap_or_default();
            let n_items = self.manifest.tasks[at].n_items;
            if signals.stopping() || ended.is_err() {
                break;
            }
            if done.len() == n_items {
                continue;
            }
            if matches!(phase, Phase::Measure(_)) {
                progress.begin(task.name(), n_items, done.len());
            }
            let mut work = Work::new(&self.dir, done, (signals, &progress), &mut usage)?;
            match phase {
                Phase::Conclude => ended = task.conclude(&mut work),
                Phase::Measure(model) => {
                    ended = task.measure(model, &mut work);
                    self.account(n_earlier, started, usage)?;
                }
            }
        }
        progress.finish();
        ended
    }

    /// Writes down what the session has cost so far.
    fn account(&mut self, n_earlier: usize, started: Instant, usage: Usage) -> Result<()> {
        self.manifest.sessions.truncate(n_earlier);
        self.manifest.sessions.push(Cost {
            wall_secs: started.elapsed().as_secs_f64(),
            n_tokens_computed: usage.n_computed,
            n_tokens_sampled: usage.n_sampled,
            n_requests: usage.n_requests,
            n_tokens_prompt: usage.n_prompt,
        });
        self.write_manifest()
    }

    /// The items that earlier sessions recorded, by task.
    fn recover(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let records: Vec<ItemRecord> = self.dir.recover(ITEMS)?;
        let mut recorded: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in records.into_iter().filter(|record| !has_failed(record)) {
            recorded.entry(record.task).or_default().insert(record.item);
        }
        Ok(recorded)
    }

    /// The failure to end with, once a signal has come.
    pub(crate) fn stopped(&self, signals: &Signals) -> Option<Failure> {
        signals.failure(format!("go on with `midcourse bench --resume --out {}`", self.dir.path.display()))
    }

    /// Puts the records in the order of the plan and sums them up.
    pub(crate) fn finish(&self) -> Result<BenchSummary> {
        let mut by_item: BTreeMap<(String, String), ItemRecord> = BTreeMap::new();
        for record in self.dir.recover::<ItemRecord>(ITEMS)? {
            by_item.insert((record.task.clone(), record.item.clone()), record);
        }
        let (mut all, mut tasks) = (Vec::new(), Vec::new());
        let mut lm_eval = LmEvalFiles::new(&self.dir.path, &self.manifest);
        for task in &self.tasks {
            let name = task.name();
            let records = task.items().into_iter().map(|item| by_item.remove(&(name.to_owned(), item)));
            let records: Option<Vec<ItemRecord>> = records.collect();
            let Some(records) = records else { anyhow::bail!("task {name} ended without all its items") };
            let summary = task.summarise(&records)?;
            task.write_lm_eval((&summary, &records), &mut lm_eval)?;
            tasks.push(summary);
            all.extend(records);
        }
        ensure!(by_item.is_empty(), "{} records belong to no item of the plan", by_item.len());
        self.dir.write_records(ITEMS, &all)?;
        let summary = BenchSummary { schema: SUMMARY_SCHEMA.into(), tasks };
        self.dir.write(SUMMARY, &run_dir::pretty(&summary)?)?;
        lm_eval.finish()?;
        let cost = self.manifest.cost();
        say(&format!("measured {} items in {:.0} s", all.len(), cost.wall_secs));
        Ok(summary)
    }
}

/// Whether the model could not be asked: a run that goes on tries again.
fn has_failed(record: &ItemRecord) -> bool {
    record.detail["finding"] == "failed"
}
