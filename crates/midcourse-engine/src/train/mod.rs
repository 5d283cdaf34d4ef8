//! Training: log-probabilities of trees of given tokens, and their gradient for a low-rank adapter.
//!
//! A batch is a forest: every distinct token is one row, computed once, attending to its ancestors only. The way back
//! is written by hand, layer by layer, in plain tensor operations over the rows; base weights are frozen, so that no
//! gradient of theirs is formed. Products are candle's. What is compared, and what it is worth, is `midcourse_core::train`'s.
//!
//! `docs/adr/0018-a-tree-is-a-batch.md` says why there is no tape.

mod adamw;
mod attention;
mod export;
mod gate;
mod head;
mod layer;
mod layout;
mod load;
mod lora;
mod norm;
mod policy;
mod projection;
mod real;
mod rows;
#[cfg(test)]
mod tests;

pub use adamw::{AdamW, AdamWOptions};
pub use export::ExportedAdapter;
pub use layer::AdapterUse;
pub use layout::Batch;
pub use load::Trainable;
pub use lora::{AdapterTensor, Gradients, Lora, LoraOptions, Targets};
pub use policy::{Pass, Policy, Recompute};
pub use real::Real;
