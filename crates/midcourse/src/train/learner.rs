//! What a training asks of whatever computes: log-probabilities, gradients, steps, and its state as bytes.
//!
//! The loop knows no tensors, so it is tested with a learner of a few numbers. The learner of this build is in `local`.

use anyhow::Result;
use midcourse_core::train::Trie;
use midcourse_engine::train::AdapterUse;

use super::adapter::Exported;

/// Trees, and of each the nodes whose log-probability given what stands before them is asked for.
pub(crate) type Asked<'a> = Vec<(&'a Trie, &'a [usize])>;

/// Log-probabilities of asked nodes, or what a loss changes by with each of them; a list a tree.
pub(crate) type PerNode = Vec<Vec<f64>>;

/// The state of a learner: two safetensors files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weights {
    pub adapter: Vec<u8>,
    pub optimizer: Vec<u8>,
}

/// Something that learns.
pub(crate) trait Learner {
    /// Log-probabilities of the asked nodes.
    fn score(&self, asked: Asked<'_>, adapter: AdapterUse) -> Result<PerNode>;

    /// Computes log-probabilities, and adds the gradient of a loss to what is gathered; `gradient` says of
    /// log-probabilities how the loss changes with each of them.
    fn gather(&mut self, asked: Asked<'_>, gradient: &mut dyn FnMut(&[Vec<f64>]) -> PerNode) -> Result<()>;

    /// The norm of the gathered gradient.
    fn norm(&self) -> f64;

    /// Takes a step against the gathered gradient, shortened to so much of it, and forgets it.
    fn step(&mut self, shortened: f64, learning_rate: f64) -> Result<()>;

    /// Whether every weight of the adapter is a finite number.
    fn is_finite(&self) -> bool;

    /// Its state.
    fn weights(&self) -> Result<Weights>;

    /// Takes up a state.
    fn restore(&mut self, weights: &Weights) -> Result<()>;

    /// Its adapter as PEFT has it.
    fn export(&self) -> Result<Exported>;
}
