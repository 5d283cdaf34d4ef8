//! What the templates need of a tokenizer. The implementation is the engine's.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::TokenId;

/// A tokenizer refused a text.
#[derive(Debug, thiserror::Error)]
#[error("tokenizer: {0}")]
pub struct TokenizeError(pub String);

/// Tokens of a text and the bytes each stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<TokenId>,
    /// For every token, the byte range of the text it stands for.
    pub offsets: Vec<Range<usize>>,
}

/// The ids that mean something to the machinery rather than to the reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Beginning of sequence.
    pub bos: Option<TokenId>,
    /// Whether the tokenizer puts `bos` before every text by itself.
    pub adds_bos: bool,
    /// Every id that ends a turn or the text.
    pub end_of_turn: Vec<TokenId>,
}

/// What becomes of an input on its way to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The model is given these ids.
    AsPlanned,
    /// It is given their text, which it divides into other tokens.
    Retokenised,
    /// It cannot be given them; why, in words.
    Impossible(String),
}

/// Text to token ids and back.
pub trait Tokenizer {
    /// Encodes `text` without adding anything. Special-token strings become control tokens only where they
    /// lie outside `plain`, the byte ranges that hold somebody's text.
    fn encode(&self, text: &str, plain: &[Range<usize>]) -> Result<Encoding, TokenizeError>;

    /// The text of `ids`, control tokens spelled out.
    fn decode(&self, ids: &[TokenId]) -> Result<String, TokenizeError>;

    /// The text of `ids` without control tokens.
    fn decode_text(&self, ids: &[TokenId]) -> Result<String, TokenizeError> {
        self.decode(ids)
    }

    /// How many special-token strings `text` holds.
    fn count_special(&self, text: &str) -> usize;

    /// The special tokens.
    fn special(&self) -> &SpecialTokens;

    /// Whether its tokens are a model's, so that counting them means something.
    fn counts_tokens(&self) -> bool {
        true
    }

    /// What becomes of an input on its way to the model.
    fn sent(&self, _ids: &[TokenId]) -> Sent {
        Sent::AsPlanned
    }

    /// The text that `ids` add after `before`: decoded in context, since some tokenizers write a space or a
    /// part of a character differently at the start of a text.
    fn decode_after(&self, before: &[TokenId], ids: &[TokenId]) -> Result<String, TokenizeError> {
        const CONTEXT: usize = 6;
        let context = &before[before.len().saturating_sub(CONTEXT)..];
        let base = self.decode(context)?;
        let whole = self.decode(&[context, ids].concat())?;
        let shared = base.bytes().zip(whole.bytes()).take_while(|(a, b)| a == b).count();
        let cut = (0..=shared).rev().find(|&at| whole.is_char_boundary(at)).unwrap_or(0);
        Ok(whole[cut..].to_owned())
    }
}

impl<T: Tokenizer + ?Sized> Tokenizer for Arc<T> {
    fn encode(&self, text: &str, plain: &[Range<usize>]) -> Result<Encoding, TokenizeError> {
        (**self).encode(text, plain)
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String, TokenizeError> {
        (**self).decode(ids)
    }

    fn decode_text(&self, ids: &[TokenId]) -> Result<String, TokenizeError> {
        (**self).decode_text(ids)
    }

    fn count_special(&self, text: &str) -> usize {
        (**self).count_special(text)
    }

    fn special(&self) -> &SpecialTokens {
        (**self).special()
    }

    fn counts_tokens(&self) -> bool {
        (**self).counts_tokens()
    }

    fn sent(&self, ids: &[TokenId]) -> Sent {
        (**self).sent(ids)
    }

    fn decode_after(&self, before: &[TokenId], ids: &[TokenId]) -> Result<String, TokenizeError> {
        (**self).decode_after(before, ids)
    }
}
