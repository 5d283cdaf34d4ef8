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
    let decisions = compared.decisions.iter().map(|(chosen, rejected, n_pairs)| {
        row(span(chosen), Some(span(rejected)), *n_pairs)
    });
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
