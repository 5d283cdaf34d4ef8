//! Growing trees: plant while there is room, compute what is new, draw, harvest.
//!
//! In every round each path that is still growing draws one token from the node it stands on. Nodes that
//! nobody has stood on yet are computed in the next round, all trees together; logits are computed once for
//! every distinct node that paths stand on, and forgotten.

use std::collections::{BTreeMap, VecDeque};

use candle_core::{Device, Tensor};
use midcourse_core::engine::{BoxError, Finish, Forest, Fork, Grown, Growth, Sampling, TokenId, Tree, Usage};
use rayon::prelude::*;

use super::LocalEngine;
use crate::model::{Row, with_values};
use crate::sampling::{Nucleus, PathRng};
use crate::tree::{Novelty, TokenTree};
use crate::{Error, Result};

/// Rows of logits held at once: 25 MB for a vocabulary of 49,152, a size that the allocator still keeps for the
/// next round instead of returning it to the system.
pub(super) const LOGIT_ROWS: usize = 128;

/// Trees that are growing.
pub(super) struct Grove<'a> {
    engine: &'a LocalEngine,
    sampling: Sampling,
    /// By the order in which they were planted.
    trees: BTreeMap<usize, Growing>,
    n_planted: usize,
    usage: Usage,
}

/// A tree to plant, or a part of one that would not fit.
pub(super) struct Part {
    pub tree: Tree,
    /// Tokens that the longest path of the whole tree can come to have.
    longest: usize,
}

/// A tree with its paths.
struct Growing {
    tree: TokenTree,
    /// Nodes laid out but not computed.
    pending: Vec<usize>,
    /// Paths that have no room yet, in reverse order.
    waiting: Vec<Path>,
    active: Vec<Path>,
    bytes: usize,
}

/// A path that is growing.
struct Path {
    id: usize,
    /// The node whose successor is drawn next.
    node: usize,
    rng: PathRng,
    tokens: Vec<TokenId>,
}

impl<'a> Grove<'a> {
    pub(super) fn new(engine: &'a LocalEngine, sampling: Sampling) -> Self {
        Self { engine, sampling, trees: BTreeMap::new(), n_planted: 0, usage: Usage::default() }
    }

    pub(super) fn grow(mut self, forest: &mut dyn Forest) -> std::result::Result<Usage, BoxError> {
        let mut next = VecDeque::new();
        loop {
            let stopping = forest.stopping();
            if stopping {
                next.clear();
                self.trees.values_mut().for_each(|growing| growing.waiting.clear());
            }
            self.trees.retain(|_, growing| !(growing.active.is_empty() && growing.waiting.is_empty()));
            loop {
                if next.is_empty() && !stopping {
                    next = forest.plant().map_or_else(VecDeque::new, |tree| self.parts(tree));
                }
                match next.front() {
                    Some(part) if self.has_room(&part.tree) => self.plant(part)?,
                    _ => break,
                }
                next.pop_front();
            }
            self.admit();
            if self.trees.is_empty() {
                return Ok(self.usage);
            }
            self.compute()?;
            let nuclei = self.nuclei()?;
            let harvest = self.draw(&nuclei, forest);
            forest.progress(self.usage);
            if !harvest.is_empty() {
                forest.harvest(harvest)?;
            }
        }
    }

    /// A tree as it is when it fits the limit of bytes; else cut into trees with some of its paths each, which
    /// compute their shares of the trunk again.
    pub(super) fn parts(&self, tree: Tree) -> VecDeque<Part> {
        let ends = tree.forks.iter().map(|fork| fork.at + fork.lead.len() + self.sampling.max_new_tokens);
        let longest = ends.chain([tree.trunk.len()]).max().unwrap_or(0);
        if self.bytes(&tree) <= self.engine.limits.bytes
            || tree.forks.iter().all(|fork| fork.paths.is_empty())
        {
            return VecDeque::from([Part { tree, longest }]);
        }
        let mut parts = VecDeque::new();
        let empty = || Tree { trunk: Vec::new(), forks: Vec::new() };
        let mut part = empty();
        for fork in &tree.forks {
            let per_path = self.sampling.max_new_tokens.saturating_sub(1).max(1) * self.bytes_per_token();
            let mut paths = fork.paths.as_slice();
            while !paths.is_empty() {
                let mut longer = self.with_fork(&part, fork, &tree.trunk);
                let room = self.engine.limits.bytes.saturating_sub(self.bytes(&longer)) / per_path;
                if room == 0 && !part.forks.is_empty() {
                    parts.push_back(Part { tree: std::mem::replace(&mut part, empty()), longest });
                    continue;
                }
                let (now, later) = paths.split_at(room.clamp(1, paths.len()));
                if let Some(fork) = longer.forks.last_mut() {
                    fork.paths = now.to_vec();
                }
                (part, paths) = (longer, later);
            }
        }
        parts.push_back(Part { tree: part, longest });
        parts
    }

    /// `part` with one more fork of the tree of `trunk`, its paths apart, and with as much of the trunk as these
    /// can follow: a token that stands on the trunk is summed in another order than one that grows.
    fn with_fork(&self, part: &Tree, fork: &Fork, trunk: &[TokenId]) -> Tree {
        let reach = fork.at + fork.lead.len() + self.sampling.max_new_tokens.saturating_sub(1);
        let trunk = &trunk[..reach.max(part.trunk.len()).min(trunk.len())];
        let fork = Fork { at: fork.at, lead: fork.lead.clone(), paths: Vec::new() };
        Tree { trunk: trunk.to_vec(), forks: part.forks.iter().cloned().chain([fork]).collect() }
    }

    fn n_active(&self) -> usize {
        self.trees.values().map(|growing| growing.active.len()).sum()
    }

    /// Nodes that can come to grow from the trunk; the last token of a path is only drawn.
    fn n_grown(&self, tree: &Tree) -> usize {
        let path = self.sampling.max_new_tokens.saturating_sub(1);
        tree.forks.iter().map(|fork| fork.lead.len() + fork.paths.len().saturating_mul(path)).sum()
    }

    /// Keys, values and hidden states that a tree can come to hold.
    fn bytes(&self, tree: &Tree) -> usize {
        (tree.trunk.len() + self.n_grown(tree)).saturating_mul(self.bytes_per_token())
    }

    fn bytes_per_token(&self) -> usize {
        let config = &self.engine.decoder.config;
        config.kv_bytes_per_token() + config.width * size_of::<f32>()
    }

    fn has_room(&self, tree: &Tree) -> bool {
        let taken: usize = self.trees.values().map(|growing| growing.bytes).sum();
        let all_admitted = self.trees.values().all(|growing| growing.waiting.is_empty());
        self.trees.is_empty()
            || all_admitted
                && self.n_active() < self.engine.limits.paths
                && taken + self.bytes(tree) <= self.engine.limits.bytes
    }

    fn plant(&mut self, Part { tree: planted, longest }: &Part) -> Result<()> {
        let context = self.engine.decoder.config.context;
        for fork in &planted.forks {
            let n_tokens = fork.at + fork.lead.len() + self.sampling.max_new_tokens;
            if fork.at == 0 || fork.at > planted.trunk.len() || n_tokens > context {
                return Err(Error::TooLong { n_tokens, context });
            }
        }
        let mut tree = self.engine.plant(&planted.trunk, (self.n_grown(planted), *longest))?;
        let mut pending: Vec<usize> = (0..planted.trunk.len()).collect();
        let mut waiting = Vec::new();
        for fork in &planted.forks {
            self.engine.check_vocab(&fork.lead)?;
            let mut node = fork.at - 1;
            for &token in &fork.lead {
                let (child, novelty) = tree.child(node, token);
                pending.extend((novelty == Novelty::New).then_some(child));
                node = child;
            }
            waiting.extend(fork.paths.iter().map(|path| Path {
                id: path.id,
                node,
                rng: PathRng::new(path.seed),
                tokens: Vec::new(),
            }));
        }
        waiting.reverse();
        let bytes = self.bytes(planted);
        self.trees.insert(self.n_planted, Growing { tree, pending, waiting, active: Vec::new(), bytes });
        self.n_planted += 1;
        Ok(())
    }

    /// Lets waiting paths grow while there is room.
    fn admit(&mut self) {
        let mut room = self.engine.limits.paths.max(1).saturating_sub(self.n_active());
        for growing in self.trees.values_mut() {
            while room > 0
                && let Some(path) = growing.waiting.pop()
            {
                growing.active.push(path);
                room -= 1;
            }
        }
    }

    /// Computes every pending node of every tree in one batch.
    fn compute(&mut self) -> Result<()> {
        let mut rows = Vec::new();
        for (tree, growing) in self.trees.values_mut().enumerate() {
            rows.extend(growing.pending.drain(..).map(|node| Row { tree, node }));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut trees: Vec<&mut TokenTree> =
            self.trees.values_mut().map(|growing| &mut growing.tree).collect();
        let hidden = self.engine.decoder.forward(&rows, &mut trees)?;
        let width = self.engine.decoder.config.width;
        with_values(&hidden, |hidden| {
            for (row, hidden) in rows.iter().zip(hidden.chunks_exact(width)) {
                trees[row.tree].keep_hidden(row.node, hidden);
            }
        })?;
        self.usage.n_computed += rows.len();
        Ok(())
    }

    /// What can be drawn at every node that a path stands on.
    fn nuclei(&self) -> Result<BTreeMap<(usize, usize), Nucleus>> {
        let active = self.trees.iter().flat_map(|(&tree, g)| g.active.iter().map(move |p| (tree, p.node)));
        let mut nodes: Vec<_> = active.collect();
        nodes.sort_unstable();
        nodes.dedup();
        let width = self.engine.decoder.config.width;
        let mut nuclei = BTreeMap::new();
        for nodes in nodes.chunks(LOGIT_ROWS) {
            let hidden = nodes.iter().flat_map(|&(tree, node)| self.trees[&tree].tree.hidden(node)).copied();
            let hidden = Tensor::from_vec(hidden.collect(), (nodes.len(), width), &Device::Cpu)?;
            let logits = self.engine.decoder.logits(&hidden)?;
            let drawn = with_values(&logits, |logits| {
                let rows = logits.par_chunks_exact(self.engine.decoder.config.vocab);
                rows.map(|row| Nucleus::of(row, &self.sampling)).collect::<Vec<_>>()
            })?;
            for (&(tree, node), nucleus) in nodes.iter().zip(drawn) {
                let n_tokens = self.trees[&tree].tree.depth(node) + 1;
                nuclei.insert((tree, node), nucleus.map_err(|_| Error::NotFinite { n_tokens })?);
            }
        }
        Ok(nuclei)
    }

    /// Every active path draws a token; those that end are returned.
    fn draw(&mut self, nuclei: &BTreeMap<(usize, usize), Nucleus>, forest: &mut dyn Forest) -> Vec<Grown> {
        let mut harvest = Vec::new();
        let ends = &self.engine.ends;
        for (&index, growing) in &mut self.trees {
            let active = std::mem::take(&mut growing.active);
            for mut path in active {
                self.usage.n_sampled += 1;
                let token = nuclei[&(index, path.node)].draw(path.rng.uniform());
                let finish = if ends.contains(&token) {
                    Some(Finish::EndOfTurn)
                } else {
                    path.tokens.push(token);
                    let stop = forest.grown_by_one(path.id, &path.tokens) == Growth::Stop;
                    let full = path.tokens.len() >= self.sampling.max_new_tokens;
                    stop.then_some(Finish::Stopped).or(full.then_some(Finish::Length))
                };
                if let Some(finish) = finish {
                    harvest.push(Grown { id: path.id, tokens: path.tokens, finish });
                    continue;
                }
                let (child, novelty) = growing.tree.child(path.node, token);
                growing.pending.extend((novelty == Novelty::New).then_some(child));
                path.node = child;
                growing.active.push(path);
            }
        }
        harvest
    }
}
