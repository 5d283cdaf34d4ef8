//! Shards to one directory: the same data set as one machine would have made.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use super::options::Shard;
use super::{RANKINGS, RECORDS, SynthManifest, SynthOptions, read_manifest};
use crate::failure::Failure;
use crate::options;
use crate::run_dir::{self, Lines, Opening, RunDir};
use crate::storage::{NewFile, at};

/// Joins shards in a new directory.
pub(crate) fn merge(shards: &[PathBuf], out: &Path) -> Result<RunDir> {
    let parts: Vec<Part> = shards.iter().map(|dir| Part::read(dir)).collect::<Result<_>>()?;
    check(&parts)?;
    let dir = RunDir::open(out, Opening::New)?;
    let Some(first) = parts.first() else { return Err(nothing()) };
    for name in RECORDS {
        let files = parts.iter().map(|part| Records::open(&part.dir.join(name)));
        let mut files: Vec<Records> = files.collect::<Result<_>>()?;
        let path = dir.file(name);
        let mut out = BufWriter::new(NewFile::create(&path)?);
        join(&mut files, &path, &mut out)?;
        out.into_inner().map_err(|error| at(&path)(error.into_error()))?.finish()?;
    }
    let sessions = parts.iter().flat_map(|part| part.manifest.sessions.clone()).collect();
    let spent = parts.iter().map(|part| part.manifest.spent).sum();
    let manifest = SynthManifest { shard: Shard::WHOLE, sessions, spent, ..first.manifest.clone() };
    let options = SynthOptions { shard: None, ..first.options.clone() };
    dir.write(run_dir::PLAN, &toml::to_string(&options)?)?;
    dir.write(run_dir::MANIFEST, &run_dir::pretty(&manifest)?)?;
    Ok(dir)
}

fn nothing() -> anyhow::Error {
    Failure::Usage {
        problem: "expected the directories of shards, found none".into(),
        hint: "name all that `midcourse synth --shard I/N` made".into(),
    }
    .into()
}

/// A shard that is to be joined.
struct Part {
    dir: PathBuf,
    manifest: SynthManifest,
    options: SynthOptions,
}

impl Part {
    fn read(dir: &Path) -> Result<Self> {
        let wrong = |problem: &str, hint: &str| Failure::Input {
            problem: format!("{}: {problem}", dir.display()),
            hint: hint.into(),
        };
        let manifest = read_manifest(dir)?.ok_or_else(|| {
            wrong("expected the directory of a shard, found no manifest.json there", "name what --out named")
        })?;
        if !dir.join(RANKINGS).is_file() {
            let hint = "go on with it by `midcourse synth --resume --out DIR`";
            return Err(wrong("expected a finished shard, found one that is under way", hint).into());
        }
        let options = options::read(&dir.join(run_dir::PLAN))?;
        Ok(Self { dir: dir.to_owned(), manifest, options })
    }
}

/// Whether the shards are those of one run, all of them and each once.
fn check(parts: &[Part]) -> Result<()> {
    let Some(first) = parts.first() else { return Err(nothing()) };
    let n = first.manifest.shard.n;
    let mut seen = BTreeSet::new();
    for Part { dir, manifest, options } in parts {
        let refuse = |problem: String, hint: &str| -> Result<()> {
            Err(Failure::Input { problem: format!("{}: {problem}", dir.display()), hint: hint.into() }.into())
        };
        let table = |options: &SynthOptions| {
            let options = SynthOptions { shard: None, ..options.clone() };
            toml::Table::try_from(options.deciding())
        };
        let differs = options::difference(&table(&first.options)?, &table(options)?)
            .or_else(|| first.manifest.difference(manifest));
        if let Some(difference) = differs {
            let problem = format!("the shard was made with {difference}, unlike {}", first.dir.display());
            return refuse(problem, "shards of one data set are made with the same settings, data and model");
        }
        if manifest.shard.n != n {
            let problem = format!("expected a shard of {n}, found {}", manifest.shard);
            return refuse(problem, "shards of one data set are made with the same N of --shard I/N");
        }
        if !seen.insert(manifest.shard.i) {
            return refuse(format!("shard {} is there twice", manifest.shard), "name every shard once");
        }
    }
    let missing: Vec<String> = (1..=n).filter(|i| !seen.contains(i)).map(|i| format!("{i}/{n}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let problem = format!("expected {n} shards, found {}; missing: {}", seen.len(), missing.join(", "));
    Err(Failure::Input { problem, hint: "make them with `midcourse synth --shard I/N`".into() }.into())
}

/// The record file of a shard, and the place of the sample that its line is about; none at the end.
struct Records {
    lines: Lines,
    next: Option<usize>,
}

impl Records {
    fn open(path: &Path) -> Result<Self> {
        let mut records = Self { lines: Lines::open(path)?, next: None };
        records.advance()?;
        Ok(records)
    }

    fn advance(&mut self) -> Result<()> {
        #[derive(Deserialize)]
        struct Place {
            index: usize,
        }
        let is_there = self.lines.advance()?;
        self.next = if is_there { Some(self.lines.record::<Place>()?.index) } else { None };
        Ok(())
    }
}

/// Writes the lines of all files in the order of their samples.
fn join(files: &mut [Records], path: &Path, out: &mut impl Write) -> Result<()> {
    loop {
        let open = files.iter_mut().filter(|records| records.next.is_some());
        let Some(first) = open.min_by_key(|records| records.next) else { return Ok(()) };
        out.write_all(first.lines.bytes()).map_err(at(path))?;
        first.advance()?;
    }
}
