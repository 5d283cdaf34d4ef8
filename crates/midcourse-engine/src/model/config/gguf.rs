//! A decoder from the metadata of a GGUF file.
//!
//! Source: the GGUF specification in ggml's repository; what a key leaves open, as `llama-model.cpp` and
//! `convert_hf_to_gguf.py` of llama.cpp have it.

use super::family::{FAMILIES, Interleaved, Windows, hint};
use super::{
    Biases, Family, Fused, LayerConfig, ModelConfig, TiedHead, cap, checked_layers, inverse_root, unsupported,
};
use crate::model::rotary::{Rotary, Scaling, longrope_attention_factor, yarn_attention_factor};
use crate::weights::gguf::GgufFile;
use crate::weights::metadata::Metadata;
use crate::{Error, Result};

/// What GGUF calls the fields of [`ModelConfig`], in their order in [`ModelConfig::checked`].
const NAMES: [&str; super::N_FIELDS] = [
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    VOCAB,
    "context_length",
    "attention.layer_norm_rms_epsilon",
];

/// What gives the size of the vocabulary; no key does.
const VOCAB: &str = "rows of token_embd.weight";

/// Every how many layers one of `SmolLM3` has no rotary embedding.
const ROTARY_INTERVAL: usize = 4;
/// Layers of the Gemma models of 27 billion parameters, whose scores have another scale.
const GEMMA_27B: [(&str, usize); 2] = [("gemma2", 46), ("gemma3", 62)];

impl ModelConfig {
    /// Reads the metadata of a GGUF file.
    pub fn from_gguf(file: &GgufFile) -> Result<Self> {
        let keys = Keys::of(file)?;
        let family = keys.family;
        let (width, n_heads) = (keys.number("embedding_length")?, keys.number("attention.head_count")?);
        let head_dim = keys.optional_number("attention.key_length")?.unwrap_or(width / n_heads.max(1));
        let rotaries = keys.rotaries(head_dim)?;
        let layers = keys.layers(rotaries.len())?;
        let has = |tensor: &str| file.index.shape(tensor).is_some();
        let vocab = file.index.shape("token_embd.weight").and_then(|shape| shape.first().copied());
        Self {
            family,
            width,
            mlp_width: keys.number("feed_forward_length")?,
            n_heads,
            n_kv_heads: keys.optional_number("attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim,
            vocab: vocab.unwrap_or(0),
            context: keys.number("context_length")?,
            norm_eps: keys.meta.float(&keys.name("attention.layer_norm_rms_epsilon"))?,
            norm_offset: 0.0,
            qk_norm: family.qk_norm,
            biases: Biases {
                qkv: has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias"),
                output: has("blk.0.attn_output.bias"),
                mlp: has("blk.0.ffn_down.bias"),
            },
            fused: Fused {
                qkv: has("blk.0.attn_qkv.weight"),
                gate_up: family.fused.gate_up && !has("blk.0.ffn_gate.weight"),
            },
            activation: family.activation,
            embedding_scale: if family.scaled_embedding { (width as f32).sqrt() } else { 1.0 },
            score_scale: match keys.float("attention.scale")? {
                Some(scale) => scale as f32,
                None if GEMMA_27B.contains(&(keys.architecture, layers.len())) => {
                    inverse_root(width as f64 / n_heads.max(1) as f64)
                }
                None => inverse_root(head_dim as f64),
            },
            score_cap: cap(keys.float("attn_logit_softcapping")?.or(keys.of_gemma_2(50.0))),
            logit_cap: cap(keys.float("final_logit_softcapping")?.or(keys.of_gemma_2(30.0))),
            rotaries,
            interleaved: family.interleaved != Interleaved::Never,
            layers,
            tied_head: if has("output.weight") { TiedHead::Separate } else { TiedHead::Tied },
        }
        .checked(
            &file.path,
            &NAMES.map(|key| if key == VOCAB { key.to_owned() } else { keys.name(key) }),
            |field| keys.rope_name(field),
        )
    }
}

/// The metadata under an architecture's name.
struct Keys<'a> {
    file: &'a GgufFile,
    meta: Metadata<'a>,
    architecture: &'a str,
    family: &'static Family,
}

impl<'a> Keys<'a> {
    fn of(file: &'a GgufFile) -> Result<Self> {
        let meta = Metadata { path: &file.path, values: &file.content.metadata };
        let architecture = meta.text("general.architecture")?;
        let Some(family) = FAMILIES.iter().find(|family| family.architecture == Some(architecture)) else {
            let what = format!("the architecture {architecture:?}");
            return Err(unsupported(&file.path, &what, hint(architecture)));
        };
        if meta.optional_number("split.count")?.is_some_and(|count| count > 1) {
            let hint = "join the parts with llama-gguf-split --merge".into();
            return Err(unsupported(&file.path, "a model split over several GGUF files", hint));
        }
        let keys = Self { file, meta, architecture, family };
        if keys.optional_number("expert_count")?.is_some_and(|count| count > 0) {
            return Err(unsupported(&file.path, "a mixture of experts", hint("mixtral")));
        }
        Ok(keys)
    }

    fn layers(&self, n_rotaries: usize) -> Result<Vec<LayerConfig>> {
        let n = checked_layers(&self.file.path, &self.name("block_count"), self.number("block_count")?)?;
        let width = self.optional_number("attention.sliding_window")?.or(self.of_gemma_2(4096));
        let width = width.filter(|width| *width > 0);
        let period = self.optional_number("attention.sliding_window_pattern")?;
        let sliding = |layer: usize| match self.family.windows {
            Windows::AllButEvery(every) => !(layer + 1).is_multiple_of(period.unwrap_or(every).max(1)),
            _ => true,
        };
        let interval = (self.family.windows == Windows::WithoutRotary).then_some(ROTARY_INTERVAL);
        let layer = |layer: usize| LayerConfig {
            window: width.filter(|_| sliding(layer)),
            rotary: interval
                .is_none_or(|every| !(layer + 1).is_multiple_of(every))
                .then_some(usize::from(n_rotaries > 1 && sliding(layer))),
        };
        Ok((0..n).map(layer).collect())
    }

    fn rotaries(&self, head_dim: usize) -> Result<Vec<Rotary>> {
        let dims = self.optional_number("rope.dimension_count")?.unwrap_or(head_dim);
        let base = self.float("rope.freq_base")?.unwrap_or(10_000.0);
        let full = Rotary { base, dims, scaling: self.scaling()? };
        let local = match self.family.local_rope_base {
            None => None,
            Some(base) => {
                let base = self.float("rope.freq_base_swa")?.unwrap_or(base);
                Some(Rotary { base, dims, scaling: Scaling::None })
            }
        };
        Ok(std::iter::once(full).chain(local).collect())
    }

    fn scaling(&self) -> Result<Scaling> {
        let list = |name: &str| self.file.floats(name);
        if let Some(factors) = list("rope_freqs.weight")? {
            return Ok(Scaling::Each { factors });
        }
        let factor = self.float("rope.scaling.factor")?.or(self.float("rope.scale_linear")?);
        let attention_factor = self.float("rope.scaling.attn_factor")?;
        let context = self.number("context_length")? as f64;
        let original = self.float("rope.scaling.original_context_length")?.unwrap_or(context);
        if let (Some(short), Some(long)) =
            (list("rope_factors_short.weight")?, list("rope_factors_long.weight")?)
        {
            let attention_factor =
                attention_factor.unwrap_or_else(|| longrope_attention_factor(context / original, original));
            return Ok(Scaling::LongRope { short, long, original, attention_factor });
        }
        let name = self.name("rope.scaling.type");
        let missing = || Error::Config {
            path: self.file.path.clone(),
            field: self.name("rope.scaling.factor"),
            problem: "it is missing".into(),
        };
        match (self.meta.optional_text(&name)?, factor) {
            (Some("none"), _) | (None, None) => Ok(Scaling::None),
            (None | Some("linear"), Some(factor)) => Ok(Scaling::Linear { factor }),
            (Some("yarn"), Some(factor)) => Ok(Scaling::Yarn {
                factor,
                beta_fast: self.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: self.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                truncate: true,
                original,
                attention_factor: attention_factor.unwrap_or(1.0) * yarn_attention_factor(factor),
            }),
            (Some("linear" | "yarn"), None) => Err(missing()),
            (Some(other), _) => Err(unsupported(
                &self.file.path,
                &format!("rotary scaling of type {other:?} ({name})"),
                hint(""),
            )),
        }
    }

    /// What a Gemma 2 has where its file does not say, as the first ones do not.
    fn of_gemma_2<T>(&self, usual: T) -> Option<T> {
        (self.architecture == "gemma2").then_some(usual)
    }

    /// What GGUF calls a field of the rotary embedding.
    fn rope_name(&self, field: &str) -> String {
        let key = match field {
            "rope_theta" => "rope.freq_base",
            "head_dim" => "attention.key_length",
            "factor" => "rope.scaling.factor",
            "original_max_position_embeddings" => "rope.scaling.original_context_length",
            "attention_factor" => "rope.scaling.attn_factor",
            "beta_fast" => "rope.scaling.yarn_beta_fast",
            "beta_slow" => "rope.scaling.yarn_beta_slow",
            "short_factor" => return "rope_factors_short.weight".into(),
            "long_factor" => return "rope_factors_long.weight".into(),
            other => return other.into(),
        };
        self.name(key)
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn number(&self, key: &str) -> Result<usize> {
        self.meta.number(&self.name(key))
    }

    fn optional_number(&self, key: &str) -> Result<Option<usize>> {
        self.meta.optional_number(&self.name(key))
    }

    fn float(&self, key: &str) -> Result<Option<f64>> {
        self.meta.optional_float(&self.name(key))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use candle_core::quantized::gguf_file::Value;

    use super::*;

    /// GGUF calls Mixtral's architecture `llama`.
    #[test]
    fn experts_are_refused_by_name() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama.gguf");
        let mut file = GgufFile::open(&path).unwrap();
        file.content.metadata.insert("llama.expert_count".into(), Value::U32(0));
        assert!(ModelConfig::from_gguf(&file).is_ok());
        file.content.metadata.insert("llama.expert_count".into(), Value::U32(8));
        let error = ModelConfig::from_gguf(&file).unwrap_err();
        assert!(error.to_string().ends_with("a mixture of experts is not supported"), "{error}");
    }

    /// Source: the defaults of `llama-hparams.h` and `llama-model.cpp`.
    #[test]
    fn the_first_files_of_gemma_2_have_their_caps_and_windows() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/families/gemma2.gguf");
        let mut file = GgufFile::open(&path).unwrap();
        file.content
            .metadata
            .retain(|key, _| !key.contains("softcapping") && !key.contains("sliding_window"));
        let config = ModelConfig::from_gguf(&file).unwrap();
        assert_eq!((config.score_cap, config.logit_cap), (Some(50.0), Some(30.0)));
        assert_eq!([config.layers[0].window, config.layers[1].window], [Some(4096), None]);
    }
}
