//! Directories that are there as a whole or not at all.
//!
//! A directory is made under a name of its own, beside the one that it is for, and renamed when everything in it is on
//! disk. A mark in it says that it is midcourse's: what a killed process left is taken away, and nothing else is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::storage::{StorageError, at, new_name, sync_dir};

/// Lies in a directory until it has its name.
const MARK: &str = ".midcourse-unfinished";

/// A directory in the making. When it is dropped before [`NewDir::finish`], nothing of it is left.
#[derive(Debug)]
pub(crate) struct NewDir {
    path: PathBuf,
    is_finished: bool,
}

impl NewDir {
    /// Begins a directory that will be at `path`, where nothing may be.
    pub(crate) fn create(path: &Path) -> Result<Self, StorageError> {
        let new = new_name(path);
        if path.exists() {
            return Err(StorageError::Occupied { path: path.to_owned() });
        }
        if new.exists() {
            if !new.join(MARK).exists() {
                return Err(StorageError::Occupied { path: new });
            }
            fs::remove_dir_all(&new).map_err(at(&new))?;
        }
        fs::create_dir_all(&new).map_err(at(&new))?;
        let dir = Self { path: path.to_owned(), is_finished: false };
        File::create(new.join(MARK)).map_err(at(&new))?;
        Ok(dir)
    }

    /// Where a file is to be written that will be in the directory; `name` may have directories of its own.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf, StorageError> {
        let path = new_name(&self.path).join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        Ok(path)
    }

    /// Gives the directory its name.
    pub(crate) fn finish(mut self) -> Result<(), StorageError> {
        let new = new_name(&self.path);
        sync_dir(&new)?;
        fs::rename(&new, &self.path).map_err(at(&self.path))?;
        self.is_finished = true;
        let mark = self.path.join(MARK);
        fs::remove_file(&mark).map_err(at(&mark))?;
        sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for NewDir {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_dir_all(new_name(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_there_when_it_is_finished() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        let dir = NewDir::create(&path).unwrap();
        fs::write(dir.file("more/text").unwrap(), "text").unwrap();
        assert!(!path.exists());
        dir.finish().unwrap();
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["more"]);
        assert!(matches!(NewDir::create(&path), Err(StorageError::Occupied { .. })));
    }

    #[test]
    fn what_was_left_is_taken_away_and_what_is_somebodys_stays() {
        let root = tempfile::tempdir().unwrap();
        let (path, new) = (root.path().join("model"), root.path().join("model.new"));
        drop(NewDir::create(&path).unwrap());
        assert!(!new.exists());
        std::mem::forget(NewDir::create(&path).unwrap());
        fs::write(new.join("half"), "a").unwrap();
        let dir = NewDir::create(&path).unwrap();
        assert!(!new.join("half").exists());
        drop(dir);
        fs::create_dir(&new).unwrap();
        fs::write(new.join("mine"), "a").unwrap();
        assert!(matches!(NewDir::create(&path), Err(StorageError::Occupied { path }) if path == new));
        assert!(new.join("mine").exists());
    }
}
