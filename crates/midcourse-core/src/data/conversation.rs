//! Conversations in rows: lists of messages, from the column `messages` or from a `prompt` that is such a list, as
//! TRL's conversational data has it.
//!
//! The last text of the user is the prompt, what stands before it the history. An assistant's turn at the end is an
//! answer to it. Keys of a message other than `role` and `content` are ignored; contents in parts (images) are no
//! text and refused.

use serde_json::Value;

use super::row::{Read, Row, as_string, is_blank, saying, wrong_type};
use super::text::plain;
use crate::chat::{Message, Role};
use crate::error::RowProblem;

/// What a row asks.
pub(super) struct Conversation {
    /// The row's field that it stands in.
    pub(super) field: &'static str,
    /// What was said before the prompt.
    pub(super) history: Vec<Message>,
    /// The user's last text.
    pub(super) prompt: String,
    /// The assistant's turn after it, in the same list.
    pub(super) answer: Option<String>,
}

impl Conversation {
    /// A prompt without a history.
    pub(super) fn of(prompt: &str) -> Self {
        Self { field: "prompt", history: Vec::new(), prompt: prompt.to_owned(), answer: None }
    }
}

/// The field in which a row has a conversation, if it has one.
pub(super) fn field(row: &Row) -> Option<&'static str> {
    match (row.get("messages"), row.get("prompt")) {
        (Some(_), _) => Some("messages"),
        (None, Some(Value::Array(_))) => Some("prompt"),
        _ => None,
    }
}

/// Reads the row's conversation.
pub(super) fn read(row: &Row) -> Read<Conversation> {
    let field = field(row).unwrap_or("messages");
    let Some(Value::Array(list)) = row.get(field) else {
        return Err(wrong_type(field, "a list of messages", row.get(field)));
    };
    if list.is_empty() {
        return Err(RowProblem::Blank { field: field.to_owned() });
    }
    let messages = list.iter().enumerate().map(|(at, value)| message(&format!("{field}[{at}]"), value));
    let mut history: Vec<Message> = messages.collect::<Read<_>>()?;
    let twice = history.windows(2).position(|pair| pair.iter().all(|turn| turn.role == Role::Assistant));
    if let Some(at) = twice {
        return Err(RowProblem::AssistantTwice { field: format!("{field}[{}]", at + 1) });
    }
    // An answer beside the row's `response` answers nothing, and is found below.
    let has_response = row.get("response").is_some_and(|value| !is_nothing(value));
    let answer = history.pop_if(|last| last.role == Role::Assistant && !has_response);
    match history.pop() {
        Some(Message { role: Role::User, content }) => {
            Ok(Conversation { field, history, prompt: content, answer: answer.map(|turn| turn.content) })
        }
        Some(Message { role: Role::Assistant, .. }) => {
            Err(RowProblem::NothingAsked { field, found: "one of the assistant" })
        }
        Some(_) => Err(RowProblem::NothingAsked { field, found: "one of the system" }),
        None => Err(RowProblem::NothingAsked { field, found: "nothing before it" }),
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(is_blank)
}

/// A message; only the system may say nothing.
fn message(field: &str, value: &Value) -> Read<Message> {
    let message = any_message(field, value)?;
    if message.role != Role::System {
        saying(&format!("{field}.content"), &message.content)?;
    }
    Ok(message)
}

/// A message, which may say nothing.
pub(super) fn any_message(field: &str, value: &Value) -> Read<Message> {
    let Value::Object(fields) = value else {
        return Err(wrong_type(field, "a message with `role` and `content`", Some(value)));
    };
    let in_message = |name: &str| format!("{field}.{name}");
    let role = match as_string(&in_message("role"), fields.get("role"))? {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => return Err(RowProblem::UnknownRole { field: in_message("role"), found: plain(other) }),
    };
    let content = as_string(&in_message("content"), fields.get("content"))?;
    Ok(Message { role, content: content.to_owned() })
}
