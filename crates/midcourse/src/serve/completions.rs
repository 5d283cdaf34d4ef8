//! `/v1/completions`: token ids or text in, continuations and log-probabilities out.

use midcourse_core::engine::TokenId;
use serde_json::Value;

use super::asked::{Asked, MAX_LIKELIEST, MAX_PATHS};
use super::error::ApiError;
use super::fields::{Fields, token_ids, wrong};
use super::reply::{Generation, Kind};
use super::scheduler::{Scope, Scoring};
use super::tokens::text_ids;
use crate::model::EmbeddedModel;

/// Tokens that are sampled where a request names no number, as OpenAI's API does it.
const MAX_TOKENS: usize = 16;

/// Reads a request.
pub(super) fn generation(fields: &Fields, model: &EmbeddedModel) -> Result<Generation, ApiError> {
    let asked = Asked::of(fields)?;
    let echo = fields.flag("echo")?;
    let least = usize::from(!echo);
    let context = model.engine.context();
    let max_tokens = fields.count("max_tokens", least..=context)?.unwrap_or(MAX_TOKENS);
    let n_likeliest = fields.count("logprobs", 0..=MAX_LIKELIEST)?;
    let prompts = prompts(fields, model)?;
    check_room(&prompts, max_tokens, context)?;
    if prompts.len() * asked.n > MAX_PATHS {
        let found = prompts.len() * asked.n;
        return Err(ApiError::field(
            "n",
            format!("expected at most {MAX_PATHS} choices in all, found {found}"),
        ));
    }
    let of = if echo { Scope::Everything } else { Scope::Sampled };
    let scoring = n_likeliest.map(|n_likeliest| Scoring { of, n_likeliest });
    let (prompts, texts): (_, Vec<_>) = prompts.into_iter().map(|prompt| (prompt.ids, prompt.text)).unzip();
    let echoed = if echo { texts } else { Vec::new() };
    let job = asked.job(prompts, max_tokens, scoring)?;
    Ok(Generation { kind: Kind::Completions, job, echoed, asked })
}

/// A prompt in tokens and in text.
struct Prompt {
    ids: Vec<TokenId>,
    text: String,
}

/// Holds prompts to what the model can take.
fn check_room(prompts: &[Prompt], max_tokens: usize, context: usize) -> Result<(), ApiError> {
    for (at, Prompt { ids, .. }) in prompts.iter().enumerate() {
        if ids.is_empty() {
            return Err(ApiError::field(
                "prompt",
                format!("expected at least one token, found none (number {at})"),
            ));
        }
        room("prompt", ids.len(), (max_tokens, context))?;
    }
    Ok(())
}

/// Refuses a prompt that has no room for its answer in the model's context.
pub(super) fn room(
    field: &str,
    n_prompt: usize,
    (max_tokens, context): (usize, usize),
) -> Result<(), ApiError> {
    if n_prompt.saturating_add(max_tokens) <= context {
        return Ok(());
    }
    let problem = format!(
        "expected at most {context} tokens together with max_tokens, the model's context, found {n_prompt} and {max_tokens}"
    );
    Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::field(field, problem) })
}

/// The prompts: a text or a list of token ids, or a list of either.
fn prompts(fields: &Fields, model: &EmbeddedModel) -> Result<Vec<Prompt>, ApiError> {
    const EXPECTED: &str = "a string, a list of strings, a list of token ids or a list of such lists";
    let value = fields
        .get("prompt")
        .ok_or_else(|| ApiError::field("prompt", format!("expected {EXPECTED}, found none")))?;
    let of_text = |text: &str| Ok(Prompt { ids: text_ids(fields, text, model)?, text: text.to_owned() });
    let of_ids = |list: &[Value]| {
        let ids = token_ids("prompt", list, model.engine.vocab())?;
        let text = model.tokenizer.decode(&ids).map_err(|e| ApiError::field("prompt", e))?;
        Ok(Prompt { ids, text })
    };
    match value {
        Value::String(text) => Ok(vec![of_text(text)?]),
        Value::Array(list) => match list.first() {
            Some(Value::Number(_)) => Ok(vec![of_ids(list)?]),
            Some(Value::String(_) | Value::Array(_)) => list
                .iter()
                .map(|prompt| match prompt {
                    Value::String(text) => of_text(text),
                    Value::Array(list) => of_ids(list),
                    other => Err(wrong("prompt", EXPECTED, other)),
                })
                .collect(),
            Some(other) => Err(wrong("prompt", EXPECTED, other)),
            None => Err(wrong("prompt", EXPECTED, value)),
        },
        other => Err(wrong("prompt", EXPECTED, other)),
    }
}
