//! Conversations with servers that take, refuse and answer in ways of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use midcourse_core::chat::Message;
use midcourse_core::engine::{Answer, BoxError, Chat, Interview, Question, Usage};
use midcourse_engine::Error;
use midcourse_engine::remote::{Dispatcher, Patience, RemoteChat};
use serde_json::{Value, json};

use crate::exchanges::client;
use crate::fault_server::{FaultServer, Request, Step, json as json_reply, reply};

/// Asks about numbers; an answer of nothing is asked about once more.
#[derive(Default)]
struct Numbers {
    left: VecDeque<usize>,
    heard: BTreeMap<usize, String>,
    first: BTreeMap<usize, Vec<(String, f64)>>,
    refused: BTreeMap<usize, String>,
    usage: Usage,
}

impl Numbers {
    fn up_to(n: usize) -> Self {
        Self { left: (0..n).collect(), ..Self::default() }
    }
}

impl Interview for Numbers {
    fn ask(&mut self) -> Option<Question> {
        let id = self.left.pop_front()?;
        Some(Question { id, messages: vec![Message::user(format!("number {id}"))], max_new_tokens: 77 })
    }

    fn stopping(&self) -> bool {
        false
    }

    fn hear(&mut self, answer: Answer) -> Result<(), BoxError> {
        self.usage += answer.usage;
        if answer.text.is_empty() && answer.id < 1000 {
            self.left.push_back(answer.id + 1000);
        }
        self.first.insert(answer.id, answer.first);
        assert!(self.heard.insert(answer.id, answer.text).is_none(), "{} was answered twice", answer.id);
        Ok(())
    }

    fn refused(&mut self, id: usize, reason: &str) -> Result<(), BoxError> {
        assert!(self.refused.insert(id, reason.to_owned()).is_none());
        Ok(())
    }
}

fn open(server: &FaultServer) -> Result<RemoteChat, Error> {
    let dispatcher = Dispatcher::new(vec![client(&server.base())], 4, Patience::default(), 7);
    RemoteChat::open(dispatcher.with_key("MY_KEY"), "m")
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// The number that a request is about; none of the first question.
fn number(request: &Request) -> Option<usize> {
    body(request)["messages"][0]["content"].as_str().unwrap().strip_prefix("number ")?.parse().ok()
}

/// An answer of the message `message`.
fn says(message: &Value) -> Vec<Step> {
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 3});
    json_reply(&json!({"choices": [choice], "usage": usage}).to_string())
}

fn refuses(status: &str, message: &str) -> Vec<Step> {
    let body = json!({"error": {"message": message}}).to_string();
    reply(status, &[("Content-Type", "application/json")], body.as_bytes())
}

#[test]
fn fields_that_a_host_refuses_are_left_out_from_the_first_question_on() {
    type Refused = fn(&Value) -> Option<&'static str>;
    let hosts: [(Refused, &[&str], &[&str], usize); 3] = [
        (|_| None, &["logprobs", "top_logprobs", "temperature", "seed", "max_tokens"], &[], 1),
        (
            |body| body.get("logprobs").map(|_| "logprobs are not supported"),
            &["temperature", "seed", "max_tokens"],
            &["logprobs", "top_logprobs"],
            2,
        ),
        (
            |body| body.get("max_tokens").map(|_| "use max_completion_tokens instead"),
            &["max_completion_tokens"],
            &["max_tokens", "temperature", "logprobs", "seed"],
            3,
        ),
    ];
    for (refused, there, not_there, n_first) in hosts {
        let server = FaultServer::start(move |request| match refused(&body(request)) {
            Some(message) => refuses("400 Bad Request", message),
            None => says(&json!({"role": "assistant", "content": "yes"})),
        });
        let chat = open(&server).unwrap();
        assert_eq!(server.requests().len(), n_first);
        let mut numbers = Numbers::up_to(5);
        chat.talk(&mut numbers).unwrap();
        // The first question is no part of the conversation.
        assert_eq!((numbers.heard.len(), numbers.usage.n_requests), (5, 5));
        for request in server.requests() {
            let body = body(&request);
            assert!(there.iter().all(|name| body.get(name).is_some()), "{body}");
            assert!(not_there.iter().all(|name| body.get(name).is_none()), "{body}");
            let limit = body.get("max_tokens").or_else(|| body.get("max_completion_tokens")).unwrap();
            assert_eq!((&body["model"], limit), (&json!("m"), &json!(77)));
        }
    }
}

#[test]
fn thought_is_no_answer_and_what_is_asked_after_an_answer_is_sent() {
    let messages = [
        json!({"role": "assistant", "content": null, "reasoning_content": "yes, no, yes"}),
        json!({"role": "assistant", "reasoning": "yes"}),
        json!({"role": "assistant", "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "no"}]}, {"type": "text", "text": "yes"},
        ]}),
        json!({"role": "assistant", "content": ""}),
    ];
    let server = FaultServer::start(move |request| match number(request) {
        Some(n) if n < 1000 => says(&messages[n]),
        _ => says(&json!({"role": "assistant", "content": "no"})),
    });
    let mut numbers = Numbers::up_to(4);
    open(&server).unwrap().talk(&mut numbers).unwrap();
    let heard: Vec<(usize, &str)> = numbers.heard.iter().map(|(id, text)| (*id, text.as_str())).collect();
    assert_eq!(heard, [(0, ""), (1, ""), (2, "yes"), (3, ""), (1000, "no"), (1001, "no"), (1003, "no")]);
    assert_eq!(numbers.usage, Usage { n_requests: 7, n_prompt: 77, n_sampled: 21, n_computed: 0 });
}

#[test]
fn probabilities_of_the_first_token_are_read_where_they_are_told() {
    let server = FaultServer::start(|request| {
        let top = json!([{"token": "Yes", "logprob": -0.5}, {"token": "No", "logprob": -1.5}, {"token": 7}]);
        let told = [
            json!({"content": [{"token": "Yes", "top_logprobs": top}]}),
            json!(null),
            json!({"content": []}),
        ];
        let logprobs = &told[number(request).unwrap_or(0)];
        let message = json!({"role": "assistant", "content": "Yes"});
        json_reply(&json!({"choices": [{"message": message, "logprobs": logprobs}]}).to_string())
    });
    let mut numbers = Numbers::up_to(3);
    open(&server).unwrap().talk(&mut numbers).unwrap();
    assert_eq!(numbers.first[&0], [("Yes".to_owned(), -0.5), ("No".to_owned(), -1.5)]);
    assert!(numbers.first[&1].is_empty() && numbers.first[&2].is_empty());
    assert_eq!(numbers.usage, Usage { n_requests: 3, ..Usage::default() });
}

#[test]
fn a_question_that_is_refused_for_itself_does_not_end_the_others() {
    let server = FaultServer::start(|request| match number(request) {
        Some(3) => refuses("400 Bad Request", "filtered by the content policy"),
        Some(5) => refuses("413 Payload Too Large", "too long"),
        _ => says(&json!({"role": "assistant", "content": "yes"})),
    });
    let mut numbers = Numbers::up_to(8);
    open(&server).unwrap().talk(&mut numbers).unwrap();
    assert_eq!(numbers.heard.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 4, 6, 7]);
    assert!(numbers.refused[&3].contains("(400): filtered by the content policy"), "{:?}", numbers.refused);
    assert!(numbers.refused[&5].contains("(413): too long"), "{:?}", numbers.refused);
}

#[test]
fn a_server_that_cannot_be_talked_with_is_told_by_the_first_question() {
    let page = || reply("200 OK", &[("Content-Type", "text/html")], b"<html>");
    let cases: [(Vec<Step>, &str, &str); 6] = [
        (refuses("401 Unauthorized", "who are you"), "refuses (401): who are you", "check the key in MY_KEY"),
        (refuses("403 Forbidden", "not you"), "refuses (403): not you", "check the key in MY_KEY"),
        (refuses("404 Not Found", "no model m"), "refuses (404): no model m", "the model's name after #"),
        (
            refuses("400 Bad Request", "no model m"),
            "refuses (400): no model m",
            "look at what the server says",
        ),
        (page(), "a page", "check the path"),
        (json_reply("{\"choices\":[]}"), "field choices: expected one, found none", "the API of OpenAI"),
    ];
    for (steps, problem, hint) in cases {
        let server = FaultServer::always(steps);
        let Err(Error::Endpoint { problem: found, hint: given }) = open(&server).map(|_| ()) else {
            panic!("{problem}: expected an error of the endpoint")
        };
        assert!(found.contains(problem) && found.contains(&server.base()), "{found}");
        assert!(given.contains(hint), "{problem}: {given}");
    }
}

#[test]
fn a_server_that_fails_in_the_middle_ends_the_conversation_with_what_was_heard() {
    let n_asked = AtomicUsize::new(0);
    let server = FaultServer::start(move |_| match n_asked.fetch_add(1, Ordering::SeqCst) {
        0..6 => says(&json!({"role": "assistant", "content": "yes"})),
        _ => refuses("401 Unauthorized", "the key has ended"),
    });
    let mut numbers = Numbers::up_to(20);
    let error = open(&server).unwrap().talk(&mut numbers).unwrap_err();
    assert!(error.to_string().contains("the key has ended"), "{error}");
    // One of the six answers was to the first question.
    assert_eq!((numbers.heard.len(), numbers.usage.n_requests), (5, 5));
    assert!(numbers.refused.is_empty());
}
