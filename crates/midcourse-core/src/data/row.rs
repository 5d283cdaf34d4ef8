//! One row of a data file, whatever it was written in, and typed access to its fields.
//!
//! A cell of a CSV file is a row's string field. This module knows types and emptiness, not formats.

use serde_json::{Map, Value};

use super::text::plain;
use crate::error::{Error, RowProblem};

/// What reading a field gives; [`At`] makes an error of the problem.
pub(super) type Read<T> = Result<T, RowProblem>;

/// A line of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    /// The file as the user named it.
    pub(super) file: &'a str,
    /// Line, counted from 1.
    pub(super) line: usize,
}

impl At<'_> {
    pub(super) fn error(self, problem: RowProblem) -> Error {
        Error::Row { file: self.file.to_owned(), line: self.line, problem }
    }
}

/// A row: where it stands and its fields by name.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) at: At<'a>,
    pub(super) fields: Map<String, Value>,
}

impl Row<'_> {
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> + Clone {
        self.fields.keys().map(String::as_str)
    }

    /// A string that must be there and may be empty.
    pub(super) fn string(&self, field: &str) -> Read<&str> {
        as_string(field, self.get(field))
    }

    /// A string that must be there and say something.
    pub(super) fn text(&self, field: &str) -> Read<&str> {
        saying(field, self.string(field)?)
    }

    /// A string that may be missing, null or empty.
    pub(super) fn optional_text(&self, field: &str) -> Read<Option<String>> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            _ => self.string(field).map(|text| Some(text.to_owned()).filter(|text| !is_blank(text))),
        }
    }

    /// A truth value that must be there.
    pub(super) fn bool(&self, field: &str) -> Read<bool> {
        as_bool(field, self.get(field))
    }

    /// The first name in alphabetical order that an object of name → bool holds to be true.
    pub(super) fn first_true(&self, field: &str) -> Read<Option<String>> {
        let Some(Value::Object(names)) = self.get(field) else {
            return Err(wrong_type(field, "an object of true and false", self.get(field)));
        };
        let mut first: Option<&String> = None;
        for (name, value) in names {
            let is_true = as_bool(&format!("{field}.{}", plain(name)), Some(value))?;
            if is_true && first.is_none_or(|first| name < first) {
                first = Some(name);
            }
        }
        Ok(first.cloned())
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }
}

pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// What a message calls a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A string without U+0000.
pub(super) fn as_string<'v>(field: &str, value: Option<&'v Value>) -> Read<&'v str> {
    match value {
        Some(Value::String(text)) if text.contains('\0') => {
            Err(RowProblem::NulInText { field: field.to_owned() })
        }
        Some(Value::String(text)) => Ok(text),
        other => Err(wrong_type(field, "a string", other)),
    }
}

/// The text, if it says something.
pub(super) fn saying<'t>(field: &str, text: &'t str) -> Read<&'t str> {
    if is_blank(text) { Err(RowProblem::Blank { field: field.to_owned() }) } else { Ok(text) }
}

fn as_bool(field: &str, value: Option<&Value>) -> Read<bool> {
    value.and_then(Value::as_bool).ok_or_else(|| wrong_type(field, "true or false", value))
}

pub(super) fn wrong_type(field: &str, expected: &'static str, found: Option<&Value>) -> RowProblem {
    RowProblem::WrongType { field: field.to_owned(), expected, found: found.map_or("nothing", kind) }
}
