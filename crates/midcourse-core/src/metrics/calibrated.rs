//! Rates corrected for what is known of the judge's error.
//!
//! A judge that finds a share `s` of the corrections (its sensitivity) and takes a share `f` of the rest for
//! corrections (1 − specificity) shows p = θ s + (1 − θ) f where θ is true, so that θ = (p − f) ÷ (s − f) (Rogan and
//! Gladen, *Estimating prevalence from the results of a screening test*, American Journal of Epidemiology 107, 1978),
//! clipped to [0, 1]. The mean over lengths is corrected as a whole: that is the mean of the corrected rates as long as
//! none of them is clipped.
//!
//! The interval carries all three uncertainties. Every draw takes p from the distribution whose quantiles are the
//! bounds of [`super::interval`] (the studentised bootstrap over prompts inside its exact bound), and s and f from
//! their Jeffreys posteriors, Beta(hits + ½, misses + ½), with as many rows as would tell as much if they were
//! independent, or, where labelled rows have different weights, from the draws of [`super::by_verdict`]; the 2.5 % and
//! 97.5 % quantiles of the corrected rates are the interval. Where fewer than one prompt's
//! worth of paths have truly turned, the exact bound stands alone: false corrections are spread evenly over prompts
//! and would hide from the bootstrap how rare those are that turn. The same holds where fewer than one has not.
//! All of it assumes that the judge errs on the run as it does on the labelled rows.
//!
//! # Coverage
//!
//! Share of simulated runs whose corrected interval holds the true rate, in %, and in brackets its mean width in points:
//! 40 beta-binomial prompts of 20 paths with correlation 0.3, a judge that errs on every path by itself, and as many
//! labelled rows as are named. 20,000 runs a cell in the first two rows and 1,000 in the others (`coverage_calibrated`).
//!
//! | sensitivity, specificity, labels | 0.01 | 0.02 | 0.05 | 0.1 | 0.3 | 0.5 | 0.7 | 0.9 | 0.95 | 0.99 |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | 0.9, 0.95, 400 | 97.4 (10.1) | 97.4 (10.5) | 97.6 (12.0) | 95.8 (14.2) | 95.9 (18.6) | 95.6 (20.1) | 95.7 (19.6) | 96.7 (15.8) | 97.3 (12.8) | 97.2 (10.0) |
//! | 0.9, 0.95, 200 | 97.2 (10.0) | 97.1 (10.6) | 97.4 (12.5) | – | – | – | – | – | – | – |
//! | 0.95, 0.99, 1250 | 98.5 (10.3) | 98.3 (10.8) | 97.6 (10.9) | 95.6 (12.6) | – | – | – | 94.7 (13.0) | 97.2 (11.0) | 97.9 (9.6) |
//! | 0.98, 0.99, 600 | 98.7 (9.8) | 98.4 (10.3) | 98.1 (10.9) | 95.4 (12.6) | – | – | – | 96.6 (12.9) | 98.5 (11.0) | 97.8 (9.7) |
//!
//! Without the exact bound at the ends the third row covers 91 % at 0.01 and 89 % at 0.02 (500 runs).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::agreement::Measured;
use super::beta::beta;
use super::by_verdict::ByVerdict;
use super::interval::{N_RESAMPLES, tails};
use super::table::Table;
use super::{Estimate, PromptOutcome, bootstrap, dirichlet, interval, lengths_above_0};

/// The least sensitivity + specificity − 1 at which a rate can be corrected: below, the judge hardly depends on what it
/// judges, and the corrected rate on nothing but noise.
pub const LEAST_YOUDEN: f64 = 0.1;
/// Keeps the draws of s and f apart from those of p under the same seed.
const STREAM: u64 = 2;

/// What a calibration says of a judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The judge's name.
    pub judge: String,
    /// The calibration file as the user named it.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Labelled rows that the judge judged either way.
    pub n: usize,
    /// Labelled rows that it did not.
    pub n_unparsed: usize,
    /// Share of the corrected that it finds.
    pub sensitivity: Measured,
    /// Share of the others that it leaves alone.
    pub specificity: Measured,
    /// What both were drawn from; absent where all labelled rows have the same weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_verdict: Option<ByVerdict>,
}

/// Corr@k corrected for the judge's error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibratedAtK {
    /// Length of the prefix.
    pub k: usize,
    /// Share in [0, 1]; null when nothing was judged.
    pub rate: Option<f64>,
    /// Its 95 % interval.
    pub ci: Option<[f64; 2]>,
}

/// The rates of a run corrected for the judge's error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// What they were corrected with.
    pub calibration: Calibration,
    /// For every k > 0, ascending.
    pub corr_at_k: Vec<CalibratedAtK>,
    /// Their mean; null when nothing was judged.
    pub corr_mean: Option<Estimate>,
    /// False corrections, the mean over k > 0; null without benign rows.
    pub benign: Option<Estimate>,
    /// Rates that came out below 0 or above 1 and were clipped: more wrong verdicts than the calibration can explain.
    pub n_clipped: usize,
}

/// The rates of a run on `harmful` and `benign` prompts, corrected; `calibration` must be one that corrects.
pub fn calibrated(
    harmful: &[PromptOutcome],
    benign: &[PromptOutcome],
    calibration: &Calibration,
    seed: u64,
) -> Calibrated {
    let errors = Errors::draw(calibration, seed);
    let lengths = lengths_above_0(harmful);
    let of =
        |outcomes: &[PromptOutcome], lengths: &[usize]| errors.correct(&Table::new(outcomes, lengths), seed);
    let at_k: Vec<_> = lengths.iter().map(|&k| (k, of(harmful, &[k]))).collect();
    let corr_mean = of(harmful, &lengths);
    let benign = of(benign, &lengths_above_0(benign));
    let all = at_k.iter().map(|(_, corrected)| corrected).chain([&corr_mean, &benign]);
    Calibrated {
        calibration: calibration.clone(),
        n_clipped: all.flatten().filter(|corrected| corrected.is_clipped).count(),
        corr_at_k: at_k.into_iter().map(|(k, corrected)| CalibratedAtK::of(k, corrected)).collect(),
        corr_mean: corr_mean.map(|corrected| corrected.estimate),
        benign: benign.map(|corrected| corrected.estimate),
    }
}

impl Calibration {
    /// Sensitivity + specificity − 1: how much the judge's verdict depends on what it judges.
    pub fn youden(&self) -> f64 {
        self.sensitivity.rate + self.specificity.rate - 1.0
    }
}

impl CalibratedAtK {
    fn of(k: usize, corrected: Option<Corrected>) -> Self {
        let estimate = corrected.map(|corrected| corrected.estimate);
        Self { k, rate: estimate.map(|estimate| estimate.rate), ci: estimate.map(|estimate| estimate.ci) }
    }
}

/// A corrected rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corrected {
    pub(super) estimate: Estimate,
    is_clipped: bool,
}

/// A judge's sensitivity and share of false corrections, and draws of both.
pub(super) struct Errors {
    found: [f64; 2],
    draws: Vec<[f64; 2]>,
}

impl Errors {
    pub(super) fn draw(calibration: &Calibration, seed: u64) -> Self {
        let Calibration { sensitivity, specificity, by_verdict, .. } = calibration;
        let draws = match by_verdict {
            Some(by_verdict) => drawn_by_verdict(calibration, by_verdict, seed),
            None => drawn(sensitivity, specificity, seed),
        };
        Self { found: [sensitivity.rate, 1.0 - specificity.rate], draws }
    }

    /// The corrected mean rate of `table`; none for a table without judged paths.
    pub(super) fn correct(&self, table: &Table, seed: u64) -> Option<Corrected> {
        let observed = interval::estimate(table, seed)?;
        let [sensitivity, false_share] = self.found;
        let unclipped = (observed.rate - false_share) / (sensitivity - false_share);
        let rate = unclipped.clamp(0.0, 1.0);
        let (lows, highs) = bounds(table, rate, seed);
        // Where a draw has the judge do no better than chance, every rate is possible.
        let corrected = |rates: Vec<f64>, unknown: f64| -> Vec<f64> {
            let rates = rates.into_iter().zip(&self.draws);
            rates
                .map(|(p, [s, f])| if s > f { ((p - f) / (s - f)).clamp(0.0, 1.0) } else { unknown })
                .collect()
        };
        let (low, high) = (tails(corrected(lows, 0.0))[0], tails(corrected(highs, 1.0))[1]);
        let estimate = Estimate { rate, ci: [low.min(rate), high.max(rate)] };
        Some(Corrected { estimate, is_clipped: (unclipped - rate).abs() > 1e-12 })
    }
}

/// Draws of s and f, each from its own rows.
fn drawn(sensitivity: &Measured, specificity: &Measured, seed: u64) -> Vec<[f64; 2]> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let mut posterior = |of: &Measured| {
        let hits = of.rate * of.n_effective;
        beta(hits + 0.5, of.n_effective - hits + 0.5, &mut rng)
    };
    (0..N_RESAMPLES).map(|_| [posterior(sensitivity), 1.0 - posterior(specificity)]).collect()
}

/// Draws of s and f from what the labels say of each verdict.
fn drawn_by_verdict(calibration: &Calibration, by_verdict: &ByVerdict, seed: u64) -> Vec<[f64; 2]> {
    let draws = by_verdict.draws(seed);
    let errors = draws.iter().map(|drawn| {
        let sensitivity = drawn.found().rate().unwrap_or(calibration.sensitivity.rate);
        [sensitivity, 1.0 - drawn.left_alone().rate().unwrap_or(calibration.specificity.rate)]
    });
    errors.collect()
}

/// Draws of the observed rate for the lower and for the upper bound, in the order of their size; `rate` is the
/// corrected one.
fn bounds(table: &Table, rate: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let (mut lows, mut highs) = dirichlet::draws(table, seed);
    let mut studentised = bootstrap::draws(table, seed).unwrap_or_default();
    for draws in [&mut lows, &mut highs, &mut studentised] {
        draws.sort_unstable_by(f64::total_cmp);
    }
    let n_prompts = table.n_prompts() as f64;
    if (1.0 - rate) * n_prompts >= 1.0 {
        lows.iter_mut().zip(&studentised).for_each(|(low, draw)| *low = low.max(*draw));
    }
    if rate * n_prompts >= 1.0 {
        highs.iter_mut().zip(&studentised).for_each(|(high, draw)| *high = high.min(*draw));
    }
    (lows, highs)
}

#[cfg(test)]
mod tests {
    use super::super::by_verdict::Labelled;
    use super::*;
    use crate::judge::Verdict;

    fn calibration(sensitivity: f64, specificity: f64, n_effective: f64) -> Calibration {
        let measured = |rate| Measured { rate, ci: [0.0, 1.0], n_effective };
        Calibration {
            judge: "rule".into(),
            file: "labels.json".into(),
            sha256: String::new(),
            n: 100,
            n_unparsed: 0,
            sensitivity: measured(sensitivity),
            specificity: measured(specificity),
            by_verdict: None,
        }
    }

    /// 40 prompts of 20 paths, every third of them with `n` corrected paths more than the rest.
    fn prompts(n: usize) -> Vec<PromptOutcome> {
        let prompt = |at: usize| {
            let mut outcome = PromptOutcome::new(None);
            for path in 0..20 {
                let is_corrected = path < 4 + if at.is_multiple_of(3) { n } else { 0 };
                outcome.record(
                    10,
                    if is_corrected { Verdict::Corrected } else { Verdict::NotCorrected },
                    None,
                );
            }
            outcome
        };
        (0..40).map(prompt).collect()
    }

    fn at_10(n: usize, calibration: &Calibration) -> CalibratedAtK {
        calibrated(&prompts(n), &[], calibration, 3).corr_at_k[0]
    }

    #[test]
    fn a_rate_is_corrected_as_rogan_and_gladen_do() {
        let outcomes = prompts(12);
        let observed = super::super::corr_at_k(&outcomes, 10, 3).rate.unwrap();
        let corrected = at_10(12, &calibration(0.9, 0.95, 200.0));
        assert!((corrected.rate.unwrap() - (observed - 0.05) / 0.85).abs() < 1e-12);
        assert_eq!(
            (corrected.k, calibrated(&outcomes, &[], &calibration(0.9, 0.95, 200.0), 3).benign),
            (10, None)
        );
    }

    #[test]
    fn a_judge_that_never_errs_changes_nothing() {
        let observed = super::super::corr_at_k(&prompts(12), 10, 3);
        let corrected = at_10(12, &calibration(1.0, 1.0, 1e9));
        assert_eq!(corrected.rate, observed.rate);
        for (found, expected) in corrected.ci.unwrap().into_iter().zip(observed.ci.unwrap()) {
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
    }

    #[test]
    fn fewer_labels_and_a_worse_judge_widen_the_interval() {
        let width = |sensitivity, n| {
            let [low, high] = at_10(12, &calibration(sensitivity, 0.95, n)).ci.unwrap();
            high - low
        };
        assert!(width(0.9, 50.0) > 1.1 * width(0.9, 1000.0));
        assert!(width(0.6, 1000.0) > 1.2 * width(0.9, 1000.0));
    }

    #[test]
    fn what_a_sample_by_verdict_leaves_open_stays_open() {
        let labelled = |weight, corrected| Labelled { weight, corrected, n_effective: 100.0 };
        let by_verdict =
            ByVerdict { corrected: labelled(100.0, 1.0), not_corrected: labelled(30_000.0, 0.0) };
        let known = Calibration { by_verdict: Some(by_verdict), ..calibration(1.0, 1.0, 100.0) };
        let outcomes = prompts(0);
        let [low, high] = calibrated(&outcomes, &[], &known, 3).corr_at_k[0].ci.unwrap();
        // Seen are 20 %, of which there may be eight times as many.
        assert!(low < 0.2 && high > 0.99, "{low} to {high}");
    }

    #[test]
    fn what_comes_out_beyond_0_or_1_is_clipped_and_counted() {
        let too_many = calibrated(&prompts(0), &prompts(0), &calibration(0.9, 0.7, 200.0), 3);
        assert_eq!((too_many.corr_at_k[0].rate, too_many.corr_mean.unwrap().rate), (Some(0.0), 0.0));
        assert_eq!((too_many.n_clipped, too_many.benign.unwrap().rate), (3, 0.0));
        assert_eq!(calibrated(&prompts(12), &[], &calibration(0.9, 0.95, 200.0), 3).n_clipped, 0);
        let too_few = calibrated(&prompts(16), &[], &calibration(0.3, 1.0, 200.0), 3);
        assert_eq!(too_few.corr_at_k[0].rate, Some(1.0));
    }

    #[test]
    fn nothing_judged_gives_no_corrected_rate() {
        let mut outcome = PromptOutcome::new(None);
        outcome.record(10, Verdict::Unparsed, None);
        let corrected = calibrated(&[outcome], &[], &calibration(0.9, 0.9, 50.0), 0);
        assert_eq!((corrected.corr_mean, corrected.corr_at_k[0].rate), (None, None));
    }
}
