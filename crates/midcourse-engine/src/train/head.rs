//! Log-probabilities of given tokens, and their gradient: logits are formed only where a token is scored.

use candle_core::Tensor;

use super::attention::capped;
use super::layout::Layout;
use super::real::{Real, exponentiate, largest, lend};
use super::rows::rows;
use crate::Result;
use crate::model::ModelConfig;

/// Rows whose logits are formed in one product.
const LOGIT_ROWS: usize = 128;

/// What is kept of the logits for the gradient.
#[derive(Debug)]
pub(super) struct Logits<T> {
    /// Blocks of rows: (at most [`LOGIT_ROWS`], V), capped; none where they are to be formed again.
    blocks: Vec<Option<Tensor>>,
    /// ln Σ e^logit of every row.
    log_sums: Vec<T>,
}

/// The output head.
#[derive(Debug)]
pub(super) struct Head {
    /// (V, D)
    pub weights: Tensor,
}

/// Whether logits are kept for the gradient or formed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    Kept,
    Dropped,
}

impl Head {
    fn logits<T: Real>(&self, hidden: &Tensor, block: usize, config: &ModelConfig) -> Result<Tensor> {
        let first = block * LOGIT_ROWS;
        let hidden = hidden.narrow(0, first, LOGIT_ROWS.min(hidden.dim(0)? - first))?;
        let logits = hidden.matmul(&self.weights.t()?)?;
        let Some(cap) = config.logit_cap else { return Ok(logits) };
        let (n_rows, width) = logits.dims2()?;
        lend::<T, _>(&logits, |logits| {
            rows::<T>(n_rows, width, |row, out| {
                for (out, &logit) in out.iter_mut().zip(&logits[row * width..]) {
                    *out = capped(logit, cap).0;
                }
            })
        })?
    }

    /// The log-probabilities of what the layout asks for, tree by tree.
    ///
    /// # Shapes
    /// `hidden` (scored rows, D).
    pub(super) fn forward<T: Real>(
        &self,
        hidden: &Tensor,
        (layout, config): (&Layout, &ModelConfig),
        keeping: Keeping,
    ) -> Result<(Vec<Vec<f64>>, Logits<T>)> {
        let n_rows = layout.scoring.len();
        let mut asked: Vec<Vec<(usize, usize, u32)>> = vec![Vec::new(); n_rows.div_ceil(LOGIT_ROWS)];
        for (tree, of) in layout.asked.iter().enumerate() {
            for (i, &(row, token)) in of.iter().enumerate() {
                asked[row / LOGIT_ROWS].push((tree, i, token));
            }
        }
        let mut logps: Vec<Vec<f64>> = layout.asked.iter().map(|of| vec![0.0; of.len()]).collect();
        let mut kept = Logits { blocks: Vec::new(), log_sums: Vec::with_capacity(n_rows) };
        for (block, asked) in asked.iter().enumerate() {
            let logits = self.logits::<T>(hidden, block, config)?;
            let log_sums = log_sums::<T>(&logits)?;
            lend::<T, _>(&logits, |values| {
                for &(tree, i, token) in asked {
                    let row = layout.asked[tree][i].0 % LOGIT_ROWS;
                    let logit = values[row * config.vocab + token as usize];
                    logps[tree][i] = (logit - log_sums[row]).to_f64();
                }
            })?;
            kept.log_sums.extend(log_sums);
            kept.blocks.push((keeping == Keeping::Kept).then_some(logits));
        }
        Ok((logps, kept))
    }

    /// The gradient for the hidden states, given those for the log-probabilities: d logit = Σ g · (1 at the token) −
    /// softmax · Σ g.
    ///
    /// # Shapes
    /// Result (scored rows, D).
    pub(super) fn backward<T: Real>(
        &self,
        (hidden, kept): (&Tensor, &Logits<T>),
        gradient: &[Vec<f64>],
        (layout, config): (&Layout, &ModelConfig),
    ) -> Result<Tensor> {
        let mut by_row: Vec<Vec<(u32, T)>> = vec![Vec::new(); layout.scoring.len()];
        for (asked, gradient) in layout.asked.iter().zip(gradient) {
            for (&(row, token), &gradient) in asked.iter().zip(gradient) {
                by_row[row].push((token, T::of(gradient)));
            }
        }
        let mut parts = Vec::with_capacity(kept.blocks.len());
        for (block, logits) in kept.blocks.iter().enumerate() {
            let logits = match logits {
                Some(logits) => logits.clone(),
                None => self.logits::<T>(hidden, block, config)?,
            };
            let first = block * LOGIT_ROWS;
            let n_rows = logits.dim(0)?;
            let given = Given {
                by_row: &by_row[first..first + n_rows],
                log_sums: &kept.log_sums[first..first + n_rows],
            };
            parts.push(given.gradient(&logits, config)?.matmul(&self.weights)?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }
}

/// The gradients of a block's log-probabilities.
struct Given<'a, T> {
    by_row: &'a [Vec<(u32, T)>],
    log_sums: &'a [T],
}

impl<T: Real> Given<'_, T> {
    /// # Shapes
    /// `logits` (rows, V) after the cap, result (rows, V) before it.
    fn gradient(&self, logits: &Tensor, config: &ModelConfig) -> Result<Tensor> {
        let (n_rows, width) = logits.dims2()?;
        lend::<T, _>(logits, |logits| {
            rows::<T>(
                n_rows,
                width,
                #[inline(always)]
                |row, out| {
                    let total: T = self.by_row[row].iter().map(|(_, gradient)| *gradient).sum();
                    if total == T::zero()
                        && self.by_row[row].iter().all(|(_, gradient)| *gradient == T::zero())
                    {
                        return;
                    }
                    let logits = &logits[row * width..][..width];
                    out.copy_from_slice(logits);
                    exponentiate(out, self.log_sums[row]);
                    for p in out.iter_mut() {
                        *p *= -total;
                    }
                    for &(token, gradient) in &self.by_row[row] {
                        out[token as usize] += gradient;
                    }
                    if let Some(cap) = config.logit_cap {
                        let slope =
                            |logit: T| T::one() - (logit / T::from_f32(cap)) * (logit / T::from_f32(cap));
                        out.iter_mut().zip(logits).for_each(|(out, &logit)| *out *= slope(logit));
                    }
                },
            )
        })?
    }
}

/// ln Σ e^x of every row.
fn log_sums<T: Real>(logits: &Tensor) -> Result<Vec<T>> {
    let (n_rows, width) = logits.dims2()?;
    let sums = lend::<T, _>(logits, |logits| {
        rows::<T>(
            n_rows,
            1,
            #[inline(always)]
            |row, out| {
                let mut values = logits[row * width..][..width].to_vec();
                let most = largest(&values);
                let sum = exponentiate(&mut values, most);
                out[0] = most + T::of(sum.to_f64().ln());
            },
        )
    })??;
    lend::<T, _>(&sums, <[T]>::to_vec)
}
