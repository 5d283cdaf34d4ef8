//! Where a response is cut.
//!
//! Source: Xu et al. 2024, section 4: four places, evenly spaced over the punctuation. Ours are ends of clauses,
//! spread evenly over the characters, and the last leaves a fifth of the response; [`CutRule::Released`] is what the
//! released script does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use unicode_segmentation::GraphemeCursor;

use super::clauses::{End, EndKind, ends};
use super::script::LINE_BREAKS;

/// What is a place to cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutRule {
    /// Ends of clauses.
    #[default]
    Clauses,
    /// Every mark, inside numbers and after list markers too, as in the script released with the paper.
    Released,
}

impl CutRule {
    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clauses => "clauses",
            Self::Released => "released",
        }
    }
}

/// A response that cannot be cut as often as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response has {found} places to cut, expected at least {needed}")]
pub struct TooFewClauses {
    /// Places to cut that the rule finds.
    pub found: usize,
    /// Cuts that were asked for.
    pub needed: usize,
}

/// The `n` places where a response is cut: byte offsets, strictly increasing, each at the end of a token, none at the
/// response's start or end. No end of a clause lies inside what a reader takes for one character.
///
/// `token_ends` are byte offsets of the ends of the response's tokens, ascending; those inside a character do not
/// count.
pub fn cuts(
    response: &str,
    token_ends: &[usize],
    n: usize,
    rule: CutRule,
) -> Result<Vec<usize>, TooFewClauses> {
    let is_inside = |end: &usize| (1..response.len()).contains(end) && response.is_char_boundary(*end);
    let token_ends: BTreeSet<usize> = token_ends.iter().copied().filter(is_inside).collect();
    match rule {
        CutRule::Clauses => clause_cuts(response, &token_ends, n),
        CutRule::Released => released_cuts(response, &token_ends, n),
    }
}

/// Cut i is aimed at the share i/n of the first four fifths of the characters, and all of them together miss by the
/// least squares.
///
/// By characters and not by clauses, because what a prefix holds of the harm is its text: in a list of short lines
/// after a long paragraph every cut would lie in the list. Four fifths, because the last cut must leave a fifth; with
/// four cuts that is 20, 40, 60 and 80 %.
fn clause_cuts(response: &str, token_ends: &BTreeSet<usize>, n: usize) -> Result<Vec<usize>, TooFewClauses> {
    let total = response.chars().count();
    let mut places = Vec::new(); // (characters before, byte offset)
    let (mut chars, mut counted) = (0, 0);
    for at in ends(response).iter().filter_map(|end| token_end(response, token_ends, end)) {
        chars += response[counted..at].chars().count();
        counted = at;
        if 5 * chars > 4 * total {
            break;
        }
        places.push((chars, at));
    }
    if places.len() < n {
        return Err(TooFewClauses { found: places.len(), needed: n });
    }
    let misses = |cut: usize, place: usize| {
        let (aim, is) = (4 * total * (cut + 1), 5 * n * places[place].0);
        (aim.abs_diff(is) as u128).pow(2)
    };
    Ok(spread(n, places.len(), misses).into_iter().map(|place| places[place].1).collect())
}

/// Where the end of a clause is the end of a token: after it, or after white space that follows; where a line ends a
/// clause, rather after its break, so that what follows begins a line.
fn token_end(response: &str, token_ends: &BTreeSet<usize>, end: &End) -> Option<usize> {
    let breaks = response[end.at..end.next].rmatch_indices(LINE_BREAKS).next();
    let breaks = breaks.map(|(len, c)| end.at + len + c.len());
    let wanted = match end.kind {
        EndKind::Line | EndKind::Item => breaks.unwrap_or(end.at),
        EndKind::Clause | EndKind::Sentence | EndKind::Space => end.at,
    };
    let later = token_ends.range(wanted..=end.next.max(wanted)).next();
    let found = *later.or_else(|| token_ends.range(end.at..wanted).next_back())?;
    let is_whole = GraphemeCursor::new(found, response.len(), true).is_boundary(response, 0);
    is_whole.unwrap_or(false).then_some(found)
}

/// Assigns each of `n` cuts one of `n_places`, in order, no two the same, with the least sum of misses; of equals the
/// earlier.
fn spread(n: usize, n_places: usize, misses: impl Fn(usize, usize) -> u128) -> Vec<usize> {
    // least[p]: of the cuts so far, among the first p places. takes[cut][p]: whether the cut is the last of them.
    let mut least = vec![0_u128; n_places + 1];
    let mut takes = vec![vec![false; n_places + 1]; n];
    for (cut, takes) in takes.iter_mut().enumerate() {
        let mut next = vec![u128::MAX; n_places + 1];
        for p in cut + 1..=n_places {
            let taken = least[p - 1].saturating_add(misses(cut, p - 1));
            takes[p] = taken < next[p - 1];
            next[p] = taken.min(next[p - 1]);
        }
        least = next;
    }
    let mut places = vec![0; n];
    let mut p = n_places;
    for (cut, takes) in takes.iter().enumerate().rev() {
        p = (1..=p).rev().find(|p| takes[*p]).unwrap_or(1) - 1;
        places[cut] = p;
    }
    places
}

/// The marks at which the released script divides; its "..." never equals the one character it is compared with.
const RELEASED_MARKS: [char; 14] = [',', '.', '!', ':', ';', '?', '-', '"', '(', ')', '{', '}', '[', ']'];

/// Cut i lies after mark number i·step, at the next end of a token.
///
/// The released script draws its step at random from t/n − 1 and t/n (t marks, n cuts); ours is t/n, or t/n − 1 where
/// the last cut would be the response's end. Where its cuts are equal, ours are too few.
fn released_cuts(
    response: &str,
    token_ends: &BTreeSet<usize>,
    n: usize,
) -> Result<Vec<usize>, TooFewClauses> {
    let marks: Vec<usize> = response.match_indices(RELEASED_MARKS).map(|(at, _)| at + 1).collect();
    let widest = marks.len() / n.max(1);
    let of_step = |step: usize| -> BTreeSet<usize> {
        let marks = (1..=n).filter_map(|i| marks.get((i * step).checked_sub(1)?));
        marks.filter_map(|mark| token_ends.range(mark..).next().copied()).collect()
    };
    let found = [widest, widest.saturating_sub(1)].map(of_step);
    let most = found.iter().map(BTreeSet::len).max().unwrap_or(0);
    let cuts = found.into_iter().find(|cuts| cuts.len() == n);
    cuts.map(Vec::from_iter).ok_or(TooFewClauses { found: most, needed: n })
}

#[cfg(test)]
mod tests;
