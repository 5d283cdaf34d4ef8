//! The script's log, line by line into the run's own `train.jsonl` and `eval.jsonl`.
//!
//! A line holds what TRL logs, in TRL's keys, from which midcourse's records are made: what they count besides is counted
//! from the steps. Lines of steps that are done again after a checkpoint are dropped before the script starts.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::train::{EvalRecord, StepRecord};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{DIR, Data};
use crate::storage::{StorageError, at, write_whole};

const LOG: &str = "log.jsonl";

/// A line of the log, for those who watch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// A step was done.
    Step(StepRecord),
    /// The held-out prompts were scored.
    HeldOut(EvalRecord),
}

/// Reads on in a log that grows.
pub(super) struct Relay<'a> {
    data: Data<'a>,
    log: PathBuf,
    /// Bytes and lines that were read.
    n_read: u64,
    n_lines: usize,
    /// Tokens of the steps so far: of their pairs, and distinct ones.
    n_pair_tokens: usize,
    n_tokens: usize,
    train: Sink,
    held_out: Sink,
}

/// A file that lines are added to.
struct Sink {
    path: PathBuf,
    file: File,
}

impl<'a> Relay<'a> {
    /// Begins the run's logs anew, after dropping lines of the script's log that follow `step`.
    pub(super) fn open(run: &Path, data: Data<'a>, step: usize) -> Result<Self> {
        let log = run.join(DIR).join(LOG);
        cut_back(&log, step)?;
        let (train, held_out) =
            (Sink::create(run.join("train.jsonl"))?, Sink::create(run.join("eval.jsonl"))?);
        Ok(Self { data, log, n_read: 0, n_lines: 0, n_pair_tokens: 0, n_tokens: 0, train, held_out })
    }

    /// Takes up the whole lines that have come.
    pub(super) fn read_on(&mut self, seen: &mut dyn FnMut(&Seen)) -> Result<()> {
        let Ok(mut file) = File::open(&self.log) else { return Ok(()) };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.n_read)).map_err(at(&self.log))?;
        file.read_to_end(&mut bytes).map_err(at(&self.log))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        for line in bytes[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            seen(&self.take(line)?);
        }
        self.n_read += whole as u64;
        Ok(())
    }

    /// Puts the run's logs on disk.
    pub(super) fn finish(&self) -> Result<(), StorageError> {
        for sink in [&self.train, &self.held_out] {
            sink.file.sync_all().map_err(at(&sink.path))?;
        }
        Ok(())
    }

    /// Takes up a line.
    fn take(&mut self, line: &[u8]) -> Result<Seen> {
        self.n_lines += 1;
        let mut found: Map<String, Value> = serde_json::from_slice(line).map_err(|e| self.unreadable(&e))?;
        let step =
            found.get("step").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        // A run is one epoch to the script, whose steps are laid out beforehand.
        let epoch = (step * self.data.n_epochs) as f64 / self.data.steps.len().max(1) as f64;
        found.insert("epoch".into(), epoch.into());
        if found.contains_key("eval_loss") {
            found.insert("eval_n_prompts".into(), self.data.held_out.len().into());
            let record: EvalRecord = serde_json::from_value(found.into()).map_err(|e| self.unreadable(&e))?;
            self.held_out.add(&record)?;
            return Ok(Seen::HeldOut(record));
        }
        let trees = step.checked_sub(1).and_then(|at| self.data.steps.get(at)).map_or(&[][..], Vec::as_slice);
        for example in trees.iter().map(|&tree| self.data.examples[tree]) {
            self.n_pair_tokens += example.n_pair_tokens();
            self.n_tokens += example.n_tokens();
        }
        // The script computes fewer tokens than pairs have, and more than there are distinct ones: counted here is what
        // the local engine counts.
        found.insert("n_prompts".into(), trees.len().into());
        found.insert("num_tokens".into(), self.n_pair_tokens.into());
        found.insert("num_tokens_distinct".into(), self.n_tokens.into());
        let record: StepRecord = serde_json::from_value(found.into()).map_err(|e| self.unreadable(&e))?;
        self.train.add(&record)?;
        Ok(Seen::Step(record))
    }

    fn unreadable(&self, error: &serde_json::Error) -> StorageError {
        StorageError::Record { path: self.log.clone(), line: self.n_lines, problem: error.to_string() }
    }
}

/// Drops the lines of later steps, and a last line that was not finished.
fn cut_back(log: &Path, step: usize) -> Result<()> {
    if !log.exists() {
        return Ok(());
    }
    let text = fs::read_to_string(log).map_err(at(log))?;
    let of_step = |line: &&str| {
        let found: Option<Map<String, Value>> = serde_json::from_str(line).ok();
        // A training that begins anew scores the held-out prompts anew as well.
        let at = found.and_then(|found| found.get("step").and_then(Value::as_u64));
        step > 0 && at.is_some_and(|at| at <= step as u64)
    };
    let kept: String = text.lines().filter(of_step).flat_map(|line| [line, "\n"]).collect();
    Ok(write_whole(log, kept.as_bytes())?)
}

impl Sink {
    fn create(path: PathBuf) -> Result<Self, StorageError> {
        let file = File::create(&path).map_err(at(&path))?;
        Ok(Self { path, file })
    }

    fn add(&mut self, record: &impl Serialize) -> Result<(), StorageError> {
        let mut line = serde_json::to_vec(record).map_err(|error| at(&self.path)(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_steps_that_are_done_again_are_dropped() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join(LOG);
        let lines = "{\"step\":0,\"eval_loss\":1}\n{\"step\":1,\"loss\":1}\n{\"step\":2,\"loss\":1}\n{\"step\":3,\"lo";
        fs::write(&log, lines).unwrap();
        cut_back(&log, 1).unwrap();
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            "{\"step\":0,\"eval_loss\":1}\n{\"step\":1,\"loss\":1}\n"
        );
        cut_back(&log, 0).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "");
    }
}
