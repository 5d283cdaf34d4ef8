//! What stands around prompt and response: the system prompt, a thought, the day.

use serde::{Deserialize, Serialize};

use super::Date;

/// How a conversation is framed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Framing {
    /// What stands before the conversation.
    pub system: System,
    /// What a thinking model has thought before its answer.
    pub thinking: Thinking,
    /// The day that the template takes for today.
    pub date: Date,
    /// What happens when the template changes the response.
    pub rewriting: Rewriting,
}

/// The system prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum System {
    /// What the template does by itself, which may be a system prompt of its own.
    #[default]
    Default,
    /// None, not even the template's own.
    None,
    /// This text.
    Text(String),
}

/// What a thinking model has thought before its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Thinking {
    /// The template is told not to think (`enable_thinking` is false).
    #[default]
    Off,
    /// A thought without words stands before the answer.
    Empty,
    /// This text stands there as the thought.
    Text(String),
}

/// What happens when a template changes the response that is to be forced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rewriting {
    /// It is an error.
    #[default]
    Refused,
    /// What the template makes of it is forced, and counted.
    Allowed,
}

impl From<String> for System {
    fn from(text: String) -> Self {
        match text.as_str() {
            "default" => Self::Default,
            "none" => Self::None,
            _ => Self::Text(text),
        }
    }
}

impl From<System> for String {
    fn from(system: System) -> Self {
        match system {
            System::Default => "default".into(),
            System::None => "none".into(),
            System::Text(text) => text,
        }
    }
}

impl From<String> for Thinking {
    fn from(text: String) -> Self {
        match text.as_str() {
            "off" => Self::Off,
            "empty" => Self::Empty,
            _ => Self::Text(text),
        }
    }
}

impl From<Thinking> for String {
    fn from(thinking: Thinking) -> Self {
        match thinking {
            Thinking::Off => "off".into(),
            Thinking::Empty => "empty".into(),
            Thinking::Text(text) => text,
        }
    }
}
