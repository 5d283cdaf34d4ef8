//! Directories with `config.json` and safetensors, whole or in shards.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use safetensors::tensor::Metadata;

use super::index::{Place, TensorIndex, broken, n_bytes};
use super::names::Names;
use crate::chat_template::{self, Templates};
use crate::files;
use crate::model::ModelConfig;
use crate::{Error, Result};

/// Name of the file when there is one.
const SINGLE: &str = "model.safetensors";
/// Name of the list of shards when there are several.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// Bytes of the longest header that is read: those of models of 72 billion parameters take a hundredth.
const MAX_HEADER: u64 = 16 << 20;

/// Bytes of the longest JSON file that is read whole: lists of shards have some 100 KB, settings of tokenizers
/// with every added token some MB at most.
const MAX_JSON: u64 = 8 << 20;

/// An open model directory.
#[derive(Debug)]
pub struct SafetensorsDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its `config.json`.
    pub config: serde_json::Value,
    /// Its safetensors files.
    pub(super) files: Vec<String>,
    /// For every tensor, the file that holds it; empty when there is one file.
    pub(super) shards: BTreeMap<String, String>,
    /// Made when it is first asked for.
    index: OnceCell<TensorIndex>,
}

impl SafetensorsDir {
    /// Reads `config.json` and the list of shards. The safetensors files need not be there yet.
    pub fn open(path: &Path) -> Result<Self> {
        let config = path.join("config.json");
        if !config.exists() {
            return Err(Error::ModelFile {
                path: path.to_owned(),
                problem: "expected config.json in the directory, found none".into(),
                hint: "name a directory as transformers saves it, or the .gguf file itself".into(),
            });
        }
        let config = read_json(&config)?;
        let has = |name: &str| path.join(name).exists();
        let shards = if has(INDEX) && !has(SINGLE) { read_index(path)? } else { BTreeMap::new() };
        let mut files: Vec<String> = shards.values().cloned().collect();
        files.sort_unstable();
        files.dedup();
        if files.is_empty() {
            files.push(SINGLE.to_owned());
        }
        Ok(Self { path: path.to_owned(), config, files, shards, index: OnceCell::new() })
    }

    /// Where the tensors lie, from the headers of the safetensors files.
    pub(super) fn index(&self) -> Result<&TensorIndex> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        if self.shards.is_empty() && !self.path.join(SINGLE).exists() {
            return Err(Error::ModelFile {
                path: self.path.clone(),
                problem: format!("expected {SINGLE} or {INDEX} beside config.json, found neither"),
                hint:
                    "weights must be safetensors; pickle (pytorch_model.bin) is never read: convert it first"
                        .into(),
            });
        }
        let index = read_headers(&self.path, &self.files, &self.shards)?;
        Ok(self.index.get_or_init(|| index))
    }

    /// The chat templates, by name.
    pub(crate) fn chat_templates(&self) -> Result<Templates> {
        let settings = self.path.join("tokenizer_config.json");
        let settings = if settings.exists() { Some(read_json(&settings)?) } else { None };
        chat_template::of_dir(&self.path, settings.as_ref())
    }

    /// The files that make the model.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let small = [
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
        ];
        let there =
            small.into_iter().chain(self.files.iter().map(String::as_str)).map(|name| self.path.join(name));
        there.filter(|path| path.exists()).collect()
    }

    /// How the files name the decoder's tensors: a language model inside another one has a longer prefix.
    pub(super) fn names(index: &TensorIndex, config: &ModelConfig) -> Names {
        const EMBEDDING: &str = "embed_tokens.weight";
        let embedding = index.names().find_map(|name| name.strip_suffix(EMBEDDING));
        let head = index.names().find_map(|name| {
            name.strip_suffix(".weight").filter(|name| name.rsplit('.').next() == Some("lm_head"))
        });
        Names::Safetensors {
            prefix: embedding.unwrap_or("model.").to_owned(),
            head: head.unwrap_or("lm_head").to_owned(),
            norms: config.family.norms,
        }
    }
}

/// Reads the headers of `files` in `dir`; `shards` says which file holds a tensor, when there are several.
pub(super) fn read_headers(
    dir: &Path,
    files: &[String],
    shards: &BTreeMap<String, String>,
) -> Result<TensorIndex> {
    let paths: Vec<PathBuf> = files.iter().map(|file| dir.join(file)).collect();
    let list = match files {
        [only] if shards.is_empty() => dir.join(only),
        _ => dir.join(INDEX),
    };
    let mut index = TensorIndex::new(&list, paths.clone());
    for (file, path) in paths.iter().enumerate() {
        let (header, start) = read_header(path)?;
        for (name, info) in header.tensors() {
            // A shard may hold what the index does not list, as an old download beside a new one does.
            if !shards.is_empty() && shards.get(&name) != Some(&files[file]) {
                continue;
            }
            let offset = start.saturating_add(info.data_offsets.0 as u64);
            let place = Place { file, offset, shape: info.shape.clone(), dtype: ggml_dtype(info.dtype) };
            let (from, to) = info.data_offsets;
            let expected = place.dtype.as_ref().ok().map(|dtype| n_bytes(&info.shape, *dtype));
            if expected.is_some_and(|expected| expected != to.checked_sub(from).map(|n| n as u64)) {
                let shape = &info.shape;
                let problem = format!("tensor {name} of shape {shape:?} does not fill bytes {from} to {to}");
                return Err(broken(path, problem));
            }
            index.insert(name, place);
        }
    }
    match shards.keys().find(|name| index.shape(name).is_none()) {
        Some(name) => {
            let problem = format!("tensor {name} is listed in {}, which does not hold it", shards[name]);
            Err(broken(&dir.join(INDEX), problem))
        }
        None => Ok(index),
    }
}

/// The header of a safetensors file, and the byte at which the tensors begin.
fn read_header(path: &Path) -> Result<(Metadata, u64)> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let wrong = |problem: String| broken(path, format!("in the header: {problem}"));
    let mut file = files::open(path).map_err(read)?;
    let len = file.metadata().map_err(read)?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|_| wrong(format!("expected 8 bytes, found {len}")))?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER || size > len - 8 {
        return Err(wrong(format!("expected at most {} bytes of it, found {size}", MAX_HEADER.min(len - 8))));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(read)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| wrong(e.to_string()))?;
    let end = header.tensors().values().map(|info| info.data_offsets.1 as u64).max().unwrap_or(0);
    if end != len - 8 - size {
        return Err(wrong(format!("expected {end} bytes of tensors after it, found {}", len - 8 - size)));
    }
    Ok((header, size + 8))
}

fn ggml_dtype(dtype: safetensors::Dtype) -> std::result::Result<GgmlDType, String> {
    match dtype {
        safetensors::Dtype::F32 => Ok(GgmlDType::F32),
        safetensors::Dtype::F16 => Ok(GgmlDType::F16),
        safetensors::Dtype::BF16 => Ok(GgmlDType::BF16),
        other => Err(format!("{other:?}")),
    }
}

fn read_index(dir: &Path) -> Result<BTreeMap<String, String>> {
    let path = dir.join(INDEX);
    let json = read_json(&path)?;
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| broken(&path, "field weight_map: expected an object of tensors".into()))?;
    let shard = |(tensor, file): (&String, &serde_json::Value)| match file.as_str() {
        Some(file) if !file.contains(['/', '\\']) && file.ends_with(".safetensors") => {
            Ok((tensor.clone(), file.to_owned()))
        }
        _ => Err(broken(&path, format!("field weight_map.{tensor}: {file} is no file name here"))),
    };
    map.iter().map(shard).collect()
}

pub(crate) fn read_json(path: &Path) -> Result<serde_json::Value> {
    let bytes =
        files::read(path, MAX_JSON).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|e| broken(path, format!("expected JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_without_end_is_not_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        let problem = read_json(file.path()).unwrap_err().to_string();
        assert!(problem.ends_with("expected at most 8388608 bytes, found more"), "{problem}");
    }
}
