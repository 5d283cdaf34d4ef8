//! Telling how likely given tokens are after the leads of a tree.
//!
//! The trunk is computed once for all forks that fit the budget together, leads that begin alike share their nodes.
//! Nothing is drawn, so a fork that is never read costs nothing but its lead.

use candle_core::{Device, Tensor};
use midcourse_core::engine::{BoxError, Fork, TokenId, Tree, Weigh};

use super::{LocalEngine, log_softmax};
use crate::model::{Row, with_values};
use crate::tree::{Novelty, TokenTree};
use crate::{Error, Result};

/// Rows of hidden states that are computed at once.
const ROWS: usize = 2048;
/// Rows of logits that are held at once.
const LOGIT_ROWS: usize = 128;

impl Weigh for LocalEngine {
    fn weigh(&self, tree: &Tree, candidates: &[TokenId]) -> std::result::Result<Vec<Vec<f64>>, BoxError> {
        self.check_vocab(candidates)?;
        let mut logps = Vec::with_capacity(tree.forks.len());
        let mut forks = tree.forks.as_slice();
        while !forks.is_empty() {
            let (now, later) = forks.split_at(self.n_that_fit(&tree.trunk, forks));
            logps.extend(self.weigh_forks(&tree.trunk, now, candidates)?);
            forks = later;
        }
        Ok(logps)
    }
}

impl LocalEngine {
    /// How many of `forks` fit the budget of bytes together; at least one.
    fn n_that_fit(&self, trunk: &[TokenId], forks: &[Fork]) -> usize {
        let config = &self.decoder.config;
        let per_token = config.kv_bytes_per_token() + config.width * size_of::<f32>();
        let mut room = (self.limits.bytes / per_token.max(1)).saturating_sub(trunk.len());
        let fits = |fork: &&Fork| {
            let left = room.checked_sub(fork.lead.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        forks.iter().take_while(fits).count().max(1)
    }

    fn weigh_forks(
        &self,
        trunk: &[TokenId],
        forks: &[Fork],
        candidates: &[TokenId],
    ) -> Result<Vec<Vec<f64>>> {
        let context = self.decoder.config.context;
        let longest = forks.iter().map(|fork| fork.at + fork.lead.len()).max().unwrap_or(0);
        let is_on_trunk = |fork: &Fork| (1..=trunk.len()).contains(&fork.at);
        if longest > context || !forks.iter().all(is_on_trunk) {
            return Err(Error::TooLong { n_tokens: longest, context });
        }
        let n_grown = forks.iter().map(|fork| fork.lead.len()).sum();
        let mut tree = self.plant(trunk, (n_grown, longest.max(trunk.len())))?;
        let mut pending: Vec<usize> = (0..trunk.len()).collect();
        let mut ends = Vec::with_capacity(forks.len());
        for fork in forks {
            self.check_vocab(&fork.lead)?;
            ends.push(fork.lead.iter().fold(fork.at - 1, |node, &token| {
                let (child, novelty) = tree.child(node, token);
                pending.extend((novelty == Novelty::New).then_some(child));
                child
            }));
        }
        self.compute(&mut tree, &pending)?;
        let rows = ends.chunks(LOGIT_ROWS).map(|ends| self.logps_at(&tree, ends, candidates));
        Ok(rows.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Computes `nodes`, parents before children, and keeps their hidden states.
    fn compute(&self, tree: &mut TokenTree, nodes: &[usize]) -> Result<()> {
        let width = self.decoder.config.width;
        for nodes in nodes.chunks(ROWS) {
            let rows: Vec<Row> = nodes.iter().map(|&node| Row { tree: 0, node }).collect();
            let hidden = self.decoder.forward(&rows, &mut [tree])?;
            with_values(&hidden, |hidden| {
                for (&node, hidden) in nodes.iter().zip(hidden.chunks_exact(width)) {
                    tree.keep_hidden(node, hidden);
                }
            })?;
        }
        Ok(())
    }

    /// The log-probabilities of `candidates` after every one of `nodes`.
    fn logps_at(&self, tree: &TokenTree, nodes: &[usize], candidates: &[TokenId]) -> Result<Vec<Vec<f64>>> {
        let width = self.decoder.config.width;
        let hidden: Vec<f32> = nodes.iter().flat_map(|&node| tree.hidden(node)).copied().collect();
        let logits = self.decoder.logits(&Tensor::from_vec(hidden, (nodes.len(), width), &Device::Cpu)?)?;
        let rows = logits.to_vec2::<f32>()?; // (nodes, V)
        let of_row = |(row, &node): (&Vec<f32>, &usize)| {
            let logps = log_softmax(row, tree.depth(node) + 1)?;
            Ok(candidates.iter().map(|&id| logps[id as usize]).collect())
        };
        rows.iter().zip(nodes).map(of_row).collect()
    }
}
