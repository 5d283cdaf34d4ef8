//! `/v1/completions`: token ids or text in, continuations and log-probabilities out.

use std::sync::Arc;

use midcourse_core::engine::TokenId;
use midcourse_core::template::encode_text;
use serde_json::Value;

use super::asked::{Asked, MAX_LIKELIEST, MAX_PATHS, Streaming};
use super::error::ApiError;
use super::fields::{Fields, token_ids, wrong};
use super::reply::{Generation, Kind};
use super::scheduler::{Delivery, Job, Scope, Scoring};
use crate::model::Model;

/// Tokens that are sampled where a request names no number, as OpenAI's API does it.
const MAX_TOKENS: usize = 16;

/// Reads a request.
pub(super) fn generation(fields: &Fields, model: &Model) -> Result<Generation, ApiError> {
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
    let delivery = if asked.stream == Streaming::Off { Delivery::Whole } else { Delivery::Stream };
    if let (Some(_), Delivery::Stream) = (scoring, delivery) {
        return Err(ApiError::field("logprobs", "not supported with stream; leave one of the two out"));
    }
    let (prompts, texts): (Vec<Arc<[TokenId]>>, Vec<_>) =
        prompts.into_iter().map(|prompt| (prompt.ids.into(), prompt.text)).unzip();
    let echoed = if echo { texts } else { Vec::new() };
    let job = Job {
        prompts,
        n: asked.n,
        seed: asked.seed,
        sampling: asked.sampling(max_tokens),
        stops: asked.stops.clone(),
        scoring,
        delivery,
    };
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
        room(ids.len(), max_tokens, context)?;
    }
    Ok(())
}

/// Refuses a prompt that has no room for its answer.
pub(super) fn room(n_prompt: usize, max_tokens: usize, context: usize) -> Result<(), ApiError> {
    if n_prompt + max_tokens <= context {
        return Ok(());
    }
    let message = format!(
        "expected prompt and max_tokens within the model's context of {context} tokens, found {n_prompt} and {max_tokens}"
    );
    Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::field("prompt", message) })
}

/// The prompts: a text or a list of token ids, or a list of either.
fn prompts(fields: &Fields, model: &Model) -> Result<Vec<Prompt>, ApiError> {
    const EXPECTED: &str = "a string, a list of strings, a list of token ids or a list of such lists";
    let value = fields
        .get("prompt")
        .ok_or_else(|| ApiError::field("prompt", format!("expected {EXPECTED}, found none")))?;
    let adds = fields.get("add_special_tokens").is_none() || fields.flag("add_special_tokens")?;
    let of_text = |text: &str| {
        let ids =
            encode_text(model.tokenizer.as_ref(), text, adds).map_err(|e| ApiError::field("prompt", e))?;
        Ok(Prompt { ids, text: text.to_owned() })
    };
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
