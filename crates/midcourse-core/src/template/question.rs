//! One message of the user, with the assistant's turn about to begin, in tokens.

use std::ops::Range;

use super::prefill::{encode, with_bos};
use super::{ChatTemplate, Tokenizer, turn};
use crate::Result;
use crate::chat::Message;
use crate::engine::TokenId;

/// A rendered and tokenised question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The rendered text.
    pub text: String,
    /// Where the message stands in it. Many templates trim a message.
    pub message: Range<usize>,
    /// The tokens of `text`, a beginning-of-sequence token included where one belongs.
    pub ids: Vec<TokenId>,
    /// Byte range of `text` for every token of `ids` (empty for an added beginning of sequence).
    pub offsets: Vec<Range<usize>>,
}

/// Renders `message` with `template` and tokenises it once; what it holds of special-token strings stays text.
///
/// # Errors
/// When the template fails or rewrites the message, or the tokenizer refuses the text.
pub fn question(template: &ChatTemplate, tokenizer: &dyn Tokenizer, message: &str) -> Result<Question> {
    let turn::Turn { question: turn::Written { text, plain }, .. } =
        turn::open(template, &[Message::user(message)], "")?;
    let (ids, offsets) = with_bos(tokenizer, encode(template, tokenizer, &text, &plain)?);
    let is_message = |range: &&Range<usize>| text[(*range).clone()].trim() == message.trim();
    let message = plain.iter().rev().find(is_message).cloned().unwrap_or(text.len()..text.len());
    Ok(Question { text, message, ids, offsets })
}
