//! The cache of the hub's own clients, shared with them: what Python has fetched is found.
//!
//! ```text
//! HF_HUB_CACHE/models--ORG--NAME/refs/REVISION           holds the commit
//!                               /blobs/ETAG              contents, each once
//!                               /snapshots/COMMIT/FILE   links to the contents
//!             /.locks/models--ORG--NAME/ETAG.lock
//!             /datasets--ORG--NAME                           the same of a data set, and
//!                               /.midcourse/COMMIT.json      which files the commit has
//! ```
//!
//! Of a data set only a split is fetched, and which files make it depends on those that the repository has: the list
//! is ours, and Python's clients pass over it.
//!
//! Source: `huggingface_hub`'s guide "Understand caching", and its `file_download.py` for the locks.

use std::fs::{self, File};
#[cfg(unix)]
use std::os::unix::fs::symlink;
#[cfg(windows)]
use std::os::windows::fs::symlink_file as symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;

use midcourse_engine::files;

use super::name::{Kind, Repo, is_commit, is_path_within};
use crate::failure::Failure;
use crate::storage::{self, StorageError, at};

/// A list of a repository's files is far smaller.
const MAX_LISTING_BYTES: u64 = 32 << 20;

/// What a file of the hub is: how its content is known, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// A name of the content: its SHA-256 for large files, git's hash for small ones.
    pub etag: String,
    pub bytes: u64,
}

impl Remote {
    /// The content's SHA-256, where the hub gives it.
    pub(super) fn sha256(&self) -> Option<&str> {
        Some(self.etag.as_str()).filter(|etag| etag.len() == 64)
    }
}

/// `HF_HOME`, else where the hub's clients put it.
pub(super) fn home() -> Result<PathBuf> {
    if let Some(home) = storage::env_path("HF_HOME") {
        return Ok(home);
    }
    Ok(storage::user_cache()?.join("huggingface"))
}

/// Every repository of a model in the cache.
pub(crate) fn repos() -> Result<Vec<RepoCache>> {
    let root = root()?;
    let Ok(entries) = fs::read_dir(&root) else { return Ok(Vec::new()) };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let repo = |folder: &String| {
        let (org, name) = folder.strip_prefix("models--")?.split_once("--")?;
        Some(RepoCache {
            repo: Repo::model(&format!("{org}/{name}")),
            root: root.clone(),
            folder: folder.clone(),
        })
    };
    Ok(names.iter().filter_map(repo).collect())
}

fn root() -> Result<PathBuf> {
    match storage::env_path("HF_HUB_CACHE") {
        Some(root) => Ok(root),
        None => Ok(home()?.join("hub")),
    }
}

/// A repository's part of the cache.
#[derive(Debug, Clone)]
pub(crate) struct RepoCache {
    pub repo: Repo,
    root: PathBuf,
    folder: String,
}

impl RepoCache {
    pub(crate) fn new(repo: Repo) -> Result<Self> {
        let folder = format!("{}--{}", repo.kind.plural(), repo.name.replace('/', "--"));
        Ok(Self { repo, root: root()?, folder })
    }

    /// The repository's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(&self.folder)
    }

    /// The commit that a revision was when it was last asked for.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.dir().join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes which commit a revision is.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), StorageError> {
        let _lock = self.lock("refs", &self.repo.name)?;
        if self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.dir().join("refs").join(revision);
        create_parent(&path)?;
        storage::write_whole(&path, commit.as_bytes())
    }

    /// Where the files of a commit are.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir().join("snapshots").join(commit)
    }

    /// Commits of which something is there.
    pub(crate) fn commits(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir().join("snapshots")).into_iter().flatten();
        let mut commits: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        commits.retain(|commit| is_commit(commit));
        commits.sort();
        commits
    }

    /// Paths of the files of a commit, in order.
    pub(crate) fn files(&self, commit: &str) -> Vec<String> {
        let mut files = Vec::new();
        list_files(&self.snapshot(commit), "", &mut files);
        files.sort();
        files
    }

    /// The files that a commit has on the hub, as far as that was noted.
    pub(super) fn listing(&self, commit: &str) -> Option<Vec<String>> {
        let bytes = files::read(&self.listing_path(commit), MAX_LISTING_BYTES).ok()?;
        let files: Vec<String> = serde_json::from_slice(&bytes).ok()?;
        files.iter().all(|file| is_path_within(file)).then_some(files)
    }

    /// Notes the files that a commit has on the hub.
    pub(super) fn set_listing(&self, commit: &str, files: &[String]) -> Result<(), StorageError> {
        let path = self.listing_path(commit);
        if path.exists() {
            return Ok(());
        }
        let _lock = self.lock("refs", &self.repo.name)?;
        create_parent(&path)?;
        storage::write_whole(&path, serde_json::json!(files).to_string().as_bytes())
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.dir().join(".midcourse").join(format!("{commit}.json"))
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.dir().join("blobs").join(etag)
    }

    /// Waits until no other process, of Python's client neither, writes `part`, a content or the references.
    pub(super) fn lock(&self, part: &str, what: &str) -> Result<File, StorageError> {
        let path = self.root.join(".locks").join(&self.folder).join(format!("{part}.lock"));
        create_parent(&path)?;
        storage::wait_for_lock(&path, what)
    }

    /// Gives a content its name in a commit.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), StorageError> {
        let path = self.snapshot(commit).join(file);
        if path.exists() {
            return Ok(());
        }
        create_parent(&path)?;
        // A link to a content that has been removed stands in the way of the new one.
        if path.is_symlink() {
            fs::remove_file(&path).map_err(at(&path))?;
        }
        let up = "../".repeat(2 + file.matches('/').count());
        symlink(format!("{up}blobs/{etag}"), &path).map_err(at(&path))
    }

    /// Bytes of all contents, each once.
    pub(crate) fn bytes(&self) -> u64 {
        storage::bytes_below(&self.dir())
    }
}

fn create_parent(path: &Path) -> Result<(), StorageError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(at(dir))
}

fn list_files(dir: &Path, prefix: &str, files: &mut Vec<String>) {
    // The hub has no deeper ones, and links may lead in circles.
    if prefix.matches('/').count() > 8 {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            list_files(&entry.path(), &format!("{path}/"), files);
        } else if entry.path().exists() && is_path_within(&path) {
            files.push(path);
        }
    }
}

/// The failure of a model or a data set of which the cache lacks files, when nothing may be asked.
pub(super) fn not_cached(kind: Kind, name: &str, reason: &str, missing: &[String]) -> Failure {
    let (whole, command) = match kind {
        Kind::Model => ("the model", "models pull"),
        Kind::Dataset => ("the data set", "data check"),
    };
    let missing = if missing.is_empty() { whole.to_owned() } else { missing.join(", ") };
    Failure::Endpoint {
        problem: format!("{name}: {reason}, and the cache lacks {missing}"),
        hint: format!("fetch it once with a network: `midcourse {command} {name}`"),
    }
}
