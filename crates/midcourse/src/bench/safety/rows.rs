//! From files to the probes of a task.

use std::path::Path;

use anyhow::Result;
use midcourse_core::bench::safety::{Probes, SafetyTask};
use midcourse_core::data::{self, Artifact, LabelledPrompts, Responses, Safety, Sample};
use midcourse_core::report::strip_controls;
use sha2::{Digest, Sha256};

use super::options::Files;
use crate::failure::Failure;
use crate::input::{self, DataSource, hex};
use crate::terminal::say;

/// The probes of a task and what their files are known by.
pub(super) struct Rows {
    pub probes: Probes,
    /// SHA-256 of the files, one after the other, decompressed.
    pub sha256: String,
}

/// Reads the rows of a task, of every file the first `limit`; none when no file is named for it.
pub(super) fn read(task: SafetyTask, files: Files, limit: usize) -> Result<Option<Rows>> {
    let mut hash = Sha256::new();
    let probes = match task {
        SafetyTask::OverRefusal | SafetyTask::Contrast => prompts(task, files, limit, &mut hash)?,
        SafetyTask::Artifacts => artifacts(files, limit, &mut hash)?,
        SafetyTask::Ciphers => {
            let goals = files.goals()?.map(|source| samples(&source, Responses::Optional, limit, &mut hash));
            goals.transpose()?.map(|goals| Probes::of_goals(&goals, &files.options.ciphers()))
        }
        SafetyTask::Prefills => {
            let rows =
                files.prefills()?.map(|source| samples(&source, Responses::Required, limit, &mut hash));
            rows.transpose()?.map(|rows| Probes::of_responses(&rows))
        }
    };
    let Some(probes) = probes else { return Ok(None) };
    say_what_is_there(&probes);
    Ok(Some(Rows { probes, sha256: hex(&hash.finalize()) }))
}

/// What to do when no file is named for a task.
pub(super) fn missing(task: SafetyTask) -> Failure {
    let flags = match task {
        SafetyTask::OverRefusal => "--xstest FILE or --benign FILE",
        SafetyTask::Contrast => "--xstest FILE, with prompts that are labelled unsafe",
        SafetyTask::Artifacts => "--attacks FILE",
        SafetyTask::Ciphers => "--goals FILE",
        SafetyTask::Prefills => "--prefills FILE",
    };
    Failure::Usage {
        problem: format!("--tasks: {} has no data", task.name()),
        hint: format!("name it with {flags}, or put files that are called as the tasks are into --data DIR"),
    }
}

fn prompts(task: SafetyTask, files: Files, limit: usize, hash: &mut Sha256) -> Result<Option<Probes>> {
    let labelled = files.xstest()?.map(|file| labelled(&file, limit, hash)).transpose()?;
    let labelled = labelled.map(|labelled| labelled.prompts).unwrap_or_default();
    let (safety, ordinary) = match task {
        SafetyTask::OverRefusal => {
            let rows = files.benign()?.map(|source| samples(&source, Responses::Optional, limit, hash));
            (Safety::Safe, rows.transpose()?.unwrap_or_default())
        }
        _ => (Safety::Unsafe, Vec::new()),
    };
    let probes = Probes::of_prompts(safety, &labelled, &ordinary);
    Ok(Some(probes).filter(|probes| !probes.probes.is_empty()))
}

fn labelled(file: &Path, limit: usize, hash: &mut Sha256) -> Result<LabelledPrompts> {
    let bytes = input::read_file(file)?;
    hash.update(&bytes);
    let mut read = data::parse_labelled_prompts(&file.display().to_string(), &bytes)?;
    read.prompts.truncate(limit);
    Ok(read)
}

fn samples(
    source: &DataSource,
    responses: Responses,
    limit: usize,
    hash: &mut Sha256,
) -> Result<Vec<Sample>> {
    let mut file = input::read(source, responses)?;
    hash.update(&file.sha256);
    file.set.samples.truncate(limit);
    Ok(file.set.samples)
}

fn artifacts(files: Files, limit: usize, hash: &mut Sha256) -> Result<Option<Probes>> {
    let mut artifacts: Vec<(String, Artifact)> = Vec::new();
    for file in files.attacks()? {
        let bytes = input::read_file(&file)?;
        hash.update(&bytes);
        let mut artifact = data::parse_artifact(&file.display().to_string(), &bytes)?;
        artifact.attacks.truncate(limit);
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        artifacts.push((stem, artifact));
    }
    Ok((!artifacts.is_empty()).then(|| Probes::of_artifacts(&artifacts)))
}

/// How much there is, and what was left out; never what it says.
fn say_what_is_there(probes: &Probes) {
    let n_unsent = probes.probes.iter().filter(|probe| probe.sample.is_none()).count();
    let unsent = match n_unsent {
        0 => String::new(),
        n => format!(", {n} of them without an attack prompt: counted, never sent"),
    };
    let skipped = probes.n_skipped.iter().map(|(reason, n)| format!(", {n} left out ({reason})"));
    let skipped = skipped.collect::<Vec<_>>().concat();
    let line = format!("{}: {} probes{unsent}{skipped}", probes.task.name(), probes.probes.len());
    say(&strip_controls(&line));
}
