//! The root-mean-square norm and its gradient.
//!
//! Source: Zhang and Sennrich 2019.

use candle_core::Tensor;

use super::real::{Real, dot, lend, lend_both};
use super::rows::rows;
use crate::Result;

/// A norm's frozen weights.
#[derive(Debug)]
pub(super) struct RmsNorm<T> {
    pub weights: Vec<T>,
    pub eps: T,
}

impl<T: Real> RmsNorm<T> {
    pub(super) fn new(weights: &[f32], eps: f64) -> Self {
        Self { weights: weights.iter().map(|&weight| T::from_f32(weight)).collect(), eps: T::of(eps) }
    }

    /// 1/√(mean x² + ε).
    #[inline(always)]
    pub(super) fn inverse(&self, x: &[T]) -> T {
        T::one() / (dot(x, x) / T::of(x.len() as f64) + self.eps).sqrt()
    }

    /// One row.
    #[inline(always)]
    pub(super) fn row(&self, x: &[T], out: &mut [T]) {
        let inverse = self.inverse(x);
        for ((out, &x), &weight) in out.iter_mut().zip(x).zip(&self.weights) {
            *out = x * inverse * weight;
        }
    }

    /// The gradient for one row: with n = w ⊙ dy, dx = r · n − x · r³/D · Σ n ⊙ x, where r is the inverse root; added
    /// to what `out` holds.
    #[inline(always)]
    pub(super) fn row_backward(&self, x: &[T], dy: &[T], out: &mut [T]) {
        let inverse = self.inverse(x);
        let mut along = T::zero();
        for ((&x, &dy), &weight) in x.iter().zip(dy).zip(&self.weights) {
            along += x * dy * weight;
        }
        let back = inverse * inverse * inverse * along / T::of(x.len() as f64);
        for (((out, &x), &dy), &weight) in out.iter_mut().zip(x).zip(dy).zip(&self.weights) {
            *out += inverse * weight * dy - back * x;
        }
    }

    /// # Shapes
    /// `x` (T, D), result (T, D).
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n_rows, width) = x.dims2()?;
        lend::<T, _>(x, |x| {
            rows::<T>(
                n_rows,
                width,
                #[inline(always)]
                |row, out| self.row(&x[row * width..][..width], out),
            )
        })?
    }

    /// The gradient for `x`, and what `plus` holds besides.
    ///
    /// # Shapes
    /// All (T, D).
    pub(super) fn backward(&self, x: &Tensor, dy: &Tensor, plus: Option<&Tensor>) -> Result<Tensor> {
        let (n_rows, width) = x.dims2()?;
        let plus = plus.map(|plus| lend::<T, _>(plus, <[T]>::to_vec)).transpose()?;
        lend_both::<T, _>(x, dy, |x, dy| {
            rows::<T>(
                n_rows,
                width,
                #[inline(always)]
                |row, out| {
                    let at = row * width..(row + 1) * width;
                    if let Some(plus) = &plus {
                        out.copy_from_slice(&plus[at.clone()]);
                    }
                    self.row_backward(&x[at.clone()], &dy[at], out);
                },
            )
        })?
    }
}
