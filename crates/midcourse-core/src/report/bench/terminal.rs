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
        expect![[r#"
            smollm2 + runs/a/adapter

            General ability                                           items
            hellaswag acc                 37.5 % [30.9, 44.4]           200
            hellaswag acc_norm            42.5 % [35.9, 49.4]           200
            mmlu acc                      31.0 % [24.4, 37.9]           120
            perplexity word_perplexity    21.500 [19.000, 24.300]         3

            Refusals of harmless prompts                                items
            over_refusal refused             8.0 % [1.4, 14.9]            248

            hellaswag: 1 item longer than the model's context, their start was cut off
            over_refusal: 2 items without figures: the judge could not tell
        "#]]
        .assert_eq(&terminal(&fixture::report(&summary), 80, Colour::Off));
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
