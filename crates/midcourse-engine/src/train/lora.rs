//! The adapter under training: pairs of low-rank matrices beside frozen projections, and their gradients.
//!
//! Source: Hu et al. 2021. A begins as PEFT begins it, uniform within ±1/√in, and B at 0, so that an adapter changes
//! nothing before its first step.

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

use super::real::{Real, lend};
use crate::weights::Slot;
use crate::{Error, Result};

/// What an adapter is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraOptions {
    /// R.
    pub rank: usize,
    /// What the adapter adds is scaled by alpha / rank.
    pub alpha: f64,
    /// Which projections are adapted.
    pub targets: Targets,
    /// Of what A begins as.
    pub seed: u64,
}

/// Which projections of every layer are adapted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Every one.
    All,
    /// Those of these names, as checkpoints have them: `q_proj`, `down_proj`, or without `_proj`.
    Named(Vec<String>),
}

/// A low-rank adapter: B · A beside every adapted projection.
#[derive(Debug, Clone)]
pub struct Lora<T = f32> {
    /// In the order of the layers, and in each of q, k, v, output, gate, up, down.
    pub(super) pairs: Vec<LowRank<T>>,
    pub(super) rank: usize,
    pub(super) alpha: f64,
}

/// The two matrices beside one projection.
#[derive(Debug, Clone)]
pub(super) struct LowRank<T> {
    pub slot: Slot,
    /// The name of the projection in a checkpoint, behind PEFT's prefix.
    pub name: String,
    pub n_in: usize,
    pub n_out: usize,
    /// (R, in)
    pub a: Vec<T>,
    /// (out, R)
    pub b: Vec<T>,
}

/// A matrix of an adapter, lent.
#[derive(Debug)]
pub struct AdapterTensor<'a, T> {
    /// Its name in PEFT's file.
    pub name: String,
    /// (R, in) of A, (out, R) of B.
    pub shape: [usize; 2],
    /// Row by row.
    pub values: &'a [T],
}

impl<T: Real> Lora<T> {
    pub(super) fn new(options: &LoraOptions) -> Self {
        Self { pairs: Vec::new(), rank: options.rank, alpha: options.alpha }
    }

    /// Puts an adapter beside a projection; returns its number.
    pub(super) fn put(
        &mut self,
        (slot, name): (Slot, String),
        [n_out, n_in]: [usize; 2],
        seed: u64,
    ) -> usize {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(self.pairs.len() as u64);
        let bound = 1.0 / (n_in as f64).sqrt();
        let a = (0..self.rank * n_in).map(|_| T::of(bound * (2.0 * uniform(&mut rng) - 1.0))).collect();
        self.pairs.push(LowRank { slot, name, n_in, n_out, a, b: vec![T::zero(); n_out * self.rank] });
        self.pairs.len() - 1
    }

    /// R.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Alpha: what is added is scaled by alpha / rank.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    pub(super) fn scale(&self) -> T {
        T::of(self.alpha / self.rank as f64)
    }

    /// Trained values.
    pub fn n_params(&self) -> usize {
        self.pairs.iter().map(|pair| pair.a.len() + pair.b.len()).sum()
    }

    /// Names of the adapted projections in one layer, each once: PEFT's `target_modules`.
    pub fn target_modules(&self) -> Vec<String> {
        let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        let mut modules: Vec<String> = self.pairs.iter().map(|pair| last(&pair.name)).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }

    /// Every matrix, A before B, in a fixed order.
    pub fn tensors(&self) -> impl Iterator<Item = AdapterTensor<'_, T>> {
        let rank = self.rank;
        self.pairs.iter().flat_map(move |pair| {
            let tensor = |kind: &str, shape, values| AdapterTensor {
                name: format!("{}.{kind}.weight", pair.name),
                shape,
                values,
            };
            [
                tensor("lora_A", [rank, pair.n_in], pair.a.as_slice()),
                tensor("lora_B", [pair.n_out, rank], pair.b.as_slice()),
            ]
        })
    }

    /// The values of every matrix, in the order of [`Lora::tensors`], to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        self.pairs.iter_mut().flat_map(|pair| [pair.a.as_mut_slice(), pair.b.as_mut_slice()])
    }

    /// Takes the values of `given`, one vector a matrix in the order of [`Lora::tensors`].
    ///
    /// # Errors
    /// When a matrix is missing or has another number of values.
    pub fn set(&mut self, given: &[Vec<T>]) -> Result<()> {
        let sizes: Vec<usize> = self.tensors().map(|tensor| tensor.values.len()).collect();
        let found: Vec<usize> = given.iter().map(Vec::len).collect();
        if sizes != found {
            return Err(Error::OtherAdapter { expected: sizes.len(), found: found.len() });
        }
        for (values, given) in self.values_mut().zip(given) {
            values.copy_from_slice(given);
        }
        Ok(())
    }
}

/// A number of [0, 1) in 53 bits.
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// What the loss changes by with every value of an adapter, in the order of [`Lora::tensors`].
#[derive(Debug, Clone)]
pub struct Gradients<T = f32> {
    /// One vector a matrix, in the order of [`Lora::tensors`].
    pub values: Vec<Vec<T>>,
}

impl<T: Real> Gradients<T> {
    /// None for any value.
    pub fn zeros(lora: &Lora<T>) -> Self {
        Self { values: lora.tensors().map(|tensor| vec![T::zero(); tensor.values.len()]).collect() }
    }

    /// One slice a matrix.
    pub fn tensors(&self) -> &[Vec<T>] {
        &self.values
    }

    /// The Euclidean norm over all values.
    pub fn norm(&self) -> f64 {
        let squares = |values: &Vec<T>| values.iter().map(|x| x.to_f64().powi(2)).sum::<f64>();
        // In one order, whatever the number of threads.
        self.values.par_iter().map(squares).collect::<Vec<_>>().into_iter().sum::<f64>().sqrt()
    }

    /// Multiplies every value.
    pub fn scale(&mut self, by: f64) {
        let by = T::of(by);
        self.values.par_iter_mut().flatten().for_each(|value| *value *= by);
    }

    /// Sets every value to 0.
    pub fn clear(&mut self) {
        self.values.iter_mut().for_each(|values| values.fill(T::zero()));
    }

    /// Adds `by` times a tensor to the gradient of A (`place` 0) or B (1) of an adapter.
    pub(super) fn add(&mut self, (adapter, place): (usize, usize), tensor: &Tensor, by: T) -> Result<()> {
        let into = &mut self.values[2 * adapter + place];
        lend::<T, _>(tensor, |values| {
            into.iter_mut().zip(values).for_each(|(into, &value)| *into += by * value);
        })
    }
}
