//! A decoder from a `config.json` in transformers' form, old or new.
//!
//! A field that is left out has the value that transformers gives it: the family's defaults lie below the file.

use std::path::Path;

use serde_json::{Map, Value};

use super::family::{Bias, FAMILIES, Interleaved, Windows, hint};
use super::{
    Activation, Biases, Family, LayerConfig, ModelConfig, TiedHead, cap, checked_layers, inverse_root,
    unsupported,
};
use crate::model::rotary::{Rotary, Scaling, longrope_attention_factor, yarn_attention_factor};
use crate::{Error, Result};

/// What `config.json` calls the fields of [`ModelConfig`], in their order in [`ModelConfig::checked`].
const NAMES: [&str; super::N_FIELDS] = [
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
];

/// The object that holds a rotary embedding's fields; older files have some of them outside of it.
const ROPE: &str = "rope_parameters";
/// Layer types of transformers.
const SLIDING: &str = "sliding_attention";
const FULL: &str = "full_attention";

impl ModelConfig {
    /// Reads a `config.json`.
    pub fn from_json(path: &Path, json: &Value) -> Result<Self> {
        let fields = Fields::of(path, json)?;
        let family = fields.family;
        let (width, n_heads) = (fields.number("hidden_size")?, fields.number("num_attention_heads")?);
        let head_dim = fields.optional_number("head_dim")?.unwrap_or(width / n_heads.max(1));
        let score_scale = fields.float("query_pre_attn_scalar")?.unwrap_or(head_dim as f64);
        let biased = fields.flag("attention_bias")?;
        let mlp_bias = family.bias == Bias::Configured && fields.flag("mlp_bias")?;
        let rotaries = fields.rotaries(head_dim)?;
        // A base that grows lets a conversation outgrow the positions the model was trained on.
        let stretch = match &rotaries[0].scaling {
            Scaling::Dynamic { factor, .. } => factor.max(1.0),
            _ => 1.0,
        };
        let context = fields.number("max_position_embeddings")? as f64 * stretch;
        Self {
            family,
            width,
            mlp_width: fields.number("intermediate_size")?,
            n_heads,
            n_kv_heads: fields.optional_number("num_key_value_heads")?.unwrap_or(n_heads),
            head_dim,
            vocab: fields.number("vocab_size")?,
            context: context as usize,
            norm_eps: fields.float("rms_norm_eps")?.unwrap_or(1e-6),
            norm_offset: if family.norm_from_one { 1.0 } else { 0.0 },
            qk_norm: family.qk_norm,
            biases: match family.bias {
                Bias::Never => Biases::default(),
                Bias::Qkv => Biases { qkv: true, ..Biases::default() },
                Bias::Configured => Biases { qkv: biased, output: biased, mlp: mlp_bias },
                Bias::ConfiguredQkv => Biases { qkv: biased, ..Biases::default() },
            },
            fused: family.fused,
            activation: fields.activation()?,
            embedding_scale: if family.scaled_embedding { (width as f32).sqrt() } else { 1.0 },
            score_scale: inverse_root(score_scale),
            score_cap: cap(fields.float("attn_logit_softcapping")?),
            logit_cap: cap(fields.float("final_logit_softcapping")?),
            layers: fields.layers(rotaries.len())?,
            rotaries,
            interleaved: family.interleaved == Interleaved::Always,
            tied_head: if fields.flag("tie_word_embeddings")? { TiedHead::Tied } else { TiedHead::Separate },
        }
        .checked(path, &NAMES.map(str::to_owned), str::to_owned)
    }
}

/// Typed access to the fields of a `config.json`, over the defaults of its family.
struct Fields<'a> {
    path: &'a Path,
    family: &'static Family,
    values: Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(path: &'a Path, json: &Value) -> Result<Self> {
        if !json.is_object() {
            let problem = "expected an object, found something else".to_owned();
            return Err(Error::Config { path: path.to_owned(), field: "the document".into(), problem });
        }
        let model_type = match json.get("model_type") {
            None | Some(Value::Null) => "(none)",
            Some(Value::String(name)) => name.as_str(),
            Some(other) => {
                let problem = format!("expected a text, found {other}");
                return Err(Error::Config { path: path.to_owned(), field: "model_type".into(), problem });
            }
        };
        let Some(family) = FAMILIES.iter().find(|family| family.model_types.contains(&model_type)) else {
            return Err(unsupported(path, &format!("the architecture {model_type:?}"), hint(model_type)));
        };
        if let Some(method) = json.get("quantization_config").filter(|value| !value.is_null()) {
            let method = method.get("quant_method").and_then(Value::as_str).unwrap_or("(no quant_method)");
            let hint = "take the model's unquantised weights, or a GGUF file of it".into();
            return Err(unsupported(path, &format!("a checkpoint quantised by {method:?}"), hint));
        }
        // The language model of one that also sees has its fields in an object of their own.
        let text = json.get("text_config").filter(|text| text.is_object()).unwrap_or(json);
        if text.get("use_bidirectional_attention").and_then(Value::as_bool) == Some(true) {
            return Err(unsupported(path, "attention in both directions", hint("")));
        }
        let defaults: Value = serde_json::from_str(family.defaults).unwrap_or_default();
        let mut values = defaults.as_object().cloned().unwrap_or_default();
        values.extend(text.as_object().cloned().unwrap_or_default());
        // A null says that there is none, whatever the default.
        values.retain(|_, value| !value.is_null());
        Ok(Self { path, family, values })
    }

    fn activation(&self) -> Result<Activation> {
        let name = self.text("hidden_activation")?.or(self.text("hidden_act")?);
        match name {
            None => Ok(self.family.activation),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh" | "gelu_new") => Ok(Activation::GeluTanh),
            // What transformers takes the legacy value of Gemma's first release for.
            Some("gelu") if self.family.activation == Activation::GeluTanh => Ok(Activation::GeluTanh),
            Some(other) => Err(unsupported(self.path, &format!("the activation {other:?}"), hint(""))),
        }
    }

    /// Windows and rotary embeddings, layer by layer.
    fn layers(&self, n_rotaries: usize) -> Result<Vec<LayerConfig>> {
        let n = checked_layers(self.path, "num_hidden_layers", self.number("num_hidden_layers")?)?;
        let windows = self.family.windows;
        let width = self.optional_number("sliding_window")?.filter(|width| *width > 0);
        let conditional = matches!(windows, Windows::FromLayer | Windows::WithoutRotary);
        let width = if conditional && !self.flag("use_sliding_window")? { None } else { width };
        let rotated = self.rotated(n)?;
        let listed = self.layer_types(n)?;
        let first = self.optional_number("max_window_layers")?.unwrap_or(28);
        let period = self.optional_number("sliding_window_pattern")?;
        let sliding = |layer: usize| match (windows, &listed) {
            (Windows::None, _) => false,
            (Windows::All, _) => true,
            (_, Some(listed)) => listed[layer],
            (Windows::FromLayer, None) => layer >= first,
            (Windows::WithoutRotary, None) => !rotated[layer],
            (Windows::AllButEvery(every), None) => {
                !(layer + 1).is_multiple_of(period.unwrap_or(every).max(1))
            }
        };
        // The second rotary embedding, where there is one, is that of the layers with a window.
        let layer = |layer: usize| LayerConfig {
            window: width.filter(|_| sliding(layer)),
            rotary: rotated[layer].then_some(usize::from(n_rotaries > 1 && sliding(layer))),
        };
        Ok((0..n).map(layer).collect())
    }

    /// For every layer, whether `layer_types` gives it a window.
    fn layer_types(&self, n: usize) -> Result<Option<Vec<bool>>> {
        let Some(list) = self.list("layer_types", n)? else { return Ok(None) };
        let sliding = |value: &Value| match value.as_str() {
            Some(SLIDING) => Ok(true),
            Some(FULL) => Ok(false),
            _ => Err(unsupported(self.path, &format!("the layer type {value}"), hint(""))),
        };
        list.iter().map(sliding).collect::<Result<_>>().map(Some)
    }

    /// For every layer, whether it has a rotary embedding.
    fn rotated(&self, n: usize) -> Result<Vec<bool>> {
        if let Some(list) = self.list("no_rope_layers", n)? {
            let rotated = |value: &Value| match value.as_u64() {
                Some(flag @ (0 | 1)) => Ok(flag == 1),
                _ => Err(self.wrong("no_rope_layers", "entries of 0 or 1", value)),
            };
            return list.iter().map(rotated).collect();
        }
        let interval = self.optional_number("no_rope_layer_interval")?.filter(|interval| *interval > 0);
        Ok((0..n).map(|layer| interval.is_none_or(|every| !(layer + 1).is_multiple_of(every))).collect())
    }

    /// The rotary embedding of most layers and, where it has its own, that of layers with a window.
    fn rotaries(&self, head_dim: usize) -> Result<Vec<Rotary>> {
        let name = if self.values.contains_key(ROPE) { ROPE } else { "rope_scaling" };
        let given = self.object(name)?;
        let nested = |kind: &str| given.and_then(|given| given.get(kind)).and_then(Value::as_object);
        let rope = |given| RopeFields { fields: self, name, given };
        let full = self.rotary(&rope(nested(FULL).or(given)), self.float("rope_theta")?, head_dim)?;
        let local = match self.family.local_rope_base {
            None => None,
            Some(base) => {
                let base = self.float("rope_local_base_freq")?.unwrap_or(base);
                Some(self.rotary(&rope(nested(SLIDING)), Some(base), head_dim)?)
            }
        };
        Ok(std::iter::once(full).chain(local).collect())
    }

    fn rotary(&self, rope: &RopeFields<'_>, base: Option<f64>, head_dim: usize) -> Result<Rotary> {
        let share = match rope.float("partial_rotary_factor")? {
            Some(share) => share,
            None => self.float("partial_rotary_factor")?.unwrap_or(1.0),
        };
        Ok(Rotary {
            base: rope.float("rope_theta")?.or(base).unwrap_or(10_000.0),
            dims: (head_dim as f64 * share.clamp(0.0, 1.0)) as usize,
            scaling: rope.scaling()?,
        })
    }

    fn get<T>(&self, name: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(name, kind, value))
    }

    fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        value.as_object().map(Some).ok_or_else(|| self.wrong(name, "an object", value))
    }

    fn list(&self, name: &str, n: usize) -> Result<Option<&Vec<Value>>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        let list = value.as_array().filter(|list| list.len() == n);
        list.map(Some).ok_or_else(|| self.wrong(name, &format!("a list of {n}, one a layer"), value))
    }

    fn text(&self, name: &str) -> Result<Option<&str>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(name, "a text", value))
    }

    /// A truth value; a missing one is false.
    fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.get(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    fn float(&self, name: &str) -> Result<Option<f64>> {
        self.get(name, "a number", Value::as_f64)
    }

    fn optional_number(&self, name: &str) -> Result<Option<usize>> {
        self.get(name, "a whole number", |value| value.as_u64().map(|n| n as usize))
    }

    fn number(&self, name: &str) -> Result<usize> {
        self.optional_number(name)?.ok_or_else(|| self.problem(name, "it is missing".into()))
    }

    fn wrong(&self, name: &str, kind: &str, found: &Value) -> Error {
        let found: String = found.to_string().chars().take(80).collect();
        self.problem(name, format!("expected {kind}, found {found}"))
    }

    fn problem(&self, name: &str, problem: String) -> Error {
        Error::Config { path: self.path.to_owned(), field: name.into(), problem }
    }
}

/// The fields of a `rope_parameters` or `rope_scaling` object.
struct RopeFields<'a> {
    fields: &'a Fields<'a>,
    /// Which of the two it is.
    name: &'static str,
    given: Option<&'a Map<String, Value>>,
}

impl RopeFields<'_> {
    fn scaling(&self) -> Result<Scaling> {
        let kind = self.get("rope_type").or_else(|| self.get("type"));
        let kind = match kind.map(|kind| kind.as_str().ok_or_else(|| self.wrong("rope_type", "a text", kind)))
        {
            None => "default",
            Some(kind) => kind?,
        };
        match kind {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear { factor: self.number("factor")? }),
            "dynamic" => Ok(Scaling::Dynamic {
                factor: self.number("factor")?,
                context: self.fields.number("max_position_embeddings")? as f64,
            }),
            "llama3" => Ok(Scaling::Llama3 {
                factor: self.number("factor")?,
                low: self.number("low_freq_factor")?,
                high: self.number("high_freq_factor")?,
                original: self.original()?,
            }),
            // Phi-3's first releases name this scaling "su" or "yarn".
            "longrope" | "su" => self.longrope(),
            "yarn" if self.get("short_factor").is_some() => self.longrope(),
            "yarn" => self.yarn(),
            other => {
                let what = format!("rotary scaling of type {other:?}");
                Err(unsupported(self.fields.path, &what, hint("")))
            }
        }
    }

    fn longrope(&self) -> Result<Scaling> {
        let (original, factor) = (self.original()?, self.factor()?);
        let attention_factor = self.float("attention_factor")?;
        Ok(Scaling::LongRope {
            short: self.numbers("short_factor")?,
            long: self.numbers("long_factor")?,
            original,
            attention_factor: attention_factor.unwrap_or_else(|| longrope_attention_factor(factor, original)),
        })
    }

    fn yarn(&self) -> Result<Scaling> {
        let factor = self.factor()?;
        let attention_factor =
            match (self.float("attention_factor")?, self.float("mscale")?, self.float("mscale_all_dim")?) {
                (Some(given), _, _) => given,
                (None, Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => {
                    let scale = |mscale: f64| mscale * (yarn_attention_factor(factor) - 1.0) + 1.0;
                    scale(mscale) / scale(all)
                }
                _ => yarn_attention_factor(factor),
            };
        Ok(Scaling::Yarn {
            factor,
            beta_fast: self.float("beta_fast")?.filter(|beta| *beta != 0.0).unwrap_or(32.0),
            beta_slow: self.float("beta_slow")?.filter(|beta| *beta != 0.0).unwrap_or(1.0),
            truncate: self.get("truncate").and_then(Value::as_bool).unwrap_or(true),
            original: self.original()?,
            attention_factor,
        })
    }

    /// How much longer the context is than the first.
    fn factor(&self) -> Result<f64> {
        let original = "original_max_position_embeddings";
        let derived = self.get(original).is_some() || self.fields.values.contains_key(original);
        match self.float("factor")? {
            None if derived => Ok(self.fields.number("max_position_embeddings")? as f64 / self.original()?),
            _ => self.number("factor"),
        }
    }

    /// Tokens of the first context.
    fn original(&self) -> Result<f64> {
        let name = "original_max_position_embeddings";
        let given = self.float(name)?.or(self.fields.float(name)?);
        given.map_or_else(|| Ok(self.fields.number("max_position_embeddings")? as f64), Ok)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.given?.get(name).filter(|value| !value.is_null())
    }

    fn float(&self, name: &str) -> Result<Option<f64>> {
        let number = |value: &Value| value.as_f64().ok_or_else(|| self.wrong(name, "a number", value));
        self.get(name).map(number).transpose()
    }

    fn number(&self, name: &str) -> Result<f64> {
        let missing = || self.fields.problem(&self.path(name), "it is missing".into());
        self.float(name)?.ok_or_else(missing)
    }

    fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let list = self.get(name).unwrap_or(&Value::Null);
        let numbers = list.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| self.wrong(name, "a list of numbers", list))
    }

    fn wrong(&self, name: &str, kind: &str, found: &Value) -> Error {
        self.fields.wrong(&self.path(name), kind, found)
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}
