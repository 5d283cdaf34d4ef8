//! `settings.json`: what the script trains with.

use anyhow::Result;
use midcourse_core::train::{ObjectiveSettings, Schedule};
use serde::Serialize;

use super::Base;

/// What decides how an adapter is trained, in the script's words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Settings {
    /// Objective, β and anchor.
    #[serde(flatten)]
    pub objective: ObjectiveSettings,
    pub lora: Lora,
    pub learning_rate: f64,
    pub schedule: Schedule,
    /// Steps in which the learning rate rises.
    pub n_warmup_steps: usize,
    pub weight_decay: f64,
    pub adam: Adam,
    pub clip: f64,
    pub seed: u64,
    /// Steps between two checkpoints.
    pub save_every: usize,
    /// Checkpoints that are kept; the best is among them.
    pub keep_checkpoints: usize,
}

/// The adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Lora {
    pub rank: usize,
    pub alpha: f64,
    /// PEFT's names of the projections that it changes.
    pub target_modules: Vec<String>,
}

/// Numbers of `AdamW`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

/// The file as a whole.
#[derive(Serialize)]
struct File<'a> {
    model: &'a str,
    revision: Option<&'a str>,
    #[serde(flatten)]
    settings: &'a Settings,
    /// Rows that a process computes at once.
    rows_per_device: usize,
    /// `auto`: bfloat16 on a GPU, else float32.
    dtype: &'static str,
    /// `auto`: on a GPU.
    gradient_checkpointing: &'static str,
    /// For every step the trees whose rows it takes.
    steps: &'a [Vec<usize>],
}

impl Settings {
    /// The file's text: an entry a line.
    pub(super) fn json(&self, base: &Base, steps: &[Vec<usize>]) -> Result<String> {
        let file = File {
            model: &base.name,
            revision: base.revision.as_deref(),
            settings: self,
            rows_per_device: 2,
            dtype: "auto",
            gradient_checkpointing: "auto",
            steps,
        };
        let serde_json::Value::Object(entries) = serde_json::to_value(&file)? else {
            return Ok(String::new());
        };
        let line = |(key, value): (&String, &serde_json::Value)| format!(" \"{key}\": {value}");
        let lines: Vec<String> = entries.iter().map(line).collect();
        Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
    }
}
