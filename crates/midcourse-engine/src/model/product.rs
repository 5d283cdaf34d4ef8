//! A matrix product that sums in the order of its rows, whatever the processor and the shape.
//!
//! Attention needs it: candle's product sums in an order that depends on the number of rows where sums are
//! long or results small.
//! Every element of the result is one chain of fused multiply-adds from the first row of `right` to the last;
//! rows of zeros at the end of `left` change nothing.

use pulp::{Arch, Simd, WithSimd};

/// Rows of `left` that are taken at once: that many sums stay in registers.
pub(crate) const ROWS: usize = 8;

/// Values of rows that are `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

/// The product, with room to lay `left` out column by column.
#[derive(Debug, Default)]
pub(crate) struct Product {
    left: Vec<[f32; ROWS]>,
}

impl Product {
    /// `left · right`, the first `width` columns, into rows as far apart as those of `out` divided by [`ROWS`].
    ///
    /// # Shapes
    /// `left` ([`ROWS`], n or more), `right` (n, `width` or more), `out` ([`ROWS`], `width` or more); `width`
    /// and the stride of `right` are whole vectors of [`super::LANES`].
    pub(crate) fn run(&mut self, left: Matrix<'_>, right: Matrix<'_>, out: &mut [f32], width: usize) {
        let n = right.values.len() / right.stride;
        self.left.clear();
        self.left.resize(n, [0.0; ROWS]);
        for (row, values) in left.values.chunks_exact(left.stride).enumerate() {
            self.left.iter_mut().zip(values).for_each(|(column, &value)| column[row] = value);
        }
        Arch::new().dispatch(Run { left: &self.left, right, out, width });
    }
}

struct Run<'a> {
    left: &'a [[f32; ROWS]],
    right: Matrix<'a>,
    out: &'a mut [f32],
    width: usize,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        let vectors = S::as_simd_f32s(self.right.values).0;
        let stride = self.right.stride / lanes;
        let out_stride = self.out.len() / ROWS;
        for column in 0..self.width / lanes {
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for (left, right) in self.left.iter().zip(vectors.chunks_exact(stride)) {
                let right = right[column];
                for (sum, &left) in sums.iter_mut().zip(left) {
                    *sum = simd.mul_add_f32s(simd.splat_f32s(left), right, *sum);
                }
            }
            for (&sum, out) in sums.iter().zip(self.out.chunks_exact_mut(out_stride)) {
                S::as_mut_simd_f32s(&mut out[column * lanes..][..lanes]).0[0] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each element is the chain of fused multiply-adds, bit for bit, and zeros behind change nothing.
        #[test]
        fn sums_run_in_order(
            left in proptest::collection::vec(-4f32..4.0, ROWS * 20),
            right in proptest::collection::vec(-4f32..4.0, 20 * 32),
            n in 1usize..20,
        ) {
            let mut out = vec![0f32; ROWS * 32];
            let left = Matrix { values: &left, stride: 20 };
            Product::default().run(left, Matrix { values: &right[..n * 32], stride: 32 }, &mut out, 32);
            for row in 0..ROWS {
                for column in 0..32 {
                    let chain = (0..n).fold(0f32, |sum, i| {
                        left.values[row * 20 + i].mul_add(right[i * 32 + column], sum)
                    });
                    prop_assert_eq!(out[row * 32 + column].to_bits(), chain.to_bits());
                }
            }
        }
    }
}
