//! A frozen projection with its adapters: one product, and one product back.
//!
//! B stands beside the frozen weights as further columns, and what A makes of the input beside the input:
//! `[x, s·x·Aᵀ] · [W, B]ᵀ`. The product back gives the gradient of both parts at once. Projections that read the same
//! input are one matrix with an adapter each, whose columns are 0 in the rows of the others.

use std::ops::Range;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Tensor};
use rayon::prelude::*;

use super::lora::{Gradients, Lora};
use super::real::{Real, lend, lend_both};
use super::rows::rows;
use crate::Result;

/// Frozen weights and the adapters beside them.
#[derive(Debug)]
pub(super) struct Projection<T> {
    n_in: usize,
    n_out: usize,
    /// (out, in + R of all adapters)
    weights: Tensor,
    bias: Option<Vec<T>>,
    /// A of all adapters, one below the other: (R of all, in); none without adapters.
    a: Option<Tensor>,
    adapters: Vec<Beside>,
    scale: T,
}

/// Where an adapter stands.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    /// Its number in [`Lora`].
    pub adapter: usize,
    /// The rows of the weights that it adapts.
    pub rows: Range<usize>,
}

/// What a projection keeps for its gradient: the input, with what A makes of it beside it.
#[derive(Debug)]
pub(super) struct Input(Tensor);

impl<T: Real> Projection<T> {
    /// # Shapes
    /// `weights` (out, in) row by row.
    pub(super) fn new(
        weights: &[f32],
        bias: Option<&[f32]>,
        n_in: usize,
        (adapters, lora): (Vec<Beside>, &Lora<T>),
    ) -> Result<Self> {
        let n_out = weights.len() / n_in;
        let width = n_in + adapters.len() * lora.rank();
        let laid_out = rows::<T>(n_out, width, |row, out| {
            for (out, &weight) in out.iter_mut().zip(&weights[row * n_in..][..n_in]) {
                *out = T::from_f32(weight);
            }
        })?;
        let bias = bias.map(|bias| bias.iter().map(|&x| T::from_f32(x)).collect());
        let mut projection =
            Self { n_in, n_out, weights: laid_out, bias, a: None, adapters, scale: lora.scale() };
        projection.refresh(lora)?;
        Ok(projection)
    }

    /// Takes over what the adapters have become.
    pub(super) fn refresh(&mut self, lora: &Lora<T>) -> Result<()> {
        if self.adapters.is_empty() {
            return Ok(());
        }
        let (rank, n_in) = (lora.rank(), self.n_in);
        let of = |beside: &Beside| &lora.pairs[beside.adapter];
        let a: Vec<T> = self.adapters.iter().flat_map(|beside| of(beside).a.iter().copied()).collect();
        self.a = Some(Tensor::from_vec(a, (self.adapters.len() * rank, n_in), self.weights.device())?);
        for (i, beside) in self.adapters.iter().enumerate() {
            let first = n_in + i * rank;
            let columns = Columns {
                stride: self.width(rank),
                to: first..first + rank,
                rows: beside.rows.clone(),
                values: &of(beside).b,
            };
            self.weights.inplace_op1(&columns)?;
        }
        Ok(())
    }

    fn width(&self, rank: usize) -> usize {
        self.n_in + self.adapters.len() * rank
    }

    /// # Shapes
    /// `x` (T, in), result (T, out).
    pub(super) fn forward(&self, x: &Tensor) -> Result<(Tensor, Input)> {
        let Some(a) = &self.a else { return self.forward_frozen(x) };
        let low = x.matmul(&a.t()?)?; // (T, R)
        let input = self.beside(x, &low)?; // (T, in + R)
        let y = self.biased(input.matmul(&self.weights.t()?)?)?;
        Ok((y, Input(input)))
    }

    /// The same with the adapters off.
    pub(super) fn forward_frozen(&self, x: &Tensor) -> Result<(Tensor, Input)> {
        let y = self.biased(x.matmul(&self.weights.narrow(1, 0, self.n_in)?.t()?)?)?;
        Ok((y, Input(x.clone())))
    }

    fn beside(&self, x: &Tensor, low: &Tensor) -> Result<Tensor> {
        let (n_in, rank) = (self.n_in, low.dim(1)?);
        lend_both::<T, _>(x, low, |x, low| {
            rows::<T>(
                low.len() / rank,
                n_in + rank,
                #[inline(always)]
                |row, out| {
                    let (wide, narrow) = out.split_at_mut(n_in);
                    wide.copy_from_slice(&x[row * n_in..][..n_in]);
                    for (out, &low) in narrow.iter_mut().zip(&low[row * rank..][..rank]) {
                        *out = self.scale * low;
                    }
                },
            )
        })?
    }

    fn biased(&self, y: Tensor) -> Result<Tensor> {
        let Some(bias) = &self.bias else { return Ok(y) };
        lend::<T, _>(&y, |y| {
            rows::<T>(y.len() / self.n_out, self.n_out, |row, out| {
                for ((out, &y), &bias) in out.iter_mut().zip(&y[row * self.n_out..]).zip(bias) {
                    *out = y + bias;
                }
            })
        })?
    }

    /// The gradient for the input; those of the adapters are added to `into`.
    ///
    /// # Shapes
    /// `dy` (T, out), result (T, in).
    pub(super) fn backward(
        &self,
        dy: &Tensor,
        Input(input): &Input,
        into: &mut Gradients<T>,
    ) -> Result<Tensor> {
        let back = dy.matmul(&self.weights)?; // (T, in + R)
        let Some(a) = &self.a else { return Ok(back) };
        let rank = a.dim(0)? / self.adapters.len();
        let x = input.narrow(1, 0, self.n_in)?;
        let d_low = back.narrow(1, self.n_in, a.dim(0)?)?; // (T, R), of s·x·Aᵀ
        for (i, Beside { adapter, rows }) in self.adapters.iter().enumerate() {
            let low = input.narrow(1, self.n_in + i * rank, rank)?;
            let d_b = dy.narrow(1, rows.start, rows.len())?.t()?.matmul(&low)?; // (out, R)
            into.add((*adapter, 1), &d_b, T::one())?;
            let d_a = d_low.narrow(1, i * rank, rank)?.t()?.matmul(&x)?; // (R, in)
            into.add((*adapter, 0), &d_a, self.scale)?;
        }
        let through = d_low.matmul(a)?; // (T, in)
        self.both_ways(&back, &through)
    }

    /// The gradient through the frozen weights and through A.
    fn both_ways(&self, back: &Tensor, through: &Tensor) -> Result<Tensor> {
        let (n_in, width) = (self.n_in, back.dim(1)?);
        lend_both::<T, _>(back, through, |back, through| {
            rows::<T>(
                back.len() / width,
                n_in,
                #[inline(always)]
                |row, out| {
                    let (back, through) = (&back[row * width..][..n_in], &through[row * n_in..][..n_in]);
                    for ((out, &back), &through) in out.iter_mut().zip(back).zip(through) {
                        *out = back + self.scale * through;
                    }
                },
            )
        })?
    }
}

/// Writes some columns of some rows of a matrix.
struct Columns<'a, T> {
    stride: usize,
    to: Range<usize>,
    rows: Range<usize>,
    /// (rows, columns)
    values: &'a [T],
}

impl<T: Real> InplaceOp1 for Columns<'_, T> {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        let into = T::values_mut(storage).ok_or_else(|| candle_core::Error::UnexpectedDType {
            msg: "columns",
            expected: T::DTYPE,
            got: DType::U8,
        })?;
        let rows =
            into[self.rows.start * self.stride..self.rows.end * self.stride].par_chunks_mut(self.stride);
        rows.zip(self.values.par_chunks(self.to.len()))
            .for_each(|(row, values)| row[self.to.clone()].copy_from_slice(values));
        Ok(())
    }
}
