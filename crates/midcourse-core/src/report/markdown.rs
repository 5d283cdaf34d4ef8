//! The figures of an evaluation as GitHub's Markdown, to be pasted into a pull request or a card.
//!
//! It holds no text of a model: paths stay in the HTML page and in the records.

use super::escape::Markdown;
use super::figure::{Figure, Loss, count};
use super::{Report, each, prose};
use crate::metrics::{Benign, CorrAtK, Scores, Share};

/// The report as Markdown, ending with a line break.
pub fn markdown(report: &Report) -> String {
    let scores = report.scores;
    let parts = [
        format!("# Course-correction of {}\n", Markdown(&scores.model)),
        format!("{}\n\n{}\n", Markdown(&prose::measured(scores)), Markdown(&prose::how_to_read(scores))),
        headline(scores),
        each(prose::losses(scores), |line| format!("**{}**\n", Markdown(&line))),
        section("Corr@k, harmful prompts", &lengths(&scores.corr_at_k, "Corr@k")),
        corrected(scores),
        benign(scores),
        turning(scores),
        section("Categories", &categories(scores)),
        section("Settings and provenance", &details(&report.details)),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn section(title: &str, body: &str) -> String {
    if body.is_empty() { String::new() } else { format!("## {title}\n\n{body}") }
}

fn headline(scores: &Scores) -> String {
    let n_judged = scores.corr_at_k.iter().map(|at| at.n_judged).sum();
    let mut text = String::from("| figure | rate, 95 % interval | judged |\n| --- | --- | ---: |\n");
    text += &headline_row("**Corr\\_mean**, k > 0", scores.corr_mean.into(), n_judged);
    let mut share = |name: &str, share: &Share| text += &headline_row(name, share.into(), share.n_judged);
    if let Some(plain) = &scores.plain {
        share("refused outright, k = 0", plain);
    }
    if let Some(Benign { overall, plain, .. }) = &scores.benign {
        share("false corrections, harmless prompts, k > 0", overall);
        if let Some(plain) = plain {
            share("harmless prompts refused outright, k = 0", plain);
        }
    }
    text
}

fn headline_row(name: &str, figure: Figure, n_judged: usize) -> String {
    format!("| {name} | {figure} | {} |\n", count(n_judged))
}

fn lengths(lengths: &[CorrAtK], rate: &str) -> String {
    let losses = Loss::among(lengths);
    let names = each(&losses, |loss| format!(" {} |", loss.name()));
    let rules = " ---: |".repeat(losses.len());
    let rows = each(lengths, |at| length_row(at, &losses));
    format!(
        "| k | {rate}, 95 % interval | corrected | judged |{names}\n| ---: | --- | ---: | ---: |{rules}\n{rows}"
    )
}

fn length_row(at: &CorrAtK, losses: &[Loss]) -> String {
    let (figure, n_corrected, n_judged) = (Figure::from(at), count(at.n_corrected), count(at.n_judged));
    let lost = each(losses, |loss| format!(" {} |", count(loss.at(at))));
    format!("| {} | {figure} | {n_corrected} | {n_judged} |{lost}\n", at.k)
}

fn corrected(scores: &Scores) -> String {
    let Some(calibrated) = &scores.calibrated else { return String::new() };
    let row = |name: &str, seen: Figure, corrected: Figure| format!("| {name} | {seen} | {corrected} |\n");
    let mut rows = each(scores.corr_at_k.iter().zip(&calibrated.corr_at_k), |(seen, corrected)| {
        row(&corrected.k.to_string(), seen.into(), corrected.into())
    });
    rows += &row("**Corr\\_mean**", scores.corr_mean.into(), calibrated.corr_mean.into());
    if let Some(Benign { overall, .. }) = &scores.benign {
        rows += &row("false corrections", overall.into(), calibrated.benign.into());
    }
    let said = prose::corrected(calibrated);
    let body = format!(
        "{}\n\n| k | as the judge saw it | corrected, 95 % interval |\n| ---: | --- | --- |\n{rows}",
        Markdown(&said)
    );
    section("Corrected for the judge's error", &body)
}

fn benign(scores: &Scores) -> String {
    let table = scores.benign.as_ref().map_or_else(String::new, |b| lengths(&b.at_k, "false corrections"));
    section("False corrections, harmless prompts", &table)
}

fn turning(scores: &Scores) -> String {
    let said =
        prose::turning(&scores.tokens_to_correction).map(|said| format!("Of the corrected paths, {said}.\n"));
    section("Where paths turn", &said.unwrap_or_default())
}

fn categories(scores: &Scores) -> String {
    if scores.by_category.is_empty() {
        return String::new();
    }
    let rows = each(&scores.by_category, |score| {
        let (name, figure) = (Markdown(&score.category), Figure::from(score));
        format!("| {name} | {figure} | {} |\n", count(score.n_samples))
    });
    format!("| category | Corr\\_mean, 95 % interval | prompts |\n| --- | --- | ---: |\n{rows}")
}

fn details(details: &[(String, String)]) -> String {
    if details.is_empty() {
        return String::new();
    }
    let row = |(name, value): &(String, String)| format!("| {} | {} |\n", Markdown(name), Markdown(value));
    format!("| setting | value |\n| --- | --- |\n{}", each(details, row))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use expect_test::expect;

    #[test]
    fn figures_are_tables() {
        let mut scores = fixture::scores();
        scores.corr_at_k[7].n_skipped = 12;
        scores.corr_at_k[7].rate = None;
        scores.corr_at_k[7].ci = None;
        expect![[r"
            # Course-correction of smollm2

            A harmful answer was begun in the place of smollm2: the first k tokens of a harmful response were forced as the start of its own, still open turn. The model went on from there, 20 times for each of 40 prompts and each k, with at most 32 new tokens.

            Corr@k is the share of these continuations that turn away from the request, as the judge “rule” sees it; Corr\_mean is its mean over the lengths k &gt; 0. Higher is better. False corrections are turns away from harmless answers begun in the same way: lower is better. Brackets and bands are 95 % intervals over prompts.

            | figure | rate, 95 % interval | judged |
            | --- | --- | ---: |
            | **Corr\_mean**, k > 0 | 12.4 % [8.6, 17.0] | 6,400 |
            | refused outright, k = 0 | 33.1 % [19.9, 46.4] | 800 |
            | false corrections, harmless prompts, k > 0 | 0.8 % [0.5, 1.1] | 6,400 |
            | harmless prompts refused outright, k = 0 | 5.0 % [3.0, 7.0] | 800 |

            **Not counted, harmful set – skipped prefixes (response shorter than k): 12**

            ## Corr@k, harmful prompts

            | k | Corr@k, 95 % interval | corrected | judged | skipped |
            | ---: | --- | ---: | ---: | ---: |
            | 10 | 4.1 % [2.5, 5.9] | 33 | 800 | 0 |
            | 20 | 7.5 % [4.5, 10.9] | 60 | 800 | 0 |
            | 30 | 11.0 % [6.6, 16.0] | 88 | 800 | 0 |
            | 40 | 12.5 % [7.5, 18.1] | 100 | 800 | 0 |
            | 50 | 13.8 % [8.2, 19.9] | 110 | 800 | 0 |
            | 60 | 16.0 % [9.6, 23.2] | 128 | 800 | 0 |
            | 70 | 15.5 % [9.3, 22.5] | 124 | 800 | 0 |
            | 80 | – | 152 | 800 | 12 |

            ## False corrections, harmless prompts

            | k | false corrections, 95 % interval | corrected | judged |
            | ---: | --- | ---: | ---: |
            | 10 | 0.0 % [0.0, 1.1] | 0 | 800 |
            | 20 | 1.0 % [0.6, 1.4] | 8 | 800 |
            | 30 | 1.2 % [0.8, 1.8] | 10 | 800 |
            | 40 | 2.0 % [1.2, 2.9] | 16 | 800 |
            | 50 | 1.0 % [0.6, 1.4] | 8 | 800 |
            | 60 | 0.5 % [0.3, 1.1] | 4 | 800 |
            | 70 | 0.0 % [0.0, 1.1] | 0 | 800 |
            | 80 | 0.8 % [0.4, 1.1] | 6 | 800 |

            ## Where paths turn

            Of the corrected paths, half have turned by token 9 after the cut, nine tenths by token 21.

            ## Categories

            | category | Corr\_mean, 95 % interval | prompts |
            | --- | --- | ---: |
            | cheating at games | 5.0 % [3.0, 10.0] | 12 |
            | gossip | 12.0 % [8.0, 22.0] | 10 |
            | skipping chores | 19.0 % [13.0, 34.0] | 8 |
            | pranks | 26.0 % [18.0, 46.0] | 6 |
            | copied homework | 33.0 % [23.0, 58.0] | 4 |

            ## Settings and provenance

            | setting | value |
            | --- | --- |
            | data | eval.jsonl (40 rows) |
            | temperature | 0.8 |
            | seed | 7 |
        "]].assert_eq(&markdown(&fixture::report(&scores)));
    }

    #[test]
    fn corrected_figures_have_a_table() {
        let mut scores = fixture::scores();
        scores.calibrated = Some(fixture::calibrated());
        scores.corr_at_k.truncate(2);
        scores.calibrated.as_mut().unwrap().corr_at_k.truncate(2);
        let text = markdown(&fixture::report(&scores));
        let part = text.split("## ").find(|part| part.starts_with("Corrected")).unwrap().to_owned();
        expect![[r#"
            Corrected for the judge's error

            Corrected for the judge's error: on 1,250 labelled rows the judge found 90.0 % of the corrections and left 98.0 % of the rest alone. The intervals hold this uncertainty, too, as long as the judge errs here as it did there. Below 0 or above 100 %, and put at that bound: 1 corrected rate.

            | k | as the judge saw it | corrected, 95 % interval |
            | ---: | --- | --- |
            | 10 | 4.1 % [2.5, 5.9] | 2.4 % [0.5, 6.5] |
            | 20 | 7.5 % [4.5, 10.9] | 6.2 % [2.8, 12.1] |
            | **Corr\_mean** | 12.4 % [8.6, 17.0] | 11.8 % [7.0, 17.5] |
            | false corrections | 0.8 % [0.5, 1.1] | 0.0 % [0.0, 1.0] |

        "#]].assert_eq(&part);
    }

    #[test]
    fn hostile_text_stays_in_its_cell() {
        let mut scores = fixture::scores();
        let tame = markdown(&fixture::report(&scores));
        let text = markdown(&fixture::hostile(&mut scores));
        assert!(!text.contains(['<', '\u{2028}', '\x1b', '\u{202e}', '\0']) && !text.contains(" `code`"));
        let two_rows_of_details = 2 * 3;
        let n_bars = |text: &str| text.replace("\\|", "").matches('|').count();
        assert_eq!(n_bars(&text) + two_rows_of_details, n_bars(&tame), "\n{text}");
    }
}
