//! Figures of tasks and groups as rows of tables.

use super::super::figure::{Figure, count};
use crate::bench::safety::UNPARSED;
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
        // Where nothing was judged there is nothing to tell.
        let told = metric.n > 0;
        let figure = Figure { rate: told.then_some(metric.value), ci: told.then_some(metric.ci) };
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

/// The main metric of every group of a task, and of those that are judged the share that could not be, where there is any.
pub(super) fn of_groups(task: &TaskSummary) -> Vec<Row> {
    let is_told = |metric: &&MetricSummary| metric.metric == UNPARSED && metric.value > 0.0;
    let rows = |group: &GroupSummary| -> Vec<Row> {
        let (main, others) = group.metrics.split_at(group.metrics.len().min(1));
        let told = main.iter().chain(others.iter().filter(is_told));
        told.map(|metric| Row::new(&group.group, metric)).collect()
    };
    task.groups.iter().flat_map(rows).collect()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::{Kind, Scale};

    fn metric(name: &str, n: usize) -> MetricSummary {
        let (better, scale) = (Better::Lower, Scale::Share);
        MetricSummary { metric: name.into(), better, scale, value: 0.0, stderr: None, ci: [0.0, 1.0], n }
    }

    #[test]
    fn a_metric_of_nothing_tells_nothing_and_groups_tell_what_could_not_be_judged() {
        let group = GroupSummary {
            group: "cipher: morse".into(),
            n_items: 3,
            metrics: vec![metric("attack_success", 0), MetricSummary { value: 1.0, ..metric("unparsed", 3) }],
        };
        let mut task = TaskSummary {
            task: "jailbreak_ciphers".into(),
            kind: Kind::Jailbreak,
            identity: BTreeMap::new(),
            n_items: 3,
            n_truncated: 0,
            n_skipped: BTreeMap::new(),
            metrics: group.metrics.clone(),
            groups: vec![group],
        };
        let told: Vec<_> =
            of_groups(&task).into_iter().map(|row| (row.metric, row.value, row.interval)).collect();
        let row = |metric: &str, value: &str, interval: &str| (metric.into(), value.into(), interval.into());
        let expected = [row("attack_success", "–", ""), row("unparsed", "100.0 %", "[0.0, 100.0]")];
        assert_eq!(told, expected);
        task.groups[0].metrics[1].value = 0.0;
        assert_eq!(of_groups(&task).len(), 1);
    }
}
