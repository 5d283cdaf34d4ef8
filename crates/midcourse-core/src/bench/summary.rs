//! From the records of a task to its figures.
//!
//! # Source
//! lm-evaluation-harness 0.4.13: `mean_stderr` and `pooled_sample_stderr` of `api/metrics.py`. Of a perplexity, whose
//! standard error is bootstrapped there, the delta method's stands here; means weighted by words or bytes have none.

use std::collections::BTreeMap;

use super::record::{Better, GroupSummary, ItemRecord, Kind, MetricSummary, TaskSummary};
use super::task::{Scoring, TaskSpec};
use crate::metrics::Scale;

/// Standard errors on either side of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// A metric of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its name in records.
    pub name: String,
    /// Its name in lm-evaluation-harness, the filter after the comma.
    pub lm_eval: String,
    /// Which way is good.
    pub better: Better,
    /// What the mean becomes.
    pub scale: Scale,
}

impl TaskSpec {
    /// The metrics of the task, the main one first.
    pub fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str, better, scale| Metric {
            name: name.to_owned(),
            lm_eval: format!("{name},none"),
            better,
            scale,
        };
        let acc = || metric("acc", Better::Higher, Scale::Share);
        match &self.scoring {
            Scoring::Choices(_) if self.tells_by_length() => {
                vec![acc(), metric("acc_norm", Better::Higher, Scale::Share)]
            }
            Scoring::Choices(_) | Scoring::Contexts { .. } => vec![acc()],
            Scoring::Continuation { .. } => vec![acc(), metric("perplexity", Better::Lower, Scale::Exp)],
            Scoring::Rolling { .. } => vec![
                metric("word_perplexity", Better::Lower, Scale::Exp),
                metric("byte_perplexity", Better::Lower, Scale::Exp),
                metric("bits_per_byte", Better::Lower, Scale::Linear),
            ],
            Scoring::Written(written) => {
                let filters: Vec<&str> = written.filters.iter().map(|filter| filter.name.as_str()).collect();
                let named = |filter: &&str| Metric {
                    name: if filters.len() > 1 {
                        format!("exact_match/{filter}")
                    } else {
                        "exact_match".into()
                    },
                    lm_eval: format!("exact_match,{filter}"),
                    better: Better::Higher,
                    scale: Scale::Share,
                };
                if filters.is_empty() {
                    return vec![metric("exact_match", Better::Higher, Scale::Share)];
                }
                filters.iter().map(named).collect()
            }
        }
    }

    /// What the records of all items come to.
    pub fn summary(&self, identity: BTreeMap<String, String>, records: &[ItemRecord]) -> TaskSummary {
        let metrics = self.metrics();
        let mut by_group: BTreeMap<&str, Vec<&ItemRecord>> = BTreeMap::new();
        for record in records {
            if let Some(group) = &record.group {
                by_group.entry(group).or_default().push(record);
            }
        }
        let all: Vec<&ItemRecord> = records.iter().collect();
        let over = |metric: &Metric| {
            let mut summary = over(metric, &all)?;
            if !by_group.is_empty() {
                summary.stderr = pooled(metric, by_group.values());
            }
            Some(summary)
        };
        let group = |(group, records): (&&str, &Vec<&ItemRecord>)| GroupSummary {
            group: (*group).to_owned(),
            n_items: records.len(),
            metrics: metrics.iter().filter_map(|metric| self::over(metric, records)).collect(),
        };
        let failed = records.iter().filter_map(|record| record.detail.get("failed")?.as_str());
        let mut n_skipped: BTreeMap<String, usize> = BTreeMap::new();
        failed.for_each(|reason| *n_skipped.entry(reason.to_owned()).or_default() += 1);
        TaskSummary {
            task: self.name.clone(),
            kind: Kind::General,
            identity,
            n_items: records.len(),
            n_truncated: records.iter().filter(|record| record.truncated).count(),
            n_skipped,
            metrics: metrics.iter().filter_map(over).collect(),
            groups: by_group.iter().map(group).collect(),
        }
    }
}

/// A value and its weight.
type Weighed = (f64, f64);

fn weighed(metric: &Metric, records: &[&ItemRecord]) -> Vec<Weighed> {
    let of = |record: &&ItemRecord| {
        Some((*record.values.get(&metric.name)?, record.weights.get(&metric.name).copied().unwrap_or(1.0)))
    };
    records.iter().filter_map(of).collect()
}

/// A metric over items; none where no item has a value.
fn over(metric: &Metric, records: &[&ItemRecord]) -> Option<MetricSummary> {
    let all = weighed(metric, records);
    let weight: f64 = all.iter().map(|(_, weight)| weight).sum();
    if all.is_empty() || weight <= 0.0 {
        return None;
    }
    let mean = all.iter().map(|(value, weight)| value * weight).sum::<f64>() / weight;
    let is_weighted = records.iter().any(|record| record.weights.contains_key(&metric.name));
    let error = mean_stderr(&all, mean);
    let stderr = error.filter(|_| !is_weighted).map(|error| error * metric.scale.slope(mean));
    // Of shares of a probability no rate's interval holds.
    let is_rate = metric.scale.is_share() && all.iter().all(|(value, _)| value.fract() == 0.0);
    let ci = if is_rate {
        wilson(mean, all.len() as f64)
    } else {
        let error = ratio_stderr(&all, mean).unwrap_or(0.0);
        [metric.scale.of(mean - Z * error), metric.scale.of(mean + Z * error)]
    };
    Some(MetricSummary {
        metric: metric.name.clone(),
        better: metric.better,
        value: metric.scale.of(mean),
        scale: metric.scale,
        stderr,
        ci,
        n: all.len(),
    })
}

/// Standard error of a mean; none for one value.
fn mean_stderr(all: &[Weighed], mean: f64) -> Option<f64> {
    let n = all.len() as f64;
    let squares: f64 = all.iter().map(|(value, _)| (value - mean).powi(2)).sum();
    (all.len() > 1).then(|| (squares / (n - 1.0)).sqrt() / n.sqrt())
}

/// Standard error of a weighted mean, linearised; none for one value.
fn ratio_stderr(all: &[Weighed], mean: f64) -> Option<f64> {
    let n = all.len() as f64;
    let weight: f64 = all.iter().map(|(_, weight)| weight).sum();
    let squares: f64 = all.iter().map(|(value, weight)| (weight * (value - mean)).powi(2)).sum();
    (all.len() > 1).then(|| (squares * n / (n - 1.0)).sqrt() / weight)
}

/// The pooled standard error over groups, as a group of tasks has it; none where a group has one item, of which
/// lm-evaluation-harness tells none either.
fn pooled<'r>(
    metric: &Metric,
    groups: impl ExactSizeIterator<Item = &'r Vec<&'r ItemRecord>>,
) -> Option<f64> {
    let n_groups = groups.len();
    let (mut sum, mut n_all) = (0.0, 0.0);
    for records in groups {
        let all = weighed(metric, records);
        let n = all.len() as f64;
        let mean = all.iter().map(|(value, _)| value).sum::<f64>() / n;
        sum += (n - 1.0) * mean_stderr(&all, mean)?.powi(2) * n;
        n_all += n;
    }
    Some((sum / (n_all - n_groups as f64)).sqrt() / f64::sqrt(n_all))
}

/// Wilson's interval of a rate.
fn wilson(rate: f64, n: f64) -> [f64; 2] {
    let z2 = Z * Z / n;
    let middle = (rate + z2 / 2.0) / (1.0 + z2);
    let half = Z / (1.0 + z2) * (rate * (1.0 - rate) / n + z2 / (4.0 * n)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}
