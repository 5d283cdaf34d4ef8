//! Whether two runs are alike: how often they would differ as much if every prompt had come from either run by chance.
//!
//! If the runs are alike, exchanging the two runs of a prompt changes nothing. So the difference is held against those of
//! all exchanges (Fisher's randomisation test of paired samples), or of many drawn ones. Of items that stand alone and are
//! right or wrong this is McNemar's test, in closed form. Differences as large as the one found count by half: the mid-p of
//! Lancaster (1961), whose error stays near its level with McNemar's test (Fagerland, Lydersen and Laake, *BMC Medical
//! Research Methodology* 13:91, 2013), where the exact test is too careful.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::super::table::{Paths, mean_of_rates};
use super::Both;

/// Up to so many differing prompts all exchanges are tried.
const MOST_TRIED: usize = 12;
/// Else so many are drawn at most; with the one that was found, 10,000.
const N_DRAWN: usize = 9_999;
/// Drawing ends when so many were as large as the one that was found: their share is known well enough (Besag and Clifford,
/// *Biometrika* 78, 1991).
const ENOUGH: f64 = 200.0;
/// Keeps the exchanges independent of the bootstrap's draws under the same seed.
const STREAM: u64 = 2;
/// Differences as close as this are equal: they are sums in another order.
const TIE: f64 = 1e-9;

impl Both {
    /// The mid-p of the exchanges, both sides.
    pub(super) fn exchanged(&self, seed: u64) -> f64 {
        match self.right_or_wrong() {
            Some([gained, lost]) => mcnemar(gained, lost),
            None => self.by_exchanges(seed),
        }
    }

    /// The mid-p by trying or drawing exchanges.
    fn by_exchanges(&self, seed: u64) -> f64 {
        let exchanges = Exchanges::of(self);
        let n_differing = exchanges.n_differing;
        let found = exchanges.difference(|_| false);
        let mut tally = Tally { found, n_larger: 0, n_equal: 0, n: 0 };
        if n_differing <= MOST_TRIED {
            (0..1_usize << n_differing)
                .for_each(|set| tally.add(exchanges.difference(|i| set >> i & 1 == 1)));
            return tally.mid_p();
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let mut set = vec![0_u64; n_differing.div_ceil(64)];
        tally.add(found);
        for _ in 0..N_DRAWN {
            set.fill_with(|| rng.next_u64());
            tally.add(exchanges.difference(|i| set[i / 64] >> (i % 64) & 1 == 1));
            if tally.as_large() >= ENOUGH {
                break;
            }
        }
        tally.mid_p()
    }

    /// Items that only the second run has right, and those that only the first has; none where items are anything else
    /// than right or wrong, or stand in clusters.
    fn right_or_wrong(&self) -> Option<[usize; 2]> {
        let is_one = |x: f64| (x - 1.0).abs() < TIE;
        let right = |row: &[Paths]| match row {
            [paths] if is_one(paths.judged) && is_one(paths.corrected) => Some(true),
            [paths] if is_one(paths.judged) && paths.corrected.abs() < TIE => Some(false),
            _ => None,
        };
        let mut counts = [0, 0];
        if !self.scale.is_share() {
            return None;
        }
        for (first, second) in self.tables[0].rows().zip(self.tables[1].rows()) {
            match (right(first)?, right(second)?) {
                (false, true) => counts[0] += 1,
                (true, false) => counts[1] += 1,
                _ => {}
            }
        }
        Some(counts)
    }
}

/// McNemar's test for items that one run only has right: mid-p, both sides.
fn mcnemar(gained: usize, lost: usize) -> f64 {
    let (n, fewer) = (gained + lost, gained.min(lost));
    if gained == lost {
        return 1.0;
    }
    // C(n, i) ÷ 2ⁿ by its logarithm, which does not run out of range.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    let mut below = 0.0;
    for i in 0..fewer {
        below += log.exp();
        log += ((n - i) as f64 / (i + 1) as f64).ln();
    }
    (2.0 * below + log.exp()).min(1.0)
}

/// The runs' totals, and by how much an exchange of a prompt moves them.
struct Exchanges<'a> {
    both: &'a Both,
    totals: [Vec<Paths>; 2],
    /// Of prompts that are not the same in both runs, length by length: second less first.
    apart: Vec<Paths>,
    n_differing: usize,
}

impl<'a> Exchanges<'a> {
    fn of(both: &'a Both) -> Self {
        let less = |(second, first): (&Paths, &Paths)| Paths {
            corrected: second.corrected - first.corrected,
            judged: second.judged - first.judged,
        };
        let [first, second] = &both.tables;
        let differing = first.rows().zip(second.rows()).filter(|(first, second)| first != second);
        let apart: Vec<Paths> =
            differing.flat_map(|(first, second)| second.iter().zip(first).map(less)).collect();
        let totals = [first, second].map(|table| table.totals(table.rows().map(|row| (1.0, row))));
        Self { both, apart, totals, n_differing: both.n_differing() }
    }

    /// The difference when the prompts of a set are exchanged.
    fn difference(&self, is_exchanged: impl Fn(usize) -> bool) -> f64 {
        let n_lengths = self.totals[0].len();
        let mut moved = vec![Paths::default(); n_lengths];
        for (i, apart) in self.apart.chunks_exact(n_lengths.max(1)).enumerate() {
            if is_exchanged(i) {
                moved.iter_mut().zip(apart).for_each(|(moved, apart)| moved.add(1.0, *apart));
            }
        }
        let [first, second] = [(0, 1.0), (1, -1.0)].map(|(run, sign)| {
            let mut totals = self.totals[run].clone();
            totals.iter_mut().zip(&moved).for_each(|(total, moved)| total.add(sign, *moved));
            self.both.scale.of(mean_of_rates(&totals))
        });
        second - first
    }
}

/// Differences counted against the one that was found, which is among them.
struct Tally {
    found: f64,
    n_larger: usize,
    n_equal: usize,
    n: usize,
}

impl Tally {
    fn add(&mut self, difference: f64) {
        let by = difference.abs() - self.found.abs();
        let tie = TIE * self.found.abs().max(1.0);
        self.n += 1;
        self.n_larger += usize::from(by > tie);
        self.n_equal += usize::from(by.abs() <= tie);
    }

    /// Those that are larger, and half of those that are equal.
    fn as_large(&self) -> f64 {
        self.n_larger as f64 + 0.5 * self.n_equal as f64
    }

    fn mid_p(&self) -> f64 {
        if self.found.abs() <= TIE { 1.0 } else { self.as_large() / self.n as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Scale;
    use super::super::super::table::Table;
    use super::*;

    /// So many items that only the second run has right, only the first, and both.
    fn items(gained: usize, lost: usize, same: usize) -> Both {
        let pairs = [([0.0, 1.0], gained), ([1.0, 0.0], lost), ([1.0, 1.0], same)];
        let rows = pairs.into_iter().flat_map(|(pair, n)| std::iter::repeat_n(pair, n));
        let paths = |corrected| Paths { corrected, judged: 1.0 };
        Both { tables: Table::paired_sums(rows.map(|pair| pair.map(paths))), scale: Scale::Share }
    }

    /// Sums over C(n, i) ÷ 2ⁿ by hand; 1 and 7 is the first example of Fagerland and others (2013), 0.039.
    #[test]
    fn mcnemar_gives_the_published_mid_p() {
        for (gained, lost, expected) in
            [(7, 1, 10.0 / 256.0), (1, 9, 12.0 / 1024.0), (5, 0, 1.0 / 32.0), (3, 3, 1.0), (0, 0, 1.0)]
        {
            assert!((mcnemar(gained, lost) - expected).abs() < 1e-12, "{gained}, {lost}");
        }
        // The normal approximation of 10,000 differing items, 5,150 of them gained: z = 3, p = 0.0027.
        assert!((mcnemar(5_150, 4_850) - 0.0027).abs() < 2e-4);
    }

    #[test]
    fn exchanges_give_what_mcnemar_gives() {
        for (gained, lost) in [(1, 0), (5, 1), (2, 2), (3, 8), (0, 12)] {
            let both = items(gained, lost, 20);
            assert_eq!(both.right_or_wrong(), Some([gained, lost]));
            let (tried, closed) = (both.by_exchanges(1), mcnemar(gained, lost));
            assert!((tried - closed).abs() < 1e-9, "{gained}, {lost}: {tried}, not {closed}");
        }
        // Drawn, within four standard errors of those that were as large, 200 or what 10,000 exchanges have.
        for (gained, lost) in [(30, 12), (25, 20)] {
            let (drawn, closed) = (items(gained, lost, 20).by_exchanges(1), mcnemar(gained, lost));
            let error = closed / (closed * 1e4).min(ENOUGH).sqrt();
            assert!((drawn - closed).abs() < 4.0 * error, "{gained}, {lost}: {drawn}, not {closed}");
        }
    }

    #[test]
    fn clusters_and_shares_are_no_case_for_mcnemar() {
        let both = |rows: &[[[f64; 2]; 2]], scale| Both {
            tables: Table::paired_sums(
                rows.iter().map(|row| row.map(|[corrected, judged]| Paths { corrected, judged })),
            ),
            scale,
        };
        assert_eq!(both(&[[[0.0, 1.0], [1.0, 1.0]]], Scale::Share).right_or_wrong(), Some([1, 0]));
        assert_eq!(both(&[[[0.0, 2.0], [1.0, 2.0]]], Scale::Share).right_or_wrong(), None);
        assert_eq!(both(&[[[0.4, 1.0], [1.0, 1.0]]], Scale::Share).right_or_wrong(), None);
        assert_eq!(both(&[[[0.0, 1.0], [1.0, 1.0]]], Scale::Exp).right_or_wrong(), None);
    }
}
