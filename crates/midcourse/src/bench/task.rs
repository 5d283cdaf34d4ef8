//! What a task is to a run: items in order, each measured once and recorded before the next.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use midcourse_core::bench::{ItemRecord, TaskSummary};
use midcourse_core::engine::{BoxError, Usage};
use serde::Serialize;

use super::{ITEMS, LmEvalFiles};
use crate::model::{MeasurableModel, Outline};
use crate::progress::Items;
use crate::run_dir::{RecordFile, RunDir};
use crate::signals::Signals;

/// A task of a run, its rows read.
pub(crate) trait Task {
    /// Its name, unique in a run.
    fn name(&self) -> &str;

    /// All that must be equal in two runs for their values to be compared, by name.
    fn identity(&self) -> BTreeMap<String, String>;

    /// The ids of its items, in the order of the plan, each once.
    fn items(&self) -> Vec<String>;

    /// What measuring it would take; nothing is measured.
    fn foretell(&self, outline: &Outline) -> Result<TaskForetold>;

    /// Measures the items that `work` does not know yet. Returns early, without an error, when `work` is stopping.
    fn measure(&self, model: &MeasurableModel, work: &mut Work<'_>) -> Result<()>;

    /// Records what is left to record when all tasks are measured and the model is no longer in memory: what others say of
    /// its replies. Returns early, without an error, when `work` is stopping.
    fn conclude(&self, _work: &mut Work<'_>) -> Result<()> {
        Ok(())
    }

    /// What the records of all its items come to, in the order of the plan.
    fn summarise(&self, records: &[ItemRecord]) -> Result<TaskSummary>;

    /// Writes the same as lm-evaluation-harness does, where it knows the task.
    fn write_lm_eval(&self, _found: (&TaskSummary, &[ItemRecord]), _files: &mut LmEvalFiles) -> Result<()> {
        Ok(())
    }
}

/// What measuring a task would take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TaskForetold {
    pub task: String,
    pub n_items: usize,
    /// Texts that are scored, or replies that are written.
    pub n_requests: usize,
    /// Tokens that are computed, those that texts share once.
    pub n_tokens: usize,
    /// Tokens of every text by itself.
    pub n_tokens_alone: usize,
    /// Tokens that are written, at most.
    pub n_tokens_written_at_most: usize,
}

impl TaskForetold {
    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let Self { task, n_items, n_requests, n_tokens, n_tokens_alone, n_tokens_written_at_most } = self;
        let written = match n_tokens_written_at_most {
            0 => String::new(),
            most => format!(", {most} written at most"),
        };
        format!(
            "{task}: {n_items} items, {n_requests} requests, {n_tokens} tokens computed ({n_tokens_alone} one by one){written}"
        )
    }
}

/// The part of a run that measures one task.
pub(crate) struct Work<'a> {
    /// The run's directory, for what is recorded beside items.
    pub dir: &'a RunDir,
    /// Items that are recorded already.
    pub done: BTreeSet<String>,
    pub signals: &'a Signals,
    /// What engines did for the whole session.
    pub usage: &'a mut Usage,
    file: RecordFile,
    progress: &'a Items,
}

impl<'a> Work<'a> {
    /// Work on the task of which `done` is recorded.
    pub(crate) fn new(
        dir: &'a RunDir,
        done: BTreeSet<String>,
        (signals, progress): (&'a Signals, &'a Items),
        usage: &'a mut Usage,
    ) -> Result<Self> {
        Ok(Self { dir, done, signals, usage, file: dir.append(ITEMS)?, progress })
    }

    /// Whether an item is recorded already.
    pub(crate) fn is_done(&self, item: &str) -> bool {
        self.done.contains(item)
    }

    /// Whether items that have not begun should be left alone.
    pub(crate) fn stopping(&self) -> bool {
        self.signals.stopping()
    }

    /// Does something that shows its own progress.
    pub(crate) fn shown_apart<T>(&self, work: impl FnOnce() -> T) -> T {
        self.progress.suspended(work)
    }

    /// Takes records; they are on disk when this returns.
    pub(crate) fn take(&mut self, records: &[ItemRecord]) -> Result<(), BoxError> {
        if records.is_empty() {
            return Ok(());
        }
        self.file.append(records)?;
        self.done.extend(records.iter().map(|record| record.item.clone()));
        self.progress.advance(records.len());
        Ok(())
    }

    /// Takes those records whose items are not recorded yet.
    pub(crate) fn take_open(&mut self, records: &[ItemRecord]) -> Result<()> {
        let open = records.iter().filter(|record| !self.is_done(&record.item)).cloned();
        let open: Vec<ItemRecord> = open.collect();
        self.take(&open).map_err(anyhow::Error::from_boxed)
    }
}
