//! From the records of a task to rates with intervals over goals.

use std::collections::BTreeMap;

use super::SafetyTask;
use super::finding::{
    ATTACK_SUCCESS, FULL_REFUSAL, Finding, OF_GOALS, PARTIAL_REFUSAL, PLAIN_SUCCESS, PLAIN_UNPARSED, REFUSED,
    UNPARSED,
};
use super::probes::{Facet, Probes};
use crate::bench::{Better, GroupSummary, ItemRecord, MetricSummary, Scale, TaskSummary};
use crate::metrics::share_over_prompts;

/// What the records of all items of a task come to; `seed` is that of the run.
pub fn summarise(
    probes: &Probes,
    identity: BTreeMap<String, String>,
    records: &[ItemRecord],
    seed: u64,
) -> TaskSummary {
    let task = probes.task;
    let mut n_skipped = probes.n_skipped.clone();
    for reason in records.iter().filter_map(left_out) {
        *n_skipped.entry(reason.to_owned()).or_default() += 1;
    }
    let all: Vec<&ItemRecord> = records.iter().collect();
    let groups = groups(records);
    // A single group says what the task says.
    let groups = groups.into_iter().filter(|(_, members)| members.len() < records.len());
    TaskSummary {
        task: task.name().to_owned(),
        kind: task.kind(),
        identity,
        n_items: records.len(),
        n_truncated: 0,
        n_skipped,
        metrics: metrics(task, &all, Which::All, seed),
        groups: groups
            .map(|(group, members)| GroupSummary {
                group,
                n_items: members.len(),
                metrics: metrics(task, &members, Which::WithValues, seed),
            })
            .collect(),
    }
}

/// Which metrics are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The main one also when nothing could be judged.
    All,
    /// Those that an item has a value of.
    WithValues,
}

/// The metrics of a task, the main one first.
fn names(task: SafetyTask) -> &'static [(&'static str, Better)] {
    match task {
        SafetyTask::OverRefusal => &[
            (REFUSED, Better::Lower),
            (FULL_REFUSAL, Better::Lower),
            (PARTIAL_REFUSAL, Better::Lower),
            (UNPARSED, Better::Lower),
        ],
        SafetyTask::Contrast => &[
            (REFUSED, Better::Higher),
            (FULL_REFUSAL, Better::Higher),
            (PARTIAL_REFUSAL, Better::Higher),
            (UNPARSED, Better::Lower),
        ],
        SafetyTask::Artifacts => {
            &[(ATTACK_SUCCESS, Better::Lower), (OF_GOALS, Better::Lower), (UNPARSED, Better::Lower)]
        }
        SafetyTask::Ciphers | SafetyTask::Prefills => &[
            (ATTACK_SUCCESS, Better::Lower),
            (UNPARSED, Better::Lower),
            (PLAIN_SUCCESS, Better::Lower),
            (PLAIN_UNPARSED, Better::Lower),
        ],
    }
}

fn metrics(task: SafetyTask, records: &[&ItemRecord], which: Which, seed: u64) -> Vec<MetricSummary> {
    let summary = |(at, (metric, better)): (usize, &(&str, Better))| {
        let found = rate(records, metric, seed);
        (found.n > 0 || (at == 0 && which == Which::All)).then(|| MetricSummary {
            metric: (*metric).to_owned(),
            better: *better,
            ..found
        })
    };
    names(task).iter().enumerate().filter_map(summary).collect()
}

/// The mean of a metric over those items that have a value, with its interval over clusters. Of none, 0 and everything.
fn rate(records: &[&ItemRecord], metric: &str, seed: u64) -> MetricSummary {
    let mut clusters: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    let mut n = 0;
    for record in records {
        let Some(value) = record.values.get(metric) else { continue };
        let cluster = clusters.entry(record.cluster.as_ref().unwrap_or(&record.item)).or_default();
        cluster[0] += value;
        cluster[1] += 1.0;
        n += 1;
    }
    let estimate = share_over_prompts(clusters.into_values(), seed);
    let (value, ci) = estimate.map_or((0.0, [0.0, 1.0]), |estimate| (estimate.rate, estimate.ci));
    MetricSummary {
        metric: String::new(),
        better: Better::Lower,
        scale: Scale::Share,
        value,
        stderr: None,
        ci,
        n,
    }
}

/// Members of every group of every facet, in the order in which they first occur: the first facet's, then the others'.
fn groups(records: &[ItemRecord]) -> Vec<(String, Vec<&ItemRecord>)> {
    let mut firsts: Vec<(String, Vec<&ItemRecord>)> = Vec::new();
    let mut others: Vec<(String, Vec<&ItemRecord>)> = Vec::new();
    for record in records {
        let Some(facets) = record.detail["facets"].as_object() else { continue };
        for (name, value) in facets {
            let Some(facet) = Facet::of(name) else { continue };
            let group = facet.group(value.as_str().unwrap_or_default());
            let all = if record.group.as_ref() == Some(&group) { &mut firsts } else { &mut others };
            match all.iter_mut().find(|(name, _)| *name == group) {
                Some((_, members)) => members.push(record),
                None => all.push((group, vec![record])),
            }
        }
    }
    firsts.into_iter().chain(others).collect()
}

fn left_out(record: &ItemRecord) -> Option<&'static str> {
    let finding: Finding = serde_json::from_value(record.detail.clone()).ok()?;
    finding.left_out()
}
