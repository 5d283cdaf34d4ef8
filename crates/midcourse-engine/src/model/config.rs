//! What a decoder is: sizes and variants, read from `config.json` or from GGUF metadata.
//!
//! Unknown values are refused by name rather than guessed: a model that runs must run correctly.

use std::path::Path;

use candle_core::quantized::gguf_file;

use crate::weights::metadata::Metadata;
use crate::{Error, Result};

/// Sizes and variants of a decoder of the Llama family.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Width of the residual stream, D.
    pub width: usize,
    /// Width of the gated unit, F.
    pub mlp_width: usize,
    /// Number of blocks.
    pub n_layers: usize,
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
    /// Base of the rotary embedding's wavelengths.
    pub rope_base: f64,
    /// Epsilon of the norms.
    pub norm_eps: f64,
    /// Whether the output head is the embedding itself.
    pub tied_head: TiedHead,
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
        2 * self.n_layers * self.n_kv_heads * self.head_dim * size_of::<f32>()
    }

    /// Weights that take part in matrix products: layers and head, without embedding look-up and norms.
    pub fn n_matmul_weights(&self) -> usize {
        self.layer_shapes().iter().map(|(n, k)| n * k).sum::<usize>() * self.n_layers
            + self.vocab * self.width
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

    /// Reads the metadata of a GGUF file.
    pub fn from_gguf(path: &Path, content: &gguf_file::Content) -> Result<Self> {
        let meta = Metadata { path, values: &content.metadata };
        let family = meta.text("general.architecture")?;
        if family != "llama" {
            return Err(unsupported_family(path, family));
        }
        let number = |key: &str| meta.number(&format!("llama.{key}"));
        if meta.optional_text("llama.rope.scaling.type")?.is_some_and(|kind| kind != "none") {
            return Err(unsupported(path, "rotary scaling (llama.rope.scaling.type)"));
        }
        // Llama 3.1 and later carry their rotary scaling as a tensor.
        let is_unknown =
            |name: &&String| *name == "rope_freqs.weight" || name.rsplit('.').next() == Some("bias");
        if let Some(name) = content.tensor_infos.keys().filter(is_unknown).min() {
            return Err(unsupported(path, &format!("rotary scaling or a bias (tensor {name})")));
        }
        let (width, n_heads) = (number("embedding_length")?, number("attention.head_count")?);
        let head_dim = match meta.optional_number("llama.attention.key_length")? {
            Some(dim) => dim,
            None => width / n_heads.max(1),
        };
        let embedding = content.tensor_infos.get("token_embd.weight");
        let vocab = embedding.and_then(|t| t.shape.dims().first()).copied().unwrap_or(0);
        let tied = !content.tensor_infos.contains_key("output.weight");
        Self {
            width,
            mlp_width: number("feed_forward_length")?,
            n_layers: number("block_count")?,
            n_heads,
            n_kv_heads: meta.optional_number("llama.attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim,
            vocab,
            context: number("context_length")?,
            rope_base: meta.optional_float("llama.rope.freq_base")?.unwrap_or(10_000.0),
            norm_eps: meta.float("llama.attention.layer_norm_rms_epsilon")?,
            tied_head: if tied { TiedHead::Tied } else { TiedHead::Separate },
        }
        .checked(path, &GGUF_NAMES)
    }

    /// Reads a `config.json` in transformers' form.
    pub fn from_json(path: &Path, json: &serde_json::Value) -> Result<Self> {
        let fields = JsonFields { path, json };
        fields.require_llama()?;
        let (width, n_heads) = (fields.number("hidden_size")?, fields.number("num_attention_heads")?);
        let optional = |name: &str| fields.optional(name, "a whole number", serde_json::Value::as_u64);
        let float = |name: &str| fields.optional(name, "a number", serde_json::Value::as_f64);
        let rope_base = fields.rope("rope_parameters")?.or(float("rope_theta")?);
        let tied = fields.flag("tie_word_embeddings")?;
        Self {
            width,
            mlp_width: fields.number("intermediate_size")?,
            n_layers: fields.number("num_hidden_layers")?,
            n_heads,
            n_kv_heads: optional("num_key_value_heads")?.map_or(n_heads, |n| n as usize),
            head_dim: optional("head_dim")?.map_or(width / n_heads.max(1), |n| n as usize),
            vocab: fields.number("vocab_size")?,
            context: fields.number("max_position_embeddings")?,
            rope_base: rope_base.unwrap_or(10_000.0),
            norm_eps: float("rms_norm_eps")?.unwrap_or(1e-6),
            tied_head: if tied { TiedHead::Tied } else { TiedHead::Separate },
        }
        .checked(path, &JSON_NAMES)
    }

    /// Refuses sizes that no decoder has, before anything is allocated by them.
    fn checked(self, path: &Path, names: &[&str; 10]) -> Result<Self> {
        let [width, mlp_width, n_layers, n_heads, n_kv_heads, head_dim, vocab, context, rope_base, norm_eps] =
            *names;
        let problem = |field: &str, problem: String| {
            Err(Error::Config { path: path.to_owned(), field: field.into(), problem })
        };
        for (field, size, most) in [
            (width, self.width, 1 << 16),
            (mlp_width, self.mlp_width, 1 << 18),
            (n_layers, self.n_layers, 1 << 10),
            (n_heads, self.n_heads, 1 << 10),
            (n_kv_heads, self.n_kv_heads, 1 << 10),
            (head_dim, self.head_dim, 1 << 10),
            (vocab, self.vocab, 1 << 22),
            (context, self.context, 1 << 26),
        ] {
            if size == 0 || size > most {
                return problem(field, format!("expected 1 to {most}, found {size}"));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let found = format!("{} query heads do not share {} key heads", self.n_heads, self.n_kv_heads);
            return problem(n_kv_heads, found);
        }
        if !self.head_dim.is_multiple_of(2) {
            return problem(head_dim, format!("expected an even number, found {}", self.head_dim));
        }
        if !(self.rope_base.is_finite() && self.rope_base > 1.0) {
            return problem(rope_base, format!("expected a number above 1, found {}", self.rope_base));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            let found = format!("expected a number between 0 and 1, found {}", self.norm_eps);
            return problem(norm_eps, found);
        }
        Ok(self)
    }
}

/// What GGUF calls the fields of [`ModelConfig`], in their order in [`ModelConfig::checked`].
const GGUF_NAMES: [&str; 10] = [
    "llama.embedding_length",
    "llama.feed_forward_length",
    "llama.block_count",
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.key_length",
    "rows of token_embd.weight",
    "llama.context_length",
    "llama.rope.freq_base",
    "llama.attention.layer_norm_rms_epsilon",
];

/// What `config.json` calls them.
const JSON_NAMES: [&str; 10] = [
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "rope_theta",
    "rms_norm_eps",
];

fn unsupported(path: &Path, what: &str) -> Error {
    Error::Unsupported {
        path: path.to_owned(),
        what: what.to_owned(),
        hint: "this build runs models of the Llama architecture with plain rotary embedding".into(),
    }
}

fn unsupported_family(path: &Path, family: &str) -> Error {
    unsupported(path, &format!("the architecture {family:?}"))
}

/// Typed access to the fields of a `config.json`.
struct JsonFields<'a> {
    path: &'a Path,
    json: &'a serde_json::Value,
}

impl<'a> JsonFields<'a> {
    fn require_llama(&self) -> Result<()> {
        let family = self.text("model_type")?.unwrap_or("(none)");
        if family != "llama" {
            return Err(unsupported_family(self.path, family));
        }
        self.rope("rope_scaling")?;
        for bias in ["attention_bias", "mlp_bias"] {
            if self.flag(bias)? {
                return Err(unsupported(self.path, &format!("{bias}: true")));
            }
        }
        match self.text("hidden_act")? {
            None | Some("silu") => Ok(()),
            Some(other) => Err(unsupported(self.path, &format!("the activation {other:?}"))),
        }
    }

    /// The base of the rotary embedding that the object `name` gives, which must not ask for scaling.
    fn rope(&self, name: &str) -> Result<Option<f64>> {
        let Some(rope) = self.optional(name, "an object", serde_json::Value::as_object)? else {
            return Ok(None);
        };
        let kind = rope.get("rope_type").or_else(|| rope.get("type"));
        match kind.map(|kind| kind.as_str().ok_or_else(|| self.wrong(name, "a text as type", kind))) {
            None | Some(Ok("default")) => {}
            Some(kind) => return Err(unsupported(self.path, &format!("rotary scaling of type {:?}", kind?))),
        }
        let base = |base: &serde_json::Value| {
            base.as_f64().ok_or_else(|| self.wrong(&format!("{name}.rope_theta"), "a number", base))
        };
        rope.get("rope_theta").map(base).transpose()
    }

    fn optional<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl Fn(&'a serde_json::Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.json.get(name) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(name, kind, value)),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.optional(name, "a text", serde_json::Value::as_str)
    }

    /// A truth value; a missing one is false.
    fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.optional(name, "true or false", serde_json::Value::as_bool)?.unwrap_or(false))
    }

    fn number(&self, name: &str) -> Result<usize> {
        let found = self.optional(name, "a whole number", serde_json::Value::as_u64)?;
        found.map(|n| n as usize).ok_or_else(|| self.problem(name, "it is missing".into()))
    }

    fn wrong(&self, name: &str, kind: &str, found: &serde_json::Value) -> Error {
        self.problem(name, format!("expected {kind}, found {found}"))
    }

    fn problem(&self, name: &str, problem: String) -> Error {
        Error::Config { path: self.path.to_owned(), field: name.into(), problem }
    }
}
