//! The report of a training as Markdown.

use std::fmt::Write;

use super::super::escape::Markdown;
use super::{Change, TrainReport, prose};

/// The report as Markdown.
pub fn markdown(report: &TrainReport) -> String {
    let mut text =
        format!("# Training of {}\n\n{}\n", Markdown(report.model), Markdown(&prose::trained(report)));
    for warning in report.warnings {
        let _ = write!(text, "\n> {}\n", Markdown(warning));
    }
    if let Some(measured) = &report.measured {
        text += "\n## Before and after\n\n| rate | base | trained | difference, 95 % interval | prompts |\n\
                 | --- | ---: | ---: | ---: | ---: |\n";
        for Change { rate, before, after, difference } in &measured.changes {
            let (before, after) = (prose::percent(*before), prose::percent(*after));
            let points = prose::points(*difference);
            let _ = writeln!(
                text,
                "| {} | {before} | {after} | {points} | {} |",
                Markdown(rate.name()),
                difference.n_prompts
            );
        }
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

/// What changed, a sentence each.
pub fn changes(changes: &[Change]) -> Vec<String> {
    changes.iter().map(prose::change).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn every_change_is_a_row_and_a_sentence() {
        let scores = super::super::super::fixture::scores();
        let report = fixture::report(&scores);
        let text = markdown(&report);
        assert!(text.contains("| 12.4 % | 41.2 % | +28.8 points [21.0, 36.5] | 40 |"), "{text}");
        let said = changes(&report.measured.unwrap().changes);
        assert_eq!(said[0], "Corr_mean +28.8 points [21.0, 36.5] over 40 prompts");
        assert!(said[1].ends_with("no change detected"), "{said:?}");
    }
}
