//! `midcourse export merged` and `midcourse export adapter`: what was trained, as files that other programs load.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use midcourse_core::report::strip_controls;
use midcourse_engine::weights::ModelFiles;
use midcourse_engine::weights::export::{GgufAdapter, MergedModel, ModelFormat, OutFile, Precision};
use serde::Serialize;

use crate::adapter_notes::{self, AdapterNotes};
use crate::args::{AdapterArgs, BaseArgs, MergedArgs};
use crate::failure::Failure;
use crate::hub::Extent;
use crate::model::{self, FileHash, ModelName};
use crate::new_dir::NewDir;
use crate::signals::Signals;
use crate::storage::{NewFile, StorageError, at};
use crate::terminal::{print, say};

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    out: PathBuf,
    format: ModelFormat,
    n_files: usize,
    n_bytes: u64,
}

/// Runs `midcourse export merged`.
pub(super) fn merged(args: &MergedArgs) -> Result<u8> {
    let signals = Signals::listen().context("listening for signals")?;
    let (base, out) = (&args.base, &args.base.out);
    refuse_occupied(out)?;
    let model = MergedModel::open(&located(base)?, &base.adapter)?;
    let format = args.format.unwrap_or_else(|| model.format());
    if format != model.format() {
        return Err(other_format(&base.model, [format, model.format()]).into());
    }
    check_base(base, model.base())?;
    let precision = args.dtype.unwrap_or(match format {
        ModelFormat::Safetensors => Precision::Stored,
        ModelFormat::Gguf => Precision::F32,
    });
    let files = match format {
        ModelFormat::Safetensors => write_dir(out, model.out(precision)?, &signals)?,
        ModelFormat::Gguf => {
            refuse_other_ending(out)?;
            model
                .out(precision)?
                .into_iter()
                .map(|file| write_file(out, file, &signals))
                .sum::<Result<_>>()?
        }
    };
    told(base, format, files)
}

/// Runs `midcourse export adapter`.
pub(super) fn adapter(args: &AdapterArgs) -> Result<u8> {
    let signals = Signals::listen().context("listening for signals")?;
    let (base, out) = (&args.base, &args.base.out);
    refuse_occupied(out)?;
    refuse_other_ending(out)?;
    let adapter = GgufAdapter::open(&located(base)?, &base.adapter)?;
    check_base(base, adapter.base())?;
    let files = write_file(out, adapter.out(args.dtype)?, &signals)?;
    told(base, args.format, files)
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Files {
    n_files: usize,
    n_bytes: u64,
}

impl std::iter::Sum for Files {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let add = |sum: Self, one: Self| Self {
            n_files: sum.n_files + one.n_files,
            n_bytes: sum.n_bytes + one.n_bytes,
        };
        all.fold(Self::default(), add)
    }
}

fn told(base: &BaseArgs, format: ModelFormat, Files { n_files, n_bytes }: Files) -> Result<u8> {
    let written = Written { out: base.out.clone(), format, n_files, n_bytes };
    if base.json {
        print(&serde_json::to_string_pretty(&written)?);
    } else {
        say(&format!("{}: {:.1} MB of {}", base.out.display(), n_bytes as f64 / 1e6, format.name()));
    }
    Ok(0)
}

/// Where the base's files are.
fn located(base: &BaseArgs) -> Result<PathBuf> {
    let parsed = ModelName::parse(&base.model)?;
    if let ModelName::Script(_) = parsed {
        let problem = format!("--model {}: a script has no weights", base.model);
        return Err(Failure::Usage { problem, hint: "name a .gguf file or a directory".into() }.into());
    }
    Ok(model::locate(&base.model, &parsed, Extent::Whole)?.path)
}

/// Holds the base to what is noted beside the adapter.
fn check_base(base: &BaseArgs, files: &ModelFiles) -> Result<()> {
    let Some(notes) = AdapterNotes::read(&base.adapter)? else { return Ok(()) };
    let paths = files.paths();
    let weights = paths.iter().filter(|path| adapter_notes::holds_weights(path));
    let hashes = weights.map(|path| FileHash::of(path)).collect::<Result<Vec<_>>>()?;
    let found = adapter_notes::base_sha256(&hashes);
    match notes.other_base(&base.adapter, &base.model, &found) {
        Some(problem) if base.allow_other_base => say(&format!("warning: {}", strip_controls(&problem))),
        Some(problem) => return Err(adapter_notes::refusal(problem).into()),
        None => {}
    }
    Ok(())
}

fn other_format(model: &str, [asked, found]: [ModelFormat; 2]) -> Failure {
    let why = match asked {
        ModelFormat::Gguf => {
            "llama.cpp's convert_hf_to_gguf.py turns a merged safetensors directory into GGUF"
        }
        ModelFormat::Safetensors => {
            "a GGUF file does not say all of config.json: name the safetensors directory that it was made of"
        }
    };
    Failure::Unsupported {
        problem: format!("--format {}: {model} is {}, which is not supported", asked.name(), found.name()),
        hint: format!("leave --format out for the base's own; {why}"),
    }
}

fn refuse_occupied(out: &Path) -> Result<(), StorageError> {
    if out.exists() { Err(StorageError::Occupied { path: out.to_owned() }) } else { Ok(()) }
}

fn refuse_other_ending(out: &Path) -> Result<(), Failure> {
    if out.extension().is_some_and(|ending| ending == "gguf") {
        return Ok(());
    }
    Err(Failure::Usage {
        problem: format!("--out: expected a name that ends with .gguf, found {}", out.display()),
        hint: "for instance --out merged.gguf".into(),
    })
}

/// Writes a file as a whole.
fn write_file(out: &Path, file: OutFile<'_>, signals: &Signals) -> Result<Files> {
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(at(parent))?;
    }
    let mut new = NewFile::create(out)?;
    let n_bytes = write_pieces((out, &mut new), file, signals)?;
    new.finish()?;
    Ok(Files { n_files: 1, n_bytes })
}

/// Writes a directory as a whole.
fn write_dir(out: &Path, files: Vec<OutFile<'_>>, signals: &Signals) -> Result<Files> {
    let dir = NewDir::create(out)?;
    let write = |file: OutFile<'_>| -> Result<Files> {
        let path = dir.file(&file.name)?;
        let mut new = File::create(&path).map_err(at(&path))?;
        let n_bytes = write_pieces((&path, &mut new), file, signals)?;
        new.sync_all().map_err(at(&path))?;
        Ok(Files { n_files: 1, n_bytes })
    };
    let written = files.into_iter().map(write).sum::<Result<Files>>()?;
    dir.finish()?;
    Ok(written)
}

/// Writes a file piece by piece, unless a signal comes.
fn write_pieces((path, to): (&Path, &mut dyn Write), file: OutFile<'_>, signals: &Signals) -> Result<u64> {
    let mut n_bytes = 0;
    for piece in file.pieces {
        if let Some(failure) = signals.failure("no file was made; run the command again".into()) {
            return Err(failure.into());
        }
        let piece = piece?;
        to.write_all(&piece).map_err(at(path))?;
        n_bytes += piece.len() as u64;
    }
    Ok(n_bytes)
}
