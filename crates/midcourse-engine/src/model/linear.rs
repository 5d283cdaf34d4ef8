//! Matrices of weights in the form they are kept in, and products with them.
//!
//! Arithmetic is in f32 whatever the form. Weights that are kept in f32 are laid out (in, out), as candle's
//! product reads them fastest. Weights that are kept as their file stores them are brought to f32 and into that
//! layout a *panel* of columns at a time, at every product: a price by the batch, not by the row
//! (`docs/performance.md`). Every row is summed in the same order as before, so the results are those of f32 bit
//! for bit.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::quantized::QTensor;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Tensor};
use rayon::prelude::*;

use super::kernels::{vectorised, with_values};
use crate::Result;
use crate::weights::{Dtype, RawTensor};

/// Rows of one block: what one task brings to f32 at once.
const BLOCK_ROWS: usize = 64;
/// Values of a panel: 8 MB of f32.
const PANEL_VALUES: usize = 2 << 20;
/// Columns of the narrowest panel.
const MIN_PANEL: usize = 512;
/// Rows and columns of a tile of the transposition.
const TILE: usize = 16;

/// A matrix of weights and perhaps a bias.
#[derive(Debug)]
pub(crate) struct Linear {
    weights: Kept,
    n_in: usize,
    n_out: usize,
    bias: Option<Vec<f32>>,
}

/// The form in which weights are to be kept, and the room that all matrices of a model share.
#[derive(Debug, Clone)]
pub(crate) struct Keep {
    dtype: Dtype,
    room: Arc<Room>,
}

impl Keep {
    pub(crate) fn new(dtype: Dtype) -> Self {
        Self { dtype, room: Arc::default() }
    }
}

/// The form of the weights in memory.
#[derive(Debug)]
enum Kept {
    /// (in, out)
    F32(Tensor),
    Stored {
        blocks: Vec<Block>,
        panels: Vec<Range<usize>>,
        room: Arc<Room>,
    },
}

/// Some rows of the matrix, (rows, in), as their file stores them.
#[derive(Debug)]
struct Block {
    /// Index of the first row.
    first: usize,
    rows: QTensor,
}

impl Block {
    fn n_rows(&self) -> usize {
        self.rows.shape().dims()[0]
    }
}

impl Linear {
    /// The matrices `parts`, one below the other, each (out, in), kept as `keep` says.
    pub(crate) fn new(parts: &[RawTensor], bias: Option<Vec<f32>>, keep: &Keep) -> Result<Self> {
        let dtype = keep.dtype;
        let n_in = parts.first().map_or(0, RawTensor::width);
        let mut blocks = Vec::new();
        let mut n_out = 0;
        for part in parts {
            for rows in part.blocks(BLOCK_ROWS, dtype == Dtype::Bf16)? {
                let n_rows = rows.shape().dims2()?.0;
                blocks.push(Block { first: n_out, rows });
                n_out += n_rows;
            }
        }
        let panels = panels(&blocks, n_in, n_out);
        let weights = match dtype {
            Dtype::F32 => {
                let mut values = vec![0f32; n_in * n_out];
                for panel in panels {
                    let blocks = &blocks[panel];
                    lay_out(blocks, (&mut values, n_out), blocks[0].first)?;
                }
                Kept::F32(Tensor::from_vec(values, (n_in, n_out), &Device::Cpu)?)
            }
            Dtype::Bf16 | Dtype::Stored => Kept::Stored { blocks, panels, room: keep.room.clone() },
        };
        Ok(Self { weights, n_in, n_out, bias })
    }

    /// `x · weights + bias`, never of a single row: that would be summed in another order than the same row in
    /// company.
    ///
    /// # Shapes
    /// `x` (T, in), result (T, out).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let n_rows = x.dim(0)?;
        let product = match n_rows {
            1 => self.product(&Tensor::cat(&[x, x], 0)?)?.narrow(0, 0, 1)?,
            _ => self.product(x)?,
        };
        let Some(bias) = &self.bias else { return Ok(product) };
        let mut sums: Vec<f32> = product.flatten_all()?.to_vec1()?;
        for row in sums.chunks_exact_mut(self.n_out) {
            row.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
        }
        Ok(Tensor::from_vec(sums, (n_rows, self.n_out), &Device::Cpu)?)
    }

    fn product(&self, x: &Tensor) -> Result<Tensor> {
        let (blocks, panels, room) = match &self.weights {
            Kept::F32(weights) => return Ok(x.matmul(weights)?),
            Kept::Stored { blocks, panels, room } => (blocks, panels, room),
        };
        let n_rows = x.dim(0)?;
        let mut out = vec![0f32; n_rows * self.n_out];
        for panel in panels {
            let blocks = &blocks[panel.clone()];
            let first = blocks[0].first;
            let product = room.with(blocks, self.n_in, |weights| Ok(x.matmul(weights)?))?;
            let width = product.dim(1)?;
            with_values(&product, |product| {
                let rows = out.par_chunks_exact_mut(self.n_out).zip(product.par_chunks_exact(width));
                rows.for_each(|(out, row)| out[first..first + width].copy_from_slice(row));
            })?;
        }
        Ok(Tensor::from_vec(out, (n_rows, self.n_out), &Device::Cpu)?)
    }

    /// The row `index` of the matrix as its file has it: the embedding of a token, when the head is tied.
    ///
    /// # Shapes
    /// Result (in).
    pub(crate) fn row(&self, index: usize, out: &mut [f32]) -> Result<()> {
        match &self.weights {
            Kept::F32(weights) => with_values(weights, |weights| {
                let column = weights[index..].iter().step_by(self.n_out);
                out.iter_mut().zip(column).for_each(|(out, value)| *out = *value);
            }),
            Kept::Stored { blocks, .. } => {
                let block = &blocks[blocks.partition_point(|block| block.first <= index) - 1];
                let id = Tensor::new(&[(index - block.first) as u32], &Device::Cpu)?;
                with_values(&block.rows.embedding(&id)?, |row| out.copy_from_slice(row))
            }
        }
    }
}

/// The blocks of every panel: at least about [`PANEL_VALUES`] and [`MIN_PANEL`], all about the same.
fn panels(blocks: &[Block], n_in: usize, n_out: usize) -> Vec<Range<usize>> {
    let least = (PANEL_VALUES / n_in.max(1)).max(MIN_PANEL);
    let n_panels = (n_out / least).max(1);
    let border = |panel: usize| panel * blocks.len() / n_panels;
    (0..n_panels).map(|panel| border(panel)..border(panel + 1)).collect()
}

/// Brings blocks to f32 and writes them as columns from `column` on, each thread a share of the columns: what a
/// block becomes is still in the thread's cache when it is written out.
///
/// # Shapes
/// `out` (in, stride).
fn lay_out(blocks: &[Block], (out, stride): (&mut [f32], usize), column: usize) -> Result<()> {
    let n_shares = rayon::current_num_threads().clamp(1, blocks.len().max(1));
    let shares =
        (0..n_shares).map(|i| &blocks[i * blocks.len() / n_shares..(i + 1) * blocks.len() / n_shares]);
    let shares: Vec<&[Block]> = shares.collect();
    let mut columns: Vec<Vec<&mut [f32]>> = shares.iter().map(|_| Vec::new()).collect();
    for row in out.chunks_exact_mut(stride) {
        let mut rest = &mut row[column..];
        for (share, columns) in shares.iter().zip(&mut columns) {
            let (mine, others) = rest.split_at_mut(share.iter().map(Block::n_rows).sum());
            columns.push(mine);
            rest = others;
        }
    }
    columns.into_par_iter().zip(shares).try_for_each(|(mut out, blocks)| {
        for block in blocks {
            let values = block.rows.dequantize(&Device::Cpu)?;
            with_values(&values, |values| {
                vectorised(
                    #[inline(always)]
                    || transpose(values, &mut out, block.first - blocks[0].first),
                );
            })?;
        }
        Ok(())
    })
}

/// Writes rows as columns from `column` on, tile by tile.
///
/// # Shapes
/// `rows` (n, in), `out` in times (`column` + n or more).
#[inline(always)]
fn transpose(rows: &[f32], out: &mut [&mut [f32]], column: usize) {
    let n_in = out.len();
    for (i, rows) in rows.chunks(TILE * n_in).enumerate() {
        let column = column + i * TILE;
        for (tile, out) in out.chunks_mut(TILE).enumerate() {
            transpose_tile(rows, (n_in, tile * TILE), out, column);
        }
    }
}

/// # Shapes
/// `rows` (up to [`TILE`], width), of which the values from `from` are read; `out` up to [`TILE`] columns.
#[inline(always)]
fn transpose_tile(rows: &[f32], (width, from): (usize, usize), out: &mut [&mut [f32]], column: usize) {
    let n_rows = rows.len() / width;
    if n_rows < TILE || out.len() < TILE {
        for (i, out) in out.iter_mut().enumerate() {
            let values = rows.chunks_exact(width).map(|row| row[from + i]);
            out[column..][..n_rows].iter_mut().zip(values).for_each(|(out, value)| *out = value);
        }
        return;
    }
    let mut tile = [[0f32; TILE]; TILE];
    for (row, values) in tile.iter_mut().zip(rows.chunks_exact(width)) {
        row.copy_from_slice(&values[from..][..TILE]);
    }
    for (i, out) in out.iter_mut().enumerate() {
        let out = &mut out[column..][..TILE];
        out.iter_mut().zip(&tile).for_each(|(out, row)| *out = row[i]);
    }
}

/// Room for one panel in f32, kept from product to product: fresh memory costs more than the work.
#[derive(Debug, Default)]
struct Room(Mutex<Option<Tensor>>);

impl Room {
    /// Calls `f` with the panel of `blocks`.
    ///
    /// # Shapes
    /// The panel (in, rows of the blocks).
    fn with<R>(&self, blocks: &[Block], n_in: usize, f: impl FnOnce(&Tensor) -> Result<R>) -> Result<R> {
        let width = blocks.iter().map(Block::n_rows).sum();
        let mut room = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values = match room.take() {
            Some(values) if values.elem_count() >= n_in * width => values,
            _ => Tensor::zeros(n_in * width, DType::F32, &Device::Cpu)?,
        };
        values.inplace_op1(&LayOut { blocks, n_in, width })?;
        let result = f(&values.narrow(0, 0, n_in * width)?.reshape((n_in, width))?);
        *room = Some(values);
        result
    }
}

/// Writes a panel over the start of a tensor.
struct LayOut<'a> {
    blocks: &'a [Block],
    n_in: usize,
    width: usize,
}

impl InplaceOp1 for LayOut<'_> {
    fn name(&self) -> &'static str {
        "lay out a panel"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else {
            return Err(candle_core::Error::Msg("expected f32".into()));
        };
        let out = (&mut values[..self.n_in * self.width], self.width);
        lay_out(self.blocks, out, 0).map_err(candle_core::Error::wrap)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    fn matrix(n_out: usize, n_in: usize, dtype: GgmlDType) -> RawTensor {
        let values = Tensor::randn(0f32, 1.0, (n_out, n_in), &Device::Cpu).unwrap();
        let quantised = QTensor::quantize(&values, dtype).unwrap();
        RawTensor { dtype, shape: vec![n_out, n_in], bytes: quantised.data().unwrap().into_owned() }
    }

    fn bits(x: &Tensor) -> Vec<Vec<u32>> {
        let rows = x.to_vec2::<f32>().unwrap();
        rows.into_iter().map(|row| row.into_iter().map(f32::to_bits).collect()).collect()
    }

    /// The shapes of SmolLM2-135M, of Qwen2.5-0.5B, of a tiny model, and one that is no multiple of anything.
    const SHAPES: [(usize, usize); 7] =
        [(960, 576), (576, 1536), (3072, 576), (1152, 896), (896, 4864), (96, 32), (37, 100)];

    /// A row's bits do not depend on its company, nor on the form in which the weights are kept.
    #[test]
    fn a_row_is_the_same_in_every_company_and_form() {
        for (n_out, n_in) in SHAPES {
            let stored = matrix(n_out, n_in, GgmlDType::F32);
            let form = |dtype| Linear::new(std::slice::from_ref(&stored), None, &Keep::new(dtype)).unwrap();
            let (f32, stored) = (form(Dtype::F32), form(Dtype::Stored));
            let x = Tensor::randn(0f32, 1.0, (300, n_in), &Device::Cpu).unwrap();
            let all = bits(&f32.forward(&x).unwrap());
            for n_rows in [1, 2, 3, 7, 8, 13, 64, 128, 300] {
                let few = x.narrow(0, 0, n_rows).unwrap();
                for linear in [&f32, &stored] {
                    let found = bits(&linear.forward(&few).unwrap());
                    assert_eq!(found, all[..n_rows], "{n_out} x {n_in}, {n_rows} rows");
                }
            }
        }
    }

    /// Reference: candle's product with the whole dequantised matrix; the parts have types of their own.
    #[test]
    fn parts_of_any_type_are_one_matrix() {
        let parts = [
            matrix(100, 256, GgmlDType::Q4K),
            matrix(70, 256, GgmlDType::Q8_0),
            matrix(5, 256, GgmlDType::F32),
        ];
        let values: Vec<f32> = parts.iter().flat_map(|part| part.to_f32().unwrap()).collect();
        let whole = Tensor::from_vec(values, (175, 256), &Device::Cpu).unwrap();
        let bias: Vec<f32> = (0..175).map(|i| i as f32).collect();
        let x = Tensor::randn(0f32, 1.0, (9, 256), &Device::Cpu).unwrap();
        let expected = x.matmul(&whole.t().unwrap()).unwrap();
        let expected = expected.broadcast_add(&Tensor::new(bias.clone(), &Device::Cpu).unwrap()).unwrap();
        for (dtype, bound) in [(Dtype::F32, 1e-4), (Dtype::Stored, 1e-4), (Dtype::Bf16, 1.0)] {
            let linear = Linear::new(&parts, Some(bias.clone()), &Keep::new(dtype)).unwrap();
            let difference = (linear.forward(&x).unwrap() - &expected).unwrap().abs().unwrap();
            let most = difference.max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(most < bound, "{dtype:?} differs by {most}");
            let mut row = vec![0.0; 256];
            linear.row(171, &mut row).unwrap();
            let expected: Vec<f32> = whole.get(171).unwrap().to_vec1().unwrap();
            let close = row.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 0.005 * b.abs());
            assert!(close, "row of {dtype:?}");
        }
    }

    #[test]
    fn panels_cover_the_matrix_evenly() {
        let matrix = matrix(5000, 2048, GgmlDType::F32);
        let linear = Linear::new(&[matrix], None, &Keep::new(Dtype::Stored)).unwrap();
        let Kept::Stored { blocks, panels, .. } = &linear.weights else { panic!("expected panels") };
        assert_eq!((blocks.len(), panels.as_slice()), (79, [0..19, 19..39, 39..59, 59..79].as_slice()));
    }
}
