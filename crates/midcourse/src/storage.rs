//! Writing files so that a crash leaves the old one or the new one, never half of one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::terminal::say;

/// Ways in which a run's directory can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The directory has a run in it.
    #[error("{}: a run is already there", path.display())]
    Exists { path: PathBuf },
    /// A file stands where one is to be written.
    #[error("{}: the file is already there", path.display())]
    FileExists { path: PathBuf },
    /// The directory has no run in it.
    #[error("{}: nothing to resume there", path.display())]
    NothingToResume { path: PathBuf },
    /// Another process writes there.
    #[error("{}: another process (pid {pid}) is using this run", path.display())]
    InUse { path: PathBuf, pid: String },
    /// The directory holds another run than the one asked for.
    #[error("{}: the run there was made with {difference}", path.display())]
    Mismatch { path: PathBuf, difference: String },
    /// A record file is damaged in its middle, or of another version.
    #[error("{}:{line}: {problem}", path.display())]
    Record { path: PathBuf, line: usize, problem: String },
}

impl StorageError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check that the disk has room and that the directory may be written to",
            Self::Exists { .. } => "go on with it by --resume, or choose another --out",
            Self::FileExists { .. } => "choose another --out, or remove the file",
            Self::NothingToResume { .. } => "check --out, or leave --resume out to start a run there",
            Self::InUse { .. } => "wait for it or stop it; a lock of a dead process is taken over by itself",
            Self::Mismatch { .. } => "resume with the same settings and data, or choose another --out",
            Self::Record { .. } => {
                "the file was changed by something else or written by a newer midcourse; start a new run"
            }
        }
    }
}

/// Adds the path to an error of the system.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> StorageError + '_ {
    |source| StorageError::Io { path: path.to_owned(), source }
}

/// The path that an environment variable holds; an empty one holds none.
pub(crate) fn env_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where the user's programs keep what can be fetched again: `$XDG_CACHE_HOME`, else `~/.cache`.
pub(crate) fn user_cache() -> Result<PathBuf, Failure> {
    let set = env_path("XDG_CACHE_HOME").filter(|dir| dir.is_absolute());
    set.or_else(|| env_path("HOME").map(|home| home.join(".cache"))).ok_or_else(|| Failure::Usage {
        problem: "neither XDG_CACHE_HOME nor HOME is set".into(),
        hint: "set XDG_CACHE_HOME to a directory for downloaded models".into(),
    })
}

/// Bytes of the files below a directory; links are not followed.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) if data.is_file() => data.len(),
        _ => 0,
    };
    fs::read_dir(dir).into_iter().flatten().flatten().map(bytes).sum()
}

/// Takes a lock, waiting for whoever holds it; it is free again when the file is dropped or the process dies.
/// `what` is said to be waited for.
pub(crate) fn wait_for_lock(path: &Path, what: &str) -> Result<File, StorageError> {
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = open.map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say(&format!("waiting for another process that fetches {what} …")),
        Err(TryLockError::Error(source)) => return Err(at(path)(source)),
    }
    file.lock().map_err(at(path))?;
    Ok(file)
}

/// Replaces a file as a whole.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced.map_err(at(path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes a rename durable.
fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|file| file.sync_all()).map_err(at(dir))
}
