//! Attention over trees, and its gradient: a stretch of rows attends to its ancestors and itself.
//!
//! A stretch of neighbouring rows sees the same ancestors, so its queries of all heads that share a key head are one
//! product with the keys gathered along the way to the root. A column of that product is a depth: causality and windows
//! are ranges of columns. Weights are kept for the gradient; nothing else of size (rows × context) is.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::layout::{Layout, Stretch};
use super::norm::RmsNorm;
use super::real::{Real, dot, exponentiate, largest, lend, lend_both};
use super::rows::{gather, rows};
use crate::Result;
use crate::model::{ModelConfig, vectorised};

/// The attention of one layer.
#[derive(Debug)]
pub(super) struct Attention<T> {
    pub index: usize,
    /// Norms of the heads of queries and keys.
    pub norms: Option<(RmsNorm<T>, RmsNorm<T>)>,
}

/// What is kept for the gradient.
#[derive(Debug)]
pub(super) struct Attended {
    /// Of every key head: (T · queries of it, `head_dim`), normed, rotated, scaled.
    queries: Vec<Tensor>,
    /// Of every key head: (T, `head_dim`), normed and rotated.
    keys: Vec<Tensor>,
    /// Of every key head: (T, `head_dim`).
    values: Vec<Tensor>,
    /// Of every key head and stretch: (rows · queries of it, context).
    weights: Vec<Tensor>,
    /// (T, (H + 2·kv heads) · `head_dim`); kept where heads are normed.
    raw: Option<Tensor>,
}

/// The shape of the heads, and the rows.
struct Heads<'a> {
    config: &'a ModelConfig,
    layout: &'a Layout,
    dim: usize,
    group: usize,
    width: usize,
}

/// One stretch and one key head.
struct Task<'a> {
    head: usize,
    stretch: &'a Stretch,
}

impl<'a> Heads<'a> {
    fn new(config: &'a ModelConfig, layout: &'a Layout) -> Self {
        let (dim, group) = (config.head_dim, config.n_heads / config.n_kv_heads);
        Self { config, layout, dim, group, width: (config.n_heads + 2 * config.n_kv_heads) * dim }
    }

    fn tasks(&self) -> impl Iterator<Item = Task<'a>> {
        let stretches = &self.layout.stretches;
        (0..self.config.n_kv_heads)
            .flat_map(move |head| stretches.iter().map(move |stretch| Task { head, stretch }))
    }

    /// Where the heads of queries that share a key head begin in a row of q, k and v; then that key head, its values.
    fn places(&self, head: usize) -> [usize; 3] {
        let (queries, keys) = (self.config.n_heads, self.config.n_kv_heads);
        [head * self.group, queries + head, queries + keys + head].map(|place| place * self.dim)
    }

    /// The queries of a task.
    fn queries(&self, queries: &[Tensor], task: &Task<'_>) -> Result<Tensor> {
        let rows = &task.stretch.rows;
        Ok(queries[task.head].narrow(0, rows.start * self.group, rows.len() * self.group)?)
    }
}

impl<T: Real> Attention<T> {
    /// # Shapes
    /// `qkv` (T, (H + 2·kv heads) · `head_dim`), result (T, H · `head_dim`).
    pub(super) fn forward(
        &self,
        qkv: &Tensor,
        config: &ModelConfig,
        layout: &Layout,
    ) -> Result<(Tensor, Attended)> {
        let heads = Heads::new(config, layout);
        let per_head = |f: &(dyn Fn(usize) -> Result<Tensor> + Sync)| -> Result<Vec<Tensor>> {
            (0..config.n_kv_heads).into_par_iter().map(f).collect()
        };
        let norms = self.norms.as_ref();
        let queries = per_head(&|head| {
            let turn = Turning {
                attention: self,
                heads: &heads,
                norm: norms.map(|n| &n.0),
                scale: T::from_f32(config.score_scale),
            };
            let [queries, ..] = heads.places(head);
            Ok(turn
                .forward(qkv, queries, heads.group)?
                .reshape((layout.n_rows() * heads.group, heads.dim))?)
        })?;
        let keys = per_head(&|head| {
            let turn = Turning { attention: self, heads: &heads, norm: norms.map(|n| &n.1), scale: T::one() };
            turn.forward(qkv, heads.places(head)[1], 1)
        })?;
        let values = per_head(&|head| copy::<T>(qkv, heads.places(head)[2], heads.dim))?;
        let tasks: Vec<Task<'_>> = heads.tasks().collect();
        let attend = |task: &Task<'_>| -> Result<(Tensor, Tensor)> {
            let [keys, values] =
                [&keys, &values].map(|of| gather::<T>(&of[task.head], &task.stretch.context));
            let queries = heads.queries(&queries, task)?;
            let weights = self.weigh(&queries.matmul(&keys?.t()?)?, task, &heads)?;
            Ok((weights.matmul(&values?)?, weights))
        };
        let attended = tasks.par_iter().map(attend).collect::<Result<Vec<_>>>()?;
        let (sums, weights): (Vec<_>, Vec<_>) = attended.into_iter().unzip();
        let out = join::<T>(&heads, &tasks, &sums)?;
        let raw = self.norms.is_some().then(|| qkv.clone());
        Ok((out, Attended { queries, keys, values, weights, raw }))
    }

    /// The columns that a row sees.
    fn seen(&self, depth: usize, config: &ModelConfig) -> std::ops::Range<usize> {
        let window = config.layers[self.index].window.unwrap_or(usize::MAX);
        (depth + 1).saturating_sub(window)..depth + 1
    }

    /// Scores to weights that add up to 1 in every row; what is not seen weighs 0.
    fn weigh(&self, scores: &Tensor, task: &Task<'_>, heads: &Heads<'_>) -> Result<Tensor> {
        let (n_rows, width) = scores.dims2()?;
        let first = heads.layout.depths[task.stretch.rows.start];
        lend::<T, _>(scores, |scores| {
            rows::<T>(
                n_rows,
                width,
                #[inline(always)]
                |row, out| {
                    let seen = self.seen(first + row / heads.group, heads.config);
                    let out = &mut out[seen.clone()];
                    out.copy_from_slice(&scores[row * width..][seen]);
                    if let Some(cap) = heads.config.score_cap {
                        cap_all(out, cap);
                    }
                    let most = largest(out);
                    let sum = exponentiate(out, most);
                    scale_all(out, T::one() / sum);
                },
            )
        })?
    }

    /// The gradient for q, k and v before they are normed and rotated.
    ///
    /// # Shapes
    /// `dy` (T, H · `head_dim`), result (T, (H + 2·kv heads) · `head_dim`).
    pub(super) fn backward(
        &self,
        dy: &Tensor,
        kept: &Attended,
        config: &ModelConfig,
        layout: &Layout,
    ) -> Result<Tensor> {
        let heads = Heads::new(config, layout);
        let tasks: Vec<Task<'_>> = heads.tasks().collect();
        let back = |(task, weights): (&Task<'_>, &Tensor)| -> Result<[Tensor; 3]> {
            let [keys, values] =
                [&kept.keys, &kept.values].map(|of| gather::<T>(&of[task.head], &task.stretch.context));
            let (keys, values) = (keys?, values?);
            let queries = heads.queries(&kept.queries, task)?;
            let dy = part::<T>(dy, task, &heads)?; // (rows, dim)
            let d_values = weights.t()?.matmul(&dy)?; // (context, dim)
            let d_weights = dy.matmul(&values.t()?)?; // (rows, context)
            let mut d_scores = unweigh::<T>(weights, &d_weights)?;
            if let Some(cap) = config.score_cap {
                d_scores = uncap::<T>(&d_scores, &queries.matmul(&keys.t()?)?, cap)?;
            }
            Ok([d_scores.matmul(&keys)?, d_scores.t()?.matmul(&queries)?, d_values])
        };
        let gradients = tasks.par_iter().zip(&kept.weights).map(back).collect::<Result<Vec<_>>>()?;
        let mut out = vec![T::zero(); layout.n_rows() * heads.width];
        for (task, gradient) in tasks.iter().zip(&gradients) {
            scatter(&mut out, task, gradient, &heads)?;
        }
        let out = Tensor::from_vec(out, (layout.n_rows(), heads.width), &Device::Cpu)?;
        self.unturn(&out, kept.raw.as_ref(), &heads)
    }

    /// The gradient before rotation, scale and norm of queries and keys.
    fn unturn(&self, dy: &Tensor, raw: Option<&Tensor>, heads: &Heads<'_>) -> Result<Tensor> {
        let width = heads.width;
        let raw = raw.map(|raw| lend::<T, _>(raw, <[T]>::to_vec)).transpose()?;
        lend::<T, _>(dy, |dy| {
            rows::<T>(heads.layout.n_rows(), width, |row, out| {
                out.copy_from_slice(&dy[row * width..][..width]);
                self.unturn_row(row, raw.as_ref().map(|raw| &raw[row * width..][..width]), (heads, out));
            })
        })?
    }

    fn unturn_row(&self, row: usize, raw: Option<&[T]>, (heads, out): (&Heads<'_>, &mut [T])) {
        let config = heads.config;
        let angles = self.angles(row, heads);
        let norms = self.norms.as_ref();
        let of_query = (norms.map(|norms| &norms.0), T::from_f32(config.score_scale));
        let of_key = (norms.map(|norms| &norms.1), T::one());
        let turned = out.chunks_exact_mut(heads.dim).take(config.n_heads + config.n_kv_heads);
        for (head, out) in turned.enumerate() {
            let (norm, scale) = if head < config.n_heads { of_query } else { of_key };
            turn_back(out, angles, scale);
            let Some((norm, raw)) = norm.zip(raw) else { continue };
            let turned = out.to_vec();
            out.fill(T::zero());
            norm.row_backward(&raw[head * heads.dim..][..heads.dim], &turned, out);
        }
    }

    /// Cosines and sines of a row; none where the layer has no rotary embedding.
    fn angles<'h>(&self, row: usize, heads: &Heads<'h>) -> &'h [(f32, f32)] {
        let Some(rotary) = heads.config.layers[self.index].rotary else { return &[] };
        let n_pairs = heads.config.rotaries[rotary].dims / 2;
        &heads.layout.angles[rotary][row * n_pairs..][..n_pairs]
    }
}

/// Norm, rotation and scale of heads.
struct Turning<'a, 'h, T> {
    attention: &'a Attention<T>,
    heads: &'a Heads<'h>,
    norm: Option<&'a RmsNorm<T>>,
    scale: T,
}

impl<T: Real> Turning<'_, '_, T> {
    /// `n` neighbouring heads from column `from` on.
    ///
    /// # Shapes
    /// Result (T, n · `head_dim`).
    fn forward(&self, qkv: &Tensor, from: usize, n: usize) -> Result<Tensor> {
        let (dim, width) = (self.heads.dim, self.heads.width);
        lend::<T, _>(qkv, |qkv| {
            rows::<T>(
                self.heads.layout.n_rows(),
                n * dim,
                #[inline(always)]
                |row, out| {
                    let angles = self.attention.angles(row, self.heads);
                    let x = &qkv[row * width + from..][..n * dim];
                    for (x, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
                        match self.norm {
                            Some(norm) => norm.row(x, out),
                            None => out.copy_from_slice(x),
                        }
                        turn(out, angles, self.scale);
                    }
                },
            )
        })?
    }
}

/// Turns the first `2 · angles` values of a head, a half against the other, and scales all of them.
#[inline(always)]
fn turn<T: Real>(x: &mut [T], angles: &[(f32, f32)], scale: T) {
    rotate(x, angles, (scale, T::one()));
}

/// The gradient of [`turn`]: the same turn the other way.
#[inline(always)]
fn turn_back<T: Real>(x: &mut [T], angles: &[(f32, f32)], scale: T) {
    rotate(x, angles, (scale, -T::one()));
}

#[inline(always)]
fn rotate<T: Real>(x: &mut [T], angles: &[(f32, f32)], (scale, sense): (T, T)) {
    let half = angles.len();
    let (turned, rest) = x.split_at_mut(2 * half);
    let (low, high) = turned.split_at_mut(half);
    for ((low, high), &(cos, sin)) in low.iter_mut().zip(high).zip(angles) {
        let (cos, sin) = (T::from_f32(cos), sense * T::from_f32(sin));
        let (x, y) = (*low, *high);
        *low = (x * cos - y * sin) * scale;
        *high = (y * cos + x * sin) * scale;
    }
    scale_all(rest, scale);
}

#[inline(always)]
fn scale_all<T: Real>(values: &mut [T], by: T) {
    for value in values {
        *value *= by;
    }
}

#[inline(always)]
fn cap_all<T: Real>(values: &mut [T], cap: f32) {
    for value in values {
        *value = capped(*value, cap).0;
    }
}

/// c · tanh(x / c) and its derivative.
#[inline(always)]
pub(super) fn capped<T: Real>(x: T, cap: f32) -> (T, T) {
    let cap = T::from_f32(cap);
    let two = T::of(2.0);
    let tanh = two / (T::one() + (-two * x / cap).exp()) - T::one();
    (cap * tanh, T::one() - tanh * tanh)
}

/// Some columns of a matrix.
fn copy<T: Real>(x: &Tensor, from: usize, n: usize) -> Result<Tensor> {
    let (n_rows, width) = x.dims2()?;
    lend::<T, _>(x, |x| rows::<T>(n_rows, n, |row, out| out.copy_from_slice(&x[row * width + from..][..n])))?
}

/// What the tasks have summed, back in rows: (T, H · `head_dim`).
fn join<T: Real>(heads: &Heads<'_>, tasks: &[Task<'_>], sums: &[Tensor]) -> Result<Tensor> {
    let width = heads.config.n_heads * heads.dim;
    let share = heads.group * heads.dim;
    let mut out = vec![T::zero(); heads.layout.n_rows() * width];
    for (task, sums) in tasks.iter().zip(sums) {
        lend::<T, _>(sums, |sums| {
            for (row, sums) in task.stretch.rows.clone().zip(sums.chunks_exact(share)) {
                out[row * width + task.head * share..][..share].copy_from_slice(sums);
            }
        })?;
    }
    Ok(Tensor::from_vec(out, (heads.layout.n_rows(), width), &Device::Cpu)?)
}

/// The opposite of [`join`] for one task: (rows · queries of a key head, `head_dim`).
fn part<T: Real>(dy: &Tensor, task: &Task<'_>, heads: &Heads<'_>) -> Result<Tensor> {
    let width = heads.config.n_heads * heads.dim;
    let share = heads.group * heads.dim;
    let first = task.stretch.rows.start;
    let n_rows = task.stretch.rows.len();
    let part = lend::<T, _>(dy, |dy| {
        rows::<T>(n_rows, share, |row, out| {
            out.copy_from_slice(&dy[(first + row) * width + task.head * share..][..share]);
        })
    })??;
    Ok(part.reshape((n_rows * heads.group, heads.dim))?)
}

/// The gradient of the softmax: w ⊙ (dw − Σ w ⊙ dw).
fn unweigh<T: Real>(weights: &Tensor, d_weights: &Tensor) -> Result<Tensor> {
    let (n_rows, width) = weights.dims2()?;
    lend_both::<T, _>(weights, d_weights, |weights, d_weights| {
        rows::<T>(
            n_rows,
            width,
            #[inline(always)]
            |row, out| {
                let (weights, d_weights) =
                    (&weights[row * width..][..width], &d_weights[row * width..][..width]);
                let mean = dot(weights, d_weights);
                for ((out, &weight), &d_weight) in out.iter_mut().zip(weights).zip(d_weights) {
                    *out = weight * (d_weight - mean);
                }
            },
        )
    })?
}

/// The gradient before the cap of the scores.
fn uncap<T: Real>(d_scores: &Tensor, scores: &Tensor, cap: f32) -> Result<Tensor> {
    let (n_rows, width) = scores.dims2()?;
    lend_both::<T, _>(d_scores, scores, |d_scores, scores| {
        rows::<T>(n_rows, width, |row, out| {
            for (i, out) in out.iter_mut().enumerate() {
                *out = d_scores[row * width + i] * capped(scores[row * width + i], cap).1;
            }
        })
    })?
}

/// Adds the gradients of a task's queries, and of the keys and values of all its ancestors, to rows of q, k and v.
fn scatter<T: Real>(
    out: &mut [T],
    task: &Task<'_>,
    [queries, keys, values]: &[Tensor; 3],
    heads: &Heads<'_>,
) -> Result<()> {
    let (dim, share) = (heads.dim, heads.group * heads.dim);
    let [at_queries, at_keys, at_values] = heads.places(task.head);
    let mut add = |(row, at): (usize, usize), values: &[T]| {
        let out = &mut out[row * heads.width + at..][..values.len()];
        vectorised(
            #[inline(always)]
            || out.iter_mut().zip(values).for_each(|(out, &value)| *out += value),
        );
    };
    lend::<T, _>(queries, |queries| {
        let rows = task.stretch.rows.clone().zip(queries.chunks_exact(share));
        rows.for_each(|(row, queries)| add((row, at_queries), queries));
    })?;
    for (tensor, at) in [(keys, at_keys), (values, at_values)] {
        lend::<T, _>(tensor, |values| {
            let rows = task.stretch.context.iter().zip(values.chunks_exact(dim));
            rows.for_each(|(&row, values)| add((row, at), values));
        })?;
    }
    Ok(())
}
