//! What the pages of a training say in sentences.

use super::super::figure::{ends, signed};
use super::{Change, TrainReport};
use crate::metrics::Difference;

/// What was done, in a sentence.
pub(super) fn trained(report: &TrainReport) -> String {
    let n_tokens = report.steps.last().map_or(0, |step| step.num_tokens_distinct);
    let n_pair_tokens = report.steps.last().map_or(0, |step| step.num_tokens);
    format!(
        "{} steps with the objective {}: {n_tokens} tokens computed, each once, for pairs of {n_pair_tokens} tokens.",
        report.steps.len(),
        report.objective
    )
}

pub(super) const HOW_TO_READ: &str = "Whether a path turns is decided by the probability of the first token of a turn. \
    It should rise at the cuts of harmful answers and stay low at those of harmless ones; pairs told apart say less, since \
    a margin can be won in tokens that are never sampled.";

/// Which adapter is kept.
pub(super) fn kept(report: &TrainReport) -> String {
    match report.best {
        Some(step) => format!("The adapter of step {step} is kept: its held-out loss is the lowest."),
        None => "Nothing was held out: the adapter of the last step is kept.".into(),
    }
}

/// A change in a sentence.
pub(super) fn change(change: &Change) -> String {
    let Difference { n_prompts, .. } = change.difference;
    let clear = if change.difference.is_clear() { "" } else { ": no change detected" };
    format!("{} {} over {n_prompts} prompts{clear}", change.rate.name(), points(change.difference))
}

/// `+41.2 points [36.0, 46.1]`.
pub(super) fn points(Difference { difference, ci, .. }: Difference) -> String {
    format!("{} points {}", signed(100.0 * difference, 1), ends(ci.map(|end| 100.0 * end), 1))
}

/// `12.4 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share + 0.0)
}

/// Figures of what is held out, at the start and of what is kept: name, before, after.
pub(super) fn held_out(report: &TrainReport) -> Vec<(&'static str, String, String)> {
    let at = |step: usize| report.evals.iter().find(|record| record.step == step);
    let (Some(before), Some(after)) = (at(0), report.best.and_then(at)) else { return Vec::new() };
    let figures = [
        ("loss", [before, after].map(|r| r.eval_loss.map(|loss| format!("{loss:.3}")))),
        ("pairs told apart", [before, after].map(|r| r.eval_rewards_accuracies.map(percent))),
        (
            "first token of a turn, harmful",
            [before, after].map(|r| r.eval_first_turn_probability_harmful.map(percent)),
        ),
        (
            "first token of a turn, harmless",
            [before, after].map(|r| r.eval_first_turn_probability_benign.map(percent)),
        ),
    ];
    let known = |(name, [before, after]): (&'static str, [Option<String>; 2])| Some((name, before?, after?));
    figures.into_iter().filter_map(known).collect()
}
