//! What a decoder is: sizes and variants, read from `config.json` or from GGUF metadata.
//!
//! Every family is the same decoder with other data. Unknown values are refused by name rather than guessed: a
//! model that runs must run correctly.

mod family;
mod gguf;
mod json;

use std::path::Path;

pub use family::{BlockNorms, Family};

use super::rotary::Rotary;
use crate::weights::Dtype;
use crate::{Error, Result};

/// Sizes and variants of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// What its family does without saying so.
    pub family: &'static Family,
    /// Width of the residual stream, D.
    pub width: usize,
    /// Width of the gated unit, F.
    pub mlp_width: usize,
    /// Query heads, H.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Vocabulary, V.
    pub vocab: usize,
    /// Tokens of context the model was made for.
    pub context: usize,
    /// Epsilon of the norms.
    pub norm_eps: f64,
    /// What is added to the norms' weights as they are stored: 0 or 1.
    pub norm_offset: f32,
    /// Whether queries and keys are normed, head by head, before they are rotated.
    pub qk_norm: bool,
    /// Which products add a bias.
    pub biases: Biases,
    /// Which projections the files keep in one matrix.
    pub fused: Fused,
    /// Of the gate.
    pub activation: Activation,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Attention scores are multiplied by this, 1/√`head_dim` for most.
    pub score_scale: f32,
    /// c in `c · tanh(score / c)`.
    pub score_cap: Option<f32>,
    /// c in `c · tanh(logit / c)`.
    pub logit_cap: Option<f32>,
    /// The rotary embeddings that layers choose from.
    pub rotaries: Vec<Rotary>,
    /// The stored rows of q and k (and their biases) keep the two halves of a rotary pair next to each other.
    pub interleaved: bool,
    /// What differs between layers; one entry a layer.
    pub layers: Vec<LayerConfig>,
    /// Whether the output head is the embedding itself.
    pub tied_head: TiedHead,
}

/// What differs between layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerConfig {
    /// A token sees itself and this many − 1 tokens before it; none: all.
    pub window: Option<usize>,
    /// Index in [`ModelConfig::rotaries`]; none: no rotary embedding.
    pub rotary: Option<usize>,
}

/// Which products add a bias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Biases {
    /// q, k and v.
    pub qkv: bool,
    /// The attention's output.
    pub output: bool,
    /// Gate, up and down.
    pub mlp: bool,
}

/// Which projections the files keep in one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fused {
    /// q, k and v, in this order.
    pub qkv: bool,
    /// Gate and up, in this order.
    pub gate_up: bool,
}

/// The gate's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · σ(x)`.
    Silu,
    /// The approximation of the Gaussian error linear unit by tanh.
    GeluTanh,
}

/// Where the output head's weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TiedHead {
    /// The head is the embedding matrix.
    Tied,
    /// The head has a matrix of its own.
    Separate,
}

impl ModelConfig {
    /// Bytes of keys and values that one token takes, in f32.
    pub fn kv_bytes_per_token(&self) -> usize {
        2 * self.layers.len() * self.n_kv_heads * self.head_dim * size_of::<f32>()
    }

    /// Weights that take part in matrix products: layers and head, without embedding look-up and norms.
    pub fn n_matmul_weights(&self) -> usize {
        self.layer_shapes().iter().map(|(n, k)| n * k).sum::<usize>() * self.layers.len()
            + self.vocab * self.width
    }

    /// All weights of the model.
    pub fn n_params(&self) -> usize {
        let embedding = if self.tied_head == TiedHead::Tied { 0 } else { self.vocab * self.width };
        let norms = if self.family.norms == BlockNorms::Before { 2 } else { 4 };
        let head_norms = if self.qk_norm { 2 * self.head_dim } else { 0 };
        let [qkv, output, gate_up, down] = self.layer_shapes().map(|(out, _)| out);
        let biases =
            [(self.biases.qkv, qkv), (self.biases.output, output), (self.biases.mlp, gate_up + down)];
        let biases: usize = biases.into_iter().filter(|(biased, _)| *biased).map(|(_, n)| n).sum();
        let layer = norms * self.width + head_norms + biases;
        self.n_matmul_weights() + embedding + layer * self.layers.len() + self.width
    }

    /// Bytes that the weights take in memory; `stored` is what they take in their files.
    pub fn weight_bytes(&self, dtype: Dtype, stored: u64) -> u64 {
        match dtype {
            Dtype::F32 => 4 * self.n_params() as u64,
            Dtype::Bf16 => 2 * self.n_params() as u64,
            Dtype::Stored => stored,
        }
    }

    /// Shapes (out, in) of one layer's products as they are computed: q, k and v fused, gate and up fused.
    pub fn layer_shapes(&self) -> [(usize, usize); 4] {
        let attended = self.n_heads * self.head_dim;
        let fused = attended + 2 * self.n_kv_heads * self.head_dim;
        [
            (fused, self.width),
            (self.width, attended),
            (2 * self.mlp_width, self.width),
            (self.width, self.mlp_width),
        ]
    }

    /// What the decoder is, in a line for people.
    pub fn describe(&self) -> String {
        format!(
            "{} decoder: {} layers, width {}, {} heads ({} for keys), vocabulary {}",
            self.family.name,
            self.layers.len(),
            self.width,
            self.n_heads,
            self.n_kv_heads,
            self.vocab
        )
    }

    /// Refuses sizes that no decoder has, before anything is allocated by them. `names` are the fields' names
    /// in the file; `rope_name` gives those of the rotary embedding's.
    fn checked(
        self,
        path: &Path,
        names: &[String; N_FIELDS],
        rope_name: impl Fn(&'static str) -> String,
    ) -> Result<Self> {
        let [width, mlp_width, n_layers, n_heads, n_kv_heads, head_dim, vocab, context, norm_eps] = names;
        let wrong = |field: &str, problem: String| {
            Err(Error::Config { path: path.to_owned(), field: field.into(), problem })
        };
        for (field, size, most) in [
            (width, self.width, 1 << 16),
            (mlp_width, self.mlp_width, 1 << 18),
            (n_layers, self.layers.len(), MAX_LAYERS),
            (n_heads, self.n_heads, 1 << 10),
            (n_kv_heads, self.n_kv_heads, 1 << 10),
            (head_dim, self.head_dim, MAX_HEAD_DIM),
            (vocab, self.vocab, 1 << 22),
            (context, self.context, 1 << 26),
        ] {
            if size == 0 || size > most {
                return wrong(field, format!("expected 1 to {most}, found {size}"));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let found = format!("{} query heads do not share {} key heads", self.n_heads, self.n_kv_heads);
            return wrong(n_kv_heads, found);
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return wrong(norm_eps, format!("expected a number between 0 and 1, found {}", self.norm_eps));
        }
        for rotary in &self.rotaries {
            if let Err((field, problem)) = rotary.check(self.head_dim) {
                return wrong(&rope_name(field), problem);
            }
        }
        for (field, factor) in [
            ("the scale of the embeddings", self.embedding_scale),
            ("the scale of the scores", self.score_scale),
        ] {
            if !(factor.is_finite() && factor > 0.0) {
                return wrong(field, format!("expected a number above 0, found {factor}"));
            }
        }
        Ok(self)
    }
}

/// Values of the widest head.
pub(super) const MAX_HEAD_DIM: usize = 1 << 10;
/// More layers than any decoder has.
const MAX_LAYERS: usize = 1 << 10;
/// Fields that [`ModelConfig::checked`] names, but for those of the rotary embedding.
const N_FIELDS: usize = 9;

/// The number of layers, refused when it is too large to make anything for each.
fn checked_layers(path: &Path, field: &str, n: usize) -> Result<usize> {
    if n > MAX_LAYERS {
        let problem = format!("expected 1 to {MAX_LAYERS}, found {n}");
        return Err(Error::Config { path: path.to_owned(), field: field.into(), problem });
    }
    Ok(n)
}

/// A soft cap as files write it: 0 and a missing value are none.
fn cap(value: Option<f64>) -> Option<f32> {
    value.filter(|cap| *cap > 0.0).map(|cap| cap as f32)
}

/// 1/√x.
fn inverse_root(x: f64) -> f32 {
    x.sqrt().recip() as f32
}

fn unsupported(path: &Path, what: &str, hint: String) -> Error {
    Error::Unsupported { path: path.to_owned(), what: what.to_owned(), hint }
}
