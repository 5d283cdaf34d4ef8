//! A general task in a run: its rows read, its shots chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::bench::{ItemRecord, Question, Scoring, TaskRow, TaskSpec, TaskSummary, apart};
use rayon::prelude::*;

use super::rows::{self, Rows};
use super::window::{Window, windows};
use super::{likelihoods, replies};
use crate::bench::{BenchPlan, LmEvalFiles, Task, TaskForetold, Work};
use crate::failure::Failure;
use crate::model::{MeasurableModel, Outline};

/// A general task.
pub(super) struct GeneralTask {
    pub spec: TaskSpec,
    pub questions: Vec<Question>,
    /// What stands before the questions of a group.
    shots: BTreeMap<Option<String>, String>,
    n_shots: usize,
    identity: BTreeMap<String, String>,
}

/// Where the rows of a plan lie.
pub(super) fn data_dir(plan: &BenchPlan) -> Result<PathBuf> {
    plan.options.data.clone().map_or_else(rows::cache, Ok)
}

/// Whether a task's rows are there, and those of its shots where it has some.
pub(super) fn has_rows(dir: &Path, spec: &TaskSpec, plan: &BenchPlan) -> Result<bool> {
    let n_shots = n_shots(spec, plan);
    let has_shots = n_shots == 0
        || rows::find(dir, &spec.rows, &spec.shots.splits)?.is_some_and(|rows| rows.split.is_some());
    Ok(has_shots && rows::find(dir, &spec.rows, &spec.splits)?.is_some())
}

/// The shots of a task; none of one that has no rows for them, whatever is asked for.
fn n_shots(spec: &TaskSpec, plan: &BenchPlan) -> usize {
    if spec.shots.splits.is_empty() { 0 } else { plan.options.shots.unwrap_or(spec.shots.n) }
}

impl GeneralTask {
    /// Reads the rows of a task and of its shots.
    pub(super) fn read(spec: TaskSpec, plan: &BenchPlan) -> Result<Self> {
        let dir = data_dir(plan)?;
        let splits = |splits: &[String]| {
            splits.iter().map(|split| format!("{}.{split}.jsonl", spec.rows)).collect::<Vec<_>>().join(" or ")
        };
        let missing = |what: &str, files: String| {
            Failure::Input {
            problem: format!("{}: task {}: {what} are missing, expected {files}", dir.display(), spec.name),
            hint: "`midcourse data pull general` fetches rows; --data names a directory with files of one's own \
                   (.jsonl, .csv, .parquet)"
                .into(),
        }
        };
        let found = rows::find(&dir, &spec.rows, &spec.splits)?;
        let found = found.ok_or_else(|| missing("its rows", splits(&spec.splits)))?;
        let n_shots = n_shots(&spec, plan);
        let answered = match n_shots {
            0 => None,
            _ => rows::find(&dir, &spec.rows, &spec.shots.splits)?.filter(|rows| rows.split.is_some()),
        };
        if n_shots > 0 && answered.is_none() {
            return Err(missing("the rows of its shots", splits(&spec.shots.splits)).into());
        }
        let limit = plan.options.limit;
        let questions = limited(questions(&spec, &found.all)?, limit);
        let shots =
            answered.as_ref().map_or(Ok(BTreeMap::new()), |rows| shots(&spec, rows, &questions, n_shots))?;
        let mut identity = BTreeMap::from([
            ("version".to_owned(), spec.version.clone()),
            ("task_sha256".to_owned(), spec.sha256.clone()),
            ("data_sha256".to_owned(), found.sha256.clone()),
            ("shots".to_owned(), n_shots.to_string()),
            ("limit".to_owned(), limit.map_or("none".to_owned(), |n| n.to_string())),
        ]);
        identity.extend(found.split.clone().map(|split| ("split".to_owned(), split)));
        identity.extend(answered.map(|rows| ("shots_sha256".to_owned(), rows.sha256)));
        Ok(Self { spec, questions, shots, n_shots, identity })
    }

    /// What stands before a question.
    pub(super) fn shots_before(&self, question: &Question) -> &str {
        self.shots.get(&question.group).map_or("", String::as_str)
    }
}

fn questions(spec: &TaskSpec, rows: &[TaskRow]) -> Result<Vec<Question>> {
    let questions: Result<Vec<Question>, _> = rows.par_iter().map(|row| spec.question(row)).collect();
    let mut questions = questions?;
    apart(&mut questions);
    Ok(questions)
}

/// The first `limit` of every group.
fn limited(questions: Vec<Question>, limit: Option<usize>) -> Vec<Question> {
    let Some(limit) = limit else { return questions };
    let mut taken: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let within = |question: &Question| {
        let n = taken.entry(question.group.clone()).or_default();
        *n += 1;
        *n <= limit
    };
    questions.into_iter().filter(within).collect()
}

/// The first answered questions of every group that is asked about, as text.
fn shots(
    spec: &TaskSpec,
    rows: &Rows,
    asked: &[Question],
    n_shots: usize,
) -> Result<BTreeMap<Option<String>, String>> {
    let mut answered: BTreeMap<Option<String>, Vec<Question>> = BTreeMap::new();
    for question in questions(spec, &rows.all)? {
        answered.entry(question.group.clone()).or_default().push(question);
    }
    let groups: BTreeSet<&Option<String>> = asked.iter().map(|question| &question.group).collect();
    let of_group = |group: &Option<String>| {
        let there = answered.get(group).map_or(&[][..], Vec::as_slice);
        let Some(first) = there.get(..n_shots) else {
            let of = group.as_ref().map_or(String::new(), |group| format!(" of {group}"));
            return Err(Failure::Input {
                problem: format!(
                    "{}: task {}: expected {n_shots} answered rows{of} for its shots, found {}",
                    rows.file.display(),
                    spec.name,
                    there.len()
                ),
                hint: "lower --shots, or add rows to the file".into(),
            });
        };
        Ok((group.clone(), spec.shots_text(first)))
    };
    Ok(groups.into_iter().map(of_group).collect::<Result<_, Failure>>()?)
}

impl Task for GeneralTask {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn identity(&self) -> BTreeMap<String, String> {
        self.identity.clone()
    }

    fn items(&self) -> Vec<String> {
        self.questions.iter().map(|question| question.id.clone()).collect()
    }

    fn foretell(&self, outline: &Outline) -> Result<TaskForetold> {
        let mut foretold = TaskForetold {
            task: self.spec.name.clone(),
            n_items: self.questions.len(),
            ..TaskForetold::default()
        };
        for range in windows(self.questions.len()) {
            let window = Window::lay_out(self, range, (outline.tokenizer.as_ref(), outline.context));
            window.count(&mut foretold);
        }
        if let Scoring::Written(written) = &self.spec.scoring {
            foretold.n_tokens_written_at_most = foretold.n_requests * written.max_tokens;
        }
        Ok(foretold)
    }

    fn measure(&self, model: &MeasurableModel, work: &mut Work<'_>) -> Result<()> {
        for range in windows(self.questions.len()) {
            if work.stopping() {
                return Ok(());
            }
            if self.questions[range.clone()].iter().all(|question| work.is_done(&question.id)) {
                continue;
            }
            let window = Window::lay_out(self, range, (model.tokenizer.as_ref(), model.engine.context()));
            match &self.spec.scoring {
                Scoring::Written(written) => replies::measure(&window, written, model, work)?,
                _ => likelihoods::measure(&window, model, work)?,
            }
        }
        Ok(())
    }

    fn summarise(&self, records: &[ItemRecord]) -> Result<TaskSummary> {
        Ok(self.spec.summary(self.identity.clone(), records))
    }

    fn write_lm_eval(
        &self,
        (summary, records): (&TaskSummary, &[ItemRecord]),
        files: &mut LmEvalFiles,
    ) -> Result<()> {
        files.results.add(&self.spec, summary, self.n_shots);
        let mut samples: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for (question, record) in self.questions.iter().zip(records) {
            let (at, lines) = samples.entry(self.spec.lm_eval_task(question)).or_default();
            let shots = self.shots_before(question);
            for sample in self.spec.lm_eval_samples(question, (shots, *at), record) {
                *lines += &serde_json::to_string(&sample)?;
                lines.push('\n');
            }
            *at += 1;
        }
        samples.into_iter().try_for_each(|(task, (_, lines))| files.write_samples(&task, &lines))
    }
}
