//! Checkpoints: everything that training needs to go on, whole or not at all.
//!
//! A checkpoint is a directory that is written under another name, synced, and renamed; hashes in its `state.json` say
//! whether it is whole. The newest whole one is gone on from. What a crash leaves half made or half removed has another
//! name and is cleared away.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::learner::Weights;
use crate::input::hex;
use crate::run_dir::{self, RunDir};
use crate::storage::{StorageError, at, new_name, sync_dir};
use crate::terminal::say;

/// Where the checkpoints of a run lie.
pub(crate) const DIR: &str = "checkpoints";
const ADAPTER: &str = "adapter_model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const SCHEMA: &str = "midcourse.train.state/1";
/// What the name of a checkpoint begins with.
const PREFIX: &str = "step-";

/// How far a training is: `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub schema: String,
    /// Steps that are done.
    pub step: usize,
    /// The checkpoint with the lowest held-out loss so far.
    pub best: Option<Best>,
    /// Tokens of all conversations of all pairs that were trained on, as TRL counts them.
    pub n_tokens_pairs: usize,
    /// Tokens that were computed for it.
    pub n_tokens_distinct: usize,
    /// Bytes of `train.jsonl` and `eval.jsonl` at this step: what follows is of steps that are done again.
    pub train_bytes: u64,
    pub eval_bytes: u64,
    /// What was warned of.
    pub warning: Option<String>,
    pub adapter_sha256: String,
    pub optimizer_sha256: String,
}

/// A step and its held-out loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub step: usize,
    /// Rounded, so that it is read as it was written.
    pub loss: f32,
}

impl State {
    /// Before the first step.
    pub(crate) fn start() -> Self {
        Self {
            schema: SCHEMA.into(),
            step: 0,
            best: None,
            n_tokens_pairs: 0,
            n_tokens_distinct: 0,
            train_bytes: 0,
            eval_bytes: 0,
            warning: None,
            adapter_sha256: String::new(),
            optimizer_sha256: String::new(),
        }
    }
}

/// The checkpoints of a run.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    dir: PathBuf,
    n_kept: usize,
}

impl Checkpoints {
    /// Opens the checkpoints of a run, and clears away what a crash left of them.
    pub(crate) fn open(run: &RunDir, n_kept: usize) -> Result<Self, StorageError> {
        let dir = run.file(DIR);
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        for entry in fs::read_dir(&dir).map_err(at(&dir))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PREFIX) && step_of(&name).is_none() {
                fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        Ok(Self { dir, n_kept })
    }

    /// Writes a checkpoint, on disk when this returns, and lets older ones go.
    pub(crate) fn save(&self, state: &State, weights: &Weights) -> Result<()> {
        let state = State {
            adapter_sha256: hex(&Sha256::digest(&weights.adapter)),
            optimizer_sha256: hex(&Sha256::digest(&weights.optimizer)),
            ..state.clone()
        };
        let place = self.dir.join(format!("{PREFIX}{:06}", state.step));
        let new = new_name(&place);
        let written = write(&new, &state, weights);
        if written.is_err() {
            // What is there already stays, half of a new one does not.
            let _ = fs::remove_dir_all(&new);
        }
        written?;
        remove(&place)?;
        fs::rename(&new, &place).map_err(at(&place))?;
        sync_dir(&self.dir)?;
        self.prune()
    }

    /// The newest whole checkpoint.
    pub(crate) fn newest(&self) -> Result<Option<(State, Weights)>> {
        for step in self.steps()?.into_iter().rev() {
            let place = self.dir.join(format!("{PREFIX}{step:06}"));
            match read(&place) {
                Ok(found) => return Ok(Some(found)),
                Err(problem) => say(&format!("{}: {problem}; the one before it is taken", place.display())),
            }
        }
        Ok(None)
    }

    fn prune(&self) -> Result<()> {
        let steps = self.steps()?;
        let n_old = steps.len().saturating_sub(self.n_kept);
        for step in &steps[..n_old] {
            remove(&self.dir.join(format!("{PREFIX}{step:06}")))?;
        }
        Ok(())
    }

    /// Steps of which there are checkpoints, ascending.
    fn steps(&self) -> Result<Vec<usize>, StorageError> {
        let entries = fs::read_dir(&self.dir).map_err(at(&self.dir))?.flatten();
        let mut steps: Vec<usize> =
            entries.filter_map(|entry| step_of(&entry.file_name().to_string_lossy())).collect();
        steps.sort_unstable();
        Ok(steps)
    }
}

/// The step that the name of a checkpoint names.
fn step_of(name: &str) -> Option<usize> {
    let digits = name.strip_prefix(PREFIX)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn write(dir: &Path, state: &State, weights: &Weights) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(at(dir))?;
    }
    fs::create_dir(dir).map_err(at(dir))?;
    let state = run_dir::pretty(state)?;
    for (name, bytes) in
        [(ADAPTER, &weights.adapter), (OPTIMIZER, &weights.optimizer), (STATE, &state.into_bytes())]
    {
        let path = dir.join(name);
        let mut file = File::create(&path).map_err(at(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&path))?;
    }
    Ok(sync_dir(dir)?)
}

/// Reads a checkpoint; the error says why it is none.
fn read(dir: &Path) -> Result<(State, Weights), String> {
    let bytes = |name: &str| fs::read(dir.join(name)).map_err(|error| format!("{name}: {error}"));
    let state: State = serde_json::from_slice(&bytes(STATE)?).map_err(|error| format!("{STATE}: {error}"))?;
    if state.schema != SCHEMA {
        return Err(format!("{STATE}: expected schema {SCHEMA}, found {}", state.schema));
    }
    let weights = Weights { adapter: bytes(ADAPTER)?, optimizer: bytes(OPTIMIZER)? };
    let hashes = [
        (ADAPTER, &weights.adapter, &state.adapter_sha256),
        (OPTIMIZER, &weights.optimizer, &state.optimizer_sha256),
    ];
    match hashes.iter().find(|(_, bytes, sha256)| hex(&Sha256::digest(bytes)) != **sha256) {
        Some((name, ..)) => Err(format!("{name} is not what was written")),
        None => Ok((state, weights)),
    }
}

/// Removes a directory so that no half of it ever has its name.
fn remove(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".old");
    let old = dir.with_file_name(name);
    fs::rename(dir, &old).map_err(at(dir))?;
    Ok(fs::remove_dir_all(&old).map_err(at(&old))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::Opening;

    fn run() -> (tempfile::TempDir, RunDir) {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run"), Opening::New).unwrap();
        (temp, run)
    }

    fn weights(byte: u8) -> Weights {
        Weights { adapter: vec![byte; 9], optimizer: vec![byte; 5] }
    }

    fn state(step: usize) -> State {
        State { step, n_tokens_pairs: 7, ..State::start() }
    }

    #[test]
    fn the_newest_is_found_and_old_ones_go() {
        let (_temp, run) = run();
        let checkpoints = Checkpoints::open(&run, 2).unwrap();
        assert!(checkpoints.newest().unwrap().is_none());
        for step in [1, 2, 10] {
            checkpoints.save(&state(step), &weights(step as u8)).unwrap();
        }
        assert_eq!(checkpoints.steps().unwrap(), [2, 10]);
        let (found, bytes) = checkpoints.newest().unwrap().unwrap();
        assert_eq!((found.step, found.n_tokens_pairs), (10, 7));
        assert_eq!((bytes.adapter, bytes.optimizer), (vec![10; 9], vec![10; 5]));
    }

    #[test]
    fn a_damaged_one_is_passed_over_and_a_half_one_cleared_away() {
        let (_temp, run) = run();
        let checkpoints = Checkpoints::open(&run, 3).unwrap();
        for step in [1, 2, 3] {
            checkpoints.save(&state(step), &weights(step as u8)).unwrap();
        }
        let place = |name: &str| run.file(DIR).join(name);
        fs::write(place("step-000003").join(ADAPTER), "other").unwrap();
        fs::remove_file(place("step-000002").join(OPTIMIZER)).unwrap();
        fs::create_dir(place("step-000004.new")).unwrap();
        fs::create_dir(place("step-000000.old")).unwrap();
        let checkpoints = Checkpoints::open(&run, 3).unwrap();
        assert_eq!(checkpoints.newest().unwrap().unwrap().0.step, 1);
        assert!(!place("step-000004.new").exists() && !place("step-000000.old").exists());
    }

    #[test]
    fn a_step_that_is_done_again_replaces_its_checkpoint() {
        let (_temp, run) = run();
        let checkpoints = Checkpoints::open(&run, 2).unwrap();
        checkpoints.save(&state(5), &weights(1)).unwrap();
        checkpoints.save(&state(5), &weights(2)).unwrap();
        assert_eq!(checkpoints.newest().unwrap().unwrap().1.adapter, vec![2; 9]);
    }
}
