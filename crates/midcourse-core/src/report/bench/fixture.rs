//! A run as the tests of the pages show it.

use std::collections::BTreeMap;

use super::BenchReport;
use crate::bench::{BenchSummary, Better, GroupSummary, Kind, MetricSummary, SUMMARY_SCHEMA, TaskSummary};
use crate::metrics::Scale;

fn metric(name: &str, better: Better, scale: Scale, (value, ci): (f64, [f64; 2]), n: usize) -> MetricSummary {
    let stderr = scale.is_share().then_some(0.035);
    MetricSummary { metric: name.into(), better, value, scale, stderr, ci, n }
}

fn rate(name: &str, better: Better, value: f64, n: usize) -> MetricSummary {
    metric(name, better, Scale::Share, (value, [value - 0.066, value + 0.069]), n)
}

fn task(name: &str, kind: Kind, metrics: Vec<MetricSummary>) -> TaskSummary {
    TaskSummary {
        task: name.into(),
        kind,
        identity: BTreeMap::new(),
        n_items: metrics[0].n,
        n_truncated: 0,
        n_skipped: BTreeMap::new(),
        metrics,
        groups: Vec::new(),
    }
}

pub(super) fn summary() -> BenchSummary {
    let mut hellaswag = task(
        "hellaswag",
        Kind::General,
        vec![rate("acc", Better::Higher, 0.375, 200), rate("acc_norm", Better::Higher, 0.425, 200)],
    );
    hellaswag.n_truncated = 1;
    let mut mmlu = task("mmlu", Kind::General, vec![rate("acc", Better::Higher, 0.31, 120)]);
    let group = |name: &str| GroupSummary {
        group: name.into(),
        n_items: 60,
        metrics: vec![rate("acc", Better::Higher, 0.3, 60)],
    };
    mmlu.groups = vec![group("anatomy"), group("astronomy")];
    let words = metric("word_perplexity", Better::Lower, Scale::Exp, (21.5, [19.0, 24.3]), 3);
    let mut refusals =
        task("over_refusal", Kind::OverRefusal, vec![rate("refused", Better::Lower, 0.08, 248)]);
    refusals.n_skipped = BTreeMap::from([("the judge could not tell".to_owned(), 2)]);
    let tasks = vec![hellaswag, mmlu, task("perplexity", Kind::General, vec![words]), refusals];
    BenchSummary { schema: SUMMARY_SCHEMA.into(), tasks }
}

pub(super) fn report(summary: &BenchSummary) -> BenchReport<'_> {
    let details = vec![("Command".to_owned(), "midcourse bench --model smollm2".to_owned())];
    BenchReport { model: "smollm2", adapter: Some("runs/a/adapter"), summary, warnings: &[], details }
}
