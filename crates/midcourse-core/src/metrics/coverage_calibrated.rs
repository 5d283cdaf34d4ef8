//! How often the intervals that rest on labelled rows hold the truth, by simulation.
//!
//! A run is 40 prompts of 20 paths with the correlation of [`super::coverage`]; a judge then errs on every path by
//! itself. Its sensitivity and specificity are measured on a label file of its own. The tables in
//! [`super::calibrated`] and [`super::agreement`] come from `MIDCOURSE_SIMULATIONS=20000`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::PromptOutcome;
use super::agreement::{Pair, accuracy, agreement};
use super::calibrated::{Calibration, Errors};
use super::coverage::{forty, uniform};
use super::table::Table;
use crate::judge::Verdict;

const K: usize = 10;
const LABEL_SHARE: f64 = 0.4;

/// A judge and the number of labelled rows that its error is known from.
#[derive(Debug, Clone, Copy)]
struct Known {
    sensitivity: f64,
    specificity: f64,
    n_labels: usize,
}

fn verdict(is_corrected: bool) -> Verdict {
    if is_corrected { Verdict::Corrected } else { Verdict::NotCorrected }
}

impl Known {
    fn judge(self, is_corrected: bool, rng: &mut ChaCha8Rng) -> Verdict {
        let says = if is_corrected { self.sensitivity } else { 1.0 - self.specificity };
        verdict(uniform(rng) < says)
    }

    /// The rows of a label file, one a prompt.
    fn calibration(self, rng: &mut ChaCha8Rng) -> Calibration {
        let (mut hits, mut n) = ([0_usize; 2], [0_usize; 2]);
        for _ in 0..self.n_labels {
            let is_corrected = uniform(rng) < LABEL_SHARE;
            let truth = usize::from(is_corrected);
            n[truth] += 1;
            hits[truth] += usize::from(self.judge(is_corrected, rng) == verdict(is_corrected));
        }
        let measured = |truth: usize| super::agreement::Measured {
            rate: hits[truth] as f64 / n[truth] as f64,
            ci: [0.0, 1.0],
            n_effective: n[truth] as f64,
        };
        Calibration {
            judge: String::new(),
            file: String::new(),
            sha256: String::new(),
            n: self.n_labels,
            n_unparsed: 0,
            sensitivity: measured(1),
            specificity: measured(0),
            by_verdict: None,
        }
    }

    /// What the judge says of a prompt's paths.
    fn outcome(self, rate: f64, rng: &mut ChaCha8Rng) -> PromptOutcome {
        let truth = forty(rate).prompt(rng).cell(K);
        let mut seen = PromptOutcome::new(None);
        for path in 0..truth.n_judged() {
            seen.record(K, self.judge(path < truth.n_corrected(), rng), None);
        }
        seen
    }

    /// The share of `n_simulations` whose corrected interval holds `rate`, and the interval's mean width.
    fn simulate(self, rate: f64, n_simulations: usize, seed: u64) -> (f64, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut n_covered, mut width) = (0_usize, 0.0);
        for _ in 0..n_simulations {
            let calibration = self.calibration(&mut rng);
            let prompts: Vec<_> = (0..40).map(|_| self.outcome(rate, &mut rng)).collect();
            let seed = rng.next_u64();
            let corrected = Errors::draw(&calibration, seed).correct(&Table::new(&prompts, &[K]), seed);
            let [low, high] = corrected.unwrap().estimate.ci;
            n_covered += usize::from((low..=high).contains(&rate));
            width += high - low;
        }
        (n_covered as f64 / n_simulations as f64, width / n_simulations as f64)
    }
}

const NINE_TENTHS: Known = Known { sensitivity: 0.9, specificity: 0.95, n_labels: 400 };
const SEVEN_TENTHS: Known = Known { sensitivity: 0.7, specificity: 0.9, n_labels: 1250 };

/// The share of 2,000 simulations wanders by 0.5 points; the true coverage is in the table of the module.
fn check(known: Known, rates: &[f64], allowed: std::ops::RangeInclusive<f64>) {
    for &rate in rates {
        let (covered, _) = known.simulate(rate, 2000, 1);
        assert!(allowed.contains(&covered), "rate {rate}: {covered}");
    }
}

#[test]
fn corrected_intervals_cover_rates_up_to_one_half() {
    check(NINE_TENTHS, &[0.1, 0.3, 0.5], 0.93..=0.97);
}

#[test]
fn corrected_intervals_cover_rates_above_one_half() {
    check(NINE_TENTHS, &[0.7, 0.9], 0.93..=0.97);
    check(SEVEN_TENTHS, &[0.5], 0.93..=0.97);
}

#[test]
fn corrected_intervals_cover_low_rates_at_least_as_often() {
    check(NINE_TENTHS, &[0.01, 0.02, 0.05], 0.93..=1.0);
}

#[test]
fn corrected_intervals_cover_high_rates_at_least_as_often() {
    check(NINE_TENTHS, &[0.95, 0.99], 0.93..=1.0);
    check(SEVEN_TENTHS, &[0.02], 0.93..=1.0);
}

/// Without this the tests above would also pass for an interval that takes the judge's word.
#[test]
fn the_judge_of_the_simulation_errs() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let n_seen = |rate, rng: &mut ChaCha8Rng| -> f64 {
        (0..4000).map(|_| SEVEN_TENTHS.outcome(rate, rng).cell(K).n_corrected() as f64).sum::<f64>()
            / 80_000.0
    };
    assert!((n_seen(0.0, &mut rng) - 0.1).abs() < 0.005);
    assert!((n_seen(1.0, &mut rng) - 0.7).abs() < 0.008);
}

/// A label file of prompts with `n_rows` rows each: labels are correlated within a prompt by 0.6, and so is whether
/// the judge errs, by 0.3.
struct Labels {
    n_prompts: usize,
    n_rows: usize,
    known: Known,
}

/// True values of the figures, and how often their intervals held them.
#[derive(Default)]
struct Held {
    agreement: usize,
    kappa: usize,
    sensitivity: usize,
    specificity: usize,
}

impl Labels {
    /// One after the other from Pólya urns, as in [`super::coverage`].
    fn urn(rate: f64, correlation: f64) -> impl FnMut(&mut ChaCha8Rng) -> bool {
        let mut n_balls = 1.0 / correlation - 1.0;
        let mut n_of_kind = n_balls * rate;
        move |rng| {
            let drawn = uniform(rng) * n_balls < n_of_kind;
            n_balls += 1.0;
            n_of_kind += f64::from(u8::from(drawn));
            drawn
        }
    }

    fn pairs<'a>(&self, names: &'a [String], rng: &mut ChaCha8Rng) -> Vec<Pair<'a>> {
        let mut pairs = Vec::new();
        for prompt in &names[..self.n_prompts] {
            let mut label = Self::urn(LABEL_SHARE, 0.6);
            let mut finds = Self::urn(self.known.sensitivity, 0.3);
            let mut leaves = Self::urn(self.known.specificity, 0.3);
            for _ in 0..self.n_rows {
                let first = label(rng);
                let second = if first { finds(rng) } else { !leaves(rng) };
                pairs.push(Pair { prompt, weight: 1.0, first: verdict(first), second: verdict(second) });
            }
        }
        pairs
    }

    fn simulate(&self, n_simulations: usize, seed: u64) -> [f64; 4] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let names: Vec<String> = (0..self.n_prompts).map(|i| i.to_string()).collect();
        let Known { sensitivity, specificity, .. } = self.known;
        let observed = LABEL_SHARE * sensitivity + (1.0 - LABEL_SHARE) * specificity;
        let says = LABEL_SHARE * sensitivity + (1.0 - LABEL_SHARE) * (1.0 - specificity);
        let chance = LABEL_SHARE * says + (1.0 - LABEL_SHARE) * (1.0 - says);
        let kappa = (observed - chance) / (1.0 - chance);
        let mut held = Held::default();
        for _ in 0..n_simulations {
            let pairs = self.pairs(&names, &mut rng);
            let seed = rng.next_u64();
            let (found, accuracy) = (agreement(&pairs, seed), accuracy(&pairs, seed));
            let holds = |[low, high]: [f64; 2], truth: f64| usize::from((low..=high).contains(&truth));
            held.agreement += holds(found.agreement.unwrap().ci, observed);
            held.kappa += holds(found.kappa_ci.unwrap(), kappa);
            held.sensitivity += holds(accuracy.sensitivity.unwrap().ci, sensitivity);
            held.specificity += holds(accuracy.specificity.unwrap().ci, specificity);
        }
        [held.agreement, held.kappa, held.sensitivity, held.specificity]
            .map(|n| n as f64 / n_simulations as f64)
    }
}

#[test]
fn intervals_of_repeated_prompts_hold_the_truth() {
    let labels = Labels { n_prompts: 80, n_rows: 5, known: NINE_TENTHS };
    for covered in labels.simulate(600, 1) {
        // Four standard errors of 600 simulations around 95 %.
        assert!((0.914..=0.986).contains(&covered), "{covered}");
    }
}

/// 400 prompts of 20 paths, of which 150 of each verdict are drawn and labelled.
struct Export {
    rate: f64,
    known: Known,
}

impl Export {
    const N_DRAWN: usize = 150;

    /// The drawn rows with their weights, and the judge's sensitivity and specificity on all paths.
    fn draw<'a>(&self, names: &'a [String], rng: &mut ChaCha8Rng) -> (Vec<Pair<'a>>, [f64; 2]) {
        let mut strata: [Vec<Pair>; 2] = Default::default();
        let mut counts = [[0_u32; 2]; 2];
        for prompt in names {
            let mut label = Labels::urn(self.rate, 0.3);
            for _ in 0..20 {
                let first = label(rng);
                let second = self.known.judge(first, rng);
                let at = usize::from(second == Verdict::Corrected);
                counts[usize::from(first)][at] += 1;
                strata[at].push(Pair { prompt, weight: 1.0, first: verdict(first), second });
            }
        }
        let share = |[of, others]: [u32; 2]| f64::from(of) / f64::from(of + others);
        let truth = [share([counts[1][1], counts[1][0]]), share([counts[0][0], counts[0][1]])];
        let drawn = strata.into_iter().flat_map(|mut rows| {
            let (n, n_drawn) = (rows.len(), rows.len().min(Self::N_DRAWN));
            for at in 0..n_drawn {
                rows.swap(at, at + (uniform(rng) * (n - at) as f64) as usize);
            }
            rows.truncate(n_drawn);
            rows.into_iter().map(move |row| Pair { weight: n as f64 / n_drawn as f64, ..row })
        });
        (drawn.collect(), truth)
    }

    /// How often the intervals of sensitivity and specificity hold the truth.
    fn simulate(&self, n_simulations: usize, seed: u64) -> [f64; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let names: Vec<String> = (0..400).map(|i| i.to_string()).collect();
        let mut held = [0_usize; 2];
        for _ in 0..n_simulations {
            let (pairs, truth) = self.draw(&names, &mut rng);
            let found = accuracy(&pairs, rng.next_u64());
            for ((held, measured), truth) in
                held.iter_mut().zip([found.sensitivity, found.specificity]).zip(truth)
            {
                let [low, high] = measured.unwrap().ci;
                *held += usize::from((low..=high).contains(&truth));
            }
        }
        held.map(|n| n as f64 / n_simulations as f64)
    }
}

/// Prints how often intervals of exported rows hold the truth.
#[test]
fn intervals_of_rows_drawn_by_verdict_hold_the_truth() {
    let n = n_simulations().max(400);
    for (rate, known) in [(0.05, NINE_TENTHS), (0.1, SEVEN_TENTHS), (0.05, ACCURATE), (0.02, ACCURATE)] {
        let [sensitivity, specificity] = Export { rate, known }.simulate(n, 1);
        println!("{rate}, {known:?}: {sensitivity:.4}, {specificity:.4}");
        assert!(sensitivity >= 0.93 && specificity >= 0.93, "{rate}: {sensitivity}, {specificity}");
    }
}

const ACCURATE: Known = Known { sensitivity: 0.95, specificity: 0.99, n_labels: 1250 };

/// As many as `MIDCOURSE_SIMULATIONS` asks for; 60 do for a test.
fn n_simulations() -> usize {
    std::env::var("MIDCOURSE_SIMULATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// Prints the table of [`super::calibrated`] when it is asked for enough simulations.
#[test]
fn coverage_of_corrected_rates_holds_in_other_worlds() {
    let few = Known { n_labels: 200, ..NINE_TENTHS };
    for known in [NINE_TENTHS, few, SEVEN_TENTHS, ACCURATE] {
        for rate in [0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99] {
            let (covered, width) = known.simulate(rate, n_simulations(), 2);
            let Known { sensitivity, specificity, n_labels } = known;
            println!("{sensitivity} {specificity} {n_labels}, rate {rate}: {covered:.4}, width {width:.4}");
            // Four standard errors of 60 simulations below 95 %.
            assert!(covered >= 0.83, "{known:?}, rate {rate}: {covered}");
        }
    }
}

/// Prints the table of [`super::agreement`] when it is asked for enough simulations.
#[test]
fn coverage_of_agreement_holds_in_other_worlds() {
    for (n_prompts, n_rows, known) in [
        (40, 5, NINE_TENTHS),
        (250, 5, NINE_TENTHS),
        (250, 5, ACCURATE),
        (200, 1, NINE_TENTHS),
        (1250, 1, SEVEN_TENTHS),
    ] {
        let covered = Labels { n_prompts, n_rows, known }.simulate(n_simulations(), 2);
        println!("{n_prompts} prompts of {n_rows}, {known:?}: {covered:.4?}");
        assert!(covered.iter().all(|covered| *covered >= 0.83), "{n_prompts} × {n_rows}: {covered:?}");
    }
}
