//! The tokenizer inside a GGUF file, rebuilt with the tokenizers crate.
//!
//! `gpt2` is byte-level BPE with the pre-tokenizer that `tokenizer.ggml.pre` names, each as the model's own
//! `tokenizer.json` has it; `llama` is SentencePiece. An unknown name is refused, also `default`, which is what
//! converters write when they do not know: a wrong one gives wrong ids silently.
//!
//! Source: the GGUF specification in ggml's repository, and what llama.cpp takes where a key is missing.

use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use midcourse_core::engine::TokenId;
use midcourse_core::template::SpecialTokens;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use super::sentencepiece::{Kind, Piece, Settings};
use super::{ModelTokenizer, library, sentencepiece};
use crate::weights::gguf::GgufFile;
use crate::weights::metadata::Metadata;
use crate::{Error, Result};

/// What a `gpt2` tokenizer does before it merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pre {
    Gpt2,
    /// Digits one by one, then as GPT-2.
    Digits,
    Split(&'static str),
}

/// A pre-tokenizer, and what goes with its name.
struct Named {
    pre: Pre,
    /// A word that is in the vocabulary is taken as it is, without merging, as tiktoken does.
    whole_words: bool,
    /// Text is composed (NFC) first.
    composes: bool,
    /// A BOS is added where the file does not say.
    adds_bos: bool,
}

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As Llama 3, with digits one by one.
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Words also end where capitals begin.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As Tekken, with contractions, and digits by threes.
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Named {
    fn of(name: &str) -> Option<Self> {
        let split =
            |pattern| Self { pre: Pre::Split(pattern), whole_words: false, composes: false, adds_bos: false };
        Some(match name {
            "gpt-2" | "phi-2" => Self { pre: Pre::Gpt2, ..split("") },
            "smollm" | "starcoder" | "refact" | "command-r" => Self { pre: Pre::Digits, ..split("") },
            "llama-bpe" | "llama3" | "llama-v3" => {
                Self { whole_words: true, adds_bos: true, ..split(LLAMA_3) }
            }
            "chatglm-bpe" | "glm4" => Self { whole_words: true, ..split(LLAMA_3) },
            "dbrx" => split(LLAMA_3),
            "qwen2" => Self { composes: true, ..split(QWEN_2) },
            "tekken" => Self { whole_words: true, adds_bos: true, ..split(TEKKEN) },
            "gpt-4o" => split(GPT_4O),
            _ => return None,
        })
    }
}

pub(super) fn read(file: &GgufFile) -> Result<ModelTokenizer> {
    let meta = Metadata { path: &file.path, values: &file.content.metadata };
    let kind = meta.text("tokenizer.ggml.model")?;
    let texts = meta.texts("tokenizer.ggml.tokens")?;
    let n_rows = file.content.tensor_infos.get("token_embd.weight").and_then(|t| t.shape.dims().first());
    if let Some(n_rows) = n_rows.filter(|n| **n != texts.len()) {
        let problem = format!("expected {n_rows} as token_embd.weight has rows, found {}", texts.len());
        return Err(wrong(&file.path, "tokenizer.ggml.tokens", &problem));
    }
    let kinds = kinds(&meta, texts.len())?;
    let (inner, adds_bos, usual) = match kind {
        "gpt2" => {
            let (inner, adds_bos) = byte_level(&meta, &texts, &kinds)?;
            (inner, adds_bos, (None, None))
        }
        "llama" => (sentence_piece(&meta, &texts, &kinds)?, true, (Some(1), Some(2))),
        _ => return Err(unsupported(&file.path, &format!("the tokenizer {kind:?} (tokenizer.ggml.model)"))),
    };
    let adds_bos = meta.optional_flag("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos);
    let special = special_tokens(&meta, texts.len(), usual)?;
    ModelTokenizer::new(inner, SpecialTokens { adds_bos: adds_bos && special.bos.is_some(), ..special })
        .map_err(|e| wrong(&file.path, "tokenizer.ggml.tokens", &e.0))
}

/// Byte-level BPE, and whether it adds a BOS where the file does not say.
fn byte_level(meta: &Metadata<'_>, texts: &[&str], kinds: &[Kind]) -> Result<(tokenizers::Tokenizer, bool)> {
    let name = meta.optional_text("tokenizer.ggml.pre")?.unwrap_or("(none)");
    let named = Named::of(name)
        .ok_or_else(|| unsupported(meta.path, &format!("the pre-tokenizer {name:?} (tokenizer.ggml.pre)")))?;
    let model = bpe(meta, texts, named.whole_words)?;
    let added = texts.iter().zip(kinds).filter(|(_, kind)| matches!(kind, Kind::Control | Kind::UserDefined));
    let added = added.map(|(text, kind)| AddedToken::from(*text, *kind == Kind::Control).normalized(false));
    let tokenizer = library(|| {
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        tokenizer.with_normalizer(named.composes.then_some(NFC))?;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer(named.pre)?));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        tokenizer.add_tokens(added)?;
        Ok(tokenizer)
    });
    let tokenizer = tokenizer.map_err(|e| wrong(meta.path, "tokenizer.ggml.token_type", &e.0))?;
    Ok((tokenizer, named.adds_bos))
}

fn bpe(meta: &Metadata<'_>, texts: &[&str], whole_words: bool) -> Result<BPE> {
    let vocab: Vocab =
        texts.iter().enumerate().map(|(id, text)| ((*text).to_owned(), id as TokenId)).collect();
    let merge = |(at, merge): (usize, &str)| {
        let (left, right) = merge.split_once(' ').ok_or_else(|| {
            wrong(meta.path, "tokenizer.ggml.merges", &format!("entry {at} is not two parts: {merge:?}"))
        })?;
        Ok((left.to_owned(), right.to_owned()))
    };
    let merges = meta.texts("tokenizer.ggml.merges")?.into_iter().enumerate().map(merge);
    let merges = merges.collect::<Result<Vec<_>>>()?;
    library(|| BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(whole_words).build())
        .map_err(|e| wrong(meta.path, "tokenizer.ggml.merges", &e.0))
}

fn pre_tokenizer(pre: Pre) -> tokenizers::Result<PreTokenizerWrapper> {
    let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
    Ok(match pre {
        Pre::Gpt2 => bytes(true),
        Pre::Digits => PreTokenizerWrapper::from(Sequence::new(vec![Digits::new(true).into(), bytes(true)])),
        Pre::Split(pattern) => {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
            PreTokenizerWrapper::from(Sequence::new(vec![split.into(), bytes(false)]))
        }
    })
}

fn sentence_piece(meta: &Metadata<'_>, texts: &[&str], kinds: &[Kind]) -> Result<tokenizers::Tokenizer> {
    let scores = scores(meta, texts.len())?;
    let piece = |(at, (text, kind)): (usize, (&&str, &Kind))| Piece {
        text: (*text).to_owned(),
        score: scores[at],
        kind: *kind,
    };
    let pieces: Vec<Piece> = texts.iter().zip(kinds).enumerate().map(piece).collect();
    let prefix_space = meta.optional_flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    sentencepiece::build(&pieces, Settings { prefix_space })
        .map_err(|e| wrong(meta.path, "tokenizer.ggml.tokens", &e.0))
}

fn scores(meta: &Metadata<'_>, n_tokens: usize) -> Result<Vec<f32>> {
    const KEY: &str = "tokenizer.ggml.scores";
    let Some(Value::Array(list)) = meta.values.get(KEY) else {
        return Err(wrong(meta.path, KEY, "expected a list of numbers"));
    };
    let number = |(at, value): (usize, &Value)| match *value {
        Value::F32(score) if !score.is_nan() => Ok(score),
        ref other => Err(wrong(meta.path, KEY, &format!("entry {at} is {other:?}"))),
    };
    let scores = list.iter().enumerate().map(number).collect::<Result<Vec<_>>>()?;
    same_number(meta.path, KEY, scores.len(), n_tokens)?;
    Ok(scores)
}

/// What every token is; all are words where the file does not say.
fn kinds(meta: &Metadata<'_>, n_tokens: usize) -> Result<Vec<Kind>> {
    const KEY: &str = "tokenizer.ggml.token_type";
    let Some(types) = meta.optional_numbers(KEY)? else { return Ok(vec![Kind::Normal; n_tokens]) };
    same_number(meta.path, KEY, types.len(), n_tokens)?;
    let kind = |(at, number): (usize, &i64)| {
        Kind::of(*number).ok_or_else(|| {
            wrong(meta.path, KEY, &format!("entry {at}: expected a type from 1 to 6, found {number}"))
        })
    };
    types.iter().enumerate().map(kind).collect()
}

fn same_number(path: &Path, key: &str, found: usize, n_tokens: usize) -> Result<()> {
    let problem = || format!("expected {n_tokens} as there are tokens, found {found}");
    if found == n_tokens { Ok(()) } else { Err(wrong(path, key, &problem())) }
}

/// The ids that the file names; `usual` are BOS and EOS where it names none.
fn special_tokens(
    meta: &Metadata<'_>,
    n_tokens: usize,
    usual: (Option<TokenId>, Option<TokenId>),
) -> Result<SpecialTokens> {
    let id = |name: &str, usual: Option<TokenId>| -> Result<Option<TokenId>> {
        let key = format!("tokenizer.ggml.{name}");
        match meta.optional_number(&key)? {
            Some(id) if id >= n_tokens => {
                Err(wrong(meta.path, &key, &format!("expected an id below {n_tokens}, found {id}")))
            }
            found => Ok(found.map(|id| id as TokenId).or(usual.filter(|id| (*id as usize) < n_tokens))),
        }
    };
    let ends = [id("eos_token_id", usual.1)?, id("eot_token_id", None)?];
    let bos = id("bos_token_id", usual.0)?;
    Ok(SpecialTokens { bos, adds_bos: false, end_of_turn: ends.into_iter().flatten().collect() })
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
