//! What the pages of a comparison say in sentences: plain text with hostile names in it, which every page escapes.

use super::super::figure::{ends, signed};
use super::main_measures;
use crate::bench::Better;
use crate::compare::{
    Aspect, Change, Clarity, Compared, Comparison, GateOutcome, GateResult, Measure, NotCompared,
};

pub(super) const HOW_TO_READ: &str = "Every difference is over the prompts or items that both runs have, run less \
    baseline, with its 95 % interval: prompts are drawn together with both of their runs, so that a difference can be \
    clear where the figures’ own intervals overlap. Differences of shares are in points. A difference is clear when its \
    interval holds no 0 and it stays so among all measures of the two runs (Holm’s correction, 5 %); “would have seen” is \
    the difference that four of five such comparisons would have found.";

/// What measures are about.
pub(super) fn aspect(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::CourseCorrection => "course-correction",
        Aspect::General => "general ability",
        Aspect::OverRefusal => "over-refusal",
        Aspect::Jailbreak => "jailbreaks",
    }
}

/// The title of a measure that has an axis of its own.
pub(super) fn own_unit(measure: &Measure) -> String {
    format!("{}, {}, in its own unit", aspect(measure.aspect), measure.name)
}

/// A measure at the beginning of a sentence.
pub(in crate::report) fn label(measure: &Measure) -> String {
    match measure.name.as_str() {
        "false_corrections" => "False corrections".into(),
        "plain_refusal/harmful" => "Plain refusals of harmful prompts".into(),
        "plain_refusal/benign" => "Plain refusals of harmless prompts".into(),
        name if name.starts_with("corr") => name.replacen('c', "C", 1),
        name => name.into(),
    }
}

/// Which way is good.
pub(super) fn way(measure: &Measure) -> &'static str {
    match measure.better {
        Better::Higher => "higher is better",
        Better::Lower => "lower is better",
    }
}

/// `12.4 %`, or a number of another unit.
pub(in crate::report) fn figure(measure: &Measure, value: f64) -> String {
    if measure.scale.is_share() {
        format!("{:.1} %", 100.0 * value + 0.0)
    } else {
        format!("{value:.*}", decimals(value))
    }
}

/// An interval in the unit of [`figure`].
pub(super) fn interval(measure: &Measure, ci: [f64; 2]) -> String {
    let n_decimals = if measure.scale.is_share() { 1 } else { decimals(ci[0]) };
    let [low, high] = ci.map(|end| measure.told(end));
    format!("[{low:.n_decimals$}, {high:.n_decimals$}]")
}

fn decimals(value: f64) -> usize {
    match value.abs() {
        large if large >= 100.0 => 1,
        middle if middle >= 10.0 => 2,
        _ => 3,
    }
}

/// Decimals of a measure's differences.
fn decimals_of(measure: &Measure, change: &Change) -> usize {
    let [first, second] = change.difference.figures;
    if measure.scale.is_share() { 1 } else { decimals(first.abs().max(second.abs())) }
}

/// `+41.2` and `[36.0, 46.1]`.
pub(in crate::report) fn difference(measure: &Measure, change: &Change) -> (String, String) {
    let n_decimals = decimals_of(measure, change);
    let of = |x: f64| measure.told(x);
    (signed(of(change.difference.difference), n_decimals), ends(change.difference.ci.map(of), n_decimals))
}

/// How clear a change is, in words.
pub(super) fn clarity(measure: &Measure, change: &Change, n_measures: usize) -> String {
    match change.clarity {
        Clarity::Better => "better".into(),
        Clarity::Worse => "worse".into(),
        Clarity::Alone => format!("clear alone, not among {n_measures} measures"),
        Clarity::No => {
            let n_decimals = decimals_of(measure, change);
            let seen = |detectable| format!(", would have seen {:.n_decimals$}", measure.told(detectable));
            format!("no change detected{}", change.difference.detectable.map_or_else(String::new, seen))
        }
    }
}

/// The main measures of one run in a sentence: `Corr_mean +41.2 points [36.0, 46.1]; hellaswag −0.3 [−1.1, 0.5]: no change
/// detected, would have seen 1.2`.
pub(super) fn sentence(comparison: &Comparison, compared: &Compared) -> String {
    let mut unit = " points";
    let said = main_measures(comparison).into_iter().filter_map(|measure| {
        let change = compared.change(&measure.name)?;
        let (by, ends) = difference(measure, change);
        // Points are named once; what is told in another unit never is.
        let points = if measure.scale.is_share() { std::mem::take(&mut unit) } else { "" };
        let clarity = match change.clarity {
            Clarity::Better => String::new(),
            _ => format!(": {}", clarity(measure, change, compared.changes.len())),
        };
        Some(format!("{} {by}{points} {ends}{clarity}", label(measure)))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// Which of all measures changed clearly, after the correction for how many they are.
pub(super) fn clear(compared: &Compared) -> String {
    let n = compared.changes.len();
    let of = |clarity: Clarity| {
        let found = compared.changes.iter().filter(|change| change.clarity == clarity);
        found.map(|change| change.measure.as_str()).collect::<Vec<_>>().join(", ")
    };
    let said: Vec<String> = [("better", Clarity::Better), ("worse", Clarity::Worse)]
        .into_iter()
        .map(|(word, clarity)| (word, of(clarity)))
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word}: {names}"))
        .collect();
    match (n, said.is_empty()) {
        (0, _) => "nothing can be compared".into(),
        (_, true) => format!("clear among {n} measures: none"),
        (_, false) => format!("clear among {n} measures: {}", said.join("; ")),
    }
}

/// What every run came to against the baseline: two sentences a run.
pub fn sentences(comparison: &Comparison) -> Vec<String> {
    let of = |compared: &Compared| [sentence(comparison, compared), clear(compared)];
    comparison.comparisons.iter().flat_map(of).collect()
}

/// What could not be compared, a line for every reason.
pub(super) fn left(compared: &Compared) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for NotCompared { measure, why } in &compared.not_compared {
        let why = why.to_string();
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(measure),
            None => reasons.push((why, vec![measure])),
        }
    }
    reasons.into_iter().map(|(why, names)| format!("not compared: {} – {why}", names.join(", "))).collect()
}

/// What a gate says of a run.
pub(super) fn gate(comparison: &Comparison, result: &GateResult) -> String {
    let GateResult { gate, run, outcome, found, reason } = result;
    let unit = unit(comparison, gate);
    // Two decimals, so that what misses by little is not shown as what was asked for.
    let found = found.map_or_else(String::new, |found| format!("{}{unit}", signed(found, 2)));
    match outcome {
        GateOutcome::Met => format!("gate met: {run}: {gate} (found {found})"),
        GateOutcome::Missed => format!("gate missed: {run}: {gate} (found {found})"),
        GateOutcome::Untold => {
            format!("gate missed: {run}: {gate} cannot be told, {}", reason.as_deref().unwrap_or_default())
        }
    }
}

/// The unit of what a gate is about: of shares points.
fn unit(comparison: &Comparison, gate: &str) -> &'static str {
    let is_named = |measure: &&Measure| gate.contains(&measure.name);
    let longest = comparison.measures.iter().filter(is_named).max_by_key(|measure| measure.name.len());
    longest.filter(|measure| measure.scale.is_share()).map_or("", |_| " points")
}

/// The gates that were missed, a sentence each.
pub fn missed(comparison: &Comparison) -> Vec<String> {
    let missed = comparison.gates.iter().filter(|result| result.outcome != GateOutcome::Met);
    missed.map(|result| gate(comparison, result)).collect()
}

/// What is compared with what.
pub(super) fn compared(comparison: &Comparison) -> String {
    let names: Vec<&str> = comparison.runs.iter().map(|run| run.name.as_str()).collect();
    match names.as_slice() {
        [baseline, others @ ..] => format!("{} against the baseline {baseline}", others.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixture;
    use expect_test::expect;

    #[test]
    fn sentences_say_what_changed_and_what_would_have_been_seen() {
        let comparison = fixture::comparison();
        let said = sentences(&comparison);
        expect![[r#"
            Corr_mean +59.0 points [51.9, 69.1]; False corrections ±0.0 [−30.8, 30.8]: no change detected; Plain refusals of harmful prompts +59.0 [51.9, 69.1]; Plain refusals of harmless prompts ±0.0 [−30.8, 30.8]: no change detected; hellaswag +2.0 [−1.2, 5.8]: no change detected, would have seen 4.8; piqa ±0.0 [−1.8, 1.8]: no change detected; perplexity +0.42 [0.33, 0.51]: worse; over_refusal +6.7 [2.8, 12.6]: worse; jailbreak_artifacts −39.0 [−48.4, −29.2]
            clear among 11 measures: better: corr_mean, corr@10, corr@40, plain_refusal/harmful, jailbreak_artifacts; worse: perplexity, over_refusal
            Corr_mean +4.0 points [0.0, 7.9]: no change detected, would have seen 4.6; False corrections ±0.0 [−30.8, 30.8]: no change detected; Plain refusals of harmful prompts +4.0 [0.0, 7.9]: no change detected, would have seen 4.6; Plain refusals of harmless prompts ±0.0 [−30.8, 30.8]: no change detected; hellaswag +0.5 [−0.8, 3.4]: no change detected, would have seen 2.4; piqa ±0.0 [−1.8, 1.8]: no change detected; perplexity +0.12 [0.10, 0.15]: worse; over_refusal +2.5 [0.0, 7.2]: no change detected, would have seen 4.0; jailbreak_artifacts −11.0 [−18.6, −6.0]
            clear among 11 measures: better: jailbreak_artifacts; worse: perplexity"#]].assert_eq(&said.join("\n"));
    }

    /// Every number changes its sign, and nothing else.
    #[test]
    fn swapped_runs_mirror_the_sentence() {
        let [first, second, _] = fixture::runs().try_into().unwrap();
        let sentence = |runs: &[crate::compare::Run]| {
            let comparison = crate::compare::compare(runs, &[]).unwrap();
            sentence(&comparison, &comparison.comparisons[0])
        };
        let parts = |said: String| said.split("; ").map(str::to_owned).collect::<Vec<_>>();
        let there = parts(sentence(&[first.clone(), second.clone()]));
        let back = parts(sentence(&[second, first]));
        assert_eq!(there.len(), back.len());
        for (there, back) in there.iter().zip(&back) {
            assert_eq!(mirrored(there), *back);
        }
    }

    /// The same sentence with the signs of the difference turned and the ends of the interval exchanged.
    fn mirrored(said: &str) -> String {
        let turn = |number: &str| match number.chars().next() {
            _ if number.trim_start_matches('±') == "0.0" => number.to_owned(),
            Some('−') => number.replacen('−', "", 1),
            Some('±') => number.to_owned(),
            _ => format!("−{number}"),
        };
        let (before, rest) = said.split_once('[').unwrap();
        let (ends, after) = rest.split_once(']').unwrap();
        let (low, high) = ends.split_once(", ").unwrap();
        let before: String = before
            .chars()
            .map(|c| match c {
                '+' => '−',
                '−' => '+',
                c => c,
            })
            .collect();
        let after = match after {
            ": worse" => "",
            "" => ": worse",
            after => after,
        };
        format!("{before}[{}, {}]{after}", turn(high), turn(low))
    }

    #[test]
    fn a_gate_that_is_missed_by_little_shows_by_how_much() {
        let runs = &fixture::runs()[..2];
        let gates = crate::compare::gates("corr_mean>59,piqa>=0").unwrap();
        let comparison = crate::compare::compare(runs, &gates).unwrap();
        assert_eq!(missed(&comparison), ["gate missed: taught: corr_mean>59 (found +59.00 points)"]);
        let met = gate(&comparison, &comparison.gates[1]);
        assert_eq!(met, "gate met: taught: piqa>=0 (found ±0.00 points)");
    }
}
