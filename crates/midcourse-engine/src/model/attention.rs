//! Attention over a tree: every row attends to its ancestors and itself, nothing else.
//!
//! The rows of a tree share its trunk, so their queries times the trunk's keys are one product, and so are
//! their weights times the trunk's values; the grown ancestors of each row are walked one by one. All sums run
//! in one order fixed by depth, in our own kernels: candle's product sums in an order that depends on the
//! number of rows where sums are long or results small. Keys that a row may not see weigh exactly 0, so that neither blocks nor
//! neighbours change a bit.

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use super::config::ModelConfig;
use super::decoder::Row;
use super::kernels::{LANES, add_scaled, dot, softmax, vectorised, with_values};
use super::product::{Matrix, Product, ROWS as QUERIES};
use crate::Result;
use crate::tree::{GrownHead, HeadKv, TokenTree};

/// Rows of one tree that one task takes.
const ROWS_PER_TASK: usize = 16;

/// Frequencies of the rotary embedding.
///
/// # Source
/// Su et al. 2021, in the half-split layout of transformers' `rotate_half`.
#[derive(Debug)]
pub(crate) struct Rotary {
    /// head_dim / 2 values.
    frequencies: Vec<f32>,
}

impl Rotary {
    pub(crate) fn new(head_dim: usize, base: f64) -> Self {
        let frequency = |i: usize| (1.0 / base.powf(2.0 * i as f64 / head_dim as f64)) as f32;
        Self { frequencies: (0..head_dim / 2).map(frequency).collect() }
    }

    /// Cosine and sine of every frequency at `position`.
    fn angles(&self, position: usize) -> impl Iterator<Item = (f32, f32)> {
        self.frequencies.iter().map(move |frequency| {
            let (sin, cos) = (position as f32 * frequency).sin_cos();
            (cos, sin)
        })
    }
}

/// Turns the two halves of `x` by `angles`, times `scale`.
#[inline(always)]
fn rotate(x: &[f32], angles: &[(f32, f32)], scale: f32, out: &mut [f32]) {
    let (low, high) = x.split_at(x.len() / 2);
    let (out_low, out_high) = out.split_at_mut(x.len() / 2);
    for (i, &(cos, sin)) in angles.iter().enumerate() {
        out_low[i] = (low[i] * cos - high[i] * sin) * scale;
        out_high[i] = (high[i] * cos + low[i] * sin) * scale;
    }
}

/// What the attention of all layers over the same rows has in common.
pub(crate) struct Attention<'a> {
    config: &'a ModelConfig,
    rows: &'a [Row],
    /// (T, head_dim / 2)
    angles: Vec<(f32, f32)>,
    tasks: Vec<Task>,
}

/// Some neighbouring rows of one tree, and what they attend to.
struct Task {
    rows: Range<usize>,
    /// Per row: trunk tokens seen.
    seen: Vec<usize>,
    /// Per row: grown ancestors and itself, by depth.
    grown: Vec<Vec<usize>>,
}

impl Task {
    fn new(rows: Range<usize>, of: &[Row], tree: &TokenTree) -> Self {
        let (seen, grown) = of[rows.clone()].iter().map(|row| tree.attended(row.node)).unzip();
        Self { rows, seen, grown }
    }
}

impl<'a> Attention<'a> {
    pub(crate) fn new(
        config: &'a ModelConfig,
        rotary: &Rotary,
        rows: &'a [Row],
        trees: &[&mut TokenTree],
    ) -> Self {
        let angles = rows.iter().flat_map(|row| rotary.angles(trees[row.tree].depth(row.node))).collect();
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
    pub(crate) fn forward(&self, layer: usize, qkv: &Tensor, trees: &mut [&mut TokenTree]) -> Result<Tensor> {
        let width = self.config.n_heads * self.config.head_dim;
        let mut out = vec![0f32; self.rows.len() * width];
        with_values(qkv, |qkv| {
            self.store(layer, qkv, trees);
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
                let mut block = Block::new(self, tree, task, layer);
                (0..self.config.n_kv_heads).for_each(|head| block.attend(head, qkv, out));
            });
        })?;
        Ok(Tensor::from_vec(out, (self.rows.len(), width), qkv.device())?)
    }

    fn qkv_width(&self) -> usize {
        (self.config.n_heads + 2 * self.config.n_kv_heads) * self.config.head_dim
    }

    fn angles(&self, row: usize) -> &[(f32, f32)] {
        let half = self.config.head_dim / 2;
        &self.angles[row * half..][..half]
    }

    fn store(&self, layer: usize, qkv: &[f32], trees: &mut [&mut TokenTree]) {
        let (dim, n_heads) = (self.config.head_dim, self.config.n_kv_heads);
        let mut keys = vec![0f32; dim];
        for (index, (row, qkv)) in self.rows.iter().zip(qkv.chunks_exact(self.qkv_width())).enumerate() {
            let tree = &mut *trees[row.tree];
            let node = (row.node, tree.trunk_len());
            let (k, v) = qkv[self.config.n_heads * dim..].split_at(n_heads * dim);
            for (head, (k, values)) in k.chunks_exact(dim).zip(v.chunks_exact(dim)).enumerate() {
                rotate(k, self.angles(index), 1.0, &mut keys);
                tree.cache.store(layer, node, HeadKv { head, n_heads, keys: &keys, values });
            }
        }
    }
}

/// One task in one layer, with the room to compute it.
struct Block<'a> {
    attention: &'a Attention<'a>,
    tree: &'a TokenTree,
    layer: usize,
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
    fn new(attention: &'a Attention<'a>, tree: &'a TokenTree, task: &'a Task, layer: usize) -> Self {
        let seen = task.seen.iter().copied().max().unwrap_or(0);
        let grown = task.grown.iter().map(Vec::len).max().unwrap_or(0);
        let trunk_width = seen.next_multiple_of(LANES);
        let stride = trunk_width + grown.next_multiple_of(LANES);
        let group = attention.config.n_heads / attention.config.n_kv_heads;
        let n_queries = (task.rows.len() * group).next_multiple_of(QUERIES);
        let head_stride = tree.cache.head_stride;
        Self {
            attention,
            tree,
            layer,
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
        self.attention.config.n_heads / self.attention.config.n_kv_heads
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
        let (dim, group) = (self.attention.config.head_dim, self.group());
        let width = self.attention.config.n_heads * dim;
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            for q in 0..group {
                let sums = &self.sums[(row * group + q) * self.tree.cache.head_stride..][..dim];
                out[(head * group + q) * dim..][..dim].copy_from_slice(sums);
            }
        }
    }

    /// Rotates the queries and scales them by 1/√`head_dim`.
    fn load_queries(&mut self, head: usize, qkv: &[f32]) {
        let (dim, group, width) = (self.attention.config.head_dim, self.group(), self.attention.qkv_width());
        let (stride, scale) = (self.tree.cache.head_stride, (dim as f32).sqrt().recip());
        for (i, row) in self.task.rows.clone().enumerate() {
            for q in 0..group {
                let query = &qkv[row * width + (head * group + q) * dim..][..dim];
                let out = &mut self.queries[(i * group + q) * stride..][..dim];
                rotate(query, self.attention.angles(row), scale, out);
            }
        }
    }

    /// Queries × trunk keys: one product for all rows.
    fn score_trunk(&mut self, head: usize) {
        let cache = &self.tree.cache;
        let keys = &cache.layers[self.layer].trunk_keys[head * cache.head_stride * cache.trunk_stride..];
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

    /// Each query × the keys of its row's grown ancestors; everything unseen becomes −∞.
    #[inline(always)]
    fn score_grown(&mut self, head: usize) {
        let (group, stride) = (self.group(), self.tree.cache.head_stride);
        let layer = &self.tree.cache.layers[self.layer];
        let n_heads = self.attention.config.n_kv_heads;
        for (row, (&seen, grown)) in self.task.seen.iter().zip(&self.task.grown).enumerate() {
            for q in row * group..(row + 1) * group {
                let query = &self.queries[q * stride..][..stride];
                let scores = &mut self.weights[q * self.stride..][..self.stride];
                scores[seen..].fill(f32::NEG_INFINITY);
                for (score, &node) in scores[self.trunk_width..].iter_mut().zip(grown) {
                    *score = dot(query, layer.grown_key(GrownHead { node, head, n_heads, stride }));
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
        let values = &self.tree.cache.layers[self.layer].trunk_values;
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
        let layer = &self.tree.cache.layers[self.layer];
        let n_heads = self.attention.config.n_kv_heads;
        for (row, grown) in self.task.grown.iter().enumerate() {
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
