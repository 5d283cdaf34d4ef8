//! How likely given texts are, many at once: bundles of texts that begin alike become trees, small trees go through the
//! decoder together, and the head is asked for the rows after which something is scored.
//!
//! A trunk is computed once, however many branches leave it: when a pass is full, its branches are cut off and the next
//! ones grow in their place. The last token of a text is never computed, since nothing after it is scored.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use candle_core::{Device, Tensor};
use midcourse_core::engine::{Assess, Assessed, Assessment, BoxError, Branch, Bundle, TokenId, Usage};
use rayon::prelude::*;

use super::grow::LOGIT_ROWS;
use super::{LocalEngine, log_sum_exp};
use crate::model::{Row, with_values};
use crate::tree::{Novelty, TokenTree};
use crate::{Error, Result};

/// Rows that are computed at once.
const ROWS: usize = 2048;

impl Assess for LocalEngine {
    fn assess(&self, assessment: &mut dyn Assessment) -> std::result::Result<Usage, BoxError> {
        let mut usage = Usage::default();
        let mut left = None;
        loop {
            let mut pass = self.gather(left.take(), assessment)?;
            if pass.is_empty() {
                return Ok(usage);
            }
            usage.n_computed += self.compute_pass(&mut pass)?;
            let assessed = self.assess_pass(&pass)?;
            assessment.progress(usage);
            assessment.take(assessed)?;
            left = pass.pop().filter(|planted| !planted.waiting.is_empty());
        }
    }
}

/// A bundle as a tree.
struct Planted {
    tree: TokenTree,
    /// Branches that no pass has taken yet.
    waiting: VecDeque<Branch>,
    /// Nodes laid out but not computed.
    pending: Vec<usize>,
    /// The branches of this pass.
    laid: Vec<Laid>,
}

/// A branch on its tree.
struct Laid {
    id: usize,
    /// Every scored token and the node after which it stands.
    scored: Vec<(usize, TokenId)>,
}

/// A scored token: the place of its tree and of its branch in the pass, and the token's among those of the branch.
type Place = (usize, usize, usize);

/// A node, by the place of its tree, and the tokens that are scored after it.
type Asked = ((usize, usize), Vec<(Place, TokenId)>);

/// The log-probability of a token, and whether no other is likelier.
type Found = (f64, bool);

impl LocalEngine {
    /// What is computed together: what is left of the bundle before, and more as long as there is room.
    fn gather(&self, left: Option<Planted>, assessment: &mut dyn Assessment) -> Result<Vec<Planted>> {
        let mut pass: Vec<Planted> = Vec::new();
        if assessment.stopping() {
            return Ok(pass);
        }
        let mut room = self.rows_of_a_pass();
        let mut next = left;
        while let Some(mut planted) =
            next.take().map(Ok).or_else(|| Some(self.plant_bundle(assessment.next()?))).transpose()?
        {
            let is_alone = pass.is_empty();
            room = planted.lay_out(room, is_alone);
            let is_whole = planted.waiting.is_empty();
            pass.push(planted);
            if !is_whole || room == 0 {
                break;
            }
        }
        Ok(pass)
    }

    /// Rows that fit a pass and the budget of bytes; the least that is worth a pass where the budget is smaller.
    fn rows_of_a_pass(&self) -> usize {
        let config = &self.decoder.config;
        let per_token = config.kv_bytes_per_token() + config.width * size_of::<f32>();
        (self.limits.bytes / per_token.max(1)).clamp(1, ROWS)
    }

    fn plant_bundle(&self, bundle: Bundle) -> Result<Planted> {
        let Bundle { trunk, branches } = bundle;
        let longest = branches.iter().map(|branch| trunk.len() + branch.tokens.len()).max().unwrap_or(0);
        let context = self.decoder.config.context;
        // The last token is not computed.
        if longest > context + 1 {
            return Err(Error::TooLong { n_tokens: longest - 1, context });
        }
        for branch in &branches {
            self.check_vocab(&branch.tokens)?;
            if branch.from == 0 || branch.from >= trunk.len() + branch.tokens.len() {
                return Err(Error::TooLong {
                    n_tokens: branch.from,
                    context: trunk.len() + branch.tokens.len(),
                });
            }
        }
        let tree = self.plant(&trunk, (0, longest.max(trunk.len())))?;
        let pending = (0..trunk.len()).collect();
        Ok(Planted { tree, waiting: branches.into(), pending, laid: Vec::new() })
    }

    /// Computes every pending node, parents before children, and returns how many there were.
    fn compute_pass(&self, pass: &mut [Planted]) -> Result<usize> {
        let mut rows = Vec::new();
        for (tree, planted) in pass.iter_mut().enumerate() {
            rows.extend(planted.pending.drain(..).map(|node| Row { tree, node }));
        }
        let width = self.decoder.config.width;
        let mut trees: Vec<&mut TokenTree> = pass.iter_mut().map(|planted| &mut planted.tree).collect();
        for rows in rows.chunks(ROWS) {
            let hidden = self.decoder.forward(rows, &mut trees)?;
            with_values(&hidden, |hidden| {
                for (row, hidden) in rows.iter().zip(hidden.chunks_exact(width)) {
                    trees[row.tree].keep_hidden(row.node, hidden);
                }
            })?;
        }
        Ok(rows.len())
    }

    /// What was found of every branch of a pass.
    fn assess_pass(&self, pass: &[Planted]) -> Result<Vec<Assessed>> {
        let mut asked: BTreeMap<(usize, usize), Vec<(Place, TokenId)>> = BTreeMap::new();
        for (tree, planted) in pass.iter().enumerate() {
            for (branch, laid) in planted.laid.iter().enumerate() {
                for (at, &(node, token)) in laid.scored.iter().enumerate() {
                    asked.entry((tree, node)).or_default().push(((tree, branch, at), token));
                }
            }
        }
        let asked: Vec<Asked> = asked.into_iter().collect();
        let mut found: BTreeMap<Place, Found> = BTreeMap::new();
        for rows in asked.chunks(LOGIT_ROWS) {
            found.extend(self.found(pass, rows)?.into_iter().flatten());
        }
        let branches = pass.iter().enumerate().flat_map(|(tree, planted)| {
            planted.laid.iter().enumerate().map(move |(branch, laid)| (tree, branch, laid))
        });
        let assessed = branches.map(|(tree, branch, laid)| {
            let of_branch = found.range((tree, branch, 0)..=(tree, branch, usize::MAX));
            let (logp, is_greedy) =
                of_branch.fold((0.0, true), |(sum, all), (_, (logp, first))| (sum + logp, all && *first));
            Assessed { id: laid.id, logp, is_greedy }
        });
        Ok(assessed.collect())
    }

    /// The scored tokens after some nodes.
    fn found(&self, pass: &[Planted], rows: &[Asked]) -> Result<Vec<Vec<(Place, Found)>>> {
        let width = self.decoder.config.width;
        let hidden = rows.iter().flat_map(|((tree, node), _)| pass[*tree].tree.hidden(*node)).copied();
        let hidden = Tensor::from_vec(hidden.collect(), (rows.len(), width), &Device::Cpu)?;
        let logits = self.decoder.logits(&hidden)?;
        with_values(&logits, |logits| {
            let rows = logits.par_chunks_exact(self.decoder.config.vocab).zip(rows);
            rows.map(|(logits, ((tree, node), asked))| {
                let (most, log_sum) = log_sum_exp(logits, pass[*tree].tree.depth(*node) + 1)?;
                let found = |&(place, token): &(Place, TokenId)| {
                    let logit = logits[token as usize];
                    (place, (f64::from(logit) - log_sum, logit >= most))
                };
                Ok(asked.iter().map(found).collect())
            })
            .collect()
        })?
    }
}

impl Planted {
    /// Lays out branches as long as there is room for their rows, at least one where the bundle is alone; returns the
    /// room that is left.
    fn lay_out(&mut self, room: usize, is_alone: bool) -> usize {
        self.tree.prune();
        self.laid.clear();
        let mut left = room.saturating_sub(self.pending.len());
        while let Some(branch) = self.waiting.front() {
            let n_rows = branch.tokens.len().saturating_sub(1);
            if n_rows > left && !(is_alone && self.laid.is_empty()) {
                break;
            }
            left = left.saturating_sub(n_rows);
            if let Some(branch) = self.waiting.pop_front() {
                let laid = self.lay(&branch);
                self.laid.push(laid);
            }
        }
        left
    }

    fn lay(&mut self, branch: &Branch) -> Laid {
        let trunk = self.tree.trunk_len();
        let mut nodes: Vec<usize> = (0..trunk).collect();
        let before_last = branch.tokens.len().saturating_sub(1);
        for &token in &branch.tokens[..before_last] {
            let (child, novelty) = self.tree.child(nodes[nodes.len() - 1], token);
            self.pending.extend((novelty == Novelty::New).then_some(child));
            nodes.push(child);
        }
        let token = |at: usize| match at.checked_sub(trunk) {
            None => self.tree.token(at),
            Some(at) => branch.tokens[at],
        };
        let scored = branch.from..trunk + branch.tokens.len();
        Laid { id: branch.id, scored: scored.map(|at| (nodes[at - 1], token(at))).collect() }
    }
}
