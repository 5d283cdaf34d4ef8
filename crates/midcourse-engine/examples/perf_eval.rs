//! How fast the tree grows: `cargo xtask perf eval` runs this and prints what it measures as JSON.
//!
//! Arguments: the model file, the data file. The work is 8 samples × 8 lengths × 20 paths × 32 tokens without
//! early stop, as the paper's preset has it. Utilisation compares the multiplications that the distinct tokens
//! need with what candle's own product does at this model's shapes and its best batch. A machine's speed drifts:
//! the product is timed before, between and after the batches of the same run, the clock of the run stopped.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use midcourse_core::data;
use midcourse_core::engine::{BoxError, Continue, Forest, Grown, Growth, Sampling, TokenId, Tree, Usage};
use midcourse_core::eval::{self, EarlyStop, EvalSettings, Opener, PlannedSample, Set, Unit};
use midcourse_core::template::Mode;
use midcourse_engine::local::{LoadOptions, LocalModel};
use midcourse_engine::model::ModelConfig;

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

/// Candle's own f32 product over the model's shapes, for M = 64 … 1024 rows and both layouts of the weights.
struct Reference {
    /// (out, in, times a token passes it)
    shapes: Vec<(usize, usize, usize)>,
    /// Summed over measurements, by M and layout.
    cells: Vec<[Cell; 2]>,
}

#[derive(Clone, Copy, Default)]
struct Cell {
    flops: f64,
    secs: f64,
}

impl Reference {
    const BATCHES: [usize; 5] = [64, 128, 256, 512, 1024];

    fn new(config: &ModelConfig) -> Self {
        let layers = config.layer_shapes().map(|(n, k)| (n, k, config.layers.len()));
        let shapes = layers.into_iter().chain([(config.vocab, config.width, 1)]).collect();
        Self { shapes, cells: vec![[Cell::default(); 2]; Self::BATCHES.len()] }
    }

    /// Times every shape once, after a first run that is not counted.
    fn measure(&mut self) {
        for &(n, k, times) in &self.shapes {
            let Ok(weight) = Tensor::ones((n, k), DType::F32, &Device::Cpu).and_then(|w| w.t()) else {
                return;
            };
            let Ok(copied) = weight.contiguous() else { return };
            for (cells, m) in self.cells.iter_mut().zip(Self::BATCHES) {
                let Ok(x) = Tensor::ones((m, k), DType::F32, &Device::Cpu) else { return };
                for (cell, weight) in cells.iter_mut().zip([&weight, &copied]) {
                    let _ = x.matmul(weight);
                    let started = Instant::now();
                    let _ = x.matmul(weight);
                    cell.secs += started.elapsed().as_secs_f64() * times as f64;
                    cell.flops += 2.0 * (m * n * k * times) as f64;
                }
            }
        }
    }

    /// The rate of the best M and layout, in GFLOP/s.
    fn best_gflops(&self) -> f64 {
        self.cells.iter().flatten().map(|cell| cell.flops / cell.secs / 1e9).fold(0.0, f64::max)
    }
}

/// Resident memory of this process in MB; 0 where the system does not tell.
fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib * 1024.0 / 1e6)
}
