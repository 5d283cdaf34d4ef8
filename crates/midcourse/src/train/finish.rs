//! The end of a training: the adapter's card, its notes, and what is said at the terminal.

use std::fmt::Write;

use anyhow::Result;
use midcourse_core::compare::Comparison;
use midcourse_core::metrics::Scores;
use midcourse_core::report::compare::sentences;
use midcourse_core::train::EvalRecord;
use serde::Serialize;

use super::card::Card;
use super::manifest::{DropCount, TrainManifest};
use super::run::read_evals;
use super::session::TrainRun;
use super::{TrainPlan, pages};
use crate::options;

/// What a training came to, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// The adapter's directory.
    pub adapter: String,
    /// What is held out, before training and with the adapter that is kept; null where nothing is held out.
    pub held_out_before: Option<EvalRecord>,
    pub held_out_after: Option<EvalRecord>,
    /// Course-correction before and after; null where it was not measured.
    pub before: Option<Scores>,
    pub after: Option<Scores>,
    /// The trained model against the base in everything that was measured, as compare.json has it; null where nothing was.
    pub comparison: Option<Comparison>,
    pub manifest: TrainManifest,
}

/// Writes the pages and the card of the adapter; returns the results.
pub(crate) fn finish(run: &TrainRun, plan: &TrainPlan, scores: [Option<Scores>; 2]) -> Result<Results> {
    run.write_manifest()?;
    let evals = read_evals(&run.dir)?;
    let at = |step: usize| evals.iter().find(|record| record.step == step).cloned();
    let [before, after] = scores;
    let results = Results {
        adapter: run.adapter().display().to_string(),
        held_out_before: at(0),
        held_out_after: run.manifest.best.and_then(|best| at(best.step)),
        before,
        after,
        comparison: pages::write(&run.dir.path)?,
        manifest: run.manifest.clone(),
    };
    let card = Card { results: &results, command: options::command("train", &plan.options)? };
    run.adapter_dir().describe(&card.render())?;
    Ok(results)
}

impl Results {
    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let TrainManifest { counts, n_steps, best, sessions, .. } = &self.manifest;
        let mut text = format!(
            "{n_steps} steps over {} trees ({} pairs), {} held out",
            counts.n_train, counts.n_pairs, counts.n_held_out
        );
        let n_tokens: u64 = sessions.iter().map(|session| session.n_tokens_distinct).sum();
        let secs = self.manifest.wall_secs();
        let _ = write!(text, "\n{n_tokens} distinct tokens in {secs:.0} s");
        for dropped in counts.dropped.iter().map(DropCount::text) {
            let _ = write!(text, "\n{dropped}");
        }
        if let Some(best) = best {
            let _ = write!(text, "\nkept: step {}, held-out loss {:.4}", best.step, best.loss);
        }
        for (name, before, after) in self.rows() {
            let _ = write!(text, "\n{name}: {before} → {after}");
        }
        for line in self.comparison.iter().flat_map(sentences) {
            let _ = write!(text, "\n{line}");
        }
        text
    }

    /// Figures of what is held out: name, before, after.
    pub(super) fn rows(&self) -> Vec<(&'static str, String, String)> {
        let mut rows = Vec::new();
        if let (Some(before), Some(after)) = (&self.held_out_before, &self.held_out_after) {
            let mut row = |name, of: fn(&EvalRecord) -> Option<f64>, show: fn(f64) -> String| {
                if let (Some(before), Some(after)) = (of(before), of(after)) {
                    rows.push((name, show(before), show(after)));
                }
            };
            row("held-out loss", |r| r.eval_loss, |loss| format!("{loss:.4}"));
            row("pairs told apart, held out", |r| r.eval_rewards_accuracies, percent);
            row(
                "probability of the first token of a turn",
                |r| r.eval_first_turn_probability_harmful,
                percent,
            );
            row("the same of a false turn", |r| r.eval_first_turn_probability_benign, percent);
        }
        rows
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
