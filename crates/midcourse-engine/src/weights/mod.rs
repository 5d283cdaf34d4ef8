//! Weights by their place in the decoder, from GGUF files or safetensors directories.
//!
//! A tensor's shape is checked against what the configuration wants before anything is allocated for it, and a
//! tensor of a block that nobody asks for is refused: the model has something that the decoder does not do.
//! Pickle is never read.

pub mod export;
pub mod gguf;
pub mod metadata;
pub mod peft;
pub mod safetensors;

mod adapter;
mod index;
mod layout;
mod names;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(crate) use adapter::{Adapter, Merging};
pub(crate) use index::{RawTensor, TensorIndex};
#[cfg(test)]
pub(crate) use layout::Side;
pub(crate) use layout::{AdapterLayout, RowOrder, reorder};
use names::Names;
pub(crate) use names::{Part, Slot};

use crate::model::ModelConfig;
use crate::{Error, Result};

/// The form in which weights are kept in memory. Arithmetic is in f32 whatever the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits, laid out for the product.
    F32,
    /// 16 bits: the upper half of an f32.
    Bf16,
    /// As the file stores them: quantised blocks, or 16 bits.
    Stored,
}

impl Dtype {
    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Stored => "as stored",
        }
    }
}

/// A model's files, opened.
#[derive(Debug)]
pub enum ModelFiles {
    /// One GGUF file.
    Gguf(gguf::GgufFile),
    /// A directory with `config.json` and safetensors.
    Safetensors(safetensors::SafetensorsDir),
}

impl ModelFiles {
    /// Opens what is at `path`: a directory is read as safetensors, a file as GGUF.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            Ok(Self::Safetensors(safetensors::SafetensorsDir::open(path)?))
        } else {
            Ok(Self::Gguf(gguf::GgufFile::open(path)?))
        }
    }

    /// What the decoder is.
    pub fn config(&self) -> Result<ModelConfig> {
        match self {
            Self::Gguf(file) => ModelConfig::from_gguf(file),
            Self::Safetensors(dir) => ModelConfig::from_json(&dir.path.join("config.json"), &dir.config),
        }
    }

    /// The files that make the model, in a fixed order, for hashing.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Gguf(file) => vec![file.path.clone()],
            Self::Safetensors(dir) => dir.files(),
        }
    }

    /// Bytes that the weights take in the files.
    pub fn stored_bytes(&self) -> Result<u64> {
        Ok(self.index()?.stored_bytes())
    }

    /// Whether the files hold blocks of fewer than 16 bits a weight; safetensors never do.
    pub fn is_quantized(&self) -> bool {
        match self {
            Self::Gguf(file) => file.index.is_quantized(),
            Self::Safetensors(_) => false,
        }
    }

    /// The weights, to be taken one by one.
    pub(crate) fn weights(&self, config: &ModelConfig) -> Result<Weights<'_>> {
        Ok(Weights { index: self.index()?, names: self.names(config)?, taken: BTreeSet::new() })
    }

    /// An adapter on its way into the model.
    pub(crate) fn merging<'a>(
        &'a self,
        adapter: &'a Adapter,
        config: &'a ModelConfig,
    ) -> Result<Merging<'a>> {
        let order = match self {
            Self::Gguf(_) => RowOrder::Gguf,
            Self::Safetensors(_) => RowOrder::Checkpoint,
        };
        Ok(Merging::new((adapter, self.path()), self.adapter_layout(config)?, order))
    }

    /// How adapters of this model name and order their matrices.
    pub(crate) fn adapter_layout<'a>(&self, config: &'a ModelConfig) -> Result<AdapterLayout<'a>> {
        let none = TensorIndex::default();
        // An adapter of a GGUF file's model was made on its checkpoint.
        let index = if let Self::Safetensors(dir) = self { dir.index()? } else { &none };
        Ok(AdapterLayout::new(config, safetensors::SafetensorsDir::names(index, config)))
    }

    /// Where the model is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Gguf(file) => &file.path,
            Self::Safetensors(dir) => &dir.path,
        }
    }

    /// How the files name their tensors.
    fn names(&self, config: &ModelConfig) -> Result<Names> {
        match self {
            Self::Gguf(_) => Ok(Names::Gguf),
            Self::Safetensors(dir) => Ok(safetensors::SafetensorsDir::names(dir.index()?, config)),
        }
    }

    fn index(&self) -> Result<&TensorIndex> {
        match self {
            Self::Gguf(file) => Ok(&file.index),
            Self::Safetensors(dir) => dir.index(),
        }
    }
}

/// Where tensors are taken from.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    index: &'a TensorIndex,
    names: Names,
    taken: BTreeSet<String>,
}

impl Weights<'_> {
    /// Refuses a tensor that is missing or has another shape.
    pub(crate) fn check(&self, slot: Slot, shape: [usize; 2]) -> Result<()> {
        self.index.check(&self.names.of(slot, "weight"), &shape).map(drop)
    }

    /// Whether the files hold a head that is not the embedding. A configuration that ties the two is wrong then,
    /// and transformers takes the head.
    pub(crate) fn has_head_of_its_own(&self) -> Result<bool> {
        let [head, embedding] = [Slot::Head, Slot::Embedding].map(|slot| self.names.of(slot, "weight"));
        let (Some(shape), Some(other)) = (self.index.shape(&head), self.index.shape(&embedding)) else {
            return Ok(false);
        };
        let differ = || Ok(self.index.read(&head, shape)?.bytes != self.index.read(&embedding, other)?.bytes);
        if shape == other { differ() } else { Ok(true) }
    }

    /// Reads a matrix.
    ///
    /// # Shapes
    /// Result `shape` = (out, in).
    pub(crate) fn matrix(&mut self, slot: Slot, shape: [usize; 2]) -> Result<RawTensor> {
        self.take(self.names.of(slot, "weight"), &shape)
    }

    /// Reads a vector of `n` values.
    pub(crate) fn vector(&mut self, slot: Slot, n: usize) -> Result<Vec<f32>> {
        self.take(self.names.of(slot, "weight"), &[n])?.to_f32()
    }

    /// Reads the bias of a projection to `n` values.
    pub(crate) fn bias(&mut self, slot: Slot, n: usize) -> Result<RawTensor> {
        self.take(self.names.of(slot, "bias"), &[n])
    }

    /// Refuses tensors of the blocks that were not taken.
    pub(crate) fn finish(self) -> Result<()> {
        let prefix = self.names.blocks();
        // A constant that old checkpoints of Llama carry along.
        let constant = |name: &str| name.ends_with("rotary_emb.inv_freq");
        let mut left = self.index.names().filter(|name| name.starts_with(&prefix));
        let left = left.find(|name| !self.taken.contains(*name) && !constant(name));
        let Some(name) = left else { return Ok(()) };
        Err(Error::Unsupported {
            path: self.index.path_of(name),
            what: format!("the tensor {name}, which the configuration does not speak of,"),
            hint: "configuration and weights must come from the same model; adapters and quantised \
                   checkpoints must be merged first"
                .into(),
        })
    }

    fn take(&mut self, name: String, shape: &[usize]) -> Result<RawTensor> {
        let tensor = self.index.read(&name, shape)?;
        self.taken.insert(name);
        Ok(tensor)
    }
}
