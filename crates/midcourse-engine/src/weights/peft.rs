//! Adapters as PEFT saves them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! This module makes the bytes of both; writing them, and what else lies beside them, is the caller's. Names and the
//! order of rows are the caller's too. Reading adapters is the loaders' of this crate.
//!
//! Source: `LoraConfig.save_pretrained` and `save_peft_model_weights` of peft 0.21.2.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::{Error, Result};

/// Name of the configuration.
pub const CONFIG: &str = "adapter_config.json";
/// Name of the weights.
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// The release whose fields are written.
const VERSION: &str = "0.21.2";

/// What an adapter's configuration says: plain low-rank matrices on projections, without bias and dropout.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSpec {
    /// The model that it was made for: a path, or a name on a hub.
    pub base_name: String,
    /// R.
    pub rank: usize,
    /// α of the scale α/R.
    pub alpha: f64,
    /// The projections that are adapted, as PEFT names them: `q_proj`, …; written in alphabetical order.
    pub target_modules: Vec<String>,
}

/// `adapter_config.json`: every field that PEFT writes, in its order.
pub fn config_json(spec: &AdapterSpec) -> String {
    let mut targets = spec.target_modules.clone();
    targets.sort_unstable();
    targets.dedup();
    let config = json!({
        "alora_invocation_tokens": null,
        "alpha_pattern": {},
        "arrow_config": null,
        "auto_mapping": null,
        "base_model_name_or_path": spec.base_name,
        "bias": "none",
        "corda_config": null,
        "ensure_weight_tying": false,
        "eva_config": null,
        "exclude_modules": null,
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "kasa_config": null,
        "layer_replication": null,
        "layers_pattern": null,
        "layers_to_transform": null,
        "loftq_config": {},
        "lora_alpha": whole_where_it_is(spec.alpha),
        "lora_bias": false,
        "lora_dropout": 0.0,
        "lora_ga_config": null,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "modules_to_save": null,
        "monteclora_config": null,
        "peft_type": "LORA",
        "peft_version": VERSION,
        "qalora_group_size": 16,
        "r": spec.rank,
        "rank_pattern": {},
        "revision": null,
        "target_modules": targets,
        "target_parameters": null,
        "task_type": "CAUSAL_LM",
        "trainable_token_indices": null,
        "use_bdlora": null,
        "use_dora": false,
        "use_qalora": false,
        "use_rslora": false,
        "velora_config": null,
    });
    format!("{config:#}\n")
}

/// PEFT declares α a whole number, which most are.
fn whole_where_it_is(alpha: f64) -> Value {
    // Below 2⁵³ every whole f64 is that whole number.
    if alpha.fract() == 0.0 && alpha.abs() < 9e15 { json!(alpha as i64) } else { json!(alpha) }
}

/// `adapter_model.safetensors` of matrices in f32, by name.
///
/// # Shapes
/// Of `lora_A` (R, in), of `lora_B` (out, R), row by row.
///
/// # Errors
/// [`Error::Tensor`] when the values of a matrix do not fill its shape.
pub fn safetensors_bytes<'a>(
    tensors: impl IntoIterator<Item = (&'a str, [usize; 2], &'a [f32])>,
) -> Result<Vec<u8>> {
    let bytes = |(name, shape, values): (&'a str, [usize; 2], &[f32])| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name, shape, bytes)
    };
    let tensors: Vec<_> = tensors.into_iter().map(bytes).collect();
    let wrong = |e: safetensors::SafeTensorError| Error::Tensor(candle_core::Error::Msg(e.to_string()));
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, bytes) in &tensors {
        let view = TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).map_err(wrong)?;
        views.push((*name, view));
    }
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(format)).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Adapter;
    use super::super::names::{Part, Slot};
    use super::super::{ModelFiles, RawTensor, Side};
    use super::*;

    /// PEFT wrote `testdata/adapters/llama3.1`, with keys in alphabetical order.
    #[test]
    fn the_configuration_is_that_of_peft() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/adapters/llama3.1").join(CONFIG);
        let modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        let target_modules = modules.map(str::to_owned).to_vec();
        let spec = AdapterSpec { base_name: "llama3.1".into(), rank: 4, alpha: 6.0, target_modules };
        assert_eq!(config_json(&spec), std::fs::read_to_string(path).unwrap());
        assert!(config_json(&AdapterSpec { alpha: 0.5, ..spec }).contains("\"lora_alpha\": 0.5,"));
    }

    #[test]
    fn what_is_written_is_opened_and_merged_again() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama.gguf");
        let files = ModelFiles::open(&path).unwrap();
        let config = files.config().unwrap();
        let layout = files.adapter_layout(&config).unwrap();
        let slots = [0, 1].map(|layer| Slot::Block(layer, Part::Down));
        let (n_out, n_in) = (config.width, config.mlp_width);
        // A picks the inputs 0 and 1; B adds 3 of them to the outputs 0 and 1.
        let eye = |rows: usize, columns: usize| -> Vec<f32> {
            (0..rows * columns).map(|i| f32::from(u8::from(i / columns == i % columns))).collect()
        };
        let (a, b) = (eye(2, n_in), eye(n_out, 2));
        let named = slots.map(|slot| [Side::A, Side::B].map(|side| layout.name(slot, side)));
        let tensors = named.iter().flat_map(|[name_a, name_b]| {
            [(name_a.as_str(), [2, n_in], &a[..]), (name_b.as_str(), [n_out, 2], &b[..])]
        });
        let dir = tempfile::tempdir().unwrap();
        let target_modules = vec!["down_proj".into()];
        let spec = AdapterSpec { base_name: "tiny".into(), rank: 2, alpha: 6.0, target_modules };
        std::fs::write(dir.path().join(CONFIG), config_json(&spec)).unwrap();
        std::fs::write(dir.path().join(WEIGHTS), safetensors_bytes(tensors).unwrap()).unwrap();
        let adapter = Adapter::open(dir.path()).unwrap();
        let mut merging = files.merging(&adapter, &config).unwrap();
        let zeros = RawTensor::of_f32(&vec![0.0; n_out * n_in], [n_out, n_in]);
        let mut expected = vec![0.0; n_out * n_in];
        (expected[0], expected[n_in + 1]) = (3.0, 3.0);
        for slot in slots {
            let merged = merging.merge(slot, zeros.clone()).unwrap().to_f32().unwrap();
            assert!(merged == expected, "{merged:?}");
        }
        merging.finish().unwrap();
    }

    #[test]
    fn values_that_do_not_fill_a_shape_are_refused() {
        let error = safetensors_bytes([("a", [2, 3], &[0.0f32; 5][..])]).unwrap_err();
        assert!(matches!(error, Error::Tensor(_)), "{error}");
    }
}
