//! Tokenizers of models: `tokenizer.json`, SentencePiece's `tokenizer.model`, or the one inside a GGUF file, all
//! three through the tokenizers crate.
//!
//! Special-token strings become control tokens only where the template wrote them; inside somebody's text they
//! are text. So a text is taken apart at its control tokens first ([`added`]), by the library's rules otherwise,
//! and what is left goes through the library's normalizers, pre-tokenizers and model, each piece knowing where
//! in the text it stands. Only ids come out: a post-processor is asked once for the beginning of sequence, which
//! is put where texts are rendered, and never run on a text.

mod added;
mod dir;
mod gguf;
mod proto;
mod sentencepiece;
mod steps;

use std::ops::Range;

use midcourse_core::engine::TokenId;
use midcourse_core::template::{ChatTemplate, Encoding, SpecialTokens, TokenizeError, Tokenizer};
use tokenizers::{
    AddedToken, Decoder, DecoderWrapper, Model, OffsetType, PostProcessorWrapper, PreTokenizedString, Token,
};

use self::added::{AddedTokens, cut};
use self::steps::{Budget, Steps};
use crate::Result;
use crate::contain::contain;
use crate::weights::ModelFiles;

/// A model's tokenizer.
#[derive(Debug)]
pub struct ModelTokenizer {
    /// Vocabulary, model and decoder.
    inner: tokenizers::Tokenizer,
    steps: Steps,
    /// Added tokens that are looked for in the text as it is: all that are special.
    raw: AddedTokens,
    /// Those that are looked for in the normalised text.
    normalized: AddedTokens,
    /// Whether the decoder reads tokens such as `<0x0A>` as bytes.
    has_byte_tokens: bool,
    special: SpecialTokens,
}

impl ModelTokenizer {
    /// The tokenizer of opened model files.
    pub fn of(files: &ModelFiles) -> Result<Self> {
        match files {
            ModelFiles::Gguf(file) => gguf::read(file),
            ModelFiles::Safetensors(dir) => dir::read(&dir.path, &dir.config),
        }
    }

    fn new(
        mut inner: tokenizers::Tokenizer,
        special: SpecialTokens,
    ) -> std::result::Result<Self, TokenizeError> {
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let steps = library(|| Steps::new(inner.get_normalizer(), inner.get_pre_tokenizer()))?;
        let mut added: Vec<(TokenId, AddedToken)> = inner.get_added_tokens_decoder().into_iter().collect();
        added.sort_unstable_by_key(|(id, _)| *id);
        let (raw, normalized): (Vec<_>, Vec<_>) =
            added.into_iter().partition(|(_, token)| token.special || !token.normalized);
        let raw = raw.into_iter().map(|(id, token)| (token.content.clone(), id, token)).collect();
        let spelling = |id| inner.id_to_token(id).unwrap_or_default();
        let normalized = normalized.into_iter().map(|(id, token)| (spelling(id), id, token));
        let normalized = normalized.filter(|(spelling, ..)| !spelling.is_empty()).collect();
        let has_byte_tokens = inner.get_decoder().is_some_and(reads_byte_tokens);
        let (raw, normalized) = library(|| Ok((AddedTokens::new(raw)?, AddedTokens::new(normalized)?)))?;
        Ok(Self { inner, steps, raw, normalized, has_byte_tokens, special })
    }

    /// The text of a special token, empty when there is none.
    pub fn text_of(&self, id: Option<TokenId>) -> String {
        id.and_then(|id| self.spelling(id)).unwrap_or_default()
    }

    /// Text of the token that ends a sequence, for templates that write it.
    pub fn eos_text(&self) -> String {
        self.text_of(self.special.end_of_turn.first().copied())
    }

    /// Text of the token that begins a sequence, for templates that write it.
    pub fn bos_text(&self) -> String {
        self.text_of(self.special.bos)
    }

    /// Takes the control token that `template` writes right after an answer as an end of turn.
    pub fn learn_end_of_turn(&mut self, template: &ChatTemplate) {
        let Some(after) = template.after_answer() else { return };
        let after = after.trim_start();
        let first = self.raw.find(after, &[]).into_iter().next();
        if let Some(end) = first.filter(|found| found.range.start == 0 && self.is_control(found.id))
            && !self.special.end_of_turn.contains(&end.id)
        {
            self.special.end_of_turn.push(end.id);
        }
    }

    fn added_token(&self, id: TokenId) -> Option<&AddedToken> {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().get(&id)
    }

    fn is_control(&self, id: TokenId) -> bool {
        self.added_token(id).is_some_and(|token| token.special)
    }

    /// A token as the decoder takes it; a control token as it is spelled.
    fn spelling(&self, id: TokenId) -> Option<String> {
        let control = self.added_token(id).filter(|token| token.special);
        control.map(|token| token.content.clone()).or_else(|| self.inner.id_to_token(id))
    }

    fn encode_with_library(&self, text: &str, plain: &[Range<usize>]) -> tokenizers::Result<Encoding> {
        let budget = Budget::of(text);
        let mut pieces = PreTokenizedString::from(text);
        pieces.split(|_, whole| cut(&whole, &self.raw.find(text, plain)))?;
        pieces.normalize(|piece| self.steps.normalize(piece, &budget))?;
        pieces.split(|_, piece| cut(&piece, &self.normalized.find(piece.get(), &[])))?;
        self.steps.pre_tokenize(&mut pieces, &budget)?;
        pieces.tokenize(|word| self.tokens(word.get()))?;
        let encoding = pieces.into_encoding(None, 0, OffsetType::Byte)?;
        let offsets = encoding.get_offsets().iter().map(|&(from, to)| from..to).collect();
        Ok(Encoding { ids: encoding.get_ids().to_vec(), offsets })
    }

    /// The model's tokens of a word. Some models hold their control tokens among the words: a spelling of one
    /// is cut behind its first character, so that it stays text.
    fn tokens(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            let rest = &word[from..];
            let mut tokens = self.inner.get_model().tokenize(rest)?;
            let spelled = tokens.iter().position(|token| self.spells_control(token, rest));
            let start = spelled.map(|at| tokens[at].offsets.0);
            let end = start.map(|start| start + rest[start..].chars().next().map_or(1, char::len_utf8));
            tokens.truncate(spelled.unwrap_or(tokens.len()));
            all.extend(tokens.into_iter().map(|token| moved(token, from)));
            let (Some(start), Some(end)) = (start, end) else { return Ok(all) };
            let first = self.inner.get_model().tokenize(&rest[start..end])?;
            all.extend(first.into_iter().map(|token| moved(token, from + start)));
            from += end;
        }
    }

    /// Whether a token of `word` is a control token of several characters that is spelled there.
    fn spells_control(&self, token: &Token, word: &str) -> bool {
        let control = self.added_token(token.id).filter(|added| added.special);
        control.is_some_and(|control| {
            control.content.chars().nth(1).is_some()
                && word.get(token.offsets.0..token.offsets.1) == Some(control.content.as_str())
        })
    }

    /// The tokens' texts, those of bytes joined to characters.
    ///
    /// Bytes that are part of no character become U+FFFD each, as SentencePiece decodes them. The library would
    /// lose whole characters beside them.
    fn spelled(&self, ids: &[TokenId]) -> Vec<String> {
        let mut texts = Vec::with_capacity(ids.len());
        let mut bytes = Vec::new();
        for text in ids.iter().filter_map(|id| self.spelling(*id)) {
            if let Some(byte) = byte_of(&text).filter(|_| self.has_byte_tokens) {
                bytes.push(byte);
            } else {
                texts.extend(characters(&std::mem::take(&mut bytes)));
                texts.push(text);
            }
        }
        texts.extend(characters(&bytes));
        texts
    }
}

impl Tokenizer for ModelTokenizer {
    fn encode(&self, text: &str, plain: &[Range<usize>]) -> std::result::Result<Encoding, TokenizeError> {
        library(|| self.encode_with_library(text, plain))
    }

    fn decode(&self, ids: &[TokenId]) -> std::result::Result<String, TokenizeError> {
        library(|| match self.inner.get_decoder() {
            Some(decoder) => decoder.decode(self.spelled(ids)),
            None => Ok(self.spelled(ids).join(" ")),
        })
    }

    fn decode_text(&self, ids: &[TokenId]) -> std::result::Result<String, TokenizeError> {
        let said: Vec<TokenId> = ids.iter().copied().filter(|id| !self.is_control(*id)).collect();
        self.decode(&said)
    }

    fn count_special(&self, text: &str) -> usize {
        self.raw.count_special(text)
    }

    fn special(&self) -> &SpecialTokens {
        &self.special
    }
}

fn moved(mut token: Token, by: usize) -> Token {
    token.offsets = (token.offsets.0 + by, token.offsets.1 + by);
    token
}

/// The byte that a token such as `<0x0A>` stands for.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// The text of bytes, U+FFFD for each that is part of no character.
fn characters(bytes: &[u8]) -> Option<String> {
    let text = |chunk: std::str::Utf8Chunk<'_>| {
        [chunk.valid(), "\u{fffd}".repeat(chunk.invalid().len()).as_str()].concat()
    };
    (!bytes.is_empty()).then(|| bytes.utf8_chunks().map(text).collect())
}

fn reads_byte_tokens(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteFallback(_) => true,
        DecoderWrapper::Sequence(all) => all.get_decoders().iter().any(reads_byte_tokens),
        _ => false,
    }
}

/// Makes a call of the tokenizers library.
fn library<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, TokenizeError> {
    contain(|| call().map_err(|e| e.to_string())).and_then(|result| result).map_err(TokenizeError)
}
