//! The figures of a benchmark run on a terminal.

use super::super::each;
use super::super::escape::strip_controls;
use super::super::terminal::{Colour, Ink, each_line, shortened, wrapped};
use super::rows::{self, Row};
use super::{BenchReport, KINDS, heading};
use crate::bench::TaskSummary;

/// The table's width: what is narrower is treated as this wide.
const MIN_WIDTH: usize = 64;
/// Characters of the longest name that is shown whole.
const MAX_NAME: usize = 26;

/// The report in lines of at most `width` characters (64 at least), ending with a line break.
pub fn terminal(report: &BenchReport, width: usize, colour: Colour) -> String {
    let width = width.max(MIN_WIDTH);
    let name = shortened(&strip_controls(&report.name()), width);
    let mut parts = vec![colour.paint(Ink::Strong, &name) + "\n"];
    for kind in KINDS {
        let tasks: Vec<&TaskSummary> = report.summary.tasks.iter().filter(|task| task.kind == kind).collect();
        if !tasks.is_empty() {
            parts.push(table(heading(kind), &rows::of_tasks(tasks.into_iter()), colour));
        }
    }
    let losses = report.summary.tasks.iter().flat_map(rows::losses);
    parts.push(each(report.warnings.iter().cloned().chain(losses), |line| {
        each_line(&wrapped(&strip_controls(&line), width, "  "), colour, Ink::Warning) + "\n"
    }));
    parts.retain(|part| !part.trim().is_empty());
    parts.join("\n")
}

fn table(heading: &str, rows: &[Row], colour: Colour) -> String {
    let named =
        |row: &Row| shortened(&strip_controls(&format!("{} {}", row.name, row.metric)), MAX_NAME + 12);
    let widest =
        rows.iter().map(|row| named(row).chars().count()).max().unwrap_or(0).max(heading.chars().count());
    let rows = each(rows, |row| {
        let name = named(row);
        let value = colour.paint(Ink::Strong, &format!("{:>9}", row.value));
        let interval = &row.interval;
        format!("{name:<widest$} {value} {interval:<18} {:>7}\n", row.n)
    });
    let head = format!("{heading:<widest$} {:>9} {:<18} {:>7}", "", "", "items");
    format!("{}\n{rows}", colour.paint(Ink::Faint, &head))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::fixture;
    use super::*;

    #[test]
    fn a_table_a_kind() {
        let summary = fixture::summary();
        expect![[""]].assert_eq(&terminal(&fixture::report(&summary), 80, Colour::Off));
    }

    #[test]
    fn names_cannot_control_the_terminal_nor_widen_it() {
        let mut summary = fixture::summary();
        summary.tasks[0].task = "\u{1b}[31mx\u{7}".repeat(40);
        let text = terminal(&fixture::report(&summary), 80, Colour::Off);
        assert!(
            text.lines().all(|line| line == strip_controls(line) && line.chars().count() <= 80),
            "{text}"
        );
    }
}
