//! Servers that cannot be evaluated, and options that make no sense.

use serde_json::{Value, json};

use super::proxy::{eval, fixture};
use crate::fault_server::{self, FaultServer, Request, Step, reply};
use crate::fixtures::Output;

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn chat(text: &str, n_prompt: usize) -> Vec<Step> {
    let choice =
        json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": n_prompt, "completion_tokens": 1});
    fault_server::json(&json!({"model": "m", "choices": [choice], "usage": usage}).to_string())
}

/// A server that can only chat: it answers every conversation with a new turn.
pub(crate) fn chats_only(request: &Request) -> Vec<Step> {
    match request.line.as_str() {
        "GET /v1/models" => fault_server::json(r#"{"data":[{"id":"m","owned_by":"somebody"}]}"#),
        "POST /v1/chat/completions" => {
            let messages = body(request)["messages"].as_array().unwrap().len();
            chat("Sure, let me think about that.", 10 * messages)
        }
        _ => reply("404 Not Found", &[("Content-Type", "application/json")], b"{}"),
    }
}

#[test]
fn a_server_that_can_only_chat_ends_with_6_and_says_what_to_do() {
    let fixture = fixture();
    let server = FaultServer::start(chats_only);
    let model = format!("{}#m", server.base());
    let output = Output::of(&mut eval(&fixture, &model, "run", &["--unit", "words"]));
    assert_eq!(output.code, 6, "{output:?}");
    for said in [
        &format!("{model}: cannot be evaluated, no true prefill was proved"),
        "continue-final-message: ",
        "prefix-flag: ",
        "trailing-assistant: ",
        "opens a new turn",
        "hint: name the model's tokenizer with --tokenizer",
        "it can still judge",
    ] {
        assert!(output.stderr.contains(said), "{said}: {output:?}");
    }
    assert!(!fixture.path("run").exists());
}
