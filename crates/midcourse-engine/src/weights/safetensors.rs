//! Directories with `config.json` and safetensors, whole or in shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device, Tensor};

use crate::chat_template::{self, Templates};
use crate::{Error, Result};

/// Name of the file when there is one.
const SINGLE: &str = "model.safetensors";
/// Name of the list of shards when there are several.
const INDEX: &str = "model.safetensors.index.json";

/// An open model directory.
#[derive(Debug)]
pub struct SafetensorsDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its `config.json`.
    pub config: serde_json::Value,
    /// For every tensor, the file that holds it; empty when there is one file.
    shards: BTreeMap<String, String>,
    /// The file read last: tensors are asked for in about the order they are stored in.
    open: Option<(String, Shard)>,
}

/// A file in memory.
struct Shard(BufferedSafetensors);

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shard")
    }
}

impl SafetensorsDir {
    /// Reads `config.json` and the list of shards.
    pub fn open(path: &Path) -> Result<Self> {
        let config = read_json(&path.join("config.json"))?;
        let shards = if path.join(SINGLE).exists() { BTreeMap::new() } else { read_index(path)? };
        Ok(Self { path: path.to_owned(), config, shards, open: None })
    }

    /// The chat templates, by name.
    pub(crate) fn chat_templates(&self) -> Result<Templates> {
        let settings = self.path.join("tokenizer_config.json");
        let settings = if settings.exists() { Some(read_json(&settings)?) } else { None };
        chat_template::of_dir(&self.path, settings.as_ref())
    }

    /// The files that make the model.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut names: Vec<&str> = self.shards.values().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            names.push(SINGLE);
        }
        let small = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
        let there = small.into_iter().chain(names).map(|name| self.path.join(name));
        there.filter(|path| path.exists()).collect()
    }

    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let file = match self.shards.get(name) {
            Some(file) => file.clone(),
            None if self.shards.is_empty() => SINGLE.to_owned(),
            None => return Err(broken(&self.path.join(INDEX), format!("tensor {name} is not listed"))),
        };
        let path = self.path.join(&file);
        let shard = self.shard(file)?;
        let wrap = |e: candle_core::Error| broken(&path, format!("tensor {name}: {e}"));
        let found = shard.0.get(name).map_err(wrap)?.shape().to_vec();
        if found != shape {
            return Err(Error::Shape { path, tensor: name.into(), expected: shape.to_vec(), found });
        }
        shard.0.load(name, &Device::Cpu).and_then(|t| t.to_dtype(DType::F32)).map_err(wrap)
    }

    fn shard(&mut self, file: String) -> Result<&Shard> {
        let shard = match self.open.take() {
            Some((name, shard)) if name == file => shard,
            _ => read_shard(&self.path.join(&file))?,
        };
        Ok(&self.open.insert((file, shard)).1)
    }
}

fn read_shard(path: &Path) -> Result<Shard> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    BufferedSafetensors::new(bytes).map(Shard).map_err(|e| broken(path, format!("in the header: {e}")))
}

fn read_index(dir: &Path) -> Result<BTreeMap<String, String>> {
    let path = dir.join(INDEX);
    if !path.exists() {
        let problem = format!("expected {SINGLE} or {INDEX} beside config.json, found neither");
        return Err(broken(dir, problem));
    }
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
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|e| broken(path, format!("expected JSON: {e}")))
}

fn broken(path: &Path, problem: String) -> Error {
    let hint = "the file is cut short or damaged; download it again".into();
    Error::ModelFile { path: path.to_owned(), problem, hint }
}
