//! General ability: tasks as files of data, scored by likelihoods or by what is written.

use anyhow::Result;

use super::{BenchPlan, Task};

/// Names of the tasks that are built in.
pub(crate) const NAMES: [&str; 0] = [];

/// The tasks that a name stands for; none where it is no name of a general task.
pub(crate) fn named(_name: &str, _plan: &BenchPlan) -> Result<Option<Vec<Box<dyn Task>>>> {
    Ok(None)
}
