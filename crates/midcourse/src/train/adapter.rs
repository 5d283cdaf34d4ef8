//! The adapter of a training: the directory that `midcourse eval --adapter`, PEFT and vLLM load.
//!
//! The directory is there as a whole or not at all: it is made under another name first, and later only single files are
//! replaced. While the training goes on it holds the best weights so far.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::run_dir::RunDir;
use crate::storage::{at, new_name, sync_dir, write_whole};

/// The directory's name in a run.
pub(crate) const DIR: &str = "adapter";
pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
const NOTES: &str = "midcourse.json";
const CARD: &str = "README.md";

/// An adapter as PEFT writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exported {
    /// `adapter_config.json`.
    pub config: String,
    /// `adapter_model.safetensors`.
    pub weights: Vec<u8>,
}

/// Where the adapter of a run lies, and what stands beside it.
#[derive(Debug)]
pub(crate) struct AdapterDir {
    path: PathBuf,
    /// `midcourse.json`: what it was trained with.
    notes: String,
}

impl AdapterDir {
    pub(crate) fn new(run: &RunDir, notes: String) -> Self {
        Self { path: run.file(DIR), notes }
    }

    /// Puts these weights there, in the place of earlier ones.
    pub(crate) fn put(&self, exported: &Exported) -> Result<()> {
        if self.path.is_dir() {
            return Ok(write_whole(&self.path.join(WEIGHTS), &exported.weights)?);
        }
        let new = new_name(&self.path);
        if let Err(error) = self.make(&new, exported) {
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
        fs::rename(&new, &self.path).map_err(at(&self.path))?;
        Ok(sync_dir(self.path.parent().unwrap_or(Path::new(".")))?)
    }

    fn make(&self, dir: &Path, exported: &Exported) -> Result<()> {
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(at(dir))?;
        }
        fs::create_dir(dir).map_err(at(dir))?;
        let files: [(&str, &[u8]); 3] = [
            (CONFIG, exported.config.as_bytes()),
            (NOTES, self.notes.as_bytes()),
            (WEIGHTS, &exported.weights),
        ];
        for (name, bytes) in files {
            let path = dir.join(name);
            let mut file = File::create(&path).map_err(at(&path))?;
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&path))?;
        }
        Ok(sync_dir(dir)?)
    }

    /// Writes the model card.
    pub(crate) fn describe(&self, card: &str) -> Result<()> {
        Ok(write_whole(&self.path.join(CARD), card.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::Opening;

    fn exported(byte: u8) -> Exported {
        Exported { config: "{}".into(), weights: vec![byte; 4] }
    }

    #[test]
    fn better_weights_take_the_place_of_earlier_ones() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run"), Opening::New).unwrap();
        let adapter = AdapterDir::new(&run, "{}".into());
        // Half of one that a crash has left.
        fs::create_dir(run.file("adapter.new")).unwrap();
        for byte in [1, 2] {
            adapter.put(&exported(byte)).unwrap();
            assert_eq!(fs::read(run.file(DIR).join(WEIGHTS)).unwrap(), [byte; 4]);
        }
        adapter.describe("card").unwrap();
        let mut names: Vec<_> =
            fs::read_dir(run.file(DIR)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [CARD, CONFIG, WEIGHTS, NOTES]);
        assert!(!run.file("adapter.new").exists());
    }
}
