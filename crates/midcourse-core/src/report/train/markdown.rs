//! The report of a training as Markdown.

use std::fmt::Write;

use super::super::compare;
use super::super::escape::Markdown;
use super::{TrainReport, prose};

/// The report as Markdown.
pub fn markdown(report: &TrainReport) -> String {
    let mut text =
        format!("# Training of {}\n\n{}\n", Markdown(report.model), Markdown(&prose::trained(report)));
    for warning in report.warnings {
        let _ = write!(text, "\n> {}\n", Markdown(warning));
    }
    if let Some(comparison) = report.comparison {
        let differences = compare::differences(comparison);
        let _ = write!(text, "\n## Before and after\n{differences}\n{}\n", prose::BEFORE_AND_AFTER);
    }
    let held_out = prose::held_out(report);
    if !held_out.is_empty() {
        text += "\n## What was held out\n\n| figure | before | kept |\n| --- | ---: | ---: |\n";
        for (name, before, after) in held_out {
            let _ = writeln!(text, "| {name} | {before} | {after} |");
        }
    }
    let _ = write!(text, "\n{}\n\n{}\n", prose::kept(report), prose::HOW_TO_READ);
    text += "\n## Settings and provenance\n\n| | |\n| --- | --- |\n";
    for (name, value) in &report.details {
        let _ = writeln!(text, "| {} | {} |", Markdown(name), Markdown(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn every_change_is_a_row() {
        let text = markdown(&Fixture::new().report());
        assert!(
            text.contains("| corr\\_mean | taught | 7.0 % | 66.0 % | +59.0 [51.9, 69.1] | better |"),
            "{text}"
        );
    }
}
