//! A comparison on a terminal: a table a run, what it says in a sentence, and the gates.

use super::super::each;
use super::super::strip_controls;
use super::super::terminal::{Colour, Ink, each_line, shortened, wrapped};
use super::{CompareReport, groups, prose};
use crate::compare::{Change, Clarity, Compared, Comparison, GateOutcome, Measure};

/// Most columns of a measure's name.
const NAME: usize = 26;
/// Columns of a difference, its interval and what follows.
const DIFFERENCE: usize = 33;
/// What is narrower is treated as this wide.
const MIN_WIDTH: usize = 53;
/// From this width on the figures of both runs stand beside their difference.
const WIDE: usize = 79;

/// The comparison in lines of at most `width` characters (53 at least), ending with a line break.
pub fn terminal(report: &CompareReport, width: usize, colour: Colour) -> String {
    let width = width.max(MIN_WIDTH);
    let comparison = report.comparison;
    let runs = comparison.comparisons.iter().map(|compared| of_run(comparison, compared, (width, colour)));
    let gates = each(&comparison.gates, |result| {
        let ink = if result.outcome == GateOutcome::Met { Ink::Faint } else { Ink::Warning };
        let said = wrapped(&strip_controls(&prose::gate(comparison, result)), width, "  ");
        each_line(&said, colour, ink) + "\n"
    });
    runs.chain([gates]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn of_run(comparison: &Comparison, compared: &Compared, (width, colour): (usize, Colour)) -> String {
    let title = strip_controls(&format!("{} against {}", compared.run, compared.baseline));
    let mut text = colour.paint(Ink::Strong, &shortened(&title, width)) + "\n";
    if !compared.changes.is_empty() {
        let figures = if width < WIDE { String::new() } else { format!("{:>9} {:>9}  ", "baseline", "run") };
        let head = format!("{:1$} {figures}{2}", "", name_width(width), "difference, 95 % interval");
        text += &(colour.paint(Ink::Faint, head.trim_end()) + "\n");
    }
    for group in groups(comparison) {
        let told =
            group.measures.iter().filter_map(|measure| Some((*measure, compared.change(&measure.name)?)));
        let rows = each(told, |(measure, change)| row(measure, change, (width, colour)));
        if !rows.is_empty() {
            let title = shortened(&strip_controls(&group.title), width);
            text += &(colour.paint(Ink::Faint, &title) + "\n" + &rows);
        }
    }
    let said = [prose::sentence(comparison, compared), prose::clear(compared)];
    let said = said.iter().filter(|line| !line.is_empty());
    text += &each(said, |line| wrapped(&strip_controls(line), width, "  ") + "\n");
    text + &each(prose::left(compared), |line| {
        each_line(&wrapped(&strip_controls(&line), width, "  "), colour, Ink::Warning) + "\n"
    })
}

/// Columns of names, with their margin.
fn name_width(width: usize) -> usize {
    NAME.min(width + 2 - DIFFERENCE)
}

fn row(measure: &Measure, change: &Change, (width, colour): (usize, Colour)) -> String {
    let columns = name_width(width) - 2;
    let name = shortened(&strip_controls(&measure.name), columns);
    let [before, after] = change.difference.figures.map(|value| prose::figure(measure, value));
    let figures = if width < WIDE { String::new() } else { format!("{before:>9} {after:>9}  ") };
    let (by, ends) = prose::difference(measure, change);
    let word = match change.clarity {
        Clarity::Better => "better",
        Clarity::Worse => "worse",
        Clarity::Alone => "alone",
        Clarity::No => "",
    };
    let by = colour.paint(Ink::Strong, &format!("{by:>6}"));
    format!("  {name:<columns$} {figures}{by} {ends:<16} {word}").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::HOSTILE;
    use super::*;
    use crate::compare::fixture;
    use expect_test::{Expect, expect};

    fn check(width: usize, expected: &Expect) {
        let comparison = fixture::comparison();
        let report = CompareReport { comparison: &comparison, details: Vec::new() };
        expected.assert_eq(&terminal(&report, width, Colour::Off));
    }

    #[test]
    fn a_wide_terminal() {
        check(
            80,
            &expect![[r#"
                taught against smollm2
                                            baseline       run  difference, 95 % interval
                course-correction
                  corr_mean                    7.0 %    66.0 %   +59.0 [51.9, 69.1]     better
                  corr@10                      7.0 %    66.0 %   +59.0 [51.9, 69.1]     better
                  corr@40                      7.0 %    66.0 %   +59.0 [51.9, 69.1]     better
                  false_corrections            2.0 %     2.0 %    ±0.0 [−30.8, 30.8]
                  plain_refusal/harmful        7.0 %    66.0 %   +59.0 [51.9, 69.1]     better
                  plain_refusal/benign         2.0 %     2.0 %    ±0.0 [−30.8, 30.8]
                general ability
                  hellaswag                   42.5 %    44.5 %    +2.0 [−1.2, 5.8]
                  piqa                        67.0 %    67.0 %    ±0.0 [−1.8, 1.8]
                general ability, perplexity, in its own unit
                  perplexity                   20.68     21.09   +0.42 [0.33, 0.51]     worse
                over-refusal
                  over_refusal                 8.3 %    15.0 %    +6.7 [2.8, 12.6]      worse
                jailbreaks
                  jailbreak_artifacts         70.0 %    31.0 %   −39.0 [−48.4, −29.2]   better
                Corr_mean +59.0 points [51.9, 69.1]; False corrections ±0.0 [−30.8, 30.8]: no
                  change detected; Plain refusals of harmful prompts +59.0 [51.9, 69.1]; Plain
                  refusals of harmless prompts ±0.0 [−30.8, 30.8]: no change detected; hellaswag
                  +2.0 [−1.2, 5.8]: no change detected, would have seen 4.8; piqa ±0.0 [−1.8,
                  1.8]: no change detected; perplexity +0.42 [0.33, 0.51]: worse; over_refusal
                  +6.7 [2.8, 12.6]: worse; jailbreak_artifacts −39.0 [−48.4, −29.2]
                clear among 11 measures: better: corr_mean, corr@10, corr@40,
                  plain_refusal/harmful, jailbreak_artifacts; worse: perplexity, over_refusal

                a little against smollm2
                                            baseline       run  difference, 95 % interval
                course-correction
                  corr_mean                    7.0 %    11.0 %    +4.0 [0.0, 7.9]
                  corr@10                      7.0 %    11.0 %    +4.0 [0.0, 7.9]
                  corr@40                      7.0 %    11.0 %    +4.0 [0.0, 7.9]
                  false_corrections            2.0 %     2.0 %    ±0.0 [−30.8, 30.8]
                  plain_refusal/harmful        7.0 %    11.0 %    +4.0 [0.0, 7.9]
                  plain_refusal/benign         2.0 %     2.0 %    ±0.0 [−30.8, 30.8]
                general ability
                  hellaswag                   42.5 %    43.0 %    +0.5 [−0.8, 3.4]
                  piqa                        67.0 %    67.0 %    ±0.0 [−1.8, 1.8]
                general ability, perplexity, in its own unit
                  perplexity                   20.68     20.80   +0.12 [0.10, 0.15]     worse
                over-refusal
                  over_refusal                 8.3 %    10.8 %    +2.5 [0.0, 7.2]
                jailbreaks
                  jailbreak_artifacts         70.0 %    59.0 %   −11.0 [−18.6, −6.0]    better
                Corr_mean +4.0 points [0.0, 7.9]: no change detected, would have seen 4.6; False
                  corrections ±0.0 [−30.8, 30.8]: no change detected; Plain refusals of harmful
                  prompts +4.0 [0.0, 7.9]: no change detected, would have seen 4.6; Plain
                  refusals of harmless prompts ±0.0 [−30.8, 30.8]: no change detected; hellaswag
                  +0.5 [−0.8, 3.4]: no change detected, would have seen 2.4; piqa ±0.0 [−1.8,
                  1.8]: no change detected; perplexity +0.12 [0.10, 0.15]: worse; over_refusal
                  +2.5 [0.0, 7.2]: no change detected, would have seen 4.0; jailbreak_artifacts
                  −11.0 [−18.6, −6.0]
                clear among 11 measures: better: jailbreak_artifacts; worse: perplexity

                gate met: taught: corr_mean>=+10 (found +59.00 points)
                gate met: taught: hellaswag>=-1 (found +2.00 points)
                gate missed: a little: corr_mean>=+10 (found +4.00 points)
                gate met: a little: hellaswag>=-1 (found +0.50 points)
            "#]],
        );
    }

    #[test]
    fn a_narrow_terminal() {
        check(
            53,
            &expect![[r#"
                taught against smollm2
                                       difference, 95 % interval
                course-correction
                  corr_mean             +59.0 [51.9, 69.1]     better
                  corr@10               +59.0 [51.9, 69.1]     better
                  corr@40               +59.0 [51.9, 69.1]     better
                  false_corrections      ±0.0 [−30.8, 30.8]
                  plain_refusal/harmf…  +59.0 [51.9, 69.1]     better
                  plain_refusal/benign   ±0.0 [−30.8, 30.8]
                general ability
                  hellaswag              +2.0 [−1.2, 5.8]
                  piqa                   ±0.0 [−1.8, 1.8]
                general ability, perplexity, in its own unit
                  perplexity            +0.42 [0.33, 0.51]     worse
                over-refusal
                  over_refusal           +6.7 [2.8, 12.6]      worse
                jailbreaks
                  jailbreak_artifacts   −39.0 [−48.4, −29.2]   better
                Corr_mean +59.0 points [51.9, 69.1]; False
                  corrections ±0.0 [−30.8, 30.8]: no change detected;
                  Plain refusals of harmful prompts +59.0 [51.9,
                  69.1]; Plain refusals of harmless prompts ±0.0
                  [−30.8, 30.8]: no change detected; hellaswag +2.0
                  [−1.2, 5.8]: no change detected, would have seen
                  4.8; piqa ±0.0 [−1.8, 1.8]: no change detected;
                  perplexity +0.42 [0.33, 0.51]: worse; over_refusal
                  +6.7 [2.8, 12.6]: worse; jailbreak_artifacts −39.0
                  [−48.4, −29.2]
                clear among 11 measures: better: corr_mean, corr@10,
                  corr@40, plain_refusal/harmful,
                  jailbreak_artifacts; worse: perplexity,
                  over_refusal

                a little against smollm2
                                       difference, 95 % interval
                course-correction
                  corr_mean              +4.0 [0.0, 7.9]
                  corr@10                +4.0 [0.0, 7.9]
                  corr@40                +4.0 [0.0, 7.9]
                  false_corrections      ±0.0 [−30.8, 30.8]
                  plain_refusal/harmf…   +4.0 [0.0, 7.9]
                  plain_refusal/benign   ±0.0 [−30.8, 30.8]
                general ability
                  hellaswag              +0.5 [−0.8, 3.4]
                  piqa                   ±0.0 [−1.8, 1.8]
                general ability, perplexity, in its own unit
                  perplexity            +0.12 [0.10, 0.15]     worse
                over-refusal
                  over_refusal           +2.5 [0.0, 7.2]
                jailbreaks
                  jailbreak_artifacts   −11.0 [−18.6, −6.0]    better
                Corr_mean +4.0 points [0.0, 7.9]: no change detected,
                  would have seen 4.6; False corrections ±0.0 [−30.8,
                  30.8]: no change detected; Plain refusals of
                  harmful prompts +4.0 [0.0, 7.9]: no change
                  detected, would have seen 4.6; Plain refusals of
                  harmless prompts ±0.0 [−30.8, 30.8]: no change
                  detected; hellaswag +0.5 [−0.8, 3.4]: no change
                  detected, would have seen 2.4; piqa ±0.0 [−1.8,
                  1.8]: no change detected; perplexity +0.12 [0.10,
                  0.15]: worse; over_refusal +2.5 [0.0, 7.2]: no
                  change detected, would have seen 4.0;
                  jailbreak_artifacts −11.0 [−18.6, −6.0]
                clear among 11 measures: better: jailbreak_artifacts;
                  worse: perplexity

                gate met: taught: corr_mean>=+10 (found +59.00
                  points)
                gate met: taught: hellaswag>=-1 (found +2.00 points)
                gate missed: a little: corr_mean>=+10 (found +4.00
                  points)
                gate met: a little: hellaswag>=-1 (found +0.50
                  points)
            "#]],
        );
    }

    #[test]
    fn names_cannot_control_the_terminal_nor_widen_it() {
        let mut comparison = fixture::comparison();
        comparison.comparisons.iter_mut().for_each(|compared| compared.run = HOSTILE.repeat(3));
        comparison.gates.iter_mut().for_each(|result| result.run = HOSTILE.repeat(3));
        let report = CompareReport { comparison: &comparison, details: Vec::new() };
        for width in [0, 53, 79, 120] {
            let text = terminal(&report, width, Colour::Off);
            assert!(!text.contains(['\x1b', '\u{202e}', '\0']));
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(MIN_WIDTH), "{width}: {widest}\n{text}");
        }
    }
}
