//! Requests that are not served: each is told what was expected and what was found.

use std::fmt::Write;

use expect_test::expect_file;
use serde_json::{Value, json};

use super::server::Server;

/// Bodies for completions, over a request that is right.
fn completions() -> Vec<Value> {
    let long: Vec<u32> = vec![1; 510];
    let mut bodies = vec![
        json!({"prompt": null}),
        json!({"prompt": 7}),
        json!({"prompt": []}),
        json!({"prompt": ""}),
        json!({"prompt": [true]}),
        json!({"prompt": ["a", 7]}),
        json!({"prompt": [1, "a"]}),
        json!({"prompt": [1, -1]}),
        json!({"prompt": [1, 99999]}),
        json!({"prompt": [[1], []]}),
        json!({"prompt": [1.5]}),
        json!({"prompt": long, "max_tokens": 3}),
        json!({"max_tokens": 0}),
        json!({"max_tokens": 100_000}),
        json!({"max_tokens": "many"}),
        json!({"n": 0}),
        json!({"n": 129}),
        json!({"n": 128, "prompt": vec!["a"; 40]}),
        json!({"n": 2, "best_of": 3}),
        json!({"temperature": -1}),
        json!({"temperature": 1e-9}),
        json!({"temperature": "hot"}),
        json!({"top_p": 0}),
        json!({"top_p": 1.1}),
        json!({"seed": 1.5}),
        json!({"stop": [""]}),
        json!({"stop": 3}),
        json!({"stop": vec!["a"; 17]}),
        json!({"echo": "yes"}),
        json!({"logprobs": 21}),
        json!({"logprobs": true}),
        json!({"logprobs": 1, "stream": true}),
        json!({"stream_options": true}),
        json!({"model": 3}),
        json!({"model": "another"}),
        json!({"return_token_ids": 1}),
    ];
    for (name, value) in [
        ("top_k", json!(40)),
        ("min_p", json!(0.1)),
        ("repetition_penalty", json!(1.1)),
        ("frequency_penalty", json!(0.5)),
        ("presence_penalty", json!(-0.5)),
        ("logit_bias", json!({"5": 1})),
        ("suffix", json!("end")),
        ("tools", json!([{}])),
        ("response_format", json!({"type": "json_object"})),
        ("stop_token_ids", json!([2])),
        ("ignore_eos", json!(true)),
        ("min_tokens", json!(2)),
        ("guided_regex", json!("a+")),
        ("prompt_logprobs", json!(1)),
    ] {
        bodies.push(json!({name: value}));
    }
    bodies
}

fn chats() -> Vec<Value> {
    let user = json!({"role": "user", "content": "Hi"});
    let open = json!({"role": "assistant", "content": "Well"});
    vec![
        json!({"messages": null}),
        json!({"messages": []}),
        json!({"messages": "Hi"}),
        json!({"messages": ["Hi"]}),
        json!({"messages": [{"role": "tool", "content": "Hi"}]}),
        json!({"messages": [{"role": "user"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        json!({"messages": [{"role": "assistant", "content": "Hi", "tool_calls": [{}]}]}),
        json!({"messages": [user, open], "continue_final_message": true}),
        json!({"messages": [user], "continue_final_message": true, "add_generation_prompt": false}),
        json!({"messages": [open], "continue_final_message": true, "add_generation_prompt": false}),
        json!({"chat_template_kwargs": 3}),
        json!({"chat_template_kwargs": {"enable_thinking": 3}}),
        json!({"chat_template_kwargs": {"builtin_tools": []}}),
        json!({"messages": [user, open], "continue_final_message": true, "add_generation_prompt": false,
            "chat_template_kwargs": {"enable_thinking": true}}),
        json!({"top_logprobs": 2}),
        json!({"logprobs": 2}),
        json!({"max_tokens": 0}),
        json!({"max_completion_tokens": 512}),
        json!({"messages": [{"role": "user", "content": "long ".repeat(600)}]}),
        json!({"echo": true}),
        json!({"chat_template": "{{ messages }}"}),
    ]
}

/// `base` with the fields of `over`.
fn laid(base: &Value, over: &Value) -> Value {
    let mut body = base.clone();
    body.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    body
}

/// What every bad request is told.
fn told(server: &Server) -> String {
    let mut found = String::new();
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2});
    let detokenized = vec![json!({}), json!({"tokens": "a"}), json!({"tokens": [1, 99999]})];
    let cases = [
        ("/v1/completions", json!({"prompt": "Hi", "max_tokens": 2}), completions()),
        ("/v1/chat/completions", chat, chats()),
        ("/tokenize", json!({}), vec![json!({}), json!({"prompt": 3})]),
        ("/detokenize", json!({}), detokenized),
    ];
    for (path, base, bodies) in cases {
        if path.starts_with("/v1") {
            assert_eq!(server.post(path, &base).status, 200, "{path}");
        }
        for over in bodies {
            let answer = server.post(path, &laid(&base, &over));
            let error = &answer.json()["error"];
            assert_eq!(error["type"], "invalid_request_error", "{over}");
            let message = error["message"].as_str().unwrap().replace(&server.model, "MODEL");
            writeln!(found, "{} {} | {message}", answer.status, error["param"].as_str().unwrap_or("-"))
                .unwrap();
        }
    }
    found
}

#[test]
fn every_bad_request_has_its_message() {
    let server = Server::tiny(&[]);
    expect_file!["refused.txt"].assert_eq(&told(&server));
}

/// Set to what changes nothing, fields are as good as left out; unknown ones are ignored.
#[test]
fn neutral_and_unknown_fields_change_nothing() {
    let server = Server::tiny(&[]);
    let base = json!({"prompt": [5, 6, 7], "seed": 2, "max_tokens": 8, "return_token_ids": true});
    let tokens = |body: &Value| server.posted("/v1/completions", body)["choices"][0]["token_ids"].clone();
    let neutral = json!({
        "top_k": -1, "min_p": 0.0, "repetition_penalty": 1, "frequency_penalty": 0, "presence_penalty": 0.0,
        "logit_bias": {}, "best_of": 1, "suffix": null, "tools": [], "response_format": {"type": "text"},
        "user": "somebody", "ignore_eos": false, "stop": null, "n": 1, "temperature": 1.0, "top_p": 1,
        "stream": false, "no_such_field": [1, 2], "tool_choice": "auto",
    });
    assert_eq!(tokens(&laid(&base, &neutral)), tokens(&base));
    assert_ne!(tokens(&laid(&base, &json!({"seed": 3}))), tokens(&base), "the seed matters");
}
