//! Letting a model write the replies to the questions of a window, the likeliest token at a time.

use std::collections::VecDeque;

use anyhow::Result;
use midcourse_core::bench::{Findings, Written};
use midcourse_core::engine::{
    BoxError, Forest, Fork, Grown, Growth, PathSpec, Sampling, TokenId, Tree, Usage,
};
use midcourse_core::template::{TokenizeError, Tokenizer};

use super::window::Window;
use crate::bench::Work;
use crate::model::MeasurableModel;
use crate::session::into_anyhow;

/// Last tokens of a reply among which an end is looked for, at least.
const TAIL: usize = 32;

/// Lets the model write every reply of a window that is not recorded.
pub(super) fn measure(
    window: &Window<'_>,
    written: &Written,
    model: &MeasurableModel,
    work: &mut Work<'_>,
) -> Result<()> {
    work.take_open(&window.failed())?;
    let trees = trees(window, |item| !work.is_done(&window.questions[item].id));
    let longest = written.until.iter().map(String::len).max().unwrap_or(0);
    let tokenizer: &dyn Tokenizer = model.tokenizer.as_ref();
    let mut replies =
        Replies { window, written, work, trees, tokenizer, tail: TAIL.max(longest + 4), failure: None };
    let sampling = Sampling { temperature: 0.0, top_p: 1.0, max_new_tokens: written.max_tokens };
    let grown = model.engine.grow(&sampling, &mut replies);
    if let Some(error) = replies.failure.take() {
        return Err(error.into());
    }
    *work.usage += grown.map_err(|error| into_anyhow(error, &model.identity.name))?;
    Ok(())
}

/// The trees of the questions that are open.
fn trees(window: &Window<'_>, is_open: impl Fn(usize) -> bool) -> VecDeque<Tree> {
    let tree = |bundle: &midcourse_core::bench::Together| {
        let texts = &window.texts[bundle.texts.clone()];
        let fork = |text: &super::window::Text| Fork {
            at: bundle.n_shared,
            lead: text.read()[bundle.n_shared..].to_vec(),
            paths: vec![PathSpec { id: text.item, seed: 0 }],
        };
        let forks: Vec<Fork> = texts.iter().filter(|text| is_open(text.item)).map(fork).collect();
        let trunk = texts[0].read()[..bundle.n_shared].to_vec();
        (!forks.is_empty()).then_some(Tree { trunk, forks })
    };
    window.bundles.iter().filter_map(tree).collect()
}

/// Replies in the making.
struct Replies<'w, 'a, 'b> {
    window: &'w Window<'a>,
    written: &'w Written,
    work: &'w mut Work<'b>,
    trees: VecDeque<Tree>,
    tokenizer: &'w dyn Tokenizer,
    tail: usize,
    failure: Option<TokenizeError>,
}

impl Replies<'_, '_, '_> {
    /// Whether one of the texts that end a reply stands at its end.
    fn has_ended(&self, tokens: &[TokenId]) -> Result<bool, TokenizeError> {
        let tail = self.tokenizer.decode_text(&tokens[tokens.len().saturating_sub(self.tail)..])?;
        Ok(self.written.until.iter().any(|end| !end.is_empty() && tail.contains(end.as_str())))
    }
}

impl Forest for Replies<'_, '_, '_> {
    fn plant(&mut self) -> Option<Tree> {
        if self.stopping() { None } else { self.trees.pop_front() }
    }

    fn stopping(&self) -> bool {
        self.failure.is_some() || self.work.stopping()
    }

    fn grown_by_one(&mut self, _id: usize, tokens: &[TokenId]) -> Growth {
        match self.has_ended(tokens) {
            Ok(false) => Growth::Continue,
            Ok(true) => Growth::Stop,
            Err(error) => {
                self.failure = Some(error);
                Growth::Stop
            }
        }
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> Result<(), BoxError> {
        if self.failure.is_some() {
            return Ok(());
        }
        let mut records = Vec::with_capacity(paths.len());
        for path in paths {
            let reply = self.tokenizer.decode_text(&path.tokens)?;
            records.push(self.window.record(path.id, &Findings::Reply(reply)));
        }
        self.work.take(&records)
    }

    fn failed(&mut self, id: usize, reason: String) -> Result<(), BoxError> {
        let record = self.window.record(id, &Findings::Nothing(reason));
        self.work.take(&[record])
    }

    fn progress(&mut self, _so_far: Usage) {}
}
