//! Counts of judged paths, one row a prompt and one column a length, and the mean rate they give.
//!
//! The estimand is the mean over lengths of (corrected ÷ judged), both summed over prompts: a mean of ratios.
//! Its standard error comes from the delta method with the prompt as the unit (for one length, the linearised
//! ratio estimator of survey sampling: Cochran, *Sampling Techniques*, 3rd ed. 1977, §6.4).

use std::borrow::Borrow;

use super::{Cell, PromptOutcome};

/// Judged paths; floating-point because resampling weighs them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Paths {
    pub(super) corrected: f64,
    pub(super) judged: f64,
}

impl Paths {
    /// Corrected ÷ judged; none when nothing was judged.
    pub(super) fn rate(self) -> Option<f64> {
        (self.judged > 0.0).then(|| self.corrected / self.judged)
    }

    /// Adds `weight` times `other`.
    pub(super) fn add(&mut self, weight: f64, other: Self) {
        self.corrected += weight * other.corrected;
        self.judged += weight * other.judged;
    }
}

/// Judged paths of every prompt that has any, at every length that has any.
#[derive(Debug)]
pub(super) struct Table {
    cells: Vec<Paths>,
    n_lengths: usize,
}

/// A mean rate and the standard error of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateWithError {
    pub(super) rate: f64,
    pub(super) error: f64,
}

impl Table {
    /// The table of `lengths`. Rows are sorted, so that the order of prompts decides nothing.
    pub(super) fn new(outcomes: &[impl Borrow<PromptOutcome>], lengths: &[usize]) -> Self {
        let n_judged = |outcome: &PromptOutcome, k: usize| outcome.cell(k).n_judged();
        let is_judged = |k: &usize| outcomes.iter().any(|outcome| n_judged(outcome.borrow(), *k) > 0);
        let lengths: Vec<usize> = lengths.iter().copied().filter(is_judged).collect();
        let row = |outcome: &PromptOutcome| -> Vec<(usize, usize)> {
            lengths.iter().map(|&k| (outcome.cell(k).n_corrected(), n_judged(outcome, k))).collect()
        };
        let mut rows: Vec<_> = outcomes.iter().map(|outcome| row(outcome.borrow())).collect();
        rows.retain(|row| row.iter().any(|&(_, n_judged)| n_judged > 0));
        rows.sort_unstable();
        let paths = |&(n_corrected, n_judged): &(usize, usize)| Paths {
            corrected: n_corrected as f64,
            judged: n_judged as f64,
        };
        Self { cells: rows.iter().flatten().map(paths).collect(), n_lengths: lengths.len() }
    }

    /// The tables of two runs on the same prompts, row by row the same prompt: those with judged paths in both runs, at
    /// the lengths judged in both. Rows stay in order, so that swapped runs give swapped tables.
    pub(super) fn paired(pairs: &[(&PromptOutcome, &PromptOutcome)], lengths: &[usize]) -> [Self; 2] {
        let judged = |outcome: &PromptOutcome, k: usize| outcome.cell(k).n_judged() > 0;
        let in_both =
            |k: &usize| pairs.iter().any(|(a, _)| judged(a, *k)) && pairs.iter().any(|(_, b)| judged(b, *k));
        let lengths: Vec<usize> = lengths.iter().copied().filter(in_both).collect();
        let row = |outcome: &PromptOutcome| -> Vec<Paths> {
            let cells = lengths.iter().map(|&k| outcome.cell(k));
            let paths =
                |cell: Cell| Paths { corrected: cell.n_corrected() as f64, judged: cell.n_judged() as f64 };
            cells.map(paths).collect()
        };
        let has_paths = |row: &[Paths]| row.iter().any(|paths| paths.judged > 0.0);
        let mut rows: Vec<_> = pairs.iter().map(|(a, b)| (row(a), row(b))).collect();
        rows.retain(|(a, b)| has_paths(a) && has_paths(b));
        let (first, second): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        [first, second].map(|rows| Self { cells: rows.concat(), n_lengths: lengths.len() })
    }

    /// The tables of one column of two runs, row by row the same prompt: those that weigh something in both runs.
    pub(super) fn paired_sums(rows: impl IntoIterator<Item = [Paths; 2]>) -> [Self; 2] {
        let rows = rows.into_iter().filter(|row| row.iter().all(|paths| paths.judged > 0.0));
        let (first, second): (Vec<_>, Vec<_>) = rows.map(|[first, second]| (first, second)).unzip();
        [first, second].map(|cells| Self { cells, n_lengths: 1 })
    }

    /// The table of rows that are there already.
    pub(super) fn of_rows(rows: impl Iterator<Item = Vec<Paths>>) -> Self {
        let rows: Vec<Vec<Paths>> = rows.collect();
        Self { n_lengths: rows.first().map_or(0, Vec::len), cells: rows.concat() }
    }

    /// The table of one column whose rows are weighed counts; rows without weight are left out.
    pub(super) fn of_weighed(rows: impl IntoIterator<Item = Paths>) -> Self {
        let mut cells: Vec<Paths> = rows.into_iter().filter(|row| row.judged > 0.0).collect();
        cells
            .sort_unstable_by(|a, b| a.judged.total_cmp(&b.judged).then(a.corrected.total_cmp(&b.corrected)));
        Self { cells, n_lengths: 1 }
    }

    /// Prompts with judged paths.
    pub(super) fn n_prompts(&self) -> usize {
        self.cells.len().checked_div(self.n_lengths).unwrap_or(0)
    }

    /// One row a prompt.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[Paths]> {
        self.cells.chunks_exact(self.n_lengths.max(1))
    }

    /// The mean rate over the prompts `chosen` (with repetitions) and its standard error.
    ///
    /// A length none of them reaches drops out of the mean.
    pub(super) fn mean_rate(&self, chosen: &[usize]) -> RateWithError {
        let (rate, pulls) = self.pulls(chosen);
        RateWithError { rate, error: error(pulls) }
    }

    /// The mean rate over the prompts `chosen`, and how far each of them pulls it, to first order.
    pub(super) fn pulls(&self, chosen: &[usize]) -> (f64, Vec<f64>) {
        let totals = self.totals(chosen.iter().map(|&prompt| (1.0, self.row(prompt))));
        let n_lengths = totals.iter().filter(|total| total.judged > 0.0).count() as f64;
        let linear: Vec<(f64, f64)> = totals.iter().map(|total| linearised(*total, n_lengths)).collect();
        let pulls = chosen.iter().map(|&prompt| pull(self.row(prompt), &linear)).collect();
        (mean_of_rates(&totals), pulls)
    }

    /// Weighted sums of rows, by length.
    pub(super) fn totals<'a>(&self, weighted: impl Iterator<Item = (f64, &'a [Paths])>) -> Vec<Paths> {
        let mut totals = vec![Paths::default(); self.n_lengths];
        for (weight, row) in weighted {
            totals.iter_mut().zip(row).for_each(|(total, paths)| total.add(weight, *paths));
        }
        totals
    }

    fn row(&self, prompt: usize) -> &[Paths] {
        &self.cells[prompt * self.n_lengths..][..self.n_lengths]
    }
}

/// The standard error of what prompts pull.
pub(super) fn error(pulls: Vec<f64>) -> f64 {
    let n_prompts = pulls.len() as f64;
    let squares: f64 = pulls.into_iter().map(|pull| pull * pull).sum();
    (squares * n_prompts / (n_prompts - 1.0).max(1.0)).sqrt()
}

/// The mean of corrected ÷ judged over the lengths with judged paths; 0 without any.
pub(super) fn mean_of_rates(totals: &[Paths]) -> f64 {
    let judged = || totals.iter().filter(|total| total.judged > 0.0);
    judged().map(|total| total.corrected / total.judged).sum::<f64>() / (judged().count() as f64).max(1.0)
}

/// Rate of a length, and how far one path moves the mean rate.
fn linearised(total: Paths, n_lengths: f64) -> (f64, f64) {
    if total.judged == 0.0 {
        return (0.0, 0.0);
    }
    (total.corrected / total.judged, 1.0 / (total.judged * n_lengths))
}

/// How far a prompt pulls the mean rate, to first order.
fn pull(row: &[Paths], linear: &[(f64, f64)]) -> f64 {
    let pulls =
        row.iter().zip(linear).map(|(paths, (rate, step))| step * (paths.corrected - rate * paths.judged));
    pulls.sum()
}
