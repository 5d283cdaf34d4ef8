//! The studentised bootstrap over prompts, on the arcsine scale.
//!
//! Prompts are drawn with replacement, all paths of all lengths together. Each resample gives the distance of
//! its rate from the sample's in standard errors of its own; quantiles of these take the place of Student's.
//! The angle asin √rate evens out the variance and keeps bounds in [0, 1] (Davison and Hinkley, *Bootstrap
//! Methods and their Application*, 1997, §5.2). It says nothing when prompts do not differ: see
//! [`super::dirichlet`].

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::interval::{N_RESAMPLES, tails};
use super::table::{RateWithError, Table};

/// Errors below this are rounding: rates of fewer than a million paths differ by more.
const NO_ERROR: f64 = 1e-9;

/// The 95 % interval, or none when the standard error is 0.
pub(super) fn studentised(table: &Table, seed: u64) -> Option<[f64; 2]> {
    draws(table, seed).map(tails)
}

/// Rates as likely as the data leave them, the quantiles of which bound the interval at every level; none when the
/// standard error is 0.
pub(super) fn draws(table: &Table, seed: u64) -> Option<Vec<f64>> {
    let mut prompts: Vec<usize> = (0..table.n_prompts()).collect();
    let sample = table.mean_rate(&prompts);
    if sample.error < NO_ERROR {
        return None;
    }
    let error = sample.error / slope(sample.rate);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draw = |_| {
        draw(&mut rng, &mut prompts);
        let distance = distance(table.mean_rate(&prompts), sample.rate);
        rate_at(angle(sample.rate) - distance * error)
    };
    Some((0..N_RESAMPLES).map(draw).collect())
}

/// Fills `prompts` with indices drawn with replacement.
///
/// The index is the high half of a product, which favours none by more than n ÷ 2³².
pub(super) fn draw(rng: &mut ChaCha8Rng, prompts: &mut [usize]) {
    let n_prompts = prompts.len() as u64;
    prompts.fill_with(|| ((u64::from(rng.next_u32()) * n_prompts) >> 32) as usize);
}

/// Distance between the angles of a resample and of the sample, in the resample's standard errors.
///
/// A resample of like prompts has no error: it lies infinitely far off, unless its rate is the sample's.
fn distance(resample: RateWithError, rate: f64) -> f64 {
    let difference = angle(resample.rate) - angle(rate);
    if resample.error >= NO_ERROR {
        return difference * slope(resample.rate) / resample.error;
    }
    if difference.abs() < NO_ERROR { 0.0 } else { difference * f64::INFINITY }
}

fn angle(rate: f64) -> f64 {
    rate.sqrt().asin()
}

fn rate_at(angle: f64) -> f64 {
    angle.clamp(0.0, std::f64::consts::FRAC_PI_2).sin().powi(2)
}

/// How fast the rate changes with its angle.
fn slope(rate: f64) -> f64 {
    2.0 * (rate * (1.0 - rate)).sqrt()
}
