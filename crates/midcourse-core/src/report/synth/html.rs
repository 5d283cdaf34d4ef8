//! The report of a synthesis as one HTML file: what stands in the frame of [`page`].
//!
//! `page.html` is a format string: what it names is checked when this file is compiled.

use super::super::each;
use super::super::escape::Html;
use super::super::figure::{Figure, count};
use super::super::page::{self, Page, card};
use super::{SynthReport, plot, prose, rows};
use crate::synth::{
    Accuracies, Accuracy, AnswerEnd, AnswerKind, CutSummary, KindSummary, Origin, Reason, SetSummary,
    StyleLeak, Summary, Telling, Verdicts,
};

/// The report as a page.
pub fn html(report: &SynthReport) -> String {
    let summary = report.summary;
    let body = format!(
        include_str!("page.html"),
        model = Html(report.model),
        made = Html(&prose::made(report)),
        how_to_read = Html(prose::HOW_TO_READ),
        headline = headline(summary),
        warnings = each(prose::warnings(report), |line| page::note(&line)),
        style = style(&summary.leak),
        yields = yields(summary),
        cuts = cuts(summary),
        lengths = lengths(summary),
        verdicts = verdicts(summary),
        origins = origins(summary),
        details = page::details(&report.details),
        n_examples = n_examples(report),
    );
    page::page(&Page {
        title: &format!("Preferences written by {}", report.model),
        body: &body,
        rows: &rows::rows(report.examples),
        script: include_str!("page.js"),
    })
}

fn headline(summary: &Summary) -> String {
    let sum = |of: fn(&SetSummary) -> usize| count(summary.sets.iter().map(of).sum());
    let (n_pairs, n_possible) = (sum(|set| set.n_pairs), sum(|set| set.n_pairs_possible));
    let made = prose::pairs_made(summary).percent();
    let of = |what: &str| format!("of {what} prompts");
    let mut cards = page::counted("Pairs", &n_pairs, &format!("{made} of the {n_possible} possible"));
    for set in &summary.sets {
        let SetSummary { n_rankings, n_prompts, n_left_out, .. } = set;
        let name = prose::capitalised(prose::rankings(set.set));
        cards += &page::counted(&name, &count(*n_rankings), &of(&count(n_prompts - n_left_out)));
    }
    cards + &card("Told by style", summary.leak.together.all.into(), "of the pairs; 50 % is chance")
}

fn style(leak: &StyleLeak) -> String {
    if leak.together.all.rate.is_none() {
        return String::new();
    }
    let named = leak.by_cue.iter().map(|by| (prose::cue(by.cue), by.accuracies));
    let cues: Vec<_> = named.chain([("all together", leak.together)]).collect();
    let rows = each(&cues, |(name, accuracies)| cue_row(name, accuracies.all, leak.leak_above));
    let (telling, alone) = (telling("What tells most, in all rankings", &leak.telling), alone(leak));
    format!(
        "<section><h2>What style tells</h2><p>{}</p>\n{}{}{telling}{alone}</section>\n",
        Html(&prose::style(leak)),
        strips("cue", "told, 95 % interval", "pairs", &rows),
        by_set(leak, &cues),
    )
}

/// What tells most in the harmful rankings, where it is not the same as in all.
fn alone(leak: &StyleLeak) -> String {
    if leak.n_benign == 0 {
        return String::new();
    }
    telling("What would tell most in the harmful rankings alone", &leak.telling_alone)
}

/// A table of rows that hold a name, a small plot, a rate and a count.
fn strips(name: &str, rate: &str, counted: &str, rows: &str) -> String {
    strips_scaled((name, rate, counted), &["0", "50", "100 %"], rows)
}

fn strips_scaled((name, rate, counted): (&str, &str, &str), scale: &[&str; 3], rows: &str) -> String {
    let [low, middle, high] = scale;
    format!(
        "<table class=\"categories strips\"><thead><tr><th>{name}</th>\
         <th class=\"scale\"><span>{low}</span><span>{middle}</span><span>{high}</span></th>\
         <th class=\"rate\">{rate}</th><th>{counted}</th></tr></thead><tbody>\n{rows}</tbody></table>\n"
    )
}

fn strip_row(name: &str, plot: &str, rate: &str, counted: &str) -> String {
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"harmful\">{plot}</td><td class=\"rate\">{rate}</td><td>{counted}</td></tr>\n",
        Html(name)
    )
}

fn figure(figure: Figure) -> String {
    format!("<b>{}</b> <span class=\"interval\">{}</span>", figure.percent(), figure.interval())
}

fn cue_row(name: &str, accuracy: Accuracy, leak_above: f64) -> String {
    let plot = plot::accuracy(accuracy.into(), leak_above);
    strip_row(name, &plot, &figure(accuracy.into()), &count(accuracy.n_pairs))
}

fn by_set(leak: &StyleLeak, cues: &[(&str, Accuracies)]) -> String {
    if leak.n_benign == 0 || leak.n_benign == leak.n_rankings {
        return String::new();
    }
    let cell = |accuracy: Accuracy| format!("<td class=\"rate\">{}</td>", figure(accuracy.into()));
    let rows = each(cues, |(name, Accuracies { harmful, benign, harmful_alone, .. })| {
        let cells = each([harmful, benign, harmful_alone], |accuracy| cell(*accuracy));
        format!("<tr><th scope=\"row\">{name}</th>{cells}</tr>\n")
    });
    format!(
        "<div class=\"wide\"><table class=\"names\"><caption>By kind of ranking</caption><thead><tr><th>cue</th>\
         <th class=\"rate\">harmful ones</th><th class=\"rate\">contrast ones</th>\
         <th class=\"rate\">harmful ones, learned alone</th></tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn telling(title: &str, telling: &[Telling]) -> String {
    if telling.is_empty() {
        return String::new();
    }
    let items = each(telling, |one| format!("<li><bdi>{}</bdi></li>\n", Html(&prose::telling(one))));
    format!("<h3>{title}</h3>\n<ul>\n{items}</ul>\n")
}

/// `write` for every set, under its name.
fn of_sets(summary: &Summary, title: &str, write: impl Fn(&SetSummary) -> String) -> String {
    let parts = each(&summary.sets, |set| {
        let part = write(set);
        let name = prose::capitalised(prose::rankings(set.set));
        if part.is_empty() { part } else { format!("<h3>{name}</h3>\n{part}") }
    });
    if parts.is_empty() { parts } else { format!("<section><h2>{title}</h2>\n{parts}</section>\n") }
}

fn yields(summary: &Summary) -> String {
    of_sets(summary, "What was made and what was lost", |set| {
        let kinds = each(&set.kinds, |kind| {
            let made = prose::yielded(kind);
            strip_row(&kind.name, &plot::bar(made.rate.unwrap_or(0.0)), &figure(made), &count(kind.n_made))
        });
        let kinds = strips("answer", "made, of those tried", "made", &kinds);
        let n_tried = set.kinds.iter().map(|kind| kind.n_made + kind.n_lost).sum();
        let answers = losses("answers lost", "of those tried", &prose::answers_lost(set), n_tried);
        kinds
            + &losses("prompts without a ranking", "of all", &prose::prompts_lost(set), set.n_prompts)
            + &answers
    })
}

/// Reasons with their bars, of `n`.
fn losses(what: &str, of: &str, reasons: &[(Reason, usize)], n: usize) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let rows = each(reasons, |(reason, lost)| {
        let share = *lost as f64 / n.max(1) as f64;
        let figure = figure(Figure { rate: Some(share), ci: None });
        strip_row(prose::reason(*reason), &plot::bar(share), &figure, &count(*lost))
    });
    strips(what, of, "lost", &rows)
}

fn cuts(summary: &Summary) -> String {
    of_sets(summary, "Where responses are cut", |set| {
        let rows = each(&set.cuts, cut_row);
        if rows.is_empty() { rows } else { strips("cut", "median before it [p10, p90]", "cuts", &rows) }
    })
}

fn cut_row(cut: &CutSummary) -> String {
    let share = cut.per_mille.as_ref().map_or(Figure { rate: None, ci: None }, prose::cut_share);
    strip_row(&format!("cut {}", cut.cut), &plot::histogram(&cut.histogram), &figure(share), &count(cut.n))
}

fn lengths(summary: &Summary) -> String {
    let lengths = || summary.sets.iter().flat_map(|set| &set.kinds).filter_map(|kind| kind.chars);
    let end = lengths().map(|chars| chars.p90).max().unwrap_or(0).next_multiple_of(200);
    let scale = [0, end / 2, end].map(count);
    let [low, middle, high] = &scale;
    of_sets(summary, "Lengths of answers, in characters", |set| {
        let rows = each(&set.kinds, |kind| {
            kind.chars.map_or_else(String::new, |chars| {
                let said = format!(
                    "<b>{}</b> <span class=\"interval\">[{}, {}]</span>",
                    count(chars.median),
                    count(chars.p10),
                    count(chars.p90)
                );
                strip_row(&kind.name, &plot::span(&chars, end), &said, &count(chars.max))
            })
        });
        if rows.is_empty() {
            return rows;
        }
        strips_scaled(("answer", "median [p10, p90]", "longest"), &[low, middle, high], &rows)
    })
}

fn verdicts(summary: &Summary) -> String {
    of_sets(summary, "Verdicts, ends and candidates", |set| {
        let rows = each(set.kinds.iter().filter(|kind| kind.n_made > 0), verdict_row);
        if rows.is_empty() {
            return rows;
        }
        format!(
            "<div class=\"wide\"><table class=\"names\"><thead><tr><th>answer</th><th>turns</th><th>carries on</th><th>unparsed</th>\
             <th>not asked</th><th>ends with the row</th><th>with the turn</th><th>at a sentence</th>\
             <th class=\"taken\">candidate 1 · 2 · …</th></tr></thead><tbody>\n{rows}</tbody></table></div>\n"
        )
    })
}

fn verdict_row(kind: &KindSummary) -> String {
    let Verdicts { n_corrected, n_not_corrected, n_unparsed, n_not_asked } = kind.verdicts;
    let ends = [AnswerEnd::Row, AnswerEnd::EndOfTurn, AnswerEnd::Sentence];
    let ends = ends.map(|end| kind.ends.get(&end).copied().unwrap_or(0));
    let counts = [n_corrected, n_not_corrected, n_unparsed, n_not_asked].into_iter().chain(ends);
    let cells = each(counts, |n| format!("<td>{}</td>", count(n)));
    let (name, candidates) = (&kind.name, prose::candidates(kind));
    format!("<tr><th scope=\"row\">{name}</th>{cells}<td class=\"taken\">{candidates}</td></tr>\n")
}

fn origins(summary: &Summary) -> String {
    of_sets(summary, "Whose words the refusals are", |set| {
        let Some(refusal) = set.kinds.iter().find(|kind| kind.kind == AnswerKind::Refusal) else {
            return String::new();
        };
        let rows = each([Origin::Row, Origin::Model, Origin::Opened], |origin| {
            let n = refusal.origins.get(&origin).copied().unwrap_or(0);
            let share = n as f64 / refusal.n_made.max(1) as f64;
            let said = figure(Figure { rate: (refusal.n_made > 0).then_some(share), ci: None });
            strip_row(prose::origin(origin), &plot::bar(share), &said, &count(n))
        });
        strips("words", "share", "refusals", &rows)
    })
}

fn n_examples(report: &SynthReport) -> String {
    let n_total: usize = report.summary.sets.iter().map(|set| set.n_rankings).sum();
    format!("Showing {} of {} rankings.", count(report.examples.len()), count(n_total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;
    use crate::report::page::markup::{ELEMENTS, frame, tags};

    #[test]
    fn hostile_text_makes_no_markup() {
        let fixture = fixture::Fixture::new();
        let tame = tags(&frame(&html(&fixture.report())));
        let hostile = fixture::Fixture::hostile();
        let page = frame(&html(&hostile.report()));
        let found = tags(&page);
        for (name, rest) in &found {
            let own = [" code ", " h3 ", " li ", " ul "];
            let name = format!(" {name} ");
            assert!(ELEMENTS.contains(&name) || own.contains(&name.as_str()), "<{name} {rest}>");
            assert!(!rest.split_whitespace().any(|attribute| attribute.starts_with("on")), "<{name} {rest}>");
        }
        assert_eq!(found.len(), tame.len());
        assert!(
            !page.contains("]]>") && !page.contains("<!--") && !page.contains(['\u{2028}', '\x1b', '\0'])
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_text_changes_the_markup(text in any::<String>()) {
            let page = |text: &str| html(&fixture::Fixture::with_text(text).report());
            prop_assert_eq!(tags(&page(&text)).len(), tags(&page("tame")).len());
        }
    }

    #[test]
    fn the_page_shows_the_figures() {
        let fixture = fixture::Fixture::new();
        let page = html(&fixture.report());
        let (n_pairs, n_possible) = fixture.n_pairs();
        assert!(page.contains(&format!(r#"<h2>Pairs</h2><p class="value">{n_pairs}</p>"#)));
        assert!(page.contains(&format!("of the {n_possible} possible")));
        for said in ["SYN_3", "too few answers left", "cut 4", "the model's after a refusal opener"] {
            assert!(page.contains(&Html(said).to_string()), "{said}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf%") && !page.contains(" style="));
        assert_eq!(page.matches("<section").count(), 8);
    }

    #[test]
    fn a_leak_is_said_with_what_can_be_done() {
        let mut fixture = fixture::Fixture::new();
        fixture.summary.leak.leaks = true;
        fixture.summary.leak.together.all.rate = Some(0.9);
        fixture.summary.leak.hints = vec!["Use `--opener shared`.".to_owned()];
        let page = html(&fixture.report());
        assert!(page.contains(
            "Style leak: all cues together tell the better answer in more than 65.0 % of the pairs."
        ));
        assert!(page.contains(r#"<p class="note">Use `--opener shared`.</p>"#));
        assert!(page.contains(&format!(r#"<p class="note">{}</p>"#, fixture.caveats[0])));
    }

    #[test]
    fn a_page_without_rankings_is_a_page() {
        let fixture = fixture::Fixture::empty();
        let page = html(&fixture.report());
        assert!(page.contains("Showing 0 of 0 rankings.") && page.contains(r#"<p class="value">–</p>"#));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}
