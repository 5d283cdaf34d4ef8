//! A directory that the Hugging Face hub and `datasets` know: `data/train-00000-of-0000N.parquet` and `data/test-…`.
//!
//! How many files a split has is known at its end only, and a part of a data set looks like a whole one. So all files
//! are written to `data.new`, which becomes `data` when every one of them is on disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::synth::Ranking;

use super::Sink;
use super::columns::{GROUP_BYTES, ParquetFile};
use super::split::Split;
use crate::storage::{StorageError, at, new_name, sync_dir};

/// When a part is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of texts in a row group.
    pub(super) group_bytes: usize,
    /// Bytes of a file.
    pub(super) shard_bytes: u64,
}

/// The hub asks for files of not more than some hundred megabytes.
const LIMITS: Limits = Limits { group_bytes: GROUP_BYTES, shard_bytes: 256 << 20 };

/// A data set in the making. Nothing of it is left when it is dropped before it is finished.
pub(crate) struct Dataset {
    data: PathBuf,
    limits: Limits,
    /// In the order of [`Split::ALL`].
    splits: [Shards; 2],
}

/// The files of one split.
#[derive(Default)]
struct Shards {
    open: Option<ParquetFile>,
    n_begun: usize,
}

impl Dataset {
    /// Begins a data set in `dir`, where there may be one.
    pub(crate) fn create(dir: &Path) -> Result<Self, StorageError> {
        let dataset =
            Self { data: dir.join("data"), limits: LIMITS, splits: [Shards::default(), Shards::default()] };
        let (data, old, new) = (&dataset.data, dataset.old(), dataset.new_dir());
        fs::create_dir_all(dir).map_err(at(dir))?;
        // Only a process that died between the two renames of `replace` leaves the old one without a new one.
        if old.exists() && !data.exists() {
            fs::rename(&old, data).map_err(at(data))?;
        }
        remove_dir(&old)?;
        remove_dir(&new)?;
        fs::create_dir(&new).map_err(at(&new))?;
        Ok(dataset)
    }

    #[cfg(test)]
    pub(super) fn in_parts(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the files are written.
    fn new_dir(&self) -> PathBuf {
        new_name(&self.data)
    }

    /// Where a data set that is replaced is until it is removed.
    fn old(&self) -> PathBuf {
        self.data.with_file_name("data.old")
    }

    /// Ends the file of a split that is open.
    fn close(&mut self, split: Split) -> Result<()> {
        self.splits[split as usize].open.take().map_or(Ok(()), ParquetFile::close)
    }

    /// Gives the files their names, now that their number is known.
    fn number(&self) -> Result<(), StorageError> {
        for split in Split::ALL {
            let n_files = self.splits[split as usize].n_begun;
            for i in 0..n_files {
                let name = format!("{}-{i:05}-of-{n_files:05}.parquet", split.name());
                let path = self.new_dir().join(name);
                fs::rename(self.unnumbered(split, i), &path).map_err(at(&path))?;
            }
        }
        sync_dir(&self.new_dir())
    }

    fn unnumbered(&self, split: Split, i: usize) -> PathBuf {
        self.new_dir().join(format!("{}-{i:05}", split.name()))
    }

    /// Puts the new directory in the place of the old one.
    fn replace(&self) -> Result<(), StorageError> {
        if self.data.exists() {
            fs::rename(&self.data, self.old()).map_err(at(&self.data))?;
        }
        fs::rename(self.new_dir(), &self.data).map_err(at(&self.data))?;
        sync_dir(self.data.parent().unwrap_or(Path::new(".")))?;
        remove_dir(&self.old())
    }
}

impl Sink for Dataset {
    fn take(&mut self, split: Split, ranking: Ranking) -> Result<usize> {
        let next = self.unnumbered(split, self.splits[split as usize].n_begun);
        let (limits, shards) = (self.limits, &mut self.splits[split as usize]);
        if shards.open.is_none() {
            shards.n_begun += 1;
            shards.open = Some(ParquetFile::create(&next)?.with_groups_of(limits.group_bytes));
        }
        if let Some(file) = &mut shards.open {
            file.add(ranking)?;
            if file.n_bytes() >= limits.shard_bytes {
                self.close(split)?;
            }
        }
        Ok(0)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        for split in Split::ALL {
            self.close(split)?;
        }
        self.number()?;
        Ok(self.replace()?)
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        let _ = remove_dir(&self.new_dir());
    }
}

/// Removes a directory of files of splits; what else is in it is somebody's, and stays.
fn remove_dir(dir: &Path) -> Result<(), StorageError> {
    if !dir.exists() {
        return Ok(());
    }
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Split::ALL.iter().any(|split| name.starts_with(&format!("{}-", split.name())))
    };
    let files: Vec<PathBuf> =
        fs::read_dir(dir).map_err(at(dir))?.flatten().map(|entry| entry.path()).collect();
    if !files.iter().all(is_ours) {
        return Err(StorageError::Occupied { path: dir.to_owned() });
    }
    files.iter().try_for_each(|path| fs::remove_file(path).map_err(at(path)))?;
    fs::remove_dir(dir).map_err(at(dir))
}
