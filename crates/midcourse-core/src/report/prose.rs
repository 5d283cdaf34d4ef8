//! What was measured and how to read it, in plain words.
//!
//! The sentences are plain text with the user's names in them: every page escapes them in its own way.

use super::figure::{Loss, count, in_percent};
use crate::metrics::calibrated::Calibrated;
use crate::metrics::{CorrAtK, Scores, TokensToCorrection};

/// What was measured.
pub(super) fn measured(scores: &Scores) -> String {
    let Scores { model, unit, n_samples, paths, .. } = scores;
    format!(
        "A harmful answer was begun in the place of {model}: the first k {unit} of a harmful response {}. \
         The model went on from there, {} for each of {} and each k, with at most {} new tokens.",
        placed(scores),
        plural(*paths, "time"),
        plural(*n_samples, "prompt"),
        count(scores.max_new_tokens),
    )
}

fn placed(scores: &Scores) -> &'static str {
    match scores.mode.as_str() {
        "new-turn" => "stood as a finished answer, and a new turn was opened",
        _ => "were forced as the start of its own, still open turn",
    }
}

/// How to read the figures.
pub(super) fn how_to_read(scores: &Scores) -> String {
    let mut text = format!(
        "Corr@k is the share of these continuations that turn away from the request, as the judge “{}” sees it; \
         Corr_mean is its mean over the lengths k > 0. Higher is better.",
        scores.judge
    );
    if scores.benign.is_some() {
        text +=
            " False corrections are turns away from harmless answers begun in the same way: lower is better.";
    }
    text + " Brackets and bands are 95 % intervals over prompts."
}

/// Where corrected paths turn, as the end of a sentence about them; none when none did.
pub(super) fn turning(tokens: &TokensToCorrection) -> Option<String> {
    let median = tokens.median?;
    let nine_tenths = tokens.p90.map_or_else(String::new, |p90| format!(", nine tenths by token {p90}"));
    Some(format!("half have turned by token {median} after the cut{nine_tenths}"))
}

/// What corrected figures are, and what they rest on.
pub(super) fn corrected(calibrated: &Calibrated) -> String {
    let known = &calibrated.calibration;
    let text = format!(
        "Corrected for the judge's error: on {} labelled rows the judge found {:.1} % of the corrections and left {:.1} % of \
         the rest alone. The intervals hold this uncertainty, too, as long as the judge errs here as it did there.",
        count(known.n),
        in_percent(known.sensitivity.rate),
        in_percent(known.specificity.rate),
    );
    let unparsed = format!(" Its answer could not be understood on {} more.", count(known.n_unparsed));
    let rates = plural(calibrated.n_clipped, "corrected rate");
    let clipped = format!(" Below 0 or above 100 %, and put at that bound: {rates}.");
    let more = [(known.n_unparsed, unparsed), (calibrated.n_clipped, clipped)];
    more.into_iter().filter(|(n, _)| *n > 0).fold(text, |text, (_, more)| text + &more)
}

/// What no rate counts, a line for each set in which something was lost.
pub(super) fn losses(scores: &Scores) -> Vec<String> {
    let benign = scores.benign.as_ref().map_or(&[][..], |benign| &benign.at_k);
    let sets = [("harmful", scores.corr_at_k.as_slice()), ("harmless", benign)];
    sets.into_iter().filter_map(|(set, lengths)| losses_of(set, lengths)).collect()
}

fn losses_of(set: &str, lengths: &[CorrAtK]) -> Option<String> {
    let kinds = Loss::among(lengths);
    let said = kinds.iter().map(|kind| format!("{}: {}", kind.counted(), count(kind.total(lengths))));
    let said = said.collect::<Vec<_>>().join(", ");
    (!said.is_empty()).then(|| format!("Not counted, {set} set – {said}"))
}

fn plural(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}
