//! The figures of a synthesis on a terminal.
//!
//! No text of a model is shown here but the first words that tell most; it and every name are stripped of controls.

use super::super::each;
use super::super::escape::strip_controls;
use super::super::figure::{Figure, count};
use super::super::terminal::{Colour, Ink, each_line, shortened, wrapped};
use super::{SynthReport, prose};
use crate::synth::{SetSummary, StyleLeak, Summary};

/// The table's width: what is narrower is treated as this wide.
const MIN_WIDTH: usize = 54;

/// The report in lines of at most `width` characters (54 at least), ending with a line break.
pub fn terminal(report: &SynthReport, width: usize, colour: Colour) -> String {
    let width = width.max(MIN_WIDTH);
    let parts = [
        heading(report, width, colour),
        each(&report.summary.sets, |set| self::set(set, (width, colour)) + "\n").trim_end().to_owned() + "\n",
        style(&report.summary.leak, width, colour),
        each(prose::warnings(report), |line| {
            each_line(&wrapped(&strip_controls(&line), width, "  "), colour, Ink::Warning) + "\n"
        }),
    ];
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

fn heading(report: &SynthReport, width: usize, colour: Colour) -> String {
    let model = shortened(&strip_controls(report.model), width);
    let facts = wrapped(&facts(report.summary), width, "");
    format!("{}\n{}\n", colour.paint(Ink::Strong, &model), each_line(&facts, colour, Ink::Faint))
}

fn facts(summary: &Summary) -> String {
    let sum = |of: fn(&SetSummary) -> usize| count(summary.sets.iter().map(of).sum());
    let (n_prompts, n_left_out) = (sum(|set| set.n_prompts), sum(|set| set.n_left_out));
    let (n_rankings, n_pairs, n_possible) =
        (sum(|set| set.n_rankings), sum(|set| set.n_pairs), sum(|set| set.n_pairs_possible));
    let made = prose::pairs_made(summary);
    format!(
        "{n_prompts} prompts, {n_left_out} left out on purpose · {n_rankings} rankings · {n_pairs} of {n_possible} \
         possible pairs ({made})"
    )
}

fn set(set: &SetSummary, (width, colour): (usize, Colour)) -> String {
    let name = prose::rankings(set.set);
    let head = format!("{name:<17} {:>7} {:>8} {:>8} {:>10}", "made", "", "lost", "characters");
    let rows = each(&set.kinds, |kind| {
        let made = colour.paint(Ink::Strong, &format!("{:>8}", prose::yielded(kind).percent()));
        let chars = kind.chars.map_or_else(|| "–".to_owned(), |chars| count(chars.median));
        format!("{:>17} {:>7} {made} {:>8} {chars:>10}\n", kind.name, count(kind.n_made), count(kind.n_lost))
    });
    let lost = [("prompts lost", prose::prompts_lost(set)), ("answers lost", prose::answers_lost(set))];
    let lost = each(lost.into_iter().filter(|(_, reasons)| !reasons.is_empty()), |(what, reasons)| {
        let reasons: Vec<_> =
            reasons.iter().map(|(reason, n)| format!("{} {}", count(*n), prose::reason(*reason))).collect();
        wrapped(&format!("{what:>17} {}", reasons.join(", ")), width, "                  ") + "\n"
    });
    format!("{}\n{rows}{lost}", colour.paint(Ink::Faint, head.trim_end()))
}

fn style(leak: &StyleLeak, width: usize, colour: Colour) -> String {
    if leak.together.all.rate.is_none() {
        return String::new();
    }
    let rows = leak.by_cue.iter().map(|by| (prose::cue(by.cue), by.accuracies.all));
    let rows = each(rows.chain([("all together", leak.together.all)]), |(name, accuracy)| {
        let figure = Figure::from(accuracy);
        let percent = colour.paint(Ink::Strong, &format!("{:>7}", figure.percent()));
        format!("{name:>17} {percent} {}", figure.interval()).trim_end().to_owned() + "\n"
    });
    let said = each_line(&wrapped(&prose::style(leak), width, ""), colour, Ink::Faint);
    let telling = each(leak.telling.iter().take(3), |one| {
        wrapped(&strip_controls(&format!("{:>17} {}", "", prose::telling(one))), width, "                  ")
            + "\n"
    });
    format!("{said}\n{rows}{telling}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn a_wide_terminal() {
        expect![[r#"
            smollm2
            120 prompts, 3 left out on purpose · 114 rankings · 1,630 of 1,755 possible pairs (92.9 %)

            harmful rankings     made              lost characters
                           SR      56   98.2 %        1         41
                        SYN_1      56   98.2 %        1        194
                        SYN_2      56   98.2 %        1        286
                        SYN_3      56   98.2 %        1        370
                        SYN_4      48   84.2 %        9        474
                          FHR      56  100.0 %        0        437
                 prompts lost 1 excluded on purpose, 1 nearly the same as an earlier prompt, 1 response too
                              short for the cuts, 1 too few answers left
                 answers lost 9 does not turn or refuse, 1 falls back after its turn, 1 no whole sentence at the
                              limit, 1 same as another answer, 1 engine failed

            contrast rankings    made              lost characters
                            H      58  100.0 %        0        500
                        SYN_4      50   86.2 %        8        498
                        SYN_3      58  100.0 %        0        402
                        SYN_2      58  100.0 %        0        303
                        SYN_1      58  100.0 %        0        207
                            R      58  100.0 %        0         41
                 prompts lost 1 excluded on purpose, 1 no helpful response
                 answers lost 8 does not turn or refuse

            A classifier that sees only the first words, the length, the ending and the layout of two answers
            picks the better one in 52.9 % [48.3, 57.5] of the pairs of prompts that it has not learned from;
            chance is 50 %. That is 38.1 % in harmful and 67.2 % in contrast rankings. Had it seen the harmful
            rankings only, it would reach 100.0 % there.
                  first words  54.4 % [51.0, 57.3]
                       length  44.0 % [36.9, 51.6]
                       ending  49.8 % [47.1, 52.5]
                       layout  48.1 % [45.9, 50.1]
                 all together  52.9 % [48.3, 57.5]
                              begins with “if somebody asks”: the better one in 72.7 % of 88 pairs
                              begins with “in the end”: the better one in 33.6 % of 116 pairs
                              ends with a question mark: the better one in 47.2 % of 612 pairs

            The server does not say which tokens it was given.
        "#]].assert_eq(&terminal(&Fixture::new().report(), 100, Colour::Off));
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let mut fixture = Fixture::new();
        fixture.model = "a-very-long-name/of-a-model".repeat(9);
        fixture.caveats.push("many words ".repeat(40));
        fixture.summary.leak.telling = fixture.summary.leak.telling_alone.clone();
        for width in [0, 53, 60, 61, 80, 200] {
            let text = terminal(&fixture.report(), width, Colour::Off);
            assert!(
                text.lines().all(|line| line.chars().count() <= width.max(MIN_WIDTH)),
                "{width}:\n{text}"
            );
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let fixture = Fixture::new();
        let coloured = terminal(&fixture.report(), 80, Colour::On);
        let plain = terminal(&fixture.report(), 80, Colour::Off);
        assert!(coloured != plain);
        let codes = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[36m"];
        assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain);
    }

    #[test]
    fn names_cannot_control_the_terminal() {
        let mut fixture = Fixture::hostile();
        fixture.summary.leak.telling = fixture.summary.leak.telling_alone.clone();
        let text = terminal(&fixture.report(), 80, Colour::Off);
        assert!(text.lines().all(|line| line == strip_controls(line)));
    }

    #[test]
    fn nothing_made_is_said_in_a_line() {
        let text = terminal(&Fixture::empty().report(), 80, Colour::Off);
        assert!(text.contains("0 rankings · 0 of 0 possible pairs (–)") && !text.contains("NaN"), "{text}");
    }
}
