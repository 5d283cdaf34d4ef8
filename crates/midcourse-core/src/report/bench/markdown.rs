//! The report of a benchmark run as Markdown.

use std::fmt::Write;

use super::super::escape::Markdown;
use super::rows::{self, Row};
use super::{BenchReport, KINDS, heading, how_to_read};
use crate::bench::TaskSummary;

/// The report as Markdown.
pub fn markdown(report: &BenchReport) -> String {
    let mut text = format!("# Benchmarks of {}\n", Markdown(&report.name()));
    let losses = report.summary.tasks.iter().flat_map(rows::losses);
    for warning in report.warnings.iter().cloned().chain(losses) {
        let _ = write!(text, "\n> {}\n", Markdown(&warning));
    }
    for kind in KINDS {
        let tasks: Vec<&TaskSummary> = report.summary.tasks.iter().filter(|task| task.kind == kind).collect();
        if tasks.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {}\n\n{}\n", heading(kind), how_to_read(kind));
        text += &table("task", &rows::of_tasks(tasks.iter().copied()));
        for task in tasks.iter().filter(|task| !task.groups.is_empty()) {
            let _ = write!(text, "\n### {} by group\n", Markdown(&task.task));
            text += &table("group", &rows::of_groups(task));
        }
    }
    text += "\n## Settings and provenance\n\n| | |\n| --- | --- |\n";
    for (name, value) in &report.details {
        let _ = writeln!(text, "| {} | {} |", Markdown(name), Markdown(value));
    }
    text
}

fn table(first: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "\n| {first} | metric | | figure | 95 % interval | standard error | items |\n| --- | --- | --- | ---: | --- | ---: | ---: |\n"
    );
    for Row { name, metric, value, interval, stderr, n, better, .. } in rows {
        let (name, metric) = (Markdown(name), Markdown(metric));
        let _ = writeln!(text, "| {name} | {metric} | {better} | {value} | {interval} | {stderr} | {n} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn every_metric_is_a_row() {
        let summary = fixture::summary();
        let text = markdown(&fixture::report(&summary));
        assert!(
            text.contains("| hellaswag | acc\\_norm | ↑ | 42.5 % | [35.9, 49.4] | 3.5 | 200 |"),
            "{text}"
        );
        assert!(text.contains("| anatomy | acc | ↑ | 30.0 %"), "{text}");
        assert!(text.contains("> hellaswag: 1 item longer than the model's context"), "{text}");
    }
}
