//! The numbers training computes with: f32 for people, f64 for the tests that compare gradients with finite
//! differences.

use std::iter::Sum;
use std::ops::Neg;

use candle_core::{CpuStorage, Storage, Tensor, WithDType};

use crate::Result;
use crate::model::exp;

/// Partial sums are kept in this many lanes, whatever the processor has.
const LANES: usize = 16;

/// A floating-point number that tensors hold.
pub trait Real: WithDType + Neg<Output = Self> + Sum {
    /// Rounded from 64 bits.
    fn of(x: f64) -> Self;
    /// From 32 bits.
    fn from_f32(x: f32) -> Self;
    /// To 32 bits.
    fn to_f32(self) -> f32;
    /// eˣ.
    #[must_use]
    fn exp(self) -> Self;
    /// √x.
    #[must_use]
    fn sqrt(self) -> Self;
    /// The larger of two.
    #[must_use]
    fn larger(self, other: Self) -> Self;
    /// The values of a storage of this type.
    fn values_mut(storage: &mut CpuStorage) -> Option<&mut Vec<Self>>;
}

impl Real for f32 {
    fn of(x: f64) -> Self {
        x as Self
    }

    fn from_f32(x: f32) -> Self {
        x
    }

    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn exp(self) -> Self {
        exp(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    fn values_mut(storage: &mut CpuStorage) -> Option<&mut Vec<Self>> {
        if let CpuStorage::F32(values) = storage { Some(values) } else { None }
    }
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }

    fn from_f32(x: f32) -> Self {
        x.into()
    }

    fn to_f32(self) -> f32 {
        self as f32
    }

    fn exp(self) -> Self {
        self.exp()
    }

    fn sqrt(self) -> Self {
        self.sqrt()
    }

    fn larger(self, other: Self) -> Self {
        self.max(other)
    }

    fn values_mut(storage: &mut CpuStorage) -> Option<&mut Vec<Self>> {
        if let CpuStorage::F64(values) = storage { Some(values) } else { None }
    }
}

/// Lends the values of a contiguous tensor on the CPU.
pub(super) fn lend<T: Real, R>(x: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(cpu) = &*storage else { return Err(misplaced()) };
    let values = CpuStorage::as_slice::<T>(cpu)?;
    let (from, to) = layout.contiguous_offsets().ok_or_else(misplaced)?;
    Ok(f(&values[from..to]))
}

/// Lends the values of two tensors.
pub(super) fn lend_both<T: Real, R>(x: &Tensor, y: &Tensor, f: impl FnOnce(&[T], &[T]) -> R) -> Result<R> {
    lend::<T, _>(x, |x| lend::<T, _>(y, |y| f(x, y)))?
}

fn misplaced() -> crate::Error {
    candle_core::Error::Msg("expected a contiguous tensor on the CPU".into()).into()
}

/// Σ aᵢ · bᵢ.
#[inline(always)]
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: T = a.remainder().iter().zip(b.remainder()).map(|(&a, &b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.into_iter().sum::<T>() + rest
}

/// The largest of the values and −∞.
#[inline(always)]
pub(super) fn largest<T: Real>(values: &[T]) -> T {
    let mut lanes = [T::of(f64::NEG_INFINITY); LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(lanes[0], |most, &x| most.larger(x));
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane].larger(chunk[lane]);
        }
    }
    lanes.into_iter().fold(rest, T::larger)
}

/// Σ e^(xᵢ − shift); the values become the summands.
#[inline(always)]
pub(super) fn exponentiate<T: Real>(values: &mut [T], shift: T) -> T {
    let mut lanes = [T::zero(); LANES];
    let mut chunks = values.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            chunk[lane] = (chunk[lane] - shift).exp();
            lanes[lane] += chunk[lane];
        }
    }
    let mut sum = T::zero();
    for x in chunks.into_remainder() {
        *x = (*x - shift).exp();
        sum += *x;
    }
    lanes.into_iter().sum::<T>() + sum
}
