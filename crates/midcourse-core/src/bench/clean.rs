//! Mending texts of a data set before they are asked: a list of small steps, in order.

use serde::Deserialize;
use serde_json::Value;

use super::pattern::Pattern;

/// A step as a task file has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum StepText {
    /// White space at both ends goes.
    Strip,
    /// The first text is replaced by the second.
    Replace([String; 2]),
    /// What the first, a pattern, matches is replaced by the second.
    ReplacePattern([String; 2]),
}

/// A step.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Strip,
    Replace(String, String),
    ReplacePattern(Pattern, String),
}

impl Step {
    /// # Errors
    /// For a pattern that is none.
    pub(super) fn new(text: StepText) -> Result<Self, String> {
        Ok(match text {
            StepText::Strip => Self::Strip,
            StepText::Replace([old, new]) => Self::Replace(old, new),
            StepText::ReplacePattern([pattern, new]) => Self::ReplacePattern(Pattern::new(&pattern)?, new),
        })
    }

    fn text(&self, text: &str) -> String {
        match self {
            Self::Strip => text.trim_matches(crate::template::is_space).to_owned(),
            Self::Replace(old, new) => text.replace(old, new),
            Self::ReplacePattern(pattern, new) => pattern.replace(text, new),
        }
    }
}

/// A value after all steps: texts, and those in lists, are changed.
pub(super) fn cleaned(steps: &[Step], value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(steps.iter().fold(text, |text, step| step.text(&text))),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| cleaned(steps, item)).collect()),
        other => other,
    }
}
