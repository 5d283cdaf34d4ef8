//! The arithmetic between the matrix products, on rows of f32.
//!
//! Every function computes a row from that row alone, in an order that does not depend on how many rows there
//! are or on the number of threads: this is what makes a path's bits independent of its batch. The loops are
//! plain; [`vectorised`] compiles them for the processor at hand.

use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

use super::config::Activation;
use crate::Result;

/// Floats in the widest vector; partial sums are kept in this many lanes whatever the processor has.
pub(crate) const LANES: usize = 16;
/// Rows that one task of a parallel loop takes.
const ROWS_PER_TASK: usize = 16;

/// Runs `f` compiled for the widest vectors this processor has.
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Run<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

/// Lends the values of a contiguous f32 tensor on the CPU.
pub(crate) fn with_values<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((from, to))) => Ok(f(&values[from..to])),
        _ => Err(candle_core::Error::Msg("expected a contiguous f32 tensor on the CPU".into()).into()),
    }
}

/// Maps each row of `x` to a row of `width_out` values, rows in parallel.
fn map_rows(x: &Tensor, width_out: usize, f: impl Fn(&[f32], &mut [f32]) + Sync) -> Result<Tensor> {
    let (n_rows, width) = x.dims2()?;
    let mut out = vec![0f32; n_rows * width_out];
    with_values(x, |x| {
        let tasks = x.par_chunks(ROWS_PER_TASK * width).zip(out.par_chunks_mut(ROWS_PER_TASK * width_out));
        tasks.for_each(|(x, out)| {
            let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width_out));
            rows.for_each(|(x, out)| f(x, out));
        });
    })?;
    Ok(Tensor::from_vec(out, (n_rows, width_out), x.device())?)
}

/// `x + y`, for the residual stream.
///
/// # Shapes
/// `x` and `y` (T, D), result (T, D).
pub(crate) fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (n_rows, width) = x.dims2()?;
    let mut out = vec![0f32; n_rows * width];
    with_values(x, |x| {
        with_values(y, |y| {
            let tasks = out.par_chunks_mut(ROWS_PER_TASK * width).zip(x.par_chunks(ROWS_PER_TASK * width));
            tasks.zip(y.par_chunks(ROWS_PER_TASK * width)).for_each(|((out, x), y)| {
                vectorised(
                    #[inline(always)]
                    || add_values(x, y, out),
                );
            });
        })
    })??;
    Ok(Tensor::from_vec(out, (n_rows, width), x.device())?)
}

#[inline(always)]
fn add_values(x: &[f32], y: &[f32], out: &mut [f32]) {
    for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
        *out = x + y;
    }
}

/// Root-mean-square norm over the last axis.
///
/// # Shapes
/// `x` (T, D), `weight` D, result (T, D).
pub(crate) fn rms_norm(x: &Tensor, weight: &[f32], eps: f32) -> Result<Tensor> {
    map_rows(x, weight.len(), |x, out| {
        vectorised(
            #[inline(always)]
            || norm_row(x, weight, eps, out),
        );
    })
}

/// `activation(gate) · up` for rows that hold `gate` and `up` side by side.
///
/// Both activations are `x · σ(z)`: z is x for `silu`, and 2√(2/π)·(x + 0.044715·x³) for the tanh
/// approximation of the Gaussian error linear unit.
///
/// # Shapes
/// `x` (T, 2F), result (T, F).
pub(crate) fn gated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Silu => map_gated(
            x,
            #[inline(always)]
            |g| g,
        ),
        Activation::GeluTanh => map_gated(
            x,
            #[inline(always)]
            |g| GELU * (0.044_715 * g * g).mul_add(g, g),
        ),
    }
}

/// 2√(2/π)
const GELU: f32 = 1.595_769;

fn map_gated(x: &Tensor, z: impl Fn(f32) -> f32 + Sync) -> Result<Tensor> {
    let width = x.dim(1)? / 2;
    map_rows(x, width, |x, out| {
        vectorised(
            #[inline(always)]
            || {
                let (gate, up) = x.split_at(width);
                for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
                    *out = g / (1.0 + exp(-z(g))) * u;
                }
            },
        );
    })
}

/// `cap · tanh(x / cap)`.
///
/// # Shapes
/// `x` (T, V), result (T, V).
pub(crate) fn soft_cap(x: &Tensor, cap: f32) -> Result<Tensor> {
    map_rows(x, x.dim(1)?, |x, out| {
        out.copy_from_slice(x);
        vectorised(
            #[inline(always)]
            || cap_values(out, cap),
        );
    })
}

/// See [`soft_cap`].
#[inline(always)]
pub(crate) fn cap_values(values: &mut [f32], cap: f32) {
    let scale = 2.0 / cap;
    for value in values {
        // tanh(x) = 2·σ(2x) − 1
        *value = cap * (2.0 / (1.0 + exp(-scale * *value)) - 1.0);
    }
}

/// See [`rms_norm`].
#[inline(always)]
pub(crate) fn norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = (dot(x, x) / x.len() as f32 + eps).sqrt().recip();
    for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * w;
    }
}

/// Sum of products, in [`LANES`] partial sums that are added in a fixed order.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_blocks.remainder().iter().zip(b_blocks.remainder());
    let rest = rest.fold(0f32, |sum, (&x, &y)| x.mul_add(y, sum));
    for (x, y) in a_blocks.zip(b_blocks) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane = x.mul_add(y, *lane);
        }
    }
    sum_lanes(lanes) + rest
}

/// The largest value; NaN is passed over, to be met again in whatever is summed.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let blocks = values.chunks_exact(LANES);
    let rest = blocks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for block in blocks {
        for (most, &value) in most.iter_mut().zip(block) {
            *most = if value > *most { value } else { *most };
        }
    }
    most.into_iter().fold(rest, f32::max)
}

/// Scores become weights that add up to 1. A score of −∞ weighs exactly 0, so that it changes no sum.
#[inline(always)]
pub(crate) fn softmax(scores: &mut [f32]) {
    let most = max(scores);
    let mut sums = [0f32; LANES];
    for block in scores.chunks_mut(LANES) {
        for (sum, score) in sums.iter_mut().zip(block) {
            *score = exp(*score - most);
            *sum += *score;
        }
    }
    let scale = sum_lanes(sums).recip();
    for weight in scores {
        *weight *= scale;
    }
}

/// `sums += scale · values`.
#[inline(always)]
pub(crate) fn add_scaled(sums: &mut [f32], scale: f32, values: &[f32]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = scale.mul_add(value, *sum);
    }
}

/// Adds partial sums as a binary tree.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `eˣ` within 2 units in the last place for x ≤ 88; exactly 0 below −87.3 and for −∞.
///
/// # Source
/// The range reduction and polynomial of Cephes' `expf`, branch-free so that it vectorises.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    /// Adding and subtracting this rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > LOWEST { x } else { LOWEST };
    let clamped = if clamped < 88.0 { clamped } else { 88.0 };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_65);
    let p = p.mul_add(r, 0.5);
    let e = p.mul_add(r * r, r) + 1.0;
    // The low bits of `shifted` are n: they become the exponent of 2ⁿ.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let below = if x.is_nan() { x } else { 0.0 };
    if x > LOWEST { e * scale } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn exp_is_close_and_vanishes_below() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!(((f64::from(exp(x)) - exact) / exact).abs() < 2.5e-7, "exp({x})");
        }
        let exact = [0.0, f32::NEG_INFINITY, -100.0].map(|x| exp(x).to_bits());
        assert_eq!(exact, [1.0, 0.0, 0.0].map(f32::to_bits));
        assert!(exp(f32::NAN).is_nan());
    }

    /// Reference: `x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * w`, `F.silu(x[..., :2]) * x[..., 2:]`,
    /// `F.gelu(x[..., :2], approximate="tanh") * x[..., 2:]` and `5 * torch.tanh(x / 5)` in PyTorch 2.15,
    /// tolerance 1e-6.
    #[test]
    fn norm_and_gate_agree_with_pytorch() {
        let x = Tensor::new(&[[1f32, -2.0, 3.0, 0.5]], &Device::Cpu).unwrap();
        let norm = rms_norm(&x, &[1.0, 0.5, 2.0, 1.0], 1e-5).unwrap().to_vec2::<f32>().unwrap();
        let gate = gated(&x, Activation::Silu).unwrap().to_vec2::<f32>().unwrap();
        let gelu = gated(&x, Activation::GeluTanh).unwrap().to_vec2::<f32>().unwrap();
        let capped = soft_cap(&x, 5.0).unwrap().to_vec2::<f32>().unwrap();
        for (found, expected) in [
            (norm[0][0], 0.529_812_1),
            (norm[0][1], -0.529_812_1),
            (norm[0][2], 3.178_873_2),
            (norm[0][3], 0.264_906_1),
            (gate[0][0], 2.193_175_8),
            (gate[0][1], -0.119_202_92),
            (gelu[0][0], 2.523_576),
            (gelu[0][1], -0.022_701_15),
            (capped[0][1], -1.899_744_8),
            (capped[0][2], 2.685_248),
        ] {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }
}
