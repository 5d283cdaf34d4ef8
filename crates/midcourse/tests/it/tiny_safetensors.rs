//! The tiny model as a directory of safetensors that can be spoilt file by file.

use std::path::Path;

use serde_json::{Value, json};

use crate::tiny_model::{self as tiny, Weight};

/// A model directory before it is written.
#[derive(Debug, Clone)]
pub(crate) struct ModelDir {
    pub config: Value,
    pub tokenizer: Value,
    pub tokenizer_config: Value,
    pub weights: Vec<Weight>,
}

impl ModelDir {
    /// The tiny model.
    pub(crate) fn tiny() -> Self {
        let config = json!({
            "model_type": "llama", "hidden_act": "silu", "hidden_size": tiny::WIDTH,
            "intermediate_size": tiny::MLP_WIDTH, "num_hidden_layers": 1,
            "num_attention_heads": tiny::N_HEADS, "num_key_value_heads": tiny::N_KV_HEADS,
            "head_dim": tiny::HEAD_DIM, "vocab_size": tiny::vocabulary().len(),
            "max_position_embeddings": tiny::CONTEXT, "rope_theta": 10_000.0, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
        });
        let tokenizer_config = json!({
            "bos_token": "<|bos|>", "eos_token": "<|end|>", "chat_template": tiny::TEMPLATE,
        });
        Self { config, tokenizer: tokenizer(), tokenizer_config, weights: tiny::weights() }
    }

    /// Writes the directory's files.
    pub(crate) fn write(&self, dir: &Path) {
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
        write("config.json", self.config.to_string().as_bytes());
        write("tokenizer.json", self.tokenizer.to_string().as_bytes());
        write("tokenizer_config.json", self.tokenizer_config.to_string().as_bytes());
        write("model.safetensors", &safetensors(&header(&self.weights), &data(&self.weights)));
    }
}

/// A safetensors file: length of the header, header, data.
pub(crate) fn safetensors(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// The header that describes the weights.
pub(crate) fn header(weights: &[Weight]) -> Value {
    let mut at = 0;
    let entry = |weight: &Weight| {
        let from = at;
        at += 4 * weight.values.len();
        let entry = json!({"dtype": "F32", "shape": weight.shape, "data_offsets": [from, at]});
        (format!("{}.weight", weight.name), entry)
    };
    Value::Object(weights.iter().map(entry).collect())
}

/// The weights' bytes.
pub(crate) fn data(weights: &[Weight]) -> Vec<u8> {
    weights.iter().flat_map(|weight| &weight.values).flat_map(|x| x.to_le_bytes()).collect()
}

fn tokenizer() -> Value {
    let vocabulary = tiny::vocabulary();
    let ids: serde_json::Map<_, _> =
        vocabulary.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    let added = tiny::CONTROLS.map(|text| {
        json!({"id": tiny::id(text), "content": text, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false})
    });
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": ids, "merges": tiny::MERGES},
    })
}
