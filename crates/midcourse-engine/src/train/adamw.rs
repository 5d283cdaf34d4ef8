//! Adam with decoupled weight decay, in the order of operations of torch.
//!
//! Source: Loshchilov and Hutter 2019; `torch.optim.AdamW`.

use rayon::prelude::*;

use super::lora::{Gradients, Lora};
use super::real::Real;
use crate::{Error, Result};

/// Settings that do not change from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// Decay of the means of the gradients and of their squares.
    pub betas: (f64, f64),
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Share of the learning rate by which every value shrinks in a step.
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0 }
    }
}

/// The optimiser's memory.
#[derive(Debug, Clone)]
pub struct AdamW<T = f32> {
    options: AdamWOptions,
    n_steps: u64,
    /// Means of gradients, one vector a matrix.
    first: Vec<Vec<T>>,
    /// Means of their squares.
    second: Vec<Vec<T>>,
}

impl<T: Real> AdamW<T> {
    /// Before the first step.
    pub fn new(lora: &Lora<T>, options: AdamWOptions) -> Self {
        let zeros = || lora.tensors().map(|tensor| vec![T::zero(); tensor.values.len()]).collect();
        Self { options, n_steps: 0, first: zeros(), second: zeros() }
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// Means of the gradients and of their squares, one vector a matrix in the order of [`Lora::tensors`].
    pub fn moments(&self) -> (&[Vec<T>], &[Vec<T>]) {
        (&self.first, &self.second)
    }

    /// Takes up where another left off.
    ///
    /// # Errors
    /// When the moments are those of another adapter.
    pub fn restore(&mut self, n_steps: u64, (first, second): (Vec<Vec<T>>, Vec<Vec<T>>)) -> Result<()> {
        let sizes = |of: &[Vec<T>]| of.iter().map(Vec::len).collect::<Vec<_>>();
        for moments in [&first, &second] {
            if sizes(moments) != sizes(&self.first) {
                return Err(Error::OtherAdapter { expected: self.first.len(), found: moments.len() });
            }
        }
        (self.n_steps, self.first, self.second) = (n_steps, first, second);
        Ok(())
    }

    /// One step against the gradients.
    pub fn step(&mut self, lora: &mut Lora<T>, gradients: &Gradients<T>, learning_rate: f64) {
        self.n_steps += 1;
        let AdamWOptions { betas: (beta1, beta2), eps, weight_decay } = self.options;
        let steps = self.n_steps as f64;
        let step = T::of(learning_rate / (1.0 - beta1.powf(steps)));
        let root = T::of((1.0 - beta2.powf(steps)).sqrt());
        let keep = T::of(1.0 - learning_rate * weight_decay);
        let (eps, one) = (T::of(eps), T::one());
        let (beta1, beta2) = (T::of(beta1), T::of(beta2));
        let matrices: Vec<&mut [T]> = lora.values_mut().collect();
        let moments = self.first.par_iter_mut().zip(&mut self.second);
        matrices.into_par_iter().zip(moments).zip(&gradients.values).for_each(
            |((values, (first, second)), gradient)| {
                for (((value, first), second), &gradient) in
                    values.iter_mut().zip(first).zip(second).zip(gradient)
                {
                    *first += (one - beta1) * (gradient - *first);
                    *second = beta2 * *second + (one - beta2) * gradient * gradient;
                    *value = *value * keep - step * *first / (second.sqrt() / root + eps);
                }
            },
        );
    }
}
