//! Servers that stand in for real ones: they answer in the shapes of vLLM, llama.cpp, Ollama and the hosts, and each
//! has its quirks. Their tokens are those of scripts, bytes and three control tokens.

use std::sync::atomic::{AtomicU64, Ordering};

use midcourse_core::engine::TokenId;
use serde_json::{Value, json};

use crate::fault_server::{self, FaultServer, Request, Step, reply};

/// In what a server differs from a good one of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quirk {
    OpensNewTurn,
    Echoes,
    AddsBos,
    ReadsOtherIds,
    TellsCountOnly,
    TellsNothing,
    TellsText,
    TellsNoSampledIds,
    SamplesOtherIds,
    DividesOtherwise,
    CannotDivide,
    RefusesSeveral,
    RefusesUnknownFields,
    SingleSeeds,
    IgnoresSeeds,
    StripsSpace,
    NamesAnother,
    CutsPrompts,
}

use Quirk::{
    AddsBos, CannotDivide, CutsPrompts, DividesOtherwise, Echoes, IgnoresSeeds, NamesAnother, OpensNewTurn,
    ReadsOtherIds, RefusesSeveral, RefusesUnknownFields, SamplesOtherIds, SingleSeeds, StripsSpace,
    TellsCountOnly, TellsNoSampledIds, TellsNothing, TellsText,
};

/// A server of a kind, by the owner that it names, or by a path of its own.
#[derive(Clone, Copy)]
pub(super) struct Stand {
    pub owner: &'static str,
    pub native: &'static [(&'static str, &'static str)],
    pub quirks: &'static [Quirk],
}

pub(super) const VLLM: Stand =
    Stand { owner: "vllm", native: &[("/version", r#"{"version":"0.32.0"}"#)], quirks: &[] };
pub(super) const LLAMA: Stand = Stand {
    owner: "llamacpp",
    native: &[("/props", r#"{"total_slots":4,"default_generation_settings":{"n_ctx":512}}"#)],
    quirks: &[],
};
pub(super) const OLLAMA: Stand =
    Stand { owner: "library", native: &[("/api/version", r#"{"version":"0.9.1"}"#)], quirks: &[] };
pub(super) const HOST: Stand =
    Stand { owner: "somebody", native: &[], quirks: &[TellsCountOnly, CannotDivide] };

impl Stand {
    pub(super) fn with(self, quirks: &'static [Quirk]) -> Self {
        Self { quirks, ..self }
    }

    fn has(self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    pub(super) fn start(self) -> FaultServer {
        let n_asked = AtomicU64::new(0);
        FaultServer::start(move |request| self.answer(request, n_asked.fetch_add(1, Ordering::SeqCst)))
    }

    pub(super) fn answer(self, request: &Request, n_asked: u64) -> Vec<Step> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let (method, path) = request.line.split_once(' ').unwrap();
        let native = self.native.iter().find(|(native, _)| *native == path);
        match (method, path) {
            ("GET", "/v1/models") => {
                let model = json!({"id": "m", "owned_by": self.owner, "max_model_len": 4096});
                fault_server::json(&json!({"data": [model]}).to_string())
            }
            ("GET", _) if native.is_some() => fault_server::json(native.unwrap().1),
            ("POST", "/tokenize") if !self.has(CannotDivide) => self.divide(&body),
            ("POST", "/v1/completions") if self.owner == "vllm" => self.complete(&body, n_asked),
            ("POST", "/completion") if self.owner == "llamacpp" => self.complete(&body, n_asked),
            ("POST", "/api/chat") if self.owner == "library" => self.complete(&body, n_asked),
            ("POST", "/v1/chat/completions") if self.owner != "library" => self.complete(&body, n_asked),
            _ => refused("404 Not Found", "no such path"),
        }
    }

    pub(super) fn divide(self, body: &Value) -> Vec<Step> {
        let text = body.get("prompt").or(body.get("content")).unwrap().as_str().unwrap();
        let n = if self.has(DividesOtherwise) { text.len() - 1 } else { text.len() };
        fault_server::json(&json!({"tokens": text.as_bytes()[..n]}).to_string())
    }

    /// Whether a field is one that a strict host does not know.
    fn refuses(self, body: &Value) -> Option<&'static str> {
        let unknown = ["top_k", "min_p", "repetition_penalty", "continue_final_message", "return_token_ids"];
        unknown.into_iter().find(|field| self.has(RefusesUnknownFields) && body.get(field).is_some())
    }

    pub(super) fn complete(self, body: &Value, n_asked: u64) -> Vec<Step> {
        if let Some(field) = self.refuses(body) {
            return refused("422 Unprocessable Entity", &format!("unknown field {field}"));
        }
        let options = body.get("options").unwrap_or(body);
        let n = body.get("n").or(body.get("n_cmpl")).and_then(Value::as_u64).unwrap_or(1);
        if n > 1 && self.has(RefusesSeveral) {
            return refused("400 Bad Request", "only n = 1");
        }
        let (read, forced) = self.read(body);
        let warm = options["temperature"].as_f64().unwrap() > 0.0;
        let seed = options["seed"].as_u64().unwrap();
        let text = |at: u64| {
            let seed = match () {
                () if self.has(IgnoresSeeds) => n_asked * 10 + at,
                () if self.has(SingleSeeds) => seed + at * 100,
                () => seed + at,
            };
            let echo = if self.has(Echoes) { forced.as_str() } else { "" };
            let said = String::from_utf8(read.iter().filter_map(|id| u8::try_from(*id).ok()).collect());
            format!("{echo}{}", continuation(&said.unwrap(), if warm { seed } else { 0 }))
        };
        let texts: Vec<String> = (0..n).map(text).collect();
        fault_server::json(&self.shape(body, &read, &texts).to_string())
    }

    /// The tokens that the model is given, and the text that was forced.
    fn read(self, body: &Value) -> (Vec<TokenId>, String) {
        if let Some(prompt) = body.get("prompt") {
            let mut ids: Vec<TokenId> = serde_json::from_value(prompt.clone()).unwrap();
            let forced = ids.iter().rposition(|&id| id > 255).map_or(0, |at| at + 11);
            let forced = ids[forced..].iter().map(|&id| id as u8).collect();
            if self.has(AddsBos) {
                ids.insert(0, 258);
            }
            if self.has(ReadsOtherIds) {
                ids[1] += 1;
            }
            return (ids, String::from_utf8(forced).unwrap());
        }
        let messages = body["messages"].as_array().unwrap();
        let last = messages.last().unwrap();
        let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
        let mut forced = if last["role"] == "assistant" { text(last) } else { String::new() };
        if self.has(StripsSpace) {
            forced = forced.trim_end().to_owned();
        }
        let mut ids = Vec::new();
        let mut say = |role: &str, said: &str| {
            ids.push(256);
            ids.extend(format!("{role}\n{said}").bytes().map(TokenId::from));
        };
        messages.iter().filter(|m| m["role"] != "assistant").for_each(|m| say("user", &text(m)));
        say("assistant", &forced);
        if self.has(OpensNewTurn) && !forced.is_empty() {
            say("assistant", "");
        }
        (ids, forced)
    }

    /// What was read and sampled, in the server's own shape.
    fn shape(self, body: &Value, read: &[TokenId], texts: &[String]) -> Value {
        let ids = |text: &str| -> Vec<TokenId> {
            let more = u8::from(self.has(SamplesOtherIds));
            text.bytes().map(|byte| TokenId::from(byte + more)).collect()
        };
        let model = if self.has(NamesAnother) { "other" } else { "m" };
        let text: String = read.iter().filter_map(|id| u8::try_from(*id).ok()).map(char::from).collect();
        let count = if self.has(TellsNothing) { Value::Null } else { json!(read.len()) };
        match self.owner {
            "llamacpp" if body.get("prompt").is_some() => {
                let result = |(at, text): (usize, &String)| {
                    json!({
                        "index": at, "content": text, "tokens": ids(text), "stop_type": "limit", "model": model,
                        "tokens_evaluated": count, "truncated": self.has(CutsPrompts),
                    })
                };
                texts.iter().enumerate().map(result).collect::<Vec<_>>().into()
            }
            "library" => json!({
                "model": model, "message": {"role": "assistant", "content": texts[0]}, "done_reason": "length",
                "prompt_eval_count": count,
            }),
            _ => {
                let tells_ids = body["return_token_ids"] == true
                    && self.owner == "vllm"
                    && ![TellsCountOnly, TellsNothing, TellsText].iter().any(|quirk| self.has(*quirk));
                let choice = |(at, text): (usize, &String)| {
                    let mut choice = json!({"index": at, "finish_reason": "length"});
                    match body.get("prompt") {
                        Some(_) => choice["text"] = text.as_str().into(),
                        None => choice["message"] = json!({"role": "assistant", "content": text}),
                    }
                    if tells_ids && !self.has(TellsNoSampledIds) {
                        choice["token_ids"] = json!(ids(text));
                    }
                    choice
                };
                let choices: Vec<_> = texts.iter().enumerate().map(choice).collect();
                let mut json = json!({"model": model, "choices": choices, "usage": {"prompt_tokens": count}});
                if tells_ids {
                    json["prompt_token_ids"] = json!(read);
                }
                if self.has(TellsText) {
                    json["prompt_text"] = text.into();
                }
                json
            }
        }
    }
}

/// What the model of every server says.
fn continuation(said: &str, seed: u64) -> String {
    let words = [("Wednes", "day"), ("sev", "en"), ("Ju", "ly")];
    let word = words.iter().find(|(cut, _)| said.ends_with(cut));
    word.map_or_else(|| format!(" go {seed}"), |(_, rest)| (*rest).to_owned())
}

pub(super) fn refused(status: &str, message: &str) -> Vec<Step> {
    let body = json!({"error": {"message": message}}).to_string();
    reply(status, &[("Content-Type", "application/json")], body.as_bytes())
}
