//! Objectives against finite differences, against pairs one at a time, and by hand.

use std::f64::consts::LN_2;

use proptest::prelude::*;

use super::fixture::{Writer, example, logps};
use super::*;
use crate::engine::TokenId;
use crate::eval::Set;
use crate::synth::AnswerKind;
use crate::synth::fixture::{ranking, rankings};

fn settings(objective: Objective) -> ObjectiveSettings {
    ObjectiveSettings { objective, ..ObjectiveSettings::default() }
}

fn without_anchor(objective: Objective) -> ObjectiveSettings {
    ObjectiveSettings { anchor: 0.0, ..settings(objective) }
}

/// Where policy and reference are equal.
fn at_the_start(example: &Example, settings: &ObjectiveSettings) -> (Terms, Loss) {
    let terms = Terms::of(example, settings);
    let equal = logps(terms.scored(), 7);
    let loss = terms.loss(&equal, &equal);
    (terms, loss)
}

/// The derivative of the loss by a node's log-probability; 0 where it is not scored.
fn slope((terms, loss): &(Terms, Loss), node: usize) -> f64 {
    terms.scored().binary_search(&node).map_or(0.0, |place| loss.gradient[place])
}

/// A harmful and a benign ranking of six, and two with a gap.
fn all_shapes() -> Vec<Example> {
    let writer = Writer::new();
    let shapes = [(0, Set::Harmful), (0, Set::Benign), (3, Set::Harmful), (3, Set::Benign)];
    shapes.map(|(index, set)| writer.example(&ranking(index, set))).into()
}

#[test]
fn where_policy_is_reference_every_pair_costs_ln_2() {
    for example in all_shapes() {
        let n_pairs = example.pairs.len() as f64;
        for objective in [Objective::Fork, Objective::DpoFull] {
            let (_, loss) = at_the_start(&example, &without_anchor(objective));
            assert!((loss.value - n_pairs * LN_2).abs() < 1e-12 * n_pairs, "{}", loss.value);
            assert!(loss.weight.to_bits() == n_pairs.to_bits());
            assert_eq!(loss.measured.rewards_accuracies.get(), Some(0.0));
        }
        let (_, loss) = at_the_start(&example, &without_anchor(Objective::Ipo));
        assert!((loss.value - n_pairs * 25.0).abs() < 1e-9, "(1 / 2β)² a pair: {}", loss.value);
    }
}

/// In units of β/2, downhill: of `dpo-full` by whole answers, late corrections are pushed down.
#[test]
fn whole_answers_push_corrections_by_3_1_minus_1_and_minus_3() {
    for (set, sign) in [(Set::Harmful, 1.0), (Set::Benign, -1.0)] {
        let example = Writer::new().example(&ranking(0, set));
        let start = at_the_start(&example, &without_anchor(Objective::DpoFull));
        for (i, expected) in [(1, 3.0), (2, 1.0), (3, -1.0), (4, -3.0)] {
            let found = example.answers.iter().find(|answer| answer.kind == Some(AnswerKind::Correction(i)));
            let answer = found.unwrap();
            for &node in &answer.nodes[answer.turn.unwrap()..] {
                assert!((-slope(&start, node) / 0.05 - sign * expected).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn fork_makes_five_decisions_that_all_push_the_right_way() {
    for example in all_shapes() {
        let start = at_the_start(&example, &without_anchor(Objective::Fork));
        let n_cuts = example.answers.len() - 2;
        for answer in &example.answers {
            let push = |node: usize| -slope(&start, node) / 0.05;
            let sign = if example.set == Some(Set::Harmful) { 1.0 } else { -1.0 };
            let turned = match answer.kind {
                Some(AnswerKind::Refusal) => n_cuts + 1,
                Some(AnswerKind::Correction(i)) => n_cuts + 1 - i,
                _ => continue,
            };
            let last = *answer.nodes.last().unwrap();
            assert!((push(last) - sign * turned as f64).abs() < 1e-12, "{:?}", answer.kind);
            if let Some(turn) = answer.turn {
                // The trunk before the cut is the other side of the decision before, which counts one more.
                let trunk = answer.nodes[turn - 1];
                assert!((push(trunk) + sign * (turned + 1) as f64).abs() < 1e-12, "{:?}", answer.kind);
            }
        }
    }
}

#[test]
fn the_anchor_is_the_mean_over_the_beginnings_of_chosen_branches() {
    for objective in Objective::ALL {
        let harmful = Writer::new().example(&ranking(0, Set::Harmful));
        let settings = ObjectiveSettings { anchor: 0.5, ..settings(objective) };
        let terms = Terms::of(&harmful, &settings);
        let (policy, reference) = (logps(terms.scored(), 1), logps(terms.scored(), 2));
        let logp = |node: usize| policy[terms.scored().binary_search(&node).unwrap()];
        let response = harmful.answers.last().unwrap();
        let mean = |answer: &Scored| {
            let from = super::example::n_shared(&response.nodes, &answer.nodes);
            let nodes = &answer.nodes[from..answer.nodes.len().min(from + 16)];
            -nodes.iter().map(|&node| logp(node)).sum::<f64>() / nodes.len() as f64
        };
        let anchor = harmful.answers[..5].iter().map(mean).sum::<f64>() / 5.0;
        let with = terms.loss(&policy, &reference);
        let bare = Terms::of(&harmful, &ObjectiveSettings { anchor: 0.0, ..settings });
        assert_eq!(bare.scored(), terms.scored());
        let without = bare.loss(&policy, &reference);
        assert!((with.measured.anchor.get().unwrap() - anchor).abs() < 1e-12);
        assert!((with.value - without.value - 0.5 * anchor * with.weight).abs() < 1e-9);
    }
}

#[test]
fn recovery_teaches_turns_and_nothing_before_them() {
    let harmful = Writer::new().example(&ranking(0, Set::Harmful));
    let start = at_the_start(&harmful, &without_anchor(Objective::Recovery));
    assert!((start.1.weight - 5.0).abs() < 1e-12);
    let response = &harmful.answers[5].nodes;
    let refusal = &harmful.answers[0].nodes;
    assert!(response.iter().filter(|node| !refusal.contains(node)).all(|&node| slope(&start, node) == 0.0));
    for answer in &harmful.answers[..5] {
        let taught = &answer.nodes[answer.turn.unwrap_or(0)..];
        assert!(taught.iter().all(|&node| (slope(&start, node) + 1.0 / taught.len() as f64).abs() < 1e-12));
    }
    let benign = Writer::new().example(&ranking(0, Set::Benign));
    let start = at_the_start(&benign, &without_anchor(Objective::Recovery));
    let response = &benign.answers[0].nodes;
    let n_taught = start.1.gradient.iter().filter(|slope| **slope != 0.0).count();
    assert_eq!(n_taught, response.len());
    assert!(response.iter().all(|&node| (slope(&start, node) + 1.0 / response.len() as f64).abs() < 1e-12));
}

#[test]
fn recovery_of_plain_pairs_teaches_what_is_chosen_after_the_parting() {
    let pairs = example(None, &[(None, vec![1, 2, 3]), (None, vec![1, 4])]);
    let start = at_the_start(&pairs, &without_anchor(Objective::Recovery));
    let slopes: Vec<f64> = (0..pairs.trie.len()).map(|node| slope(&start, node)).collect();
    assert_eq!(slopes, [0.0, 0.0, -0.5, -0.5, 0.0]);
}

#[test]
fn first_tokens_of_turns_are_measured_in_both_sets() {
    for example in all_shapes() {
        for objective in Objective::ALL {
            let terms = Terms::of(&example, &settings(objective));
            let policy = logps(terms.scored(), 3);
            let nodes: Vec<usize> = example
                .answers
                .iter()
                .filter(|answer| matches!(answer.kind, Some(AnswerKind::Correction(_))))
                .map(|answer| answer.nodes[answer.turn.unwrap()])
                .collect();
            let mean = logps(&nodes, 3).iter().map(|logp| logp.exp()).sum::<f64>() / nodes.len() as f64;
            let found = terms.loss(&policy, &policy).measured.first_turn_probability.get().unwrap();
            assert!((found - mean).abs() < 1e-12);
        }
    }
}

/// A turn's first token is the first that the response does not have.
#[test]
fn a_correction_leaves_the_response_at_its_turn() {
    for example in all_shapes() {
        let response =
            example.answers.iter().find(|answer| answer.kind == Some(AnswerKind::Response)).unwrap();
        for answer in &example.answers {
            let shared = super::example::n_shared(&response.nodes, &answer.nodes);
            let is_correction = matches!(answer.kind, Some(AnswerKind::Correction(_)));
            assert_eq!(answer.turn, is_correction.then_some(shared));
        }
    }
}

/// Nobody is at an empty branch, so it says nothing: the loss is that of the other side alone, as over whole answers.
#[test]
fn an_answer_that_begins_another_has_an_empty_branch() {
    let pair = example(None, &[(None, vec![1, 2]), (None, vec![1, 2, 3, 4])]);
    for objective in [Objective::Fork, Objective::DpoFull] {
        let terms = Terms::of(&pair, &settings(objective));
        let (policy, reference) = (logps(terms.scored(), 1), logps(terms.scored(), 2));
        let sum = |from: &[f64]| from[from.len() - 2] + from[from.len() - 1];
        let difference = -(sum(&policy) - sum(&reference));
        let expected = (1.0 + (-0.1 * difference).exp()).ln();
        assert!((terms.loss(&policy, &reference).value - expected).abs() < 1e-12);
    }
    let recovery = Terms::of(&pair, &settings(Objective::Recovery));
    assert!(recovery.weight() == 0.0 && recovery.loss(&[], &[]).value == 0.0);
}

/// The loss of pairs one at a time, as a trainer of pairs computes it: from whole sequences.
fn pair_by_pair(example: &Example, settings: &ObjectiveSettings) -> (f64, Vec<f64>) {
    let mut value = 0.0;
    let mut gradient = vec![0.0; example.trie.len()];
    let beta = settings.beta;
    for &(chosen, rejected) in &example.pairs {
        let ratio = |answer: &Scored| {
            let sum = |seed| logps(&answer.nodes, seed).iter().sum::<f64>();
            sum(1) - sum(2)
        };
        let (chosen, rejected) = (&example.answers[chosen], &example.answers[rejected]);
        let is_ipo = settings.objective == Objective::Ipo;
        let length = |answer: &Scored| if is_ipo { answer.n_tokens as f64 } else { 1.0 };
        let difference = ratio(chosen) / length(chosen) - ratio(rejected) / length(rejected);
        let slope = if is_ipo {
            value += (difference - 1.0 / (2.0 * beta)).powi(2);
            2.0 * (difference - 1.0 / (2.0 * beta))
        } else {
            value += (1.0 + (-beta * difference).exp()).ln();
            -beta / (1.0 + (beta * difference).exp())
        };
        chosen.nodes.iter().for_each(|&node| gradient[node] += slope / length(chosen));
        rejected.nodes.iter().for_each(|&node| gradient[node] -= slope / length(rejected));
    }
    (value, gradient)
}

#[test]
fn the_tree_costs_what_its_pairs_cost_one_at_a_time() {
    for example in all_shapes() {
        for objective in [Objective::DpoFull, Objective::Ipo] {
            let settings = without_anchor(objective);
            let terms = Terms::of(&example, &settings);
            let loss = terms.loss(&logps(terms.scored(), 1), &logps(terms.scored(), 2));
            let (value, gradient) = pair_by_pair(&example, &settings);
            assert!((loss.value - value).abs() < 1e-9 * value.abs(), "{} {value}", loss.value);
            let found = (terms, loss);
            for (node, expected) in gradient.into_iter().enumerate() {
                assert!((slope(&found, node) - expected).abs() < 1e-9 * expected.abs().max(1.0));
            }
        }
    }
}

/// Five decisions one at a time, from the texts of the ranking.
#[test]
fn fork_costs_what_its_decisions_cost_one_at_a_time() {
    let harmful = &all_shapes()[0];
    let terms = Terms::of(harmful, &without_anchor(Objective::Fork));
    let loss = terms.loss(&logps(terms.scored(), 1), &logps(terms.scored(), 2));
    let response = &harmful.answers[5].nodes;
    let mut cuts: Vec<usize> =
        harmful.answers[..5].iter().map(|answer| super::example::n_shared(response, &answer.nodes)).collect();
    cuts.push(response.len());
    let ratio = |nodes: &[usize]| logps(nodes, 1).iter().sum::<f64>() - logps(nodes, 2).iter().sum::<f64>();
    let decision = |(at, answer): (usize, &Scored)| {
        let difference = ratio(&answer.nodes[cuts[at]..]) - ratio(&response[cuts[at]..cuts[at + 1]]);
        (5 - at) as f64 * (1.0 + (-0.1 * difference).exp()).ln()
    };
    let expected: f64 = harmful.answers[..5].iter().enumerate().map(decision).sum();
    assert!((loss.value - expected).abs() < 1e-9, "{} {expected}", loss.value);
}

#[test]
fn measures_are_those_of_trl() {
    let pair = example(None, &[(None, vec![1]), (None, vec![2]), (None, vec![3])]);
    let terms = Terms::of(&pair, &without_anchor(Objective::DpoFull));
    let measured = terms.loss(&[-1.0, -3.0, -2.0], &[-2.0, -1.0, -2.5]).measured;
    let is = |mean: Mean, expected: f64| assert!((mean.get().unwrap() - expected).abs() < 1e-12, "{mean:?}");
    // Log-ratios are 1, -2 and 0.5; the pairs are (1, 2), (1, 3) and (2, 3).
    is(measured.rewards_chosen, 0.1 * (1.0 + 1.0 - 2.0) / 3.0);
    is(measured.rewards_rejected, 0.1 * (-2.0 + 0.5 + 0.5) / 3.0);
    is(measured.rewards_margins, 0.1 * (3.0 + 0.5 - 2.5) / 3.0);
    is(measured.rewards_accuracies, 2.0 / 3.0);
    is(measured.logps_chosen, (-1.0 - 1.0 - 3.0) / 3.0);
    is(measured.logps_rejected, (-3.0 - 2.0 - 2.0) / 3.0);
}

/// A tree of any shape, its answers of any kinds.
fn any_example() -> impl Strategy<Value = Example> {
    let answers = prop::collection::vec(prop::collection::vec(0u32..3, 1..9), 2..7);
    let set = prop_oneof![Just(None), Just(Some(Set::Harmful)), Just(Some(Set::Benign))];
    (set, answers).prop_map(|(set, answers): (Option<Set>, Vec<Vec<TokenId>>)| {
        let n_cuts = answers.len() - 2;
        let kinds = AnswerKind::ranked(set.unwrap_or(Set::Harmful), n_cuts);
        let kinds = kinds.into_iter().map(|kind| set.map(|_| kind));
        example(set, &kinds.zip(answers).collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn gradients_are_those_of_finite_differences(
        example in any_example(),
        objective in prop::sample::select(Objective::ALL.to_vec()),
        (beta, anchor, anchor_tokens) in (0.05..1.0, 0.0..2.0, 1usize..5),
        seed in 0u64..1000,
    ) {
        const H: f64 = 1e-5;
        let terms = Terms::of(&example, &ObjectiveSettings { objective, beta, anchor, anchor_tokens });
        let scored = terms.scored();
        prop_assert!(scored.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(scored.iter().all(|&node| example.trie.parent(node).is_some()));
        let (mut policy, reference) = (logps(scored, seed), logps(scored, seed + 1));
        let loss = terms.loss(&policy, &reference);
        prop_assert_eq!(loss.gradient.len(), scored.len());
        prop_assert!((loss.weight - terms.weight()).abs() < 1e-12);
        for place in 0..scored.len() {
            let here = policy[place];
            let mut at = |logp: f64| {
                policy[place] = logp;
                terms.loss(&policy, &reference).value
            };
            let slope = (at(here + H) - at(here - H)) / (2.0 * H);
            policy[place] = here;
            let scale = slope.abs().max(loss.value.abs()).max(1.0);
            prop_assert!((slope - loss.gradient[place]).abs() < 1e-6 * scale, "{slope} {}", loss.gradient[place]);
        }
    }
}

#[test]
fn fixtures_make_examples_of_all_their_pairs() {
    let prepared = Writer::new().rankings(&rankings(8, 8));
    assert_eq!((prepared.examples.len(), prepared.dropped.len(), prepared.n_mismatched), (16, 0, 0));
    // Every seventh ranking has five answers: those of index 3 and 10.
    assert_eq!(prepared.n_pairs(), 14 * 15 + 2 * 10);
}
