//! A comparison as GitHub's Markdown, to be pasted into a pull request or a card.

use std::fmt::Write;

use super::super::each;
use super::super::escape::Markdown;
use super::{CompareReport, Group, beside, changes, groups, main_measures, prose};
use crate::compare::{Compared, Comparison, Measure};

/// The comparison as Markdown, ending with a line break.
pub fn markdown(report: &CompareReport) -> String {
    let comparison = report.comparison;
    let mut text = format!("# {}\n\n", Markdown(&prose::compared(comparison)));
    text += &each(&comparison.gates, |result| format!("- {}\n", Markdown(&prose::gate(comparison, result))));
    text += &each(&comparison.comparisons, |compared| sentences(comparison, compared));
    text += "\n## Differences to the baseline\n";
    text += &each(groups(comparison), |group| table(comparison, &group));
    text += &leaderboard(comparison);
    let _ = write!(text, "\n{}\n\n## Runs\n\n| | |\n| --- | --- |\n", Markdown(prose::HOW_TO_READ));
    for (name, value) in &report.details {
        let _ = writeln!(text, "| {} | {} |", Markdown(name), Markdown(value));
    }
    text
}

/// Every difference in sentences and tables, for a page of another kind that compares besides.
pub fn differences(comparison: &Comparison) -> String {
    let said = each(&comparison.comparisons, |compared| sentences(comparison, compared));
    said + &each(groups(comparison), |group| table(comparison, &group))
}

fn sentences(comparison: &Comparison, compared: &Compared) -> String {
    let sentence = prose::sentence(comparison, compared);
    let left = each(prose::left(compared), |line| format!("> {}\n\n", Markdown(&line)));
    let [run, sentence, clear] =
        [&compared.run, &sentence, &prose::clear(compared)].map(|text| Markdown(text).to_string());
    format!("\n**{run}**: {sentence}\n\n{run}, {clear}\n\n{left}")
}

fn table(comparison: &Comparison, group: &Group) -> String {
    let rows = each(&group.measures, |measure| {
        each(changes(comparison, measure), |(_, compared, change)| {
            let (by, ends) = prose::difference(measure, change);
            let [before, after] = change.difference.figures.map(|value| prose::figure(measure, value));
            let clarity = prose::clarity(measure, change, compared.changes.len());
            format!(
                "| {} | {} | {before} | {after} | {by} {ends} | {clarity} | {} |\n",
                Markdown(&measure.name),
                Markdown(&compared.run),
                change.difference.n_prompts
            )
        })
    });
    format!(
        "\n### {}\n\n| measure | run | baseline | run | difference, 95 % interval | | over |\n| --- | --- | ---: | ---: | --- | --- | ---: |\n{rows}",
        Markdown(&group.title)
    )
}

fn leaderboard(comparison: &Comparison) -> String {
    let measures = main_measures(comparison);
    let heads = each(&measures, |measure| format!(" {} |", Markdown(&measure.name)));
    let rules = " ---: |".repeat(measures.len());
    let rows = each(comparison.runs.iter().enumerate(), |(run, summary)| {
        let cells = each(&measures, |measure| format!(" {} |", cell(comparison, run, measure)));
        format!("| {} |{cells}\n", Markdown(&summary.name))
    });
    format!("\n## Every run\n\n| run |{heads}\n| --- |{rules}\n{rows}")
}

fn cell(comparison: &Comparison, run: usize, measure: &Measure) -> String {
    beside(comparison, run, &measure.name)
        .map_or_else(|| "–".to_owned(), |told| prose::figure(measure, told.value))
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::HOSTILE;
    use super::*;
    use crate::compare::fixture;

    #[test]
    fn differences_and_runs_are_tables() {
        let comparison = fixture::comparison();
        let text = markdown(&CompareReport { comparison: &comparison, details: Vec::new() });
        for line in [
            "# taught, a little against the baseline smollm2",
            "- gate met: taught: corr\\_mean&gt;=+10 (found +59.00 points)",
            "| piqa | taught | 67.0 % | 67.0 % | ±0.0 [−1.8, 1.8] | no change detected | 200 |",
            "| smollm2 | 7.0 % | 2.0 % | 7.0 % | 2.0 % |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn hostile_names_stay_in_their_cells() {
        let mut comparison = fixture::comparison();
        let bars = |comparison: &Comparison| {
            let text = markdown(&CompareReport { comparison, details: Vec::new() });
            assert!(!text.contains(['<', '\x1b', '\u{2028}']), "{text}");
            text.replace("\\|", "").matches('|').count()
        };
        let n_tame = bars(&comparison);
        comparison.runs.iter_mut().for_each(|run| run.name = HOSTILE.into());
        comparison.comparisons.iter_mut().for_each(|compared| compared.run = HOSTILE.into());
        assert_eq!(bars(&comparison), n_tame);
    }
}
