//! An example as rows, for a trainer that computes every answer by itself and knows no trees.
//!
//! A row is a decision: spans of two answers, and how many pairs it stands for; of `recovery` a span alone. The sum over
//! rows of what they cost is the loss of the example: [`Terms`] decides what is compared, here it is only found again in
//! the answers.

use std::ops::Range;

use super::{Example, ObjectiveSettings, Terms};

/// What a trainer of pairs computes at once.
#[derive(Debug, Clone, PartialEq)]
pub struct PairRow {
    /// What is preferred, or imitated.
    pub chosen: AnswerSpan,
    /// Over what; none of what is imitated.
    pub rejected: Option<AnswerSpan>,
    /// Pairs that it stands for; 1 of what is imitated. 0 where the row is there for its anchors.
    pub weight: f64,
    /// Spans of the chosen answer whose mean negative log-likelihood is added, each with its weight before `anchor`.
    pub anchors: Vec<(Range<usize>, f64)>,
}

/// A run of tokens of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSpan {
    /// Index of the answer in the example.
    pub answer: usize,
    /// Its tokens, counted from the end of the prompt.
    pub tokens: Range<usize>,
}

/// The rows of an example; none where there is nothing to learn of it.
pub fn pair_rows(example: &Example, settings: &ObjectiveSettings) -> Vec<PairRow> {
    let terms = Terms::of(example, settings);
    let compared = terms.compared();
    let span = |nodes: &[usize]| find(example, nodes);
    let imitated = compared.imitated.iter().map(|nodes| row(span(nodes), None, 1.0));
    let decisions = compared
        .decisions
        .iter()
        .map(|(chosen, rejected, n_pairs)| row(span(chosen), Some(span(rejected)), *n_pairs));
    let mut rows: Vec<PairRow> = decisions.chain(imitated).collect();
    let weight = terms.weight() / compared.anchored.len().max(1) as f64;
    if weight > 0.0 && settings.anchor > 0.0 {
        compared.anchored.iter().for_each(|nodes| hold(example, nodes, weight, &mut rows));
    }
    rows
}

fn row(chosen: AnswerSpan, rejected: Option<AnswerSpan>, weight: f64) -> PairRow {
    PairRow { chosen, rejected, weight, anchors: Vec::new() }
}

/// Adds an anchor to the first row that computes its nodes, or a row for it.
fn hold(example: &Example, nodes: &[usize], weight: f64, rows: &mut Vec<PairRow>) {
    for row in &mut *rows {
        let AnswerSpan { answer, tokens } = &row.chosen;
        let found = place(example, *answer, nodes);
        if let Some(found) = found.filter(|found| tokens.start <= found.start && found.end <= tokens.end) {
            row.anchors.push((found, weight));
            return;
        }
    }
    let alone = find(example, nodes);
    let anchors = vec![(alone.tokens.clone(), weight)];
    rows.push(PairRow { anchors, ..row(alone, None, 0.0) });
}

/// The first answer that holds these nodes. No nodes are found at the start of the first: they are no tokens anywhere.
fn find(example: &Example, nodes: &[usize]) -> AnswerSpan {
    let found = (0..example.answers.len()).find_map(|answer| Some((answer, place(example, answer, nodes)?)));
    let (answer, tokens) = found.unwrap_or((0, 0..0));
    AnswerSpan { answer, tokens }
}

/// Where an answer holds these nodes, in tokens after the prompt.
fn place(example: &Example, answer: usize, nodes: &[usize]) -> Option<Range<usize>> {
    let answer = &example.answers[answer];
    let Some(first) = nodes.first() else { return Some(0..0) };
    let from = answer.nodes.iter().position(|node| node == first)?;
    let holds = answer.nodes[from..].starts_with(nodes);
    // A first token that cannot be scored is a token all the same, and no node.
    let n_before = answer.n_tokens - answer.nodes.len();
    holds.then(|| from + n_before..from + n_before + nodes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::TokenId;
    use crate::eval::Set;
    use crate::synth::AnswerKind;
    use crate::train::Objective;
    use crate::train::fixture::{example, logps};

    /// Log-probability of every node of a tree, under some model.
    fn of_nodes(example: &Example, seed: u64) -> Vec<f64> {
        logps(&(0..example.trie.len()).collect::<Vec<_>>(), seed)
    }

    /// What a trainer of pairs sums over a span: from the answer's tokens, without a look at the tree.
    fn sum(example: &Example, span: (usize, &Range<usize>), logps: &[f64]) -> f64 {
        let nodes = &example.answers[span.0].nodes;
        nodes[span.1.clone()].iter().map(|&node| logps[node]).sum()
    }

    /// The loss of rows, as the script writes it.
    fn loss(example: &Example, settings: &ObjectiveSettings, (policy, reference): (&[f64], &[f64])) -> f64 {
        let rows = pair_rows(example, settings);
        let of_row = |row: &PairRow| {
            let of = |span: &AnswerSpan, logps: &[f64]| sum(example, (span.answer, &span.tokens), logps);
            let ratio = |span: &AnswerSpan| of(span, policy) - of(span, reference);
            let n = |span: &AnswerSpan| span.tokens.len().max(1) as f64;
            let preference = match (&row.rejected, settings.objective) {
                (None, _) => -of(&row.chosen, policy) / n(&row.chosen),
                (Some(rejected), Objective::Ipo) => {
                    let difference = ratio(&row.chosen) / n(&row.chosen) - ratio(rejected) / n(rejected);
                    (difference - 0.5 / settings.beta).powi(2)
                }
                (Some(rejected), _) => {
                    (1.0 + (-settings.beta * (ratio(&row.chosen) - ratio(rejected))).exp()).ln()
                }
            };
            let held = |(tokens, weight): &(Range<usize>, f64)| {
                -weight * sum(example, (row.chosen.answer, tokens), policy) / tokens.len() as f64
            };
            row.weight * preference + settings.anchor * row.anchors.iter().map(held).sum::<f64>()
        };
        rows.iter().map(of_row).sum()
    }

    fn answers() -> impl Strategy<Value = Vec<(Option<AnswerKind>, Vec<TokenId>)>> {
        let kinds = [
            AnswerKind::Refusal,
            AnswerKind::Correction(1),
            AnswerKind::Correction(2),
            AnswerKind::Correction(3),
            AnswerKind::Response,
        ];
        let tokens = prop::collection::vec(0..2_u32, 1..7);
        prop::collection::vec(tokens, 5)
            .prop_map(move |answers| kinds.into_iter().map(Some).zip(answers).collect())
    }

    proptest! {
        #[test]
        fn rows_cost_what_the_tree_costs(
            answers in answers(),
            set in prop::sample::select(vec![None, Some(Set::Harmful), Some(Set::Benign)]),
            objective in prop::sample::select(Objective::ALL.to_vec()),
            anchor in prop::sample::select(vec![0.0, 0.7]),
        ) {
            let example = example(set, &answers);
            prop_assume!(!example.pairs.is_empty());
            let settings = ObjectiveSettings { objective, beta: 0.3, anchor, anchor_tokens: 2 };
            let (policy, reference) = (of_nodes(&example, 1), of_nodes(&example, 2));
            let terms = Terms::of(&example, &settings);
            let at = |logps: &[f64]| terms.scored().iter().map(|&node| logps[node]).collect::<Vec<_>>();
            let whole = terms.loss(&at(&policy), &at(&reference));
            let rows = loss(&example, &settings, (&policy, &reference));
            prop_assert!((rows - whole.value).abs() <= 1e-9 * whole.value.abs().max(1.0), "{rows} {}", whole.value);
            let weight: f64 = pair_rows(&example, &settings).iter().map(|row| row.weight).sum();
            prop_assert!((weight - terms.weight()).abs() < 1e-12);
        }
    }
}
