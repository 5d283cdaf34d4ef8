//! The difference of a mean rate between two runs on the same prompts, with its 95 % interval.
//!
//! Prompts are drawn with replacement, both runs of a prompt together, so that what makes a prompt hard for both cancels.
//! The interval is the studentised bootstrap of the difference (Davison and Hinkley 1997, §5.2), its error by the delta
//! method from the difference of what a prompt pulls in the two runs. Where all prompts differ alike nothing is left to
//! draw from: the interval is then as wide as what n prompts without an exception leave open, 1 − 0.025^(1/n). Where few
//! differ the bootstrap runs off; no interval reaches beyond what the intervals of the two rates leave for a difference.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::PromptOutcome;
use super::bootstrap::draw;
use super::interval::{N_RESAMPLES, TAIL, estimate, tails};
use super::table::{Table, error};

/// Errors below this are rounding.
const NO_ERROR: f64 = 1e-9;

/// By how much a rate differs between two runs on the same prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Second less first, in [−1, 1].
    pub difference: f64,
    /// Lower and upper bound of the interval.
    pub ci: [f64; 2],
    /// Prompts judged in both runs.
    pub n_prompts: usize,
}

impl Difference {
    /// Whether the interval holds no 0.
    pub fn is_clear(&self) -> bool {
        self.ci[0] > 0.0 || self.ci[1] < 0.0
    }
}

/// The difference of the mean rate over `lengths` between the first and the second of every pair, each two runs of one
/// prompt; none when no prompt was judged in both.
pub fn difference(
    pairs: &[(&PromptOutcome, &PromptOutcome)],
    lengths: &[usize],
    seed: u64,
) -> Option<Difference> {
    let both = Both::new(pairs, lengths);
    let n_prompts = both.first.n_prompts();
    let mut prompts: Vec<usize> = (0..n_prompts).collect();
    if prompts.is_empty() {
        return None;
    }
    let (difference, error) = both.at(&prompts);
    let bounds = if error < NO_ERROR {
        let open = 1.0 - TAIL.powf(1.0 / n_prompts as f64);
        [difference - open, difference + open]
    } else {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let distance = |_| {
            draw(&mut rng, &mut prompts);
            distance(both.at(&prompts), difference)
        };
        let [low, high] = tails((0..N_RESAMPLES).map(distance).collect());
        [difference - high * error, difference - low * error]
    };
    let [first, second] = [estimate(&both.first, seed)?.ci, estimate(&both.second, seed)?.ci];
    let ci = [bounds[0].max(second[0] - first[1]), bounds[1].min(second[1] - first[0])];
    Some(Difference { difference, ci: [ci[0].min(difference), ci[1].max(difference)], n_prompts })
}

/// Distance of a resample from the sample in the resample's errors.
fn distance((resample, error): (f64, f64), difference: f64) -> f64 {
    let by = resample - difference;
    match (error < NO_ERROR, by.abs() < NO_ERROR) {
        (false, _) => by / error,
        (true, true) => 0.0,
        (true, false) => by * f64::INFINITY,
    }
}

/// Two runs, row by row the same prompt.
struct Both {
    first: Table,
    second: Table,
}

impl Both {
    fn new(pairs: &[(&PromptOutcome, &PromptOutcome)], lengths: &[usize]) -> Self {
        let (first, second) = Table::paired(pairs, lengths);
        Self { first, second }
    }

    /// The difference over some prompts, and its standard error.
    fn at(&self, chosen: &[usize]) -> (f64, f64) {
        let ((first, pulls), (second, others)) = (self.first.pulls(chosen), self.second.pulls(chosen));
        let apart = pulls.into_iter().zip(others).map(|(pull, other)| other - pull).collect();
        (second - first, error(apart))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict;

    fn outcome(n_corrected: usize, n_judged: usize) -> PromptOutcome {
        let mut outcome = PromptOutcome::new(None);
        for path in 0..n_judged {
            let verdict = if path < n_corrected { Verdict::Corrected } else { Verdict::NotCorrected };
            outcome.record(10, verdict, None);
        }
        outcome
    }

    fn pairs(outcomes: &[(PromptOutcome, PromptOutcome)]) -> Vec<(&PromptOutcome, &PromptOutcome)> {
        outcomes.iter().map(|(a, b)| (a, b)).collect()
    }

    /// Numbers in [0, 1) that depend on the seed alone.
    struct Chance(ChaCha8Rng);

    impl Chance {
        fn next(&mut self) -> f64 {
            f64::from(rand_chacha::rand_core::RngCore::next_u32(&mut self.0)) / 2f64.powi(32)
        }

        /// Half of the prompts turn at twice the rate, the others never; the gain is for all.
        fn prompt(&mut self, base: f64, gain: f64) -> (PromptOutcome, PromptOutcome) {
            let rate = if self.next() < 0.5 { 0.0 } else { 2.0 * base };
            (outcome(self.paths(rate), 10), outcome(self.paths(rate + gain), 10))
        }

        /// Paths of 10 that turn at a rate.
        fn paths(&mut self, rate: f64) -> usize {
            (0..10).filter(|_| self.next() < rate).count()
        }
    }

    #[test]
    fn swapped_runs_differ_by_the_opposite() {
        let outcomes = [(1, 4), (0, 3), (2, 2), (5, 9)].map(|(a, b)| (outcome(a, 10), outcome(b, 10)));
        let there = difference(&pairs(&outcomes), &[10], 3).unwrap();
        let swapped: Vec<_> = outcomes.iter().map(|(a, b)| (b.clone(), a.clone())).collect();
        let back = difference(&pairs(&swapped), &[10], 3).unwrap();
        assert!((there.difference - 0.25).abs() < 1e-12 && there.n_prompts == 4, "{there:?}");
        assert!((there.difference + back.difference).abs() < 1e-12);
    }

    #[test]
    fn prompts_that_all_differ_alike_leave_open_what_others_might_do() {
        let outcomes: Vec<_> = (0..40).map(|_| (outcome(0, 10), outcome(0, 10))).collect();
        let found = difference(&pairs(&outcomes), &[10], 1).unwrap();
        let open = 1.0 - 0.025f64.powf(1.0 / 40.0);
        assert!((found.ci[1] - open).abs() < 1e-12 && (found.ci[0] + open).abs() < 1e-12, "{found:?}");
        assert!(!found.is_clear());
    }

    #[test]
    fn a_single_prompt_that_differs_says_little() {
        let mut outcomes: Vec<_> = (0..16).map(|_| (outcome(0, 10), outcome(0, 10))).collect();
        outcomes[3] = (outcome(1, 10), outcome(0, 10));
        let found = difference(&pairs(&outcomes), &[10], 1).unwrap();
        assert!(found.ci[0] > -0.3 && found.ci[1] > 0.0 && !found.is_clear(), "{found:?}");
    }

    #[test]
    fn prompts_judged_in_one_run_only_are_no_pairs() {
        let outcomes = [(outcome(1, 10), outcome(0, 0)), (outcome(1, 10), outcome(3, 10))];
        assert_eq!(difference(&pairs(&outcomes), &[10], 1).unwrap().n_prompts, 1);
        assert_eq!(difference(&pairs(&outcomes[..1]), &[10], 1), None);
    }

    /// Prompts that are hard or easy in both runs, 40 of them with 10 paths: how often the interval holds the truth.
    #[test]
    fn intervals_cover() {
        let mut chance = Chance(ChaCha8Rng::seed_from_u64(9));
        for (base, gain) in [(0.05, 0.0), (0.2, 0.1), (0.1, 0.4)] {
            let n_runs = 400;
            let mut n_held = 0;
            for seed in 0..n_runs {
                let outcomes: Vec<_> = (0..40).map(|_| chance.prompt(base, gain)).collect();
                let Difference { ci, .. } = difference(&pairs(&outcomes), &[10], seed).unwrap();
                n_held += usize::from(ci[0] <= gain && gain <= ci[1]);
            }
            let covered = n_held as f64 / n_runs as f64;
            assert!((0.92..=0.985).contains(&covered), "{base} + {gain}: {covered}");
        }
    }
}
