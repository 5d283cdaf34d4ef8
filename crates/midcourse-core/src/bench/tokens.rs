//! From a context and its continuation to tokens, of which those of the continuation are scored.
//!
//! The text is divided as lm-evaluation-harness divides it, its peculiarities included: white space at the end of a
//! context belongs to the continuation; both together are tokenised, and what goes beyond the tokens of the context
//! alone is the continuation, behind the context's own tokens. A text that is too long loses its start, the beginning
//! of sequence first.
//!
//! # Source
//! lm-evaluation-harness 0.4.13: `api/model.py` (`_encode_pair`, `loglikelihood`), `models/huggingface.py`
//! (`_loglikelihood_tokens`, `generate_until`), `utils.py` (`get_rolling_token_windows`).

use crate::engine::TokenId;
use crate::template::{TokenizeError, Tokenizer, encode_plain, is_space};

/// A text in tokens, of which the last are scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    /// What the model reads, and the last token, which it need not read.
    pub tokens: Vec<TokenId>,
    /// Number of the first scored token, at least 1.
    pub from: usize,
    /// Whether the start was cut off.
    pub truncated: bool,
}

/// Why a text cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum Unscorable {
    /// Nothing of the continuation is left as a token of its own.
    #[error("the continuation adds no token to its context")]
    Empty,
    /// The continuation alone is longer than the model's context.
    #[error("the continuation has {n_tokens} tokens, the model's context {context}")]
    TooLong {
        /// Tokens of the continuation.
        n_tokens: usize,
        /// Tokens of context.
        context: usize,
    },
    /// The tokenizer refuses the text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizeError),
}

/// Contexts and continuations to tokens of a model; contexts that follow each other are tokenised once.
pub struct Divider<'a> {
    tokenizer: &'a dyn Tokenizer,
    /// Tokens of the model's context.
    context: usize,
    last: Option<(String, Vec<TokenId>)>,
}

impl<'a> Divider<'a> {
    /// For a model with so many tokens of context.
    pub fn new(tokenizer: &'a dyn Tokenizer, context: usize) -> Self {
        Self { tokenizer, context, last: None }
    }

    /// A context and what follows it.
    ///
    /// # Errors
    /// When nothing of the continuation can be scored.
    pub fn pair(&mut self, context: &str, continuation: &str) -> Result<Scored, Unscorable> {
        if context.is_empty() {
            let plain =
                self.tokenizer.encode(continuation, std::slice::from_ref(&(0..continuation.len())))?;
            return self.scored(self.after_prefix(plain.ids));
        }
        let kept = context.trim_end_matches(is_space);
        let moved = &context[kept.len()..];
        let whole = encode_plain(self.tokenizer, &[kept, moved, continuation].concat())?;
        let before = self.context_tokens(kept)?;
        let after = whole.get(before.len()..).unwrap_or_default().to_vec();
        self.scored((before, after))
    }

    /// The tokens of a context by itself.
    ///
    /// # Errors
    /// When the tokenizer refuses it.
    pub fn context_tokens(&mut self, context: &str) -> Result<Vec<TokenId>, TokenizeError> {
        if let Some((text, tokens)) = &self.last
            && text == context
        {
            return Ok(tokens.clone());
        }
        let tokens = encode_plain(self.tokenizer, context)?;
        self.last = Some((context.to_owned(), tokens.clone()));
        Ok(tokens)
    }

    /// A context for a reply of up to `n_written` tokens; its start goes where it is too long.
    ///
    /// # Errors
    /// When the reply leaves no room for a context.
    pub fn before_reply(&mut self, context: &str, n_written: usize) -> Result<Scored, Unscorable> {
        let most = self.context.checked_sub(n_written).filter(|most| *most > 0);
        let most = most.ok_or(Unscorable::TooLong { n_tokens: n_written, context: self.context })?;
        let tokens = self.context_tokens(context)?;
        if tokens.is_empty() {
            return Err(Unscorable::Empty);
        }
        let cut = tokens.len().saturating_sub(most);
        Ok(Scored { tokens: tokens[cut..].to_vec(), from: tokens.len() - cut, truncated: cut > 0 })
    }

    /// A whole text in windows, each token scored once: the first window begins with what begins a text, every other
    /// with the last token of the one before, and the last one looks back as far as the context goes.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn windows(&self, text: &str) -> Result<Vec<Scored>, Unscorable> {
        let tokens = encode_plain(self.tokenizer, text)?;
        let most = self.context;
        let mut windows = Vec::new();
        let first = tokens.len().min(most);
        if first > 0 {
            let read = [&[self.prefix()], &tokens[..first]].concat();
            windows.push(Scored { tokens: read, from: 1, truncated: false });
        }
        let mut n_done = first;
        while n_done < tokens.len() {
            let n = (tokens.len() - n_done).min(most);
            let end = n_done + n;
            let read = tokens[end.saturating_sub(most + 1)..end].to_vec();
            windows.push(Scored { from: read.len() - n, tokens: read, truncated: false });
            n_done = end;
        }
        Ok(windows)
    }

    /// What stands before a text that has no context: the beginning of sequence, or the end of one.
    fn prefix(&self) -> TokenId {
        let special = self.tokenizer.special();
        special.bos.or_else(|| special.end_of_turn.first().copied()).unwrap_or(0)
    }

    fn after_prefix(&self, mut tokens: Vec<TokenId>) -> (Vec<TokenId>, Vec<TokenId>) {
        let prefix = self.prefix();
        if tokens.first() == Some(&prefix) {
            tokens.remove(0);
        }
        (vec![prefix], tokens)
    }

    fn scored(&self, (before, after): (Vec<TokenId>, Vec<TokenId>)) -> Result<Scored, Unscorable> {
        if after.is_empty() || before.is_empty() {
            return Err(Unscorable::Empty);
        }
        if after.len() > self.context {
            return Err(Unscorable::TooLong { n_tokens: after.len(), context: self.context });
        }
        let n_after = after.len();
        let tokens = [before, after].concat();
        // The last token is not read.
        let cut = tokens.len().saturating_sub(self.context + 1);
        let tokens = tokens[cut..].to_vec();
        Ok(Scored { from: tokens.len() - n_after, tokens, truncated: cut > 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Encoding, SpecialTokens};

    /// A token a letter, but "ab" is one token.
    struct Letters {
        special: SpecialTokens,
    }

    const BOS: TokenId = 1000;

    impl Letters {
        fn new(adds_bos: bool) -> Self {
            Self { special: SpecialTokens { bos: Some(BOS), adds_bos, end_of_turn: vec![1001] } }
        }
    }

    impl Tokenizer for Letters {
        fn encode(&self, text: &str, _: &[std::ops::Range<usize>]) -> Result<Encoding, TokenizeError> {
            let mut encoding = Encoding::default();
            let mut at = 0;
            while at < text.len() {
                let (id, n) =
                    if text[at..].starts_with("ab") { (999, 2) } else { (text.as_bytes()[at].into(), 1) };
                encoding.ids.push(id);
                encoding.offsets.push(at..at + n);
                at += n;
            }
            Ok(encoding)
        }

        fn decode(&self, _: &[TokenId]) -> Result<String, TokenizeError> {
            Ok(String::new())
        }

        fn count_special(&self, _: &str) -> usize {
            0
        }

        fn special(&self) -> &SpecialTokens {
            &self.special
        }
    }

    fn ids(text: &str) -> Vec<TokenId> {
        text.bytes().map(TokenId::from).collect()
    }

    #[test]
    fn white_space_at_the_end_of_a_context_belongs_to_the_continuation() {
        let tokenizer = Letters::new(true);
        let pair = Divider::new(&tokenizer, 100).pair("xy \n", "z").unwrap();
        assert_eq!(pair.tokens, [vec![BOS], ids("xy \nz")].concat());
        assert_eq!((pair.from, pair.truncated), (3, false));
    }

    /// "xa" and "xab" divide differently: what goes beyond the context's own number of tokens is scored behind them.
    #[test]
    fn a_token_across_the_border_is_divided_as_the_reference_divides_it() {
        let tokenizer = Letters::new(false);
        let pair = Divider::new(&tokenizer, 100).pair("xa", "bc").unwrap();
        assert_eq!(pair.tokens, [ids("xa"), ids("c")].concat());
        assert_eq!(pair.from, 2);
        assert!(matches!(Divider::new(&tokenizer, 100).pair("xa", "b"), Err(Unscorable::Empty)));
    }

    #[test]
    fn what_is_too_long_loses_its_start_and_never_its_continuation() {
        let tokenizer = Letters::new(true);
        let mut divider = Divider::new(&tokenizer, 4);
        let pair = divider.pair("uvwxy", "zz").unwrap();
        // Four tokens are read, the fifth is only scored.
        assert_eq!((pair.tokens, pair.from, pair.truncated), (ids("wxyzz"), 3, true));
        assert_eq!(divider.pair("u", "zzzz").unwrap().tokens, ids("uzzzz"));
        assert!(matches!(divider.pair("u", "zzzzz"), Err(Unscorable::TooLong { n_tokens: 5, context: 4 })));
        let reply = divider.before_reply("uvwxy", 2).unwrap();
        assert_eq!((reply.tokens, reply.truncated), (ids("xy"), true));
    }

    #[test]
    fn a_text_without_context_begins_with_what_begins_a_sequence() {
        let tokenizer = Letters::new(false);
        let pair = Divider::new(&tokenizer, 9).pair("", "xy").unwrap();
        assert_eq!((pair.tokens, pair.from), ([vec![BOS], ids("xy")].concat(), 1));
    }

    #[test]
    fn windows_score_every_token_once() {
        let tokenizer = Letters::new(false);
        let divider = Divider::new(&tokenizer, 4);
        let windows = divider.windows("stuvwxyz1").unwrap();
        let parts: Vec<(Vec<TokenId>, usize)> = windows.into_iter().map(|w| (w.tokens, w.from)).collect();
        assert_eq!(parts, [([vec![BOS], ids("stuv")].concat(), 1), (ids("vwxyz"), 1), (ids("wxyz1"), 4)]);
        assert!(divider.windows("").unwrap().is_empty());
    }
}
