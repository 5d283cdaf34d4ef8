//! How fast the tree grows: `cargo xtask perf eval` runs this and prints what it measures as JSON.
//!
//! Arguments: the model file, the data file. The work is 8 samples × 8 lengths × 20 paths × 32 tokens without
//! early stop, as the paper's preset has it. Utilisation compares the multiplications that the distinct tokens
//! need with what candle's own product does at this model's shapes and its best batch. A machine's speed drifts:
//! the product is timed before, between and after the batches of the same run, the clock of the run stopped.

mod perf;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use midcourse_core::data;
use midcourse_core::engine::{BoxError, Continue, Forest, Grown, Growth, Sampling, TokenId, Tree, Usage};
use midcourse_core::eval::{self, EarlyStop, EvalSettings, Opener, PlannedSample, Set, Unit};
use midcourse_core::template::Mode;
use midcourse_engine::local::{LoadOptions, LocalModel};
use perf::{Reference, rss_mb};

const N_SAMPLES: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows] = arguments.as_slice() else { return Err("expected MODEL.gguf DATA.jsonl".into()) };
    let model = LocalModel::load(Path::new(model), "perf", &LoadOptions::default())?;
    let set = data::parse(rows, &std::fs::read(rows)?, data::Responses::Required)?;
    let settings = settings();
    let plan = set.samples.iter().take(N_SAMPLES).map(|sample| {
        let text = (&model.template, &model.tokenizer as _);
        eval::plan((Set::Harmful, sample), &settings, text, model.engine.context())
    });
    let plan: Vec<_> = plan.collect::<midcourse_core::Result<_>>()?;
    let mut forest = Grove {
        plan: &plan,
        settings: &settings,
        next: 0,
        reference: Reference::new(model.engine.config()),
        paused_secs: 0.0,
        peak_rss_mb: 0.0,
    };
    let started = Instant::now();
    let usage =
        model.engine.grow(&settings.sampling, &mut forest).map_err(|error| error as Box<dyn Error>)?;
    let wall_secs = started.elapsed().as_secs_f64() - forest.paused_secs;
    let peak_rss_mb = forest.peak_rss_mb;
    let reference = forest.reference.best_gflops();
    let gflops = 2e-9 * (model.engine.config().n_matmul_weights() * usage.n_computed) as f64 / wall_secs;
    let measured = serde_json::json!({
        "sampled_tokens_per_sec": usage.n_sampled as f64 / wall_secs,
        "matmul_gflops": gflops,
        "reference_gflops": reference,
        "utilisation": gflops / reference,
        "peak_rss_mb": peak_rss_mb,
        "n_tokens_sampled": usage.n_sampled,
        "n_tokens_distinct": usage.n_computed,
        "wall_secs": wall_secs,
    });
    #[expect(clippy::print_stdout, reason = "this is the program's result")]
    {
        println!("{measured}");
    }
    Ok(())
}

fn settings() -> EvalSettings {
    EvalSettings {
        prefix_lengths: (1..=8).map(|i| i * 10).collect(),
        unit: Unit::Tokens,
        opener: Opener::None,
        mode: Mode::OpenTurn,
        paths: 20,
        sampling: Sampling { temperature: 0.8, top_p: 0.7, max_new_tokens: 32 },
        early_stop: EarlyStop::Off,
        framing: midcourse_core::template::Framing::default(),
        seed: 0,
    }
}

struct Grove<'a> {
    plan: &'a [PlannedSample],
    settings: &'a EvalSettings,
    next: usize,
    reference: Reference,
    /// Time spent on the reference while the engine waited.
    paused_secs: f64,
    peak_rss_mb: f64,
}

impl Forest for Grove<'_> {
    fn plant(&mut self) -> Option<Tree> {
        let paused = Instant::now();
        self.reference.measure();
        self.paused_secs += paused.elapsed().as_secs_f64();
        let sample = self.plan.get(self.next)?;
        self.next += 1;
        sample.tree(self.next - 1, self.settings, |_| true)
    }

    fn stopping(&self) -> bool {
        false
    }

    fn grown_by_one(&mut self, _id: usize, _tokens: &[TokenId]) -> Growth {
        Growth::Continue
    }

    fn harvest(&mut self, _paths: Vec<Grown>) -> Result<(), BoxError> {
        Ok(())
    }

    fn progress(&mut self, _so_far: Usage) {
        self.peak_rss_mb = self.peak_rss_mb.max(rss_mb());
    }
}
