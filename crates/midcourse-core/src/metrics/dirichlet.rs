//! A bound that holds for few prompts and few turns: Clopper and Pearson's, for prompts that turn in part.
//!
//! Suppose one prompt more than was seen, which always turns (for the upper bound) or never does (for the
//! lower), and give all prompts random weights that sum to 1, uniformly (Dirichlet). The 97.5 % quantile of
//! the weighted rate bounds the true one (Learned-Miller and Thomas, arXiv 1905.06208, 2019). Where every
//! prompt turns on all its paths or on none, it is exactly the Clopper-Pearson bound over prompts; in between
//! it is wider than need be. That it always covers is its authors' conjecture; our simulations bear it out.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::interval::{N_RESAMPLES, TAIL, tails};
use super::table::{Paths, Table, mean_of_rates};

/// Keeps the weights independent of the bootstrap's draws under the same seed.
const STREAM: u64 = 1;

/// A 95 % interval for the mean rate of at least one prompt; exact when all or none turned.
pub(super) fn bounds(table: &Table, rate: f64, seed: u64) -> [f64; 2] {
    if rate <= 0.0 {
        return [0.0, 1.0 - all_or_none(table.n_prompts())];
    }
    if rate >= 1.0 {
        return [all_or_none(table.n_prompts()), 1.0];
    }
    let (lows, highs) = draws(table, seed);
    [tails(lows)[0], tails(highs)[1]]
}

/// Rates that the quantiles of the lower bound, and of the upper one, are taken from.
pub(super) fn draws(table: &Table, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let unseen = mean_prompt(table);
    (0..N_RESAMPLES).map(|_| weighted_rates(table, &unseen, &mut rng)).unzip()
}

/// The rate p of turning at which `n_prompts` all turn with probability [`TAIL`]: pⁿ = `TAIL`.
fn all_or_none(n_prompts: usize) -> f64 {
    TAIL.powf(1.0 / n_prompts as f64)
}

/// As many judged paths as the prompts have on average, all of them corrected.
fn mean_prompt(table: &Table) -> Vec<Paths> {
    let share = 1.0 / table.n_prompts() as f64;
    let means = table.totals(table.rows().map(|row| (share, row)));
    means.iter().map(|mean| Paths { corrected: mean.judged, judged: mean.judged }).collect()
}

/// The rate under one draw of weights, with the unseen prompt never turning, and always.
fn weighted_rates(table: &Table, unseen: &[Paths], rng: &mut ChaCha8Rng) -> (f64, f64) {
    let mut always = table.totals(table.rows().map(|row| (exponential(rng), row)));
    let weight = exponential(rng);
    let mut never = always.clone();
    for ((always, never), unseen) in always.iter_mut().zip(&mut never).zip(unseen) {
        always.add(weight, *unseen);
        never.add(weight, Paths { corrected: 0.0, ..*unseen });
    }
    (mean_of_rates(&never), mean_of_rates(&always))
}

/// A standard exponential variable; a row of them, divided by its sum, is uniform on the simplex.
fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    let uniform = ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64; // in (0, 1]
    -uniform.ln()
}
