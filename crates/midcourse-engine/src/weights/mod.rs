//! Weights by name, from GGUF files or safetensors directories, in f32.
//!
//! Tensors are asked for by the names of transformers' Llama (`model.layers.0.self_attn.q_proj.weight`) and
//! checked against the shape the configuration wants before anything is allocated for them. Pickle is never
//! read.

pub mod gguf;
pub mod metadata;
pub mod safetensors;

use std::path::{Path, PathBuf};

use candle_core::Tensor;

use crate::Result;
use crate::model::ModelConfig;

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
            Self::Gguf(file) => ModelConfig::from_gguf(&file.path, &file.content),
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

    /// The weights, to be taken one by one.
    pub fn into_weights(self) -> Weights {
        match self {
            Self::Gguf(file) => Weights::Gguf(file),
            Self::Safetensors(dir) => Weights::Safetensors(dir),
        }
    }
}

/// Where tensors are taken from.
#[derive(Debug)]
pub enum Weights {
    /// One GGUF file.
    Gguf(gguf::GgufFile),
    /// A directory of safetensors files.
    Safetensors(safetensors::SafetensorsDir),
}

impl Weights {
    /// Reads a tensor in f32 and checks its shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        match self {
            Self::Gguf(file) => file.take(name, shape),
            Self::Safetensors(dir) => dir.take(name, shape),
        }
    }
}
