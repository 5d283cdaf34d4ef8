//! A file that is being fetched: what has come of it, hashed as it comes, so that it can be continued.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::client::Receiving;
use crate::input::hex;
use crate::progress::Transfer;
use crate::storage::{StorageError, at};

/// The first bytes of a file, of which the size is known.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    len: u64,
    expected: u64,
    hash: Sha256,
}

impl Partial {
    /// Opens what an earlier attempt has left, or a new file.
    pub(super) fn open(path: &Path, expected: u64) -> Result<Self, StorageError> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(at(path))?;
        let mut partial = Self { path: path.to_owned(), file, len: 0, expected, hash: Sha256::new() };
        let len = partial.file.metadata().map_err(at(path))?.len();
        if len > expected {
            partial.restart()?;
        } else {
            partial.hash_existing().map_err(at(path))?;
        }
        Ok(partial)
    }

    fn hash_existing(&mut self) -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = self.file.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.hash.update(&buffer[..n]);
            self.len += n as u64;
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// Forgets what has come.
    pub(super) fn restart(&mut self) -> Result<(), StorageError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(at(&self.path))?;
        (self.len, self.hash) = (0, Sha256::new());
        Ok(())
    }

    /// Appends what comes, up to the expected size.
    pub(super) fn append(&mut self, from: &mut dyn Read, progress: &Transfer) -> Result<(), Receiving> {
        let mut from = from.take(self.expected - self.len);
        let mut buffer = vec![0; 1 << 17];
        loop {
            let n = from.read(&mut buffer).map_err(Receiving::Broken)?;
            if n == 0 {
                return Ok(());
            }
            let written = self.file.write_all(&buffer[..n]).map_err(at(&self.path));
            written.map_err(|error| Receiving::Failed(error.into()))?;
            self.hash.update(&buffer[..n]);
            self.len += n as u64;
            progress.show(self.len);
        }
    }

    /// Makes the bytes durable and returns their SHA-256 in hex.
    pub(super) fn finish(self) -> Result<String, StorageError> {
        self.file.sync_all().map_err(at(&self.path))?;
        Ok(hex(&self.hash.finalize()))
    }
}
