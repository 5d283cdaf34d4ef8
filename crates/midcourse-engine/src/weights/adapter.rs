//! Low-rank adapters as PEFT saves them, merged into a model's matrices as these are loaded:
//! W + scale · B·A, where the scale is α/r, or α/√r with `use_rslora`.
//!
//! An adapter of another kind, or one that adapts more than projections of layers, is refused by name: a model that
//! runs with half of its adapter would look like one that runs.
//!
//! Source: Hu et al. 2021; Kalajdzievski 2023 for α/√r; PEFT's `LoraConfig`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::{Device, Tensor};
use serde_json::Value;

use super::index::{RawTensor, TensorIndex, broken};
use super::layout::{AdapterLayout, RowOrder, Side};
use super::names::Slot;
use super::peft::{CONFIG, WEIGHTS};
use super::safetensors::{read_headers, read_json};
use crate::model::with_values;
use crate::{Error, Result};

/// Fields that ask for more than is done here, or for other weights below the adapter, unless they hold one of these.
const NEUTRAL: [(&str, &[&str]); 19] = [
    ("alora_invocation_tokens", &["[]"]),
    ("alpha_pattern", &["{}"]),
    ("arrow_config", &[]),
    ("bias", &["\"none\""]),
    ("fan_in_fan_out", &["false"]),
    ("init_lora_weights", &["true", "false", "\"gaussian\""]),
    ("kasa_config", &[]),
    ("layer_replication", &["[]"]),
    ("lora_bias", &["false"]),
    ("modules_to_save", &["[]"]),
    ("monteclora_config", &[]),
    ("peft_type", &["\"LORA\""]),
    ("rank_pattern", &["{}"]),
    ("target_parameters", &["[]"]),
    ("trainable_token_indices", &["[]"]),
    ("use_bdlora", &["false"]),
    ("use_dora", &["false"]),
    ("use_qalora", &["false"]),
    ("velora_config", &[]),
];

/// An adapter's directory, opened.
#[derive(Debug)]
pub(crate) struct Adapter {
    dir: PathBuf,
    /// The model that it was made for, as its configuration names it.
    made_for: String,
    /// Whether its configuration asks for its projections in every layer.
    every_layer: bool,
    pub(super) rank: usize,
    pub(super) scale: f64,
    pub(super) index: TensorIndex,
}

impl Adapter {
    /// Reads `adapter_config.json` and where the tensors lie.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG);
        for name in [CONFIG, WEIGHTS] {
            if !dir.join(name).exists() {
                return Err(Error::ModelFile {
                    path: dir.to_owned(),
                    problem: format!("expected {name} in the directory of an adapter, found none"),
                    hint: "name a directory as PEFT saves it, with safetensors; pickle is never read".into(),
                });
            }
        }
        let config = read_json(&path)?;
        check(&path, &config)?;
        let wrong =
            |field: &str, problem: String| Error::Config { path: path.clone(), field: field.into(), problem };
        let rank = config.get("r").and_then(Value::as_u64).filter(|rank| (1..=1 << 16).contains(rank));
        let rank =
            rank.ok_or_else(|| wrong("r", format!("expected 1 to 65536, found {}", shown(&config, "r"))))?;
        let alpha = config.get("lora_alpha").and_then(Value::as_f64).filter(|alpha| alpha.is_finite());
        let found = || format!("expected a number, found {}", shown(&config, "lora_alpha"));
        let alpha = alpha.ok_or_else(|| wrong("lora_alpha", found()))?;
        let by = match config.get("use_rslora") {
            Some(Value::Bool(true)) => (rank as f64).sqrt(),
            None | Some(Value::Bool(false) | Value::Null) => rank as f64,
            Some(other) => return Err(wrong("use_rslora", format!("expected true or false, found {other}"))),
        };
        let index = read_headers(dir, &[WEIGHTS.to_owned()], &[].into())?;
        let made_for =
            config.get("base_model_name_or_path").and_then(Value::as_str).unwrap_or("an unnamed model");
        let made_for = made_for.chars().take(200).collect();
        let every_layer = asks_for_every_layer(&config);
        Ok(Self { dir: dir.to_owned(), made_for, every_layer, rank: rank as usize, scale: alpha / by, index })
    }

    /// Its directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        [CONFIG, WEIGHTS].map(|name| self.dir.join(name)).to_vec()
    }
}

/// Refuses what is asked for besides plain low-rank matrices.
fn check(path: &Path, config: &Value) -> Result<()> {
    for (field, neutral) in NEUTRAL {
        let Some(found) = config.get(field).filter(|found| !found.is_null()) else { continue };
        if !neutral.contains(&found.to_string().as_str()) {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: format!("an adapter whose {field} is {}", shown(config, field)),
                hint: "merge it with PEFT (`merge_and_unload`) and give the merged model".into(),
            });
        }
    }
    Ok(())
}

/// Whether projections are named without their layers.
fn asks_for_every_layer(config: &Value) -> bool {
    let is_none = |field: &str| config.get(field).is_none_or(Value::is_null);
    let is_plain = |module: &Value| module.as_str().is_some_and(|module| !module.contains('.'));
    let targets = config.get("target_modules").and_then(Value::as_array);
    ["layers_to_transform", "exclude_modules"].into_iter().all(is_none)
        && targets.is_some_and(|targets| targets.iter().all(is_plain))
}

/// A field as a message shows it.
fn shown(config: &Value, field: &str) -> String {
    config.get(field).map_or("none".into(), |value| value.to_string().chars().take(80).collect())
}

/// An adapter on its way into a model.
pub(crate) struct Merging<'a> {
    adapter: &'a Adapter,
    /// Where the model is.
    model: &'a Path,
    layout: AdapterLayout<'a>,
    /// Of the model's files.
    order: RowOrder,
    taken: BTreeSet<String>,
}

impl<'a> Merging<'a> {
    /// Of an adapter and the place of the model whose rows stand in this order.
    pub(super) fn new(
        (adapter, model): (&'a Adapter, &'a Path),
        layout: AdapterLayout<'a>,
        order: RowOrder,
    ) -> Self {
        Self { adapter, model, layout, order, taken: BTreeSet::new() }
    }

    /// Whether the adapter adds something to the matrix at `slot`.
    pub(super) fn adapts(&self, slot: Slot) -> bool {
        let is_there = |side| self.adapter.index.shape(&self.layout.name(slot, side)).is_some();
        is_there(Side::A) || is_there(Side::B)
    }

    /// Refuses an adapter that does not fit, before anything is merged; `shape` gives those (out, in) of matrices.
    pub(super) fn check(mut self, shape: impl Fn(Slot) -> Result<[usize; 2]>) -> Result<()> {
        for slot in self.layout.slots().filter(|slot| self.adapts(*slot)).collect::<Vec<_>>() {
            let [n_out, n_in] = shape(slot)?;
            let sides = [(Side::A, [self.adapter.rank, n_in]), (Side::B, [n_out, self.adapter.rank])];
            for (side, shape) in sides {
                let name = self.layout.name(slot, side);
                self.adapter.index.check(&name, &shape).map_err(|error| self.foreign(error))?;
                self.taken.insert(name);
            }
        }
        self.finish()
    }

    /// The matrix at `slot`, with what the adapter adds to it.
    pub(crate) fn merge(&mut self, slot: Slot, stored: RawTensor) -> Result<RawTensor> {
        if !self.adapts(slot) {
            return Ok(stored);
        }
        let rank = self.adapter.rank;
        let (n_out, n_in) = (stored.n_rows(), stored.width());
        let (b, a) = (self.side(slot, Side::B, [n_out, rank])?, self.side(slot, Side::A, [rank, n_in])?);
        let product = b.matmul(&a)?; // (out, in)
        let scale = self.adapter.scale as f32;
        let added: Vec<f32> =
            with_values(&product, |values| values.iter().map(|value| value * scale).collect())?;
        let added = RawTensor::of_f32(&added, [n_out, n_in]);
        let added = self.layout.reorder(slot, added, [RowOrder::Checkpoint, self.order]).to_f32()?;
        let sums: Vec<f32> =
            stored.to_f32()?.iter().zip(added).map(|(weight, added)| weight + added).collect();
        Ok(RawTensor::of_f32(&sums, [n_out, n_in]))
    }

    /// One of the adapter's matrices for the projection at `slot`.
    fn side(&mut self, slot: Slot, side: Side, shape: [usize; 2]) -> Result<Tensor> {
        let name = self.layout.name(slot, side);
        let read = self.adapter.index.read(&name, &shape).map_err(|error| self.foreign(error))?;
        self.taken.insert(name);
        Ok(Tensor::from_vec(read.to_f32()?, &shape, &Device::Cpu)?)
    }

    /// A tensor of another shape is one of an adapter for another model.
    fn foreign(&self, error: Error) -> Error {
        match error {
            Error::Shape { path, tensor, expected, found } => {
                let problem = format!("tensor {tensor}: expected shape {expected:?}, found {found:?}");
                self.made_for_another((path, problem))
            }
            other => other,
        }
    }

    fn made_for_another(&self, (adapter, problem): (PathBuf, String)) -> Error {
        let (made_for, model) = (self.adapter.made_for.clone(), self.model.to_owned());
        Error::ForeignAdapter { adapter, made_for, model, problem }
    }

    /// A matrix of a layer that is not adapted, though other layers are: the model has more layers than the adapter's.
    fn left_out(&self) -> Option<String> {
        let is_taken = |slot: &Slot| self.taken.contains(&self.layout.name(*slot, Side::A));
        let (taken, left): (Vec<Slot>, Vec<Slot>) = self.layout.slots().partition(is_taken);
        let same_part =
            |one: Slot, other: Slot| matches!((one, other), (Slot::Block(_, a), Slot::Block(_, b)) if a == b);
        let left = left.into_iter().find(|left| taken.iter().any(|taken| same_part(*left, *taken)));
        left.filter(|_| self.adapter.every_layer).map(|slot| self.layout.name(slot, Side::A))
    }

    /// Refuses tensors that went nowhere, and layers that got nothing though the adapter is for all.
    pub(crate) fn finish(self) -> Result<()> {
        let index = &self.adapter.index;
        let Some(name) = index.names().find(|name| !self.taken.contains(*name)) else {
            if self.taken.is_empty() {
                return Err(broken(&index.path_of(""), "expected tensors, found none".into()));
            }
            return self.left_out().map_or(Ok(()), |name| {
                let problem = format!("it has no tensor {name}, but others of this kind");
                Err(self.made_for_another((index.path_of(&name), problem)))
            });
        };
        if is_of_a_projection(name) {
            let problem = format!("it has no place for the tensor {name}");
            return Err(self.made_for_another((index.path_of(name), problem)));
        }
        Err(Error::Unsupported {
            path: index.path_of(name),
            what: format!("the tensor {name}, which adapts nothing that can be adapted here,"),
            hint: "adapter and model must belong together; only projections of attention and gated unit are \
                   adapted: merge others with PEFT (`merge_and_unload`)"
                .into(),
        })
    }
}

/// Whether a tensor adapts what some decoder here has, if not this one.
fn is_of_a_projection(name: &str) -> bool {
    const PROJECTIONS: [&str; 9] = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.qkv_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.gate_up_proj",
        "mlp.down_proj",
    ];
    let ends = [".lora_A.weight", ".lora_B.weight"];
    let Some(name) = ends.iter().find_map(|end| name.strip_suffix(end)) else { return false };
    PROJECTIONS.iter().any(|projection| name.ends_with(projection))
}

impl RawTensor {
    pub(crate) fn of_f32(values: &[f32], shape: [usize; 2]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: GgmlDType::F32, shape: shape.to_vec(), bytes }
    }
}
