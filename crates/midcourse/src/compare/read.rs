//! From the directory of a finished run to what it has measured.

use std::path::Path;

use anyhow::Result;
use midcourse_core::bench::{BenchSummary, ItemRecord, SUMMARY_SCHEMA, TaskSummary};
use midcourse_core::compare::{Evaluation, Measured, of_bench, of_evaluation};

use crate::bench::{ITEMS, SUMMARY};
use crate::evaluated::Evaluated;
use crate::failure::Failure;
use crate::judges::JudgeIdentity;
use crate::pages::{read_json, read_manifest};
use crate::run_dir::JUDGE;
use crate::train::pages::is_training;
use crate::{model, run_dir};

/// A run, and what it is called where the user does not say.
pub(super) struct Recorded {
    pub(super) name: String,
    pub(super) measures: Vec<Measured>,
}

/// Reads what a run has measured.
pub(super) fn recorded(dir: &Path) -> Result<Recorded> {
    let has = |name: &str| dir.join(name).is_file();
    if has(JUDGE) && has(run_dir::SCORES) {
        return judged(dir);
    }
    if has(run_dir::SCORES) {
        return Ok(Recorded { name: name(dir), measures: evaluation(dir, dir, None)? });
    }
    if has(SUMMARY) {
        return Ok(Recorded { name: name(dir), measures: bench(dir)? });
    }
    Err(not_a_run(dir).into())
}

/// What another judge says of a run: `RUN/judges/JUDGE`.
fn judged(dir: &Path) -> Result<Recorded> {
    let run = dir.parent().and_then(Path::parent).unwrap_or(dir);
    let path = dir.join(JUDGE);
    let wrong = |problem: String| Failure::Input {
        problem: format!("{}: {problem}", path.display()),
        hint: "`midcourse judge RUN --judge J` writes it".into(),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let judge: JudgeIdentity = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Recorded { name: name(run), measures: evaluation(run, dir, Some(judge))? })
}

fn evaluation(run: &Path, judged: &Path, judge: Option<JudgeIdentity>) -> Result<Vec<Measured>> {
    let Evaluated { scores, harmful, benign } = Evaluated::read(run, judged)?;
    let own = || -> Result<Option<JudgeIdentity>> { Ok(read_manifest(run)?.and_then(|m| m.judge_identity)) };
    let judge = judge.map_or_else(own, |judge| Ok(Some(judge)))?;
    let judge = judge.map_or_else(|| scores.judge.clone(), |judge| judge.summary());
    Ok(of_evaluation(Evaluation { scores: &scores, judge, harmful, benign }))
}

fn bench(dir: &Path) -> Result<Vec<Measured>> {
    let summary: BenchSummary = read_json(&dir.join(SUMMARY), SUMMARY_SCHEMA)?;
    if !dir.join(ITEMS).is_file() {
        return Err(Failure::Input {
            problem: format!("{}: expected the file {ITEMS} of a finished run, found none", dir.display()),
            hint: "copy the whole directory of the run, or measure again".into(),
        }
        .into());
    }
    let items: Vec<ItemRecord> = run_dir::read_records(&dir.join(ITEMS))?;
    summary.tasks.iter().try_for_each(|task| must_agree(dir, task, &items))?;
    Ok(of_bench(&summary, &items))
}

/// Refuses records that are not those which the figures were counted from.
fn must_agree(dir: &Path, task: &TaskSummary, items: &[ItemRecord]) -> Result<()> {
    for metric in &task.metrics {
        let of_task = items.iter().filter(|item| item.task == task.task);
        let n = of_task.filter(|item| item.values.contains_key(&metric.metric)).count();
        if n != metric.n {
            return Err(Failure::Input {
                problem: format!(
                    "{}: expected {} items of {} with a value of {} as {SUMMARY} says, found {n} in {ITEMS}",
                    dir.display(),
                    metric.n,
                    task.task,
                    metric.metric
                ),
                hint: "a file was cut off or is another run’s: copy the whole directory of the run".into(),
            }
            .into());
        }
    }
    Ok(())
}

/// The model and its adapter, as the run's plan names them; else the directory.
fn name(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join(run_dir::PLAN)).unwrap_or_default();
    let plan: toml::Table = text.parse().unwrap_or_default();
    let named = |key: &str| plan.get(key).and_then(toml::Value::as_str);
    let Some(model) = named("model") else { return dir.display().to_string() };
    let model = model::short_name(model);
    named("adapter").map_or_else(|| model.clone(), |adapter| format!("{model} + {}", adapter_name(adapter)))
}

/// An adapter's directory; of one that `midcourse train` made, the training's.
fn adapter_name(adapter: &str) -> String {
    let path = Path::new(adapter);
    let of_training = path.file_name().is_some_and(|name| name == "adapter");
    let named = path.parent().filter(|parent| of_training && parent.file_name().is_some()).unwrap_or(path);
    model::short_name(&named.display().to_string())
}

/// What is wrong with a directory that holds no finished run.
fn not_a_run(dir: &Path) -> Failure {
    let has = |name: &str| dir.join(name).is_file();
    let shown = dir.display();
    let resume = |command: &str| format!("`midcourse {command} --resume --out {shown}` goes on with it");
    let (problem, hint) = if !dir.exists() {
        ("no such directory".to_owned(), "name the directory of a run, or NAME=DIR".to_owned())
    } else if is_training(dir) {
        (
            "this is a training, which holds two runs".into(),
            format!("compare {shown}/before {shown}/after; a training with --eval-data has them"),
        )
    } else if has(run_dir::TRIALS) || has(run_dir::SAMPLES) {
        (format!("the run has not ended: there is no {}", run_dir::SCORES), resume("eval"))
    } else if has(ITEMS) {
        (format!("the run has not ended: there is no {SUMMARY}"), resume("bench"))
    } else {
        (
            format!("expected a run of `eval` or `bench`, found neither {} nor {SUMMARY}", run_dir::SCORES),
            "`midcourse eval` and `midcourse bench` with --out DIR make one".into(),
        )
    };
    Failure::Input { problem: format!("{shown}: {problem}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_called_after_its_model_and_its_adapter() {
        let dir = tempfile::tempdir().unwrap();
        let named = |plan: &str| {
            std::fs::write(dir.path().join(run_dir::PLAN), plan).unwrap();
            name(dir.path())
        };
        assert_eq!(named("model = \"smollm2\""), "smollm2");
        assert_eq!(named("model = \"a/b.gguf\"\nadapter = \"runs/taught/adapter\""), "b + taught");
        assert_eq!(named("model = \"smollm2\"\nadapter = \"/tmp/lora-7\""), "smollm2 + lora-7");
        assert_eq!(named("model = \"smollm2\"\nadapter = \"adapter\""), "smollm2 + adapter");
        assert_eq!(named("not = [toml"), dir.path().display().to_string());
    }
}
