//! New tensors row by row, rows in parallel: the arithmetic between the products.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::real::{Real, lend, lend_both};
use crate::Result;
use crate::model::vectorised;

/// Rows that one task of a parallel loop takes.
const ROWS_PER_TASK: usize = 16;

/// A tensor whose rows `fill` writes, by their number.
///
/// # Shapes
/// Result (`n_rows`, `width`).
pub(super) fn rows<T: Real>(
    n_rows: usize,
    width: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Result<Tensor> {
    let mut out = vec![T::zero(); n_rows * width];
    out.par_chunks_mut(ROWS_PER_TASK * width).enumerate().for_each(|(task, out)| {
        vectorised(
            #[inline(always)]
            || {
                for (i, row) in out.chunks_exact_mut(width).enumerate() {
                    fill(task * ROWS_PER_TASK + i, row);
                }
            },
        );
    });
    Ok(Tensor::from_vec(out, (n_rows, width), &Device::Cpu)?)
}

/// `x + y`.
pub(super) fn add<T: Real>(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (n_rows, width) = x.dims2()?;
    lend_both::<T, _>(x, y, |x, y| {
        rows::<T>(
            n_rows,
            width,
            #[inline(always)]
            |row, out| {
                let (x, y) = (&x[row * width..][..width], &y[row * width..][..width]);
                for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
                    *out = x + y;
                }
            },
        )
    })?
}

/// The rows of `x` in another order, or some of them.
///
/// # Shapes
/// `x` (T, W), result (`of`, W).
pub(super) fn gather<T: Real>(x: &Tensor, of: &[usize]) -> Result<Tensor> {
    let width = x.dim(1)?;
    lend::<T, _>(x, |x| {
        rows::<T>(of.len(), width, |row, out| out.copy_from_slice(&x[of[row] * width..][..width]))
    })?
}
