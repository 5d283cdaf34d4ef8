//! Protocols: how a server is asked to go on from inside a turn, and what it answers.
//!
//! A [`Protocol`] turns an [`Ask`] into the body of a request and a server's JSON into a [`Completion`]; it does no
//! input or output. Every sampling field is sent, in the names that the server knows: servers take what is left out from
//! files and habits of their own.
//!
//! Source: the servers' own request parsers, read in vLLM 0.32, llama.cpp (build of October 2026) and Ollama's
//! documentation.

#[cfg(test)]
mod tests;

use midcourse_core::chat::{Message, Role};
use midcourse_core::engine::{Finish, Sampling, TokenId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::Route;
use super::framed::Conversation;

/// How a server is asked to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// llama.cpp's own `/completion`, with token ids.
    LlamaCompletion,
    /// `/v1/completions`, with token ids.
    Completions,
    /// `/v1/chat/completions` with `continue_final_message`.
    ContinueFinalMessage,
    /// `/v1/chat/completions` with `prefix` on the last message.
    PrefixFlag,
    /// `/v1/chat/completions` with the assistant's message last.
    TrailingAssistant,
    /// Ollama's own `/api/chat` with the assistant's message last.
    OllamaChat,
}

/// What a model is given.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// Token ids, of protocols that take them.
    Ids(&'a [TokenId]),
    /// Messages, of the others.
    Conversation(&'a Conversation),
}

/// A request to go on.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The model, by the name that the server knows.
    pub model: &'a str,
    /// What it is given.
    pub given: Given<'a>,
    /// How tokens are drawn, and how many.
    pub sampling: Sampling,
    /// Paths wanted.
    pub n: usize,
    /// Seed of the first; the others count up from it.
    pub seed: u32,
}

/// What a server answered to an [`Ask`].
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// One a path, in the order of their seeds.
    pub choices: Vec<Choice>,
    /// The tokens that the model was given, where the server tells.
    pub prompt_ids: Option<Vec<TokenId>>,
    /// Their text, where it tells.
    pub prompt_text: Option<String>,
    /// Their number, where it tells.
    pub n_prompt: Option<usize>,
    /// The name of the model that answered.
    pub model: Option<String>,
}

/// One path.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The sampled tokens, an end of turn perhaps among them, where the server tells.
    pub tokens: Option<Vec<TokenId>>,
    /// Their text.
    pub text: String,
    /// Why the path ended.
    pub finish: Finish,
}

/// A server's JSON that is not what was asked for; in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(pub String);

impl Protocol {
    /// The name used in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaCompletion => "llama-completion",
            Self::Completions => "completions",
            Self::ContinueFinalMessage => "continue-final-message",
            Self::PrefixFlag => "prefix-flag",
            Self::TrailingAssistant => "trailing-assistant",
            Self::OllamaChat => "ollama-chat",
        }
    }

    /// Whether it takes token ids.
    pub fn takes_ids(self) -> bool {
        matches!(self, Self::LlamaCompletion | Self::Completions)
    }

    /// Where it is asked.
    pub fn route(self) -> Route {
        match self {
            Self::LlamaCompletion => Route::Native("/completion"),
            Self::OllamaChat => Route::Native("/api/chat"),
            Self::Completions => Route::Api("/completions"),
            _ => Route::Api("/chat/completions"),
        }
    }

    /// The body of a request.
    pub fn body(self, ask: &Ask<'_>) -> Value {
        let Sampling { temperature, top_p, max_new_tokens } = ask.sampling;
        match (self, ask.given) {
            (Self::LlamaCompletion, Given::Ids(ids)) => json!({
                "prompt": ids, "n_predict": max_new_tokens, "n_cmpl": ask.n, "seed": ask.seed,
                "temperature": temperature, "top_p": top_p, "top_k": 0, "min_p": 0.0, "typical_p": 1.0,
                "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
                "dry_multiplier": 0.0, "xtc_probability": 0.0, "mirostat": 0, "dynatemp_range": 0.0,
                // By itself the server cuts the nucleus before it applies the temperature.
                "samplers": ["temperature", "top_p"],
                "return_tokens": true, "cache_prompt": true, "stream": false,
            }),
            (Self::OllamaChat, Given::Conversation(said)) => json!({
                "model": ask.model, "messages": messages(said, Last::AsItIs), "stream": false, "think": false,
                "options": {
                    "temperature": temperature, "top_p": top_p, "top_k": 0, "min_p": 0.0,
                    "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
                    "seed": ask.seed, "num_predict": max_new_tokens,
                },
            }),
            (_, Given::Ids(ids)) => with(openai(ask), json!({ "prompt": ids, "return_token_ids": true })),
            (_, Given::Conversation(said)) => self.chat(ask, said),
        }
    }

    fn chat(self, ask: &Ask<'_>, said: &Conversation) -> Value {
        let continues = !said.open.is_empty();
        let own = match self {
            Self::ContinueFinalMessage => json!({
                "messages": messages(said, Last::AsItIs),
                "add_generation_prompt": !continues, "continue_final_message": continues,
                "chat_template_kwargs": { "enable_thinking": false },
                "return_token_ids": true, "return_prompt_text": true,
            }),
            Self::PrefixFlag => json!({ "messages": messages(said, Last::Flagged) }),
            _ => json!({ "messages": messages(said, Last::AsItIs) }),
        };
        let mut body = with(openai(ask), own);
        // Hosts refuse fields that they do not know; these are known to engines only.
        if let (Self::PrefixFlag | Self::TrailingAssistant, Some(fields)) = (self, body.as_object_mut()) {
            for field in ["top_k", "min_p", "repetition_penalty"] {
                fields.remove(field);
            }
        }
        body
    }

    /// Whether one request can ask for several paths, as far as the protocol decides.
    pub fn takes_several(self) -> bool {
        !matches!(self, Self::OllamaChat | Self::PrefixFlag)
    }

    /// Reads the answer to a request for `n` paths.
    ///
    /// # Errors
    /// When the JSON is not the answer that was asked for.
    pub fn reply(self, json: &Value, n: usize) -> Result<Completion, Mistake> {
        let reply = match self {
            Self::LlamaCompletion => llama(json)?,
            Self::OllamaChat => ollama(json)?,
            Self::Completions => openai_reply(json, "text")?,
            _ => openai_reply(json, "message.content")?,
        };
        match reply.choices.len() {
            found if found == n => Ok(reply),
            found => Err(Mistake(format!("paths: expected {n}, found {found}"))),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    AsItIs,
    Flagged,
}

/// Messages as servers take them, the open turn last where it has begun.
fn messages(said: &Conversation, last: Last) -> Vec<Value> {
    let message = |role: Role, content: &str| json!({ "role": role.name(), "content": content });
    let finished = said.messages.iter().map(|Message { role, content }| message(*role, content));
    let open = (!said.open.is_empty()).then(|| {
        let mut open = message(Role::Assistant, &said.open);
        if last == Last::Flagged {
            open["prefix"] = true.into();
        }
        open
    });
    finished.chain(open).collect()
}

/// What every request in the common shape has.
fn openai(ask: &Ask<'_>) -> Value {
    let Sampling { temperature, top_p, max_new_tokens } = ask.sampling;
    json!({
        "model": ask.model, "max_tokens": max_new_tokens, "n": ask.n, "seed": ask.seed,
        "temperature": temperature, "top_p": top_p, "top_k": -1, "min_p": 0.0,
        "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "stream": false,
    })
}

pub(super) fn with(mut body: Value, more: Value) -> Value {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn openai_reply(json: &Value, text: &'static str) -> Result<Completion, Mistake> {
    let listed = array(json, "choices")?;
    let first =
        listed.first().ok_or_else(|| Mistake("field choices: expected at least one, found none".into()))?;
    let choice = |choice: &Value| {
        let finish = match choice.get("finish_reason").and_then(Value::as_str) {
            Some("stop" | "eos") => Finish::EndOfTurn,
            Some("length") => Finish::Length,
            other => return Err(ended_oddly("choices.finish_reason", other)),
        };
        let content = field(choice, text).and_then(Value::as_str);
        let text = content.ok_or_else(|| {
            Mistake(format!("field choices.{text}: expected a string, found {}", found(field(choice, text))))
        })?;
        Ok(Choice { tokens: ids(choice, "token_ids")?, text: text.to_owned(), finish })
    };
    let prompt_ids = ids(json, "prompt_token_ids")?.or(ids(first, "prompt_token_ids")?);
    Ok(Completion {
        choices: placed(listed, choice)?,
        prompt_ids,
        prompt_text: json.get("prompt_text").and_then(Value::as_str).map(str::to_owned),
        n_prompt: count(json, "usage.prompt_tokens"),
        model: json.get("model").and_then(Value::as_str).map(str::to_owned),
    })
}

fn llama(json: &Value) -> Result<Completion, Mistake> {
    let one = std::slice::from_ref(json);
    let results = json.as_array().map_or(one, Vec::as_slice);
    let first = results.first().ok_or_else(|| Mistake("expected a result, found none".into()))?;
    let choice = |result: &Value| {
        let finish = match result.get("stop_type").and_then(Value::as_str) {
            Some("eos") => Finish::EndOfTurn,
            Some("limit") => Finish::Length,
            other => return Err(ended_oddly("stop_type", other)),
        };
        let text = result.get("content").and_then(Value::as_str).ok_or_else(|| {
            Mistake(format!("field content: expected a string, found {}", found(result.get("content"))))
        })?;
        if result.get("truncated").and_then(Value::as_bool) == Some(true) {
            return Err(Mistake("the server cut the prompt: its context is too short".into()));
        }
        Ok(Choice { tokens: ids(result, "tokens")?, text: text.to_owned(), finish })
    };
    Ok(Completion {
        choices: placed(results, choice)?,
        prompt_ids: None,
        prompt_text: first.get("prompt").and_then(Value::as_str).map(str::to_owned),
        n_prompt: count(first, "tokens_evaluated"),
        model: first.get("model").and_then(Value::as_str).map(str::to_owned),
    })
}

/// Paths in the order of their numbers, which are those of their seeds.
fn placed(
    listed: &[Value],
    read: impl Fn(&Value) -> Result<Choice, Mistake>,
) -> Result<Vec<Choice>, Mistake> {
    let mut choices: Vec<Option<Choice>> = vec![None; listed.len()];
    for choice in listed {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let place = choices.get_mut(index as usize).filter(|place| place.is_none()).ok_or_else(|| {
            let most = listed.len() - 1;
            Mistake(format!("field index: expected each number from 0 to {most} once, found {index}"))
        })?;
        *place = Some(read(choice)?);
    }
    Ok(choices.into_iter().flatten().collect())
}

fn ollama(json: &Value) -> Result<Completion, Mistake> {
    let finish = match json.get("done_reason").and_then(Value::as_str) {
        Some("stop") => Finish::EndOfTurn,
        Some("length") => Finish::Length,
        other => return Err(ended_oddly("done_reason", other)),
    };
    let content = field(json, "message.content").and_then(Value::as_str);
    let text = content.ok_or_else(|| Mistake("field message.content: expected a string".into()))?;
    Ok(Completion {
        choices: vec![Choice { tokens: None, text: text.to_owned(), finish }],
        prompt_ids: None,
        prompt_text: None,
        n_prompt: count(json, "prompt_eval_count"),
        model: json.get("model").and_then(Value::as_str).map(str::to_owned),
    })
}

/// The value at a path of names.
pub(super) fn field<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(json, |json, name| json.get(name))
}

/// An array of a JSON object.
pub(super) fn array<'a>(json: &'a Value, name: &str) -> Result<&'a Vec<Value>, Mistake> {
    let value = json.get(name);
    value
        .and_then(Value::as_array)
        .ok_or_else(|| Mistake(format!("field {name}: expected an array, found {}", found(value))))
}

/// Token ids, where the field is there and no null.
fn ids(json: &Value, name: &str) -> Result<Option<Vec<TokenId>>, Mistake> {
    let Some(value) = json.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let id = |value: &Value| value.as_u64().and_then(|id| TokenId::try_from(id).ok());
    let ids = value.as_array().and_then(|ids| ids.iter().map(id).collect::<Option<Vec<_>>>());
    ids.map(Some)
        .ok_or_else(|| Mistake(format!("field {name}: expected token ids, found {}", found(Some(value)))))
}

fn count(json: &Value, path: &str) -> Option<usize> {
    field(json, path).and_then(Value::as_u64).map(|n| n as usize)
}

fn ended_oddly(name: &str, found: Option<&str>) -> Mistake {
    let found = found.map_or("none".to_owned(), |found| shortened(&found.into()));
    Mistake(format!("field {name}: expected the end of the turn or the limit of tokens, found {found}"))
}

/// The kind of a value, for messages.
fn found(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a truth value",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}

/// A server's value as it stands in a message.
fn shortened(value: &Value) -> String {
    let message = field(value, "message").unwrap_or(value);
    let text = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    text.chars().take(200).collect()
}
