//! Benchmarks: what else a trained model may have gained or lost.
//!
//! A run has tasks ([`Task`]), a task has items, an item becomes a record. General tasks are files of data
//! ([`general`]); those of safety judge replies. What is recorded is `midcourse_core::bench::record`'s.

mod args;
mod general;
mod lm_eval;
mod manifest;
mod options;
mod pages;
mod run;
mod safety;
mod task;

use std::rc::Rc;

use anyhow::Result;

pub(crate) use args::BenchArgs;
pub(crate) use general::{Listed, list, pull};
pub(crate) use lm_eval::LmEvalFiles;
pub(crate) use manifest::{BenchManifest, read_manifest};
pub(crate) use options::{BenchOptions, BenchPlan};
pub(crate) use pages::{is_benchmark, terminal, write as write_pages};
pub(crate) use run::BenchRun;
pub(crate) use safety::SafetyOptions;
pub(crate) use task::{Task, TaskForetold, Work};

use crate::failure::Failure;
use crate::judges::KnownJudge;

/// The records of a run.
pub(crate) const ITEMS: &str = "items.jsonl";
/// What they come to.
pub(crate) const SUMMARY: &str = "summary.json";

/// The tasks that a plan names, their rows read, each once and in the order in which they are named.
pub(crate) fn tasks(plan: &BenchPlan, judge: &Rc<KnownJudge>) -> Result<Vec<Box<dyn Task>>> {
    let mut tasks: Vec<Box<dyn Task>> = Vec::new();
    for name in &plan.tasks {
        let named = match general::named(name, plan)? {
            Some(named) => Some(named),
            None => safety::named(name, plan, judge)?,
        };
        let named = named.ok_or_else(|| unknown(name))?;
        for task in named {
            if tasks.iter().any(|there| there.name() == task.name()) {
                return Err(twice(task.name()).into());
            }
            tasks.push(task);
        }
    }
    Ok(tasks)
}

fn unknown(name: &str) -> Failure {
    Failure::Usage {
        problem: format!("--tasks: no task is called {name}"),
        hint: format!(
            "there are general, {}, safety, {}, and files that end with .toml",
            names(),
            safety::NAMES.join(", ")
        ),
    }
}

fn twice(name: &str) -> Failure {
    Failure::Usage {
        problem: format!("--tasks: {name} is named twice"),
        hint: "name every task once; general and safety name all of theirs".into(),
    }
}

/// The names of the safety tasks.
pub(crate) fn safety_names() -> &'static [&'static str] {
    &safety::NAMES
}

/// The names of the general tasks, by commas.
fn names() -> String {
    midcourse_core::bench::builtin::names().collect::<Vec<_>>().join(", ")
}
