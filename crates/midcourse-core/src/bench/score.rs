//! From what was found of an item to its values.
//!
//! # Source
//! lm-evaluation-harness 0.4.13: `process_results` of `api/task.py` and of `tasks/truthfulqa/utils.py`. `acc_norm`
//! divides by characters (Unicode code points), as that version does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::question::{Asked, Question, Right};
use super::record::ItemRecord;
use super::task::{ByLength, Scoring, TaskSpec};
use super::written::ended;
use crate::template::is_space;

/// What was found of one text: its log-likelihood, and whether it is what the model would write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Natural logarithm.
    pub logp: f64,
    /// Whether every token is the likeliest in its place.
    pub is_greedy: bool,
}

/// What was found of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Findings {
    /// Of every text in turn.
    Likelihoods(Vec<Likelihood>),
    /// What was written, with what ends it.
    Reply(String),
    /// Why nothing could be found.
    Nothing(String),
}

/// Values and weights of an item by metric.
type Values = BTreeMap<String, f64>;

impl TaskSpec {
    /// The record of an item.
    pub fn record(&self, question: &Question, findings: &Findings, truncated: bool) -> ItemRecord {
        let (values, weights, detail) = match findings {
            Findings::Likelihoods(found) => self.by_likelihood(question, found),
            Findings::Reply(reply) => self.by_reply(question, reply),
            Findings::Nothing(reason) => (Values::new(), Values::new(), json!({ "failed": reason })),
        };
        ItemRecord {
            task: self.name.clone(),
            item: question.id.clone(),
            group: question.group.clone(),
            cluster: None,
            values,
            weights,
            truncated,
            detail,
        }
    }

    fn by_likelihood(&self, question: &Question, found: &[Likelihood]) -> (Values, Values, Value) {
        let logps: Vec<f64> = found.iter().map(|found| found.logp).collect();
        let greedy: Vec<bool> = found.iter().map(|found| found.is_greedy).collect();
        match &question.asked {
            Asked::Choices { choices, correct: Right::One(correct), .. } => {
                let detail = json!({ "logps": logps, "greedy": greedy, "correct": correct });
                let mut values = Values::from([("acc".to_owned(), share(first_largest(&logps) == *correct))]);
                if self.tells_by_length() {
                    let by_length =
                        choices.iter().zip(&logps).map(|(choice, logp)| logp / choice.chars().count() as f64);
                    let chosen = first_largest(&by_length.collect::<Vec<_>>());
                    values.insert("acc_norm".into(), share(chosen == *correct));
                }
                (values, Values::new(), detail)
            }
            Asked::Choices { correct: Right::Marked(marked), .. } => {
                let all: f64 = logps.iter().map(|logp| logp.exp()).sum();
                let right =
                    logps.iter().zip(marked).filter(|(_, marked)| **marked).map(|(logp, _)| logp.exp());
                let acc = if all > 0.0 { right.sum::<f64>() / all } else { 0.0 };
                let detail = json!({ "logps": logps, "greedy": greedy, "correct": marked });
                (Values::from([("acc".into(), acc)]), Values::new(), detail)
            }
            Asked::Contexts { correct, .. } => {
                let detail = json!({ "logps": logps, "greedy": greedy, "correct": correct });
                (
                    Values::from([("acc".into(), share(first_largest(&logps) == *correct))]),
                    Values::new(),
                    detail,
                )
            }
            Asked::Rolling { text } => rolling(text, logps.iter().sum()),
            Asked::Continuation { .. } | Asked::Written { .. } => {
                let logp: f64 = logps.iter().sum();
                let all = greedy.iter().all(|greedy| *greedy);
                let values = [("acc".to_owned(), share(all)), ("perplexity".to_owned(), -logp)];
                (values.into(), Values::new(), json!({ "logp": logp, "greedy": all }))
            }
        }
    }

    fn by_reply(&self, question: &Question, reply: &str) -> (Values, Values, Value) {
        let (Scoring::Written(written), Asked::Written { targets, .. }) = (&self.scoring, &question.asked)
        else {
            return (Values::new(), Values::new(), json!({ "reply": reply }));
        };
        let reply = ended(reply, &written.until);
        let names = self.metrics();
        let mut values = Values::new();
        let mut filtered = serde_json::Map::new();
        if written.filters.is_empty() {
            values.insert("exact_match".into(), share(written.matching.is_any(reply, targets)));
        }
        for (filter, metric) in written.filters.iter().zip(names) {
            let found = filter.apply(reply);
            values.insert(metric.name, share(written.matching.is_any(&found, targets)));
            filtered.insert(filter.name.clone(), found.into());
        }
        (values, Values::new(), json!({ "reply": reply, "filtered": filtered }))
    }

    pub(super) fn tells_by_length(&self) -> bool {
        matches!(&self.scoring, Scoring::Choices(choices) if choices.by_length == ByLength::Told)
    }
}

fn share(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// The place of the first of the largest; that of a number which is none, where there is one, as numpy has it.
fn first_largest(values: &[f64]) -> usize {
    if let Some(at) = values.iter().position(|value| value.is_nan()) {
        return at;
    }
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter().position(|value| *value >= most).unwrap_or(0)
}

/// The values of a whole text: nats a word and a byte, bits a byte.
fn rolling(text: &str, logp: f64) -> (Values, Values, Value) {
    let (n_words, n_bytes) = (count_words(text) as f64, text.len() as f64);
    let values = [
        ("word_perplexity".to_owned(), -logp / n_words),
        ("byte_perplexity".to_owned(), -logp / n_bytes),
        ("bits_per_byte".to_owned(), -logp / n_bytes / std::f64::consts::LN_2),
    ];
    let weights = [
        ("word_perplexity".to_owned(), n_words),
        ("byte_perplexity".to_owned(), n_bytes),
        ("bits_per_byte".to_owned(), n_bytes),
    ];
    (values.into(), weights.into(), json!({ "logp": logp, "n_words": n_words, "n_bytes": n_bytes }))
}

/// What `re.split(r"\s+", text)` gives: white space at either end makes a word of nothing.
fn count_words(text: &str) -> usize {
    let words = text.split(is_space).filter(|word| !word.is_empty()).count();
    let ends = usize::from(text.starts_with(is_space)) + usize::from(text.ends_with(is_space));
    if words == 0 { 1 + usize::from(!text.is_empty()) } else { words + ends }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_the_reference_counts_them() {
        for (text, n) in [("a b", 2), (" a b", 3), ("a\n\nb ", 3), ("", 1), (" ", 2), ("a", 1)] {
            assert_eq!(count_words(text), n, "{text:?}");
        }
    }

    #[test]
    fn the_first_of_the_largest_is_chosen() {
        assert_eq!(first_largest(&[-2.0, -1.0, -1.0]), 1);
        assert_eq!(first_largest(&[-1.0, f64::NAN]), 1);
        assert_eq!(first_largest(&[f64::NEG_INFINITY, f64::NEG_INFINITY]), 0);
    }
}
