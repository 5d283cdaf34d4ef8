//! Everything but course-correction that a trained model may have gained or lost: general ability, refusals of harmless
//! prompts, resistance to jailbreaks.
//!
//! A *task* has *items*; an item has *values*, one a metric. What an item is scored by is the task's business; what two
//! runs are compared by is [`ItemRecord`] and [`TaskSummary`] alone.

mod record;

pub use record::{
    BenchSummary, Better, GroupSummary, ItemRecord, Kind, MetricSummary, SUMMARY_SCHEMA, TaskSummary,
};

pub use crate::metrics::Scale;
