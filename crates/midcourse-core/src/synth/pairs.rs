//! Preferences: every better answer over every worse one.

use super::{Answer, Ranking};

/// A preference between two answers of a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The better answer.
    pub chosen: &'a Answer,
    /// The worse one.
    pub rejected: &'a Answer,
}

/// Every pair of a ranking, in the order of the better answers and then of the worse: 15 of six answers.
pub fn pairs(ranking: &Ranking) -> impl Iterator<Item = Pair<'_>> {
    let answers = &ranking.answers;
    answers.iter().enumerate().flat_map(|(better, chosen)| {
        answers[better + 1..].iter().map(move |rejected| Pair { chosen, rejected })
    })
}

/// Pairs of a ranking with so many answers.
pub fn n_pairs(n_answers: usize) -> usize {
    n_answers * n_answers.saturating_sub(1) / 2
}
