//! Preference training: what is scored of an answer, and what the scores are worth.
//!
//! An [`Example`] is the tree of one prompt's answers, made by [`Preparing`] a ranking or plain pairs. An
//! [`Objective`] says which of its tokens are compared; [`Terms`] form the loss and its gradient from the
//! log-probabilities of these tokens alone, so that nothing here knows tensors.
//!
//! Source: Rafailov et al. 2023 for DPO, Azar et al. 2024 for IPO, Qi et al. 2024 for recovery; `fork` is our own
//! (`docs/adr/0018-a-tree-is-a-batch.md`).

mod dropped;
mod example;
#[cfg(test)]
mod fixture;
mod loss;
mod objective;
mod order;
mod pairwise;
mod prepare;
mod record;
mod schedule;
mod terms;
#[cfg(test)]
mod tests;
mod trie;

pub use dropped::{DropReason, Dropped, Lost};
pub use example::{Example, Scored};
pub use loss::{Loss, Mean, Measured};
pub use objective::{Objective, ObjectiveSettings};
pub use order::{Division, Mix, OrderSettings};
pub use pairwise::{AnswerSpan, PairRow, pair_rows};
pub use prepare::{Prepared, Preparing};
pub use record::{EvalRecord, StepFacts, StepRecord, Sums};
pub use schedule::{LearningRate, Schedule};
pub use terms::Terms;
pub use trie::{Segment, Trie};
