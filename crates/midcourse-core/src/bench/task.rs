//! Tasks of general ability, as files of data: where the rows are, what is asked of each, what is right.
//!
//! The fields follow lm-evaluation-harness, whose tasks the built-in ones are; a file says nothing that is run but
//! templates and patterns, which have budgets. `docs/tasks.md` describes the fields.

use serde_json::{Map, Value};

use super::clean::Step;
use super::written::{Filter, Match};
use crate::template::{RowTemplate, TemplateFault};
use crate::{Error, Result};

/// A task.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// Its name, which its figures have.
    pub name: String,
    /// Changes when figures are no longer comparable.
    pub version: String,
    /// What its files of rows are called.
    pub rows: String,
    /// Its name in lm-evaluation-harness.
    pub lm_eval: String,
    /// Where the rows come from, as people find them.
    pub source: String,
    /// The rows' licence, by its usual name.
    pub licence: String,
    /// The splits that items are taken from: the first that is there.
    pub splits: Vec<String>,
    /// Columns that every row must have.
    pub columns: Vec<String>,
    /// The answered questions before a question.
    pub shots: Shots,
    /// What is asked and what is right.
    pub scoring: Scoring,
    /// SHA-256 of the task file.
    pub sha256: String,
    pub(super) group: Option<Field>,
    pub(super) made: Vec<MadeColumn>,
    pub(super) description: Option<Field>,
    pub(super) separator: String,
}

/// The answered questions before a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shots {
    /// The splits they are taken from: the first that is there.
    pub splits: Vec<String>,
    /// How many there are where nothing else is asked for.
    pub n: usize,
    /// What stands after each.
    pub separator: String,
}

/// What is asked and what is right.
#[derive(Debug, Clone)]
pub enum Scoring {
    /// One prompt, several continuations: the likeliest is the answer.
    Choices(Choices),
    /// Several beginnings of one text: that after which the rest is likeliest is the answer.
    Contexts {
        /// A list of beginnings.
        contexts: Field,
        /// The rest of the text.
        target: Field,
        /// Number of the right beginning.
        correct: Field,
    },
    /// One continuation, whose likelihood is told and whether it is what the model would write.
    Continuation {
        /// What stands before it.
        prompt: Field,
        /// The continuation, with what separates it.
        target: Field,
    },
    /// A reply is written and compared.
    Written(Box<Written>),
    /// A whole text, token by token.
    Rolling {
        /// The text.
        text: Field,
    },
}

/// One prompt and several continuations.
#[derive(Debug, Clone)]
pub struct Choices {
    pub(super) prompt: Field,
    pub(super) listed: Listed,
    pub(super) correct: Correct,
    /// Whether accuracy by length is told.
    pub(super) by_length: ByLength,
}

/// Which continuations are right.
#[derive(Debug, Clone)]
pub(super) enum Correct {
    /// The one of this number or text.
    One(Field),
    /// Those whose label is 1: the share of the probability that they have counts.
    Labels(Field),
}

/// Whether the likelihood divided by the number of characters decides another accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByLength {
    Told,
    NotTold,
}

/// A list that is the same for every row, or one of the row's own.
#[derive(Debug, Clone)]
pub(super) enum Listed {
    Fixed(Vec<String>),
    OfRow(Field),
}

/// How replies are written and compared.
#[derive(Debug, Clone)]
pub struct Written {
    pub(super) prompt: Field,
    /// A text or a list of texts.
    pub(super) target: Field,
    /// Texts that end a reply.
    pub until: Vec<String>,
    /// Tokens that a reply may have.
    pub max_tokens: usize,
    pub(super) filters: Vec<Filter>,
    pub(super) matching: Match,
}

/// A column that is made of others.
#[derive(Debug, Clone)]
pub(super) struct MadeColumn {
    pub name: String,
    pub value: Field,
    pub clean: Vec<Step>,
}

/// A template of a task file.
#[derive(Debug, Clone)]
pub struct Field {
    pub(super) name: &'static str,
    pub(super) template: RowTemplate,
    /// The task file, as messages name it.
    pub(super) file: String,
    /// Line of the file on which the template's first line stands.
    pub(super) line: usize,
}

impl Field {
    /// The value for a row.
    ///
    /// # Errors
    /// Where and why the template was stopped, or what the value should be and is not.
    pub(super) fn value(&self, row: &Map<String, Value>) -> Result<Value> {
        self.template.value(row).map_err(|fault| self.fault(fault))
    }

    /// The text for a row.
    pub(super) fn text(&self, row: &Map<String, Value>) -> Result<String> {
        self.template.text(row).map_err(|fault| self.fault(fault))
    }

    /// The list of texts for a row.
    pub(super) fn texts(&self, row: &Map<String, Value>) -> Result<Vec<String>> {
        let value = self.value(row)?;
        let wrong = || self.wrong(&format!("expected a list of texts, found {}", kind(&value)));
        let items = value.as_array().ok_or_else(wrong)?;
        items.iter().map(|item| as_text(item).ok_or_else(wrong)).collect()
    }

    /// An error that says of the field what is wrong.
    pub(super) fn wrong(&self, problem: &str) -> Error {
        self.fault(TemplateFault { line: 1, problem: problem.to_owned() })
    }

    fn fault(&self, TemplateFault { line, problem }: TemplateFault) -> Error {
        Error::TaskFile {
            file: self.file.clone(),
            line: self.line + line - 1,
            problem: format!("`{}`: {problem}", self.name),
        }
    }
}

/// A text, or a number as its text.
pub(super) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

impl TaskSpec {
    /// Whether its rows stand in groups, such as subjects.
    pub fn has_groups(&self) -> bool {
        self.group.is_some()
    }
}
