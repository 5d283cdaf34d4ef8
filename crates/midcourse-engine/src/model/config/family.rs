//! The families of decoders, a row of data each.
//!
//! What a family does without saying so in its files stands here; what a model says of itself is read by
//! [`super::json`] and [`super::gguf`]. A family that is not in the table is refused by name.

use super::{Activation, Fused};

/// What the models of a family have in common.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// The name people know.
    pub name: &'static str,
    /// `model_type` in `config.json`.
    pub(super) model_types: &'static [&'static str],
    /// `general.architecture` in GGUF; none when the format has no such architecture.
    pub(super) architecture: Option<&'static str>,
    /// The values that transformers takes for fields that a `config.json` leaves out, as a JSON object.
    pub(super) defaults: &'static str,
    /// Which projections are kept in one matrix.
    pub(super) fused: Fused,
    /// Which projections of the attention have a bias, when `attention_bias` does not say.
    pub(super) bias: Bias,
    /// Whether queries and keys are normed, head by head.
    pub(super) qk_norm: bool,
    /// The norms of a block.
    pub(crate) norms: BlockNorms,
    /// Whether a `config.json` model keeps its norms' weights without the 1 that is added to them.
    pub(super) norm_from_one: bool,
    /// The gate's activation, when `hidden_act` does not say.
    pub(super) activation: Activation,
    /// Whether embeddings are multiplied by √width.
    pub(super) scaled_embedding: bool,
    /// Which files keep the two halves of a rotary pair next to each other.
    pub(super) interleaved: Interleaved,
    /// Which layers see a window only, when `layer_types` does not say.
    pub(super) windows: Windows,
    /// Base of the rotary embedding that layers with a window have for themselves.
    pub(super) local_rope_base: Option<f64>,
}

impl Family {
    /// Whether checkpoints keep the two halves of a rotary pair next to each other.
    pub(crate) fn joins_pairs_in_checkpoints(&self) -> bool {
        self.interleaved == Interleaved::Always
    }

    /// Whether GGUF files do.
    pub(crate) fn joins_pairs_in_gguf(&self) -> bool {
        self.interleaved != Interleaved::Never
    }

    /// What GGUF calls the family's architecture; none when the format has no such one.
    pub fn architecture(&self) -> Option<&'static str> {
        self.architecture
    }
}

/// Which projections of the attention have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    /// None, whatever the configuration says.
    Never,
    /// q, k and v, but not the output.
    Qkv,
    /// As `attention_bias` says: all four or none.
    Configured,
    /// As `attention_bias` says: q, k and v or none.
    ConfiguredQkv,
}

/// Where a block norms, and what safetensors files call the norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockNorms {
    /// Before attention and before the gated unit.
    Before,
    /// Before and after both, under the names of Gemma 2.
    AroundGemma,
    /// Before and after both, under the names of GLM-4-0414.
    AroundGlm,
}

/// Which files keep the two halves of a rotary pair next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleaved {
    Never,
    /// GGUF only: the converter permutes q and k.
    Gguf,
    Always,
}

/// Which layers see a window only, where the model has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Windows {
    None,
    /// All, whatever `layer_types` says.
    All,
    /// With `use_sliding_window`, those from `max_window_layers` on.
    FromLayer,
    /// With `use_sliding_window`, those without rotary embedding.
    WithoutRotary,
    /// All but every n-th, by `sliding_window_pattern` or this number.
    AllButEvery(usize),
}

/// A family with nothing out of the ordinary.
const PLAIN: Family = Family {
    name: "",
    model_types: &[],
    architecture: None,
    defaults: "{}",
    fused: Fused { qkv: false, gate_up: false },
    bias: Bias::Never,
    qk_norm: false,
    norms: BlockNorms::Before,
    norm_from_one: false,
    activation: Activation::Silu,
    scaled_embedding: false,
    interleaved: Interleaved::Never,
    windows: Windows::None,
    local_rope_base: None,
};

const GEMMA: Family = Family {
    name: "Gemma",
    model_types: &["gemma"],
    architecture: Some("gemma"),
    defaults: r#"{"head_dim": 256, "tie_word_embeddings": true}"#,
    bias: Bias::Configured,
    norm_from_one: true,
    activation: Activation::GeluTanh,
    scaled_embedding: true,
    ..PLAIN
};

const GLM: Family = Family {
    name: "GLM",
    model_types: &["glm"],
    architecture: Some("chatglm"),
    defaults: r#"{"head_dim": 128, "num_key_value_heads": 2, "attention_bias": true, "partial_rotary_factor": 0.5, "rms_norm_eps": 1.5625e-7}"#,
    fused: Fused { qkv: false, gate_up: true },
    bias: Bias::ConfiguredQkv,
    interleaved: Interleaved::Always,
    ..PLAIN
};

/// Every family that runs embedded.
///
/// # Source
/// The configuration and modelling files of transformers 5.23; for GGUF, `convert_hf_to_gguf.py` and
/// `llama-model.cpp` of llama.cpp.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "Llama",
        model_types: &["llama"],
        architecture: Some("llama"),
        bias: Bias::Configured,
        interleaved: Interleaved::Gguf,
        ..PLAIN
    },
    Family {
        name: "Mistral",
        model_types: &["mistral"],
        defaults: r#"{"sliding_window": 4096}"#,
        windows: Windows::All,
        ..PLAIN
    },
    Family {
        name: "Qwen2",
        model_types: &["qwen2"],
        architecture: Some("qwen2"),
        defaults: r#"{"sliding_window": 4096}"#,
        bias: Bias::Qkv,
        windows: Windows::FromLayer,
        ..PLAIN
    },
    Family {
        name: "Qwen3",
        model_types: &["qwen3"],
        architecture: Some("qwen3"),
        defaults: r#"{"head_dim": 128, "sliding_window": 4096}"#,
        bias: Bias::Configured,
        qk_norm: true,
        windows: Windows::FromLayer,
        ..PLAIN
    },
    Family {
        name: "Phi-3",
        model_types: &["phi3"],
        architecture: Some("phi3"),
        defaults: r#"{"rms_norm_eps": 1e-5, "original_max_position_embeddings": 4096}"#,
        fused: Fused { qkv: true, gate_up: true },
        windows: Windows::All,
        ..PLAIN
    },
    GLM,
    Family {
        name: "GLM-4-0414",
        model_types: &["glm4"],
        architecture: Some("glm4"),
        norms: BlockNorms::AroundGlm,
        ..GLM
    },
    GEMMA,
    Family {
        name: "Gemma 2",
        model_types: &["gemma2"],
        architecture: Some("gemma2"),
        defaults: r#"{"head_dim": 256, "tie_word_embeddings": true, "query_pre_attn_scalar": 256, "sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}"#,
        norms: BlockNorms::AroundGemma,
        windows: Windows::AllButEvery(2),
        ..GEMMA
    },
    Family {
        name: "Gemma 3",
        model_types: &["gemma3_text", "gemma3"],
        architecture: Some("gemma3"),
        defaults: r#"{"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072, "tie_word_embeddings": true, "query_pre_attn_scalar": 256, "sliding_window": 4096, "rope_theta": 1000000.0}"#,
        norms: BlockNorms::AroundGemma,
        qk_norm: true,
        windows: Windows::AllButEvery(6),
        local_rope_base: Some(10_000.0),
        ..GEMMA
    },
    Family {
        name: "SmolLM3",
        model_types: &["smollm3"],
        architecture: Some("smollm3"),
        defaults: r#"{"num_key_value_heads": 4, "tie_word_embeddings": true, "no_rope_layer_interval": 4, "rope_theta": 2000000.0}"#,
        bias: Bias::Configured,
        interleaved: Interleaved::Gguf,
        windows: Windows::WithoutRotary,
        ..PLAIN
    },
];

/// What to do with models that people bring and this engine does not run, by `model_type`.
pub(super) fn hint(model_type: &str) -> String {
    let advice = match model_type {
        "chatglm" => "it needs code that comes with the model; take the \"-hf\" weights (GlmForCausalLM)",
        "phi3small" => "its block-sparse attention runs behind an endpoint only",
        "phimoe" | "mixtral" | "qwen2_moe" | "qwen3_moe" | "gpt_oss" | "deepseek_v3" => {
            "mixtures of experts run behind an endpoint only"
        }
        _ => "such a model runs behind an endpoint only",
    };
    let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    format!("{advice}; embedded run {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_objects_and_names_are_no_other_familys() {
        let mut names = std::collections::BTreeSet::new();
        for family in FAMILIES {
            let defaults: serde_json::Value = serde_json::from_str(family.defaults).unwrap();
            assert!(defaults.is_object(), "{}: {}", family.name, family.defaults);
            let types = family.model_types.iter().map(|name| ("config.json", *name));
            let all = types.chain(family.architecture.map(|name| ("GGUF", name)));
            all.for_each(|name| assert!(names.insert(name), "{name:?} stands twice"));
        }
    }
}
