//! Bodies as they are sent, and answers as servers give them, good and bad.
//!
//! The good answers are one that llama.cpp's server gave, without the fields that are not read, and such as vLLM and
//! Ollama document.

use expect_test::{Expect, expect};
use midcourse_core::chat::Message;
use serde_json::{Value, json};

use super::*;

const IDS: [TokenId; 3] = [1, 9690, 198];
const OF_CHAT: [Protocol; 4] =
    [Protocol::ContinueFinalMessage, Protocol::PrefixFlag, Protocol::TrailingAssistant, Protocol::OllamaChat];

fn said(open: &str) -> Conversation {
    let messages = vec![
        Message { role: Role::System, content: "Be kind.".into() },
        Message::user("May I cheat at a board game?"),
    ];
    Conversation { messages, open: open.into() }
}

fn body(protocol: Protocol, given: Given<'_>) -> Value {
    let sampling = Sampling { temperature: 0.7, top_p: 0.9, max_new_tokens: 32 };
    protocol.body(&Ask { model: "m", given, sampling, n: 5, seed: 11 })
}

/// A body, a field a line.
fn lines(body: &Value) -> String {
    let line = |(name, value): (&String, &Value)| format!("{name}: {value}\n");
    body.as_object().unwrap().iter().map(line).collect()
}

/// Holds the bodies of some protocols to a snapshot.
fn check_bodies(protocols: &[Protocol], expected: &Expect) {
    let conversation = said("Sure, you");
    let shown = |protocol: &Protocol| {
        let given = if protocol.takes_ids() { Given::Ids(&IDS) } else { Given::Conversation(&conversation) };
        format!("— {}\n{}", protocol.name(), lines(&body(*protocol, given)))
    };
    expected.assert_eq(&protocols.iter().map(shown).collect::<String>());
}

#[test]
fn token_ids_are_sent_with_every_field_of_sampling() {
    check_bodies(
        &[Protocol::Completions, Protocol::LlamaCompletion],
        &expect![[r#"
        — completions
        model: "m"
        max_tokens: 32
        n: 5
        seed: 11
        temperature: 0.7
        top_p: 0.9
        top_k: -1
        min_p: 0.0
        repetition_penalty: 1.0
        presence_penalty: 0.0
        frequency_penalty: 0.0
        stream: false
        prompt: [1,9690,198]
        return_token_ids: true
        — llama-completion
        prompt: [1,9690,198]
        n_predict: 32
        n_cmpl: 5
        seed: 11
        temperature: 0.7
        top_p: 0.9
        top_k: 0
        min_p: 0.0
        typical_p: 1.0
        repeat_penalty: 1.0
        presence_penalty: 0.0
        frequency_penalty: 0.0
        dry_multiplier: 0.0
        xtc_probability: 0.0
        mirostat: 0
        dynatemp_range: 0.0
        samplers: ["temperature","top_p"]
        return_tokens: true
        cache_prompt: true
        stream: false
    "#]],
    );
}

#[test]
fn messages_are_sent_with_every_field_of_sampling_that_is_known() {
    check_bodies(
        &OF_CHAT,
        &expect![[r#"
        — continue-final-message
        model: "m"
        max_tokens: 32
        n: 5
        seed: 11
        temperature: 0.7
        top_p: 0.9
        top_k: -1
        min_p: 0.0
        repetition_penalty: 1.0
        presence_penalty: 0.0
        frequency_penalty: 0.0
        stream: false
        messages: [{"role":"system","content":"Be kind."},{"role":"user","content":"May I cheat at a board game?"},{"role":"assistant","content":"Sure, you"}]
        add_generation_prompt: false
        continue_final_message: true
        chat_template_kwargs: {"enable_thinking":false}
        return_token_ids: true
        return_prompt_text: true
        — prefix-flag
        model: "m"
        max_tokens: 32
        n: 5
        seed: 11
        temperature: 0.7
        top_p: 0.9
        messages: [{"role":"system","content":"Be kind."},{"role":"user","content":"May I cheat at a board game?"},{"role":"assistant","content":"Sure, you","prefix":true}]
        stream: false
        frequency_penalty: 0.0
        presence_penalty: 0.0
        — trailing-assistant
        model: "m"
        max_tokens: 32
        n: 5
        seed: 11
        temperature: 0.7
        top_p: 0.9
        messages: [{"role":"system","content":"Be kind."},{"role":"user","content":"May I cheat at a board game?"},{"role":"assistant","content":"Sure, you"}]
        stream: false
        frequency_penalty: 0.0
        presence_penalty: 0.0
        — ollama-chat
        model: "m"
        messages: [{"role":"system","content":"Be kind."},{"role":"user","content":"May I cheat at a board game?"},{"role":"assistant","content":"Sure, you"}]
        stream: false
        think: false
        options: {"temperature":0.7,"top_p":0.9,"top_k":0,"min_p":0.0,"repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"seed":11,"num_predict":32}
    "#]],
    );
}

#[test]
fn a_turn_that_has_not_begun_is_asked_for_as_an_answer() {
    let conversation = said("");
    for protocol in OF_CHAT {
        let body = body(protocol, Given::Conversation(&conversation));
        let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["system", "user"], "{protocol:?}");
        assert!(!body.to_string().contains("prefix"), "{protocol:?}");
        if protocol == Protocol::ContinueFinalMessage {
            assert_eq!(
                (&body["add_generation_prompt"], &body["continue_final_message"]),
                (&json!(true), &json!(false))
            );
        }
    }
}

#[test]
fn names_are_those_of_files() {
    for protocol in [&[Protocol::LlamaCompletion, Protocol::Completions], &OF_CHAT[..]].concat() {
        assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.name());
    }
}

/// An answer of vLLM to two paths; the second stands first.
fn of_vllm() -> Value {
    json!({
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
        "choices": [
            {
                "index": 1, "text": "#3", "logprobs": null, "finish_reason": "length", "stop_reason": null,
                "token_ids": [19, 35], "prompt_logprobs": null, "prompt_token_ids": [1, 9690, 198],
            },
            {
                "index": 0, "text": "Yes", "logprobs": null, "finish_reason": "stop", "stop_reason": null,
                "token_ids": [1726, 2], "prompt_logprobs": null, "prompt_token_ids": [1, 9690, 198],
            },
        ],
        "usage": {"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4, "prompt_tokens_details": null},
    })
}

fn of_chat() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": " may", "refusal": null, "tool_calls": [], "reasoning": null},
            "logprobs": null, "finish_reason": "length", "stop_reason": null, "token_ids": [340],
        }],
        "usage": {"prompt_tokens": 31, "total_tokens": 32, "completion_tokens": 1},
        "prompt_token_ids": [1, 2, 3], "prompt_text": "<|im_start|>user\nHi",
    })
}

fn of_llama() -> Value {
    json!([
        {
            "index": 0, "content": "#3\nThe", "tokens": [19, 35, 198, 504], "id_slot": 6, "stop": true, "model": "m.gguf",
            "tokens_predicted": 4, "tokens_evaluated": 3, "prompt": "<|im_start|>system\n", "truncated": false,
            "stop_type": "limit", "stopping_word": "",
        },
        {
            "index": 1, "content": "use", "tokens": [1726, 2], "id_slot": 0, "stop": true, "model": "m.gguf",
            "tokens_predicted": 2, "tokens_evaluated": 3, "prompt": "<|im_start|>system\n", "truncated": false,
            "stop_type": "eos", "stopping_word": "",
        },
    ])
}

fn of_ollama() -> Value {
    json!({
        "model": "m:latest", "created_at": "2026-11-24T16:00:00Z", "message": {"role": "assistant", "content": " may"},
        "done": true, "done_reason": "stop", "total_duration": 5, "prompt_eval_count": 26, "eval_count": 4,
    })
}

#[test]
fn good_answers_are_read() {
    let path = |tokens: Option<&[TokenId]>, text: &str, finish| Choice {
        tokens: tokens.map(<[TokenId]>::to_vec),
        text: text.into(),
        finish,
    };
    let (length, end) = (Finish::Length, Finish::EndOfTurn);
    let expected = Completion {
        choices: vec![path(Some(&[1726, 2]), "Yes", end), path(Some(&[19, 35]), "#3", length)],
        prompt_ids: Some(IDS.into()),
        prompt_text: None,
        n_prompt: Some(3),
        model: Some("m".into()),
    };
    assert_eq!(Protocol::Completions.reply(&of_vllm(), 2), Ok(expected));
    let expected = Completion {
        choices: vec![path(Some(&[340]), " may", length)],
        prompt_ids: Some(vec![1, 2, 3]),
        prompt_text: Some("<|im_start|>user\nHi".into()),
        n_prompt: Some(31),
        model: Some("m".into()),
    };
    for protocol in &OF_CHAT[..3] {
        assert_eq!(protocol.reply(&of_chat(), 1).as_ref(), Ok(&expected));
    }
    let expected = Completion {
        choices: vec![path(Some(&[19, 35, 198, 504]), "#3\nThe", length), path(Some(&[1726, 2]), "use", end)],
        prompt_ids: None,
        prompt_text: Some("<|im_start|>system\n".into()),
        n_prompt: Some(3),
        model: Some("m.gguf".into()),
    };
    assert_eq!(Protocol::LlamaCompletion.reply(&of_llama(), 2).as_ref(), Ok(&expected));
    // A single path is no list.
    let single = Completion { choices: expected.choices[..1].into(), ..expected };
    assert_eq!(Protocol::LlamaCompletion.reply(&of_llama()[0], 1), Ok(single));
    let expected = Completion {
        choices: vec![path(None, " may", end)],
        prompt_ids: None,
        prompt_text: None,
        n_prompt: Some(26),
        model: Some("m:latest".into()),
    };
    assert_eq!(Protocol::OllamaChat.reply(&of_ollama(), 1), Ok(expected));
}

#[test]
fn what_a_server_does_not_tell_is_not_invented() {
    let bare = json!({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]});
    let reply = Protocol::TrailingAssistant.reply(&bare, 1).unwrap();
    let choice = Choice { tokens: None, text: "Hi".into(), finish: Finish::EndOfTurn };
    let expected = Completion {
        choices: vec![choice],
        prompt_ids: None,
        prompt_text: None,
        n_prompt: None,
        model: None,
    };
    assert_eq!(reply, expected);
}

/// The mistakes of an answer in which a field of the object at `at` has another value, or is missing.
fn mistakes(protocol: Protocol, good: &Value, at: &str, fields: &[(&str, Option<Value>)]) -> String {
    let n = good.get("choices").unwrap_or(good).as_array().map_or(1, Vec::len);
    let mistake = |(name, value): &(&str, Option<Value>)| {
        let mut answer = good.clone();
        let object = answer.pointer_mut(at).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => drop(object.insert((*name).to_owned(), value.clone())),
            None => drop(object.remove(*name)),
        }
        format!("{name}: {}\n", protocol.reply(&answer, n).unwrap_err())
    };
    fields.iter().map(mistake).collect()
}

#[test]
fn lists_of_choices_that_are_none_are_mistakes() {
    let fields = [
        ("choices", None),
        ("choices", Some(json!(null))),
        ("choices", Some(json!({}))),
        ("choices", Some(json!([]))),
        ("choices", Some(json!([null, null]))),
        ("prompt_token_ids", Some(json!([null]))),
    ];
    let found = mistakes(Protocol::Completions, &of_vllm(), "", &fields);
    expect![[r#"
        choices: field choices: expected an array, found nothing
        choices: field choices: expected an array, found null
        choices: field choices: expected an array, found an object
        choices: field choices: expected at least one, found none
        choices: field choices.finish_reason: expected the end of the turn or the limit of tokens, found none
        prompt_token_ids: field prompt_token_ids: expected token ids, found an array
    "#]]
    .assert_eq(&found);
    let of_n = |n: usize| Protocol::Completions.reply(&of_vllm(), n).unwrap_err().0;
    assert_eq!([of_n(1), of_n(3)], ["paths: expected 1, found 2", "paths: expected 3, found 2"]);
    for other in [json!("Hi"), json!(null), json!([]), of_chat(), of_llama(), of_ollama()] {
        assert!(Protocol::Completions.reply(&other, 1).is_err(), "{other}");
    }
}

#[test]
fn choices_that_cannot_be_read_are_mistakes() {
    let fields = [
        ("index", Some(json!(0))),
        ("index", Some(json!(2))),
        ("index", None),
        ("index", Some(json!(u64::MAX))),
        ("text", None),
        ("text", Some(json!(null))),
        ("text", Some(json!(["#3"]))),
        ("finish_reason", None),
        ("finish_reason", Some(json!(null))),
        ("finish_reason", Some(json!("content_filter"))),
        ("finish_reason", Some(json!("tool_calls"))),
        ("finish_reason", Some(json!("abort"))),
        ("token_ids", Some(json!("19 35"))),
        ("token_ids", Some(json!([19, -1]))),
        ("token_ids", Some(json!([19.5]))),
        ("token_ids", Some(json!([1u64 << 32]))),
    ];
    let found = mistakes(Protocol::Completions, &of_vllm(), "/choices/0", &fields);
    expect![[r#"
        index: field index: expected each number from 0 to 1 once, found 0
        index: field index: expected each number from 0 to 1 once, found 2
        index: field index: expected each number from 0 to 1 once, found 0
        index: field index: expected each number from 0 to 1 once, found 18446744073709551615
        text: field choices.text: expected a string, found nothing
        text: field choices.text: expected a string, found null
        text: field choices.text: expected a string, found an array
        finish_reason: field choices.finish_reason: expected the end of the turn or the limit of tokens, found none
        finish_reason: field choices.finish_reason: expected the end of the turn or the limit of tokens, found none
        finish_reason: field choices.finish_reason: expected the end of the turn or the limit of tokens, found content_filter
        finish_reason: field choices.finish_reason: expected the end of the turn or the limit of tokens, found tool_calls
        finish_reason: field choices.finish_reason: expected the end of the turn or the limit of tokens, found abort
        token_ids: field token_ids: expected token ids, found a string
        token_ids: field token_ids: expected token ids, found an array
        token_ids: field token_ids: expected token ids, found an array
        token_ids: field token_ids: expected token ids, found an array
    "#]].assert_eq(&found);
    let long = Protocol::Completions.reply(&json!({"choices": [{"finish_reason": "x".repeat(5000)}]}), 1);
    assert!(long.unwrap_err().0.len() < 400);
    let contents =
        [("content", None), ("content", Some(json!(null))), ("content", Some(json!([{"type": "text"}])))];
    let found = mistakes(Protocol::ContinueFinalMessage, &of_chat(), "/choices/0/message", &contents);
    expect![[r#"
        content: field choices.message.content: expected a string, found nothing
        content: field choices.message.content: expected a string, found null
        content: field choices.message.content: expected a string, found an array
    "#]]
    .assert_eq(&found);
}

#[test]
fn results_of_other_shapes_that_cannot_be_read_are_mistakes() {
    let fields = [
        ("index", Some(json!(1))),
        ("index", Some(json!(2))),
        ("content", Some(json!(null))),
        ("stop_type", Some(json!("word"))),
        ("stop_type", None),
        ("truncated", Some(json!(true))),
        ("tokens", Some(json!({}))),
    ];
    let found = mistakes(Protocol::LlamaCompletion, &of_llama(), "/0", &fields);
    expect![[r#"
        index: field index: expected each number from 0 to 1 once, found 1
        index: field index: expected each number from 0 to 1 once, found 2
        content: field content: expected a string, found null
        stop_type: field stop_type: expected the end of the turn or the limit of tokens, found word
        stop_type: field stop_type: expected the end of the turn or the limit of tokens, found none
        truncated: the server cut the prompt: its context is too short
        tokens: field tokens: expected token ids, found an object
    "#]]
    .assert_eq(&found);
    for (other, n) in [(of_llama()[0].clone(), 2), (json!([]), 0), (json!({"error": {}}), 1)] {
        assert!(Protocol::LlamaCompletion.reply(&other, n).is_err(), "{other}");
    }
    let fields = [
        ("done_reason", Some(json!("load"))),
        ("done_reason", None),
        ("message", None),
        ("message", Some(json!({"role": "assistant", "content": null}))),
    ];
    let found = mistakes(Protocol::OllamaChat, &of_ollama(), "", &fields);
    expect![[r#"
        done_reason: field done_reason: expected the end of the turn or the limit of tokens, found load
        done_reason: field done_reason: expected the end of the turn or the limit of tokens, found none
        message: field message.content: expected a string
        message: field message.content: expected a string
    "#]]
    .assert_eq(&found);
}
