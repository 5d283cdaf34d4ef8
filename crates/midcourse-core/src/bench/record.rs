//! The shapes of `items.jsonl` and `summary.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::Scale;

/// Names the shape of [`BenchSummary`].
pub const SUMMARY_SCHEMA: &str = "midcourse.bench-summary/1";

/// What one item of a task came to: a line of `items.jsonl`.
///
/// Lines stand in the order of tasks and items, hold no times, and are equal for two runs of one plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// The task's name.
    pub task: String,
    /// Hash of the item's content, 16 hexadecimal digits: the same item in two runs has the same.
    pub item: String,
    /// What rates are also told by: a subject, a category, an attack method, a cipher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What stands together when items are drawn for intervals: items made of one prompt share it. None: the item alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The item's value of every metric that it has one for; of rates 0 or 1. A metric that is missing here was not
    /// judged, which is counted and never taken for 0.
    pub values: BTreeMap<String, f64>,
    /// How much the item counts in a metric's mean, where that is not 1: words and bytes of a text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// Whether the start of the context was cut off because the model's context is too short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// What the values come from, by kind of task: log-likelihoods, an answer's text, a verdict.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

/// `summary.json` of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchSummary {
    /// [`SUMMARY_SCHEMA`].
    pub schema: String,
    /// In the order of the plan.
    pub tasks: Vec<TaskSummary>,
}

/// What a task came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its name, unique in a run.
    pub task: String,
    /// What it measures.
    pub kind: Kind,
    /// All that must be equal in two runs for their values to be compared, by name: version, shots, hash of the data,
    /// limit, framing, judge.
    pub identity: BTreeMap<String, String>,
    /// Items that were asked for.
    pub n_items: usize,
    /// Items whose context was cut off at its start.
    pub n_truncated: usize,
    /// Rows of the data that made no item, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub n_skipped: BTreeMap<String, usize>,
    /// The main metric first.
    pub metrics: Vec<MetricSummary>,
    /// The same by group, where items have groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupSummary>,
}

/// The items of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Its name.
    pub group: String,
    /// Items in it.
    pub n_items: usize,
    /// As of the task.
    pub metrics: Vec<MetricSummary>,
}

/// A metric over items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Its name: `acc`, `acc_norm`, `exact_match`, `refused`, `attack_success` …
    pub metric: String,
    /// Which way is good.
    pub better: Better,
    /// What the mean of the items' values becomes in `value`.
    #[serde(default, skip_serializing_if = "Scale::is_share")]
    pub scale: Scale,
    /// Of rates in [0, 1]; of perplexities at least 1.
    pub value: f64,
    /// Standard error as lm-evaluation-harness tells it, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<f64>,
    /// 95 % interval.
    pub ci: [f64; 2],
    /// Items that have a value: the denominator.
    pub n: usize,
}

/// What a task measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the model can do.
    General,
    /// Refusals of harmless prompts.
    OverRefusal,
    /// Resistance to attacks.
    Jailbreak,
}

/// Which way of a metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}
