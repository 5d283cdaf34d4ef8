//! Everything but course-correction that a trained model may have gained or lost: general ability, refusals of harmless
//! prompts, resistance to jailbreaks.
//!
//! A *task* has *items*; an item has *values*, one a metric. What an item is scored by is the task's business; what two
//! runs are compared by is [`ItemRecord`] and [`TaskSummary`] alone.
//!
//! A task of general ability is a file of data ([`TaskSpec`]): a row becomes a [`Question`], a question texts in tokens
//! ([`Divider`]) which are put [`together`] where they begin alike; what a model finds of them becomes a record, and
//! records become a summary. Tasks of safety have replies judged: [`safety`].

pub mod builtin;
mod bundles;
pub mod cipher;
mod clean;
mod lm_eval;
mod pattern;
mod question;
mod record;
pub mod safety;
mod score;
mod summary;
mod task;
mod task_file;
#[cfg(test)]
mod tests;
mod tokens;
mod written;

pub use crate::metrics::Scale;
pub use bundles::{Shared, Together, together};
pub use lm_eval::LmEvalResults;
pub use question::{Asked, Question, Right, TaskRow, apart};
pub use record::{
    BenchSummary, Better, GroupSummary, ItemRecord, Kind, MetricSummary, SUMMARY_SCHEMA, TaskSummary,
};
pub use score::{Findings, Likelihood};
pub use summary::Metric;
pub use task::{Field, Scoring, Shots, TaskSpec, Written};
pub use tokens::{Divider, Scored, Unscorable};
pub use written::ended;
