//! What a form of the weights costs: `cargo xtask perf dtype` runs this once a form and prints what it measures
//! as JSON.
//!
//! Arguments: the model's GGUF file, the form (`f32`, `bf16` or `quantized`), a text. Memory is measured before
//! candle's own quantised product is timed on the same matrices, which reads them once more.

use std::error::Error;
use std::io::BufReader;
use std::path::Path;
use std::time::Instant;

use candle_core::quantized::{QMatMul, gguf_file};
use candle_core::{Device, Module, Tensor};
use midcourse_core::engine::{Continue, TokenId};
use midcourse_core::template::Tokenizer;
use midcourse_engine::local::{DtypeChoice, LoadOptions, LocalEngine, LocalModel};

/// Tokens computed at once, as in the batches of an evaluation.
const BATCHES: [usize; 4] = [2, 16, 64, 256];
/// Tokens whose probabilities are asked for at once.
const WINDOW: usize = 128;
/// Each time is the best of so many.
const N_TIMES: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, form, text] = arguments.as_slice() else { return Err("expected MODEL.gguf FORM TEXT".into()) };
    let dtype = match form.as_str() {
        "f32" => DtypeChoice::F32,
        "bf16" => DtypeChoice::Bf16,
        "quantized" => DtypeChoice::Quantized,
        other => return Err(format!("{other}: expected f32, bf16 or quantized").into()),
    };
    let started = Instant::now();
    let model = LocalModel::load(Path::new(path), "perf", &LoadOptions { dtype, ..LoadOptions::default() })?;
    let load_secs = started.elapsed().as_secs_f64();
    let tokens = model.tokenizer.encode(&std::fs::read_to_string(text)?, &[])?.ids;
    let perplexity = perplexity(&model.engine, &tokens)?;
    let forward = BATCHES.map(|n| best_secs(|| model.engine.next_tokens(&tokens[..n], 1).is_ok()));
    let peak_mb = peak_rss_mb();
    drop(model);
    let products = (dtype == DtypeChoice::Quantized).then(|| products(Path::new(path))).transpose()?;
    let measured = serde_json::json!({
        "dtype": form,
        "load_secs": load_secs,
        "peak_rss_mb": peak_mb,
        "perplexity": perplexity,
        "n_tokens": tokens.len(),
        "batches": BATCHES,
        "forward_secs": forward,
        "quantised_product_secs": products,
    });
    #[expect(clippy::print_stdout, reason = "this is the program's result")]
    {
        println!("{measured}");
    }
    Ok(())
}

/// Over the text in windows of tokens, each without what stands before it.
fn perplexity(engine: &LocalEngine, tokens: &[TokenId]) -> Result<f64, Box<dyn Error>> {
    let windows = tokens.chunks(WINDOW).filter(|window| window.len() > 1);
    let logps = windows.map(|window| engine.logps(window)).collect::<midcourse_engine::Result<Vec<_>>>()?;
    let logps = logps.concat();
    Ok((-logps.iter().sum::<f64>() / logps.len() as f64).exp())
}

/// Candle's quantised product with every matrix of the layers, for each batch.
fn products(path: &Path) -> Result<[f64; BATCHES.len()], Box<dyn Error>> {
    let mut reader = BufReader::new(std::fs::File::open(path)?);
    let content = gguf_file::Content::read(&mut reader)?;
    let mut matrices = Vec::new();
    for (name, info) in &content.tensor_infos {
        if name.starts_with("blk.") && info.shape.rank() == 2 {
            let matrix = content.tensor(&mut reader, name, &Device::Cpu)?;
            matrices.push((info.shape.dims()[1], QMatMul::from_qtensor(matrix)?));
        }
    }
    let inputs = |n: usize| {
        let inputs = matrices
            .iter()
            .map(|(width, _)| Tensor::ones((n, *width), candle_core::DType::F32, &Device::Cpu));
        inputs.collect::<candle_core::Result<Vec<_>>>()
    };
    let mut secs = [0.0; BATCHES.len()];
    for (secs, n) in secs.iter_mut().zip(BATCHES) {
        let inputs = inputs(n)?;
        let all = || matrices.iter().zip(&inputs).all(|((_, matrix), x)| matrix.forward(x).is_ok());
        *secs = best_secs(all);
    }
    Ok(secs)
}

fn best_secs(mut work: impl FnMut() -> bool) -> f64 {
    let once = |_| {
        let started = Instant::now();
        if work() { started.elapsed().as_secs_f64() } else { f64::NAN }
    };
    (0..=N_TIMES).map(once).skip(1).fold(f64::INFINITY, f64::min)
}

/// The most resident memory of this process so far, in MB; 0 where the system does not tell.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib * 1024.0 / 1e6)
}
