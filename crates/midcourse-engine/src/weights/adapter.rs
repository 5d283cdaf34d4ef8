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
use super::names::{Names, Part, Slot};
use super::safetensors::{read_headers, read_json};
use crate::model::{ModelConfig, with_values};
use crate::{Error, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the names of a checkpoint.
const PREFIX: &str = "base_model.model.";
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
    rank: usize,
    scale: f64,
    index: TensorIndex,
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
        Ok(Self { dir: dir.to_owned(), rank: rank as usize, scale: alpha / by, index })
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

/// A field as a message shows it.
fn shown(config: &Value, field: &str) -> String {
    config.get(field).map_or("none".into(), |value| value.to_string().chars().take(80).collect())
}

/// What an adapter calls the projections that it adapts.
#[derive(Debug)]
pub(crate) struct AdapterNames(Names);

impl AdapterNames {
    /// `names` are those of the checkpoint that is adapted.
    pub(super) fn new(names: Names) -> Self {
        Self(names.behind(PREFIX))
    }

    /// The name of a projection, behind PEFT's prefix.
    pub(crate) fn of(&self, slot: Slot) -> String {
        let weight = self.0.of(slot, "weight");
        weight.strip_suffix(".weight").unwrap_or(&weight).to_owned()
    }
}

/// An adapter on its way into a model.
pub(crate) struct Merging<'a> {
    adapter: &'a Adapter,
    config: &'a ModelConfig,
    /// What the adapter calls the matrices.
    names: Names,
    taken: BTreeSet<String>,
}

impl<'a> Merging<'a> {
    /// `names` are those of the checkpoint that was adapted.
    pub(super) fn new(adapter: &'a Adapter, config: &'a ModelConfig, names: Names) -> Self {
        Self { adapter, config, names: names.behind(PREFIX), taken: BTreeSet::new() }
    }

    /// The matrix at `slot`, with what the adapter adds to it.
    pub(crate) fn merge(&mut self, slot: Slot, stored: RawTensor) -> Result<RawTensor> {
        let [a, b] = ["lora_A.weight", "lora_B.weight"].map(|kind| self.names.of(slot, kind));
        let index = &self.adapter.index;
        if index.shape(&a).is_none() && index.shape(&b).is_none() {
            return Ok(stored);
        }
        let rank = self.adapter.rank;
        let (n_out, n_in) = (stored.n_rows(), stored.width());
        let matrix = |name: &str, shape: [usize; 2]| -> Result<Tensor> {
            Ok(Tensor::from_vec(index.read(name, &shape)?.to_f32()?, &shape, &Device::Cpu)?)
        };
        let product = matrix(&b, [n_out, rank])?.matmul(&matrix(&a, [rank, n_in])?)?; // (out, in)
        let scale = self.adapter.scale as f32;
        let added: Vec<f32> =
            with_values(&product, |values| values.iter().map(|value| value * scale).collect())?;
        let added = self.as_stored(slot, RawTensor::of_f32(&added, [n_out, n_in])).to_f32()?;
        let sums: Vec<f32> =
            stored.to_f32()?.iter().zip(added).map(|(weight, added)| weight + added).collect();
        self.taken.extend([a, b]);
        Ok(RawTensor::of_f32(&sums, [n_out, n_in]))
    }

    /// Rows in the order of the model's file: a GGUF file may keep those of q and k otherwise than the checkpoint.
    fn as_stored(&self, slot: Slot, rows: RawTensor) -> RawTensor {
        match slot {
            Slot::Block(_, Part::Q | Part::K) if self.config.reordered() => {
                rows.join_pairs(self.config.head_dim, self.config.rotaries[0].dims)
            }
            _ => rows,
        }
    }

    /// Refuses tensors that went nowhere.
    pub(crate) fn finish(self) -> Result<()> {
        let index = &self.adapter.index;
        let Some(name) = index.names().find(|name| !self.taken.contains(*name)) else {
            let empty = || broken(&index.path_of(""), "expected tensors, found none".into());
            return if self.taken.is_empty() { Err(empty()) } else { Ok(()) };
        };
        Err(Error::Unsupported {
            path: index.path_of(name),
            what: format!("the tensor {name}, which adapts nothing that can be adapted here,"),
            hint: "adapter and model must belong together; only projections of attention and gated unit are \
                   adapted: merge others with PEFT (`merge_and_unload`)"
                .into(),
        })
    }
}

impl RawTensor {
    fn of_f32(values: &[f32], shape: [usize; 2]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: GgmlDType::F32, shape: shape.to_vec(), bytes }
    }
}
