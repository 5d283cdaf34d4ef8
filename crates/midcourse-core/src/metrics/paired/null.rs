//! How often two runs that are alike are said to differ, by simulation: at most 6 % of the time.
//!
//! Items are easy or hard in both runs; in clusters the two runs have luck of their own with a whole cluster, which counted
//! item by item would look like a difference. `MIDCOURSE_SIMULATIONS=1000` prints the table of
//! `docs/adr/0020-comparing-runs.md` with that many simulations a cell.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::super::coverage::uniform;
use super::*;

const RATES: [f64; 5] = [0.02, 0.05, 0.1, 0.3, 0.5];

/// Two runs of one model.
#[derive(Debug, Clone, Copy)]
struct World {
    n_items: usize,
    rate: f64,
    is_clustered: bool,
}

/// How often something was said to differ, of all simulations.
#[derive(Debug, Clone, Copy, Default)]
struct Errors {
    /// By the test.
    test: f64,
    /// By the interval, which holds 0 whenever the test finds nothing.
    interval: f64,
    /// By the interval of the bootstrap alone; counted where asked for.
    bootstrap: f64,
}

impl World {
    fn simulate(self, n_simulations: usize, bootstrap_alone: bool) -> Errors {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = [0, 0, 0];
        for seed in 0..n_simulations as u64 {
            let both = Both { tables: Table::paired_sums(self.clusters(&mut rng)), scale: Scale::Share };
            let differs = both.exchanged(seed) <= LEVEL;
            // Without a difference by the test the interval holds 0: `tests` holds that.
            let is_clear = (differs || bootstrap_alone) && !both.holds_0(seed);
            counts[0] += usize::from(differs);
            counts[1] += usize::from(differs && is_clear);
            counts[2] += usize::from(is_clear);
        }
        let [test, interval, bootstrap] = counts.map(|count| f64::from(count as u32) / n_simulations as f64);
        Errors { test, interval, bootstrap }
    }

    /// Clusters of one to seven items, or items alone.
    fn clusters(self, rng: &mut ChaCha8Rng) -> Vec<[Paths; 2]> {
        let mut clusters = Vec::new();
        let mut n_left = self.n_items;
        while n_left > 0 {
            let n = if self.is_clustered { (1 + (7.0 * uniform(rng)) as usize).min(n_left) } else { 1 };
            n_left -= n;
            let shared = self.luck(rng);
            let rates = if self.is_clustered { [self.luck(rng), self.luck(rng)] } else { [shared; 2] };
            clusters.push(rates.map(|rate| Paths {
                corrected: (0..n).filter(|_| uniform(rng) < rate).count() as f64,
                judged: n as f64,
            }));
        }
        clusters
    }

    /// Half are three times as easy as the others.
    fn luck(self, rng: &mut ChaCha8Rng) -> f64 {
        self.rate * if uniform(rng) < 0.5 { 0.5 } else { 1.5 }
    }
}

impl Both {
    fn holds_0(&self, seed: u64) -> bool {
        let [low, high] = self.interval(self.at(&self.prompts()), seed).unwrap();
        low <= 0.0 && 0.0 <= high
    }
}

/// All rates of one size; no cell far above what all come to.
fn check(n_items: usize, is_clustered: bool, n_simulations: usize) {
    let cells = RATES.map(|rate| World { n_items, rate, is_clustered }.simulate(n_simulations, false));
    for (name, error) in
        [("test", (|cell| cell.test) as fn(&Errors) -> f64), ("interval", |cell| cell.interval)]
    {
        let mean = cells.iter().map(error).sum::<f64>() / cells.len() as f64;
        assert!(mean <= 0.06, "{name}, {n_items} items: {mean}, {cells:?}");
        // Of 400 simulations of an error of 5 %, 8.3 % is three standard errors above.
        assert!(cells.iter().all(|cell| error(cell) <= 0.083), "{name}, {n_items} items: {cells:?}");
    }
}

#[test]
fn forty_items_that_stand_alone() {
    check(40, false, 1_000);
}

#[test]
fn four_hundred_items_that_stand_alone() {
    check(400, false, 600);
}

#[test]
fn forty_items_in_clusters() {
    check(40, true, 400);
}

#[test]
fn four_hundred_items_in_clusters() {
    check(400, true, 300);
}

/// Without this the tests above would also pass for a test that never finds anything, or if clusters had no luck.
#[test]
fn what_differs_is_found_and_clusters_matter() {
    let world = World { n_items: 400, rate: 0.3, is_clustered: true };
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (mut n_by_items, n_simulations) = (0, 200);
    for _ in 0..n_simulations {
        let paired = world.clusters(&mut rng);
        let alone = |right: f64, i: f64| Paths { corrected: f64::from(u8::from(i < right)), judged: 1.0 };
        let items = paired.iter().flat_map(|[first, second]| {
            let items = (0..first.judged as usize).map(|i| i as f64);
            items.map(|i| [alone(first.corrected, i), alone(second.corrected, i)])
        });
        let both = Both { tables: Table::paired_sums(items), scale: Scale::Share };
        n_by_items += usize::from(both.exchanged(0) <= LEVEL);
    }
    assert!(n_by_items > n_simulations / 8, "{n_by_items} of {n_simulations}");
    let better = |[first, second]: [Paths; 2]| {
        [first, Paths { corrected: (second.corrected + 1.0).min(second.judged), ..second }]
    };
    let n_found = (0..20).filter(|&seed| {
        let rows = world.clusters(&mut rng).into_iter().map(better);
        let found = Both { tables: Table::paired_sums(rows), scale: Scale::Share }.difference(seed).unwrap();
        found.is_clear() && found.difference > 0.0
    });
    assert!(n_found.count() >= 18);
}

/// Prints the table of the ADR when it is asked for.
#[test]
fn the_bootstrap_alone_errs_where_few_differ() {
    let asked = std::env::var("MIDCOURSE_SIMULATIONS").ok().and_then(|n| n.parse().ok());
    let sizes = if asked.is_some() { [40, 100, 400].as_slice() } else { &[40] };
    let mut worst = 0.0_f64;
    for (&n_items, is_clustered) in sizes.iter().flat_map(|n| [(n, false), (n, true)]) {
        for rate in RATES.into_iter().take(if asked.is_some() { RATES.len() } else { 2 }) {
            let Errors { test, interval, bootstrap } =
                World { n_items, rate, is_clustered }.simulate(asked.unwrap_or(200), true);
            println!(
                "{n_items} items, clustered {is_clustered}, rate {rate}: bootstrap {bootstrap:.4}, test {test:.4}, \
                 interval {interval:.4}"
            );
            worst = worst.max(bootstrap);
        }
    }
    assert!(worst > 0.07, "the bootstrap alone would do: {worst}");
}
