//! How fast a tree is trained on: `cargo xtask perf train` runs this and prints what it measures as JSON.
//!
//! Arguments: the model file, a file of rankings, how many of them. The work is the reference's log-probabilities, the
//! policy's, their gradient and a step of the optimiser, a ranking at a time, with `dpo-full` and LoRA of rank 16 on
//! every projection. Utilisation compares the multiplications of one forward pass and of the gradients that are needed
//! with what candle's own product does at this model's shapes and its best batch; the reference's pass and what is done
//! twice count as time only. The product is timed between the rankings, the clock of the run stopped.

mod perf;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use midcourse_core::synth::Ranking;
use midcourse_core::train::{Example, Objective, ObjectiveSettings, Prepared, Preparing, Terms};
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::model::ModelConfig;
use midcourse_engine::train::{
    AdamW, AdamWOptions, AdapterUse, Batch, Gradients, LoraOptions, Policy, Recompute, Targets, Trainable,
};
use perf::{Reference, rss_mb};

/// Rankings between two timings of the product.
const BETWEEN: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, rankings, n] = arguments.as_slice() else {
        return Err("expected MODEL RANKINGS.jsonl N".into());
    };
    let lora = LoraOptions { rank: 16, alpha: 32.0, targets: Targets::All, seed: 0 };
    let Trainable { policy, tokenizer, template, .. } =
        Trainable::<f32>::load(Path::new(model), "perf", (&TemplateChoice::default(), &lora))?;
    let preparing =
        Preparing { template: &template, tokenizer: &tokenizer, max_tokens: policy.config().context };
    let mut prepared = Prepared::default();
    for line in std::fs::read_to_string(rankings)?.lines().take(n.parse()?) {
        preparing.ranking(&serde_json::from_str::<Ranking>(line)?, &mut prepared)?;
    }
    let mut run = Run::new(policy);
    let mut reference = Reference::new(run.policy.config());
    for examples in prepared.examples.chunks(BETWEEN) {
        reference.measure();
        examples.iter().try_for_each(|example| run.train(example))?;
    }
    reference.measure();
    let n = prepared.examples.len() as f64;
    let sum = |of: fn(&Example) -> usize| prepared.examples.iter().map(of).sum::<usize>();
    let gflops = run.flops / run.train_secs / 1e9;
    let trees: Vec<_> = run.trees.iter().map(|(n, secs)| serde_json::json!([n, secs])).collect();
    let measured = serde_json::json!({
        "secs_per_ranking": (run.train_secs + run.reference_secs) / n,
        "reference_secs_per_ranking": run.reference_secs / n,
        "n_rankings": n,
        "n_tokens_distinct": sum(Example::n_tokens),
        "n_tokens_pairs": sum(Example::n_pair_tokens),
        "matmul_gflops": gflops,
        "reference_gflops": reference.best_gflops(),
        "utilisation": gflops / reference.best_gflops(),
        "peak_rss_mb": run.peak_rss_mb,
        "loss": run.loss / n,
        "trees": trees,
    });
    #[expect(clippy::print_stdout, reason = "this is the program's result")]
    {
        println!("{measured}");
    }
    Ok(())
}

struct Run {
    policy: Policy,
    gradients: Gradients,
    optimizer: AdamW,
    train_secs: f64,
    reference_secs: f64,
    flops: f64,
    peak_rss_mb: f64,
    loss: f64,
    /// Distinct tokens of every tree, and the seconds that it took, the reference included.
    trees: Vec<(usize, f64)>,
}

impl Run {
    fn new(policy: Policy) -> Self {
        let gradients = Gradients::zeros(policy.adapter());
        let optimizer = AdamW::new(policy.adapter(), AdamWOptions::default());
        let trees = Vec::new();
        Self {
            policy,
            gradients,
            optimizer,
            train_secs: 0.0,
            reference_secs: 0.0,
            flops: 0.0,
            peak_rss_mb: 0.0,
            loss: 0.0,
            trees,
        }
    }

    fn train(&mut self, example: &Example) -> Result<(), Box<dyn Error>> {
        let settings =
            ObjectiveSettings { objective: Objective::DpoFull, beta: 0.1, anchor: 0.0, anchor_tokens: 16 };
        let terms = Terms::of(example, &settings);
        let batch = Batch { tries: vec![(&example.trie, terms.scored())] };
        let started = Instant::now();
        let reference = self.policy.score(&batch, AdapterUse::Off)?;
        let reference_secs = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let pass = self.policy.forward(&batch, Recompute::Auto)?;
        let loss = terms.loss(&pass.logps()[0], &reference[0]);
        let slope = loss.gradient.iter().map(|slope| slope / loss.weight).collect();
        self.peak_rss_mb = self.peak_rss_mb.max(rss_mb());
        self.policy.backward(pass, &[slope], &mut self.gradients)?;
        let (gradients, optimizer) = (&self.gradients, &mut self.optimizer);
        self.policy.change(|lora| {
            optimizer.step(lora, gradients, 1e-4);
            Ok(())
        })?;
        self.gradients.clear();
        let train_secs = started.elapsed().as_secs_f64();
        self.trees.push((example.n_tokens(), reference_secs + train_secs));
        self.train_secs += train_secs;
        self.reference_secs += reference_secs;
        self.loss += loss.value / loss.weight;
        self.flops += flops(example, terms.scored().len(), &self.policy);
        Ok(())
    }
}

/// Operations of one forward pass and of the gradients that are needed: those of inputs of frozen matrices, and those of
/// inputs and values of the adapters'.
fn flops(example: &Example, n_scored: usize, policy: &Policy) -> f64 {
    let config: &ModelConfig = policy.config();
    let head = config.vocab * config.width;
    let frozen = 4 * (config.n_matmul_weights() - head);
    let adapters = 6 * policy.adapter().n_params();
    let seen: usize = (0..example.trie.len()).map(|node| example.trie.depth(node) + 1).sum();
    // Scores and sums forward, and the gradients of both by both of their factors.
    let attention = 12 * config.layers.len() * config.n_heads * config.head_dim * seen;
    (example.n_tokens() * (frozen + adapters) + 4 * head * n_scored + attention) as f64
}
