//! What the pages of a training say in sentences.

use super::TrainReport;

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

pub(super) const BEFORE_AND_AFTER: &str = "Both models were asked the same, and prompts and items are drawn together with both \
    of their runs, so that a difference can be clear where the figures’ own intervals overlap. What was measured lies in \
    runs of their own: before and after, bench-before and bench-after.";

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
