//! `/v1/chat/completions`: conversations in, answers or the rest of an opened answer out.

use midcourse_core::chat::{Message, Role};
use midcourse_core::engine::TokenId;
use midcourse_core::template::{
    ChatTemplate, Mode, Next, Thinking, Thought, encode_conversation, prefill_after,
};
use serde_json::{Map, Value};

use super::asked::{Asked, MAX_LIKELIEST};
use super::completions::room;
use super::error::ApiError;
use super::fields::{Fields, wrong};
use super::reply::{Generation, Kind};
use super::scheduler::{Scope, Scoring};
use crate::model::EmbeddedModel;

/// Reads a request.
pub(super) fn generation(fields: &Fields, model: &EmbeddedModel) -> Result<Generation, ApiError> {
    let asked = Asked::of(fields)?;
    fields.refuse(&[("echo", &["false"]), ("add_special_tokens", &["false"])])?;
    let prompt = conversation(fields, model)?;
    let context = model.engine.context();
    let max_tokens = match fields.count("max_completion_tokens", 1..=context)? {
        Some(max_tokens) => max_tokens,
        None => match fields.count("max_tokens", 1..=context)? {
            Some(max_tokens) => max_tokens,
            None => context.saturating_sub(prompt.len()).max(1),
        },
    };
    room("messages", prompt.len(), (max_tokens, context))?;
    let job = asked.job(vec![prompt], max_tokens, scoring(fields)?)?;
    Ok(Generation { kind: Kind::Chat, job, echoed: Vec::new(), asked })
}

fn scoring(fields: &Fields) -> Result<Option<Scoring>, ApiError> {
    let n_likeliest = fields.count("top_logprobs", 0..=MAX_LIKELIEST)?;
    match (fields.flag("logprobs")?, n_likeliest) {
        (true, n) => Ok(Some(Scoring { of: Scope::Sampled, n_likeliest: n.unwrap_or(0) })),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(ApiError::field("top_logprobs", "expected `logprobs` to be true with it")),
    }
}

/// The tokens of the conversation that a request brings.
pub(super) fn conversation(fields: &Fields, model: &EmbeddedModel) -> Result<Vec<TokenId>, ApiError> {
    let messages = messages(fields)?;
    let opens = fields.get("add_generation_prompt").is_none() || fields.flag("add_generation_prompt")?;
    let continues = fields.flag("continue_final_message")?;
    if continues && opens {
        let problem = "expected add_generation_prompt to be false with it, found true, which is its default";
        return Err(ApiError::field("continue_final_message", problem));
    }
    let (template, thinks) = thinking(fields, &model.template)?;
    let tokenizer = model.tokenizer.as_ref();
    let ids = match messages.split_last() {
        Some((last, before)) if continues => {
            let is_open =
                last.role == Role::Assistant && before.iter().any(|message| message.role == Role::User);
            if !is_open {
                let problem = "expected the last message to be the assistant's, after one of the user";
                return Err(ApiError::field("continue_final_message", problem));
            }
            if thinks {
                let problem = "expected false with continue_final_message, found true";
                return Err(ApiError::field("chat_template_kwargs.enable_thinking", problem));
            }
            let answer = (before, last.content.as_str());
            prefill_after(&template, tokenizer, answer, Mode::OpenTurn).map(|prefill| prefill.ids)
        }
        _ => {
            let thought = if thinks { Thought::Free } else { Thought::Framed };
            let next = if opens { Next::Answer(thought) } else { Next::Closed };
            encode_conversation(&template, tokenizer, &messages, next)
        }
    };
    ids.map_err(|error| ApiError::field("messages", format!("{error}; {}", error.hint())))
}

/// The template, and whether the model is told that it thinks.
fn thinking(fields: &Fields, template: &ChatTemplate) -> Result<(ChatTemplate, bool), ApiError> {
    const NAME: &str = "chat_template_kwargs";
    let none = Map::new();
    let options = match fields.get(NAME) {
        None => &none,
        Some(Value::Object(options)) => options,
        Some(other) => return Err(wrong(NAME, "an object", other)),
    };
    let mut thinks = None;
    for (name, value) in options {
        let field = format!("{NAME}.{name}");
        match (name.as_str(), value) {
            ("enable_thinking", Value::Bool(asked)) => thinks = Some(*asked),
            ("enable_thinking", other) => return Err(wrong(&field, "true or false", other)),
            _ => return Err(ApiError::field(&field, "not supported; only enable_thinking is")),
        }
    }
    let mut framing = template.framing().clone();
    if thinks == Some(false) {
        framing.thinking = Thinking::Off;
    }
    Ok((template.clone().framed(framing), thinks.unwrap_or(false)))
}

fn messages(fields: &Fields) -> Result<Vec<Message>, ApiError> {
    const EXPECTED: &str = "a list of messages, at least one";
    match fields.get("messages") {
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().enumerate().map(|(at, value)| message(&format!("messages[{at}]"), value)).collect()
        }
        Some(other) => Err(wrong("messages", EXPECTED, other)),
        None => Err(ApiError::field("messages", format!("expected {EXPECTED}, found none"))),
    }
}

fn message(name: &str, value: &Value) -> Result<Message, ApiError> {
    let Value::Object(message) = value else { return Err(wrong(name, "an object", value)) };
    let field = |field: &str| message.get(field).unwrap_or(&Value::Null);
    let role = match field("role").as_str() {
        Some("system") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => return Err(wrong(&format!("{name}.role"), "system, user or assistant", field("role"))),
    };
    if let Some(calls) =
        message.get("tool_calls").filter(|calls| !calls.is_null() && *calls != &Value::Array(vec![]))
    {
        return Err(wrong(&format!("{name}.tool_calls"), "none, since tools are not supported", calls));
    }
    Ok(Message { role, content: content(&format!("{name}.content"), field("content"))? })
}

/// A text, or texts in parts, which stand on lines of their own.
fn content(name: &str, value: &Value) -> Result<String, ApiError> {
    let parts = match value {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        other => return Err(wrong(name, "a string or a list of text parts", other)),
    };
    let texts = parts.iter().enumerate().map(|(at, part)| {
        let is_text = part.get("type").and_then(Value::as_str) == Some("text");
        let text = part.get("text").and_then(Value::as_str).filter(|_| is_text);
        text.ok_or_else(|| wrong(&format!("{name}[{at}]"), "a part {\"type\":\"text\",\"text\":…}", part))
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
}
