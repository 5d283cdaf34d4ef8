//! What completions and chat completions have in common: sampling, stops, streaming, and what is refused.

use std::hash::{BuildHasher, RandomState};

use midcourse_core::engine::{Sampling, TokenId};
use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, wrong};
use super::scheduler::{Delivery, Job, Scoring};

/// Most paths of a prompt.
const MAX_N: usize = 128;
/// Most paths of a request.
pub(super) const MAX_PATHS: usize = 4096;
/// Most alternatives of a token.
pub(super) const MAX_LIKELIEST: usize = 20;
/// Most stops of a request, and bytes of each.
const MAX_STOPS: (usize, usize) = (16, 256);

/// Fields that would change what is sampled or said and are not supported, each with the values in JSON at which it
/// changes nothing.
const UNSUPPORTED: &[(&str, &[&str])] = &[
    ("allowed_token_ids", &["[]"]),
    ("audio", &[]),
    ("bad_words", &["[]"]),
    ("chat_template", &[]),
    ("documents", &["[]"]),
    ("frequency_penalty", &["0"]),
    ("function_call", &["\"none\""]),
    ("functions", &["[]"]),
    ("grammar", &["\"\""]),
    ("guided_choice", &["[]"]),
    ("guided_grammar", &["\"\""]),
    ("guided_json", &[]),
    ("guided_regex", &["\"\""]),
    ("ignore_eos", &["false"]),
    ("include_stop_str_in_output", &["false"]),
    ("json_schema", &[]),
    ("length_penalty", &["1"]),
    ("logit_bias", &["{}"]),
    ("min_p", &["0"]),
    ("min_tokens", &["0"]),
    ("mirostat", &["0"]),
    ("modalities", &["[]", "[\"text\"]"]),
    ("presence_penalty", &["0"]),
    ("prompt_embeds", &[]),
    ("prompt_logprobs", &[]),
    ("repeat_penalty", &["1"]),
    ("repetition_penalty", &["1"]),
    ("response_format", &["{\"type\":\"text\"}"]),
    ("return_tokens_as_token_ids", &["false"]),
    ("skip_special_tokens", &["false"]),
    ("stop_token_ids", &["[]"]),
    ("structured_outputs", &[]),
    ("suffix", &["\"\""]),
    ("tool_choice", &["\"none\"", "\"auto\""]),
    ("tools", &["[]"]),
    ("top_k", &["0", "-1"]),
    ("truncate_prompt_tokens", &[]),
    ("typical_p", &["1"]),
    ("use_beam_search", &["false"]),
];

/// How an answer is sampled and sent.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Paths of each prompt.
    pub n: usize,
    pub temperature: f64,
    pub top_p: f64,
    /// Of the first path of each prompt.
    pub seed: u32,
    pub stops: Vec<String>,
    pub stream: Streaming,
    pub return_token_ids: bool,
}

/// Whether an answer is sent in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streaming {
    Off,
    On,
    /// With the usage at the end.
    WithUsage,
}

impl Asked {
    pub(super) fn of(fields: &Fields) -> Result<Self, ApiError> {
        fields.refuse(UNSUPPORTED)?;
        let n = fields.count("n", 1..=MAX_N)?.unwrap_or(1);
        if let Some(best_of) = fields.count("best_of", 1..=MAX_N)?
            && best_of != n
        {
            return Err(ApiError::field("best_of", format!("expected n, which is {n}, found {best_of}")));
        }
        let warmth = |t: f64| t == 0.0 || (0.01..=100.0).contains(&t);
        let share = |p: f64| p > 0.0 && p <= 1.0;
        let seed = fields.integer("seed", &(i64::MIN..=i64::MAX))?;
        Ok(Self {
            n,
            temperature: fields
                .number("temperature", "0 or a number from 0.01 to 100", warmth)?
                .unwrap_or(1.0),
            top_p: fields.number("top_p", "a number above 0 and up to 1", share)?.unwrap_or(1.0),
            seed: seed.map_or_else(chance, i64::cast_unsigned) as u32 & (u32::MAX >> 1),
            stops: stops(fields)?,
            stream: streaming(fields)?,
            return_token_ids: fields.flag("return_token_ids")?,
        })
    }

    /// What the engine is asked.
    pub(super) fn job(
        &self,
        prompts: Vec<Vec<TokenId>>,
        max_new_tokens: usize,
        scoring: Option<Scoring>,
    ) -> Result<Job, ApiError> {
        let delivery = if self.stream == Streaming::Off { Delivery::Whole } else { Delivery::Stream };
        if let (Some(_), Delivery::Stream) = (scoring, delivery) {
            return Err(ApiError::field("logprobs", "not supported with stream; leave one of the two out"));
        }
        Ok(Job {
            prompts: prompts.into_iter().map(Into::into).collect(),
            n: self.n,
            seed: self.seed,
            sampling: Sampling { temperature: self.temperature, top_p: self.top_p, max_new_tokens },
            stops: self.stops.clone(),
            scoring,
            delivery,
        })
    }
}

/// A number that nobody can foresee.
pub(super) fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

fn stops(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let (most, longest) = MAX_STOPS;
    let expected = format!("a string or a list of up to {most} strings of 1 to {longest} bytes");
    let Some(value) = fields.get("stop") else { return Ok(Vec::new()) };
    let texts: Option<Vec<String>> = match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let sound =
        |texts: &Vec<String>| texts.len() <= most && texts.iter().all(|t| (1..=longest).contains(&t.len()));
    texts.filter(sound).ok_or_else(|| wrong("stop", &expected, value))
}

fn streaming(fields: &Fields) -> Result<Streaming, ApiError> {
    let usage = match fields.get("stream_options") {
        None => false,
        Some(Value::Object(options)) => {
            options.get("include_usage").and_then(Value::as_bool).unwrap_or(false)
        }
        Some(other) => return Err(wrong("stream_options", "an object", other)),
    };
    Ok(match (fields.flag("stream")?, usage) {
        (false, _) => Streaming::Off,
        (true, false) => Streaming::On,
        (true, true) => Streaming::WithUsage,
    })
}
