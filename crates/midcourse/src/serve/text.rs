//! From a path's tokens to the text of an answer: stop strings, and text in pieces as it grows.

use midcourse_core::engine::TokenId;
use midcourse_core::template::{TokenizeError, Tokenizer};

/// Tokens that are decoded before others, so that these are written as they are in their place.
const CONTEXT: usize = 6;
/// What stands for bytes that are no character, or not yet one.
const UNDECIDED: char = '\u{fffd}';

/// The text of `tokens` after `prompt` up to the first of `stops`, and that stop.
pub(super) fn until_stop<'s>(
    tokenizer: &dyn Tokenizer,
    (prompt, tokens): (&[TokenId], &[TokenId]),
    stops: &'s [String],
) -> Result<(String, Option<&'s str>), TokenizeError> {
    let mut text = tokenizer.decode_after(prompt, tokens)?;
    let first =
        stops.iter().filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min_by_key(|(at, _)| *at);
    if let Some((at, _)) = first {
        text.truncate(at);
    }
    Ok((text, first.map(|(_, stop)| stop.as_str())))
}

/// Whether the last token of `tokens` completes one of `stops`.
///
/// A token stands for a byte or more, so that as many tokens as the longest stop has bytes hold all of it.
pub(super) fn completes_stop(
    tokenizer: &dyn Tokenizer,
    (prompt, tokens): (&[TokenId], &[TokenId]),
    stops: &[String],
) -> Result<bool, TokenizeError> {
    let Some(longest) = stops.iter().map(String::len).max() else { return Ok(false) };
    let from = tokens.len().saturating_sub(longest + CONTEXT);
    let text = tokenizer.decode_after(&before(prompt, &tokens[..from]), &tokens[from..])?;
    Ok(stops.iter().any(|stop| text.contains(stop.as_str())))
}

/// The last tokens of two lists.
pub(super) fn before(prompt: &[TokenId], tokens: &[TokenId]) -> Vec<TokenId> {
    let n_prompt = CONTEXT.saturating_sub(tokens.len()).min(prompt.len());
    let tail = &tokens[tokens.len().saturating_sub(CONTEXT)..];
    [&prompt[prompt.len() - n_prompt..], tail].concat()
}

/// Text in pieces: a piece is given once no later token can change it or make a stop of it.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    tokens: Vec<TokenId>,
    /// Tokens whose text is decided.
    n_decided: usize,
    /// Decided and not given.
    held: String,
    /// Bytes given.
    n_given: usize,
}

impl Pieces {
    /// Takes a token and returns what can be given.
    pub(super) fn push(
        &mut self,
        tokenizer: &dyn Tokenizer,
        (prompt, token): (&[TokenId], TokenId),
        stops: &[String],
    ) -> Result<String, TokenizeError> {
        self.tokens.push(token);
        let (decided, undecided) = self.tokens.split_at(self.n_decided);
        let text = tokenizer.decode_after(&before(prompt, decided), undecided)?;
        if text.ends_with(UNDECIDED) {
            return Ok(String::new());
        }
        self.n_decided = self.tokens.len();
        self.held.push_str(&text);
        let given = self.held.len() - held_back(&self.held, stops);
        let rest = self.held.split_off(given);
        let piece = std::mem::replace(&mut self.held, rest);
        self.n_given += piece.len();
        Ok(piece)
    }

    /// What is left of the whole text.
    pub(super) fn rest<'t>(&self, whole: &'t str) -> &'t str {
        whole.get(self.n_given..).unwrap_or_default()
    }
}

/// Bytes at the end of `text` that are, or may become, a stop.
fn held_back(text: &str, stops: &[String]) -> usize {
    if let Some(at) = stops.iter().filter_map(|stop| text.find(stop.as_str())).min() {
        return text.len() - at;
    }
    let longest = stops.iter().map(String::len).max().unwrap_or(0);
    let from = text.len().saturating_sub(longest);
    let tails = (from..text.len()).filter(|&at| text.is_char_boundary(at)).map(|at| &text[at..]);
    tails.into_iter().find(|tail| stops.iter().any(|stop| stop.starts_with(tail))).map_or(0, str::len)
}
