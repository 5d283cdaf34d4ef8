//! The report of a training as one HTML file: what stands in the frame of [`page`].
//!
//! `page.html` is a format string: what it names is checked when this file is compiled.

use serde_json::Value;

use super::super::compare::{self, main_measures};
use super::super::each;
use super::super::escape::Html;
use super::super::figure::Figure;
use super::super::page::{self, Page, card, counted};
use super::super::plot::before_and_after;
use super::plot::{Line, Scale, by_step};
use super::{TrainReport, prose};
use crate::compare::{Aspect, Comparison, Measure};
use crate::train::{EvalRecord, StepRecord};

/// The report as a page.
pub fn html(report: &TrainReport) -> String {
    let body = format!(
        include_str!("page.html"),
        model = Html(report.model),
        trained = Html(&prose::trained(report)),
        how_to_read = Html(prose::HOW_TO_READ),
        headline = headline(report),
        warnings = each(report.warnings, |line| page::note(line)),
        changes = changes(report),
        steps = steps(report),
        kept = Html(&prose::kept(report)),
        held_out = held_out(report),
        details = page::details(&report.details),
    );
    page::page(&Page {
        title: &format!("Training of {}", report.model),
        body: &body,
        rows: &Value::Null,
        script: "",
    })
}

fn headline(report: &TrainReport) -> String {
    let Some(comparison) = report.comparison else {
        let rows = prose::held_out(report);
        return each(rows, |(name, before, after)| {
            counted(name, &after, &format!("before training {}", Html(&before)))
        });
    };
    let is_headline = |measure: &&Measure| measure.aspect == Aspect::CourseCorrection;
    each(main_measures(comparison).into_iter().filter(is_headline), |measure| {
        headline_of(comparison, measure)
    })
}

fn headline_of(comparison: &Comparison, measure: &Measure) -> String {
    let change = comparison.comparisons.iter().find_map(|compared| compared.change(&measure.name));
    change.map_or_else(String::new, |change| {
        let [before, after] = change.difference.figures;
        let (by, ends) = compare::difference(measure, change);
        let figure = Figure { rate: Some(after), ci: None };
        card(
            &compare::label(measure),
            figure,
            &format!("{} before, {by} {ends}", compare::figure(measure, before)),
        )
    })
}

fn changes(report: &TrainReport) -> String {
    let Some(comparison) = report.comparison else { return String::new() };
    let curves = report.scores.map_or_else(String::new, |[before, after]| {
        format!(
            "<figure>{}<figcaption>False turns are corrections of harmless answers. Bands are 95 % intervals over \
             prompts.</figcaption></figure>\n",
            before_and_after(before, after)
        )
    });
    format!(
        "<section><h2>Before and after</h2>{curves}{}<p>{}</p></section>\n",
        compare::html_within(comparison),
        Html(prose::BEFORE_AND_AFTER)
    )
}

fn steps(report: &TrainReport) -> String {
    let step = |of: fn(&StepRecord) -> Option<f64>| -> Vec<(usize, f64)> {
        report.steps.iter().filter_map(|record| Some((record.step, of(record)?))).collect()
    };
    let eval = |of: fn(&EvalRecord) -> Option<f64>| -> Vec<(usize, f64)> {
        report.evals.iter().filter_map(|record| Some((record.step, of(record)?))).collect()
    };
    let line = |name, class, points| Line { name, class, points };
    let turns = [
        line("harmful, training", "harmful before", step(|r| r.first_turn_probability_harmful)),
        line("harmful, held out", "harmful", eval(|r| r.eval_first_turn_probability_harmful)),
        line("harmless, training", "benign before", step(|r| r.first_turn_probability_benign)),
        line("harmless, held out", "benign", eval(|r| r.eval_first_turn_probability_benign)),
    ];
    let losses = [
        line("training", "harmful before", step(|r| r.loss)),
        line("held out", "harmful", eval(|r| r.eval_loss)),
    ];
    let told = [
        line("training", "harmful before", step(|r| r.rewards_accuracies)),
        line("held out", "harmful", eval(|r| r.eval_rewards_accuracies)),
    ];
    let plots = [
        (
            by_step(("turns", "Probability of the first token of a turn"), Scale::Shares, &turns),
            "Probability of the first token of a turn at the cuts.",
        ),
        (by_step(("losses", "Loss"), Scale::Numbers, &losses), "Loss, the anchor included."),
        (
            by_step(("told", "Pairs told apart"), Scale::Shares, &told),
            "Share of pairs whose better answer gained more.",
        ),
    ];
    each(plots.iter().filter(|(plot, _)| !plot.is_empty()), |(plot, caption)| {
        format!("<figure>{plot}<figcaption>{caption}</figcaption></figure>\n")
    })
}

fn held_out(report: &TrainReport) -> String {
    let rows = prose::held_out(report);
    if rows.is_empty() {
        return String::new();
    }
    let rows = each(rows, |(name, before, after)| {
        format!("<tr><th scope=\"row\">{name}</th><td>{before}</td><td>{after}</td></tr>\n")
    });
    format!(
        "<table class=\"changes\"><caption>What was held out</caption><thead><tr><th></th><th>before</th><th>kept</th></tr></thead><tbody>\n\
         {rows}</tbody></table>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::page::markup::{ELEMENTS, frame, tags};
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn the_page_shows_what_changed_and_by_how_much() {
        let fixture = Fixture::new();
        let page = html(&fixture.report());
        for shown in [
            "7.0 % before, +59.0 [51.9, 69.1]",
            "False corrections",
            "no change detected",
            "<bdi>hellaswag</bdi>",
            "Corr@k, base",
            "step 4 is kept",
        ] {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn hostile_text_makes_no_markup() {
        let fixture = Fixture::new();
        let mut report = fixture.report();
        let tame = tags(&frame(&html(&report))).len();
        let hostile = "</script><img src=x onerror=alert(1)>".to_owned();
        report.model = &hostile;
        report.objective = &hostile;
        report.details[0].1.clone_from(&hostile);
        let page = frame(&html(&report));
        let found = tags(&page);
        assert_eq!(found.len(), tame);
        assert!(
            found.iter().all(|(name, _)| ELEMENTS.contains(&format!(" {name} ")) || name == "code"),
            "{found:?}"
        );
    }

    #[test]
    fn a_training_that_was_not_measured_shows_what_was_held_out() {
        let fixture = Fixture::new();
        let report = TrainReport { scores: None, comparison: None, ..fixture.report() };
        let page = html(&report);
        assert!(page.contains("before training 0.693") && !page.contains("Before and after"));
        let bare = html(&TrainReport { evals: &[], best: None, steps: &[], ..report });
        assert!(bare.contains("Nothing was held out") && !bare.contains("<figure>"));
    }
}
