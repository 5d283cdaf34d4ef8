//! Mirrors, borders, and what is known in closed form.

use proptest::prelude::*;

use super::*;
use crate::judge::Verdict;

fn outcome(n_corrected: usize, n_judged: usize) -> PromptOutcome {
    let mut outcome = PromptOutcome::new(None);
    for path in 0..n_judged {
        let verdict = if path < n_corrected { Verdict::Corrected } else { Verdict::NotCorrected };
        outcome.record(10, verdict, None);
    }
    outcome
}

fn pairs(outcomes: &[(PromptOutcome, PromptOutcome)]) -> Vec<(&PromptOutcome, &PromptOutcome)> {
    outcomes.iter().map(|(a, b)| (a, b)).collect()
}

/// Numbers in [0, 1) that depend on the seed alone.
struct Chance(ChaCha8Rng);

impl Chance {
    fn next(&mut self) -> f64 {
        f64::from(rand_chacha::rand_core::RngCore::next_u32(&mut self.0)) / 2f64.powi(32)
    }

    /// Half of the prompts turn at twice the rate, the others never; the gain is for all.
    fn prompt(&mut self, base: f64, gain: f64) -> (PromptOutcome, PromptOutcome) {
        let rate = if self.next() < 0.5 { 0.0 } else { 2.0 * base };
        (outcome(self.paths(rate), 10), outcome(self.paths(rate + gain), 10))
    }

    /// Paths of 10 that turn at a rate.
    fn paths(&mut self, rate: f64) -> usize {
        (0..10).filter(|_| self.next() < rate).count()
    }
}

#[test]
fn swapped_runs_differ_by_the_opposite() {
    let outcomes = [(1, 4), (0, 3), (2, 2), (5, 9)].map(|(a, b)| (outcome(a, 10), outcome(b, 10)));
    let there = difference(&pairs(&outcomes), &[10], 3).unwrap();
    let swapped: Vec<_> = outcomes.iter().map(|(a, b)| (b.clone(), a.clone())).collect();
    let back = difference(&pairs(&swapped), &[10], 3).unwrap();
    assert!((there.difference - 0.25).abs() < 1e-12 && there.n_prompts == 4, "{there:?}");
    assert_eq!(there, mirrored(back));
}

#[test]
fn prompts_that_all_differ_alike_leave_open_what_others_might_do() {
    let outcomes: Vec<_> = (0..40).map(|_| (outcome(0, 10), outcome(0, 10))).collect();
    let found = difference(&pairs(&outcomes), &[10], 1).unwrap();
    let open = 1.0 - 0.025f64.powf(1.0 / 40.0);
    assert!((found.ci[1] - open).abs() < 1e-12 && (found.ci[0] + open).abs() < 1e-12, "{found:?}");
    assert!(!found.is_clear());
}

#[test]
fn a_single_prompt_that_differs_says_little() {
    let mut outcomes: Vec<_> = (0..16).map(|_| (outcome(0, 10), outcome(0, 10))).collect();
    outcomes[3] = (outcome(1, 10), outcome(0, 10));
    let found = difference(&pairs(&outcomes), &[10], 1).unwrap();
    assert!(found.ci[0] > -0.3 && found.ci[1] > 0.0 && !found.is_clear(), "{found:?}");
}

#[test]
fn prompts_judged_in_one_run_only_are_no_pairs() {
    let outcomes = [(outcome(1, 10), outcome(0, 0)), (outcome(1, 10), outcome(3, 10))];
    assert_eq!(difference(&pairs(&outcomes), &[10], 1).unwrap().n_prompts, 1);
    assert_eq!(difference(&pairs(&outcomes[..1]), &[10], 1), None);
}

/// Prompts that are hard or easy in both runs, 40 of them with 10 paths: how often the interval holds the truth.
#[test]
fn intervals_cover() {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(9));
    for (base, gain) in [(0.05, 0.0), (0.2, 0.1), (0.1, 0.4)] {
        let n_runs = 250;
        let mut n_held = 0;
        for seed in 0..n_runs {
            let outcomes: Vec<_> = (0..40).map(|_| chance.prompt(base, gain)).collect();
            let Difference { ci, .. } = difference(&pairs(&outcomes), &[10], seed).unwrap();
            n_held += usize::from(ci[0] <= gain && gain <= ci[1]);
        }
        let covered = n_held as f64 / n_runs as f64;
        assert!((0.92..=0.985).contains(&covered), "{base} + {gain}: {covered}");
    }
}
/// What swapped runs must give, bit for bit.
fn mirrored(found: Difference) -> Difference {
    let [first, second] = found.figures;
    let (figures, ci) = ([second, first], [-found.ci[1], -found.ci[0]]);
    Difference { figures, difference: -found.difference, ci, ..found }
}

/// Items that stand alone.
fn alone(values: &[[f64; 2]]) -> Vec<[[f64; 2]; 2]> {
    values.iter().map(|pair| pair.map(|value| [value, 1.0])).collect()
}

fn means(clusters: &[[[f64; 2]; 2]], scale: Scale) -> Option<Difference> {
    difference_of_means(clusters.iter().copied(), scale, 5)
}

prop_compose! {
    /// Clusters of up to three items that are right or wrong in two runs.
    fn any_clusters()(
        clusters in prop::collection::vec((1..4_usize, 0..4_usize, 0..4_usize), 1..30)
    ) -> Vec<[[f64; 2]; 2]> {
        let sums = |right: usize, n: usize| [right.min(n) as f64, n as f64];
        clusters.into_iter().map(|(n, first, second)| [sums(first, n), sums(second, n)]).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn swapped_runs_mirror_exactly(clusters in any_clusters(), scale_of in 0..3_usize) {
        let scale = [Scale::Share, Scale::Linear, Scale::Exp][scale_of];
        let swapped: Vec<_> = clusters.iter().map(|[first, second]| [*second, *first]).collect();
        prop_assert_eq!(means(&clusters, scale), means(&swapped, scale).map(mirrored));
    }

    #[test]
    fn what_is_found_lies_in_its_interval_and_0_does_unless_the_test_says_otherwise(clusters in any_clusters()) {
        let found = means(&clusters, Scale::Share).unwrap();
        prop_assert!(found.ci[0] <= found.difference && found.difference <= found.ci[1], "{:?}", found);
        prop_assert!((-1.0..=1.0).contains(&found.ci[0]) && (-1.0..=1.0).contains(&found.ci[1]), "{:?}", found);
        prop_assert!(found.p <= LEVEL || !found.is_clear(), "{:?}", found);
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "an interval of no width is exact")]
fn equal_runs_differ_by_nothing_and_nothing_is_known_of_what_would_be_found() {
    let found = means(&alone(&[[1.0, 1.0]; 60]), Scale::Share).unwrap();
    assert!(found.difference.abs() < 1e-12 && !found.is_clear(), "{found:?}");
    assert_eq!((found.p, found.detectable), (1.0, None));
    let open = 1.0 - 0.025f64.powf(1.0 / 60.0);
    assert!((found.ci[1] - open).abs() < 1e-12, "{found:?}");
    assert_eq!(means(&alone(&[[2.0, 2.0]; 9]), Scale::Linear).unwrap().ci, [0.0, 0.0]);
}

#[test]
fn one_item_says_nothing() {
    let found = means(&alone(&[[0.0, 1.0]]), Scale::Share).unwrap();
    assert!(found.ci[0] <= 0.0 && (found.ci[1] - 1.0).abs() < 1e-12 && found.p > 0.4, "{found:?}");
    assert_eq!(means(&alone(&[[3.1, 2.9]]), Scale::Exp), None);
    assert_eq!(means(&alone(&[[3.1, 2.9], [3.0, 2.0]]), Scale::Linear), None);
}

#[test]
fn items_without_weight_in_one_run_are_no_pairs() {
    assert_eq!(means(&[[[1.0, 1.0], [0.0, 0.0]]], Scale::Share), None);
    assert_eq!(means(&[], Scale::Share), None);
}

/// 2,000 items: the difference d of independent pairs is normal, ± 1.96 √((b + c − n d²) ÷ n) ÷ √(n − 1) for b gained and c
/// lost. The ends are means over eight seeds, which leaves 2 % of half the width to the draws.
#[test]
fn with_many_items_the_bootstrap_is_the_normal_interval() {
    let n = 2_000.0_f64;
    let kinds = [([0.0, 1.0], 260), ([1.0, 0.0], 180), ([1.0, 1.0], 900), ([0.0, 0.0], 660)];
    let values: Vec<_> = kinds.into_iter().flat_map(|(pair, n)| std::iter::repeat_n(pair, n)).collect();
    let items = alone(&values);
    let ends: Vec<[f64; 2]> = (0..8)
        .map(|seed| difference_of_means(items.iter().copied(), Scale::Share, seed).unwrap().ci)
        .collect();
    let d = 80.0 / n;
    let error = (((440.0 / n) - d * d) / (n - 1.0)).sqrt();
    for (end, sign) in [(0, -1.0), (1, 1.0)] {
        let mean = ends.iter().map(|ci| ci[end]).sum::<f64>() / 8.0;
        let expected = d + sign * 1.959_964 * error;
        assert!((mean - expected).abs() < 0.03 * 1.96 * error, "{mean}, not {expected}");
    }
    let detectable = means(&items, Scale::Share).unwrap().detectable.unwrap();
    assert!((detectable / error - 2.801_585).abs() < 1e-3, "{detectable} of {error}");
}

/// Perplexities are e to the mean: to first order the interval of the difference is e^m times that of the means.
#[test]
fn a_perplexity_differs_in_its_own_unit() {
    let values: Vec<[f64; 2]> = (0..200)
        .map(|i| {
            let at = f64::from(i % 17) / 17.0;
            [3.0 + at, 3.001 + at + 0.02 * (f64::from(i % 5) - 2.0)]
        })
        .collect();
    let [number, perplexity] =
        [Scale::Linear, Scale::Exp].map(|scale| means(&alone(&values), scale).unwrap());
    let mean = values.iter().map(|pair| pair[0]).sum::<f64>() / 200.0;
    let expected = (mean + number.difference).exp() - mean.exp();
    assert!((perplexity.difference - expected).abs() < 1e-9, "{perplexity:?}");
    for end in 0..2 {
        assert!(
            (perplexity.ci[end] / (mean.exp() * number.ci[end]) - 1.0).abs() < 0.02,
            "{perplexity:?} {number:?}"
        );
    }
}

/// Two runs of equal items in clusters of different sizes: the mean is over items, not over clusters.
#[test]
fn clusters_weigh_by_their_items() {
    let clusters = [[[0.0, 1.0], [1.0, 1.0]], [[2.0, 9.0], [2.0, 9.0]]];
    let found = means(&clusters, Scale::Share).unwrap();
    assert!((found.difference - 0.1).abs() < 1e-12 && found.n_prompts == 2, "{found:?}");
}
