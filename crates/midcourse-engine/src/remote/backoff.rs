//! How long to wait before asking again.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(20);

/// Waits that double from 0.5 s to 20 s, each drawn evenly between nothing and its bound ("full jitter"), so that
/// clients that failed together do not come back together.
///
/// # Source
/// Brooker, *Exponential Backoff And Jitter*, 2015.
#[derive(Debug)]
pub(super) struct Backoff(ChaCha8Rng);

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The wait after the `n`-th failure in a row, counted from 1.
    pub(super) fn after(&mut self, n: u32) -> Duration {
        let bound = FIRST.saturating_mul(1 << (n.max(1) - 1).min(16)).min(LONGEST);
        bound.mul_f64(f64::from(self.0.next_u32()) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_fill_their_range_and_are_bounded() {
        let mut backoff = Backoff::new(7);
        for (n, bound) in [(1, 0.5), (2, 1.0), (5, 8.0), (6, 16.0), (7, 20.0), (u32::MAX, 20.0)] {
            let waits: Vec<f64> = (0..2000).map(|_| backoff.after(n).as_secs_f64()).collect();
            let mean = waits.iter().sum::<f64>() / 2000.0;
            assert!(waits.iter().all(|wait| *wait <= bound), "{n}");
            // The mean of 2000 even draws is within 4 standard errors, 4 · bound / √12 / √2000.
            assert!((mean - bound / 2.0).abs() < bound * 0.026, "{n}: {mean}");
        }
    }
}
