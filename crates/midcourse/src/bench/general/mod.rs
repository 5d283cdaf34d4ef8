//! General ability: tasks as files of data, scored by likelihoods or by what is written.

mod likelihoods;
pub(crate) mod pull;
mod replies;
mod rows;
mod task;
mod window;

use std::path::Path;

use anyhow::Result;
use midcourse_core::bench::{TaskSpec, builtin};
use midcourse_core::report::strip_controls;
use midcourse_engine::files;

use super::{BenchPlan, Task};
use crate::failure::Failure;
use crate::terminal::say;

use task::GeneralTask;

/// The name of all tasks that are built in.
pub(crate) const ALL: &str = "general";
/// Built in, but run by their names only: their rows are nobody's but the user's.
const BY_NAME: [&str; 1] = ["perplexity"];
/// Bytes of the longest task file.
const MAX_FILE: u64 = 1 << 20;

/// The tasks that a name stands for; none where it is no name of a general task.
pub(crate) fn named(name: &str, plan: &BenchPlan) -> Result<Option<Vec<Box<dyn Task>>>> {
    if name == ALL {
        return all(plan).map(Some);
    }
    let spec = if Path::new(name).extension().is_some_and(|ending| ending == "toml") {
        read(Path::new(name))?
    } else if let Some(spec) = builtin::task(name) {
        spec?
    } else {
        return Ok(None);
    };
    let task = GeneralTask::read(spec, plan)?;
    Ok(Some(vec![Box::new(task)]))
}

/// Every built-in task whose rows are there; the others are said.
fn all(plan: &BenchPlan) -> Result<Vec<Box<dyn Task>>> {
    let dir = task::data_dir(plan)?;
    let mut tasks: Vec<Box<dyn Task>> = Vec::new();
    let mut without = Vec::new();
    for name in builtin::names().filter(|name| !BY_NAME.contains(name)) {
        let Some(spec) = builtin::task(name).transpose()? else { continue };
        if task::has_rows(&dir, &spec, plan)? {
            tasks.push(Box::new(GeneralTask::read(spec, plan)?));
        } else {
            without.push(name);
        }
    }
    if tasks.is_empty() {
        return Err(Failure::Input {
            problem: format!("{}: expected the rows of a general task, found none", dir.display()),
            hint: "fetch them once with `midcourse data pull general`, or name a directory with --data"
                .into(),
        }
        .into());
    }
    if !without.is_empty() {
        say(&format!("left out, since {} has no rows of them: {}", dir.display(), without.join(", ")));
    }
    Ok(tasks)
}

fn read(path: &Path) -> Result<TaskSpec> {
    let name = path.display().to_string();
    let text = files::read_to_string(path, MAX_FILE).map_err(|error| Failure::Input {
        problem: format!("{name}: {error}"),
        hint: "docs/tasks.md describes task files and shows one".into(),
    })?;
    Ok(TaskSpec::parse(&strip_controls(&name), &text)?)
}

/// A built-in task, as it is listed.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Listed {
    pub task: &'static str,
    pub version: String,
    pub licence: String,
    pub source: String,
    /// Whether its rows are there.
    pub there: bool,
}

/// Every built-in task, and whether its rows are there.
pub(crate) fn list(plan_data: Option<&Path>) -> Result<Vec<Listed>> {
    let dir = plan_data.map_or_else(rows::cache, |dir| Ok(dir.to_owned()))?;
    let listed = |name: &'static str| {
        let Some(spec) = builtin::task(name).transpose()? else { return Ok(None) };
        let there = rows::find(&dir, &spec.rows, &spec.splits)?.is_some();
        let TaskSpec { version, licence, source, .. } = spec;
        Ok(Some(Listed { task: name, version, licence, source, there }))
    };
    builtin::names().filter_map(|name| listed(name).transpose()).collect()
}
