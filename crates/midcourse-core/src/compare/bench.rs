//! What a benchmark run has measured: every metric of every task.

use std::collections::BTreeMap;

use super::measure::{Measure, Measured, Observed, Rank, Seen, Value};
use crate::bench::{BenchSummary, ItemRecord, MetricSummary, TaskSummary};

/// Everything that a benchmark run has measured. A task's main metric is called as the task, others `TASK:METRIC`.
pub fn of_bench(summary: &BenchSummary, items: &[ItemRecord]) -> Vec<Measured> {
    let mut by_task: BTreeMap<&str, Vec<&ItemRecord>> = BTreeMap::new();
    for item in items {
        by_task.entry(&item.task).or_default().push(item);
    }
    let measures = summary.tasks.iter().flat_map(|task| {
        let items = by_task.remove(task.task.as_str()).unwrap_or_default();
        task.metrics.iter().enumerate().map(move |(at, metric)| {
            let rank = if at == 0 { Rank::Main } else { Rank::Detail };
            measured(task, (metric, rank), &items)
        })
    });
    measures.collect()
}

fn measured(task: &TaskSummary, (metric, rank): (&MetricSummary, Rank), items: &[&ItemRecord]) -> Measured {
    let name = match rank {
        Rank::Main => task.task.clone(),
        Rank::Detail => format!("{}:{}", task.task, metric.metric),
    };
    // A main metric is named after its task: two versions of a task may not call another one so.
    let identity = task.identity.clone().into_iter().chain([("metric".to_owned(), metric.metric.clone())]);
    let MetricSummary { value, ci, n, better, scale, .. } = *metric;
    Measured {
        measure: Measure { name, aspect: task.kind.into(), rank, better, scale },
        seen: (n > 0).then_some(Seen { value, ci, n }),
        identity: identity.collect(),
        observed: Observed::Items(values(&metric.metric, items)),
    }
}

fn values(metric: &str, items: &[&ItemRecord]) -> BTreeMap<(String, usize), Value> {
    let mut n_before: BTreeMap<&str, usize> = BTreeMap::new();
    let mut values = BTreeMap::new();
    for item in items {
        let before = n_before.entry(&item.item).or_default();
        let key = (item.item.clone(), *before);
        *before += 1;
        let Some(&value) = item.values.get(metric).filter(|value| value.is_finite()) else { continue };
        let weight = item.weights.get(metric).copied().unwrap_or(1.0);
        values.insert(key, Value { value, weight, cluster: item.cluster.clone() });
    }
    values
}
