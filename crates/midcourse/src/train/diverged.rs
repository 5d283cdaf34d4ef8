//! A training that leaves the numbers: it stops, and what it was learning from is saved.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::course::Item;
use crate::failure::Failure;
use crate::run_dir::{self, RunDir};

/// The file that the trees of the step are saved in.
pub(crate) const FILE: &str = "nan-batch.json";
const SCHEMA: &str = "midcourse.nan-batch/1";

/// Where a training was when a number was none.
pub(crate) struct Batch {
    /// What is not finite.
    pub what: &'static str,
    /// The step, counted from 1.
    pub step: usize,
    /// None of a step without one.
    pub loss: Option<f64>,
    pub norm: f64,
    pub learning_rate: f64,
}

#[derive(Serialize)]
struct Saved<'a> {
    schema: &'static str,
    what: &'a str,
    step: usize,
    /// As text: JSON has no name for a number that is none.
    loss: String,
    grad_norm: String,
    learning_rate: f64,
    examples: Vec<Value>,
}

/// Saves the trees, and gives the failure to end with.
pub(crate) fn failure(dir: &RunDir, batch: &Batch, items: &[&Item]) -> Result<anyhow::Error> {
    let Batch { what, step, loss, norm, learning_rate } = *batch;
    let saved = Saved {
        schema: SCHEMA,
        what,
        step,
        loss: shown(loss),
        grad_norm: norm.to_string(),
        learning_rate,
        examples: items.iter().map(|item| example(item)).collect(),
    };
    dir.write(FILE, &run_dir::pretty(&saved)?)?;
    let failure = Failure::Input {
        problem: format!(
            "step {step}: the {what} is not finite (loss {}, norm of the gradient {norm}); its trees are in {}",
            shown(loss),
            dir.file(FILE).display()
        ),
        hint: "train anew with a lower --learning-rate; checkpoints/ has the last whole state".into(),
    };
    Ok(failure.into())
}

fn shown(loss: Option<f64>) -> String {
    loss.map_or_else(|| "none".into(), |loss| loss.to_string())
}

/// A tree: its tokens, and of each the place of the one before it.
fn example(item: &Item) -> Value {
    let trie = &item.example.trie;
    let tokens: Vec<u32> = (0..trie.len()).map(|node| trie.token(node)).collect();
    let parents: Vec<Option<usize>> = (0..trie.len()).map(|node| trie.parent(node)).collect();
    json!({ "id": item.example.id, "set": item.example.set, "tokens": tokens, "parents": parents,
        "scored": item.terms.scored() })
}
