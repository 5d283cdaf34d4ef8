//! `/tokenize` and `/detokenize`: text to token ids and back, as vLLM answers.

use midcourse_core::template::encode_text;
use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::{Fields, token_ids, wrong};
use crate::model::Model;

pub(super) fn tokenize(fields: &Fields, model: &Model) -> Result<Value, ApiError> {
    let text =
        fields.text("prompt")?.ok_or_else(|| ApiError::field("prompt", "expected a string, found none"))?;
    let adds = fields.get("add_special_tokens").is_none() || fields.flag("add_special_tokens")?;
    let ids = encode_text(model.tokenizer.as_ref(), text, adds).map_err(|e| ApiError::field("prompt", e))?;
    Ok(json!({"count": ids.len(), "max_model_len": model.engine.context(), "tokens": ids}))
}

pub(super) fn detokenize(fields: &Fields, model: &Model) -> Result<Value, ApiError> {
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
