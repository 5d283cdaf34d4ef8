//! The report of a benchmark run as one HTML file: what stands in the frame of [`page`].
//!
//! `page.html` is a format string: what it names is checked when this file is compiled.

use serde_json::Value;

use super::super::each;
use super::super::escape::Html;
use super::super::figure::Figure;
use super::super::page::{self, Page, card, counted};
use super::super::plot;
use super::rows::{self, Row};
use super::{BenchReport, KINDS, heading, how_to_read};
use crate::bench::{Kind, TaskSummary};

/// Cards at the head of the page.
const MAX_CARDS: usize = 8;

/// The report as a page.
pub fn html(report: &BenchReport) -> String {
    let name = report.name();
    let losses = report.summary.tasks.iter().flat_map(rows::losses);
    let body = format!(
        include_str!("page.html"),
        model = Html(&name),
        headline = headline(&report.summary.tasks),
        warnings = each(report.warnings.iter().cloned().chain(losses), |line| page::note(&line)),
        kinds = each(KINDS, |kind| self::kind(report, kind)),
        details = page::details(&report.details),
    );
    page::page(&Page { title: &format!("Benchmarks of {name}"), body: &body, rows: &Value::Null, script: "" })
}

fn headline(tasks: &[TaskSummary]) -> String {
    let main = tasks.iter().filter_map(|task| Some((task, task.metrics.first()?)));
    each(main.take(MAX_CARDS), |(task, metric)| {
        let (name, of) =
            (Html(&task.task).to_string(), format!("{} of {}", Html(&metric.metric), task.n_items));
        if metric.scale.is_share() {
            card(&name, Figure { rate: Some(metric.value), ci: Some(metric.ci) }, &of)
        } else {
            counted(&name, &format!("{:.2}", metric.value), &of)
        }
    })
}

fn kind(report: &BenchReport, kind: Kind) -> String {
    let tasks: Vec<&TaskSummary> = report.summary.tasks.iter().filter(|task| task.kind == kind).collect();
    if tasks.is_empty() {
        return String::new();
    }
    let groups = each(tasks.iter().filter(|task| !task.groups.is_empty()), |task| {
        format!(
            "<h3><bdi>{}</bdi> by group</h3>\n{}",
            Html(&task.task),
            table("group", &rows::of_groups(task))
        )
    });
    format!(
        "<section><h2>{}</h2>\n<p>{}</p>\n{}{groups}</section>\n",
        heading(kind),
        Html(how_to_read(kind)),
        table("task", &rows::of_tasks(tasks.iter().copied()))
    )
}

fn table(first: &str, rows: &[Row]) -> String {
    let rows = each(rows, |row| {
        let Row { name, metric, value, interval, n, share, better, .. } = row;
        let drawn = share.map_or_else(String::new, plot::interval);
        format!(
            "<tr><th scope=\"row\"><bdi>{}</bdi> <span class=\"about\">{} {better}</span></th><td class=\"harmful\">{drawn}</td>\
             <td class=\"rate\"><b>{value}</b> <span class=\"interval\">{interval}</span></td><td>{n}</td></tr>\n",
            Html(name),
            Html(metric)
        )
    });
    format!(
        "<table class=\"categories\"><thead><tr><th>{first}, metric</th>\
         <th class=\"scale\"><span>0</span><span>50</span><span>100 %</span></th>\
         <th class=\"rate\">figure, 95 % interval</th><th>items</th></tr></thead><tbody>\n{rows}</tbody></table>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::page::markup::{ELEMENTS, frame, tags};
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_page_shows_every_figure_and_what_is_not_in_them() {
        let summary = fixture::summary();
        let page = html(&fixture::report(&summary));
        for shown in [
            "hellaswag",
            "acc_norm",
            "42.5 %",
            "[35.9, 49.4]",
            "anatomy",
            "word_perplexity",
            "21.500",
            "2 items without figures",
        ] {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf]"));
    }

    #[test]
    fn hostile_text_makes_no_markup() {
        let mut summary = fixture::summary();
        let tame = tags(&frame(&html(&fixture::report(&summary)))).len();
        let hostile = "</script><img src=x onerror=alert(1)>".to_owned();
        summary.tasks[0].task.clone_from(&hostile);
        summary.tasks[1].groups[0].group.clone_from(&hostile);
        summary.tasks[2].metrics[0].metric.clone_from(&hostile);
        let mut report = fixture::report(&summary);
        report.model = &hostile;
        let page = frame(&html(&report));
        let found = tags(&page);
        assert_eq!(found.len(), tame);
        assert!(
            found.iter().all(|(name, _)| ELEMENTS.contains(&format!(" {name} ")) || name == "h3"),
            "{found:?}"
        );
    }
}
