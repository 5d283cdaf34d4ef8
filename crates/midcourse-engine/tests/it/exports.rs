//! What is exported, read back: merged models give the logits of PEFT, and GGUF adapters say what they should.
//!
//! Sources: `testdata/adapters.py` and `testdata/exports.py`; `llama-adapter.cpp` of llama.cpp for what it multiplies.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use midcourse_engine::local::{LoadOptions, LocalModel};
use midcourse_engine::weights::export::{GgufAdapter, MergedModel, OutFile, Precision};
use midcourse_engine::weights::peft::{self, AdapterSpec};
use midcourse_engine::{Error, weights};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::families::{GGUF, check_model};
use crate::fixtures::testdata;

/// As of adapters that are merged when a model is loaded.
const MERGED: f32 = 2e-4;
const ADAPTERS: [&str; 4] = ["glm4", "llama3.1", "phi3", "qwen2"];

/// Writes a file and holds its length to what was said before.
fn write(path: &Path, file: OutFile<'_>) {
    let bytes: Vec<u8> = file.pieces.map(Result::unwrap).collect::<Vec<_>>().concat();
    assert_eq!(bytes.len() as u64, file.n_bytes, "{}", file.name);
    std::fs::write(path, bytes).unwrap();
}

/// A merged model in a directory of its own, and its path there.
fn merged(model: &Path, adapter: &Path, precision: Precision) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let model = MergedModel::open(model, adapter).unwrap();
    let files = model.out(precision).unwrap();
    let path = if let [only] = &files[..] { dir.path().join(&only.name) } else { dir.path().to_owned() };
    for file in files {
        write(&dir.path().join(&file.name), file);
    }
    (dir, path)
}

fn family(name: &str) -> PathBuf {
    testdata("families").join(name)
}

#[test]
fn merged_models_have_the_logits_of_peft() {
    for name in ADAPTERS {
        let (golden, adapter) =
            (testdata(&format!("golden/adapters/{name}.safetensors")), testdata("adapters").join(name));
        for (model, bound) in [(name.to_owned(), MERGED), (format!("{name}.gguf"), GGUF)] {
            let (_dir, path) = merged(&family(&model), &adapter, Precision::F32);
            check_model(path.to_str().unwrap(), &LoadOptions::default(), (&golden, bound));
        }
    }
}

/// The adapter of the tiny model is this crate's own; its golden is what PEFT makes of it.
#[test]
fn an_adapter_that_was_written_here_has_the_logits_of_peft() {
    let (golden, adapter) =
        (testdata("golden/tiny-llama-adapter.safetensors"), testdata("tiny-llama-adapter"));
    let options = LoadOptions { adapter: Some(adapter.clone()), ..LoadOptions::default() };
    for model in ["tiny-llama", "tiny-llama.gguf"] {
        let model = testdata(model);
        check_model(model.to_str().unwrap(), &options, (&golden, MERGED));
        let (_dir, path) = merged(&model, &adapter, Precision::F32);
        check_model(path.to_str().unwrap(), &LoadOptions::default(), (&golden, MERGED));
    }
}

/// Run with `UPDATE_EXPECT=1` it writes the adapter, of which `testdata/exports.py` makes the golden.
#[test]
fn the_adapter_of_the_tiny_model_is_written_as_it_lies_there() {
    const RANK: usize = 4;
    let modules = [
        ("self_attn.q_proj", 64, 64),
        ("self_attn.k_proj", 32, 64),
        ("self_attn.v_proj", 32, 64),
        ("self_attn.o_proj", 64, 64),
        ("mlp.gate_proj", 96, 64),
        ("mlp.up_proj", 96, 64),
        ("mlp.down_proj", 64, 96),
    ];
    // Knuth's multiplier: the values need no more than to differ.
    let mut state = 1u32;
    let mut drawn = |n: usize| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(2_654_435_761).wrapping_add(12_345);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..n).map(|_| next() * 0.6).collect()
    };
    let mut tensors = Vec::new();
    for layer in 0..2 {
        for (module, n_out, n_in) in modules {
            let name = |side: &str| format!("base_model.model.model.layers.{layer}.{module}.{side}.weight");
            tensors.push((name("lora_A"), [RANK, n_in], drawn(RANK * n_in)));
            tensors.push((name("lora_B"), [n_out, RANK], drawn(n_out * RANK)));
        }
    }
    let target_modules = modules.map(|(name, ..)| name.split('.').next_back().unwrap().to_owned()).to_vec();
    let spec = AdapterSpec { base_name: "tiny-llama".into(), rank: RANK, alpha: 6.0, target_modules };
    let lent = tensors.iter().map(|(name, shape, values)| (name.as_str(), *shape, values.as_slice()));
    let dir = testdata("tiny-llama-adapter");
    for (name, bytes) in [
        (peft::CONFIG, peft::config_json(&spec).into_bytes()),
        (peft::WEIGHTS, peft::safetensors_bytes(lent).unwrap()),
    ] {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(name), &bytes).unwrap();
        }
        assert!(std::fs::read(dir.join(name)).unwrap() == bytes, "{name} differs");
    }
}

fn read_gguf(path: &Path) -> (Content, File) {
    let mut file = File::open(path).unwrap();
    (Content::read(&mut file).unwrap(), file)
}

/// Metadata as text, in no order.
fn metadata(content: &Content) -> BTreeMap<String, String> {
    content.metadata.iter().map(|(key, value)| (key.clone(), format!("{value:?}"))).collect()
}

fn matrix(path: &Path, name: &str) -> Tensor {
    let (content, mut file) = read_gguf(path);
    content.tensor(&mut file, name, &Device::Cpu).unwrap().dequantize(&Device::Cpu).unwrap()
}

#[test]
fn a_merged_gguf_file_says_what_its_base_said() {
    let (base, adapter) = (family("llama3.1-q4_0.gguf"), testdata("adapters/llama3.1"));
    let (before, _) = read_gguf(&base);
    // Numbers of file types: `enum llama_ftype` of llama.cpp.
    for (precision, matrix, file_type) in [
        (Precision::F32, GgmlDType::F32, 0),
        (Precision::F16, GgmlDType::F16, 1),
        (Precision::Bf16, GgmlDType::BF16, 32),
    ] {
        let (_dir, path) = merged(&base, &adapter, precision);
        let (after, _) = read_gguf(&path);
        let [mut one, mut other] = [&before, &after].map(metadata);
        assert_eq!(one.remove("general.file_type").unwrap(), "U32(2)");
        assert_eq!(other.remove("general.file_type").unwrap(), format!("U32({file_type})"));
        assert_eq!(one, other);
        assert_eq!(before.tensor_infos.len(), after.tensor_infos.len());
        for (name, info) in &after.tensor_infos {
            assert_eq!(info.shape, before.tensor_infos[name].shape, "{name}");
            let expected = if info.shape.rank() == 2 { matrix } else { GgmlDType::F32 };
            assert_eq!(info.ggml_dtype, expected, "{name}");
        }
        LocalModel::load(&path, "merged", &LoadOptions::default()).unwrap();
    }
}

#[test]
fn what_is_not_adapted_stays_quantised_where_that_is_asked_for() {
    let (base, adapter) = (family("llama3.1-q4_0.gguf"), testdata("adapters/llama3.1"));
    let (_dir, path) = merged(&base, &adapter, Precision::Stored);
    let ([before, after], [mut old, mut new]) = {
        let [(a, a_file), (b, b_file)] = [&base, &path].map(|path| read_gguf(path));
        ([a, b], [a_file, b_file])
    };
    assert_eq!(metadata(&before), metadata(&after));
    let mut n_adapted = 0;
    for (name, info) in &before.tensor_infos {
        let found = after.tensor_infos[name].ggml_dtype;
        if name.starts_with("blk.") && info.shape.rank() == 2 {
            assert_eq!(found, GgmlDType::F32, "{name}");
            n_adapted += 1;
            continue;
        }
        assert_eq!(found, info.ggml_dtype, "{name}");
        let [a, b] = [(&before, &mut old), (&after, &mut new)].map(|(content, file)| {
            content.tensor(file, name, &Device::Cpu).unwrap().data().unwrap().into_owned()
        });
        assert!(a == b, "{name}");
    }
    assert!(n_adapted > 0);
    // The same sums as when the adapter is merged at loading.
    let [one, other] = [
        (&base, LoadOptions { adapter: Some(adapter), ..LoadOptions::default() }),
        (&path, LoadOptions::default()),
    ]
    .map(|(path, options)| {
        let engine = LocalModel::load(path, "m", &options).unwrap().engine;
        engine.logits(&[5, 6, 7, 8]).unwrap().to_vec2::<f32>().unwrap()
    });
    assert_eq!(one, other);
}

#[test]
fn a_merged_directory_keeps_shards_types_and_what_lies_beside() {
    let (base, adapter) = (family("llama3.1"), testdata("adapters/llama3.1"));
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let json = |path: PathBuf| -> Json { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    for (precision, dtype) in [(Precision::Stored, None), (Precision::F16, Some("float16"))] {
        let (dir, _) = merged(&base, &adapter, precision);
        assert_eq!(names(dir.path()), names(&base));
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            let same =
                std::fs::read(dir.path().join(name)).unwrap() == std::fs::read(base.join(name)).unwrap();
            assert!(same, "{name}");
        }
        let [before, after] = [&base, dir.path()].map(|dir| json(dir.join("config.json")));
        match dtype {
            None => assert_eq!(before, after),
            Some(dtype) => {
                let field = if before.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
                assert_eq!(after[field], dtype);
            }
        }
        if base.join("model.safetensors.index.json").exists() {
            let [before, after] =
                [&base, dir.path()].map(|dir| json(dir.join("model.safetensors.index.json")));
            assert_eq!(before["weight_map"], after["weight_map"]);
        }
        LocalModel::load(dir.path(), "merged", &LoadOptions::default()).unwrap();
    }
}

/// The stored matrix and α/R·B·A of the adapter's file make the merged matrix, as llama.cpp multiplies.
#[test]
fn a_gguf_adapter_adds_what_merging_adds() {
    for name in ADAPTERS {
        let (base, adapter) = (family(&format!("{name}.gguf")), testdata("adapters").join(name));
        let (_dir, whole) = merged(&base, &adapter, Precision::F32);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adapter.gguf");
        let opened = GgufAdapter::open(&base, &adapter).unwrap();
        write(&path, opened.out(Precision::F32).unwrap());
        let (content, _) = read_gguf(&path);
        let (of_base, _) = read_gguf(&base);
        let text = |key: &str| content.metadata[key].to_string().unwrap().clone();
        assert_eq!((text("general.type"), text("adapter.type")), ("adapter".into(), "lora".into()));
        assert_eq!(
            &text("general.architecture"),
            of_base.metadata["general.architecture"].to_string().unwrap()
        );
        let Value::F32(alpha) = content.metadata["adapter.lora.alpha"] else { panic!("{name}: no alpha") };
        let adapted: Vec<&str> =
            content.tensor_infos.keys().filter_map(|name| name.strip_suffix(".lora_a")).collect();
        assert_eq!(2 * adapted.len(), content.tensor_infos.len());
        for tensor in adapted {
            let [a, b] = ["lora_a", "lora_b"].map(|side| matrix(&path, &format!("{tensor}.{side}")));
            let scale = f64::from(alpha) / a.dim(0).unwrap() as f64;
            let added = (b.matmul(&a).unwrap() * scale).unwrap();
            let sum = (matrix(&base, tensor) + added).unwrap();
            let difference = (sum - matrix(&whole, tensor)).unwrap().abs().unwrap();
            let most: f32 = difference.flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap();
            assert!(most < 1e-6, "{name}: {tensor} differs by {most}");
        }
    }
}

#[test]
fn a_gguf_adapter_of_a_directory_is_that_of_its_gguf_file() {
    let bytes = |model: &str| {
        let opened = GgufAdapter::open(&family(model), &testdata("adapters/llama3.1")).unwrap();
        let file = opened.out(Precision::F16).unwrap();
        file.pieces.map(Result::unwrap).collect::<Vec<_>>().concat()
    };
    assert!(bytes("llama3.1") == bytes("llama3.1.gguf"));
}

#[test]
fn an_adapter_for_another_model_is_refused_before_anything_is_made_and_both_are_named() {
    for (model, adapter) in [("qwen2", "llama3.1"), ("llama3.1.gguf", "phi3"), ("phi3", "glm4")] {
        let adapter_dir = testdata("adapters").join(adapter);
        let error = MergedModel::open(&family(model), &adapter_dir).unwrap_err();
        assert!(matches!(error, Error::ForeignAdapter { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("was made for {adapter} and does not fit")), "{text}");
        assert!(text.contains(&format!("families/{model}:")), "{text}");
        assert!(GgufAdapter::open(&family(model), &adapter_dir).is_err());
    }
    let error = GgufAdapter::open(&family("mistral"), &testdata("adapters/llama3.1")).unwrap_err();
    assert!(matches!(error, Error::ForeignAdapter { .. } | Error::Unsupported { .. }), "{error}");
    assert!(weights::ModelFiles::open(&testdata("tiny-llama-adapter")).is_err());
}
