//! Figures of tasks and groups as rows of tables.

use super::super::figure::{Figure, count};
use crate::bench::{Better, GroupSummary, MetricSummary, TaskSummary};

/// A metric of a task or of one of its groups, as it is printed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// The task's name, or the group's.
    pub name: String,
    pub metric: String,
    pub value: String,
    pub interval: String,
    /// The standard error, where there is one.
    pub stderr: String,
    /// Items that have a value.
    pub n: String,
    /// What is drawn; none of figures that are no shares.
    pub share: Option<Figure>,
    /// Which way is good, in a sign.
    pub better: &'static str,
}

impl Row {
    fn new(name: &str, metric: &MetricSummary) -> Self {
        let is_share = metric.scale.is_share();
        let figure = Figure { rate: Some(metric.value), ci: Some(metric.ci) };
        let [low, high] = metric.ci;
        let (value, interval) = if is_share {
            (figure.percent(), figure.interval())
        } else {
            (number(metric.value), format!("[{}, {}]", number(low), number(high)))
        };
        let stderr = metric.stderr.map_or_else(
            || "–".to_owned(),
            |stderr| {
                if is_share { format!("{:.1}", 100.0 * stderr) } else { number(stderr) }
            },
        );
        Self {
            name: name.to_owned(),
            metric: metric.metric.clone(),
            value,
            interval,
            stderr,
            n: count(metric.n),
            share: is_share.then_some(figure),
            better: match metric.better {
                Better::Higher => "↑",
                Better::Lower => "↓",
            },
        }
    }
}

/// A number of any size.
fn number(x: f64) -> String {
    if x.abs() >= 1e6 { format!("{x:.2e}") } else { format!("{x:.3}") }
}

/// The metrics of tasks, those of a task one after the other.
pub(super) fn of_tasks<'t>(tasks: impl Iterator<Item = &'t TaskSummary>) -> Vec<Row> {
    tasks.flat_map(|task| task.metrics.iter().map(|metric| Row::new(&task.task, metric))).collect()
}

/// The main metric of every group of a task.
pub(super) fn of_groups(task: &TaskSummary) -> Vec<Row> {
    let row = |group: &GroupSummary| group.metrics.first().map(|metric| Row::new(&group.group, metric));
    task.groups.iter().filter_map(row).collect()
}

/// What is not in a task's figures, or only in part, a sentence each.
pub(super) fn losses(task: &TaskSummary) -> Vec<String> {
    let items = |n: usize| if n == 1 { "1 item".to_owned() } else { format!("{} items", count(n)) };
    let truncated = (task.n_truncated > 0).then(|| {
        format!(
            "{}: {} longer than the model's context, their start was cut off",
            task.task,
            items(task.n_truncated)
        )
    });
    let skipped = task
        .n_skipped
        .iter()
        .map(|(reason, n)| format!("{}: {} without figures: {reason}", task.task, items(*n)));
    truncated.into_iter().chain(skipped).collect()
}
