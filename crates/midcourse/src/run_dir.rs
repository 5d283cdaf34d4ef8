//! A run's directory: locked while it is written to, records appended in synced groups, everything else
//! replaced as a whole.
//!
//! A record file may end in a torn line after a crash; it is cut off and said. When a run ends, records are put
//! in plan order, so that a resumed run equals an uninterrupted one byte for byte. The files are described in
//! `docs/schemas.md`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::storage::{StorageError, at, write_whole};
use crate::terminal::say;

pub(crate) const PLAN: &str = "run.toml";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const SAMPLES: &str = "samples.jsonl";
pub(crate) const TRIALS: &str = "trials.jsonl";
pub(crate) const JUDGEMENTS: &str = "judgements.jsonl";
pub(crate) const SCORES: &str = "scores.json";
/// What another judge of a run is, in its place below the run.
pub(crate) const JUDGE: &str = "judge.json";
const LOCK: &str = ".lock";

type Result<T> = std::result::Result<T, StorageError>;

/// Whether a directory may hold a run already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    New,
    Resume,
}

impl Opening {
    /// By `--resume`.
    pub(crate) fn of(resume: bool) -> Self {
        if resume { Self::Resume } else { Self::New }
    }
}

/// A run's directory, locked.
#[derive(Debug)]
pub(crate) struct RunDir {
    pub path: PathBuf,
    /// Held for as long as the value lives; the system frees it when the process dies.
    _lock: File,
}

impl RunDir {
    /// Creates or opens a directory and locks it.
    pub(crate) fn open(path: &Path, opening: Opening) -> Result<Self> {
        fs::create_dir_all(path).map_err(at(path))?;
        // A directory that is refused is left as it was: no lock is made in it and none is written over.
        if opening == Opening::New && !path.join(LOCK).exists() {
            must_be_empty(path)?;
        }
        let mut lock = lock(path)?;
        if opening == Opening::New {
            must_be_empty(path)?;
        }
        sign(&mut lock).map_err(at(&path.join(LOCK)))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The path of a file of the run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces a file of the run as a whole.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        write_whole(&self.file(name), text.as_bytes())
    }

    /// Replaces a record file as a whole.
    pub(crate) fn write_records<T: Serialize>(&self, name: &str, records: &[T]) -> Result<()> {
        write_whole(&self.file(name), &lines(&self.file(name), records)?)
    }

    /// Reads a record file, cutting off a torn last line; no file is no records.
    pub(crate) fn recover<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>> {
        let path = self.file(name);
        let (records, torn) = parse(&path)?;
        if let Some(whole) = torn {
            let file = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
            file.set_len(whole as u64).and_then(|()| file.sync_all()).map_err(at(&path))?;
            say(&format!("{}: cut off a line that a crash had left unfinished", path.display()));
        }
        Ok(records)
    }

    /// Opens a record file for appending.
    pub(crate) fn append(&self, name: &str) -> Result<RecordFile> {
        let path = self.file(name);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
        Ok(RecordFile { path, file })
    }
}

/// The first of runs/NAME-1, runs/NAME-2, … that is not there.
pub(crate) fn free(name: &str) -> anyhow::Result<PathBuf> {
    let candidates = (1..10_000).map(|n| Path::new("runs").join(format!("{name}-{n}")));
    let free = candidates.into_iter().find(|path| !path.exists());
    free.ok_or_else(|| anyhow::anyhow!("runs/ holds 10,000 runs of {name}"))
}

fn must_be_empty(dir: &Path) -> Result<()> {
    let mut entries = fs::read_dir(dir).map_err(at(dir))?.flatten();
    // A process that dies while it writes down its plan leaves these two, and no run.
    let unfinished = |name: &std::ffi::OsStr| name == LOCK || name == "run.toml.new";
    if entries.any(|entry| !unfinished(&entry.file_name())) {
        return Err(StorageError::Exists { path: dir.to_owned() });
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.is_empty() { "unknown".into() } else { pid };
            return Err(StorageError::InUse { path: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(StorageError::Io { path, source }),
    }
    Ok(file)
}

/// Writes down who holds the lock, for the message to others.
fn sign(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}", std::process::id())
}

/// Reads a record file without changing it; a torn last line is left out.
pub(crate) fn read_records<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    Ok(parse(path)?.0)
}

/// The records of a file, and where its whole lines end if something torn follows.
fn parse<T: DeserializeOwned>(path: &Path) -> Result<(Vec<T>, Option<usize>)> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        Err(source) => return Err(StorageError::Io { path: path.to_owned(), source }),
    };
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let record = |(index, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|error| StorageError::Record {
            path: path.to_owned(),
            line: index + 1,
            problem: format!("expected a record: {error}"),
        })
    };
    let lines = bytes[..whole].split(|&byte| byte == b'\n').enumerate();
    let records = lines.filter(|(_, line)| !line.is_empty()).map(record).collect::<Result<_>>()?;
    Ok((records, (whole < bytes.len()).then_some(whole)))
}

fn lines<T: Serialize>(path: &Path, records: &[T]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for record in records {
        serde_json::to_writer(&mut bytes, record).map_err(|error| at(path)(error.into()))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// A record file, a line at a time: for files that need not fit into memory. A torn last line is none.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    n_read: usize,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = BufReader::new(File::open(path).map_err(at(path))?);
        Ok(Self { path: path.to_owned(), file, line: Vec::new(), n_read: 0 })
    }

    /// Goes to the next line; false at the end.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        self.line.clear();
        self.n_read += 1;
        self.file.read_until(b'\n', &mut self.line).map_err(at(&self.path))?;
        Ok(self.line.ends_with(b"\n"))
    }

    /// Whether something stands after the last whole line, when the end is reached.
    pub(crate) fn is_torn(&self) -> bool {
        !self.line.is_empty()
    }

    /// The line, with what ends it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.line
    }

    /// The record on the line.
    pub(crate) fn record<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.line).map_err(|error| StorageError::Record {
            path: self.path.clone(),
            line: self.n_read,
            problem: format!("expected a record: {error}"),
        })
    }
}

/// JSON as people read it, ended by a newline.
pub(crate) fn pretty(value: &impl Serialize) -> std::result::Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|json| json + "\n")
}

/// A record file open for appending.
#[derive(Debug)]
pub(crate) struct RecordFile {
    path: PathBuf,
    file: File,
}

impl RecordFile {
    /// Appends a group of records; they are on disk when this returns.
    pub(crate) fn append<T: Serialize>(&mut self, records: &[T]) -> Result<()> {
        let bytes = lines(&self.path, records)?;
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).map_err(at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, RunDir) {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::open(&temp.path().join("run"), Opening::New).unwrap();
        (temp, run)
    }

    #[test]
    fn a_torn_line_is_cut_off_and_a_damaged_one_is_refused() {
        let (_temp, run) = dir();
        run.append(TRIALS).unwrap().append(&[1, 2]).unwrap();
        let mut file = OpenOptions::new().append(true).open(run.file(TRIALS)).unwrap();
        file.write_all(b"{\"half").unwrap();
        assert_eq!(run.recover::<u32>(TRIALS).unwrap(), [1, 2]);
        assert_eq!(fs::read(run.file(TRIALS)).unwrap(), b"1\n2\n");
        fs::write(run.file(TRIALS), "1\nx\n3\n").unwrap();
        let error = run.recover::<u32>(TRIALS).unwrap_err().to_string();
        assert!(error.contains("trials.jsonl:2: expected a record"), "{error}");
    }

    #[test]
    fn a_directory_has_one_user_and_one_run() {
        let (_temp, run) = dir();
        let second = RunDir::open(&run.path, Opening::Resume).unwrap_err();
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        run.write(PLAN, "x").unwrap();
        let path = run.path.clone();
        drop(run);
        assert!(matches!(RunDir::open(&path, Opening::New), Err(StorageError::Exists { .. })));
        assert!(RunDir::open(&path, Opening::Resume).is_ok());
    }
}
