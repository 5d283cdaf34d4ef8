//! Draws from beta distributions, as ratios of gamma variables.
//!
//! Source: G. Marsaglia and W. W. Tsang, *A Simple Method for Generating Gamma Variables*, ACM Transactions on
//! Mathematical Software 26(3), 2000; normal variables by Box and Muller.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// A draw from Beta(a, b); both above 0.
pub(super) fn beta(a: f64, b: f64, rng: &mut ChaCha8Rng) -> f64 {
    let (x, y) = (gamma(a, rng), gamma(b, rng));
    // Shapes far below 1 can give two zeros.
    if x + y > 0.0 { x / (x + y) } else { a / (a + b) }
}

/// A draw from Gamma(shape, 1).
fn gamma(shape: f64, rng: &mut ChaCha8Rng) -> f64 {
    if shape < 1.0 {
        return gamma(shape + 1.0, rng) * uniform(rng).powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = (9.0 * d).sqrt().recip();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && uniform(rng).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (-2.0 * uniform(rng).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// In (0, 1].
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Mean a ÷ (a + b), variance ab ÷ ((a + b)² (a + b + 1)); five standard errors of 20,000 draws.
    #[test]
    fn draws_have_the_moments_of_the_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (a, b) in [(0.5, 0.5), (0.5, 40.5), (1.0, 1.0), (3.5, 1.5), (190.5, 20.5)] {
            let n = 20_000;
            let draws: Vec<f64> = (0..n).map(|_| beta(a, b, &mut rng)).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
            let expected = a * b / ((a + b) * (a + b) * (a + b + 1.0));
            assert!((mean - a / (a + b)).abs() < 5.0 * (expected / f64::from(n)).sqrt(), "{a}, {b}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.12, "{a}, {b}: {variance}, not {expected}");
        }
    }

    /// P(X ≤ x) of Beta(1/2, 1/2) is 2 ÷ π · asin √x.
    #[test]
    fn draws_have_the_quantiles_of_the_arcsine_law() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| beta(0.5, 0.5, &mut rng)).collect();
        for x in [0.01, 0.1, 0.5, 0.95_f64] {
            let below = draws.iter().filter(|draw| **draw <= x).count() as f64 / f64::from(n);
            let expected = std::f64::consts::FRAC_2_PI * x.sqrt().asin();
            assert!((below - expected).abs() < 0.018, "{x}: {below}, not {expected}");
        }
    }
}
