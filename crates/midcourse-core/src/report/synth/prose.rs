//! What was made, what style tells of it and what was lost, in plain words.
//!
//! The sentences are plain text with the user's names in them: every page escapes them in its own way.

use std::collections::BTreeMap;

use super::super::figure::{Figure, count};
use super::SynthReport;
use crate::data::Quantiles;
use crate::eval::Set;
use crate::synth::{
    Accuracy, AnswerEnd, Cue, KindSummary, Origin, Reason, SetSummary, StyleLeak, Summary, Telling,
};

/// What was made.
pub(super) fn made(report: &SynthReport) -> String {
    let n = |set| report.summary.sets.iter().filter(|s| s.set == set).map(|s| s.n_prompts).sum::<usize>();
    let prompts = match (n(Set::Harmful), n(Set::Benign)) {
        (harmful, 0) => format!("{} prompts with a harmful response", count(harmful)),
        (0, benign) => format!("{} harmless prompts", count(benign)),
        (harmful, benign) => {
            format!("{} prompts with a harmful response and {} harmless ones", count(harmful), count(benign))
        }
    };
    let (model, n_cuts) = (report.model, report.summary.n_cuts);
    format!(
        "Ranked answers to {prompts}, written by {model}: the response was cut at {n_cuts} places, and from each cut \
         on it was turned away from; one answer refuses from the start. Every better answer over every worse one of \
         its ranking is a pair."
    )
}

/// How the figures are to be read.
pub(super) const HOW_TO_READ: &str = "In a harmful ranking the refusal (SR) is best, then early turns (SYN_1) before \
    late ones, then the whole response (FHR); in a contrast ranking the helpful response (H) is best and the refusal \
    (R) worst. Possible are the pairs that there would be if no prompt and no answer had been lost; prompts left out \
    on purpose are in no denominator.";

/// How much was made of what could be.
pub(super) fn pairs_made(summary: &Summary) -> Figure {
    let n_possible: usize = summary.sets.iter().map(|set| set.n_pairs_possible).sum();
    let n_pairs: usize = summary.sets.iter().map(|set| set.n_pairs).sum();
    Figure { rate: (n_possible > 0).then(|| n_pairs as f64 / n_possible as f64), ci: None }
}

/// The name of a set's rankings.
pub(super) fn rankings(set: Set) -> &'static str {
    match set {
        Set::Harmful => "harmful rankings",
        Set::Benign => "contrast rankings",
    }
}

/// With a capital at its beginning.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The median share of a response before a cut, and in brackets where a tenth and nine tenths lie.
pub(super) fn cut_share(per_mille: &Quantiles) -> Figure {
    let share = |per_mille: usize| per_mille as f64 / 1_000.0;
    Figure { rate: Some(share(per_mille.median)), ci: Some([share(per_mille.p10), share(per_mille.p90)]) }
}

/// Share of the answers of a kind that were made, of those made or lost.
pub(super) fn yielded(kind: &KindSummary) -> Figure {
    let n = kind.n_made + kind.n_lost;
    Figure { rate: (n > 0).then(|| kind.n_made as f64 / n as f64), ci: None }
}

/// Why answers of a set were lost, those that were lost most first.
pub(super) fn answers_lost(set: &SetSummary) -> Vec<(Reason, usize)> {
    let mut lost = BTreeMap::new();
    for (reason, n) in set.kinds.iter().flat_map(|kind| &kind.lost) {
        *lost.entry(*reason).or_default() += n;
    }
    by_count(lost)
}

/// Why prompts of a set have no ranking, those that were lost most first.
pub(super) fn prompts_lost(set: &SetSummary) -> Vec<(Reason, usize)> {
    by_count(set.dropped.clone())
}

fn by_count(counts: BTreeMap<Reason, usize>) -> Vec<(Reason, usize)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    counts
}

/// A reason in words.
pub(super) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Excluded => "excluded on purpose",
        Reason::NearDuplicate => "nearly the same as an earlier prompt",
        Reason::TooShort => "response too short for the cuts",
        Reason::TooLong => "too long for the model's context",
        Reason::Unprovable => "start of the response cannot be given to the model",
        Reason::NotHelpful => "no helpful response",
        Reason::TooFewAnswers => "too few answers left",
        Reason::NotInRow => "not in the row",
        Reason::DoesNotTurn => "does not turn or refuse",
        Reason::Unparsed => "judge could not say",
        Reason::FallsBack => "falls back after its turn",
        Reason::NoSentence => "no whole sentence at the limit",
        Reason::Duplicate => "same as another answer",
        Reason::Failed => "engine failed",
    }
}

/// Whose words, in words.
pub(super) fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Row => "the row's",
        Origin::Model => "the model's own",
        Origin::Opened => "the model's after a refusal opener",
        Origin::Corrected => "the model's after a trigger",
    }
}

/// Where an answer ends, in words.
pub(super) fn end(end: AnswerEnd) -> &'static str {
    match end {
        AnswerEnd::Row => "with the row's text",
        AnswerEnd::EndOfTurn => "end of turn",
        AnswerEnd::Sentence => "last whole sentence",
    }
}

/// A cue, in words.
pub(super) fn cue(cue: Cue) -> &'static str {
    match cue {
        Cue::Opening => "first words",
        Cue::Length => "length",
        Cue::Ending => "ending",
        Cue::Layout => "layout",
    }
}

impl From<Accuracy> for Figure {
    fn from(accuracy: Accuracy) -> Self {
        Self { rate: accuracy.rate, ci: accuracy.ci }
    }
}

/// What style tells, of what, and what it would tell without contrast rankings.
pub(super) fn style(leak: &StyleLeak) -> String {
    let all = Figure::from(leak.together.all);
    if all.rate.is_none() {
        return "There are no pairs whose style could be looked at.".to_owned();
    }
    let mut sentences = vec![format!(
        "A classifier that sees only the first words, the length, the ending and the layout of two answers picks the \
         better one in {all} of the pairs of prompts that it has not learned from; chance is 50 %."
    )];
    if leak.n_benign > 0 && leak.n_benign < leak.n_rankings {
        let percent = |accuracy: Accuracy| Figure::from(accuracy).percent();
        let [harmful, benign] = [leak.together.harmful, leak.together.benign].map(percent);
        let alone = percent(leak.together.harmful_alone);
        sentences.push(format!("That is {harmful} in harmful and {benign} in contrast rankings."));
        sentences.push(format!("Had it seen the harmful rankings only, it would reach {alone} there."));
    }
    if leak.n_rankings < leak.n_rankings_total {
        let (n, total) = (count(leak.n_rankings), count(leak.n_rankings_total));
        sentences.push(format!("{n} of the {total} rankings were looked at."));
    }
    sentences.join(" ")
}

/// The warning of a leak with what can be done, then the caveats of the run.
pub(super) fn warnings(report: &SynthReport) -> Vec<String> {
    let leak = &report.summary.leak;
    let mut lines = Vec::new();
    if leak.leaks {
        lines.push(format!(
            "Style leak: {} Training on these pairs may teach the style and not the turn.",
            leaking(leak)
        ));
        lines.extend(leak.hints.iter().cloned());
    } else if leak.n_rankings_total > 0 && leak.n_benign == 0 {
        lines.push(
            "No contrast rankings: such pairs alone teach a model to turn always, not only where it is wrong \
             (`--benign FILE` adds them)."
                .to_owned(),
        );
    }
    lines.extend(report.caveats.iter().cloned());
    lines
}

/// What alone or together tells more than it may.
fn leaking(leak: &StyleLeak) -> String {
    let is_leak = |accuracy: Accuracy| accuracy.rate.is_some_and(|rate| rate > leak.leak_above);
    let alone = leak.by_cue.iter().filter(|by| is_leak(by.accuracies.all));
    let alone = alone.map(|by| format!("{} alone", cue(by.cue)));
    let together = is_leak(leak.together.all).then(|| "all cues together".to_owned());
    let above = Figure { rate: Some(leak.leak_above), ci: None }.percent();
    let who: Vec<_> = alone.chain(together).collect();
    format!("{} tell the better answer in more than {above} of the pairs.", who.join(", "))
}

/// A telling feature in words; the pairs are those that differ in it.
pub(super) fn telling(telling: &Telling) -> String {
    let chosen = Figure { rate: Some(telling.chosen), ci: None }.percent();
    let Telling { feature, n_pairs, .. } = telling;
    format!("{feature}: the better one in {chosen} of {} pairs", count(*n_pairs))
}

/// Answers of a kind that were taken at the first candidate, the second and so on; empty where none was grown.
pub(super) fn candidates(kind: &KindSummary) -> String {
    kind.candidates.iter().map(|n| count(*n)).collect::<Vec<_>>().join(" · ")
}
