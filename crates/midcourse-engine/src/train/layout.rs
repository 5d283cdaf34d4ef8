//! Several trees laid out as the rows of one batch: what every row attends to, and which rows are scored.

use std::ops::Range;

use midcourse_core::engine::TokenId;
use midcourse_core::train::Trie;

use crate::model::ModelConfig;
use crate::{Error, Result};

/// Some trees and, of each, the nodes whose log-probability given their ancestors is asked for.
#[derive(Debug, Clone, Default)]
pub struct Batch<'a> {
    /// Trees, and sorted nodes of theirs that are no first tokens.
    pub tries: Vec<(&'a Trie, &'a [usize])>,
}

/// The rows of a batch.
#[derive(Debug)]
pub(super) struct Layout {
    pub tokens: Vec<TokenId>,
    /// Position of every row in its conversation.
    pub depths: Vec<usize>,
    pub stretches: Vec<Stretch>,
    /// For every rotary embedding of the model, cosine and sine of every pair of every row: (T, pairs).
    pub angles: Vec<Vec<(f32, f32)>>,
    /// Rows after which a token is scored, ascending.
    pub scoring: Vec<usize>,
    /// Of every tree: the place in `scoring` and the token of everything that was asked for.
    pub asked: Vec<Vec<(usize, TokenId)>>,
}

/// Neighbouring rows without a fork between them.
#[derive(Debug)]
pub(super) struct Stretch {
    pub rows: Range<usize>,
    /// The rows of all ancestors, from the root on, and these rows themselves: a column's index in what they attend to
    /// is its depth.
    pub context: Vec<usize>,
}

impl Layout {
    /// # Errors
    /// When a conversation is longer than the model's context, or a token is not in its vocabulary.
    pub(super) fn new(batch: &Batch<'_>, config: &ModelConfig) -> Result<Self> {
        let mut layout = Self {
            tokens: Vec::new(),
            depths: Vec::new(),
            stretches: Vec::new(),
            angles: vec![Vec::new(); config.rotaries.len()],
            scoring: Vec::new(),
            asked: Vec::new(),
        };
        for &(trie, asked) in &batch.tries {
            check(trie, config)?;
            layout.ask(trie, asked);
            layout.turn(trie, config);
            layout.plant(trie);
        }
        Ok(layout)
    }

    pub(super) fn n_rows(&self) -> usize {
        self.tokens.len()
    }

    fn ask(&mut self, trie: &Trie, asked: &[usize]) {
        let first = self.n_rows();
        let parents = asked.iter().filter_map(|&node| Some((first + trie.parent(node)?, trie.token(node))));
        let parents: Vec<(usize, TokenId)> = parents.collect();
        let mut rows: Vec<usize> = parents.iter().map(|(row, _)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        let n_before = self.scoring.len();
        let place = |row: usize| n_before + rows.partition_point(|&other| other < row);
        self.asked.push(parents.into_iter().map(|(row, token)| (place(row), token)).collect());
        self.scoring.extend(rows);
    }

    fn turn(&mut self, trie: &Trie, config: &ModelConfig) {
        for (rotary, angles) in config.rotaries.iter().zip(&mut self.angles) {
            let frequencies = rotary.frequencies(longest(trie));
            angles.extend((0..trie.len()).flat_map(|node| frequencies.angles(trie.depth(node))));
        }
    }

    fn plant(&mut self, trie: &Trie) {
        let first = self.n_rows();
        let n_before = self.stretches.len();
        for segment in trie.segments() {
            let rows = first + segment.nodes.start..first + segment.nodes.end;
            let ancestors = segment.parent.map(|parent| self.stretches[n_before + parent].context.clone());
            let context = ancestors.into_iter().flatten().chain(rows.clone()).collect();
            self.stretches.push(Stretch { rows, context });
        }
        self.tokens.extend((0..trie.len()).map(|node| trie.token(node)));
        self.depths.extend((0..trie.len()).map(|node| trie.depth(node)));
    }
}

/// Refuses what the model cannot be given.
fn check(trie: &Trie, config: &ModelConfig) -> Result<()> {
    for node in 0..trie.len() {
        let id = trie.token(node);
        if id as usize >= config.vocab {
            return Err(Error::ForeignToken { id, vocab: config.vocab });
        }
    }
    match longest(trie) {
        n_tokens if n_tokens > config.context => Err(Error::TooLong { n_tokens, context: config.context }),
        _ => Ok(()),
    }
}

/// Tokens of the longest conversation of a tree.
fn longest(trie: &Trie) -> usize {
    (0..trie.len()).map(|node| trie.depth(node) + 1).max().unwrap_or(0)
}
