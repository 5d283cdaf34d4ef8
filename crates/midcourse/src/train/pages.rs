//! The pages of a training: from the files of its directory, and of the two evaluations in it, to `report.html` and
//! `report.md`.

use std::path::Path;

use anyhow::Result;
use midcourse_core::eval::Set;
use midcourse_core::metrics::difference;
use midcourse_core::report::train::{self, Change, Measured, Rate, TrainReport};
use midcourse_core::train::{EvalRecord, StepRecord};

use super::evaluation::Moment;
use super::manifest::{DropCount, TrainManifest, read_manifest};
use super::options::TrainOptions;
use super::run::{EVAL_LOG, TRAIN_LOG};
use crate::evaluated::Evaluated;
use crate::storage::{StorageError, write_whole};
use crate::{options, run_dir};

const HTML: &str = "report.html";
const MARKDOWN: &str = "report.md";

/// Whether a directory is that of a training.
pub(crate) fn is_training(dir: &Path) -> bool {
    dir.join(TRAIN_LOG).is_file()
}

/// Writes both pages; returns what changed, a sentence each.
pub(crate) fn write(dir: &Path) -> Result<Vec<String>> {
    let manifest =
        read_manifest(dir)?.ok_or_else(|| StorageError::NothingToResume { path: dir.to_owned() })?;
    let asked: TrainOptions = options::read(&dir.join(run_dir::PLAN))?;
    let steps: Vec<StepRecord> = run_dir::read_records(&dir.join(TRAIN_LOG))?;
    let evals: Vec<EvalRecord> = run_dir::read_records(&dir.join(EVAL_LOG))?;
    let [before, after] = [Moment::Before, Moment::After].map(|moment| evaluated(&dir.join(moment.name())));
    let runs = before?.zip(after?);
    let objective = asked.objective.unwrap_or_default();
    let report = TrainReport {
        model: &manifest.model.name,
        objective: objective.name(),
        steps: &steps,
        evals: &evals,
        best: manifest.best.map(|best| best.step),
        measured: runs.as_ref().map(|(before, after)| Measured {
            before: &before.scores,
            after: &after.scores,
            changes: changes(before, after),
        }),
        warnings: &manifest.warnings,
        details: details(&manifest, &options::command("train", &asked)?),
    };
    write_whole(&dir.join(HTML), train::html(&report).as_bytes())?;
    write_whole(&dir.join(MARKDOWN), train::markdown(&report).as_bytes())?;
    Ok(report.measured.map_or_else(Vec::new, |measured| train::changes(&measured.changes)))
}

/// None where none is finished.
fn evaluated(dir: &Path) -> Result<Option<Evaluated>> {
    dir.join(run_dir::SCORES).is_file().then(|| Evaluated::read(dir)).transpose()
}

/// Rates that both evaluations have. They are of the same prompts: one training asked for both.
fn changes(before: &Evaluated, after: &Evaluated) -> Vec<Change> {
    let rates = [
        (Rate::CorrMean, Set::Harmful, false),
        (Rate::FalseCorrections, Set::Benign, false),
        (Rate::PlainHarmful, Set::Harmful, true),
        (Rate::PlainBenign, Set::Benign, true),
    ];
    let seed = after.scores.settings.seed;
    let lengths = &after.scores.settings.prefix_lengths;
    let change = |(rate, set, is_plain): (Rate, Set, bool)| {
        let others = after.of(set);
        let pairs: Vec<_> =
            before.of(set).iter().filter_map(|(id, outcome)| Some((outcome, others.get(id)?))).collect();
        let lengths: Vec<usize> = lengths.iter().copied().filter(|&k| (k == 0) == is_plain).collect();
        let difference = difference(&pairs, &lengths, seed)?;
        let [before, after] = difference.figures;
        Some(Change { rate, before, after, difference })
    };
    rates.into_iter().filter_map(change).collect()
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
