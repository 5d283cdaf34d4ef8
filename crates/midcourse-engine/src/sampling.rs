//! Drawing the next token: temperature, nucleus, one seeded generator per path.
//!
//! The nucleus is found by partial selection: candidates near the maximum are gathered until they hold enough
//! probability, and only they are sorted. Its distribution depends on the logits alone, so paths that stand on
//! the same node share it.

use midcourse_core::engine::{Sampling, TokenId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::model::{LANES, exp, max, sum_lanes, vectorised};

/// The tokens that can be drawn, likeliest first, with their probabilities before the cut to the nucleus.
///
/// # Source
/// Holtzman et al. 2020: the smallest set of likeliest tokens whose probability reaches p, as transformers'
/// `TopPLogitsWarper` keeps it. Ties go to the smaller id.
#[derive(Debug, Clone, PartialEq)]
pub struct Nucleus {
    tokens: Vec<(TokenId, f64)>,
    mass: f64,
}

/// The logits hold no number, or nothing but infinities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

impl Nucleus {
    /// The nucleus of one row of logits.
    pub fn of(logits: &[f32], sampling: &Sampling) -> Result<Self, NotFinite> {
        let top_p = sampling.top_p;
        if sampling.temperature == 0.0 {
            return Ok(Self { tokens: vec![(greedy(logits)?, 1.0)], mass: 1.0 });
        }
        let weights = Weights::of(logits, sampling.temperature as f32)?;
        let mut threshold = 0.05f32;
        loop {
            let mut tokens = weights.at_least(threshold);
            let mass: f64 = tokens.iter().map(|(_, p)| p).sum();
            if mass >= top_p || tokens.len() == logits.len() {
                tokens.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                return Ok(Self::cut(tokens, top_p));
            }
            threshold = if threshold > 1e-30 { threshold / 16.0 } else { 0.0 };
        }
    }

    fn cut(mut tokens: Vec<(TokenId, f64)>, top_p: f64) -> Self {
        let mut mass = 0.0;
        let enough = tokens.iter().position(|(_, p)| {
            mass += p;
            mass >= top_p
        });
        tokens.truncate(enough.map_or(tokens.len(), |at| at + 1));
        Self { tokens, mass }
    }

    /// Draws a token by a number in [0, 1).
    pub fn draw(&self, uniform: f64) -> TokenId {
        let mut left = uniform * self.mass;
        for &(token, p) in &self.tokens {
            left -= p;
            if left < 0.0 {
                return token;
            }
        }
        self.tokens[self.tokens.len() - 1].0
    }

    /// The tokens and their probabilities, likeliest first.
    pub fn tokens(&self) -> &[(TokenId, f64)] {
        &self.tokens
    }
}

fn greedy(logits: &[f32]) -> Result<TokenId, NotFinite> {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return Err(NotFinite);
        }
        if logit > best.1 {
            best = (id, logit);
        }
    }
    if best.1.is_finite() { Ok(best.0 as TokenId) } else { Err(NotFinite) }
}

/// Unnormalised probabilities: the likeliest token weighs 1.
struct Weights {
    weights: Vec<f32>,
    total: f64,
}

impl Weights {
    fn of(logits: &[f32], temperature: f32) -> Result<Self, NotFinite> {
        let most = vectorised(
            #[inline(always)]
            || max(logits),
        );
        if !most.is_finite() {
            return Err(NotFinite);
        }
        let mut weights = vec![0f32; logits.len()];
        let total = vectorised(
            #[inline(always)]
            || exp_all(logits, most, temperature.recip(), &mut weights),
        );
        if total.is_finite() { Ok(Self { weights, total }) } else { Err(NotFinite) }
    }

    fn at_least(&self, threshold: f32) -> Vec<(TokenId, f64)> {
        const BLOCK: usize = 64;
        let mut found = Vec::new();
        for (block, weights) in self.weights.chunks(BLOCK).enumerate() {
            if weights.iter().fold(0f32, |most, &w| if w > most { w } else { most }) < threshold {
                continue;
            }
            let tokens = weights.iter().enumerate().filter(|(_, weight)| **weight >= threshold);
            let p = |weight: f32| f64::from(weight) / self.total;
            found.extend(tokens.map(|(at, &weight)| ((block * BLOCK + at) as TokenId, p(weight))));
        }
        found
    }
}

/// Writes `exp((logit − most) · scale)` and returns the sum, added up in a fixed order.
#[inline(always)]
fn exp_all(logits: &[f32], most: f32, scale: f32, out: &mut [f32]) -> f64 {
    const BLOCK: usize = 64 * LANES;
    let mut total = 0f64;
    for (logits, out) in logits.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        let mut sums = [0f32; LANES];
        for (logits, out) in logits.chunks(LANES).zip(out.chunks_mut(LANES)) {
            for ((sum, &logit), out) in sums.iter_mut().zip(logits).zip(out) {
                *out = exp((logit - most) * scale);
                *sum += *out;
            }
        }
        total += f64::from(sum_lanes(sums));
    }
    total
}

/// A path's own source of chance.
#[derive(Debug, Clone)]
pub struct PathRng(ChaCha8Rng);

impl PathRng {
    /// The generator of the path with this seed.
    pub fn new(seed: u32) -> Self {
        Self(ChaCha8Rng::seed_from_u64(u64::from(seed)))
    }

    /// A number in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        const TO_UNIT: f64 = 1.0 / (1u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 * TO_UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampling(temperature: f64, top_p: f64) -> Sampling {
        Sampling { temperature, top_p, max_new_tokens: 1 }
    }

    /// The nucleus by sorting the whole vocabulary in f64.
    fn by_sorting(logits: &[f32], s: &Sampling) -> Vec<TokenId> {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |l: f32| (f64::from(l - most) / s.temperature).exp();
        let total: f64 = logits.iter().map(|&l| weight(l)).sum();
        let mut all: Vec<_> =
            logits.iter().enumerate().map(|(i, &l)| (i as TokenId, weight(l) / total)).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut mass = 0.0;
        let n = all.iter().position(|(_, p)| {
            mass += p;
            mass >= s.top_p
        });
        all.iter().take(n.map_or(all.len(), |n| n + 1)).map(|(t, _)| *t).collect()
    }

    proptest! {
        #[test]
        fn partial_selection_equals_sorting(
            logits in proptest::collection::vec(-30f32..30.0, 1..400),
            temperature in 0.1f64..3.0,
            top_p in 0.05f64..0.999,
        ) {
            let s = sampling(temperature, top_p);
            let nucleus = Nucleus::of(&logits, &s).unwrap();
            let found: Vec<_> = nucleus.tokens().iter().map(|(t, _)| *t).collect();
            let expected = by_sorting(&logits, &s);
            // Sums in f32 and f64 may differ by one token at the very edge.
            prop_assert!(found.len().abs_diff(expected.len()) <= 1, "{} and {}", found.len(), expected.len());
            let n = found.len().min(expected.len());
            prop_assert_eq!(&found[..n], &expected[..n]);
        }

        #[test]
        fn any_draw_is_in_the_nucleus(logits in proptest::collection::vec(-5f32..5.0, 1..50), u in 0f64..1.0) {
            let nucleus = Nucleus::of(&logits, &sampling(1.0, 0.7)).unwrap();
            let token = nucleus.draw(u);
            prop_assert!(nucleus.tokens().iter().any(|(t, _)| *t == token));
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let nucleus = Nucleus::of(&[2.0, 1.0, 0.0, -20.0], &sampling(1.0, 1.0)).unwrap();
        let mut rng = PathRng::new(7);
        let mut counts = [0usize; 4];
        (0..100_000).for_each(|_| counts[nucleus.draw(rng.uniform()) as usize] += 1);
        for (count, p) in counts.iter().zip([0.665_241, 0.244_728, 0.090_031, 0.0]) {
            assert!((*count as f64 / 1e5 - p).abs() < 0.005, "{counts:?}");
        }
    }

    #[test]
    fn flat_logits_and_temperature_zero() {
        let flat = Nucleus::of(&[0.5; 1000], &sampling(0.8, 0.7)).unwrap();
        assert!(flat.tokens().len().abs_diff(700) <= 1, "{}", flat.tokens().len());
        let greedy = Nucleus::of(&[0.0, 3.0, 3.0], &sampling(0.0, 0.7)).unwrap();
        assert_eq!(greedy.draw(0.99), 1);
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for bad in [vec![f32::NAN; 40], vec![f32::NEG_INFINITY; 40], vec![1.0, f32::NAN], vec![f32::INFINITY]]
        {
            for temperature in [0.0, 0.8] {
                assert_eq!(Nucleus::of(&bad, &sampling(temperature, 0.7)), Err(NotFinite), "{bad:?}");
            }
        }
    }

    /// A path's draws are part of what a run records: another version of the generator may not change them.
    #[test]
    fn the_generator_is_fixed() {
        let mut rng = PathRng::new(1);
        let drawn = [rng.uniform(), rng.uniform()].map(|u| (u * 1e6) as u32);
        expect_test::expect![["[402485, 80383]"]].assert_eq(&format!("{drawn:?}"));
    }
}
