//! LoRA adapters merged into tiny models: the logits of PEFT, which keeps them apart, and what is refused.
//!
//! Source: `testdata/adapters.py`.

use std::path::{Path, PathBuf};

use midcourse_engine::Error;
use midcourse_engine::local::{DtypeChoice, LoadOptions, LocalModel};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::families::{GGUF, check_model};
use crate::fixtures::testdata;

/// Bound on the difference of logits of up to 8: that of the families, and as much again for merging, by which alone
/// PEFT's logits differ by up to 3.5e-5.
const MERGED: f32 = 2e-4;

fn with_adapter(dir: impl Into<PathBuf>) -> LoadOptions {
    LoadOptions { adapter: Some(dir.into()), ..LoadOptions::default() }
}

/// Of Llama, GGUF files keep the rows of q and k in another order; of GLM, rotary pairs stand next to
/// each other in both kinds of files; of Phi-3, projections are fused; of Qwen2, some are not adapted.
#[test]
fn merged_adapters_agree_with_peft() {
    let entries = std::fs::read_dir(testdata("adapters")).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in names {
        let golden = testdata(&format!("golden/adapters/{name}.safetensors"));
        let options = with_adapter(testdata("adapters").join(&name));
        check_model(&name, &options, (&golden, MERGED));
        check_model(&format!("{name}.gguf"), &options, (&golden, GGUF));
    }
}

/// An adapter's directory with another configuration and other tensors.
fn altered(name: &str, config: &Value, keep: impl Fn(&str) -> Option<String>) -> TempDir {
    let from = testdata("adapters").join(name);
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(from.join("adapter_config.json")).unwrap();
    let mut written: Value = serde_json::from_str(&text).unwrap();
    written.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    std::fs::write(dir.path().join("adapter_config.json"), written.to_string()).unwrap();
    let bytes = std::fs::read(from.join("adapter_model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let kept = tensors.tensors().into_iter().filter_map(|(name, view)| Some((keep(&name)?, view)));
    let bytes = safetensors::serialize(kept, None).unwrap();
    std::fs::write(dir.path().join("adapter_model.safetensors"), bytes).unwrap();
    dir
}

fn refused(adapter: &Path, dtype: DtypeChoice) -> Error {
    let options = LoadOptions { dtype, ..with_adapter(adapter) };
    LocalModel::load(&testdata("families/llama3.1"), "llama3.1", &options).unwrap_err()
}

#[test]
fn adapters_of_other_kinds_are_refused_by_name() {
    for (field, value) in [
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("modules_to_save", json!(["lm_head"])),
        ("peft_type", json!("IA3")),
        ("fan_in_fan_out", json!(true)),
        ("init_lora_weights", json!("pissa")),
        ("rank_pattern", json!({"q_proj": 2})),
        ("alpha_pattern", json!({"q_proj": 2})),
    ] {
        let dir = altered("llama3.1", &json!({field: value}), |name| Some(name.to_owned()));
        let error = refused(dir.path(), DtypeChoice::Auto);
        let named =
            matches!(&error, Error::Unsupported { what, .. } if what.contains(&format!("{field} is")));
        assert!(named, "{error}");
    }
    for (config, expected) in [
        (json!({"r": 0}), "r: expected 1 to 65536, found 0"),
        (json!({"r": 5}), "expected shape [64, 5], found [64, 4]"),
        (json!({"lora_alpha": "much"}), "lora_alpha: expected a number, found \"much\""),
        (json!({"use_rslora": 1}), "use_rslora: expected true or false, found 1"),
    ] {
        let dir = altered("llama3.1", &config, |name| Some(name.to_owned()));
        let error = refused(dir.path(), DtypeChoice::Auto).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn tensors_that_go_nowhere_or_are_missing_are_refused() {
    let renamed = |from: &'static str, to: &'static str| move |name: &str| Some(name.replace(from, to));
    let half = |name: &str| (!name.ends_with("0.self_attn.q_proj.lora_B.weight")).then(|| name.to_owned());
    for (dir, expected) in [
        (
            altered("llama3.1", &json!({}), renamed("gate_proj", "router")),
            "mlp.router.lora_A.weight, which adapts nothing",
        ),
        (altered("llama3.1", &json!({}), renamed("layers.2", "layers.9")), "layers.9"),
        (altered("llama3.1", &json!({}), half), "q_proj.lora_B.weight is missing"),
        (altered("llama3.1", &json!({}), |_| None), "expected tensors, found none"),
        (altered("phi3", &json!({}), |name| Some(name.to_owned())), "lora_"),
    ] {
        let error = refused(dir.path(), DtypeChoice::Auto).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error = refused(empty.path(), DtypeChoice::Auto).to_string();
    assert!(error.contains("expected adapter_config.json in the directory"), "{error}");
}

/// The tiny model has two layers of the shapes of these three.
#[test]
fn an_adapter_of_a_shallower_model_is_refused_unless_it_names_its_layers() {
    let tiny = testdata("tiny-llama-adapter");
    let error = refused(&tiny, DtypeChoice::Auto).to_string();
    assert!(error.contains("was made for tiny-llama and does not fit"), "{error}");
    assert!(
        error.contains("it has no tensor base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight")
    );
    let layers = json!({"layers_to_transform": [0, 1]});
    let two = |name: &str| (!name.contains("layers.2.")).then(|| name.to_owned());
    let dir = altered("llama3.1", &layers, two);
    let model = testdata("families/llama3.1");
    LocalModel::load(&model, "llama3.1", &with_adapter(dir.path())).unwrap();
}

#[test]
fn a_form_that_cannot_hold_the_sums_is_refused() {
    let adapter = testdata("adapters/llama3.1");
    for dtype in [DtypeChoice::Bf16, DtypeChoice::Quantized] {
        let error = refused(&adapter, dtype);
        assert!(
            matches!(&error, Error::Unsupported { what, .. } if what.starts_with("--adapter")),
            "{error}"
        );
    }
}
