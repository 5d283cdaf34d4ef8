//! Results and samples in the shape of lm-evaluation-harness, for tools that read its files.
//!
//! # Source
//! lm-evaluation-harness 0.4.13: `result_schema.py`, `evaluator.py`, `loggers/evaluation_tracker.py`.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::question::{Asked, Question, Right};
use super::record::{Better, ItemRecord, MetricSummary, TaskSummary};
use super::summary::Metric;
use super::task::{Scoring, TaskSpec};
use crate::judge::prompt::hex;

/// The sections of a results file, each a mapping from names of tasks.
const SECTIONS: [&str; 7] =
    ["results", "groups", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples"];

/// A results file in the making.
#[derive(Debug, Clone)]
pub struct LmEvalResults(Map<String, Value>);

impl LmEvalResults {
    /// No results yet, of a model as the user named it.
    pub fn new(model: &str, limit: Option<usize>) -> Self {
        let mut sections: Map<String, Value> =
            SECTIONS.iter().map(|section| ((*section).to_owned(), json!({}))).collect();
        let config = json!({ "model": "midcourse", "model_args": { "pretrained": model }, "limit": limit });
        sections.insert("config".into(), config);
        sections.insert("model_source".into(), "midcourse".into());
        sections.insert("model_name".into(), model.into());
        sections.insert("chat_template".into(), Value::Null);
        Self(sections)
    }

    fn put(&mut self, section: &str, task: &str, value: Value) {
        if let Some(Value::Object(tasks)) = self.0.get_mut(section) {
            tasks.insert(task.to_owned(), value);
        }
    }

    /// Adds a task; one with groups becomes a group of tasks.
    pub fn add(&mut self, spec: &TaskSpec, summary: &TaskSummary, n_shots: usize) {
        let metrics = spec.metrics();
        let name = &spec.lm_eval;
        if summary.groups.is_empty() {
            let of = (summary.metrics.as_slice(), summary.n_items);
            self.task((name, name), (spec, n_shots), (&metrics, of));
            return;
        }
        let mut subtasks = Vec::new();
        for group in &summary.groups {
            let subtask = format!("{name}_{}", group.group);
            self.task((&subtask, &group.group), (spec, n_shots), (&metrics, (&group.metrics, group.n_items)));
            subtasks.push(Value::from(subtask));
        }
        let of = (summary.metrics.as_slice(), summary.n_items);
        let figures = figures((name, name), (&metrics, of));
        self.put("results", name, figures.clone());
        self.put("groups", name, figures);
        self.put("group_subtasks", name, subtasks.into());
    }

    fn task(
        &mut self,
        (name, alias): (&str, &str),
        (spec, n_shots): (&TaskSpec, usize),
        (metrics, of): (&[Metric], (&[MetricSummary], usize)),
    ) {
        self.put("results", name, figures((name, alias), (metrics, of)));
        self.put(
            "versions",
            name,
            spec.version.parse::<f64>().map_or(json!(spec.version), |version| json!(version)),
        );
        self.put("n-shot", name, n_shots.into());
        let better = metrics.iter().map(|metric| {
            let lm_eval = metric.lm_eval.split(',').next().unwrap_or_default().to_owned();
            (lm_eval, Value::Bool(metric.better == Better::Higher))
        });
        self.put("higher_is_better", name, Value::Object(better.collect()));
        self.put("n-samples", name, json!({ "original": of.1, "effective": of.1 }));
    }

    /// The whole file.
    pub fn into_json(self) -> Value {
        Value::Object(self.0)
    }
}

fn figures(
    (name, alias): (&str, &str),
    (metrics, (found, n_items)): (&[Metric], (&[MetricSummary], usize)),
) -> Value {
    let mut figures = Map::from_iter([
        ("name".to_owned(), Value::from(name)),
        ("alias".to_owned(), Value::from(alias)),
        ("sample_len".to_owned(), Value::from(n_items)),
    ]);
    for metric in metrics {
        let Some(summary) = found.iter().find(|summary| summary.metric == metric.name) else { continue };
        let (of, filter) = metric.lm_eval.split_once(',').unwrap_or((&metric.lm_eval, "none"));
        let stderr = summary.stderr.map_or_else(|| Value::from("N/A"), Value::from);
        figures.insert(metric.lm_eval.clone(), summary.value.into());
        figures.insert(format!("{of}_stderr,{filter}"), stderr);
    }
    Value::Object(figures)
}

impl TaskSpec {
    /// The task that a question belongs to there.
    pub fn lm_eval_task(&self, question: &Question) -> String {
        question
            .group
            .as_ref()
            .map_or_else(|| self.lm_eval.clone(), |group| format!("{}_{group}", self.lm_eval))
    }

    /// The samples of a question, one a filter. `shots` is what stood before it, `at` its number among those of its task.
    pub fn lm_eval_samples(
        &self,
        question: &Question,
        (shots, at): (&str, usize),
        record: &ItemRecord,
    ) -> Vec<Value> {
        let pairs = self.pairs(question, shots);
        let (resps, target) = (resps(record), target(question));
        let doc = Value::Object(question.columns.clone());
        let prompt = pairs.first().map_or("", |(context, text)| match question.asked {
            Asked::Rolling { .. } => text,
            _ => context,
        });
        let mut sample = json!({
            "doc_id": at, "doc": doc, "target": target, "arguments": self.arguments(question, &pairs),
            "resps": resps.iter().map(|resp| json!([resp])).collect::<Vec<_>>(), "filtered_resps": resps,
            "filter": "none", "metrics": [],
            "doc_hash": sha256(&serde_json::to_string_pretty(&doc).unwrap_or_default()),
            "prompt_hash": sha256(prompt), "target_hash": sha256(&target),
        });
        let metrics = self.metrics();
        let Scoring::Written(written) = &self.scoring else {
            put_values(&mut sample, &metrics, record);
            return vec![sample];
        };
        if written.filters.is_empty() {
            put_values(&mut sample, &metrics, record);
            return vec![sample];
        }
        let by_filter = written.filters.iter().zip(&metrics).map(|(filter, metric)| {
            let mut sample = sample.clone();
            let filtered = record.detail.get("filtered").and_then(|all| all.get(&filter.name));
            sample["filter"] = filter.name.as_str().into();
            sample["filtered_resps"] = json!([filtered]);
            put_values(&mut sample, std::slice::from_ref(metric), record);
            sample
        });
        by_filter.collect()
    }

    fn arguments(&self, question: &Question, pairs: &[(String, String)]) -> Value {
        let argument = |(at, (context, rest)): (usize, &(String, String))| {
            let argument = match (&question.asked, &self.scoring) {
                (Asked::Rolling { .. }, _) => json!({ "arg_0": rest }),
                (_, Scoring::Written(written)) => json!({
                    "arg_0": context,
                    "arg_1": { "until": written.until, "do_sample": false, "temperature": 0.0, "max_gen_toks": written.max_tokens },
                }),
                _ => json!({ "arg_0": context, "arg_1": rest }),
            };
            (format!("gen_args_{at}"), argument)
        };
        Value::Object(pairs.iter().enumerate().map(argument).collect())
    }
}

/// Values of an item under the names that they have there.
fn put_values(sample: &mut Value, metrics: &[Metric], record: &ItemRecord) {
    let named = metrics.iter().filter_map(|metric| {
        let value = *record.values.get(&metric.name)?;
        Some((metric.lm_eval.split(',').next().unwrap_or_default().to_owned(), value))
    });
    let named: Vec<(String, f64)> = named.collect();
    sample["metrics"] = named.iter().map(|(name, _)| name.as_str()).collect();
    for (name, value) in named {
        sample[name] = value.into();
    }
}

/// What was found of every text, as texts: pairs of a log-likelihood and whether it is what the model writes, or a
/// reply.
fn resps(record: &ItemRecord) -> Vec<Value> {
    let detail = &record.detail;
    let flag = |greedy: bool| if greedy { "True" } else { "False" };
    if let Some(reply) = detail.get("reply").and_then(Value::as_str) {
        return vec![reply.into()];
    }
    let list = |name: &str| detail.get(name).and_then(Value::as_array);
    if let (Some(logps), Some(greedy)) = (list("logps"), list("greedy")) {
        let pair = |(logp, greedy): (&Value, &Value)| {
            json!([logp.to_string(), flag(greedy.as_bool().unwrap_or_default())])
        };
        return logps.iter().zip(greedy).map(pair).collect();
    }
    match (detail.get("logp"), detail.get("greedy").and_then(Value::as_bool)) {
        (Some(logp), Some(greedy)) => vec![json!([logp.to_string(), flag(greedy)])],
        (Some(logp), None) => vec![logp.to_string().into()],
        _ => Vec::new(),
    }
}

fn target(question: &Question) -> String {
    match &question.asked {
        Asked::Choices { correct: Right::One(at), .. } => at.to_string(),
        Asked::Choices { correct: Right::Marked(_), .. } => "0".into(),
        Asked::Contexts { target, .. } | Asked::Continuation { target, .. } => target.clone(),
        Asked::Written { targets, .. } => match targets.as_slice() {
            [target] => target.clone(),
            targets => json!(targets).to_string(),
        },
        Asked::Rolling { text } => text.clone(),
    }
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}
