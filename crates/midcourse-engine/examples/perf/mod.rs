//! What the timed programs share: candle's own rate at a model's shapes, and the memory of a process.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use midcourse_engine::model::ModelConfig;

/// Candle's own f32 product over the model's shapes, for M = 64 … 1024 rows and both layouts of the weights.
pub(crate) struct Reference {
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

    pub(crate) fn new(config: &ModelConfig) -> Self {
        let layers = config.layer_shapes().map(|(n, k)| (n, k, config.layers.len()));
        let shapes = layers.into_iter().chain([(config.vocab, config.width, 1)]).collect();
        Self { shapes, cells: vec![[Cell::default(); 2]; Self::BATCHES.len()] }
    }

    /// Times every shape once, after a first run that is not counted.
    pub(crate) fn measure(&mut self) {
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
    pub(crate) fn best_gflops(&self) -> f64 {
        self.cells.iter().flatten().map(|cell| cell.flops / cell.secs / 1e9).fold(0.0, f64::max)
    }
}

/// Resident memory of this process in MB; 0 where the system does not tell.
pub(crate) fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib * 1024.0 / 1e6)
}
