//! What labels say of each verdict of a judge, where rows stand for different numbers of paths.
//!
//! A sample that is drawn by verdict knows how many paths have each verdict, and of each only what its own rows tell:
//! where none of 100 rows is a miss, hundreds of 30,000 paths still can be. So P(label corrected | verdict) is drawn for
//! each verdict from its Jeffreys posterior, Beta(hits + ½, misses + ½), with as many rows as would tell as much if they
//! were independent and alike, and sensitivity, specificity and κ follow from every draw by Bayes (Begg and Greenes,
//! *Assessment of diagnostic tests when disease verification is subject to selection bias*, Biometrics 39, 1983).
//! The shares of the verdicts are taken for known, as they are where the judge's own verdicts drew the rows.
//!
//! # Coverage
//!
//! Share of simulated label files whose intervals hold the truth: `coverage_calibrated`, where 150 rows of each verdict
//! are drawn from 400 prompts of 20 paths.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::agreement::Confusion;
use super::beta::beta;
use super::interval::{N_RESAMPLES, tails};
use super::table::{Paths, Table};

/// Keeps these draws apart from others under the same seed.
const STREAM: u64 = 2;

/// What the labels say of the rows that have one verdict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// Sum of the rows' weights: the paths that they stand for.
    pub weight: f64,
    /// Weighed share of them whose label is corrected; 0 without rows.
    pub corrected: f64,
    /// Independent rows of equal weight that would tell as much; 0 without rows.
    pub n_effective: f64,
}

/// What the labels say of each verdict of the judge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByVerdict {
    /// Of rows that the judge calls corrected.
    pub corrected: Labelled,
    /// Of rows that it calls not corrected.
    pub not_corrected: Labelled,
}

impl Labelled {
    /// From the rows of every prompt, `corrected` being those whose label is; `n_alike` of all rows together.
    fn of(prompts: impl Iterator<Item = Paths>, n_alike: f64) -> Self {
        let table = Table::of_weighed(prompts);
        let all: Vec<usize> = (0..table.n_prompts()).collect();
        if all.is_empty() {
            return Self { weight: 0.0, corrected: 0.0, n_effective: 0.0 };
        }
        let found = table.mean_rate(&all);
        let weights = || table.rows().flatten().map(|prompt| prompt.judged);
        let variance = found.error.powi(2);
        // Where all rows say the same nothing is known of how they hang together: as if each prompt were one row.
        let worth =
            if variance > 1e-18 { found.rate * (1.0 - found.rate) / variance } else { alike(weights()) };
        Self { weight: weights().sum(), corrected: found.rate, n_effective: worth.min(n_alike) }
    }

    /// Whether these are figures that labels can give.
    pub fn is_sound(&self) -> bool {
        let is_count = |count: f64| count.is_finite() && count >= 0.0;
        is_count(self.weight) && is_count(self.n_effective) && (0.0..=1.0).contains(&self.corrected)
    }
}

impl ByVerdict {
    /// From the rows of every prompt; `rows` are the weights of single rows by verdict, corrected first.
    pub(super) fn of(prompts: &[Confusion], [corrected, not_corrected]: [&[f64]; 2]) -> Self {
        let paths = |corrected: f64, others: f64| Paths { corrected, judged: corrected + others };
        let of = |row: fn(&Confusion) -> [f64; 2], weights: &[f64]| {
            let rows = prompts.iter().map(row).map(|[hits, others]| paths(hits, others));
            Labelled::of(rows, alike(weights.iter().copied()))
        };
        Self {
            corrected: of(|c| [c.both, c.second_only], corrected),
            not_corrected: of(|c| [c.first_only, c.neither], not_corrected),
        }
    }

    /// Draws of the table of labels and verdicts.
    pub(super) fn draws(&self, seed: u64) -> Vec<Confusion> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let mut posterior = |of: &Labelled| {
            let hits = of.corrected * of.n_effective;
            of.weight * beta(hits + 0.5, of.n_effective - hits + 0.5, &mut rng)
        };
        let mut drawn = || {
            let (both, first_only) = (posterior(&self.corrected), posterior(&self.not_corrected));
            let second_only = (self.corrected.weight - both).max(0.0);
            let neither = (self.not_corrected.weight - first_only).max(0.0);
            Confusion { both, first_only, second_only, neither }
        };
        (0..N_RESAMPLES).map(|_| drawn()).collect()
    }
}

/// The 95 % interval of a figure from draws of it; holds the figure itself.
pub(super) fn interval(draws: Vec<f64>, found: f64) -> [f64; 2] {
    let [low, high] = tails(draws);
    [low.min(found), high.max(found)]
}

/// Rows of equal weight that would tell as much as rows of these weights (Kish 1965).
fn alike(weights: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = weights.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::agreement::{Pair, accuracy, agreement};
    use super::*;
    use crate::judge::Verdict::{Corrected, NotCorrected};

    /// 100 rows of weight 1 that judge and label call corrected, 100 of weight 300 that neither does.
    fn drawn_by_verdict(names: &[String]) -> Vec<Pair<'_>> {
        let pair = |(at, prompt)| {
            let (weight, says) = if at < 100 { (1.0, Corrected) } else { (300.0, NotCorrected) };
            Pair { prompt, weight, first: says, second: says }
        };
        names.iter().map(String::as_str).enumerate().map(pair).collect()
    }

    fn names() -> Vec<String> {
        (0..200).map(|at| at.to_string()).collect()
    }

    /// 2.47 % of 30,000 paths may be missed (97.5 % quantile of Beta(½, 100½)): 100 of 841 found.
    #[test]
    fn no_miss_in_a_sample_of_many_is_not_none_in_all() {
        let names = names();
        let found = accuracy(&drawn_by_verdict(&names), 0);
        let (sensitivity, specificity) = (found.sensitivity.unwrap(), found.specificity.unwrap());
        assert_eq!((sensitivity.rate, sensitivity.ci[1]), (1.0, 1.0));
        assert!((0.1..0.14).contains(&sensitivity.ci[0]), "{sensitivity:?}");
        assert!(sensitivity.n_effective < 10.0, "{sensitivity:?}");
        // At most 2.47 of 100 that are called corrected are not, of 30,000.
        assert!(specificity.ci[0] > 0.9998, "{specificity:?}");
        let by_verdict = found.by_verdict.unwrap();
        assert_eq!(
            by_verdict.not_corrected,
            Labelled { weight: 30_000.0, corrected: 0.0, n_effective: 100.0 }
        );
    }

    #[test]
    fn kappa_of_weighed_rows_that_agree_wholly_has_a_bound_that_says_something() {
        let names = names();
        let found = agreement(&drawn_by_verdict(&names), 0);
        let [low, high] = found.kappa_ci.unwrap();
        assert_eq!((found.kappa, high), (Some(1.0), 1.0));
        assert!((0.15..0.3).contains(&low), "{low}");
    }

    #[test]
    fn rows_of_unequal_weight_or_of_one_prompt_count_as_less() {
        let paths = |corrected, judged| Paths { corrected, judged };
        let unequal = Labelled::of([paths(0.0, 1.0), paths(0.0, 3.0)].into_iter(), 2.0);
        assert!((unequal.n_effective - 1.6).abs() < 1e-12);
        let together = Labelled::of([paths(0.0, 5.0), paths(0.0, 5.0)].into_iter(), 10.0);
        assert!((together.n_effective - 2.0).abs() < 1e-12);
        assert!(Labelled::of(std::iter::empty(), 0.0).n_effective.abs() < 1e-12);
    }
}
