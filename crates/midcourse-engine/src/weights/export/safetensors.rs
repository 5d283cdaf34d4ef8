//! Merged models of safetensors bases: a directory that transformers loads.
//!
//! Weights lie in files of the same names as the base's, tensors in the same order. Tokenizer, template and settings
//! are copied as they are; of `config.json` only the type of the weights changes, where another one was asked for.
//!
//! Source: the format's description in the safetensors repository; names of files as transformers saves them.

use std::path::Path;

use candle_core::quantized::GgmlDType;
use serde_json::{Map, Value, json};

use super::super::safetensors::{INDEX, SafetensorsDir};
use super::{MergedModel, OutFile, Planned, Precision, Source};
use crate::files;
use crate::{Error, Result};

/// What lies beside the weights and belongs to the model, if it is there.
const BESIDE: [&str; 12] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
];
/// Further chat templates, as transformers lays them down.
const TEMPLATES: &str = "additional_chat_templates";
/// The longest of these files have some 30 MB.
const MAX_BESIDE: u64 = 256 << 20;

/// The merged model of a safetensors base.
pub(super) fn merged<'a>(
    model: &'a MergedModel,
    dir: &SafetensorsDir,
    precision: Precision,
) -> Result<Vec<OutFile<'a>>> {
    let mut out = vec![whole("config.json", config(dir, precision)?)];
    for name in BESIDE.map(str::to_owned).into_iter().chain(templates(&dir.path)) {
        if dir.path.join(&name).exists() {
            out.push(whole(&name, read(&dir.path.join(&name))?));
        }
    }
    let mut n_bytes = 0;
    for (file, name) in dir.files.iter().enumerate() {
        let source = model.source()?;
        let tensors = planned(&source, file, precision)?;
        n_bytes += tensors.iter().map(Planned::n_bytes).sum::<u64>();
        out.push(weights(name, source, tensors));
    }
    if !dir.shards.is_empty() {
        let list = json!({"metadata": {"total_size": n_bytes}, "weight_map": dir.shards});
        out.push(whole(INDEX, format!("{list:#}\n").into_bytes()));
    }
    Ok(out)
}

/// A file whose bytes are there.
fn whole<'a>(name: &str, bytes: Vec<u8>) -> OutFile<'a> {
    let (name, n_bytes) = (name.to_owned(), bytes.len() as u64);
    OutFile { name, n_bytes, pieces: Box::new(std::iter::once(Ok(bytes))) }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    files::read(path, MAX_BESIDE).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Paths of further chat templates below the directory.
fn templates(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join(TEMPLATES)).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let templates = paths.filter(|path| path.extension().is_some_and(|ending| ending == "jinja"));
    let names = templates.filter_map(|path| Some(format!("{TEMPLATES}/{}", path.file_name()?.to_str()?)));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// `config.json`, which names the type of the weights.
fn config(dir: &SafetensorsDir, precision: Precision) -> Result<Vec<u8>> {
    let Some(dtype) = precision.dtype() else { return read(&dir.path.join("config.json")) };
    let name = match dtype {
        GgmlDType::F16 => "float16",
        GgmlDType::BF16 => "bfloat16",
        _ => "float32",
    };
    let mut config = dir.config.clone();
    let mut n_named = 0;
    for part in ["", "/text_config"] {
        for field in ["dtype", "torch_dtype"] {
            if let Some(value) = config.pointer_mut(&format!("{part}/{field}")) {
                *value = name.into();
                n_named += usize::from(part.is_empty());
            }
        }
    }
    if n_named == 0 {
        // The name that releases before 5 know, and later ones take.
        config["torch_dtype"] = name.into();
    }
    Ok(format!("{config:#}\n").into_bytes())
}

/// The tensors of one of the base's files, in their order there.
fn planned(source: &Source<'_>, file: usize, precision: Precision) -> Result<Vec<Planned>> {
    let tensors = source.index.in_file(file).into_iter().map(|(name, place)| {
        let stored = source.stored(name, place)?;
        let dtype = precision.dtype().unwrap_or(stored);
        Ok(Planned { name: name.clone(), shape: place.shape.clone(), dtype })
    });
    tensors.collect()
}

fn weights<'a>(name: &str, mut source: Source<'a>, tensors: Vec<Planned>) -> OutFile<'a> {
    let header = header(&tensors);
    let n_bytes = header.len() as u64 + tensors.iter().map(Planned::n_bytes).sum::<u64>();
    let tensors = tensors.into_iter().map(move |tensor| source.bytes(&tensor));
    let pieces = Box::new(std::iter::once(Ok(header)).chain(tensors));
    OutFile { name: name.to_owned(), n_bytes, pieces }
}

/// The header after its length, filled up to a multiple of 8 bytes.
fn header(tensors: &[Planned]) -> Vec<u8> {
    let mut entries = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut at = 0;
    for tensor in tensors {
        let dtype = match tensor.dtype {
            GgmlDType::F16 => "F16",
            GgmlDType::BF16 => "BF16",
            _ => "F32",
        };
        let end = at + tensor.n_bytes();
        let entry = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [at, end]});
        entries.insert(tensor.name.clone(), entry);
        at = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), &header[..]].concat()
}
