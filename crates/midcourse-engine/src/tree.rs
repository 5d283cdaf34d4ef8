//! A tree of tokens with the keys and values of each: the trie of whole conversations.
//!
//! The trunk's keys lie transposed so that attention over it is one product for all rows; the nodes that grow
//! from it keep their keys one after the other. A node is added once: paths that sampled the same tokens stand
//! on the same node, and a path that sampled the trunk's own next token stands on the trunk. Nothing is copied
//! per path. This module lays out and remembers; computing is the decoder's.

use std::collections::BTreeMap;

use midcourse_core::engine::TokenId;

use crate::model::ModelConfig;
use crate::model::rotary::Frequencies;

/// Marks the parent of the root.
const NO_PARENT: u32 = u32::MAX;

/// Tokens, their parents, and what has been computed of them.
#[derive(Debug)]
pub(crate) struct TokenTree {
    tokens: Vec<TokenId>,
    parents: Vec<u32>,
    depths: Vec<u32>,
    children: BTreeMap<(u32, TokenId), u32>,
    trunk_len: usize,
    /// For every rotary embedding of the model.
    frequencies: Vec<Frequencies>,
    pub cache: KvCache,
    /// Normed hidden states, (nodes, D); those of nodes not yet computed are zero or missing.
    hidden: Vec<f32>,
    width: usize,
}

/// Keys and values of one tree.
#[derive(Debug)]
pub(crate) struct KvCache {
    pub layers: Vec<LayerCache>,
    /// Trunk tokens, rounded up to whole vectors.
    pub trunk_stride: usize,
    /// Width of a head, rounded up to whole vectors.
    pub head_stride: usize,
}

/// One layer of a [`KvCache`], for every key head in turn.
#[derive(Debug)]
pub(crate) struct LayerCache {
    /// Per head: (head_dim, trunk_stride), the trunk's keys transposed.
    pub trunk_keys: Vec<f32>,
    /// Per head: (trunk_len, head_stride).
    pub trunk_values: Vec<f32>,
    /// Per grown node: (heads, 2, head_stride), its keys and values.
    pub grown: Vec<f32>,
}

impl LayerCache {
    /// The keys of a grown node for one head.
    pub(crate) fn grown_key(&self, at: GrownHead) -> &[f32] {
        &self.grown[at.offset()..][..at.stride]
    }

    /// The values of a grown node for one head.
    pub(crate) fn grown_value(&self, at: GrownHead) -> &[f32] {
        &self.grown[at.offset() + at.stride..][..at.stride]
    }
}

/// Keys and values to [`KvCache::store`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadKv<'a> {
    pub head: usize,
    pub n_heads: usize,
    /// head_dim values, rotated.
    pub keys: &'a [f32],
    /// head_dim values.
    pub values: &'a [f32],
}

/// One head of one grown node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GrownHead {
    /// The node, counted from the end of the trunk.
    pub node: usize,
    pub head: usize,
    pub n_heads: usize,
    pub stride: usize,
}

impl GrownHead {
    fn offset(self) -> usize {
        (self.node * self.n_heads + self.head) * 2 * self.stride
    }
}

impl TokenTree {
    /// A tree with its trunk laid out and nothing computed, and room for `n_grown` more nodes, none deeper than
    /// `longest` tokens.
    pub(crate) fn new(config: &ModelConfig, trunk: &[TokenId], (n_grown, longest): (usize, usize)) -> Self {
        let n = trunk.len();
        let link = |i: usize| if i == 0 { NO_PARENT } else { i as u32 - 1 };
        Self {
            tokens: trunk.to_vec(),
            parents: (0..n).map(link).collect(),
            depths: (0..n as u32).collect(),
            children: (1..n).map(|i| ((i as u32 - 1, trunk[i]), i as u32)).collect(),
            trunk_len: n,
            cache: KvCache::new(config, n, n_grown),
            frequencies: config.rotaries.iter().map(|rotary| rotary.frequencies(longest)).collect(),
            hidden: Vec::with_capacity((n + n_grown) * config.width),
            width: config.width,
        }
    }

    /// The child of `parent` with `token`; the flag says whether it is new and has to be computed.
    pub(crate) fn child(&mut self, parent: usize, token: TokenId) -> (usize, Novelty) {
        let fresh = self.tokens.len() as u32;
        let node = *self.children.entry((parent as u32, token)).or_insert(fresh);
        if node != fresh {
            return (node as usize, Novelty::Known);
        }
        self.tokens.push(token);
        self.parents.push(parent as u32);
        self.depths.push(self.depths[parent] + 1);
        (node as usize, Novelty::New)
    }

    /// Cuts off everything that has grown; the trunk stays as it was computed.
    pub(crate) fn prune(&mut self) {
        let n = self.trunk_len;
        self.tokens.truncate(n);
        self.parents.truncate(n);
        self.depths.truncate(n);
        self.children.retain(|_, child| (*child as usize) < n);
        self.hidden.truncate(n * self.width);
        self.cache.layers.iter_mut().for_each(|layer| layer.grown.clear());
    }

    pub(crate) fn token(&self, node: usize) -> TokenId {
        self.tokens[node]
    }

    /// Number of ancestors, which is also the token's position.
    pub(crate) fn depth(&self, node: usize) -> usize {
        self.depths[node] as usize
    }

    /// Cosines and sines of a rotary embedding of the model at a node.
    pub(crate) fn angles(&self, rotary: usize, node: usize) -> impl Iterator<Item = (f32, f32)> {
        self.frequencies[rotary].angles(self.depth(node))
    }

    pub(crate) fn trunk_len(&self) -> usize {
        self.trunk_len
    }

    /// The normed hidden state of a computed node.
    pub(crate) fn hidden(&self, node: usize) -> &[f32] {
        &self.hidden[node * self.width..][..self.width]
    }

    /// Keeps the hidden state of a node that has just been computed.
    pub(crate) fn keep_hidden(&mut self, node: usize, hidden: &[f32]) {
        let needed = self.tokens.len() * self.width;
        self.hidden.resize(needed.max(self.hidden.len()), 0.0);
        self.hidden[node * self.width..][..self.width].copy_from_slice(hidden);
    }

    /// What `node` attends to: the number of trunk tokens, and its grown ancestors and itself by depth, counted
    /// from the end of the trunk.
    pub(crate) fn attended(&self, node: usize) -> (usize, Vec<usize>) {
        let mut grown = Vec::new();
        let mut node = node;
        while node >= self.trunk_len {
            grown.push(node - self.trunk_len);
            node = self.parents[node] as usize;
        }
        grown.reverse();
        (node + 1, grown)
    }
}

/// Whether a node was added just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    Known,
}

impl KvCache {
    /// Writes keys and values of one head of one node.
    pub(crate) fn store(&mut self, layer: usize, (tree_node, trunk_len): (usize, usize), kv: HeadKv<'_>) {
        let (trunk_stride, stride) = (self.trunk_stride, self.head_stride);
        let layer = &mut self.layers[layer];
        if tree_node < trunk_len {
            let keys = &mut layer.trunk_keys[kv.head * stride * trunk_stride..];
            for (d, &key) in kv.keys.iter().enumerate() {
                keys[d * trunk_stride + tree_node] = key;
            }
            let at = (kv.head * trunk_len + tree_node) * stride;
            layer.trunk_values[at..][..kv.values.len()].copy_from_slice(kv.values);
            return;
        }
        let at = GrownHead { node: tree_node - trunk_len, head: kv.head, n_heads: kv.n_heads, stride };
        let end = (at.node + 1) * kv.n_heads * 2 * stride;
        layer.grown.resize(end.max(layer.grown.len()), 0.0);
        layer.grown[at.offset()..][..kv.keys.len()].copy_from_slice(kv.keys);
        layer.grown[at.offset() + stride..][..kv.values.len()].copy_from_slice(kv.values);
    }

    fn new(config: &ModelConfig, trunk_len: usize, n_grown: usize) -> Self {
        let trunk_stride = trunk_len.next_multiple_of(crate::model::LANES);
        let head_stride = config.head_dim.next_multiple_of(crate::model::LANES);
        let layer = |_| LayerCache {
            trunk_keys: vec![0.0; config.n_kv_heads * head_stride * trunk_stride],
            trunk_values: vec![0.0; config.n_kv_heads * trunk_len * head_stride],
            // Pages are taken as they are written to, not here.
            grown: Vec::with_capacity(n_grown * config.n_kv_heads * 2 * head_stride),
        };
        let layers = config.layers.iter().map(layer).collect();
        Self { layers, trunk_stride, head_stride }
    }
}
