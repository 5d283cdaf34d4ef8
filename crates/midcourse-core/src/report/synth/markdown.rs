//! The figures of a synthesis as GitHub's Markdown, to be pasted into a pull request or a card.
//!
//! It holds no text of a model but the first words that tell most; rankings stay in the HTML page and in the records.

use super::super::each;
use super::super::escape::Markdown;
use super::super::figure::{Figure, count};
use super::{SynthReport, prose};
use crate::synth::{Accuracies, KindSummary, Reason, SetSummary, StyleLeak, Summary, Telling};

/// The report as Markdown, ending with a line break.
pub fn markdown(report: &SynthReport) -> String {
    let summary = report.summary;
    let parts = [
        format!("# Preferences written by {}\n", Markdown(report.model)),
        format!("{}\n\n{}\n", Markdown(&prose::made(report)), Markdown(prose::HOW_TO_READ)),
        headline(summary),
        each(prose::warnings(report), |line| format!("**{}**\n\n", Markdown(&line)))
            .trim_end_matches('\n')
            .to_owned(),
        style(&summary.leak),
        each(&summary.sets, set),
        details(&report.details),
    ];
    let parts =
        parts.into_iter().filter(|part| !part.is_empty()).map(|part| part.trim_end().to_owned() + "\n");
    parts.collect::<Vec<_>>().join("\n")
}

fn headline(summary: &Summary) -> String {
    let row = |set: &SetSummary| {
        let SetSummary { n_prompts, n_left_out, n_rankings, n_pairs, n_pairs_possible, pair_share, .. } = set;
        let share = Figure { rate: *pair_share, ci: None };
        format!(
            "| {} | {} | {} | {} | {} | {} | {share} |\n",
            prose::rankings(set.set),
            count(*n_prompts),
            count(*n_left_out),
            count(*n_rankings),
            count(*n_pairs),
            count(*n_pairs_possible)
        )
    };
    let rows = each(&summary.sets, row);
    if rows.is_empty() {
        return rows;
    }
    format!(
        "| | prompts | left out on purpose | rankings | pairs | possible | share |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | --- |\n{rows}"
    )
}

fn style(leak: &StyleLeak) -> String {
    if leak.together.all.rate.is_none() {
        return String::new();
    }
    let row = |name: &str, accuracies: &Accuracies| {
        let Accuracies { all, harmful, benign, harmful_alone } = accuracies;
        let cells =
            each([all, harmful, benign, harmful_alone], |accuracy| format!(" {} |", Figure::from(*accuracy)));
        format!("| {name} |{cells}\n")
    };
    let rows = each(&leak.by_cue, |by| row(prose::cue(by.cue), &by.accuracies))
        + &row("all together", &leak.together);
    let alone = if leak.n_benign == 0 { &[][..] } else { &leak.telling_alone };
    format!(
        "## What style tells\n\n{}\n\n| cue | all rankings | harmful ones | contrast ones | harmful ones, learned alone |\n\
         | --- | --- | --- | --- | --- |\n{rows}{}{}",
        Markdown(&prose::style(leak)),
        telling("What tells most, in all rankings:", &leak.telling),
        telling("What would tell most in the harmful rankings alone:", alone)
    )
}

fn telling(title: &str, telling: &[Telling]) -> String {
    if telling.is_empty() {
        return String::new();
    }
    format!("\n{title}\n\n{}", each(telling, |one| format!("- {}\n", Markdown(&prose::telling(one)))))
}

fn set(set: &SetSummary) -> String {
    let rows = each(&set.kinds, kind_row);
    let prompts = losses("prompts without a ranking", &prose::prompts_lost(set));
    let answers = losses("answers lost", &prose::answers_lost(set));
    format!(
        "## {}\n\n| answer | made, of those tried | made | lost | median characters | taken at candidate 1 · 2 · … |\n\
         | --- | --- | ---: | ---: | ---: | --- |\n{rows}{}{prompts}{answers}\n",
        prose::capitalised(prose::rankings(set.set)),
        cuts(set)
    )
}

fn kind_row(kind: &KindSummary) -> String {
    let chars = kind.chars.map_or_else(String::new, |chars| count(chars.median));
    format!(
        "| {} | {} | {} | {} | {chars} | {} |\n",
        Markdown(&kind.name),
        prose::yielded(kind),
        count(kind.n_made),
        count(kind.n_lost),
        prose::candidates(kind)
    )
}

fn cuts(set: &SetSummary) -> String {
    let rows = each(&set.cuts, |cut| {
        let share = cut.per_mille.map_or_else(String::new, |q| prose::cut_share(&q).to_string());
        let tokens = cut.tokens.map_or_else(String::new, |tokens| count(tokens.median));
        format!("| {} | {share} | {tokens} | {} |\n", cut.cut, count(cut.n))
    });
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n| cut | median share before it [p10, p90] | median tokens | cuts |\n| ---: | --- | ---: | ---: |\n{rows}"
    )
}

fn losses(what: &str, reasons: &[(Reason, usize)]) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let rows = each(reasons, |(reason, n)| format!("| {} | {} |\n", prose::reason(*reason), count(*n)));
    format!("\n| {what} | lost |\n| --- | ---: |\n{rows}")
}

fn details(details: &[(String, String)]) -> String {
    if details.is_empty() {
        return String::new();
    }
    let row = |(name, value): &(String, String)| format!("| {} | {} |\n", Markdown(name), Markdown(value));
    format!("## Settings and provenance\n\n| setting | value |\n| --- | --- |\n{}", each(details, row))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn figures_are_tables() {
        let mut fixture = Fixture::new();
        fixture.summary.sets.truncate(1);
        fixture.summary.leak.telling_alone.clear();
        fixture.details.truncate(1);
        expect![[r#"
            # Preferences written by smollm2

            Ranked answers to 60 prompts with a harmful response, written by smollm2: the response was cut at 4 places, and from each cut on it was turned away from; one answer refuses from the start. Every better answer over every worse one of its ranking is a pair.

            In a harmful ranking the refusal (SR) is best, then early turns (SYN\_1) before late ones, then the whole response (FHR); in a contrast ranking the helpful response (H) is best and the refusal (R) worst. Possible are the pairs that there would be if no prompt and no answer had been lost; prompts left out on purpose are in no denominator.

            | | prompts | left out on purpose | rankings | pairs | possible | share |
            | --- | ---: | ---: | ---: | ---: | ---: | --- |
            | harmful rankings | 60 | 2 | 56 | 800 | 870 | 92.0 % |

            **The server does not say which tokens it was given.**

            ## What style tells

            A classifier that sees only the first words, the length, the ending and the layout of two answers picks the better one in 52.9 % \[48.3, 57.5\] of the pairs of prompts that it has not learned from; chance is 50 %. That is 38.1 % in harmful and 67.2 % in contrast rankings. Had it seen the harmful rankings only, it would reach 100.0 % there.

            | cue | all rankings | harmful ones | contrast ones | harmful ones, learned alone |
            | --- | --- | --- | --- | --- |
            | first words | 54.4 % [51.0, 57.3] | 56.0 % [51.1, 60.1] | 52.8 % [48.0, 57.0] | 67.0 % [66.8, 67.4] |
            | length | 44.0 % [36.9, 51.6] | 21.6 % [14.9, 31.7] | 65.5 % [55.0, 74.5] | 95.5 % [94.5, 96.5] |
            | ending | 49.8 % [47.1, 52.5] | 53.2 % [49.5, 56.7] | 46.6 % [42.9, 50.4] | 68.3 % [64.8, 71.8] |
            | layout | 48.1 % [45.9, 50.1] | 45.9 % [42.8, 48.5] | 50.1 % [47.3, 53.2] | 56.6 % [54.3, 59.5] |
            | all together | 52.9 % [48.3, 57.5] | 38.1 % [33.2, 43.5] | 67.2 % [61.4, 72.6] | 100.0 % [93.6, 100.0] |

            What tells most, in all rankings:

            - begins with “if somebody asks”: the better one in 72.7 % of 88 pairs
            - begins with “in the end”: the better one in 33.6 % of 116 pairs
            - ends with a question mark: the better one in 47.2 % of 612 pairs
            - ends with a full stop: the better one in 52.8 % of 612 pairs

            ## Harmful rankings

            | answer | made, of those tried | made | lost | median characters | taken at candidate 1 · 2 · … |
            | --- | --- | ---: | ---: | ---: | --- |
            | SR | 98.2 % | 56 | 1 | 41 | 33 · 5 · 12 · 6 |
            | SYN\_1 | 98.2 % | 56 | 1 | 194 | 32 · 9 · 6 · 9 |
            | SYN\_2 | 98.2 % | 56 | 1 | 286 | 38 · 7 · 7 · 4 |
            | SYN\_3 | 98.2 % | 56 | 1 | 370 | 38 · 5 · 5 · 8 |
            | SYN\_4 | 84.2 % | 48 | 9 | 474 | 27 · 6 · 10 · 5 |
            | FHR | 100.0 % | 56 | 0 | 437 |  |

            | cut | median share before it [p10, p90] | median tokens | cuts |
            | ---: | --- | ---: | ---: |
            | 1 | 23.6 % [19.7, 30.1] | 19 | 56 |
            | 2 | 43.0 % [38.9, 50.9] | 37 | 56 |
            | 3 | 64.0 % [58.0, 68.9] | 58 | 56 |
            | 4 | 83.9 % [79.3, 88.7] | 77 | 56 |

            | prompts without a ranking | lost |
            | --- | ---: |
            | excluded on purpose | 1 |
            | nearly the same as an earlier prompt | 1 |
            | response too short for the cuts | 1 |
            | too few answers left | 1 |

            | answers lost | lost |
            | --- | ---: |
            | does not turn or refuse | 9 |
            | falls back after its turn | 1 |
            | no whole sentence at the limit | 1 |
            | same as another answer | 1 |
            | engine failed | 1 |

            ## Settings and provenance

            | setting | value |
            | --- | --- |
            | model | smollm2 (Q8\_0) |
        "#]].assert_eq(&markdown(&fixture.report()));
    }

    #[test]
    fn hostile_text_stays_in_its_cell() {
        let tame = markdown(&Fixture::new().report());
        let text = markdown(&Fixture::hostile().report());
        assert!(!text.contains(['<', '\u{2028}', '\x1b', '\u{202e}', '\0']) && !text.contains(" `code`"));
        let n_bars = |text: &str| text.replace("\\|", "").matches('|').count();
        assert_eq!(n_bars(&text), n_bars(&tame), "\n{text}");
        assert_eq!(text.lines().count(), tame.lines().count());
    }

    #[test]
    fn nothing_made_is_no_table() {
        let text = markdown(&Fixture::empty().report());
        assert!(!text.contains('|') && !text.contains("NaN"), "{text}");
    }
}
