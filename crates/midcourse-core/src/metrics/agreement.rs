//! How far two judges agree, or a judge and people: agreement, Cohen's κ, sensitivity and specificity.
//!
//! *Corrected* is the positive. Rows of one prompt are not independent (the same wording misleads a judge every time),
//! so that the prompt is the unit of every interval. Agreement, sensitivity and specificity are rates over prompts, and
//! their intervals those of [`super::interval`]: where every prompt has one row, the exact bound among them is
//! Clopper and Pearson's, which is why no other is used. κ has the studentised bootstrap over prompts, its standard
//! error from the delta method (Yang and Zhou, *Kappa statistic for clustered matched-pair data*, Statistics in
//! Medicine 33, 2014; for single rows it is that of Fleiss, Cohen and Everitt, 1969). Where fewer than ten prompts
//! differ it is widened to the κ of the agreement's bounds.
//!
//! Rows may be weighed: a sample that was drawn by verdict speaks for the run only with the inverse of the
//! probability of each row to be drawn. Where weights differ, the intervals of κ, sensitivity and specificity are those
//! of [`super::by_verdict`].
//!
//! # Coverage
//!
//! Share of simulated label files whose intervals hold the truth, in %; 1,000 files a row (`coverage_calibrated`).
//! Labels are correlated within a prompt by 0.6, errors by 0.3; 40 % of the labels are corrected.
//!
//! | prompts × rows | sensitivity, specificity | agreement | κ | sensitivity | specificity |
//! | --- | --- | --- | --- | --- | --- |
//! | 40 × 5 | 0.9, 0.95 | 95.5 | 96.5 | 97.8 | 98.5 |
//! | 250 × 5 | 0.9, 0.95 | 94.5 | 95.3 | 94.9 | 94.7 |
//! | 250 × 5 | 0.95, 0.99 | 94.2 | 95.4 | 94.8 | 98.2 |
//! | 200 × 1 | 0.9, 0.95 | 96.5 | 96.8 | 96.5 | 97.3 |
//! | 1250 × 1 | 0.7, 0.9 | 95.2 | 94.3 | 93.9 | 96.3 |

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::bootstrap::draw;
use super::by_verdict::{self, ByVerdict};
use super::interval::{N_RESAMPLES, tails};
use super::table::{Paths, Table};
use super::{Estimate, interval};
use crate::judge::Verdict;

/// Prompts with differences from which on the bootstrap alone tells how far κ may be off: with fewer, its interval also
/// holds the κ of both bounds of the agreement under the same margins.
const LEAST_DIFFERING: usize = 10;

/// A row that was judged twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<'a> {
    /// What tells its prompt from others.
    pub prompt: &'a str,
    /// How many rows it stands for.
    pub weight: f64,
    /// What the first judge says: the label, where people have judged.
    pub first: Verdict,
    /// What the second judge says.
    pub second: Verdict,
}

/// Rows by what the two say; the sums of their weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Both say corrected.
    pub both: f64,
    /// Only the first does.
    pub first_only: f64,
    /// Only the second does.
    pub second_only: f64,
    /// Neither does.
    pub neither: f64,
}

/// How far two judges agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Rows that both judged either way.
    pub n: usize,
    /// Rows that one of them did not.
    pub n_unparsed: usize,
    /// Prompts of the `n` rows.
    pub n_prompts: usize,
    /// The `n` rows by what the two say.
    pub confusion: Confusion,
    /// Share of rows on which they say the same; null without rows.
    pub agreement: Option<Estimate>,
    /// Cohen's κ; null where both say one thing only.
    pub kappa: Option<f64>,
    /// Its 95 % interval.
    pub kappa_ci: Option<[f64; 2]>,
}

/// A share that was measured on labelled rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Share in [0, 1].
    pub rate: f64,
    /// Its 95 % interval over prompts.
    pub ci: [f64; 2],
    /// Independent rows that would tell as much: the rows divided by the design effect (Kish 1965).
    pub n_effective: f64,
}

/// How well the second judge finds what the first, taken for the truth, says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Share of the corrected that it calls so; none without corrected rows.
    pub sensitivity: Option<Measured>,
    /// Share of the others that it calls not corrected; none without such rows.
    pub specificity: Option<Measured>,
    /// What both were drawn from; none where all rows have the same weight.
    pub by_verdict: Option<ByVerdict>,
}

/// How far the judges of `pairs` agree.
pub fn agreement(pairs: &[Pair], seed: u64) -> Agreement {
    let parsed: Vec<&Pair> = pairs.iter().filter(|pair| pair.cell().is_some()).collect();
    let prompts = by_prompt(&parsed);
    let rows = prompts.iter().map(|c| Paths { corrected: c.both + c.neither, judged: c.total() });
    let agreement = interval::estimate(&Table::of_weighed(rows), seed);
    let confusion = sum(&prompts);
    let kappa = confusion.kappa();
    let kappa_ci = agreement.zip(kappa).map(|(agreement, kappa)| {
        let Some(by_verdict) = by_verdict(&parsed, &prompts) else {
            return kappa_interval(&prompts, kappa, agreement, seed);
        };
        let drawn = by_verdict.draws(seed);
        by_verdict::interval(drawn.iter().map(|c| c.kappa().unwrap_or(kappa)).collect(), kappa)
    });
    Agreement {
        n: parsed.len(),
        n_unparsed: pairs.len() - parsed.len(),
        n_prompts: prompts.len(),
        confusion,
        agreement,
        kappa,
        kappa_ci,
    }
}

/// How well the second judge of `pairs` does, the first taken for the truth.
pub fn accuracy(pairs: &[Pair], seed: u64) -> Accuracy {
    let parsed: Vec<&Pair> = pairs.iter().filter(|pair| pair.cell().is_some()).collect();
    let prompts = by_prompt(&parsed);
    let by_verdict = by_verdict(&parsed, &prompts);
    let draws = by_verdict.map(|by_verdict| by_verdict.draws(seed));
    let measured = |truth: Verdict, row: fn(&Confusion) -> Paths| {
        let n_rows = parsed.iter().filter(|pair| pair.first == truth).count();
        match &draws {
            None => measured(&Table::of_weighed(prompts.iter().map(row)), n_rows, seed),
            Some(draws) => measured_by_verdict(row(&sum(&prompts)), draws.iter().map(row), n_rows),
        }
    };
    Accuracy {
        sensitivity: measured(Verdict::Corrected, Confusion::found),
        specificity: measured(Verdict::NotCorrected, Confusion::left_alone),
        by_verdict,
    }
}

impl Pair<'_> {
    /// The row's cell; none when one of the two says nothing.
    fn cell(&self) -> Option<Confusion> {
        let weight = self.weight;
        let cell = match (self.first, self.second) {
            (Verdict::Corrected, Verdict::Corrected) => Confusion { both: weight, ..Confusion::default() },
            (Verdict::Corrected, Verdict::NotCorrected) => {
                Confusion { first_only: weight, ..Confusion::default() }
            }
            (Verdict::NotCorrected, Verdict::Corrected) => {
                Confusion { second_only: weight, ..Confusion::default() }
            }
            (Verdict::NotCorrected, Verdict::NotCorrected) => {
                Confusion { neither: weight, ..Confusion::default() }
            }
            _ => return None,
        };
        Some(cell)
    }
}

impl Confusion {
    /// What the first calls corrected, and the second too.
    pub(super) fn found(&self) -> Paths {
        Paths { corrected: self.both, judged: self.both + self.first_only }
    }

    /// What the first calls not corrected, and the second too.
    pub(super) fn left_alone(&self) -> Paths {
        Paths { corrected: self.neither, judged: self.neither + self.second_only }
    }

    fn total(&self) -> f64 {
        self.both + self.first_only + self.second_only + self.neither
    }

    fn add(&mut self, other: &Self) {
        self.both += other.both;
        self.first_only += other.first_only;
        self.second_only += other.second_only;
        self.neither += other.neither;
    }

    /// Observed agreement, that of chance, and the shares of corrected of the two.
    fn shares(&self) -> (f64, f64, [f64; 2]) {
        let n = self.total();
        let observed = (self.both + self.neither) / n;
        let [p1, p2] = [(self.both + self.first_only) / n, (self.both + self.second_only) / n];
        (observed, p1 * p2 + (1.0 - p1) * (1.0 - p2), [p1, p2])
    }

    /// Cohen's κ; none where chance alone agrees wholly.
    fn kappa(&self) -> Option<f64> {
        let (observed, chance, _) = self.shares();
        let kappa = (observed - chance) / (1.0 - chance);
        (self.total() > 0.0 && chance < 1.0 - 1e-12).then_some(kappa)
    }

    /// The κ that agreements would give under the same chance.
    fn kappas(&self, agreements: [f64; 2]) -> [f64; 2] {
        let (_, chance, _) = self.shares();
        agreements.map(|agreement| ((agreement - chance) / (1.0 - chance)).clamp(-1.0, 1.0))
    }

    /// How far a row of each cell moves κ, to first order: both, first only, second only, neither.
    fn pulls(&self) -> [f64; 4] {
        let n = self.total();
        let (observed, chance, [p1, p2]) = self.shares();
        let pull = |agrees: f64, first: f64, second: f64| {
            let by_chance = (first - p1) * (2.0 * p2 - 1.0) + (second - p2) * (2.0 * p1 - 1.0);
            ((agrees - observed) * (1.0 - chance) - by_chance * (1.0 - observed)) / (1.0 - chance).powi(2) / n
        };
        [pull(1.0, 1.0, 1.0), pull(0.0, 1.0, 0.0), pull(0.0, 0.0, 1.0), pull(1.0, 0.0, 0.0)]
    }
}

/// The rows of every prompt, sorted so that their order decides nothing.
fn by_prompt(pairs: &[&Pair]) -> Vec<Confusion> {
    let mut prompts: BTreeMap<&str, Confusion> = BTreeMap::new();
    for pair in pairs {
        if let Some(cell) = pair.cell() {
            prompts.entry(pair.prompt).or_default().add(&cell);
        }
    }
    let mut prompts: Vec<_> = prompts.into_values().collect();
    let key = |c: &Confusion| [c.both, c.first_only, c.second_only, c.neither];
    prompts.sort_by(|a, b| {
        let differing =
            key(a).into_iter().zip(key(b)).map(|(a, b)| a.total_cmp(&b)).find(|order| order.is_ne());
        differing.unwrap_or(std::cmp::Ordering::Equal)
    });
    prompts
}

/// Prompts in which the two differ at least once.
fn n_differing(prompts: &[Confusion]) -> usize {
    prompts.iter().filter(|c| c.first_only + c.second_only > 0.0).count()
}

fn sum<'a>(prompts: impl IntoIterator<Item = &'a Confusion>) -> Confusion {
    let mut total = Confusion::default();
    prompts.into_iter().for_each(|prompt| total.add(prompt));
    total
}

/// What the labels say of each verdict of the second judge; none where all rows have the same weight.
fn by_verdict(parsed: &[&Pair], prompts: &[Confusion]) -> Option<ByVerdict> {
    let first = parsed.first()?.weight;
    if parsed.iter().all(|pair| (pair.weight - first).abs() <= 1e-9 * first) {
        return None;
    }
    let weights = |verdict| -> Vec<f64> {
        parsed.iter().filter(|pair| pair.second == verdict).map(|pair| pair.weight).collect()
    };
    let rows = [weights(Verdict::Corrected), weights(Verdict::NotCorrected)];
    Some(ByVerdict::of(prompts, [&rows[0], &rows[1]]))
}

/// A rate and its interval from draws of it; none without rows.
fn measured_by_verdict(found: Paths, draws: impl Iterator<Item = Paths>, n_rows: usize) -> Option<Measured> {
    if n_rows == 0 {
        return None;
    }
    let rate = found.corrected / found.judged;
    let draws: Vec<f64> = draws.map(|drawn| drawn.rate().unwrap_or(rate)).collect();
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / n;
    // The rows of a Beta distribution with the mean and the variance of the draws.
    let worth = (mean * (1.0 - mean) / variance.max(1e-18) - 1.0).max(1.0);
    Some(Measured { rate, ci: by_verdict::interval(draws, rate), n_effective: worth.min(n_rows as f64) })
}

/// A rate, its interval, and how many independent rows would tell as much.
fn measured(table: &Table, n_rows: usize, seed: u64) -> Option<Measured> {
    let Estimate { rate, ci } = interval::estimate(table, seed)?;
    let prompts: Vec<usize> = (0..table.n_prompts()).collect();
    let variance = table.mean_rate(&prompts).error.powi(2);
    // Where all rows say the same nothing is known of how they hang together: as if each prompt were one row.
    let worth = if variance > 1e-18 { rate * (1.0 - rate) / variance } else { prompts.len() as f64 };
    Some(Measured { rate, ci, n_effective: worth.min(n_rows as f64) })
}

/// The 95 % interval of κ, where all rows have the same weight.
fn kappa_interval(prompts: &[Confusion], kappa: f64, agreement: Estimate, seed: u64) -> [f64; 2] {
    let [low, high] = sum(prompts).kappas(agreement.ci);
    match studentised(prompts, kappa, seed) {
        Some(ci) if n_differing(prompts) >= LEAST_DIFFERING => ci,
        Some(ci) => [ci[0].min(low), ci[1].max(high)],
        None => [low, high],
    }
}

/// The studentised 95 % interval of κ; none when its standard error is 0.
fn studentised(prompts: &[Confusion], kappa: f64, seed: u64) -> Option<[f64; 2]> {
    let mut drawn: Vec<usize> = (0..prompts.len()).collect();
    let error = error(prompts, &drawn)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let distances = (0..N_RESAMPLES).map(|_| {
        draw(&mut rng, &mut drawn);
        let resampled = sum(drawn.iter().map(|&at| &prompts[at])).kappa();
        match resampled.zip(self::error(prompts, &drawn)) {
            Some((resampled, error)) => (resampled - kappa) / error,
            // A resample that says nothing of its own error, or in which chance agrees wholly.
            None => 0.0,
        }
    });
    let [low, high] = tails(distances.collect());
    Some([(kappa - high * error).clamp(-1.0, 1.0), (kappa - low * error).clamp(-1.0, 1.0)])
}

/// The standard error of κ over the prompts `chosen`; none when it is 0 or κ is not defined.
fn error(prompts: &[Confusion], chosen: &[usize]) -> Option<f64> {
    let total = sum(chosen.iter().map(|&at| &prompts[at]));
    total.kappa()?;
    let [both, first_only, second_only, neither] = total.pulls();
    let pull = |c: &Confusion| {
        both * c.both + first_only * c.first_only + second_only * c.second_only + neither * c.neither
    };
    let squares: f64 = chosen.iter().map(|&at| pull(&prompts[at]).powi(2)).sum();
    let n = chosen.len() as f64;
    let error = (squares * n / (n - 1.0).max(1.0)).sqrt();
    (error > 1e-9).then_some(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Verdict::{Corrected, NotCorrected, Unparsed};

    const NAMES: [&str; 60] = {
        // One name a prompt.
        let mut names = [""; 60];
        let digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut at = 0;
        while at < 60 {
            names[at] = digits.split_at(at).1;
            at += 1;
        }
        names
    };

    /// `counts` rows of both, first only, second only and neither, all of different prompts.
    fn rows(counts: [usize; 4]) -> Vec<Pair<'static>> {
        let kinds = [
            (Corrected, Corrected),
            (Corrected, NotCorrected),
            (NotCorrected, Corrected),
            (NotCorrected, NotCorrected),
        ];
        let all = kinds.into_iter().zip(counts).flat_map(|(kind, n)| std::iter::repeat_n(kind, n));
        all.zip(NAMES).map(|((first, second), prompt)| Pair { prompt, weight: 1.0, first, second }).collect()
    }

    fn assert_near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
    }

    /// Cohen's own kind of table: 20 + 15 of 50 agree, chance ½: κ = 0.4; Fleiss, Cohen and Everitt's standard error,
    /// from statsmodels 0.15 (`cohens_kappa([[20, 5], [10, 15]])`): kappa 0.4, `std_kappa` 0.126996.
    #[test]
    fn kappa_and_its_error_are_those_of_the_books() {
        let pairs = rows([20, 5, 10, 15]);
        let found = agreement(&pairs, 0);
        assert_near(found.kappa.unwrap(), 0.4, 1e-12);
        assert_near(found.agreement.unwrap().rate, 0.7, 1e-12);
        assert_eq!((found.n, found.n_unparsed, found.n_prompts), (50, 0, 50));
        let prompts = by_prompt(&pairs.iter().collect::<Vec<_>>());
        let error = error(&prompts, &(0..50).collect::<Vec<_>>()).unwrap();
        // With the 50 ÷ 49 of a sample variance.
        assert_near(error, 0.126_996 * (50.0_f64 / 49.0).sqrt(), 5e-5);
        let [low, high] = found.kappa_ci.unwrap();
        assert_near(low, 0.4 - 1.96 * error, 0.06);
        assert_near(high, 0.4 + 1.96 * error, 0.06);
    }

    #[test]
    fn sensitivity_and_specificity_name_their_denominators() {
        let mut pairs = rows([8, 2, 1, 19]);
        pairs.push(Pair { prompt: "x", weight: 1.0, first: Corrected, second: Unparsed });
        let Accuracy { sensitivity, specificity, .. } = accuracy(&pairs, 0);
        let (sensitivity, specificity) = (sensitivity.unwrap(), specificity.unwrap());
        assert_near(sensitivity.rate, 0.8, 1e-12);
        assert_near(specificity.rate, 0.95, 1e-12);
        // n (n - 1) ÷ n of the delta method, at most the rows: independent ones.
        assert_near(sensitivity.n_effective, 10.0, 1.01);
        assert_near(specificity.n_effective, 20.0, 1.01);
        assert_eq!(agreement(&pairs, 0).n_unparsed, 1);
        assert_eq!(accuracy(&rows([3, 0, 0, 0]), 0).specificity, None);
    }

    #[test]
    fn rows_of_one_prompt_count_as_less() {
        let alone = rows([40, 10, 0, 0]);
        let mut together = alone.clone();
        // Five rows a prompt that all stand or fall together.
        together.iter_mut().enumerate().for_each(|(at, pair)| pair.prompt = NAMES[at / 5]);
        let width = |pairs: &[Pair]| {
            let found = accuracy(pairs, 0).sensitivity.unwrap();
            (found.n_effective, found.ci[1] - found.ci[0])
        };
        let ((n_alone, alone), (n_together, together)) = (width(&alone), width(&together));
        assert_near(n_alone, 49.0, 1.01);
        assert_near(n_together, 9.0, 1.01);
        assert!(together > 1.8 * alone, "{together} and {alone}");
    }

    #[test]
    fn weights_stand_for_rows() {
        let mut weighed = rows([1, 1, 1, 1]);
        for (pair, weight) in weighed.iter_mut().zip([20.0, 5.0, 10.0, 15.0]) {
            pair.weight = weight;
        }
        let found = agreement(&weighed, 0);
        assert_near(found.kappa.unwrap(), 0.4, 1e-12);
        assert_eq!(found.confusion, agreement(&rows([20, 5, 10, 15]), 0).confusion);
        assert_near(accuracy(&weighed, 0).sensitivity.unwrap().rate, 0.8, 1e-12);
    }

    #[test]
    fn judges_that_never_differ_still_leave_doubt() {
        let found = agreement(&rows([20, 0, 0, 20]), 0);
        assert_eq!(found.kappa, Some(1.0));
        let [low, high] = found.kappa_ci.unwrap();
        // 0.025^(1/40) = 0.9119 of agreement, by chance ½.
        assert_near(low, 2.0 * 0.9119 - 1.0, 1e-3);
        assert_near(high, 1.0, 0.0);
        let one_kind = agreement(&rows([0, 0, 0, 9]), 0);
        assert_eq!((one_kind.kappa, one_kind.kappa_ci), (None, None));
        let nothing = agreement(&[], 0);
        assert_eq!((nothing.n, nothing.agreement, nothing.kappa), (0, None, None));
    }

    /// The bootstrap, which knows one difference only, would end at the estimate.
    #[test]
    fn judges_that_hardly_differ_still_leave_doubt() {
        let names: Vec<String> = (0..200).map(|at| at.to_string()).collect();
        let pair = |(at, prompt)| {
            let first = if at < 100 { Corrected } else { NotCorrected };
            let second = if at < 101 { Corrected } else { NotCorrected };
            Pair { prompt, weight: 1.0, first, second }
        };
        let pairs: Vec<Pair> = names.iter().map(String::as_str).enumerate().map(pair).collect();
        let found = agreement(&pairs, 0);
        let ([agreement, _], [low, high]) = (found.agreement.unwrap().ci, found.kappa_ci.unwrap());
        assert_near(found.kappa.unwrap(), 0.99, 1e-3);
        // By chance ½.
        assert!(low <= 2.0 * agreement - 1.0 + 1e-9 && low > 0.9, "{low}, agreement from {agreement}");
        assert_near(high, 1.0, 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn figures_lie_in_their_intervals_in_any_order(
            counts in [0..9_usize, 0..9_usize, 0..9_usize, 0..9_usize], seed: u64, rotate in 0..9_usize,
        ) {
            let mut pairs = rows(counts);
            pairs.iter_mut().enumerate().for_each(|(at, pair)| pair.prompt = NAMES[at / 2]);
            let found = agreement(&pairs, seed);
            if let Some((kappa, [low, high])) = found.kappa.zip(found.kappa_ci) {
                prop_assert!(-1.0 <= low && low <= high && high <= 1.0 && low <= kappa + 0.05 && kappa - 0.05 <= high);
            }
            let n = pairs.len().max(1);
            pairs.rotate_left(rotate % n);
            prop_assert_eq!(&found, &agreement(&pairs, seed));
            prop_assert_eq!(accuracy(&pairs, seed), accuracy(&rows(counts).into_iter().enumerate().map(
                |(at, pair)| Pair { prompt: NAMES[at / 2], ..pair }).collect::<Vec<_>>(), seed));
        }
    }
}
