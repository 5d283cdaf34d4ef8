//! Some neighbouring questions of a task in tokens, those that begin alike together.
//!
//! Windows are cut by number, so that what stands together never depends on what is measured already.

use std::ops::Range;

use midcourse_core::bench::{
    Divider, Findings, ItemRecord, Question, Scored, Scoring, Shared, Together, Unscorable, together,
};
use midcourse_core::engine::TokenId;
use midcourse_core::template::Tokenizer;
use rayon::prelude::*;

use super::task::GeneralTask;
use crate::bench::TaskForetold;

/// Questions that are laid out at once: few enough to keep their tokens in memory.
const WINDOW: usize = 512;

/// The ranges of all windows of so many questions.
pub(super) fn windows(n_questions: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n_questions).step_by(WINDOW).map(move |start| start..(start + WINDOW).min(n_questions))
}

/// Questions in tokens.
pub(super) struct Window<'a> {
    pub task: &'a GeneralTask,
    pub questions: &'a [Question],
    /// The texts of all questions, those of a question one after the other.
    pub texts: Vec<Text>,
    /// Where the texts of every question lie, or why it has none.
    pub of_question: Vec<Result<Range<usize>, Unscorable>>,
    pub bundles: Vec<Together>,
}

/// A text of a question.
pub(super) struct Text {
    /// The question's place in the window.
    pub item: usize,
    pub scored: Scored,
    /// Tokens at its start that the model reads.
    n_read: usize,
}

impl Text {
    /// What the model reads of it.
    pub(super) fn read(&self) -> &[TokenId] {
        &self.scored.tokens[..self.n_read]
    }
}

impl<'a> Window<'a> {
    /// Lays out the questions of a range for a model with so many tokens of context.
    pub(super) fn lay_out(
        task: &'a GeneralTask,
        range: Range<usize>,
        (tokenizer, context): (&(dyn Tokenizer + Send + Sync), usize),
    ) -> Self {
        let questions = &task.questions[range];
        let divided: Vec<Result<Vec<Scored>, Unscorable>> =
            questions.par_iter().map(|question| divide(task, question, (tokenizer, context))).collect();
        let is_read_whole = matches!(task.spec.scoring, Scoring::Written(_));
        let (mut texts, mut of_question) = (Vec::new(), Vec::new());
        for (item, divided) in divided.into_iter().enumerate() {
            let start = texts.len();
            of_question.push(divided.map(|all| {
                texts.extend(all.into_iter().map(|scored| {
                    // The last token of a scored text is not read.
                    let n_read = scored.tokens.len() - usize::from(!is_read_whole);
                    Text { item, scored, n_read }
                }));
                start..texts.len()
            }));
        }
        let shared: Vec<Shared> =
            texts.iter().map(|text| Shared { item: text.item, read: text.read() }).collect();
        let bundles = together(&shared);
        Self { task, questions, texts, of_question, bundles }
    }

    /// The record of a question.
    pub(super) fn record(&self, item: usize, findings: &Findings) -> ItemRecord {
        let texts = self.of_question[item].as_ref().map_or(0..0, Clone::clone);
        let truncated = self.texts[texts].iter().any(|text| text.scored.truncated);
        self.task.spec.record(&self.questions[item], findings, truncated)
    }

    /// The records of the questions that have no texts.
    pub(super) fn failed(&self) -> Vec<ItemRecord> {
        let failed = self
            .of_question
            .iter()
            .enumerate()
            .filter_map(|(item, texts)| Some((item, texts.as_ref().err()?.to_string())));
        failed.map(|(item, reason)| self.record(item, &Findings::Nothing(reason))).collect()
    }

    /// Adds what the window would take.
    pub(super) fn count(&self, foretold: &mut TaskForetold) {
        foretold.n_requests += self.texts.len();
        foretold.n_tokens_alone += self.texts.iter().map(|text| text.read().len()).sum::<usize>();
        for bundle in &self.bundles {
            let mut before: &[TokenId] = &[];
            for text in &self.texts[bundle.texts.clone()] {
                let n_shared = before.iter().zip(text.read()).take_while(|(a, b)| a == b).count();
                foretold.n_tokens += text.read().len() - n_shared;
                before = text.read();
            }
        }
    }
}

fn divide(
    task: &GeneralTask,
    question: &Question,
    (tokenizer, context): (&(dyn Tokenizer + Send + Sync), usize),
) -> Result<Vec<Scored>, Unscorable> {
    let mut divider = Divider::new(tokenizer, context);
    let pairs = task.spec.pairs(question, task.shots_before(question));
    match &task.spec.scoring {
        Scoring::Rolling { .. } => {
            let windows =
                pairs.iter().map(|(_, text)| divider.windows(text)).collect::<Result<Vec<_>, _>>()?;
            let windows = windows.concat();
            if windows.is_empty() { Err(Unscorable::Empty) } else { Ok(windows) }
        }
        Scoring::Written(written) => {
            pairs.iter().map(|(context, _)| divider.before_reply(context, written.max_tokens)).collect()
        }
        _ => pairs.iter().map(|(context, continuation)| divider.pair(context, continuation)).collect(),
    }
}
