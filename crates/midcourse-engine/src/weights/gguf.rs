//! GGUF files: metadata and where the tensors lie. Candle reads the container.

use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file;

use super::index::{Place, TensorIndex};
use crate::contain::contain;
use crate::files;
use crate::{Error, Result};

/// An open GGUF file.
#[derive(Debug)]
pub struct GgufFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its header.
    pub content: gguf_file::Content,
    pub(crate) index: TensorIndex,
}

impl GgufFile {
    /// Reads the header.
    pub fn open(path: &Path) -> Result<Self> {
        let file = files::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let mut reader = BufReader::new(file);
        let content = contain(|| gguf_file::Content::read(&mut reader));
        let content = content.and_then(|content| content.map_err(|error| first_line(&error)));
        let content = content.map_err(|problem| {
            let at = reader.stream_position().unwrap_or(0);
            Error::ModelFile {
                path: path.to_owned(),
                problem: format!("expected a GGUF header, but at byte {at}: {problem}"),
                hint: "the file is cut short or is not GGUF; a model is a .gguf file or a directory with \
                       config.json"
                    .into(),
            }
        })?;
        let mut index = TensorIndex::new(path, vec![path.to_owned()]);
        let mut tensors: Vec<_> = content.tensor_infos.iter().collect();
        tensors.sort_unstable_by_key(|(name, _)| *name);
        for (name, info) in tensors {
            let offset = content.tensor_data_offset.saturating_add(info.offset);
            let shape = info.shape.dims().to_vec();
            index.insert(name.clone(), Place { file: 0, offset, shape, dtype: Ok(info.ggml_dtype) });
        }
        Ok(Self { path: path.to_owned(), content, index })
    }

    /// The values of a vector that may be there.
    pub(crate) fn floats(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(shape) = self.index.shape(name) else { return Ok(None) };
        let values = self.index.read(name, shape)?.to_f32()?;
        Ok(Some(values.into_iter().map(f64::from).collect()))
    }
}

/// Candle's errors carry a backtrace below their first line.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
