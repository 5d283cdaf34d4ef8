//! GGUF files: header, names, and the row order of rotary projections.
//!
//! Candle reads the container and dequantises the blocks; this module maps names and undoes the permutation
//! that the `llama` architecture applies to q and k.
//!
//! Source: the GGUF specification in ggml's repository, and `permute` in llama.cpp's `convert_hf_to_gguf.py`.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};

use crate::contain::contain;
use crate::{Error, Result};

/// An open GGUF file.
#[derive(Debug)]
pub struct GgufFile {
    /// Where it is.
    pub path: PathBuf,
    /// Header: metadata and where the tensors lie.
    pub content: gguf_file::Content,
    reader: BufReader<File>,
    n_heads: usize,
    n_kv_heads: usize,
}

impl GgufFile {
    /// Reads the header.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
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
        let meta = super::metadata::Metadata { path, values: &content.metadata };
        let n_heads = meta.optional_number("llama.attention.head_count")?.unwrap_or(1);
        let n_kv_heads = meta.optional_number("llama.attention.head_count_kv")?.unwrap_or(n_heads);
        Ok(Self { path: path.to_owned(), content, reader, n_heads, n_kv_heads })
    }

    /// Reads a tensor by its transformers name.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let gguf_name = gguf_name(name);
        let Some(info) = self.content.tensor_infos.get(&gguf_name) else {
            return Err(self.broken(format!("tensor {gguf_name} is missing")));
        };
        if info.shape.dims() != shape {
            let (expected, found) = (shape.to_vec(), info.shape.dims().to_vec());
            return Err(Error::Shape { path: self.path.clone(), tensor: gguf_name, expected, found });
        }
        let read = self.content.tensor(&mut self.reader, &gguf_name, &Device::Cpu);
        let dequantised = read.and_then(|t| t.dequantize(&Device::Cpu)).and_then(|t| t.to_dtype(DType::F32));
        let tensor = match dequantised {
            Ok(tensor) => tensor,
            Err(error) => return Err(self.broken(format!("tensor {gguf_name}: {}", first_line(&error)))),
        };
        match name.rsplit('.').nth(1) {
            Some("q_proj") => unpermute(&tensor, self.n_heads),
            Some("k_proj") => unpermute(&tensor, self.n_kv_heads),
            _ => Ok(tensor),
        }
    }

    fn broken(&self, problem: String) -> Error {
        let hint = "the file is cut short or damaged; download it again and compare its hash".into();
        Error::ModelFile { path: self.path.clone(), problem, hint }
    }
}

/// Candle's errors carry a backtrace below their first line.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// GGUF interleaves the two halves of each head for its rotary embedding; ours keeps them apart.
///
/// # Shapes
/// (heads · head_dim, D) to the same.
fn unpermute(weight: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (rows, width) = weight.dims2()?;
    let halves = weight.reshape((n_heads, rows / n_heads / 2, 2, width))?;
    Ok(halves.transpose(1, 2)?.contiguous()?.reshape((rows, width))?)
}

/// `model.layers.0.self_attn.q_proj.weight` → `blk.0.attn_q.weight`.
fn gguf_name(name: &str) -> String {
    let renamed = [
        ("model.layers.", "blk."),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ];
    renamed.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}
