//! The difference of a mean between two runs on the same prompts or items, with its 95 % interval.
//!
//! Prompts are drawn with replacement, both runs of a prompt together, so that what makes a prompt hard for both cancels.
//! Items that were made of one prompt are drawn together; their mean is then a ratio of sums.
//! The interval is the studentised bootstrap of the difference (Davison and Hinkley 1997, §5.2), its error by the delta
//! method from the difference of what a prompt pulls in the two runs. Where all prompts differ alike nothing is left to
//! draw from: the interval is then as wide as what n prompts without an exception leave open, 1 − 0.025^(1/n). Where few
//! differ the bootstrap runs off: a difference of shares is what was gained less what was lost, and no interval reaches
//! beyond what the intervals of these two leave for it. And there it holds 0 too seldom, so every interval holds 0 where the
//! test of [`exchange`], which errs at no rate, finds nothing. Why: `docs/adr/0020-comparing-runs.md`.
//!
//! Swapped runs give the negated difference and the mirrored interval, bit for bit: every draw depends on the order of
//! the prompts alone.

mod exchange;
#[cfg(test)]
mod null;
#[cfg(test)]
mod tests;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::bootstrap::draw;
use super::interval::{N_RESAMPLES, TAIL, estimate, tails};
use super::table::{Paths, Table, error};
use super::{PromptOutcome, Scale};

/// Errors below this are rounding.
const NO_ERROR: f64 = 1e-9;
/// Where so many prompts differ the bootstrap does not run off, and stands alone.
const MANY: usize = 100;
/// Quantiles of the normal distribution at 0.975 and 0.8.
const DETECTABLE: f64 = 1.959_964 + 0.841_621;
/// A difference is clear when those alike would differ as much less often than this.
pub const LEVEL: f64 = 0.05;

/// By how much a figure differs between two runs on the same prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The figure of the first and of the second, over the prompts that both have.
    pub figures: [f64; 2],
    /// Second less first; of shares in [−1, 1].
    pub difference: f64,
    /// Lower and upper bound of the interval.
    pub ci: [f64; 2],
    /// How often runs that are alike would differ at least as much (mid-p, both sides).
    pub p: f64,
    /// The difference that would have been found in four of five such comparisons: 2.80 standard errors. None where all
    /// prompts differ alike, so that there is no error to tell it by.
    pub detectable: Option<f64>,
    /// Prompts that have a value in both runs; of items, clusters.
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
    Both { tables: Table::paired(pairs, lengths), scale: Scale::Share }.difference(seed)
}

/// The difference of what a mean over items makes between two runs. Of every cluster of items, of the first run and of the
/// second, the weighted sum of values and the sum of weights.
///
/// None when no cluster weighs anything in both, and on scales without bounds also when too few clusters differ for an
/// interval.
pub fn difference_of_means(
    clusters: impl IntoIterator<Item = [[f64; 2]; 2]>,
    scale: Scale,
    seed: u64,
) -> Option<Difference> {
    let paths = |[corrected, judged]: [f64; 2]| Paths { corrected, judged };
    let rows = clusters.into_iter().map(|cluster| cluster.map(paths));
    Both { tables: Table::paired_sums(rows), scale }.difference(seed)
}

/// Two runs, row by row the same prompt.
struct Both {
    tables: [Table; 2],
    scale: Scale,
}

impl Both {
    fn difference(&self, seed: u64) -> Option<Difference> {
        let prompts = self.prompts();
        if prompts.is_empty() {
            return None;
        }
        let (difference, error) = self.at(&prompts);
        let figures = [0, 1].map(|run| self.scale.of(self.tables[run].mean_rate(&prompts).rate));
        let p = self.exchanged(seed);
        let [low, high] = self.interval((difference, error), seed)?;
        let [low, high] = if p > LEVEL { [low.min(0.0), high.max(0.0)] } else { [low, high] };
        let detectable = (error >= NO_ERROR).then_some(DETECTABLE * error);
        Some(Difference { figures, difference, ci: [low, high], p, detectable, n_prompts: prompts.len() })
    }

    /// The interval by the bootstrap, within its bounds; none where it has no end.
    fn interval(&self, (difference, error): (f64, f64), seed: u64) -> Option<[f64; 2]> {
        let [low, high] = match (error < NO_ERROR, self.scale) {
            (true, Scale::Share) => {
                let open = 1.0 - TAIL.powf(1.0 / self.tables[0].n_prompts() as f64);
                [difference - open, difference + open]
            }
            (true, Scale::Linear | Scale::Exp) if self.tables[0].n_prompts() < 2 => return None,
            (true, Scale::Linear | Scale::Exp) => [difference, difference],
            (false, _) => self.studentised((difference, error), seed),
        };
        if !self.scale.is_share() {
            return (low.is_finite() && high.is_finite()).then_some([low, high]);
        }
        if error >= NO_ERROR && self.n_differing() >= MANY {
            return Some([low, high]);
        }
        let [gained, lost] = [1.0, -1.0].map(|sign| self.shifted(sign));
        let [gained, lost] = [estimate(&gained, seed)?.ci, estimate(&lost, seed)?.ci];
        let [low, high] = [low.max(gained[0] - lost[1]), high.min(gained[1] - lost[0])];
        Some([low.min(difference), high.max(difference)])
    }

    /// By how much the second run's rate is above the first's, prompt by prompt, where it is; or below, with a negative
    /// sign. A prompt counts as it does in both runs on average.
    fn shifted(&self, sign: f64) -> Table {
        let shift = |(first, second): (&Paths, &Paths)| {
            let judged = f64::midpoint(first.judged, second.judged);
            let by = first.rate().zip(second.rate()).map_or(0.0, |(first, second)| second - first);
            Paths { corrected: (sign * by).max(0.0) * judged, judged }
        };
        let [first, second] = &self.tables;
        Table::of_rows(
            first
                .rows()
                .zip(second.rows())
                .map(|(first, second)| first.iter().zip(second).map(shift).collect()),
        )
    }

    fn studentised(&self, (difference, error): (f64, f64), seed: u64) -> [f64; 2] {
        let mut prompts = self.prompts();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let distance = |_| {
            draw(&mut rng, &mut prompts);
            distance(self.at(&prompts), difference)
        };
        let [low, high] = tails((0..N_RESAMPLES).map(distance).collect());
        [difference - high * error, difference - low * error]
    }

    /// The difference over some prompts, and its standard error.
    fn at(&self, chosen: &[usize]) -> (f64, f64) {
        let [(first, pulls), (second, others)] = [0, 1].map(|run| self.tables[run].pulls(chosen));
        let slopes = [first, second].map(|mean| self.scale.slope(mean));
        let apart =
            pulls.into_iter().zip(others).map(|(pull, other)| slopes[1] * other - slopes[0] * pull).collect();
        (self.scale.of(second) - self.scale.of(first), error(apart))
    }

    fn prompts(&self) -> Vec<usize> {
        (0..self.tables[0].n_prompts()).collect()
    }

    /// Prompts whose rows are not the same in both runs.
    fn n_differing(&self) -> usize {
        self.tables[0].rows().zip(self.tables[1].rows()).filter(|(first, second)| first != second).count()
    }
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
