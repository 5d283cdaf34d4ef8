//! Added tokens: where they stand in a text.
//!
//! The tokenizers library finds them anywhere. Here a control token must lie wholly in what the template wrote,
//! so that what people wrote stays text, also where a spelling begins in one and ends in the other. Otherwise
//! the same: of several the leftmost, of those the longest, then white space around it where the token asks
//! for it, though never somebody's.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use midcourse_core::engine::TokenId;
use tokenizers::normalizer::Range as NormalizedRange;
use tokenizers::{AddedToken, NormalizedString, Token};

/// Bytes that the spellings of added tokens may have together. The longest list of the field has 64 thousand.
const MAX_BYTES: usize = 1 << 20;

/// Added tokens that are looked for in one go.
#[derive(Debug)]
pub(super) struct AddedTokens {
    automaton: AhoCorasick,
    tokens: Vec<(TokenId, AddedToken)>,
}

/// A token and the bytes of the text that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub range: Range<usize>,
    pub id: TokenId,
}

impl AddedTokens {
    /// Tokens with the spelling that each is looked for by.
    pub(super) fn new(spelled: Vec<(String, TokenId, AddedToken)>) -> tokenizers::Result<Self> {
        if spelled.iter().map(|(spelling, ..)| spelling.len()).sum::<usize>() > MAX_BYTES {
            return Err(format!("the added tokens have more than {MAX_BYTES} bytes").into());
        }
        let automaton = AhoCorasick::new(spelled.iter().map(|(spelling, ..)| spelling))?;
        Ok(Self { automaton, tokens: spelled.into_iter().map(|(_, id, token)| (id, token)).collect() })
    }

    /// Number of control tokens spelled in `text`.
    pub(super) fn count_special(&self, text: &str) -> usize {
        let is_special = |at: usize| self.tokens[at].1.special;
        self.leftmost_longest(text, |at, _| is_special(at)).len()
    }

    /// The tokens of `text`, in order; `plain` are the ranges of somebody's text, in order.
    pub(super) fn find(&self, text: &str, plain: &[Range<usize>]) -> Vec<Found> {
        let touches = |range: &Range<usize>| plain.iter().any(|p| p.start < range.end && range.start < p.end);
        let allowed = |at: usize, range: &Range<usize>| {
            let token = &self.tokens[at].1;
            let is_somebodys = token.special && touches(range);
            let is_part = token.single_word && is_in_word(text, range);
            !is_somebodys && !is_part
        };
        let found = self.leftmost_longest(text, allowed);
        let mut all = Vec::with_capacity(found.len());
        let mut from = 0;
        for (nth, (range, at)) in found.iter().enumerate() {
            let (id, token) = &self.tokens[*at];
            let to = found.get(nth + 1).map_or(text.len(), |(next, _)| next.start);
            let range = widened(text, range, token, literal_around(range, plain, from..to));
            from = range.end;
            all.push(Found { range, id: *id });
        }
        all
    }

    fn leftmost_longest(
        &self,
        text: &str,
        allowed: impl Fn(usize, &Range<usize>) -> bool,
    ) -> Vec<(Range<usize>, usize)> {
        let mut longest = BTreeMap::<usize, (usize, usize)>::new();
        for found in self.automaton.find_overlapping_iter(text) {
            let at = found.pattern().as_usize();
            if allowed(at, &found.range()) {
                // Matches come in the order of their ends: the last one of a start is its longest.
                longest.insert(found.start(), (found.end(), at));
            }
        }
        let mut from = 0;
        let free = |(start, (end, at)): (usize, (usize, usize))| {
            (start >= from).then(|| {
                from = end;
                (start..end, at)
            })
        };
        longest.into_iter().filter_map(free).collect()
    }
}

/// Takes `text` apart at the tokens found in it.
pub(super) fn cut(
    text: &NormalizedString,
    found: &[Found],
) -> tokenizers::Result<Vec<(NormalizedString, Option<Vec<Token>>)>> {
    let slice = |range: &Range<usize>| {
        let piece = text.slice(NormalizedRange::Normalized(range.clone()));
        piece.ok_or_else(|| tokenizers::Error::from("an added token ends within a character"))
    };
    let mut pieces = Vec::with_capacity(2 * found.len() + 1);
    let mut from = 0;
    for token in found {
        pieces.push((slice(&(from..token.range.start))?, None));
        let piece = slice(&token.range)?;
        let tokens = vec![Token::new(token.id, piece.get().to_owned(), (0, token.range.len()))];
        pieces.push((piece, Some(tokens)));
        from = token.range.end;
    }
    pieces.push((slice(&(from..text.get().len()))?, None));
    Ok(pieces)
}

/// What the template wrote around a token, no further than `within`.
fn literal_around(range: &Range<usize>, plain: &[Range<usize>], within: Range<usize>) -> Range<usize> {
    let before = plain.iter().filter(|p| p.start < range.start).map(|p| p.end.min(range.start)).max();
    let after = plain.iter().filter(|p| p.end > range.end).map(|p| p.start.max(range.end)).min();
    within.start.max(before.unwrap_or(0))..within.end.min(after.unwrap_or(within.end))
}

/// The token with the white space that it takes.
fn widened(text: &str, range: &Range<usize>, token: &AddedToken, limit: Range<usize>) -> Range<usize> {
    let before = &text[limit.start..range.start];
    let after = &text[range.end..limit.end];
    let left = if token.lstrip { before.len() - before.trim_end().len() } else { 0 };
    let right = if token.rstrip { after.len() - after.trim_start().len() } else { 0 };
    range.start - left..range.end + right
}

fn is_in_word(text: &str, range: &Range<usize>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text[..range.start].ends_with(is_word) || text[range.end..].starts_with(is_word)
}
