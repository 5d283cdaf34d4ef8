//! The tokenizer inside a GGUF file, rebuilt with the tokenizers crate.
//!
//! Byte-level BPE with the pre-tokenizer that `tokenizer.ggml.pre` names. Each is what the model's own
//! `tokenizer.json` does; an unknown name is refused, since a wrong one gives wrong ids silently.

use std::path::Path;

use midcourse_core::engine::TokenId;
use midcourse_core::template::SpecialTokens;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use super::ModelTokenizer;
use crate::weights::gguf::GgufFile;
use crate::weights::metadata::Metadata;
use crate::{Error, Result};

/// Token types of GGUF that are not plain text.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// The split of Llama 3 (and, with single digits, of Qwen 2).
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn read(file: &GgufFile) -> Result<ModelTokenizer> {
    let meta = Metadata { path: &file.path, values: &file.content.metadata };
    let kind = meta.text("tokenizer.ggml.model")?;
    if kind != "gpt2" {
        return Err(unsupported(&file.path, &format!("the tokenizer {kind:?} (tokenizer.ggml.model)")));
    }
    let texts = meta.texts("tokenizer.ggml.tokens")?;
    let n_rows = file.content.tensor_infos.get("token_embd.weight").and_then(|t| t.shape.dims().first());
    if let Some(n_rows) = n_rows.filter(|n| **n != texts.len()) {
        let problem = format!("expected {n_rows} as token_embd.weight has rows, found {}", texts.len());
        return Err(wrong(&file.path, "tokenizer.ggml.tokens", &problem));
    }
    let mut tokenizer = tokenizers::Tokenizer::new(bpe(&meta, &texts)?);
    let pre = meta.optional_text("tokenizer.ggml.pre")?;
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(&file.path, pre)?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let types = meta.optional_numbers("tokenizer.ggml.token_type")?.unwrap_or_default();
    if ![0, texts.len()].contains(&types.len()) {
        let problem = format!("expected {} as there are tokens, found {}", texts.len(), types.len());
        return Err(wrong(&file.path, "tokenizer.ggml.token_type", &problem));
    }
    let added = texts.iter().zip(&types).filter(|(_, kind)| [CONTROL, USER_DEFINED].contains(*kind));
    let added = added.map(|(text, kind)| AddedToken::from(*text, *kind == CONTROL));
    tokenizer
        .add_tokens(added)
        .map_err(|e| wrong(&file.path, "tokenizer.ggml.token_type", &e.to_string()))?;
    Ok(ModelTokenizer::new(tokenizer, special_tokens(&meta, texts.len())?))
}

fn bpe(meta: &Metadata<'_>, texts: &[&str]) -> Result<BPE> {
    let vocab: Vec<(String, TokenId)> =
        texts.iter().enumerate().map(|(id, text)| ((*text).to_owned(), id as TokenId)).collect();
    let merge = |(at, merge): (usize, &str)| {
        let (left, right) = merge.split_once(' ').ok_or_else(|| {
            wrong(meta.path, "tokenizer.ggml.merges", &format!("entry {at} is not two parts: {merge:?}"))
        })?;
        Ok((left.to_owned(), right.to_owned()))
    };
    let merges = meta.texts("tokenizer.ggml.merges")?.into_iter().enumerate().map(merge);
    BPE::builder()
        .vocab_and_merges(
            vocab.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
            merges.collect::<Result<Vec<_>>>()?,
        )
        .ignore_merges(is_llama_3(meta)?)
        .build()
        .map_err(|e| wrong(meta.path, "tokenizer.ggml.merges", &e.to_string()))
}

/// Llama 3 takes a word that is in the vocabulary as it is, without merging, and begins with a BOS unless the
/// file says otherwise.
fn is_llama_3(meta: &Metadata<'_>) -> Result<bool> {
    Ok(matches!(meta.optional_text("tokenizer.ggml.pre")?, Some("llama-bpe" | "llama3" | "llama-v3")))
}

fn pre_tokenizer(path: &Path, name: Option<&str>) -> Result<PreTokenizerWrapper> {
    let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
    let split = |pattern: &str| {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map(|split| PreTokenizerWrapper::from(Sequence::new(vec![split.into(), bytes(false)])))
            .map_err(|e| wrong(path, "tokenizer.ggml.pre", &e.to_string()))
    };
    match name {
        Some("smollm" | "starcoder" | "refact" | "command-r") => {
            let digits = PreTokenizerWrapper::from(Digits::new(true));
            Ok(PreTokenizerWrapper::from(Sequence::new(vec![digits, bytes(true)])))
        }
        Some("gpt-2") => Ok(bytes(true)),
        Some("llama-bpe" | "llama3" | "llama-v3") => split(LLAMA_3),
        Some("qwen2") => split(&LLAMA_3.replace("{1,3}", "")),
        other => {
            let name = other.unwrap_or("(none)");
            Err(unsupported(path, &format!("the pre-tokenizer {name:?} (tokenizer.ggml.pre)")))
        }
    }
}

fn special_tokens(meta: &Metadata<'_>, n_tokens: usize) -> Result<SpecialTokens> {
    let id = |name: &str| -> Result<Option<TokenId>> {
        let key = format!("tokenizer.ggml.{name}");
        match meta.optional_number(&key)? {
            Some(id) if id >= n_tokens => {
                Err(wrong(meta.path, &key, &format!("expected an id below {n_tokens}, found {id}")))
            }
            found => Ok(found.map(|id| id as TokenId)),
        }
    };
    let ends = [id("eos_token_id")?, id("eot_token_id")?];
    let bos = id("bos_token_id")?;
    let adds_bos = match meta.optional_flag("tokenizer.ggml.add_bos_token")? {
        Some(adds_bos) => adds_bos,
        None => is_llama_3(meta)?,
    };
    Ok(SpecialTokens { bos, adds_bos, end_of_turn: ends.into_iter().flatten().collect() })
}

fn wrong(path: &Path, field: &str, problem: &str) -> Error {
    Error::Config { path: path.to_owned(), field: field.to_owned(), problem: problem.to_owned() }
}

fn unsupported(path: &Path, what: &str) -> Error {
    Error::Unsupported {
        path: path.to_owned(),
        what: what.to_owned(),
        hint: "use the model's safetensors directory with its tokenizer.json instead".into(),
    }
}
