//! Texts of answers: stops, pieces, ends. On the scripted engine, whose tokens are bytes.

use serde_json::{Value, json};

use super::each;
use super::server::{Server, request};
use crate::fixtures::Fixture;

const TEXT: &str = "naïve café ☕ and then, STOP here, 𝄞 after";

fn scripted() -> (Fixture, Server) {
    let fixture = Fixture::new();
    let line = json!({"match": "", "continuations": [TEXT]}).to_string();
    let script = fixture.write("text.jsonl", line);
    let server = Server::start(&format!("scripted:{}", script.display()), &[], &[]);
    (fixture, server)
}

/// The pieces of a stream by choice, its last finish reasons, and all chunks.
fn streamed(server: &Server, path: &str, body: &Value) -> (Vec<Vec<String>>, Vec<Value>, Vec<Value>) {
    let answer = server.send(&request(path, body));
    assert!(answer.head.contains("text/event-stream"), "{}", answer.head);
    let mut events = answer.events();
    assert_eq!(events.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let n = body["n"].as_u64().unwrap_or(1) as usize;
    let (mut pieces, mut reasons) = (vec![Vec::new(); n], vec![Value::Null; n]);
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()) {
        let at = choice["index"].as_u64().unwrap() as usize;
        let text = if path.contains("chat") { &choice["delta"]["content"] } else { &choice["text"] };
        pieces[at].push(text.as_str().unwrap().to_owned());
        assert!(reasons[at].is_null(), "a piece after the end");
        reasons[at] = choice["finish_reason"].clone();
    }
    (pieces, reasons, chunks)
}

#[test]
fn a_text_ends_before_the_first_stop() {
    let (_fixture, server) = scripted();
    let before = |stop: &str| TEXT.split(stop).next().unwrap();
    for (stop, text, reason) in [
        (json!("STOP"), before("STOP"), json!("STOP")),
        (json!(["after", "☕", "STOP"]), before("☕"), json!("☕")),
        (json!(["never"]), TEXT, Value::Null),
        (json!([]), TEXT, Value::Null),
    ] {
        let body = json!({"prompt": "Go", "max_tokens": 200, "stop": stop, "n": 2});
        let answer = server.posted("/v1/completions", &body);
        assert_eq!(each(&answer, "text"), [text, text]);
        assert_eq!(each(&answer, "stop_reason"), [reason.clone(), reason]);
        assert_eq!(each(&answer, "finish_reason"), ["stop", "stop"]);
    }
    let body = json!({"prompt": "Go", "max_tokens": 5, "stop": "STOP", "return_token_ids": true});
    let answer = server.posted("/v1/completions", &body);
    assert_eq!(each(&answer, "finish_reason"), ["length"]);
    assert_eq!(each(&answer, "token_ids"), [json!(TEXT.as_bytes()[..5])]);
}

#[test]
fn pieces_are_whole_characters_and_join_to_the_text() {
    let (_fixture, server) = scripted();
    for path in ["/v1/completions", "/v1/chat/completions"] {
        for (stop, max_tokens) in [(json!([]), 200), (json!(["STOP", "zzz"]), 200), (json!(["STOP"]), 12)] {
            let messages = json!([{"role": "user", "content": "Go"}]);
            let mut body = json!({
                "prompt": "Go", "messages": messages, "max_tokens": max_tokens, "stop": stop, "n": 2,
                "return_token_ids": true,
            });
            let whole = server.posted(path, &body);
            body["stream"] = true.into();
            body["stream_options"] = json!({"include_usage": true});
            let (pieces, reasons, chunks) = streamed(&server, path, &body);
            assert_eq!(reasons, each(&whole, "finish_reason"));
            assert_eq!(chunks.last().unwrap()["usage"], whole["usage"]);
            for (at, pieces) in pieces.iter().enumerate() {
                let choice = &whole["choices"][at];
                let text =
                    if path.contains("chat") { &choice["message"]["content"] } else { &choice["text"] };
                assert_eq!(pieces.concat(), *text);
                assert!(pieces.len() > 5, "{pieces:?}");
                // A text that is cut within a character ends with what stands for its bytes.
                let n_cut = pieces.iter().filter(|piece| piece.contains('\u{fffd}')).count();
                assert_eq!(n_cut, usize::from(text.as_str().unwrap().contains('\u{fffd}')));
                let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap());
                let own = choices.filter(|choice| choice["index"] == at);
                let tokens: Vec<Value> =
                    own.filter_map(|choice| choice["token_ids"].as_array()).flatten().cloned().collect();
                assert_eq!(json!(tokens), choice["token_ids"]);
            }
        }
    }
}

#[test]
fn an_echo_stands_before_the_answer() {
    let (_fixture, server) = scripted();
    let mut body = json!({"prompt": ["Go", "On"], "max_tokens": 3, "echo": true});
    assert_eq!(each(&server.posted("/v1/completions", &body), "text"), ["Gona\u{fffd}", "Onna\u{fffd}"]);
    body["max_tokens"] = 0.into();
    let answer = server.posted("/v1/completions", &body);
    assert_eq!(each(&answer, "text"), ["Go", "On"]);
    assert_eq!(answer["usage"]["completion_tokens"], 0);
    let ids = json!({"prompt": [72, 105], "max_tokens": 0, "echo": true});
    assert_eq!(each(&server.posted("/v1/completions", &ids), "text"), ["Hi"]);
}

#[test]
fn a_chat_answer_has_its_shape() {
    let (_fixture, server) = scripted();
    let body = json!({"messages": [{"role": "user", "content": "Go"}]});
    let answer = server.posted("/v1/chat/completions", &body);
    assert_eq!(answer["object"], "chat.completion");
    let expected = json!({
        "index": 0, "message": {"role": "assistant", "content": TEXT}, "logprobs": null,
        "finish_reason": "stop", "stop_reason": null,
    });
    assert_eq!(answer["choices"], json!([expected]));
    let scored = server.post("/v1/completions", &json!({"prompt": "Go", "logprobs": 1}));
    let message = scored.json()["error"]["message"].clone();
    assert_eq!((scored.status, message), (400, json!("logprobs: a script has no probabilities")));
}
