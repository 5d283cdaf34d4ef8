//! What a survey finds out about servers, and which of them it refuses.
//!
//! The servers stand in for real ones: they answer in the shapes of vLLM, llama.cpp, Ollama and the hosts, and each
//! has a quirk. Their tokens are those of scripts, bytes and three control tokens, and their model goes on within
//! the words that a survey cuts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use expect_test::{Expect, expect};
use midcourse_core::engine::TokenId;
use midcourse_core::template::Tokenizer;
use midcourse_engine::Error;
use midcourse_engine::remote::{
    Client, Connection, Dispatcher, ModelText, Patience, PrefillChoice, Survey, survey,
};
use midcourse_engine::scripted::Scripted;
use serde_json::{Value, json};

use crate::fault_server::{self, FaultServer, Request, Step, reply};

/// In what a server differs from a good one of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
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
struct Stand {
    owner: &'static str,
    native: &'static [(&'static str, &'static str)],
    quirks: &'static [Quirk],
}

const VLLM: Stand = Stand { owner: "vllm", native: &[("/version", r#"{"version":"0.32.0"}"#)], quirks: &[] };
const LLAMA: Stand = Stand {
    owner: "llamacpp",
    native: &[("/props", r#"{"total_slots":4,"default_generation_settings":{"n_ctx":512}}"#)],
    quirks: &[],
};
const OLLAMA: Stand =
    Stand { owner: "library", native: &[("/api/version", r#"{"version":"0.9.1"}"#)], quirks: &[] };
const HOST: Stand = Stand { owner: "", native: &[], quirks: &[TellsCountOnly, CannotDivide] };

impl Stand {
    fn with(self, quirks: &'static [Quirk]) -> Self {
        Self { quirks, ..self }
    }

    fn has(self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    fn start(self) -> FaultServer {
        let n_asked = AtomicU64::new(0);
        FaultServer::start(move |request| self.answer(request, n_asked.fetch_add(1, Ordering::SeqCst)))
    }

    fn answer(self, request: &Request, n_asked: u64) -> Vec<Step> {
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

    fn divide(self, body: &Value) -> Vec<Step> {
        let text = body.get("prompt").or(body.get("content")).unwrap().as_str().unwrap();
        let n = if self.has(DividesOtherwise) { text.len() - 1 } else { text.len() };
        fault_server::json(&json!({"tokens": text.as_bytes()[..n]}).to_string())
    }

    /// Whether a field is one that a strict host does not know.
    fn refuses(self, body: &Value) -> Option<&'static str> {
        let unknown = ["top_k", "min_p", "repetition_penalty", "continue_final_message", "return_token_ids"];
        unknown.into_iter().find(|field| self.has(RefusesUnknownFields) && body.get(field).is_some())
    }

    fn complete(self, body: &Value, n_asked: u64) -> Vec<Step> {
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

fn refused(status: &str, message: &str) -> Vec<Step> {
    let body = json!({"error": {"message": message}}).to_string();
    reply(status, &[("Content-Type", "application/json")], body.as_bytes())
}

/// The tokenizer of all these servers.
fn text() -> ModelText {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script.jsonl");
    std::fs::write(&path, r#"{"match":"","continuations":[""]}"#).unwrap();
    let script = Scripted::read(&path).unwrap();
    let tokenizer: Arc<dyn Tokenizer + Send + Sync> = Arc::new(script.tokenizer().clone());
    ModelText { name: "bytes".into(), template: script.template().unwrap(), tokenizer, context: 1 << 20 }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtHand {
    Tokenizer,
    Nothing,
}

use AtHand::{Nothing, Tokenizer as WithTokenizer};

fn surveyed(
    servers: &[&FaultServer],
    model: Option<&str>,
    choice: PrefillChoice,
    at_hand: AtHand,
) -> Result<Survey, Error> {
    let client =
        |server: &&FaultServer| Client::new(server.base().parse().unwrap(), None, &Connection::default());
    let dispatcher = Dispatcher::new(servers.iter().map(client).collect(), 4, Patience::default(), 1);
    let text = text();
    survey(&dispatcher, model, choice, (at_hand == WithTokenizer).then_some(&text))
}

/// A survey in a line or two.
fn shown(servers: &[&FaultServer], result: Result<Survey, Error>) -> String {
    let name = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = match result {
        Ok(survey) => {
            let fields = serde_json::to_value(&survey).unwrap();
            let field = |field: &str| name(fields[field].clone());
            let several = if survey.paths_per_request == usize::MAX {
                "any".into()
            } else {
                field("paths_per_request")
            };
            format!(
                "{} {} by {}; seeds {}, paths {several}, slots {}, tells ids {}, tokenizer agrees {}, keeps space {}\n",
                field("server"),
                field("protocol"),
                field("evidence"),
                field("seeds"),
                field("slots"),
                field("tells_token_ids"),
                field("tokenizer_agrees"),
                field("keeps_trailing_space"),
            )
        }
        Err(error) => {
            let kind = if matches!(error, Error::EndpointCannot { .. }) { "cannot" } else { "error" };
            format!("{kind}: {error}\nhint: {}\n", error.hint())
        }
    };
    let place = |text: String, (at, server): (usize, &&FaultServer)| {
        text.replace(&server.base(), &format!("URL{at}"))
    };
    servers.iter().enumerate().fold(text, place)
}

/// A survey of each server by itself.
fn check(cases: &[(Stand, PrefillChoice, AtHand)], expected: &Expect) {
    let line = |&(stand, choice, at_hand): &(Stand, PrefillChoice, AtHand)| {
        let server = stand.start();
        let Stand { owner, quirks, .. } = stand;
        let found = shown(&[&server], surveyed(&[&server], Some("m"), choice, at_hand));
        format!(
            "{owner} {quirks:?} {} {at_hand:?}\n    {}\n",
            choice.name(),
            found.trim_end().replace('\n', "\n    ")
        )
    };
    expected.assert_eq(&cases.iter().map(line).collect::<String>());
}

#[test]
fn token_ids_are_proved_by_what_the_server_tells() {
    use PrefillChoice::{Auto, TokenIds};
    let cases = [
        (VLLM, Auto, WithTokenizer),
        (VLLM, TokenIds, WithTokenizer),
        (VLLM.with(&[TellsCountOnly]), Auto, WithTokenizer),
        (VLLM.with(&[TellsText]), Auto, WithTokenizer),
        (VLLM.with(&[TellsNothing]), Auto, WithTokenizer),
        (VLLM.with(&[CannotDivide, TellsNoSampledIds]), Auto, WithTokenizer),
        (LLAMA, Auto, WithTokenizer),
    ];
    check(
        &cases,
        &expect![[r#"
        vllm [] auto Tokenizer
            vllm completions by prompt-ids; seeds counted-up, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
        vllm [] token-ids Tokenizer
            vllm completions by prompt-ids; seeds counted-up, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
        vllm [TellsCountOnly] auto Tokenizer
            vllm completions by token-count; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees true, keeps space true
        vllm [TellsText] auto Tokenizer
            vllm completions by prompt-text; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees true, keeps space true
        vllm [TellsNothing] auto Tokenizer
            vllm completions by cut-words; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees true, keeps space true
        vllm [CannotDivide, TellsNoSampledIds] auto Tokenizer
            vllm completions by prompt-ids; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space true
        llamacpp [] auto Tokenizer
            llama.cpp llama-completion by token-count; seeds counted-up, paths 4, slots 4, tells ids true, tokenizer agrees true, keeps space true
    "#]],
    );
}

#[test]
fn messages_are_proved_by_what_the_server_tells() {
    use PrefillChoice::{Auto, ContinueFinalMessage};
    let cases = [
        (VLLM, ContinueFinalMessage, WithTokenizer),
        (VLLM, Auto, Nothing),
        (VLLM.with(&[TellsText]), Auto, Nothing),
        (VLLM.with(&[TellsText, StripsSpace]), Auto, Nothing),
        (VLLM.with(&[TellsNothing]), Auto, Nothing),
        (OLLAMA, Auto, Nothing),
        (OLLAMA, Auto, WithTokenizer),
        (LLAMA, Auto, Nothing),
    ];
    check(
        &cases,
        &expect![[r#"
        vllm [] continue-final-message Tokenizer
            vllm continue-final-message by prompt-ids; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space true
        vllm [] auto Nothing
            vllm continue-final-message by cut-words; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space false
        vllm [TellsText] auto Nothing
            vllm continue-final-message by prompt-text; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space true
        vllm [TellsText, StripsSpace] auto Nothing
            vllm continue-final-message by prompt-text; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space false
        vllm [TellsNothing] auto Nothing
            vllm continue-final-message by cut-words; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space false
        library [] auto Nothing
            ollama ollama-chat by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
        library [] auto Tokenizer
            ollama ollama-chat by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
        llamacpp [] auto Nothing
            llama.cpp trailing-assistant by cut-words; seeds counted-up, paths 4, slots 4, tells ids false, tokenizer agrees null, keeps space false
    "#]],
    );
}

#[test]
fn hosts_are_asked_in_the_fields_that_they_know() {
    use PrefillChoice::{Auto, PrefixFlag, TrailingAssistant};
    let strict = HOST.with(&[TellsCountOnly, RefusesUnknownFields]);
    let cases = [
        (Stand { owner: "mistralai", ..HOST }, Auto, Nothing),
        (Stand { owner: "deepseek", ..HOST }, Auto, Nothing),
        (strict, Auto, Nothing),
        (strict, TrailingAssistant, Nothing),
        (strict, PrefixFlag, Nothing),
        (strict, PrefillChoice::ContinueFinalMessage, Nothing),
    ];
    check(
        &cases,
        &expect![[r#"
        mistralai [TellsCountOnly, CannotDivide] auto Nothing
            mistral prefix-flag by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
        deepseek [TellsCountOnly, CannotDivide] auto Nothing
            deepseek prefix-flag by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
         [TellsCountOnly, RefusesUnknownFields] auto Nothing
            other prefix-flag by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
         [TellsCountOnly, RefusesUnknownFields] trailing-assistant Nothing
            other trailing-assistant by cut-words; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space false
         [TellsCountOnly, RefusesUnknownFields] prefix-flag Nothing
            other prefix-flag by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
         [TellsCountOnly, RefusesUnknownFields] continue-final-message Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: continue-final-message: the server refuses it: unknown field top_k
            hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
    "#]],
    );
}

#[test]
fn a_new_turn_is_refused_however_it_shows() {
    use PrefillChoice::{Auto, ContinueFinalMessage, TrailingAssistant};
    let cases = [
        (VLLM.with(&[OpensNewTurn]), ContinueFinalMessage, WithTokenizer),
        (VLLM.with(&[OpensNewTurn, TellsText]), Auto, Nothing),
        (HOST.with(&[OpensNewTurn, TellsCountOnly]), TrailingAssistant, Nothing),
        (HOST.with(&[OpensNewTurn, TellsNothing]), TrailingAssistant, Nothing),
        (OLLAMA.with(&[OpensNewTurn]), Auto, Nothing),
        (HOST.with(&[OpensNewTurn, TellsCountOnly]), Auto, Nothing),
    ];
    check(
        &cases,
        &expect![[r#"
        vllm [OpensNewTurn] continue-final-message Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: continue-final-message: what its model read does not end with the prefix: it opens a new turn
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        vllm [OpensNewTurn, TellsText] auto Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: continue-final-message: the prompt that it made does not end with the prefix: it opens a new turn
            hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
         [OpensNewTurn, TellsCountOnly] trailing-assistant Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: trailing-assistant: its model reads 10 tokens beyond question and prefix: it opens a new turn
            hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
         [OpensNewTurn, TellsNothing] trailing-assistant Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: trailing-assistant: of 3 words cut in the middle its model went on with 0: it opens a new turn
            hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
        library [OpensNewTurn] auto Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: ollama-chat: its model reads 10 tokens beyond question and prefix: it opens a new turn
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
         [OpensNewTurn, TellsCountOnly] auto Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: continue-final-message: its model reads 10 tokens beyond question and prefix: it opens a new turn; prefix-flag: its model reads 10 tokens beyond question and prefix: it opens a new turn; trailing-assistant: its model reads 10 tokens beyond question and prefix: it opens a new turn
            hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
    "#]],
    );
}

#[test]
fn another_input_than_was_sent_is_refused() {
    use PrefillChoice::{Auto, TokenIds};
    let cases = [
        (VLLM.with(&[AddsBos]), TokenIds, WithTokenizer),
        (VLLM.with(&[AddsBos, TellsCountOnly]), TokenIds, WithTokenizer),
        (VLLM.with(&[ReadsOtherIds]), TokenIds, WithTokenizer),
        (VLLM.with(&[DividesOtherwise]), TokenIds, WithTokenizer),
        (VLLM.with(&[SamplesOtherIds]), TokenIds, WithTokenizer),
        (LLAMA.with(&[AddsBos]), TokenIds, WithTokenizer),
        (LLAMA.with(&[CutsPrompts]), TokenIds, WithTokenizer),
        (LLAMA.with(&[DividesOtherwise]), TokenIds, WithTokenizer),
        (LLAMA.with(&[Echoes]), Auto, Nothing),
        (VLLM.with(&[Echoes]), Auto, WithTokenizer),
        (VLLM, TokenIds, Nothing),
    ];
    check(
        &cases,
        &expect![[r#"
        vllm [AddsBos] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: completions: its model read other token ids than were sent (74 of 73)
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        vllm [AddsBos, TellsCountOnly] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: completions: its model read 74 tokens where 73 were sent
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        vllm [ReadsOtherIds] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: completions: its model read other token ids than were sent (73 of 73)
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        vllm [DividesOtherwise] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: completions: the tokenizer of bytes is not the server's: they divide a text otherwise
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        vllm [SamplesOtherIds] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: completions: the tokenizer of bytes is not the server's: its tokens are another text than it says
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        llamacpp [AddsBos] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: llama-completion: its model read 74 tokens where 73 were sent
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        llamacpp [CutsPrompts] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: llama-completion: the server cut the prompt: its context is too short
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        llamacpp [DividesOtherwise] token-ids Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: llama-completion: the tokenizer of bytes is not the server's: they divide a text otherwise
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        llamacpp [Echoes] auto Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: trailing-assistant: its answer repeats the forced prefix
            hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
        vllm [Echoes] auto Tokenizer
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: completions: its answer repeats the forced prefix; continue-final-message: its answer repeats the forced prefix
            hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
        vllm [] token-ids Nothing
            cannot: URL0#m: cannot be evaluated, no true prefill was proved: it takes token ids only where a tokenizer is at hand
            hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
    "#]],
    );
}

#[test]
fn seeds_and_several_paths_are_tried() {
    use PrefillChoice::Auto;
    let one_slot = Stand { native: &[("/props", r#"{"total_slots":1}"#)], ..LLAMA };
    let cases = [
        (VLLM.with(&[SingleSeeds]), Auto, WithTokenizer),
        (VLLM.with(&[IgnoresSeeds]), Auto, WithTokenizer),
        (VLLM.with(&[RefusesSeveral]), Auto, WithTokenizer),
        (VLLM.with(&[RefusesSeveral, IgnoresSeeds]), Auto, WithTokenizer),
        (one_slot, Auto, WithTokenizer),
    ];
    check(
        &cases,
        &expect![[r#"
        vllm [SingleSeeds] auto Tokenizer
            vllm completions by prompt-ids; seeds single, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
        vllm [IgnoresSeeds] auto Tokenizer
            vllm completions by prompt-ids; seeds ignored, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
        vllm [RefusesSeveral] auto Tokenizer
            vllm completions by prompt-ids; seeds counted-up, paths 1, slots null, tells ids true, tokenizer agrees true, keeps space true
        vllm [RefusesSeveral, IgnoresSeeds] auto Tokenizer
            vllm completions by prompt-ids; seeds ignored, paths 1, slots null, tells ids true, tokenizer agrees true, keeps space true
        llamacpp [] auto Tokenizer
            llama.cpp llama-completion by token-count; seeds counted-up, paths 1, slots 1, tells ids true, tokenizer agrees true, keeps space true
    "#]],
    );
}

#[test]
fn kinds_are_told_by_their_owner_or_their_paths() {
    use PrefillChoice::Auto;
    for (owner, native, kind) in [
        ("midcourse", &[][..], "midcourse"),
        ("vllm", &[], "vllm"),
        ("sglang", &[], "sglang"),
        ("llamacpp", &[], "llama.cpp"),
        ("library", &[], "ollama"),
        ("mistralai", &[], "mistral"),
        ("deepseek", &[], "deepseek"),
        ("somebody", &[], "other"),
        ("somebody", &[("/props", r#"{"total_slots":2}"#)], "llama.cpp"),
        ("somebody", &[("/api/version", r#"{"version":"0.9"}"#)], "ollama"),
        ("somebody", &[("/get_model_info", r#"{"model_path":"m"}"#)], "sglang"),
    ] {
        // Every way to go on is there, whatever the server is.
        let server = FaultServer::start(move |request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let owner_of_shape = match request.line.as_str() {
                "POST /completion" => "llamacpp",
                "POST /api/chat" => "library",
                line if line.starts_with("GET") => owner,
                _ => "vllm",
            };
            let stand = Stand { owner: owner_of_shape, native, quirks: &[] };
            if body.get("messages").is_some() || body.get("prompt").is_some() {
                return if request.line.ends_with("/tokenize") {
                    stand.divide(&body)
                } else {
                    stand.complete(&body, 0)
                };
            }
            stand.answer(request, 0)
        });
        let survey = surveyed(&[&server], Some("m"), Auto, WithTokenizer).unwrap();
        assert_eq!(serde_json::to_value(survey.server).unwrap(), kind, "{owner} {native:?}");
    }
}

#[test]
fn what_a_server_says_of_itself_is_kept() {
    let vllm = VLLM.start();
    let survey = surveyed(&[&vllm], Some("m"), PrefillChoice::Auto, WithTokenizer).unwrap();
    assert_eq!((survey.version.as_deref(), survey.context), (Some("0.32.0"), Some(4096)));
    assert_eq!((survey.served_as.as_deref(), survey.n_checked), (Some("m"), 2));
    assert_eq!(survey.caveats(), Vec::<&str>::new());
    let llama = LLAMA.start();
    let survey = surveyed(&[&llama], Some("any name"), PrefillChoice::Auto, WithTokenizer).unwrap();
    assert_eq!((survey.context, survey.slots, survey.model.as_str()), (Some(512), Some(4), "any name"));
    let ignoring = VLLM.with(&[IgnoresSeeds, TellsNoSampledIds]).start();
    let survey = surveyed(&[&ignoring], Some("m"), PrefillChoice::Auto, WithTokenizer).unwrap();
    assert_eq!(survey.caveats().len(), 2);
}

#[test]
fn the_model_is_one_that_is_listed() {
    let listed = |names: &[&str]| {
        let models: Vec<_> = names.iter().map(|name| json!({"id": name, "owned_by": "vllm"})).collect();
        fault_server::json(&json!({"data": models}).to_string())
    };
    let page = reply("200 OK", &[("Content-Type", "text/html")], b"<html>Log in</html>");
    let no_list = || refused("404 Not Found", "no list");
    let check = |what: &str, list: Vec<Step>, model: Option<&str>| {
        let server = FaultServer::start(move |request| match request.line.as_str() {
            "GET /v1/models" => list.clone(),
            _ => VLLM.answer(request, 0),
        });
        let found = surveyed(&[&server], model, PrefillChoice::Auto, WithTokenizer);
        format!("{what}\n{}", shown(&[&server], found))
    };
    let found = [
        check("the only one", listed(&["m"]), None),
        check("one of two", listed(&["a", "b"]), None),
        check("none of two", listed(&["a", "b"]), Some("m")),
        check("an empty list", listed(&[]), None),
        check("a model without a name", fault_server::json(r#"{"data":[{"owned_by":"vllm"}]}"#), None),
        check("a page", page, Some("m")),
        check("no key", refused("401 Unauthorized", "a key, please"), Some("m")),
        check("another list", fault_server::json("[1, 2]"), None),
        check("no list, and a name", no_list(), Some("m")),
        check("no list, and no name", no_list(), None),
    ];
    expect![[r#"
        the only one
        vllm completions by prompt-ids; seeds counted-up, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
        one of two
        error: URL0: expected a model's name after #, found none
        hint: the server lists: a, b
        none of two
        error: URL0: expected to find the model "m", found a, b
        hint: name one of these after #
        an empty list
        error: URL0: expected a model's name after #, found none
        hint: the server lists: nothing
        a model without a name
        error: URL0: expected names of models, found one without
        hint: name it after #
        a page
        error: URL0: expected JSON, found a page of HTML (200)
        hint: check the path, usually /v1; a proxy may answer in the server's place
        no key
        error: URL0: the server refuses (401): a key, please
        hint: check the key in the environment
        another list
        error: URL0: expected a model's name after #, found none
        hint: the server lists: nothing
        no list, and a name
        other completions by prompt-ids; seeds counted-up, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
        no list, and no name
        error: URL0: expected a model's name after #, found none
        hint: the server lists: nothing
    "#]].assert_eq(&found.concat());
}

#[test]
fn replicas_are_alike_or_refused() {
    let pair = |other: Stand, expected: Expect| {
        let (one, other) = (VLLM.start(), other.start());
        let servers = [&one, &other];
        expected
            .assert_eq(&shown(&servers, surveyed(&servers, Some("m"), PrefillChoice::Auto, WithTokenizer)));
    };
    pair(
        VLLM,
        expect![[r#"
        vllm completions by prompt-ids; seeds counted-up, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
    "#]],
    );
    pair(
        VLLM.with(&[NamesAnother]),
        expect![[r#"
        cannot: URL1: expected a replica of URL0, found another model
        hint: replicas serve the same model with the same server
    "#]],
    );
    pair(
        VLLM.with(&[AddsBos]),
        expect![[r#"
        cannot: URL1#m: cannot be evaluated, no true prefill was proved: completions: its model read other token ids than were sent (74 of 73)
        hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
    "#]],
    );
    pair(
        VLLM.with(&[RefusesSeveral]),
        expect![[r#"
        vllm completions by prompt-ids; seeds counted-up, paths 1, slots null, tells ids true, tokenizer agrees true, keeps space true
    "#]],
    );
    pair(
        VLLM.with(&[IgnoresSeeds]),
        expect![[r#"
        vllm completions by prompt-ids; seeds ignored, paths any, slots null, tells ids true, tokenizer agrees true, keeps space true
    "#]],
    );
    pair(
        LLAMA,
        expect![[r#"
        cannot: URL1#m: cannot be evaluated, no true prefill was proved: completions: the server refuses it: no such path
        hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
    "#]],
    );
}
