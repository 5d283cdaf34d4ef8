//! Shards to one directory: the same data set as one machine would have made.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use super::options::Shard;
use super::{RANKINGS, RECORDS, SynthManifest, SynthOptions, is_there, read_manifest};
use crate::failure::Failure;
use crate::options;
use crate::run_dir::{self, Lines, Opening, RunDir};
use crate::signals::Signals;
use crate::storage::{NewFile, StorageError, at, new_name};

/// Joins shards in a new directory. It is made beside `out` and gets its name when every record is there.
pub(crate) fn merge(shards: &[PathBuf], out: &Path, signals: &Signals) -> Result<RunDir> {
    let parts: Vec<Part> = shards.iter().map(|dir| Part::read(dir)).collect::<Result<_>>()?;
    check(&parts)?;
    let Some(first) = parts.first() else { return Err(nothing()) };
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StorageError::Exists { path: out.to_owned() }.into());
    }
    let new = new_name(out);
    if is_there(&new) {
        // Left by a merge that was killed.
        fs::remove_dir_all(&new).map_err(at(&new))?;
    }
    let dir = RunDir::open(&new, Opening::New)?;
    dir.write(run_dir::MANIFEST, &run_dir::pretty(&joined_manifest(&parts, &first.manifest))?)?;
    let options = SynthOptions { shard: None, ..first.options.clone() };
    dir.write(run_dir::PLAN, &toml::to_string(&options)?)?;
    for name in RECORDS {
        let files = parts.iter().map(|part| Records::open(&part.dir.join(name)));
        let mut files: Vec<Records> = files.collect::<Result<_>>()?;
        let path = dir.file(name);
        let mut file = BufWriter::new(NewFile::create(&path)?);
        join(&mut files, (&path, &mut file), signals)?;
        file.into_inner().map_err(|error| at(&path)(error.into_error()))?.finish()?;
    }
    fs::rename(&new, out).map_err(at(out))?;
    drop(dir);
    Ok(RunDir::open(out, Opening::Resume)?)
}

/// What all shards together were made from, and have cost.
fn joined_manifest(parts: &[Part], first: &SynthManifest) -> SynthManifest {
    let all = || parts.iter().map(|part| &part.manifest);
    let mut caveats: Vec<String> = Vec::new();
    for caveat in all().flat_map(|manifest| &manifest.caveats) {
        if !caveats.contains(caveat) {
            caveats.push(caveat.clone());
        }
    }
    let day = |part: &Part| part.options.framing.date;
    if parts.iter().any(|part| day(part) != day(&parts[0])) {
        caveats
            .push("the shards were made on different days, which a template that tells the day shows".into());
    }
    SynthManifest {
        shard: Shard::WHOLE,
        sessions: all().flat_map(|manifest| manifest.sessions.clone()).collect(),
        spent: all().map(|manifest| manifest.spent).sum(),
        judging: all().filter_map(|manifest| manifest.judging).reduce(|a, b| a + b),
        caveats,
        ..first.clone()
    }
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
        let same = "shards of one data set are made with the same settings, data and model";
        let (ours, theirs) = (settings(&first.options)?, settings(options)?);
        if let Some((option, ours, theirs)) = options::differing(&ours, &theirs) {
            let problem =
                format!("the shard was made with {option} = {theirs}, {} with {ours}", first.dir.display());
            return refuse(problem, same);
        }
        if let Some(difference) = first.manifest.difference(manifest) {
            let problem = format!("the shard was made with {difference} than {}", first.dir.display());
            return refuse(problem, same);
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

/// The options in which shards must agree. Where model, data and texts lie is another thing on every machine: the
/// manifests hold their hashes. The day is told apart.
fn settings(options: &SynthOptions) -> Result<toml::Table> {
    let mut framing = options.framing.clone();
    framing.date = None;
    let options = SynthOptions {
        shard: None,
        model: None,
        data: None,
        benign: None,
        exclude: Vec::new(),
        triggers: None,
        refusal_openers: None,
        framing,
        ..options.clone()
    };
    Ok(toml::Table::try_from(options.deciding())?)
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
        let is_there = self.lines.advance()? || self.lines.is_torn();
        self.next = if is_there { Some(self.lines.record::<Place>()?.index) } else { None };
        Ok(())
    }
}

/// Writes the lines of all files in the order of their samples.
fn join(files: &mut [Records], (path, out): (&Path, &mut impl Write), signals: &Signals) -> Result<()> {
    loop {
        if let Some(failure) = signals.failure("no directory was made; run the command again".into()) {
            return Err(failure.into());
        }
        let open = files.iter_mut().filter(|records| records.next.is_some());
        let Some(first) = open.min_by_key(|records| records.next) else { return Ok(()) };
        out.write_all(first.lines.bytes()).map_err(at(path))?;
        first.advance()?;
    }
}
