//! What holds for the figures of any run, and what a small one gives by hand.

use proptest::prelude::*;

use super::*;
use crate::judge::Verdict;

/// A prompt with `n_corrected` of `n_judged` paths at each length.
fn prompt(category: Option<&str>, cells: &[(usize, usize, usize)]) -> PromptOutcome {
    let mut outcome = PromptOutcome::new(category.map(str::to_owned));
    for &(k, n_corrected, n_judged) in cells {
        for path in 0..n_judged {
            let verdict = if path < n_corrected { Verdict::Corrected } else { Verdict::NotCorrected };
            outcome.record(k, verdict, Some(path));
        }
    }
    outcome
}

fn at_10(cells: &[(usize, usize)]) -> Vec<PromptOutcome> {
    cells.iter().map(|&(n_corrected, n_judged)| prompt(None, &[(10, n_corrected, n_judged)])).collect()
}

fn ci(outcomes: &[PromptOutcome]) -> [f64; 2] {
    corr_at_k(outcomes, 10, 0).ci.unwrap()
}

fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
}

#[test]
fn rates_name_their_denominators() {
    let mut a = prompt(None, &[(10, 1, 4)]);
    a.record(10, Verdict::Unparsed, None);
    a.record_failed(10);
    let mut b = prompt(None, &[(10, 2, 2)]);
    b.record_skipped(20);
    let score = corr_at_k(&[&a, &b], 10, 0);
    assert_eq!(score.rate, Some(0.5));
    assert_eq!((score.n_corrected, score.n_judged, score.n_unparsed), (3, 6, 1));
    assert_eq!((score.n_skipped, score.n_failed), (0, 1));
    let skipped = corr_at_k(&[&a, &b], 20, 0);
    assert_eq!((skipped.rate, skipped.ci, skipped.n_skipped), (None, None, 1));
}

#[test]
fn plain_answers_stand_apart() {
    let outcomes = [prompt(None, &[(0, 5, 5), (10, 1, 5), (20, 0, 5)])];
    let figures = figures(&outcomes, &outcomes, 0);
    assert_eq!(figures.corr_at_k.iter().map(|score| score.k).collect::<Vec<_>>(), [10, 20]);
    assert_near(figures.corr_mean.unwrap().rate, 0.1, 1e-12);
    assert_eq!(figures.plain.unwrap().rate, Some(1.0));
    let benign = figures.benign.unwrap();
    assert_eq!((benign.overall.n_judged, benign.plain.unwrap().n_judged), (10, 5));
    assert_eq!(plain(&at_10(&[(1, 2)]), 0), None);
}

#[test]
fn corr_mean_weighs_lengths_alike_however_many_paths_they_have() {
    let outcomes = [prompt(None, &[(10, 20, 20), (20, 0, 5)]), prompt(None, &[(10, 0, 20), (30, 0, 0)])];
    assert_near(corr_mean(&outcomes, 0).unwrap().rate, 0.25, 1e-12);
}

#[test]
fn nothing_judged_gives_no_rate() {
    let mut outcome = PromptOutcome::new(None);
    outcome.record(0, Verdict::Unparsed, None);
    outcome.record_failed(10);
    let figures = figures(&[outcome], &[], 0);
    assert_eq!((figures.corr_mean, figures.corr_at_k[0].rate), (None, None));
    assert_eq!(figures.plain, Some(Share { rate: None, ci: None, n_judged: 0 }));
    assert_eq!(figures.benign, None);
    assert_eq!(super::figures(&[], &[], 0).corr_at_k, []);
}

#[test]
fn categories_come_by_size_then_name() {
    let categories = [Some("prank"), None, Some("gossip"), Some("chores"), Some("gossip")];
    let outcomes = categories.map(|category| prompt(category, &[(10, 1, 2)]));
    let scores = by_category(&outcomes, 0);
    let order: Vec<_> = scores.iter().map(|score| (score.category.as_str(), score.n_samples)).collect();
    assert_eq!(order, [("gossip", 2), ("chores", 1), ("prank", 1), ("uncategorised", 1)]);
    assert_eq!(by_category(&at_10(&[(1, 2)]), 0), []);
}

#[test]
fn quantiles_of_turns_are_tokens_at_which_paths_turned() {
    let turned = |n_paths| tokens_to_correction(&at_10(&[(n_paths, n_paths)]));
    assert_eq!(turned(0), TokensToCorrection { median: None, p90: None });
    assert_eq!(turned(1), TokensToCorrection { median: Some(0), p90: Some(0) });
    assert_eq!(turned(10), TokensToCorrection { median: Some(4), p90: Some(8) });
    assert_eq!(turned(11), TokensToCorrection { median: Some(5), p90: Some(9) });
}

/// Clopper and Pearson for 0 of n and n of n, by hand: 1 - 0.025^(1/n).
#[test]
fn all_or_none_gives_the_exact_bound_over_prompts() {
    assert_near(ci(&at_10(&[(0, 20); 40]))[0], 0.0, 0.0);
    assert_near(ci(&at_10(&[(0, 20); 40]))[1], 0.088_097_3, 1e-6);
    assert_near(ci(&at_10(&[(20, 20); 40]))[0], 0.911_902_7, 1e-6);
    assert_near(ci(&at_10(&[(20, 20); 40]))[1], 1.0, 0.0);
    assert_near(ci(&at_10(&[(0, 20)]))[1], 0.975, 1e-12);
}

/// 2 of 5 prompts turn on their only path; Clopper and Pearson: [0.0527, 0.8534], from the binomial tails.
#[test]
fn bound_is_clopper_pearson_for_prompts_that_turn_wholly_or_never() {
    let table = Table::new(&at_10(&[(1, 1), (1, 1), (0, 1), (0, 1), (0, 1)]), &[10]);
    let [low, high] = dirichlet::bounds(&table, 0.4, 3);
    assert_near(low, 0.0527, 0.01);
    assert_near(high, 0.8534, 0.02);
}

#[test]
fn prompts_that_do_not_differ_still_leave_doubt() {
    for outcomes in [at_10(&[(5, 20)]), at_10(&[(5, 20); 2]), at_10(&[(1, 3); 40])] {
        let [low, high] = ci(&outcomes);
        let rate = corr_at_k(&outcomes, 10, 0).rate.unwrap();
        assert!(0.0 < low && low < rate && rate < high && high < 1.0, "[{low}, {high}]");
    }
}

/// Student's interval on the same scale: sin²(asin √r ± t · se ÷ 2 √(r (1 − r))), t = 2.0227 for 39 degrees.
#[test]
fn many_like_prompts_agree_with_student() {
    let cells: Vec<_> = (0..40).map(|i| (6 + i % 9, 20)).collect();
    let [low, high] = ci(&at_10(&cells));
    assert_near(low, 0.4457, 0.004);
    assert_near(high, 0.5294, 0.004);
}

#[test]
fn more_prompts_narrow_the_interval() {
    let width = |n| {
        let cells: Vec<_> = (0..n).map(|i| (i % 11, 20)).collect();
        let [low, high] = ci(&at_10(&cells));
        high - low
    };
    assert!(width(400) < 0.4 * width(40), "{} and {}", width(400), width(40));
}

prop_compose! {
    fn any_cell()(n_judged in 0..6_usize)(
        n_corrected in 0..=n_judged,
        n_judged in Just(n_judged),
    ) -> (usize, usize) {
        (n_corrected, n_judged)
    }
}

prop_compose! {
    fn any_prompt()(
        cells in prop::collection::vec(any_cell(), 4),
        n_unparsed in 0..3_usize,
        n_failed in 0..3_usize,
        skipped in 0..50_usize,
    ) -> PromptOutcome {
        let cells: Vec<_> = [0, 10, 20, 30].iter().zip(cells).map(|(&k, (c, n))| (k, c, n)).collect();
        let mut outcome = prompt(None, &cells);
        (0..n_unparsed).for_each(|_| outcome.record(10, Verdict::Unparsed, None));
        (0..n_failed).for_each(|_| outcome.record_failed(20));
        outcome.record_skipped(skipped);
        outcome
    }
}

fn any_prompts() -> impl Strategy<Value = Vec<PromptOutcome>> {
    prop::collection::vec(any_prompt(), 0..12)
}

/// The same prompts in two orders.
fn any_prompts_twice() -> impl Strategy<Value = (Vec<PromptOutcome>, Vec<PromptOutcome>)> {
    any_prompts().prop_flat_map(|outcomes| (Just(outcomes.clone()), Just(outcomes).prop_shuffle()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rates_lie_in_their_intervals(outcomes in any_prompts(), seed: u64) {
        let figures = figures(&outcomes, &[], seed);
        let shares = figures.corr_at_k.iter().filter_map(|score| Some((score.rate?, score.ci?)));
        for (rate, [low, high]) in shares.chain(figures.corr_mean.map(|mean| (mean.rate, mean.ci))) {
            let in_order = 0.0 <= low && low <= rate && rate <= high && high <= 1.0;
            prop_assert!(in_order, "{} [{}, {}]", rate, low, high);
        }
    }

    #[test]
    fn counts_add_up(outcomes in any_prompts()) {
        for score in figures(&outcomes, &[], 0).corr_at_k {
            prop_assert!(score.n_corrected <= score.n_judged && score.n_skipped <= outcomes.len());
            prop_assert_eq!(score.rate.is_some(), score.n_judged > 0);
            prop_assert_eq!(score.ci.is_some(), score.rate.is_some());
            if let Some(rate) = score.rate {
                assert_near(rate, score.n_corrected as f64 / score.n_judged as f64, 1e-12);
            }
        }
    }

    #[test]
    fn corr_mean_is_the_mean_of_the_rates(outcomes in any_prompts()) {
        let figures = figures(&outcomes, &[], 0);
        let rates: Vec<f64> = figures.corr_at_k.iter().filter_map(|score| score.rate).collect();
        match figures.corr_mean {
            None => prop_assert!(rates.is_empty()),
            Some(mean) => {
                let expected = rates.iter().sum::<f64>() / rates.len() as f64;
                prop_assert!((mean.rate - expected).abs() < 1e-12, "{} and {}", mean.rate, expected);
            }
        }
    }

    #[test]
    fn order_of_prompts_decides_nothing((outcomes, shuffled) in any_prompts_twice()) {
        prop_assert_eq!(figures(&outcomes, &[], 5), figures(&shuffled, &[], 5));
    }
}
