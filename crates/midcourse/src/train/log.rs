//! `train.jsonl` and `eval.jsonl`: a line a step, that can be cut back to where a checkpoint was made.
//!
//! Lines hold no times, so that a resumed run ends with the same bytes as an uninterrupted one. They are synced when a
//! checkpoint is made: what follows it is done again after a crash anyway.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::run_dir::RunDir;
use crate::storage::{StorageError, at};

/// A log that lines are added to.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    n_bytes: u64,
}

impl Log {
    /// Opens a log of a run as it was when it had so many bytes.
    ///
    /// # Errors
    /// [`StorageError::Record`] when the file is shorter than that.
    pub(crate) fn open(run: &RunDir, name: &str, n_bytes: u64) -> Result<Self, StorageError> {
        let path = run.file(name);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(at(&path))?;
        let found = file.metadata().map_err(at(&path))?.len();
        if found < n_bytes {
            let problem = format!("expected at least {n_bytes} bytes, found {found}");
            return Err(StorageError::Record { path, line: 1, problem });
        }
        file.set_len(n_bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(at(&path))?;
        Ok(Self { path, file, n_bytes })
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, record: &impl Serialize) -> Result<(), StorageError> {
        let mut line = serde_json::to_vec(record).map_err(|error| at(&self.path)(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(at(&self.path))?;
        self.n_bytes += line.len() as u64;
        Ok(())
    }

    /// Its length in bytes, all of which are on disk when this returns.
    pub(crate) fn sync(&self) -> Result<u64, StorageError> {
        self.file.sync_data().map_err(at(&self.path))?;
        Ok(self.n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::Opening;

    #[test]
    fn a_log_is_cut_back_to_a_checkpoint_and_goes_on_there() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run"), Opening::New).unwrap();
        let mut log = Log::open(&run, "train.jsonl", 0).unwrap();
        log.add(&1).unwrap();
        let n_bytes = log.sync().unwrap();
        log.add(&22).unwrap();
        drop(log);
        let mut log = Log::open(&run, "train.jsonl", n_bytes).unwrap();
        log.add(&3).unwrap();
        assert_eq!(std::fs::read_to_string(run.file("train.jsonl")).unwrap(), "1\n3\n");
        let error = Log::open(&run, "train.jsonl", 99).unwrap_err().to_string();
        assert!(error.ends_with("train.jsonl:1: expected at least 99 bytes, found 4"), "{error}");
    }
}
