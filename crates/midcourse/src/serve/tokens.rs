//! `/tokenize` and `/detokenize`: text to token ids and back, as vLLM answers.

use midcourse_core::engine::TokenId;
use midcourse_core::template::encode_text;
use serde_json::{Value, json};

use super::chat::conversation;
use super::error::ApiError;
use super::fields::{Fields, token_ids, wrong};
use crate::model::EmbeddedModel;

/// The tokens of a text, as a completion is given it, or of a conversation, as an answer is.
pub(super) fn tokenize(fields: &Fields, model: &EmbeddedModel) -> Result<Value, ApiError> {
    let ids = match fields.text("prompt")? {
        Some(text) => text_ids(fields, text, model)?,
        None if fields.get("messages").is_some() => conversation(fields, model)?,
        None => return Err(ApiError::field("prompt", "expected a string, or `messages`, found neither")),
    };
    Ok(json!({"count": ids.len(), "max_model_len": model.engine.context(), "tokens": ids}))
}

/// The tokens of a text of the field `prompt`.
pub(super) fn text_ids(fields: &Fields, text: &str, model: &EmbeddedModel) -> Result<Vec<TokenId>, ApiError> {
    let adds_bos = fields.get("add_special_tokens").is_none() || fields.flag("add_special_tokens")?;
    encode_text(model.tokenizer.as_ref(), text, adds_bos).map_err(|e| ApiError::field("prompt", e))
}

/// The text of tokens, control tokens spelled out.
pub(super) fn detokenize(fields: &Fields, model: &EmbeddedModel) -> Result<Value, ApiError> {
    const EXPECTED: &str = "a list of token ids";
    let list = match fields.get("tokens") {
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong("tokens", EXPECTED, other)),
        None => return Err(ApiError::field("tokens", format!("expected {EXPECTED}, found none"))),
    };
    let ids = token_ids("tokens", list, model.engine.vocab())?;
    let text = model.tokenizer.decode(&ids).map_err(|e| ApiError::field("tokens", e))?;
    Ok(json!({"prompt": text}))
}
