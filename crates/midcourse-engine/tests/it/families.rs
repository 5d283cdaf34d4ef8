//! The logits of a tiny seeded model of every family against those of transformers, at every position of three
//! texts, two of which are longer than the models' windows and first contexts.
//!
//! Source: `testdata/families.py`, which also says how the references were made and who else read the GGUF
//! files.

use std::path::{Path, PathBuf};

use midcourse_engine::local::{DtypeChoice, LoadOptions, LocalModel};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::fixtures::testdata;

/// Bounds on the difference of logits.
const SAFETENSORS: f32 = 1e-4;
pub(crate) const GGUF: f32 = 1e-3;

/// Models below `testdata/families`; every one has a directory, most have a GGUF file.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(testdata("families")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn safetensors_agree_with_transformers() {
    let directories: Vec<_> = names().into_iter().filter(|name| !name.contains(".gguf")).collect();
    assert!(directories.len() >= 18, "{directories:?}");
    for name in directories {
        check(&name, SAFETENSORS);
    }
}

#[test]
fn gguf_files_agree_with_transformers() {
    let files: Vec<_> = names().into_iter().filter(|name| name.contains(".gguf")).collect();
    assert!(files.len() >= 16, "{files:?}");
    for name in files {
        check(&name, GGUF);
    }
}

/// Weights kept as the file stores them give the logits of f32, bit for bit.
#[test]
fn stored_weights_give_the_same_bits() {
    for name in ["phi3-q8_0.gguf", "llama3.1-q4_0.gguf"] {
        let path = testdata("families").join(name);
        let tokens: Vec<u32> = (0..40).map(|i| i * 7 % 200).collect();
        let logits = |dtype| {
            let options = &LoadOptions { dtype, ..LoadOptions::default() };
            let engine = LocalModel::load(&path, name, options).unwrap().engine;
            engine.logits(&tokens).unwrap().to_vec2::<f32>().unwrap()
        };
        assert_eq!(logits(DtypeChoice::F32), logits(DtypeChoice::Quantized), "{name}");
        let (full, half) = (logits(DtypeChoice::F32), logits(DtypeChoice::Bf16));
        let differences = full.concat().into_iter().zip(half.concat()).map(|(a, b)| (a - b).abs());
        let most = differences.fold(0.0, f32::max);
        assert!(most > 0.0 && most < 0.5, "{name}: bf16 differs by {most}");
    }
}

/// A head in the file that is not the embedding counts, whatever `tie_word_embeddings` says, as in transformers.
#[test]
fn a_tied_head_of_its_own_counts() {
    let from = testdata("families/qwen2");
    let file = std::fs::read(from.join("model.safetensors")).unwrap();
    let whole = SafeTensors::deserialize(&file).unwrap();
    let embedding = whole.tensor("model.embed_tokens.weight").unwrap();
    let turned: Vec<u8> = embedding.data().chunks_exact(4).rev().flatten().copied().collect();
    let logits = |head: Option<&[u8]>, tied: bool| {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(from.join(name), dir.path().join(name)).unwrap();
        }
        let config = std::fs::read_to_string(from.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        config["tie_word_embeddings"] = tied.into();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let view = |data| TensorView::new(embedding.dtype(), embedding.shape().to_vec(), data).unwrap();
        let head = head.map(|data| ("lm_head.weight".to_owned(), view(data)));
        let bytes = safetensors::serialize(whole.tensors().into_iter().chain(head), None).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let model = LocalModel::load(dir.path(), "qwen2", &LoadOptions::default()).unwrap();
        model.engine.logits(&[1, 2, 3]).unwrap().to_vec2::<f32>().unwrap()
    };
    let tied = logits(None, true);
    assert_eq!(logits(Some(embedding.data()), true), tied);
    assert_eq!(logits(Some(&turned), true), logits(Some(&turned), false));
    assert_ne!(logits(Some(&turned), true), tied);
}

fn check(name: &str, bound: f32) {
    check_model(name, &LoadOptions::default(), (&golden_of(name), bound));
}

/// Holds a model's logits to a golden.
pub(crate) fn check_model(name: &str, options: &LoadOptions, (golden, bound): (&Path, f32)) {
    let model = LocalModel::load(&testdata("families").join(name), name, options).unwrap();
    let golden = std::fs::read(golden).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let columns = integers(&golden, "columns");
    for text in 0..3 {
        let ids: Vec<u32> =
            integers(&golden, &format!("ids.{text}")).into_iter().map(|id| id as u32).collect();
        let logits = model.engine.logits(&ids).unwrap().to_vec2::<f32>().unwrap();
        let expected = floats(&golden, &format!("logits.{text}"));
        let sums = floats(&golden, &format!("logsumexp.{text}"));
        assert_eq!((logits.len(), expected.len()), (ids.len(), ids.len() * columns.len()));
        let rows = logits.iter().zip(expected.chunks_exact(columns.len())).zip(&sums);
        for (position, ((row, expected), sum)) in rows.enumerate() {
            let found = columns.iter().map(|&column| row[column as usize]);
            let most = found.zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let most = most.max((log_sum_exp(row) - sum).abs());
            let place = format!("{name}: text {text}, position {position}");
            assert!(most < bound, "{place}: differs by {most:e}, more than {bound:e}");
        }
    }
}

/// A GGUF file that does not say all that its model's `config.json` does has numbers of its own.
fn golden_of(name: &str) -> PathBuf {
    let path = |name: &str| testdata("golden/families").join(format!("{name}.safetensors"));
    let own = path(name);
    if own.exists() { own } else { path(name.strip_suffix(".gguf").unwrap_or(name)) }
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|x| f64::from(x - most).exp()).sum();
    (sum.ln() + f64::from(most)) as f32
}

fn integers(golden: &SafeTensors<'_>, name: &str) -> Vec<i64> {
    let bytes = golden.tensor(name).unwrap().data().to_vec();
    bytes.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn floats(golden: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = golden.tensor(name).unwrap().data().to_vec();
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}
