//! A comparison as one HTML file: what stands in the frame of [`page`].
//!
//! `page.html` is a format string: what it names is checked when this file is compiled.

use serde_json::Value;

use super::super::each;
use super::super::escape::Html;
use super::super::page::{self, Page};
use super::super::plot::{of_runs, swatch};
use super::forest::Axis;
use super::{CompareReport, Group, beside, changes, curves, groups, main_measures, prose};
use crate::bench::Better;
use crate::compare::{Change, Compared, Comparison, GateOutcome, Measure};

/// The comparison as a page.
pub fn html(report: &CompareReport) -> String {
    let comparison = report.comparison;
    let body = format!(
        include_str!("page.html"),
        baseline = Html(comparison.runs.first().map_or("", |run| &run.name)),
        compared = Html(&prose::compared(comparison)),
        how_to_read = Html(prose::HOW_TO_READ),
        gates = gates(comparison),
        sentences = each(&comparison.comparisons, |compared| sentences(comparison, compared)),
        curves = curve(comparison),
        differences = each(groups(comparison), |group| differences(comparison, &group)),
        leaderboard = leaderboard(comparison),
        details = page::details(&report.details),
    );
    page::page(&Page {
        title: &format!("Compared: {}", prose::compared(comparison)),
        body: &body,
        rows: &Value::Null,
        script: include_str!("page.js"),
    })
}

fn gates(comparison: &Comparison) -> String {
    if comparison.gates.is_empty() {
        return String::new();
    }
    let items = each(&comparison.gates, |result| {
        let class = if result.outcome == GateOutcome::Met { "met" } else { "missed" };
        format!("<li class=\"{class}\">{}</li>\n", Html(&prose::gate(comparison, result)))
    });
    format!("<ul class=\"gates\">\n{items}</ul>\n")
}

/// Everything but the curves, for a page of another kind that compares besides.
pub(in crate::report) fn within(comparison: &Comparison) -> String {
    let mut html = each(&comparison.comparisons, |compared| said(comparison, compared));
    html += &each(groups(comparison), |group| differences(comparison, &group));
    html + &leaderboard(comparison)
}

fn sentences(comparison: &Comparison, compared: &Compared) -> String {
    let said = said(comparison, compared);
    format!("<section><h2><bdi>{}</bdi></h2>{said}</section>\n", Html(&compared.run))
}

fn said(comparison: &Comparison, compared: &Compared) -> String {
    let left = each(prose::left(compared), |line| page::note(&line));
    format!(
        "<p>{}</p>\n<p>{}</p>\n{left}",
        Html(&prose::sentence(comparison, compared)),
        Html(&sentence_of(&prose::clear(compared))),
    )
}

/// A line with a capital letter and a full stop.
fn sentence_of(line: &str) -> String {
    let mut chars = line.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str())
}

fn curve(comparison: &Comparison) -> String {
    let runs = curves(comparison);
    if runs.is_empty() {
        return String::new();
    }
    let drawn = runs.iter().enumerate().filter(|(_, (_, points))| !points.is_empty());
    let names = each(drawn, |(i, (name, _))| format!("<li>{}<bdi>{}</bdi></li>\n", swatch(i), Html(name)));
    format!(
        "<section><h2>Corr@k</h2>\n<figure><ul class=\"legend\">\n{names}</ul>\n{}<figcaption>Corr@k, harmful prompts, over \
         everything that each run has. Bands are 95 % intervals over prompts.</figcaption></figure></section>\n",
        of_runs(("curve", "Corr@k of all runs by length of the prefix"), &runs)
    )
}

fn differences(comparison: &Comparison, group: &Group) -> String {
    let axis = Axis::of(comparison, group);
    let [low, zero, high] = axis.labels();
    let unit =
        if group.measures.iter().all(|measure| measure.scale.is_share()) { "points" } else { "difference" };
    let bodies = each(&group.measures, |measure| {
        let rows = each(changes(comparison, measure).enumerate(), |(at, (run, compared, change))| {
            let head = head(comparison, measure, (at, run));
            row((&head, measure, axis), (run, compared), change)
        });
        format!("<tbody>\n{rows}</tbody>\n")
    });
    format!(
        "<table class=\"categories differences\"><caption>{}</caption><thead><tr><th>measure</th>\
         <th class=\"scale\"><span>{low}</span><span>{zero}</span><span>{high}</span></th>\
         <th class=\"rate\">{unit}, 95 % interval</th><th>over</th></tr></thead>\n{bodies}</table>\n",
        Html(sentence_of(&group.title).trim_end_matches('.'))
    )
}

/// What a row is about. Where there are several runs, the measure is shown in the first of its rows and read out in all.
fn head(comparison: &Comparison, measure: &Measure, (at, run): (usize, usize)) -> String {
    let name = Html(&measure.name);
    if comparison.comparisons.len() == 1 {
        return format!("<bdi>{name}</bdi><span class=\"said\">{}</span>", prose::way(measure));
    }
    let class = if at == 0 { "" } else { " class=\"again\"" };
    let summary = &comparison.runs[run];
    format!(
        "<bdi{class}>{name}</bdi><span class=\"said\">{}<bdi>{}</bdi></span>",
        swatch(run),
        Html(&summary.name)
    )
}

fn row(
    (head, measure, axis): (&str, &Measure, Axis),
    (run, compared): (usize, &Compared),
    change: &Change,
) -> String {
    let (by, ends) = prose::difference(measure, change);
    format!(
        "<tr><th scope=\"row\">{head}</th><td>{}</td><td class=\"rate\"><b>{by}</b> <span class=\"interval\">{ends}</span>\
         <span class=\"said\">{}</span></td><td>{}</td></tr>\n",
        axis.row(measure, run, change),
        Html(&prose::clarity(measure, change, compared.changes.len())),
        change.difference.n_prompts
    )
}

fn leaderboard(comparison: &Comparison) -> String {
    let measures = main_measures(comparison);
    let heads = each(&measures, |measure| {
        let best = match measure.better {
            Better::Higher => "descending",
            Better::Lower => "ascending",
        };
        format!(
            "<th scope=\"col\" data-first=\"{best}\"><bdi>{}</bdi><span class=\"said\">{}</span></th>",
            Html(&measure.name),
            prose::way(measure)
        )
    });
    let rows = each(comparison.runs.iter().enumerate(), |(run, summary)| {
        let cells = each(&measures, |measure| cell(comparison, run, measure));
        format!(
            "<tr><th scope=\"row\" data-value=\"{run}\"><bdi>{}</bdi></th>{cells}</tr>\n",
            Html(&summary.name)
        )
    });
    format!(
        "<div class=\"wide\"><table class=\"sortable\"><caption>Every run, and what it came to with its 95 % interval</caption>\
         <thead><tr><th scope=\"col\" data-first=\"ascending\"><bdi>run</bdi></th>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn cell(comparison: &Comparison, run: usize, measure: &Measure) -> String {
    beside(comparison, run, &measure.name).map_or_else(
        || "<td>–</td>".to_owned(),
        |told| {
            format!(
                "<td data-value=\"{}\">{}<span class=\"interval\">{}</span></td>",
                told.value,
                prose::figure(measure, told.value),
                prose::interval(measure, told.ci)
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::HOSTILE;
    use super::super::super::page::markup::{ELEMENTS, frame, tags};
    use super::*;
    use crate::compare::{NotCompared, Why, fixture};

    fn page(comparison: &Comparison) -> String {
        html(&CompareReport { comparison, details: vec![("taught".into(), "runs/taught".into())] })
    }

    #[test]
    fn the_page_shows_curves_differences_and_a_leaderboard() {
        let page = page(&fixture::comparison());
        for shown in [
            "Corr_mean +59.0 points",
            "gate missed: a little: corr_mean&gt;=+10 (found +4.00 points)",
            "<caption>Course-correction</caption>",
            "<caption>General ability, perplexity, in its own unit</caption>",
            "data-first=\"ascending\"><bdi>false_corrections</bdi>",
            "<title id=\"curve-title\">Corr@k of all runs",
        ] {
            assert!(page.contains(shown), "{shown}");
        }
        assert_eq!(page.matches("<polyline").count(), 3);
        let numbers = frame(&page);
        assert!(!numbers.contains("NaN") && !numbers.contains("inf"));
    }

    #[test]
    fn hostile_text_makes_no_markup() {
        let mut comparison = fixture::comparison();
        let n_tame = tags(&frame(&page(&comparison))).len();
        for run in &mut comparison.runs {
            run.name = HOSTILE.into();
            run.sources = vec![HOSTILE.into()];
        }
        for measure in &mut comparison.measures {
            let name = format!("{}{HOSTILE}", measure.name);
            for compared in &mut comparison.comparisons {
                compared.run = HOSTILE.into();
                let changed = compared.changes.iter_mut().filter(|change| change.measure == measure.name);
                changed.for_each(|change| change.measure.clone_from(&name));
            }
            let values = comparison.runs.iter_mut().flat_map(|run| &mut run.values);
            values
                .filter(|told| told.measure == measure.name)
                .for_each(|told| told.measure.clone_from(&name));
            measure.name = name;
        }
        for result in &mut comparison.gates {
            (result.gate, result.run, result.reason) = (HOSTILE.into(), HOSTILE.into(), Some(HOSTILE.into()));
        }
        let page = frame(&page(&comparison));
        let found = tags(&page);
        let known = format!("{ELEMENTS} ul li ");
        assert!(found.iter().all(|(name, _)| known.contains(&format!(" {name} "))), "{found:?}");
        assert!(found.iter().all(|(_, rest)| !rest.split_whitespace().any(|word| word.starts_with("on"))));
        assert!(!page.contains(['\u{2028}', '\x1b', '\0']) && !page.contains("<!--"));
        // Curves are found by names of measures, which are others now: the plot is gone, and nothing else.
        let n_plot = tags(&curve(&fixture::comparison())).len();
        assert_eq!(found.len(), n_tame - n_plot);
    }

    #[test]
    fn figures_of_another_mode_share_no_table() {
        let mut comparison = fixture::comparison();
        let why = Why::Differs { field: "mode".into(), baseline: "open-turn".into(), run: "new-turn".into() };
        let second = &mut comparison.comparisons[1];
        let course: Vec<_> =
            second.changes.extract_if(.., |change| change.measure.starts_with("corr")).collect();
        second.not_compared =
            course.into_iter().map(|c| NotCompared { measure: c.measure, why: why.clone() }).collect();
        let page = page(&comparison);
        assert_eq!(page.matches("<polyline").count(), 2);
        assert!(page.contains(
            "not compared: corr_mean, corr@10, corr@40 – mode differs: the baseline has open-turn"
        ));
        // Plain refusals come to the same number, and stay.
        assert_eq!(page.matches("<td data-value=\"0.11\">").count(), 1);
        assert_eq!(page.matches("<td>–</td>").count(), 1);
    }

    #[test]
    fn runs_without_curves_make_a_page() {
        let mut comparison = fixture::comparison();
        comparison
            .runs
            .iter_mut()
            .for_each(|run| run.values.retain(|told| !told.measure.starts_with("corr@")));
        comparison.gates.clear();
        let page = page(&comparison);
        assert!(!page.contains("<figure>") && !page.contains("class=\"gates\""));
    }
}
