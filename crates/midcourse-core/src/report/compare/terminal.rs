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
    use expect_test::{ExpectFile, expect_file};

    fn check(width: usize, expected: &ExpectFile) {
        let comparison = fixture::comparison();
        let report = CompareReport { comparison: &comparison, details: Vec::new() };
        expected.assert_eq(&terminal(&report, width, Colour::Off));
    }

    #[test]
    fn a_wide_terminal() {
        check(80, &expect_file!["terminal/wide.txt"]);
    }

    #[test]
    fn a_narrow_terminal() {
        check(53, &expect_file!["terminal/narrow.txt"]);
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
