//! Texts that begin alike, put together so that what they share is computed once.
//!
//! What stands together depends on the texts alone, never on what is measured already: the same texts make the same
//! bundles in a run that goes on as in one that was never interrupted.

use std::ops::Range;

use crate::engine::TokenId;

/// Fewer tokens that texts of different items share are computed again.
const MIN_SHARED: usize = 64;
/// A text may go its own way for so many tokens, or for as many as it shares: what grows on a trunk is attended to token
/// by token.
const MAX_APART: usize = 256;

/// A text as bundles see it.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    /// Number of its item; texts of an item follow each other.
    pub item: usize,
    /// The tokens that are read, at least one.
    pub read: &'a [TokenId],
}

/// Neighbouring texts, and the number of tokens with which all of them begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    /// The texts.
    pub texts: Range<usize>,
    /// Tokens that they share, at least one.
    pub n_shared: usize,
}

/// Divides texts into bundles.
pub fn together(texts: &[Shared<'_>]) -> Vec<Together> {
    let mut bundles: Vec<Together> = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        if let Some(last) = bundles.last_mut()
            && let Some(n_shared) = joins(last, texts, text)
        {
            *last = Together { texts: last.texts.start..at + 1, n_shared };
            continue;
        }
        bundles.push(Together { texts: at..at + 1, n_shared: text.read.len() });
    }
    bundles
}

/// The tokens that a bundle shares when a text joins it; none when the text stays apart.
fn joins(bundle: &Together, texts: &[Shared<'_>], text: &Shared<'_>) -> Option<usize> {
    let first = &texts[bundle.texts.start];
    let trunk = &first.read[..bundle.n_shared];
    let n_shared = trunk.iter().zip(text.read).take_while(|(a, b)| a == b).count();
    let least = if first.item == text.item { 1 } else { MIN_SHARED };
    let apart = (trunk.len() - n_shared).max(text.read.len() - n_shared);
    (n_shared >= least && apart <= MAX_APART.max(n_shared)).then_some(n_shared)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[(usize, Vec<TokenId>)]) -> Vec<Together> {
        let shared: Vec<Shared> = texts.iter().map(|(item, read)| Shared { item: *item, read }).collect();
        together(&shared)
    }

    #[test]
    fn choices_of_an_item_share_its_context_and_items_their_shots() {
        let shots: Vec<TokenId> = (0..100).collect();
        let text = |rest: &[TokenId]| [shots.as_slice(), rest].concat();
        let texts =
            [(0, text(&[1, 2])), (0, text(&[1, 3, 4])), (1, text(&[5])), (2, vec![7, 8]), (2, vec![7, 9])];
        let bundles = of(&texts);
        assert_eq!(bundles, [Together { texts: 0..3, n_shared: 100 }, Together { texts: 3..5, n_shared: 1 }]);
    }

    #[test]
    fn windows_of_a_long_text_stay_apart() {
        let window = |last: TokenId| [vec![1], vec![last; 1000]].concat();
        assert_eq!(of(&[(0, window(2)), (0, window(3))]).len(), 2);
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_bundle_and_begins_with_what_it_shares(
            texts in prop::collection::vec((0_usize..3, prop::collection::vec(0_u32..3, 1..6)), 0..20),
        ) {
            let mut n = 0;
            for bundle in of(&texts) {
                prop_assert_eq!(bundle.texts.start, n);
                n = bundle.texts.end;
                prop_assert!(bundle.n_shared > 0);
                let trunk = &texts[bundle.texts.start].1[..bundle.n_shared];
                prop_assert!(texts[bundle.texts].iter().all(|(_, read)| read.starts_with(trunk)));
            }
            prop_assert_eq!(n, texts.len());
        }
    }
}
