//! What a survey finds out about servers, and which of them it refuses.
//!
//! The servers stand in for real ones, each with its quirks; their model goes on within the words that a survey cuts.

mod stand;

use std::sync::Arc;

use expect_test::{Expect, expect};
use midcourse_core::template::Tokenizer;
use midcourse_engine::Error;
use midcourse_engine::remote::{
    Client, Connection, Dispatcher, ModelText, Patience, PrefillChoice, Survey, survey,
};
use midcourse_engine::scripted::Scripted;
use serde_json::{Value, json};

use self::stand::Quirk::{
    AddsBos, CannotDivide, CutsPrompts, DividesOtherwise, Echoes, IgnoresSeeds, NamesAnother, OpensNewTurn,
    ReadsOtherIds, RefusesSeveral, RefusesUnknownFields, SamplesOtherIds, SingleSeeds, StripsSpace,
    TellsCountOnly, TellsNoSampledIds, TellsNothing, TellsText,
};
use self::stand::{HOST, LLAMA, OLLAMA, Stand, VLLM, refused};
use crate::fault_server::{self, FaultServer, Step, reply};

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
            let several = survey.paths_per_request.map_or("any".to_owned(), |n| n.to_string());
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
            somebody [TellsCountOnly, RefusesUnknownFields] auto Nothing
                other prefix-flag by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
            somebody [TellsCountOnly, RefusesUnknownFields] trailing-assistant Nothing
                other trailing-assistant by cut-words; seeds counted-up, paths any, slots null, tells ids false, tokenizer agrees null, keeps space false
            somebody [TellsCountOnly, RefusesUnknownFields] prefix-flag Nothing
                other prefix-flag by cut-words; seeds counted-up, paths 1, slots null, tells ids false, tokenizer agrees null, keeps space false
            somebody [TellsCountOnly, RefusesUnknownFields] continue-final-message Nothing
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
            somebody [OpensNewTurn, TellsCountOnly] trailing-assistant Nothing
                cannot: URL0#m: cannot be evaluated, no true prefill was proved: trailing-assistant: its model reads 10 tokens beyond question and prefix: it opens a new turn
                hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
            somebody [OpensNewTurn, TellsNothing] trailing-assistant Nothing
                cannot: URL0#m: cannot be evaluated, no true prefill was proved: trailing-assistant: of 3 words cut in the middle its model went on with 0: it opens a new turn
                hint: name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token ids can be sent; as it is it can still judge
            library [OpensNewTurn] auto Nothing
                cannot: URL0#m: cannot be evaluated, no true prefill was proved: ollama-chat: its model reads 10 tokens beyond question and prefix: it opens a new turn
                hint: evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge
            somebody [OpensNewTurn, TellsCountOnly] auto Nothing
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
