//! A forced prefix as the start of the assistant's turn, in tokens, with the proof that it is one.
//!
//! The conversation with the *whole* response is tokenised once; a prefix is its first tokens. Two modes:
//! `open-turn` (the turn stays open after the prefix) and `new-turn`, as the scripts released with the paper
//! do it: the prefix is closed as a finished turn and the model is asked to begin another.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::turn::{self, Next};
use super::{ChatTemplate, TokenizeError, Tokenizer};
use crate::chat::Message;
use crate::engine::TokenId;
use crate::{Error, Result};

/// What stands after the forced prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing: the assistant's turn stays open.
    #[default]
    OpenTurn,
    /// The end of the turn and the header of another, as in the released scripts.
    NewTurn,
}

impl Mode {
    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenTurn => "open-turn",
            Self::NewTurn => "new-turn",
        }
    }
}

/// A rendered and tokenised conversation with an open assistant turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefill {
    /// The rendered question, the answer about to begin.
    pub question: String,
    /// The rendered text up to the end of the response.
    pub text: String,
    /// Byte offset in `text` where the response begins.
    pub response_at: usize,
    /// The tokens of `text`, a beginning-of-sequence token included where one belongs.
    pub ids: Vec<TokenId>,
    /// Byte range of `text` for every token of `ids` (empty for an added beginning of sequence).
    pub offsets: Vec<Range<usize>>,
    /// Index in `ids` of the first token that holds some of the response; it may begin before it.
    pub prefix_start: usize,
    /// Tokens that stand after a prefix: none in open-turn mode, end of turn and a new header in new-turn.
    pub lead: Vec<TokenId>,
    /// Tokens of `question`: what the model is given at k = 0.
    pub plain: Vec<TokenId>,
    /// Special-token strings found in what people said, kept as text.
    pub n_special_as_text: usize,
    /// Whether the template changed the response, which was allowed; `text` holds what it made of it.
    pub rewritten: bool,
}

/// What was checked of a prefix that a model is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The decoded model input ends, byte for byte, with the prefix (in `new-turn` mode: does not).
    pub ends_with_prefix: bool,
    /// No token that ends a turn stands at or after the start of the prefix.
    pub no_end_of_turn_after: bool,
    /// Beginning-of-sequence ids at the start.
    pub n_bos: usize,
    /// Whether `n_bos` is what tokenizer and template ask for: never doubled, never missing.
    pub bos_as_expected: bool,
}

impl Proof {
    /// Whether the model input is a true prefill.
    pub fn holds(&self) -> bool {
        self.ends_with_prefix && self.no_end_of_turn_after && self.bos_as_expected
    }
}

/// Renders `prompt` and `response` with `template` and tokenises them once.
///
/// # Errors
/// When the template fails, trims or rewrites the response, or the tokenizer refuses the text.
pub fn prefill(
    template: &ChatTemplate,
    tokenizer: &dyn Tokenizer,
    (prompt, response): (&str, &str),
    mode: Mode,
) -> Result<Prefill> {
    prefill_after(template, tokenizer, (&[Message::user(prompt)], response), mode)
}

/// The same for a response to a whole conversation. A system message in it stands in the place of the framing's.
///
/// # Errors
/// As [`prefill`].
pub fn prefill_after(
    template: &ChatTemplate,
    tokenizer: &dyn Tokenizer,
    (messages, response): (&[Message], &str),
    mode: Mode,
) -> Result<Prefill> {
    let turn = turn::open(template, messages, response)?;
    let turn::Turn { answered, question, response_at, lead, rewritten } = turn;
    let tokens = |text: &str, plain: &[Range<usize>]| encode(template, tokenizer, text, plain);
    let (ids, offsets) = with_bos(tokenizer, tokens(&answered.text, &answered.plain)?);
    let prefix_start = offsets.iter().position(|r| r.end > response_at).unwrap_or(ids.len());
    let (plain, _) = with_bos(tokenizer, tokens(&question.text, &question.plain)?);
    let lead = match mode {
        Mode::OpenTurn => Vec::new(),
        Mode::NewTurn => tokens(&lead, &[])?.0,
    };
    let said = answered.plain.iter().map(|range| tokenizer.count_special(&answered.text[range.clone()]));
    let n_special_as_text = said.sum();
    let text = answered.text;
    let question = question.text;
    Ok(Prefill {
        question,
        text,
        response_at,
        ids,
        offsets,
        prefix_start,
        lead,
        plain,
        n_special_as_text,
        rewritten,
    })
}

/// The tokens of a conversation, special-token strings in its messages kept as text.
///
/// # Errors
/// When the template fails or rewrites a message, or the tokenizer refuses the text.
pub fn encode_conversation(
    template: &ChatTemplate,
    tokenizer: &dyn Tokenizer,
    messages: &[Message],
    next: Next,
) -> Result<Vec<TokenId>> {
    let written = turn::conversation(template, messages, next)?;
    Ok(with_bos(tokenizer, encode(template, tokenizer, &written.text, &written.plain)?).0)
}

impl Prefill {
    /// The response, as the template writes it.
    pub fn response(&self) -> &str {
        &self.text[self.response_at..]
    }

    /// Number of tokens of the response.
    pub fn n_response_tokens(&self) -> usize {
        self.ids.len() - self.prefix_start
    }

    /// Bytes of the response that its first `k` tokens stand for.
    pub fn prefix_bytes(&self, k: usize) -> usize {
        match k {
            0 => 0,
            _ => self.offsets[self.prefix_start + k - 1].end - self.response_at,
        }
    }

    /// The fewest tokens of the response that hold its first `n` whitespace-separated words, or none when it
    /// has fewer words.
    pub fn tokens_of_words(&self, n: usize) -> Option<usize> {
        let last = self.response().split_whitespace().nth(n.checked_sub(1)?)?;
        let end = last.as_ptr().addr() - self.text.as_ptr().addr() + last.len();
        let reaches = self.offsets[self.prefix_start..].iter().position(|r| r.end >= end)?;
        Some(reaches + 1)
    }

    /// The tokens a model is given for the prefix of `k` tokens; for k = 0 the plain question.
    pub fn input(&self, k: usize) -> Vec<TokenId> {
        if k == 0 {
            return self.plain.clone();
        }
        [&self.ids[..self.prefix_start + k], &self.lead].concat()
    }

    /// Checks what a model is given for the prefix of `k` tokens: decodes the ids again and compares.
    ///
    /// A prefix that ends within a character has no text of its own: it is decoded with the tokens of the
    /// response that complete the character.
    pub fn proof(&self, tokenizer: &dyn Tokenizer, k: usize) -> std::result::Result<Proof, TokenizeError> {
        let input = self.input(k);
        let special = tokenizer.special();
        let whole = self.whole_characters(k);
        let decoded = tokenizer.decode(&self.input(whole))?;
        let prefix = &self.text[self.response_at..self.response_at + self.prefix_bytes(whole)];
        let n_bos = input.iter().take_while(|&&id| Some(id) == special.bos).count();
        Ok(Proof {
            ends_with_prefix: decoded.ends_with(prefix),
            no_end_of_turn_after: !input
                .iter()
                .skip(self.prefix_start)
                .any(|id| special.end_of_turn.contains(id)),
            n_bos,
            bos_as_expected: n_bos <= 1 && (n_bos == 1 || !special.adds_bos),
        })
    }

    /// The fewest tokens, at least `k`, that hold no part of a character without its rest.
    fn whole_characters(&self, k: usize) -> usize {
        let tokens = &self.offsets[self.prefix_start..];
        // A tokenizer gives both halves of a character the whole of it, or each half its bytes.
        let ends_at = |end: usize, next: usize| next >= end && self.text.is_char_boundary(end);
        let cuts_none = |at: &usize| *at == 0 || ends_at(tokens[*at - 1].end, tokens[*at].start);
        (k..tokens.len()).find(cuts_none).unwrap_or(tokens.len())
    }
}

/// The tokens of a text without a conversation around it, as a model is given the text of a completion: special-token
/// strings in it are control tokens, and the beginning of sequence stands first where the tokenizer adds one, but
/// never twice.
pub fn encode_text(
    tokenizer: &dyn Tokenizer,
    text: &str,
    adds_bos: bool,
) -> std::result::Result<Vec<TokenId>, TokenizeError> {
    let encoding = tokenizer.encode(text, &[])?;
    if !adds_bos {
        return Ok(encoding.ids);
    }
    Ok(with_bos(tokenizer, (encoding.ids, encoding.offsets)).0)
}

/// The tokens of somebody's text without a conversation around it: special-token strings in it stay text, and the
/// beginning of sequence stands first where the tokenizer adds one.
pub fn encode_plain(
    tokenizer: &dyn Tokenizer,
    text: &str,
) -> std::result::Result<Vec<TokenId>, TokenizeError> {
    let whole = 0..text.len();
    let encoding = tokenizer.encode(text, std::slice::from_ref(&whole))?;
    Ok(with_bos(tokenizer, (encoding.ids, encoding.offsets)).0)
}

pub(super) type Tokens = (Vec<TokenId>, Vec<Range<usize>>);

pub(super) fn encode(
    template: &ChatTemplate,
    tokenizer: &dyn Tokenizer,
    text: &str,
    plain: &[Range<usize>],
) -> Result<Tokens> {
    let encoding = tokenizer.encode(text, plain).map_err(|e| Error::Template {
        model: template.model().to_owned(),
        problem: e.to_string(),
        hint: "the model's tokenizer cannot read the rendered conversation".into(),
    })?;
    Ok((encoding.ids, encoding.offsets))
}

/// Puts the beginning of sequence first where the tokenizer adds one and the template did not write it.
pub(super) fn with_bos(tokenizer: &dyn Tokenizer, (mut ids, mut offsets): Tokens) -> Tokens {
    let special = tokenizer.special();
    if let (true, Some(bos)) = (special.adds_bos, special.bos)
        && ids.first() != Some(&bos)
    {
        ids.insert(0, bos);
        offsets.insert(0, 0..0);
    }
    (ids, offsets)
}
