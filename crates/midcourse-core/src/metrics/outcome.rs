//! What became of the paths of one prompt, as counts.
//!
//! A [`PromptOutcome`] is filled path by path from verdicts, so its counts always agree: no more paths are
//! corrected than judged, and an unparsed or failed path is counted without being judged.

use std::collections::BTreeMap;

use crate::judge::Verdict;

/// Paths of one prompt at one length, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "counts are called n_foos throughout")]
pub struct Cell {
    n_corrected: usize,
    n_judged: usize,
    n_unparsed: usize,
    n_failed: usize,
}

impl Cell {
    /// Paths judged `corrected`.
    pub fn n_corrected(&self) -> usize {
        self.n_corrected
    }

    /// Paths judged either way: the denominator.
    pub fn n_judged(&self) -> usize {
        self.n_judged
    }

    /// Paths whose judgement could not be understood.
    pub fn n_unparsed(&self) -> usize {
        self.n_unparsed
    }

    /// Paths the engine could not grow.
    pub fn n_failed(&self) -> usize {
        self.n_failed
    }

    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Unparsed => self.n_unparsed += 1,
            Verdict::NotCorrected => self.n_judged += 1,
            Verdict::Corrected => {
                self.n_judged += 1;
                self.n_corrected += 1;
            }
        }
    }
}

/// All that the figures need to know of one prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptOutcome {
    category: Option<String>,
    /// By length; none where the length was skipped.
    cells: BTreeMap<usize, Option<Cell>>,
    turns: Vec<usize>,
}

impl PromptOutcome {
    /// A prompt of which nothing has been recorded yet.
    pub fn new(category: Option<String>) -> Self {
        Self { category, ..Self::default() }
    }

    /// Records a judged path at length `k`, and the token after the cut where it turns, if that is known.
    pub fn record(&mut self, k: usize, verdict: Verdict, turn: Option<usize>) {
        self.cell_mut(k).count(verdict);
        if k > 0 && verdict == Verdict::Corrected {
            self.turns.extend(turn);
        }
    }

    /// Records a path at length `k` that the engine could not grow.
    pub fn record_failed(&mut self, k: usize) {
        self.cell_mut(k).n_failed += 1;
    }

    /// Records that the response is shorter than `k`; paths recorded at `k` outweigh it.
    pub fn record_skipped(&mut self, k: usize) {
        self.cells.entry(k).or_default();
    }

    /// The row's category, where the format has one.
    pub fn category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    /// The lengths of which something was recorded, ascending.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.cells.keys().copied()
    }

    /// The counts at length `k`, all 0 where no path was recorded.
    pub fn cell(&self, k: usize) -> Cell {
        self.cells.get(&k).copied().flatten().unwrap_or_default()
    }

    /// Whether the response is shorter than `k`.
    pub fn is_skipped(&self, k: usize) -> bool {
        self.cells.get(&k) == Some(&None)
    }

    /// Tokens after the cut at which corrected paths of k > 0 turn.
    pub fn turns(&self) -> &[usize] {
        &self.turns
    }

    fn cell_mut(&mut self, k: usize) -> &mut Cell {
        self.cells.entry(k).or_default().get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unparsed_and_failed_paths_are_not_judged() {
        let mut outcome = PromptOutcome::new(None);
        outcome.record(10, Verdict::Corrected, Some(4));
        outcome.record(10, Verdict::NotCorrected, None);
        outcome.record(10, Verdict::Unparsed, None);
        outcome.record_failed(10);
        let counted = Cell { n_corrected: 1, n_judged: 2, n_unparsed: 1, n_failed: 1 };
        assert_eq!(outcome.cell(10), counted);
    }

    #[test]
    fn turns_are_those_of_corrected_paths_after_a_prefix() {
        let mut outcome = PromptOutcome::new(None);
        outcome.record(0, Verdict::Corrected, Some(1));
        outcome.record(10, Verdict::Corrected, Some(4));
        outcome.record(10, Verdict::Corrected, None);
        outcome.record(10, Verdict::NotCorrected, Some(9));
        assert_eq!(outcome.turns(), [4]);
    }

    #[test]
    fn recorded_paths_outweigh_a_skip_in_either_order() {
        let mut outcome = PromptOutcome::new(None);
        outcome.record_skipped(10);
        assert!(outcome.is_skipped(10));
        outcome.record_failed(10);
        outcome.record_skipped(10);
        assert!(!outcome.is_skipped(10));
        assert_eq!(outcome.cell(10).n_failed(), 1);
    }
}
