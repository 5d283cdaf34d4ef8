//! Examples as the lines of `data/*.jsonl`: decisions in tokens, beside the text that they are.

use anyhow::{Context, Result};
use midcourse_core::engine::TokenId;
use midcourse_core::template::Tokenizer;
use midcourse_core::train::{AnswerSpan, Example, ObjectiveSettings, PairRow, pair_rows};
use serde::Serialize;

use super::Data;

/// A decision of the example `tree`, for the script. The texts are for readers; what is computed are the tokens.
#[derive(Serialize)]
struct Row<'a> {
    tree: usize,
    sample_id: &'a str,
    prompt: &'a str,
    chosen: String,
    rejected: String,
    prompt_ids: &'a [TokenId],
    /// The whole answer, the end of its turn included.
    chosen_ids: Vec<TokenId>,
    /// The same; none where nothing is rejected.
    rejected_ids: Vec<TokenId>,
    /// From and to, in tokens of the answer.
    chosen_span: (usize, usize),
    rejected_span: (usize, usize),
    weight: f64,
    /// From, to and weight, in tokens of the chosen answer.
    anchors: Vec<(usize, usize, f64)>,
}

/// The rows of these trees, a line each.
pub(super) fn lines(data: &Data<'_>, trees: &[usize], objective: &ObjectiveSettings) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for &tree in trees {
        let example = data.examples[tree];
        let writing = Writing::of(example, data.tokenizer)?;
        for row in pair_rows(example, objective) {
            let row =
                writing.row(tree, &row).with_context(|| format!("the text of sample {}", example.id))?;
            serde_json::to_writer(&mut lines, &row)?;
            lines.push(b'\n');
        }
    }
    Ok(lines)
}

/// An example on its way into rows.
struct Writing<'a> {
    example: &'a Example,
    tokenizer: &'a dyn Tokenizer,
    prompt_ids: Vec<TokenId>,
    prompt: String,
}

impl<'a> Writing<'a> {
    fn of(example: &'a Example, tokenizer: &'a dyn Tokenizer) -> Result<Self> {
        let prompt_ids = conversation(example, 0)[..example.n_prompt].to_vec();
        let prompt = tokenizer.decode(&prompt_ids)?;
        Ok(Self { example, tokenizer, prompt_ids, prompt })
    }

    fn row(&self, tree: usize, row: &PairRow) -> Result<Row<'_>> {
        let (chosen_ids, chosen, chosen_span) = self.side(Some(&row.chosen))?;
        let (rejected_ids, rejected, rejected_span) = self.side(row.rejected.as_ref())?;
        let anchors = row.anchors.iter().map(|(tokens, weight)| (tokens.start, tokens.end, *weight));
        Ok(Row {
            tree,
            sample_id: &self.example.id,
            prompt: &self.prompt,
            chosen,
            rejected,
            prompt_ids: &self.prompt_ids,
            chosen_ids,
            rejected_ids,
            chosen_span,
            rejected_span,
            weight: row.weight,
            anchors: anchors.collect(),
        })
    }

    /// An answer's tokens, its text, and the span of it that is scored.
    fn side(&self, span: Option<&AnswerSpan>) -> Result<(Vec<TokenId>, String, (usize, usize))> {
        let Some(AnswerSpan { answer, tokens }) = span else {
            return Ok((Vec::new(), String::new(), (0, 0)));
        };
        let ids = conversation(self.example, *answer)[self.example.n_prompt..].to_vec();
        let text = self.tokenizer.decode_after(&self.prompt_ids, &ids)?;
        Ok((ids, text, (tokens.start, tokens.end)))
    }
}

/// All tokens of an answer's conversation, from its last node back to the first.
fn conversation(example: &Example, answer: usize) -> Vec<TokenId> {
    let trie = &example.trie;
    let last = example.answers[answer].nodes.last().copied();
    let mut ids: Vec<TokenId> =
        std::iter::successors(last, |&node| trie.parent(node)).map(|node| trie.token(node)).collect();
    ids.reverse();
    ids
}
