//! What a training would take, without doing it: `--dry-run`.

use std::fmt::Write;

use midcourse_engine::model::ModelConfig;
use serde::Serialize;

use super::course::{Course, packs};
use super::inputs::DataIdentity;
use super::manifest::{Counts, DropCount};
use super::options::Engine;
use super::settings::{LoraSettings, TrainSettings};
use super::targets::TargetsText;
use crate::model::Base;

/// Bytes of a number.
const NUMBER: usize = 4;

/// What would be trained on, and how much of it.
#[derive(Debug, Serialize)]
pub(crate) struct Foretold {
    pub model: String,
    pub data: DataIdentity,
    pub counts: Counts,
    pub n_steps: usize,
    /// Passes forward and back; these and what follows are the local engine's.
    pub n_passes: usize,
    /// Tokens of the largest pass, each once.
    pub n_tokens_largest_pass: usize,
    pub n_bytes: Memory,
}

/// Bytes that a training takes at most, about: other things of the process come on top.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    /// Weights of the base in 32 bits.
    pub weights: usize,
    /// The adapter, its gradient and the two means of the optimiser.
    pub adapter: usize,
    /// The largest pass, everything kept: `--recompute` keeps less.
    pub pass: usize,
}

impl Memory {
    fn of(config: &ModelConfig, lora: &LoraSettings, (n_tokens, n_scored): (usize, usize)) -> Self {
        let wide: usize = config.layer_shapes().iter().map(|(out, n_in)| out + n_in).sum();
        let kept = config.layers.len() * n_tokens * (wide + 2 * config.width) + n_scored * config.vocab;
        Self {
            weights: NUMBER * config.n_params(),
            adapter: 4 * NUMBER * config.layers.len() * lora.rank * widths(config, &lora.targets),
            pass: NUMBER * kept,
        }
    }
}

/// Inputs and outputs of the adapted projections of a layer.
fn widths(config: &ModelConfig, targets: &TargetsText) -> usize {
    let (d, f) = (config.width, config.mlp_width);
    let (q, kv) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let all = [
        ("q", d + q),
        ("k", d + kv),
        ("v", d + kv),
        ("o", q + d),
        ("gate", d + f),
        ("up", d + f),
        ("down", f + d),
    ];
    all.iter().filter(|(name, _)| targets.holds(name)).map(|(_, widths)| widths).sum()
}

impl Foretold {
    pub(crate) fn of(
        base: &Base,
        data: &DataIdentity,
        (course, counts): (&Course, &Counts),
        settings: &TrainSettings,
    ) -> Self {
        let mut passes = Vec::new();
        for step in 0..course.steps.len() {
            let items = course.step(step);
            for pack in packs(&items, settings.steps.batch_tokens) {
                let n_tokens: usize = pack.iter().map(|item| item.example.n_tokens()).sum();
                passes.push((n_tokens, pack.iter().map(|item| item.terms.scored().len()).sum()));
            }
        }
        let largest = passes.iter().copied().max().unwrap_or((0, 0));
        Self {
            model: base.identity.name.clone(),
            data: data.clone(),
            counts: counts.clone(),
            n_steps: course.steps.len(),
            n_passes: passes.len(),
            n_tokens_largest_pass: largest.0,
            n_bytes: Memory::of(&base.config, &settings.lora, largest),
        }
    }

    /// As people read it.
    pub(crate) fn text(&self, engine: Engine) -> String {
        let Counts { n_train, n_contrast, n_held_out, n_left_out, n_without_terms, n_pairs, .. } =
            self.counts;
        let Counts { n_tokens_distinct, n_tokens_pairs, dropped, .. } = &self.counts;
        let mut text = format!(
            "{n_train} trees to train on ({n_contrast} of them contrast rankings, {n_pairs} pairs), {n_held_out} held out"
        );
        for (n, what) in [
            (n_left_out, "left out so that the share of contrast rankings is as asked for"),
            (n_without_terms, "without anything that the objective learns from"),
        ] {
            if n > 0 {
                let _ = write!(text, "\n{n} {what}");
            }
        }
        for dropped in dropped.iter().map(DropCount::text) {
            let _ = write!(text, "\n{dropped}");
        }
        let times = *n_tokens_pairs as f64 / (*n_tokens_distinct).max(1) as f64;
        let _ = write!(
            text,
            "\n{n_tokens_distinct} distinct tokens an epoch, {n_tokens_pairs} in the pairs ({times:.1} times as many)"
        );
        let _ = write!(text, "\n{} steps", self.n_steps);
        match engine {
            Engine::Local => text + &self.cost(),
            Engine::Trl => text,
        }
    }

    /// What it takes in this process.
    fn cost(&self) -> String {
        let Memory { weights, adapter, pass } = self.n_bytes;
        let [weights, adapter, pass] = [weights, adapter, pass].map(|n_bytes| n_bytes.div_ceil(1_000_000));
        format!(
            ", {} passes, at most {} tokens in one\nabout {weights} MB of weights, {adapter} MB for the adapter, {pass} MB \
             for the largest pass unless it is computed again (--recompute)",
            self.n_passes, self.n_tokens_largest_pass
        )
    }
}
