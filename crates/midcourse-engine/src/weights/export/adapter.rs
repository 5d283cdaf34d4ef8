//! An adapter as a GGUF file, which llama.cpp loads beside a model.
//!
//! llama.cpp scales by α/R whatever made the adapter, so that α is written as the scale times R. Rows of B stand as
//! those of the model's GGUF file.
//!
//! Source: `convert_lora_to_gguf.py` and `llama-adapter.cpp` of llama.cpp.

use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;

use super::super::adapter::Adapter;
use super::super::layout::{RowOrder, Side};
use super::super::names::{Names, Slot};
use super::super::{ModelFiles, gguf::GgufFile, metadata::Metadata};
use super::gguf::{Entry, Layout, file_type_key, number_key, text_key};
use super::{OutFile, Planned, Precision, check, converted};
use crate::model::ModelConfig;
use crate::{Error, Result};

/// An adapter and the model that it fits, on their way to llama.cpp.
#[derive(Debug)]
pub struct GgufAdapter {
    files: ModelFiles,
    config: ModelConfig,
    adapter: Adapter,
    architecture: String,
}

/// A matrix of the adapter: where it belongs, and how it will be written.
struct Matrix {
    slot: Slot,
    side: Side,
    planned: Planned,
}

impl GgufAdapter {
    /// Opens both, and checks that they belong together and that llama.cpp can take the adapter.
    ///
    /// # Errors
    /// As [`MergedModel::open`](super::MergedModel::open); [`Error::Unsupported`] when GGUF has no such architecture.
    pub fn open(model: &Path, adapter: &Path) -> Result<Self> {
        let files = ModelFiles::open(model)?;
        let (config, adapter) = (files.config()?, Adapter::open(adapter)?);
        check(&files, &config, &adapter)?;
        if adapter.scale == 0.0 {
            return Err(Error::Config {
                path: adapter.dir().join(super::super::peft::CONFIG),
                field: "lora_alpha".into(),
                problem: "expected another number than 0, by which llama.cpp does not scale at all".into(),
            });
        }
        let architecture = architecture(&files, &config)?;
        Ok(Self { files, config, adapter, architecture })
    }

    /// The base's files.
    pub fn base(&self) -> &ModelFiles {
        &self.files
    }

    /// The file.
    ///
    /// # Errors
    /// Of its tensors, when their pieces are taken.
    pub fn out(&self, precision: Precision) -> Result<OutFile<'_>> {
        let dtype = precision.dtype().unwrap_or(GgmlDType::F32);
        let matrices = self.matrices(dtype)?;
        let entries = matrices.iter().map(|matrix| Entry::new(matrix.planned.clone())).collect();
        let layout = Layout::new(self.keys(dtype), entries);
        let header = layout.header();
        let n_bytes = layout.n_bytes(&header);
        let tensors = matrices.into_iter().map(move |matrix| Ok(layout.filled(self.bytes(&matrix)?)));
        let pieces = Box::new(std::iter::once(Ok(header)).chain(tensors));
        Ok(OutFile { name: "adapter.gguf".into(), n_bytes, pieces })
    }

    fn keys(&self, dtype: GgmlDType) -> Vec<super::gguf_header::Key> {
        let alpha = self.adapter.scale * self.adapter.rank as f64;
        vec![
            text_key("general.architecture", &self.architecture),
            text_key("general.type", "adapter"),
            file_type_key(dtype),
            text_key("adapter.type", "lora"),
            number_key("adapter.lora.alpha", alpha as f32),
        ]
    }

    fn matrices(&self, dtype: GgmlDType) -> Result<Vec<Matrix>> {
        let layout = self.files.adapter_layout(&self.config)?;
        let sides = [(Side::A, "weight.lora_a"), (Side::B, "weight.lora_b")];
        let all = layout.slots().flat_map(|slot| sides.map(|(side, kind)| (slot, side, kind)));
        let matrix = |(slot, side, kind): (Slot, Side, &str)| {
            let shape = self.adapter.index.shape(&layout.name(slot, side))?.to_vec();
            Some(Matrix { slot, side, planned: Planned { name: Names::Gguf.of(slot, kind), shape, dtype } })
        };
        Ok(all.filter_map(matrix).collect())
    }

    fn bytes(&self, matrix: &Matrix) -> Result<Vec<u8>> {
        let layout = self.files.adapter_layout(&self.config)?;
        let name = layout.name(matrix.slot, matrix.side);
        let read = self.adapter.index.read(&name, &matrix.planned.shape)?;
        let rows = match matrix.side {
            Side::A => read,
            Side::B => layout.reorder(matrix.slot, read, [RowOrder::Checkpoint, RowOrder::Gguf]),
        };
        converted(rows, matrix.planned.dtype, |problem| Error::Unsupported {
            path: self.adapter.index.path_of(&name),
            what: format!("the tensor {name}, {problem},"),
            hint: "take --dtype f32".into(),
        })
    }
}

/// What llama.cpp calls the model's architecture.
fn architecture(files: &ModelFiles, config: &ModelConfig) -> Result<String> {
    let of_file = |file: &GgufFile| {
        let meta = Metadata { path: &file.path, values: &file.content.metadata };
        meta.text("general.architecture").map(str::to_owned)
    };
    match (files, config.family.architecture()) {
        (ModelFiles::Gguf(file), _) => of_file(file),
        (ModelFiles::Safetensors(_), Some(architecture)) => Ok(architecture.to_owned()),
        (ModelFiles::Safetensors(_), None) => Err(Error::Unsupported {
            path: PathBuf::from(files.path()),
            what: format!("a GGUF adapter for the family {}", config.family.name),
            hint: "name the model's GGUF file with --model: its header says what llama.cpp takes it for"
                .into(),
        }),
    }
}
