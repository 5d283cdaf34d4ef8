//! Pairs as JSON, one object a line: one file, or one a split in a directory.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::synth::{Ranking, pairs};

use super::Sink;
use super::rows::RowFormat;
use super::split::Split;
use crate::storage::{NewFile, at};

/// Where lines are written.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// To one file, whatever the split.
    File(PathBuf),
    /// To `train.jsonl` and `test.jsonl` of a directory.
    Directory(PathBuf),
}

impl Place {
    /// The file of a split.
    pub(crate) fn file(&self, split: Split) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Directory(dir) => dir.join(split.name()).with_extension("jsonl"),
        }
    }
}

/// Files of lines in the making.
pub(crate) struct Lines {
    format: RowFormat,
    place: Place,
    files: BTreeMap<PathBuf, BufWriter<NewFile>>,
    line: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(format: RowFormat, place: Place) -> Self {
        Self { format, place, files: BTreeMap::new(), line: Vec::new() }
    }

    /// The files that were begun.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }
}

impl Sink for Lines {
    fn take(&mut self, split: Split, ranking: Ranking) -> Result<usize> {
        self.line.clear();
        let mut n_left_out = 0;
        for pair in pairs(&ranking) {
            n_left_out += usize::from(!self.format.write(&mut self.line, &ranking, pair)?);
        }
        if self.line.is_empty() {
            return Ok(n_left_out);
        }
        let path = self.place.file(split);
        if !self.files.contains_key(&path) {
            self.files.insert(path.clone(), BufWriter::with_capacity(1 << 18, NewFile::create(&path)?));
        }
        if let Some(file) = self.files.get_mut(&path) {
            file.write_all(&self.line).map_err(at(&path))?;
        }
        Ok(n_left_out)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let files = self.files.into_iter();
        let whole =
            files.map(|(path, file)| file.into_inner().map_err(|error| at(&path)(error.into_error())));
        // Every file is whole before one of them gets its name.
        let whole: Vec<NewFile> = whole.collect::<Result<_, _>>()?;
        Ok(whole.into_iter().try_for_each(NewFile::finish)?)
    }
}
