//! From a row to a question: what is asked, what is right, and what stands before it.
//!
//! # Source
//! lm-evaluation-harness 0.4.13, `api/task.py`: `fewshot_context`, `build_qa_turn`, `construct_requests`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::clean::cleaned;
use super::task::{Choices, Correct, Field, Listed, Scoring, TaskSpec, Written, as_text, kind};
use crate::judge::prompt::hex;
use crate::{Error, Result};

/// A row and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// File and line, for messages.
    pub place: String,
    /// Its columns.
    pub columns: Map<String, Value>,
}

/// What is asked of a model by a row, and what is right.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Hash of what is asked and what is right, without the shots.
    pub id: String,
    /// The group that the row is of.
    pub group: Option<String>,
    /// What stands before all shots.
    pub description: String,
    /// What is asked.
    pub asked: Asked,
    /// The row's columns.
    pub columns: Map<String, Value>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Which continuation is the likeliest.
    Choices {
        /// What stands before them.
        prompt: String,
        /// The continuations, without what separates them.
        choices: Vec<String>,
        /// Which of them are right.
        correct: Right,
    },
    /// After which beginning the rest is the likeliest.
    Contexts {
        /// The beginnings.
        contexts: Vec<String>,
        /// The rest, without what separates it.
        target: String,
        /// Number of the right one.
        correct: usize,
    },
    /// How likely one continuation is.
    Continuation {
        /// What stands before it.
        prompt: String,
        /// The continuation, with what separates it.
        target: String,
    },
    /// What the model writes.
    Written {
        /// What stands before it.
        prompt: String,
        /// The texts that are right.
        targets: Vec<String>,
    },
    /// How likely a whole text is.
    Rolling {
        /// The text.
        text: String,
    },
}

/// Which continuations are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// One of them.
    One(usize),
    /// Every one that is marked.
    Marked(Vec<bool>),
}

impl TaskSpec {
    /// The question of a row.
    ///
    /// # Errors
    /// For a missing column, an answer that is not among the choices, a single choice, or what a template makes an
    /// error of; with the row's place.
    pub fn question(&self, row: &TaskRow) -> Result<Question> {
        let columns = self.columns(row)?;
        let asked = self.asked(&columns, row)?;
        let text = |field: Option<&Field>| field.map(|field| field.text(&columns)).transpose();
        let group = text(self.group.as_ref()).map_err(|e| row.error(&e))?;
        let description = text(self.description.as_ref()).map_err(|e| row.error(&e))?.unwrap_or_default();
        let id = id(group.as_deref(), &asked);
        Ok(Question { id, group, description, asked, columns: row.columns.clone() })
    }

    /// The row's columns and those that are made of them.
    fn columns(&self, row: &TaskRow) -> Result<Map<String, Value>> {
        if let Some(column) = self.columns.iter().find(|column| !row.columns.contains_key(*column)) {
            let there: Vec<&str> = row.columns.keys().map(String::as_str).collect();
            return Err(row.wrong(
                &format!("task {}: the column `{column}` is missing, found {}", self.name, there.join(", ")),
                "a task file of your own can name other columns; docs/tasks.md shows one",
            ));
        }
        let mut columns = row.columns.clone();
        for made in &self.made {
            let value = made.value.value(&columns).map_err(|e| row.error(&e))?;
            columns.insert(made.name.clone(), cleaned(&made.clean, value));
        }
        Ok(columns)
    }

    fn asked(&self, columns: &Map<String, Value>, row: &TaskRow) -> Result<Asked> {
        let asked = match &self.scoring {
            Scoring::Choices(choices) => return choices.asked(columns, (row, &self.name)),
            Scoring::Contexts { contexts, target, correct } => {
                let contexts = contexts.texts(columns).map_err(|e| row.error(&e))?;
                let value = correct.value(columns).map_err(|e| row.error(&e))?;
                let correct =
                    among(&value, &contexts).ok_or_else(|| row.no_answer(&self.name, &value, contexts.len()));
                let (correct, target) = (correct?, target.text(columns));
                target.map(|target| Asked::Contexts { contexts, target, correct })
            }
            Scoring::Continuation { prompt, target } => prompt
                .text(columns)
                .and_then(|prompt| Ok(Asked::Continuation { prompt, target: target.text(columns)? })),
            Scoring::Written(written) => written.asked(columns),
            Scoring::Rolling { text } => text.text(columns).map(|text| Asked::Rolling { text }),
        };
        asked.map_err(|e| row.error(&e))
    }

    /// The texts that answered questions of one group put before every question of the group.
    pub fn shots_text(&self, answered: &[Question]) -> String {
        answered.iter().map(|question| self.answered(question)).collect()
    }

    fn answered(&self, question: &Question) -> String {
        let (prompt, separator, answer) = match &question.asked {
            Asked::Choices { prompt, choices, correct } => {
                let right = match correct {
                    Right::One(at) => Some(*at),
                    Right::Marked(marked) => marked.iter().position(|marked| *marked),
                };
                (prompt, self.separator.as_str(), right.map_or("", |at| &choices[at]))
            }
            Asked::Contexts { contexts, target, correct } => {
                (&contexts[*correct], self.separator.as_str(), target.as_str())
            }
            // lm-evaluation-harness separates here too, though the target brings what separates it.
            Asked::Continuation { prompt, target } => (prompt, self.separator.as_str(), target.as_str()),
            Asked::Written { prompt, targets } => {
                (prompt, self.separator.as_str(), targets.first().map_or("", String::as_str))
            }
            Asked::Rolling { text } => (text, "", ""),
        };
        let separator = if answer.is_empty() { "" } else { separator };
        [prompt, separator, answer, &self.shots.separator].concat()
    }

    /// The pairs of a context and its continuation whose likelihoods answer a question; of a question whose answer is
    /// written the context alone. `shots` is what [`TaskSpec::shots_text`] gave.
    pub fn pairs(&self, question: &Question, shots: &str) -> Vec<(String, String)> {
        let context = |prompt: &str| [question.description.as_str(), shots, prompt].concat();
        let after = |text: &str| [self.separator.as_str(), text].concat();
        match &question.asked {
            Asked::Choices { prompt, choices, .. } => {
                choices.iter().map(|choice| (context(prompt), after(choice))).collect()
            }
            Asked::Contexts { contexts, target, .. } => {
                contexts.iter().map(|beginning| (context(beginning), after(target))).collect()
            }
            Asked::Continuation { prompt, target } => vec![(context(prompt), target.clone())],
            Asked::Written { prompt, .. } => vec![(context(prompt), String::new())],
            Asked::Rolling { text } => vec![(String::new(), text.clone())],
        }
    }
}

impl Choices {
    fn asked(&self, columns: &Map<String, Value>, (row, task): (&TaskRow, &str)) -> Result<Asked> {
        let choices = match &self.listed {
            Listed::Fixed(choices) => choices.clone(),
            Listed::OfRow(field) => field.texts(columns).map_err(|e| row.error(&e))?,
        };
        if choices.len() < 2 {
            let problem = format!("task {task}: expected two choices or more, found {}", choices.len());
            return Err(
                row.wrong(&problem, "a question with one choice has nothing to choose: remove the row")
            );
        }
        let correct = match &self.correct {
            Correct::One(field) => {
                let value = field.value(columns).map_err(|e| row.error(&e))?;
                Right::One(among(&value, &choices).ok_or_else(|| row.no_answer(task, &value, choices.len()))?)
            }
            Correct::Labels(field) => {
                let labels = field.texts(columns).map_err(|e| row.error(&e))?;
                if labels.len() != choices.len() || !labels.iter().any(|label| label == "1") {
                    let problem = format!(
                        "task {task}: expected {} labels of 0 and 1, at least one of them 1, found {}",
                        choices.len(),
                        labels.join(", ")
                    );
                    return Err(row.wrong(&problem, "correct the row or remove it"));
                }
                Right::Marked(labels.iter().map(|label| label == "1").collect())
            }
        };
        let prompt = self.prompt.text(columns).map_err(|e| row.error(&e))?;
        Ok(Asked::Choices { prompt, choices, correct })
    }
}

impl Written {
    fn asked(&self, columns: &Map<String, Value>) -> Result<Asked> {
        let value = self.target.value(columns)?;
        let targets = match &value {
            Value::Array(items) => items.iter().map(as_text).collect(),
            other => as_text(other).map(|text| vec![text]),
        };
        let targets = targets.filter(|targets: &Vec<String>| !targets.is_empty()).ok_or_else(|| {
            self.target.wrong(&format!("expected a text or a list of texts, found {}", kind(&value)))
        })?;
        Ok(Asked::Written { prompt: self.prompt.text(columns)?, targets })
    }
}

/// The number of the choice that a value names: by its number, its number as a text, or its text.
fn among(value: &Value, choices: &[String]) -> Option<usize> {
    let number = match value {
        Value::Bool(flag) => Some(u64::from(*flag)),
        Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        Value::String(text) => return choices.iter().position(|choice| choice == text),
        other => other.as_u64(),
    };
    number.map(|number| number as usize).filter(|number| *number < choices.len())
}

impl TaskRow {
    fn wrong(&self, problem: &str, hint: &str) -> Error {
        Error::TaskRow { place: self.place.clone(), problem: problem.to_owned(), hint: hint.to_owned() }
    }

    /// An error of a template with the row's place.
    fn error(&self, error: &Error) -> Error {
        self.wrong(&error.to_string(), "correct the row, or the template of the task file")
    }

    fn no_answer(&self, task: &str, found: &Value, n: usize) -> Error {
        let found: String = found.to_string().chars().take(60).collect();
        let problem = format!(
            "task {task}: expected the right answer among {n} choices, counted from 0, found {found}"
        );
        self.wrong(&problem, "correct the row or remove it; rows without an answer cannot be scored")
    }
}

/// Hash of what is asked.
fn id(group: Option<&str>, asked: &Asked) -> String {
    let mut hash = Sha256::new();
    for text in [group.unwrap_or_default().to_owned()].into_iter().chain(asked.texts()) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hex(&hash.finalize()[..8])
}

impl Asked {
    /// All that is asked and what is right, as texts.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Choices { prompt, choices, correct } => {
                [std::slice::from_ref(prompt), choices, &[format!("{correct:?}")]].concat()
            }
            Self::Contexts { contexts, target, correct } => {
                [contexts.as_slice(), &[target.clone(), correct.to_string()]].concat()
            }
            Self::Continuation { prompt, target } => vec![prompt.clone(), target.clone()],
            Self::Written { prompt, targets } => [std::slice::from_ref(prompt), targets.as_slice()].concat(),
            Self::Rolling { text } => vec![text.clone()],
        }
    }
}

/// Tells equal items apart: the n-th of several with one id hashes its number besides.
pub fn apart(questions: &mut [Question]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for question in questions {
        let n = seen.entry(question.id.clone()).or_insert(0);
        if *n > 0 {
            question.id = hex(&Sha256::digest(format!("{}\0{n}", question.id))[..8]);
        }
        *n += 1;
    }
}
