//! Models and adapters out: a model with an adapter merged into it in the format of its files, and an adapter for
//! llama.cpp.
//!
//! A file comes as pieces, its header first and then tensor by tensor, so that memory holds one tensor whatever the
//! model's size. Everything is checked against everything before the first piece. Where the bytes go is the caller's.
//!
//! A model's files are not turned into those of another format: a GGUF file does not say all that `config.json` does.

mod adapter;
mod gguf;
mod gguf_header;
mod safetensors;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use serde::{Deserialize, Serialize};

use super::adapter::{Adapter, Merging};
use super::index::{Place, RawTensor, TensorIndex, broken, n_bytes};
use super::names::Slot;
use super::{ModelFiles, Names};
use crate::model::ModelConfig;
use crate::{Error, Result};

pub use adapter::GgufAdapter;

/// The form in which values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As the base stores them. What cannot be stored so, adapted matrices of a quantised base, becomes f32.
    Stored,
    /// 32 bits.
    F32,
    /// 16 bits, of which 10 are the fraction's. In GGUF files vectors stay in 32, as llama.cpp wants them.
    F16,
    /// 16 bits, of which 7 are the fraction's. In GGUF files vectors stay in 32.
    Bf16,
}

/// The format of a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelFormat {
    /// A directory with `config.json`.
    Safetensors,
    /// One file.
    Gguf,
}

impl ModelFormat {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
        }
    }
}

/// The bytes of a file, one after the other.
pub type Pieces<'a> = Box<dyn Iterator<Item = Result<Vec<u8>>> + 'a>;

/// A file in the making.
pub struct OutFile<'a> {
    /// Its path below the model's directory; of a model that is one file, the base's name.
    pub name: String,
    /// How long it will be.
    pub n_bytes: u64,
    /// Its bytes.
    pub pieces: Pieces<'a>,
}

/// A model and an adapter that fits it.
#[derive(Debug)]
pub struct MergedModel {
    files: ModelFiles,
    config: ModelConfig,
    adapter: Adapter,
}

impl MergedModel {
    /// Opens both, and checks that every matrix of the adapter has its place.
    ///
    /// # Errors
    /// When a file is missing or damaged, or [`Error::ForeignAdapter`] when the adapter is for another model.
    pub fn open(model: &Path, adapter: &Path) -> Result<Self> {
        let files = ModelFiles::open(model)?;
        let (config, adapter) = (files.config()?, Adapter::open(adapter)?);
        check(&files, &config, &adapter)?;
        Ok(Self { files, config, adapter })
    }

    /// The format of the base, in which the merged model is written.
    pub fn format(&self) -> ModelFormat {
        match self.files {
            ModelFiles::Gguf(_) => ModelFormat::Gguf,
            ModelFiles::Safetensors(_) => ModelFormat::Safetensors,
        }
    }

    /// The base's files.
    pub fn base(&self) -> &ModelFiles {
        &self.files
    }

    /// The merged model's files.
    ///
    /// # Errors
    /// As the base's header demands; of its tensors, when their pieces are taken.
    pub fn out(&self, precision: Precision) -> Result<Vec<OutFile<'_>>> {
        match &self.files {
            ModelFiles::Gguf(file) => Ok(vec![gguf::merged(self, file, precision)?]),
            ModelFiles::Safetensors(dir) => safetensors::merged(self, dir, precision),
        }
    }

    /// Takes tensors and merges what is to be merged.
    fn source(&self) -> Result<Source<'_>> {
        let names = self.files.names(&self.config)?;
        let merging = self.files.merging(&self.adapter, &self.config)?;
        let layout = self.files.adapter_layout(&self.config)?;
        let adapted = layout.slots().filter(|slot| merging.adapts(*slot));
        let slots = adapted.map(|slot| (names.of(slot, "weight"), slot)).collect();
        Ok(Source { index: self.files.index()?, merging, slots })
    }
}

/// Refuses an adapter that does not fit.
fn check(files: &ModelFiles, config: &ModelConfig, adapter: &Adapter) -> Result<()> {
    let (names, index): (Names, &TensorIndex) = (files.names(config)?, files.index()?);
    files.merging(adapter, config)?.check(|slot| {
        let name = names.of(slot, "weight");
        match index.shape(&name) {
            Some(&[n_out, n_in]) => Ok([n_out, n_in]),
            found => {
                let problem =
                    format!("tensor {name}: expected a matrix, found {:?}", found.unwrap_or_default());
                Err(broken(&index.path_of(&name), problem))
            }
        }
    })
}

/// Where a merged model's tensors come from.
struct Source<'a> {
    index: &'a TensorIndex,
    merging: Merging<'a>,
    /// Adapted matrices by their names in the base's files.
    slots: BTreeMap<String, Slot>,
}

/// A tensor as it is to be written.
#[derive(Debug, Clone)]
struct Planned {
    name: String,
    /// (out, in) for matrices.
    shape: Vec<usize>,
    dtype: GgmlDType,
}

impl Planned {
    /// Bytes that it will take.
    fn n_bytes(&self) -> u64 {
        n_bytes(&self.shape, self.dtype).unwrap_or(0)
    }
}

impl Source<'_> {
    fn is_adapted(&self, name: &str) -> bool {
        self.slots.contains_key(name)
    }

    /// The type in which the base stores a tensor.
    fn stored(&self, name: &str, place: &Place) -> Result<GgmlDType> {
        let dtype = place.dtype.clone();
        dtype.map_err(|found| {
            let problem = format!("tensor {name}: expected a type that weights have, found {found}");
            broken(&self.index.path_of(name), problem)
        })
    }

    /// The bytes of a tensor, merged where it is adapted.
    fn bytes(&mut self, planned: &Planned) -> Result<Vec<u8>> {
        let stored = self.index.read(&planned.name, &planned.shape)?;
        let tensor = match self.slots.get(&planned.name) {
            Some(slot) => self.merging.merge(*slot, stored)?,
            None => stored,
        };
        converted(tensor, planned.dtype, |problem| Error::Unsupported {
            path: self.index.path_of(&planned.name),
            what: format!("the tensor {}, {problem},", planned.name),
            hint: "take --dtype f32".into(),
        })
    }
}

/// A tensor's bytes in another type of 16 or 32 bits, or in its own. Values that f16 has no place for are refused.
fn converted(
    tensor: RawTensor,
    dtype: GgmlDType,
    refuse: impl FnOnce(&'static str) -> Error,
) -> Result<Vec<u8>> {
    if tensor.dtype == dtype {
        return Ok(tensor.bytes);
    }
    let values = tensor.to_f32()?;
    match dtype {
        GgmlDType::F16 => {
            let fits = |value: &f32| value.abs() < 65520.0 || !value.is_finite();
            if !values.iter().all(fits) {
                return Err(refuse("which holds values that f16 has no place for"));
            }
            Ok(values.into_iter().flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect())
        }
        GgmlDType::BF16 => {
            Ok(values.into_iter().flat_map(|value| half::bf16::from_f32(value).to_le_bytes()).collect())
        }
        _ => Ok(values.into_iter().flat_map(f32::to_le_bytes).collect()),
    }
}

impl Precision {
    /// The type that is asked for; none is the base's own.
    fn dtype(self) -> Option<GgmlDType> {
        match self {
            Self::Stored => None,
            Self::F32 => Some(GgmlDType::F32),
            Self::F16 => Some(GgmlDType::F16),
            Self::Bf16 => Some(GgmlDType::BF16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_and_those_beyond_f16_refused() {
        let tensor = |values: &[f32]| RawTensor::of_f32(values, [1, values.len()]);
        let refuse = |what: &'static str| Error::Script { path: "x".into(), problem: what.into() };
        let f16 = converted(tensor(&[1.0, 65519.0, -0.5]), GgmlDType::F16, refuse).unwrap();
        assert_eq!(f16, [0x00, 0x3c, 0xff, 0x7b, 0x00, 0xb8]);
        let bf16 = converted(tensor(&[1.0, 1e38]), GgmlDType::BF16, refuse).unwrap();
        assert_eq!(bf16[..2], [0x80, 0x3f]);
        let error = converted(tensor(&[70000.0]), GgmlDType::F16, refuse).unwrap_err();
        assert!(error.to_string().contains("f16 has no place"), "{error}");
    }
}
