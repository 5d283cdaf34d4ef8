//! The pages of a training: from the files of its directory, and of the runs in it that measured before and after, to
//! `report.html` and `report.md`.

use std::path::Path;

use anyhow::Result;
use midcourse_core::Error;
use midcourse_core::compare::{self, Comparison};
use midcourse_core::metrics::Scores;
use midcourse_core::report::train::{self, TrainReport};
use midcourse_core::train::{EvalRecord, StepRecord};

use super::evaluation::Moment;
use super::manifest::{DropCount, TrainManifest, read_manifest};
use super::options::TrainOptions;
use super::run::{EVAL_LOG, TRAIN_LOG};
use crate::bench::SUMMARY;
use crate::compare::RunArg;
use crate::pages::read_scores;
use crate::storage::{StorageError, write_whole};
use crate::{options, run_dir};

const HTML: &str = "report.html";
const MARKDOWN: &str = "report.md";

/// Whether a directory is that of a training.
pub(crate) fn is_training(dir: &Path) -> bool {
    dir.join(TRAIN_LOG).is_file()
}

/// Writes both pages; returns what changed, where anything was measured before and after.
pub(crate) fn write(dir: &Path) -> Result<Option<Comparison>> {
    let manifest =
        read_manifest(dir)?.ok_or_else(|| StorageError::NothingToResume { path: dir.to_owned() })?;
    let asked: TrainOptions = options::read(&dir.join(run_dir::PLAN))?;
    let steps: Vec<StepRecord> = run_dir::read_records(&dir.join(TRAIN_LOG))?;
    let evals: Vec<EvalRecord> = run_dir::read_records(&dir.join(EVAL_LOG))?;
    let [before, after] = [Moment::Before, Moment::After].map(|moment| scores(&dir.join(moment.name())));
    let scores = before?.zip(after?);
    let comparison = comparison(dir)?;
    let objective = asked.objective.unwrap_or_default();
    let report = TrainReport {
        model: &manifest.model.name,
        objective: objective.name(),
        steps: &steps,
        evals: &evals,
        best: manifest.best.map(|best| best.step),
        scores: scores.as_ref().map(|(before, after)| [before, after]),
        comparison: comparison.as_ref(),
        warnings: &manifest.warnings,
        details: details(&manifest, &options::command("train", &asked)?),
    };
    write_whole(&dir.join(HTML), train::html(&report).as_bytes())?;
    write_whole(&dir.join(MARKDOWN), train::markdown(&report).as_bytes())?;
    Ok(comparison)
}

/// None where no evaluation is finished.
fn scores(run: &Path) -> Result<Option<Scores>> {
    run.join(run_dir::SCORES).is_file().then(|| read_scores(run)).transpose()
}

/// The trained model against the base in everything that was measured of both; none where nothing was.
fn comparison(dir: &Path) -> Result<Option<Comparison>> {
    let finished = |moment: Moment| {
        let evaluation = (moment.name(), run_dir::SCORES);
        let parts = [evaluation, (moment.bench_name(), SUMMARY)].map(|(name, last)| (dir.join(name), last));
        parts.into_iter().filter(|(run, last)| run.join(last).is_file()).map(|(run, _)| run)
    };
    let of = |moment, name| finished(moment).map(move |run| RunArg::named(name, run));
    let before: Vec<RunArg> = of(Moment::Before, "base").collect();
    let after: Vec<RunArg> = of(Moment::After, "trained").collect();
    if before.is_empty() || after.is_empty() {
        return Ok(None);
    }
    match compare::compare(&crate::compare::read(&[before, after].concat())?, &[]) {
        // Nothing could be judged in one of them, say.
        Err(Error::NothingToCompare { .. }) => Ok(None),
        compared => Ok(Some(compared?)),
    }
}

fn details(manifest: &TrainManifest, command: &str) -> Vec<(String, String)> {
    let TrainManifest { counts, data, .. } = manifest;
    let mut rows = vec![
        ("Base", format!("{} ({})", manifest.model.name, manifest.model.description)),
        ("Command", command.to_owned()),
        ("Data", format!("{} ({} {}, SHA-256 {})", data.name, data.n_rows, data.format, data.sha256)),
        (
            "Trained on",
            format!(
                "{} trees with {} pairs, {} of the trees contrast rankings; {} held out, {} left out by the share",
                counts.n_train, counts.n_pairs, counts.n_contrast, counts.n_held_out, counts.n_left_out
            ),
        ),
        (
            "Tokens an epoch",
            format!("{} computed, {} in pairs", counts.n_tokens_distinct, counts.n_tokens_pairs),
        ),
        ("Time", format!("{:.0} s in {} sessions", manifest.wall_secs(), manifest.sessions.len())),
        ("Chat template", format!("{} (SHA-256 {})", manifest.chat_template, manifest.model.template_sha256)),
        ("System prompt", manifest.system.clone()),
        ("Made with", format!("midcourse {} on {}", manifest.midcourse, manifest.platform)),
    ];
    rows.extend(counts.dropped.iter().map(|dropped| ("Dropped", DropCount::text(dropped))));
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
