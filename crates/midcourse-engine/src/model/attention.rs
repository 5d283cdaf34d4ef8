//! Attention over a tree: every row attends to its ancestors and itself, nothing else.
//!
//! The rows of a tree share its trunk, so their queries times the trunk's keys are one product, and so are
//! their weights times the trunk's values; the grown ancestors of each row are walked one by one. Every sum
//! runs in one order, fixed by depth and by what stands on the trunk, in our own kernels: candle's product sums
//! in an order that depends on the number of rows where sums are long or results small. Keys that a row may not
//! see weigh exactly 0, so that neither blocks nor neighbours change a bit.

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use super::config::{LayerConfig, MAX_HEAD_DIM, ModelConfig};
use super::decoder::Row;
use super::kernels::{LANES, add_scaled, cap_values, dot, norm_row, softmax, vectorised, with_values};
use super::loader::QkNorm;
use super::product::{Matrix, Product, ROWS as QUERIES};
use super::rotary::rotate;
use crate::Result;
use crate::tree::{GrownHead, HeadKv, TokenTree};

/// Rows of one tree that one task takes.
const ROWS_PER_TASK: usize = 16;

/// What the attention of all layers over the same rows has in common.
pub(crate) struct Attention<'a> {
    config: &'a ModelConfig,
    rows: &'a [Row],
    /// For every rotary embedding of the model, (T, pairs).
    angles: Vec<Vec<(f32, f32)>>,
    tasks: Vec<Task>,
}

/// A layer of it.
#[derive(Clone, Copy)]
struct Layer<'a> {
    attention: &'a Attention<'a>,
    index: usize,
    qk_norm: Option<&'a QkNorm>,
}

/// Some neighbouring rows of one tree, and what they attend to.
struct Task {
    rows: Range<usize>,
    /// Per row: trunk tokens among its ancestors and itself.
    seen: Vec<usize>,
    /// Per row: grown ancestors and itself, by depth.
    grown: Vec<Vec<usize>>,
}

impl Task {
    fn new(rows: Range<usize>, of: &[Row], tree: &TokenTree) -> Self {
        let (seen, grown) = of[rows.clone()].iter().map(|row| tree.attended(row.node)).unzip();
        Self { rows, seen, grown }
    }

    /// Per row: the trunk tokens and the grown ancestors that lie within a window.
    fn visible(&self, window: Option<usize>) -> impl Iterator<Item = (Range<usize>, &[usize])> {
        self.seen.iter().zip(&self.grown).map(move |(&seen, grown)| {
            // Depth, not layout, is what a window counts: the grown ancestors follow on the trunk tokens.
            let first = window.map_or(0, |window| (seen + grown.len()).saturating_sub(window));
            (first.min(seen)..seen, &grown[first.saturating_sub(seen)..])
        })
    }
}

impl<'a> Attention<'a> {
    pub(crate) fn new(config: &'a ModelConfig, rows: &'a [Row], trees: &[&mut TokenTree]) -> Self {
        let angles = |rotary: usize| {
            let angles = rows.iter().flat_map(|row| trees[row.tree].angles(rotary, row.node));
            angles.collect()
        };
        let angles = (0..config.rotaries.len()).map(angles).collect();
        let mut tasks = Vec::new();
        let mut start = 0;
        for tree_rows in rows.chunk_by(|a, b| a.tree == b.tree) {
            let end = start + tree_rows.len();
            let tree = &*trees[tree_rows[0].tree];
            let starts = (start..end).step_by(ROWS_PER_TASK);
            tasks.extend(starts.map(|at| Task::new(at..end.min(at + ROWS_PER_TASK), rows, tree)));
            start = end;
        }
        Self { config, rows, angles, tasks }
    }

    /// Keeps the rows' keys and values in their trees and attends.
    ///
    /// # Shapes
    /// `qkv` (T, (H + 2·kv heads) · head_dim), result (T, H · head_dim).
    pub(crate) fn forward(
        &self,
        index: usize,
        qkv: &Tensor,
        qk_norm: Option<&QkNorm>,
        trees: &mut [&mut TokenTree],
    ) -> Result<Tensor> {
        let layer = Layer { attention: self, index, qk_norm };
        let width = self.config.n_heads * self.config.head_dim;
        let mut out = vec![0f32; self.rows.len() * width];
        with_values(qkv, |qkv| {
            layer.store(qkv, trees);
            let trees: &[&mut TokenTree] = trees;
            let mut rest = out.as_mut_slice();
            let mut tasks = Vec::with_capacity(self.tasks.len());
            for task in &self.tasks {
                let (out, later) = std::mem::take(&mut rest).split_at_mut(task.rows.len() * width);
                tasks.push((task, out));
                rest = later;
            }
            tasks.into_par_iter().for_each(|(task, out)| {
                let tree = &*trees[self.rows[task.rows.start].tree];
                let mut block = Block::new(layer, tree, task);
                (0..self.config.n_kv_heads).for_each(|head| block.attend(head, qkv, out));
            });
        })?;
        Ok(Tensor::from_vec(out, (self.rows.len(), width), qkv.device())?)
    }

    fn qkv_width(&self) -> usize {
        (self.config.n_heads + 2 * self.config.n_kv_heads) * self.config.head_dim
    }
}

impl<'a> Layer<'a> {
    fn config(&self) -> &'a LayerConfig {
        &self.attention.config.layers[self.index]
    }

    /// Cosines and sines for a row; none where the layer has no rotary embedding.
    fn angles(&self, row: usize) -> &'a [(f32, f32)] {
        let Some(rotary) = self.config().rotary else { return &[] };
        let n_pairs = self.attention.config.rotaries[rotary].dims / 2;
        &self.attention.angles[rotary][row * n_pairs..][..n_pairs]
    }

    /// Norms a head of queries or keys where the model does, and rotates it.
    fn rotate(&self, x: &[f32], norm: Option<&[f32]>, (row, scale): (usize, f32), out: &mut [f32]) {
        let mut normed = [0f32; MAX_HEAD_DIM];
        let x = match norm {
            Some(norm) => {
                let normed = &mut normed[..x.len()];
                norm_row(x, norm, self.attention.config.norm_eps as f32, normed);
                &*normed
            }
            None => x,
        };
        rotate(x, self.angles(row), scale, out);
    }

    fn store(&self, qkv: &[f32], trees: &mut [&mut TokenTree]) {
        let config = self.attention.config;
        let (dim, n_heads) = (config.head_dim, config.n_kv_heads);
        let norm = self.qk_norm.map(|norm| norm.key.as_slice());
        let mut keys = vec![0f32; dim];
        let rows = self.attention.rows.iter().zip(qkv.chunks_exact(self.attention.qkv_width()));
        for (index, (row, qkv)) in rows.enumerate() {
            let tree = &mut *trees[row.tree];
            let node = (row.node, tree.trunk_len());
            let (k, v) = qkv[config.n_heads * dim..].split_at(n_heads * dim);
            for (head, (k, values)) in k.chunks_exact(dim).zip(v.chunks_exact(dim)).enumerate() {
                self.rotate(k, norm, (index, 1.0), &mut keys);
                tree.cache.store(self.index, node, HeadKv { head, n_heads, keys: &keys, values });
            }
        }
    }
}

/// One task in one layer, with the room to compute it.
struct Block<'a> {
    layer: Layer<'a>,
    config: &'a ModelConfig,
    tree: &'a TokenTree,
    task: &'a Task,
    /// Trunk tokens that any row sees, in whole vectors.
    trunk_width: usize,
    /// Width of a row of `weights`: trunk and grown part, in whole vectors.
    stride: usize,
    /// (queries, head_stride)
    queries: Vec<f32>,
    /// (queries, stride): scores, then weights.
    weights: Vec<f32>,
    /// (queries, head_stride)
    sums: Vec<f32>,
    product: Product,
}

impl<'a> Block<'a> {
    fn new(layer: Layer<'a>, tree: &'a TokenTree, task: &'a Task) -> Self {
        let config = layer.attention.config;
        let seen = task.seen.iter().copied().max().unwrap_or(0);
        let grown = task.grown.iter().map(Vec::len).max().unwrap_or(0);
        let trunk_width = seen.next_multiple_of(LANES);
        let stride = trunk_width + grown.next_multiple_of(LANES);
        let group = config.n_heads / config.n_kv_heads;
        let n_queries = (task.rows.len() * group).next_multiple_of(QUERIES);
        let head_stride = tree.cache.head_stride;
        Self {
            layer,
            config,
            tree,
            task,
            trunk_width,
            stride,
            queries: vec![0.0; n_queries * head_stride],
            weights: vec![0.0; n_queries * stride],
            sums: vec![0.0; n_queries * head_stride],
            product: Product::default(),
        }
    }

    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.config.n_heads / self.config.n_kv_heads
    }

    /// Attends with all query heads of one key head; writes their columns of `out` (rows, H · head_dim).
    fn attend(&mut self, head: usize, qkv: &[f32], out: &mut [f32]) {
        self.load_queries(head, qkv);
        self.score_trunk(head);
        vectorised(
            #[inline(always)]
            || {
                self.score_grown(head);
                self.softmax();
            },
        );
        self.sum_trunk(head);
        vectorised(
            #[inline(always)]
            || self.sum_grown(head),
        );
        let (dim, group) = (self.config.head_dim, self.group());
        let width = self.config.n_heads * dim;
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            for q in 0..group {
                let sums = &self.sums[(row * group + q) * self.tree.cache.head_stride..][..dim];
                out[(head * group + q) * dim..][..dim].copy_from_slice(sums);
            }
        }
    }

    /// Norms, rotates and scales the queries.
    fn load_queries(&mut self, head: usize, qkv: &[f32]) {
        let (dim, group, width) = (self.config.head_dim, self.group(), self.layer.attention.qkv_width());
        let (stride, scale) = (self.tree.cache.head_stride, self.config.score_scale);
        let norm = self.layer.qk_norm.map(|norm| norm.query.as_slice());
        for (i, row) in self.task.rows.clone().enumerate() {
            for q in 0..group {
                let query = &qkv[row * width + (head * group + q) * dim..][..dim];
                let out = &mut self.queries[(i * group + q) * stride..][..dim];
                self.layer.rotate(query, norm, (row, scale), out);
            }
        }
    }

    /// Queries × trunk keys: one product for all rows.
    fn score_trunk(&mut self, head: usize) {
        let cache = &self.tree.cache;
        let keys =
            &cache.layers[self.layer.index].trunk_keys[head * cache.head_stride * cache.trunk_stride..];
        let keys = &keys[..cache.head_stride * cache.trunk_stride];
        let blocks = self.queries.chunks_exact(QUERIES * cache.head_stride);
        for (queries, scores) in blocks.zip(self.weights.chunks_exact_mut(QUERIES * self.stride)) {
            let right = Matrix { values: keys, stride: cache.trunk_stride };
            self.product.run(
                Matrix { values: queries, stride: cache.head_stride },
                right,
                scores,
                self.trunk_width,
            );
        }
    }

    /// Each query × the keys of its row's grown ancestors; scores are capped where the model does, and everything
    /// unseen becomes −∞.
    #[inline(always)]
    fn score_grown(&mut self, head: usize) {
        let (group, stride) = (self.group(), self.tree.cache.head_stride);
        let (window, cap) = (self.layer.config().window, self.config.score_cap);
        let layer = &self.tree.cache.layers[self.layer.index];
        let n_heads = self.config.n_kv_heads;
        for (row, (seen, grown)) in self.task.visible(window).enumerate() {
            for q in row * group..(row + 1) * group {
                let query = &self.queries[q * stride..][..stride];
                let scores = &mut self.weights[q * self.stride..][..self.stride];
                scores[..seen.start].fill(f32::NEG_INFINITY);
                scores[seen.end..].fill(f32::NEG_INFINITY);
                for (score, &node) in scores[self.trunk_width..].iter_mut().zip(grown) {
                    *score = dot(query, layer.grown_key(GrownHead { node, head, n_heads, stride }));
                }
                if let Some(cap) = cap {
                    cap_values(&mut scores[seen.clone()], cap);
                    cap_values(&mut scores[self.trunk_width..][..grown.len()], cap);
                }
            }
        }
    }

    /// Scores become weights that add up to 1 in each row.
    #[inline(always)]
    fn softmax(&mut self) {
        let n_queries = self.task.rows.len() * self.group();
        // A loop, not `for_each`: passed as a function, the kernel would be compiled without its vectors.
        for scores in self.weights.chunks_exact_mut(self.stride).take(n_queries) {
            softmax(scores);
        }
    }

    /// Weights × trunk values: one product for all rows.
    fn sum_trunk(&mut self, head: usize) {
        let stride = self.tree.cache.head_stride;
        let values = &self.tree.cache.layers[self.layer.index].trunk_values;
        let values = &values[head * self.tree.trunk_len() * stride..];
        let seen_by_any = self.task.seen.iter().copied().max().unwrap_or(0);
        let values = &values[..seen_by_any * stride];
        let blocks = self.weights.chunks_exact(QUERIES * self.stride);
        for (weights, out) in blocks.zip(self.sums.chunks_exact_mut(QUERIES * stride)) {
            let right = Matrix { values, stride };
            self.product.run(Matrix { values: weights, stride: self.stride }, right, out, stride);
        }
    }

    /// Adds each row's grown ancestors, by depth.
    #[inline(always)]
    fn sum_grown(&mut self, head: usize) {
        let (group, stride) = (self.group(), self.tree.cache.head_stride);
        let layer = &self.tree.cache.layers[self.layer.index];
        let n_heads = self.config.n_kv_heads;
        for (row, (_, grown)) in self.task.visible(self.layer.config().window).enumerate() {
            for q in row * group..(row + 1) * group {
                let weights = &self.weights[q * self.stride + self.trunk_width..];
                let sums = &mut self.sums[q * stride..][..stride];
                for (&weight, &node) in weights.iter().zip(grown) {
                    let values = layer.grown_value(GrownHead { node, head, n_heads, stride });
                    add_scaled(sums, weight, values);
                }
            }
        }
    }
}
