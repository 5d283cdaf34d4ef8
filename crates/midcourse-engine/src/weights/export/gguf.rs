//! GGUF files out: header, then tensors, each at a multiple of the alignment.
//!
//! A merged model says what its base said, in the same order, but for the type of its tensors. By default all of them
//! are written in f32, so that the file has one precision; no blocks are made anew, since rounding to them could undo
//! what an adapter adds.
//!
//! Source: the GGUF specification in ggml's repository, version 3; file types as `enum llama_ftype` of llama.cpp.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;

use super::super::gguf::GgufFile;
use super::super::index::broken;
use super::gguf_header::{Header, Key};
use super::{MergedModel, OutFile, Planned, Precision, Source};
use crate::Result;

const VERSION: u32 = 3;
/// Where no key says otherwise.
const ALIGNMENT: u64 = 32;
const FILE_TYPE: &str = "general.file_type";

/// Numbers of types, as files write them.
const F32: u32 = 0;
const F16: u32 = 1;
const BF16: u32 = 30;

/// A tensor's entry in a header.
pub(super) struct Entry {
    pub(super) planned: Planned,
    /// The number that stands for its type.
    pub(super) kind: u32,
}

impl Entry {
    /// Of a tensor of 16 or 32 bits a value.
    pub(super) fn new(planned: Planned) -> Self {
        let kind = match planned.dtype {
            GgmlDType::F16 => F16,
            GgmlDType::BF16 => BF16,
            _ => F32,
        };
        Self { planned, kind }
    }
}

/// What a header says, and where it puts the tensors.
pub(super) struct Layout {
    pub(super) keys: Vec<Key>,
    pub(super) entries: Vec<Entry>,
    pub(super) alignment: u64,
}

impl Layout {
    /// A layout with the usual alignment.
    pub(super) fn new(keys: Vec<Key>, entries: Vec<Entry>) -> Self {
        Self { keys, entries, alignment: ALIGNMENT }
    }

    /// The header, filled up to the first tensor.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(b"GGUF");
        out.extend(VERSION.to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for key in &self.keys {
            out.extend(text(&key.name));
            out.extend(key.kind.to_le_bytes());
            out.extend(&key.value);
        }
        let mut offset = 0;
        for Entry { planned, kind } in &self.entries {
            out.extend(text(&planned.name));
            out.extend((planned.shape.len() as u32).to_le_bytes());
            // Innermost first.
            planned.shape.iter().rev().for_each(|&n| out.extend((n as u64).to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(u64::to_le_bytes(offset));
            offset += planned.n_bytes().next_multiple_of(self.alignment);
        }
        self.filled(out)
    }

    /// Bytes filled up to the alignment.
    pub(super) fn filled(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.resize((bytes.len() as u64).next_multiple_of(self.alignment) as usize, 0);
        bytes
    }

    /// Length of the file.
    pub(super) fn n_bytes(&self, header: &[u8]) -> u64 {
        let tensors =
            self.entries.iter().map(|entry| entry.planned.n_bytes().next_multiple_of(self.alignment));
        header.len() as u64 + tensors.sum::<u64>()
    }
}

/// A text after its length.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A key with a text.
pub(super) fn text_key(name: &str, value: &str) -> Key {
    Key { name: name.to_owned(), kind: 8, value: text(value) }
}

/// A key with a number of 32 bits.
pub(super) fn number_key(name: &str, value: f32) -> Key {
    Key { name: name.to_owned(), kind: 6, value: value.to_le_bytes().to_vec() }
}

/// A key that says in what type most of the tensors are.
pub(super) fn file_type_key(dtype: GgmlDType) -> Key {
    let file_type: u32 = match dtype {
        GgmlDType::F16 => 1,
        GgmlDType::BF16 => 32,
        _ => 0,
    };
    Key { name: FILE_TYPE.to_owned(), kind: 4, value: file_type.to_le_bytes().to_vec() }
}

/// The merged model of a GGUF base.
pub(super) fn merged<'a>(
    model: &'a MergedModel,
    file: &'a GgufFile,
    precision: Precision,
) -> Result<OutFile<'a>> {
    let mut source = model.source()?;
    let layout = layout(file, &source, precision)?;
    let header = layout.header();
    let n_bytes = layout.n_bytes(&header);
    let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let n = layout.entries.len();
    let tensors = (0..n).map(move |i| Ok(layout.filled(source.bytes(&layout.entries[i].planned)?)));
    Ok(OutFile { name, n_bytes, pieces: Box::new(std::iter::once(Ok(header)).chain(tensors)) })
}

fn layout(file: &GgufFile, source: &Source<'_>, precision: Precision) -> Result<Layout> {
    let Header { mut keys, tensors } = Header::read(file)?;
    if let (Some(dtype), Some(key)) = (precision.dtype(), keys.iter_mut().find(|key| key.name == FILE_TYPE)) {
        *key = file_type_key(dtype);
    }
    let entry = |super::gguf_header::Entry { name, kind }| {
        let place = source.index.place(&name);
        let place = place.ok_or_else(|| broken(&file.path, format!("tensor {name} is missing")))?;
        let stored = source.stored(&name, place)?;
        let shape = place.shape.clone();
        let dtype = match precision.dtype() {
            Some(_) if shape.len() < 2 => GgmlDType::F32,
            Some(dtype) => dtype,
            None if source.is_adapted(&name) && stored.block_size() > 1 => GgmlDType::F32,
            None => stored,
        };
        let planned = Planned { name, shape, dtype };
        Ok(if dtype == stored { Entry { planned, kind } } else { Entry::new(planned) })
    };
    let entries = tensors.into_iter().map(entry).collect::<Result<_>>()?;
    Ok(Layout { alignment: alignment(file)?, ..Layout::new(keys, entries) })
}

/// What the base aligns its tensors to.
fn alignment(file: &GgufFile) -> Result<u64> {
    let Some(value) = file.content.metadata.get("general.alignment") else { return Ok(ALIGNMENT) };
    match *value {
        Value::U32(n) if n.is_power_of_two() && (8..=1 << 20).contains(&n) => Ok(u64::from(n)),
        ref other => {
            let problem = format!("general.alignment: expected a power of two from 8 on, found {other:?}");
            Err(broken(&file.path, problem))
        }
    }
}
