//! Preference training: what is scored of an answer, and what the scores are worth.
//!
//! An [`Example`] is the tree of one prompt's answers. An objective says which of its tokens are compared; the loss and
//! its gradient are formed from the log-probabilities of these tokens alone, so that nothing here knows tensors.
//!
//! Source: Rafailov et al. 2023 for DPO, Azar et al. 2024 for IPO, Qi et al. 2024 for recovery; `fork` is our own
//! (`docs/adr/0018-a-tree-is-a-batch.md`).

mod trie;

pub use trie::{Segment, Trie};
