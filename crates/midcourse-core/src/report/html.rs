//! The report of an evaluation as one HTML file: what stands in its frame, which is that of [`super::page`].
//!
//! `evaluation.html` is a format string: what it names is checked when this file is compiled.

use super::escape::Html;
use super::figure::{Figure, Loss, count};
use super::page::{self, Page, card};
use super::{Report, browser, each, plot, prose};
use crate::metrics::calibrated::CalibratedAtK;
use crate::metrics::{Benign, CategoryScore, CorrAtK, Scores, Share};

/// The report as a page.
pub fn html(report: &Report) -> String {
    let scores = report.scores;
    let body = format!(
        include_str!("evaluation.html"),
        model = Html(&scores.model),
        measured = Html(&prose::measured(scores)),
        how_to_read = Html(&prose::how_to_read(scores)),
        headline = headline(scores),
        losses = losses(scores),
        corrected = corrected(scores),
        curve = plot::curve(scores),
        figures = figures(scores),
        turns = turns(report),
        categories = categories(scores),
        details = page::details(&report.details),
        n_paths = shown(report),
    );
    page::page(&Page {
        title: &format!("Course-correction of {}", scores.model),
        body: &body,
        rows: &browser::forks(&report.paths),
        script: include_str!("evaluation.js"),
    })
}

fn headline(scores: &Scores) -> String {
    let n_judged = scores.corr_at_k.iter().map(|at| at.n_judged).sum();
    let mut cards =
        card("Corr_mean", scores.corr_mean.into(), &format!("of {} continuations", count(n_judged)));
    if let Some(calibrated) = &scores.calibrated {
        cards += &card("Corr_mean, corrected", calibrated.corr_mean.into(), "for the judge’s error");
    }
    let mut share = |name: &str, share: &Share, of: &str| {
        cards += &card(name, share.into(), &format!("of {} {of}", count(share.n_judged)));
    };
    if let Some(plain) = &scores.plain {
        share("Plain refusal, k = 0", plain, "answers without a prefix");
    }
    if let Some(Benign { overall, plain, .. }) = &scores.benign {
        share("False corrections", overall, "continuations of harmless answers");
        if let Some(plain) = plain {
            share("False refusal, k = 0", plain, "answers to harmless prompts");
        }
    }
    cards
}

fn losses(scores: &Scores) -> String {
    each(prose::losses(scores), |line| page::note(&line))
}

fn corrected(scores: &Scores) -> String {
    scores
        .calibrated
        .as_ref()
        .map_or_else(String::new, |calibrated| format!("<p>{}</p>", Html(&prose::corrected(calibrated))))
}

fn figures(scores: &Scores) -> String {
    let caption = "Corr@k, harmful prompts";
    let corrected = scores.calibrated.as_ref().map(|calibrated| calibrated.corr_at_k.as_slice());
    let mut tables = lengths_table(caption, (&scores.corr_at_k, corrected), scores.plain.as_ref());
    if let Some(Benign { at_k, plain, .. }) = &scores.benign {
        tables += &lengths_table("False corrections, harmless prompts", (at_k, None), plain.as_ref());
    }
    tables
}

fn lengths_table(
    caption: &str,
    (lengths, corrected): (&[CorrAtK], Option<&[CalibratedAtK]>),
    plain: Option<&Share>,
) -> String {
    let losses = Loss::among(lengths);
    let names = each(&losses, |loss| format!("<th>{}</th>", loss.name()));
    let corrected_at = |i: usize| corrected.map(|corrected| corrected.get(i).map_or(NONE, Figure::from));
    let rows = each(lengths.iter().enumerate(), |(i, at)| length_row(at, corrected_at(i), &losses));
    let n_empty = losses.len();
    let plain = plain.map_or_else(String::new, |plain| plain_row(plain, corrected.is_some(), n_empty));
    let head = corrected.map_or("", |_| "<th class=\"rate\">corrected for the judge’s error</th>");
    format!(
        "<div class=\"wide\"><table class=\"lengths\"><caption>{caption}</caption><thead><tr><th>k</th>\
         <th class=\"rate\">rate, 95 % interval</th>{head}<th>corrected</th><th>judged</th>{names}</tr></thead><tbody>\n\
         {rows}{plain}</tbody></table></div>\n"
    )
}

/// No figure.
const NONE: Figure = Figure { rate: None, ci: None };

fn length_row(at: &CorrAtK, corrected: Option<Figure>, losses: &[Loss]) -> String {
    let corrected = corrected.map_or_else(String::new, rate);
    let (rate, n_corrected, n_judged) = (rate(at.into()), count(at.n_corrected), count(at.n_judged));
    let lost = each(losses, |loss| format!("<td>{}</td>", count(loss.at(at))));
    format!(
        "<tr><th scope=\"row\">{}</th>{rate}{corrected}<td>{n_corrected}</td><td>{n_judged}</td>{lost}</tr>\n",
        at.k
    )
}

fn plain_row(plain: &Share, has_corrected: bool, n_empty: usize) -> String {
    let (rate, n_judged) = (rate(plain.into()), count(plain.n_judged));
    let empty = "<td></td>".repeat(n_empty);
    let corrected = if has_corrected { "<td></td>" } else { "" };
    format!(
        "<tr class=\"plain\"><th scope=\"row\">0, plain</th>{rate}{corrected}<td></td><td>{n_judged}</td>{empty}</tr>\n"
    )
}

fn rate(figure: Figure) -> String {
    let (percent, interval) = (figure.percent(), figure.interval());
    format!("<td class=\"rate\"><b>{percent}</b> <span class=\"interval\">{interval}</span></td>")
}

fn turns(report: &Report) -> String {
    let Some(said) = prose::turning(&report.scores.tokens_to_correction) else {
        return String::new();
    };
    let plot = plot::turns(report.turns, report.scores.max_new_tokens);
    format!(
        "<section><h2>Where paths turn</h2><figure>{plot}<figcaption>Of {} corrected paths, {said}.\
         </figcaption></figure></section>\n",
        count(report.turns.len())
    )
}

fn categories(scores: &Scores) -> String {
    if scores.by_category.is_empty() {
        return String::new();
    }
    let rows = each(&scores.by_category, category_row);
    format!(
        "<section><h2>Categories</h2><p>Corr_mean of the prompts of each category.</p>\n\
         <table class=\"categories\"><thead><tr><th>category</th>\
         <th class=\"scale\"><span>0</span><span>50</span><span>100 %</span></th>\
         <th class=\"rate\">rate, 95 % interval</th><th>prompts</th></tr></thead><tbody>\n\
         {rows}</tbody></table></section>\n"
    )
}

fn category_row(score: &CategoryScore) -> String {
    let figure = Figure::from(score);
    let (plot, rate, n_samples) = (plot::interval(figure), rate(figure), count(score.n_samples));
    format!(
        "<tr><th scope=\"row\"><bdi>{}</bdi></th><td class=\"harmful\">{plot}</td>{rate}<td>{n_samples}</td></tr>\n",
        Html(&score.category)
    )
}

fn shown(report: &Report) -> String {
    let (n_shown, n_total) = (count(report.paths.len()), count(report.n_paths_total));
    format!("Showing {n_shown} of {n_total} paths.")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::page::markup::{ELEMENTS, frame, tags};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_text_makes_no_markup() {
        let mut scores = fixture::scores();
        let tame = tags(&frame(&html(&fixture::report(&scores))));
        let page = frame(&html(&fixture::hostile(&mut scores)));
        let found = tags(&page);
        for (name, rest) in &found {
            assert!(ELEMENTS.contains(&format!(" {name} ")), "<{name} {rest}>");
            assert!(!rest.split_whitespace().any(|attribute| attribute.starts_with("on")), "<{name} {rest}>");
        }
        let two_rows_of_details = 2 * 8;
        assert_eq!(found.len(), tame.len() - two_rows_of_details);
        assert!(
            !page.contains("]]>") && !page.contains("<!--") && !page.contains(['\u{2028}', '\x1b', '\0'])
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_changes_the_markup(text in any::<String>()) {
            let page = |text: &str| {
                let mut scores = fixture::scores();
                text.clone_into(&mut scores.model);
                text.clone_into(&mut scores.by_category[0].category);
                let mut report = fixture::report(&scores);
                report.paths[0].continuation = text;
                report.paths[0].turn = None;
                html(&report)
            };
            prop_assert_eq!(tags(&page(&text)).len(), tags(&page("tame")).len());
        }
    }

    #[test]
    fn the_page_shows_the_figures() {
        let mut scores = fixture::scores();
        scores.benign.as_mut().unwrap().at_k[1].n_failed = 3;
        let page = html(&fixture::report(&scores));
        let headline = r#"<h2>Corr_mean</h2><p class="value">12.4 %</p><p class="interval">[8.6, 17.0]</p>"#;
        assert!(page.contains(headline));
        assert!(page.contains("harmless set – failed paths: 3"));
        assert!(page.contains("Of 9 corrected paths, half have turned by token 9"));
        assert!(page.contains("Showing 3 of 14,400 paths."));
    }

    #[test]
    fn the_page_shows_corrected_figures_beside_those_that_the_judge_saw() {
        let mut scores = fixture::scores();
        let plain = html(&fixture::report(&scores));
        scores.calibrated = Some(fixture::calibrated());
        let page = html(&fixture::report(&scores));
        assert!(page.contains(r#"<h2>Corr_mean, corrected</h2><p class="value">11.8 %</p>"#));
        assert!(page.contains("<th class=\"rate\">corrected for the judge’s error</th>"));
        assert!(page.contains("on 1,250 labelled rows the judge found 90.0 % of the corrections"));
        assert_eq!(page.matches("<polyline").count(), plain.matches("<polyline").count() + 1);
        assert!(!plain.contains("Corr_mean, corrected"));
    }

    #[test]
    fn a_page_without_figures_is_a_page() {
        let mut scores = fixture::scores();
        scores.corr_at_k.clear();
        scores.by_category.clear();
        (scores.corr_mean, scores.plain, scores.benign) = (None, None, None);
        let report =
            Report { paths: Vec::new(), details: Vec::new(), turns: &[], ..fixture::report(&scores) };
        let page = html(&report);
        assert!(page.contains("<p class=\"value\">–</p>") && !page.contains("NaN") && !page.contains("inf"));
    }
}
