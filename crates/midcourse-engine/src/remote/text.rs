//! What is at hand of the text of a server's model: its tokenizer and its template.

use std::sync::Arc;

use midcourse_core::engine::TokenId;
use midcourse_core::template::{ChatTemplate, Tokenizer};

/// A tokenizer that several threads use.
pub type SharedTokenizer = Arc<dyn Tokenizer + Send + Sync>;

/// What is at hand of the text of a server's model.
#[derive(Clone)]
pub struct ModelText {
    /// Where it comes from, as the user names it.
    pub name: String,
    /// Conversations to text.
    pub template: ChatTemplate,
    /// Text to tokens.
    pub tokenizer: SharedTokenizer,
    /// Tokens of context that the model was made for.
    pub context: usize,
}

impl ModelText {
    /// Sampled tokens without the end of turn that some servers count among them.
    pub(super) fn without_end<'a>(&self, tokens: &'a [TokenId]) -> &'a [TokenId] {
        match tokens.split_last() {
            Some((last, before)) if self.tokenizer.special().end_of_turn.contains(last) => before,
            _ => tokens,
        }
    }
}
