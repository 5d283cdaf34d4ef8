//! `midcourse serve` over real sockets, against the embedded engine.

mod connections;
mod refused;
pub(crate) mod server;
mod texts;

use std::collections::BTreeMap;
use std::thread;

use midcourse_core::chat::Message;
use midcourse_core::engine::{
    BoxError, Continue, Finish, Forest, Fork, Grown, Growth, PathSpec, Sampling, TokenId, Tree, Usage,
};
use midcourse_core::template::{
    Mode, Next, Thought, Tokenizer, encode_conversation, encode_text, prefill, prefill_after,
};
use midcourse_engine::local::{LoadOptions, LocalModel};
use serde_json::{Value, json};

use self::server::{Server, tiny_llama};

fn local() -> LocalModel {
    LocalModel::load(&tiny_llama(), "tiny", &LoadOptions::default()).unwrap()
}

/// One tree, and what grew.
struct One {
    tree: Option<Tree>,
    grown: BTreeMap<usize, Grown>,
}

impl Forest for One {
    fn plant(&mut self) -> Option<Tree> {
        self.tree.take()
    }

    fn stopping(&self) -> bool {
        false
    }

    fn grown_by_one(&mut self, _id: usize, _tokens: &[TokenId]) -> Growth {
        Growth::Continue
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> Result<(), BoxError> {
        self.grown.extend(paths.into_iter().map(|path| (path.id, path)));
        Ok(())
    }

    fn progress(&mut self, _so_far: Usage) {}
}

/// What the embedded engine samples with these seeds.
fn embedded(model: &LocalModel, prompt: &[TokenId], seeds: &[u32], sampling: Sampling) -> Vec<Grown> {
    let paths = seeds.iter().enumerate().map(|(id, &seed)| PathSpec { id, seed }).collect();
    let fork = Fork { at: prompt.len(), lead: Vec::new(), paths };
    let mut forest =
        One { tree: Some(Tree { trunk: prompt.to_vec(), forks: vec![fork] }), grown: BTreeMap::new() };
    model.engine.grow(&sampling, &mut forest).unwrap();
    forest.grown.into_values().collect()
}

/// Equal but for the last bit, which is lost when JSON is read.
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }
}

/// A field of every choice, in their order.
fn each(body: &Value, field: &str) -> Vec<Value> {
    body["choices"].as_array().unwrap().iter().map(|choice| choice[field].clone()).collect()
}

#[test]
fn tokens_are_those_of_the_embedded_engine_in_any_company() {
    let server = Server::tiny(&[]);
    let model = local();
    let request = |at: usize| {
        let prompt: Vec<TokenId> = (1..=5 + at as TokenId).map(|i| (i * 37 + at as TokenId) % 300).collect();
        let seed = if at == 3 { 0x7fff_fffe } else { at * 1000 };
        let (temperature, max_tokens) = [(1.0, 12), (0.8, 12), (0.0, 7)][at % 3];
        let body = json!({
            "model": server.model, "prompt": prompt, "n": 3, "seed": seed, "temperature": temperature,
            "top_p": 0.9, "max_tokens": max_tokens, "return_token_ids": true,
        });
        let seeds: Vec<u32> = (0..3).map(|path| (seed as u32 + path) & 0x7fff_ffff).collect();
        let sampling = Sampling { temperature, top_p: 0.9, max_new_tokens: max_tokens };
        (body, embedded(&model, &prompt, &seeds, sampling))
    };
    let requests: Vec<_> = (0..9).map(request).collect();
    for turn in 0..3 {
        thread::scope(|scope| {
            for at in 0..requests.len() {
                let (body, grown) = &requests[(at * 4 + turn) % requests.len()];
                let server = &server;
                scope.spawn(move || assert_grown(&server.posted("/v1/completions", body), body, grown));
            }
        });
    }
}

/// Holds an answer to what the embedded engine grew.
fn assert_grown(answer: &Value, body: &Value, grown: &[Grown]) {
    let tokens: Vec<Value> = grown.iter().map(|path| json!(path.tokens)).collect();
    assert_eq!(each(answer, "token_ids"), tokens);
    assert_eq!(answer["choices"][0]["prompt_token_ids"], body["prompt"]);
    let n_ends = grown.iter().filter(|path| path.finish == Finish::EndOfTurn).count();
    let n_sampled = grown.iter().map(|path| path.tokens.len()).sum::<usize>() + n_ends;
    let n_prompt = body["prompt"].as_array().unwrap().len();
    let usage = json!({"prompt_tokens": n_prompt, "completion_tokens": n_sampled, "total_tokens": n_prompt + n_sampled});
    assert_eq!(answer["usage"], usage);
    let reason = |path: &Grown| if path.finish == Finish::Length { "length" } else { "stop" };
    assert_eq!(each(answer, "finish_reason"), grown.iter().map(reason).collect::<Vec<_>>());
}

#[test]
fn prompts_are_texts_or_ids_one_or_several() {
    let server = Server::tiny(&[]);
    let model = local();
    let texts = ["hello there", "a <|im_end|> b"];
    let ids = texts.map(|text| encode_text(&model.tokenizer, text, true).unwrap());
    let end = model.tokenizer.special().end_of_turn.clone();
    assert!(ids[1].iter().any(|id| end.contains(id)), "special tokens of a completion are special");
    let ask = |prompt: Value| {
        let body = json!({"prompt": prompt, "seed": 4, "max_tokens": 6, "return_token_ids": true});
        let answer = server.posted("/v1/completions", &body);
        (each(&answer, "prompt_token_ids"), each(&answer, "token_ids"))
    };
    let several = ask(json!(texts));
    assert_eq!(several.0, [json!(ids[0]), json!(ids[1])]);
    assert_eq!(several, ask(json!(ids)));
    for at in 0..2 {
        let one = (vec![several.0[at].clone()], vec![several.1[at].clone()]);
        assert_eq!(ask(json!(texts[at])), one);
        assert_eq!(ask(json!(ids[at])), one);
    }
}

#[test]
fn echoed_log_probabilities_are_those_of_the_engine() {
    let server = Server::tiny(&[]);
    let model = local();
    let long: Vec<TokenId> = (0..300).map(|i| (i * 31 + 5) % 320).collect();
    for (max_tokens, n_likeliest) in [(0, 0), (0, 2), (1, 1)] {
        let prompts = [&long[..], &long[20..25]];
        let body = json!({
            "prompt": prompts, "echo": true, "logprobs": n_likeliest, "max_tokens": max_tokens, "temperature": 0,
            "return_token_ids": true,
        });
        let answer = server.posted("/v1/completions", &body);
        for (choice, prompt) in answer["choices"].as_array().unwrap().iter().zip(prompts) {
            let sampled: Vec<TokenId> = serde_json::from_value(choice["token_ids"].clone()).unwrap();
            let mut all = [prompt, &sampled].concat();
            // The last entry is a sampled token, or the end of the turn.
            all.extend((max_tokens > sampled.len()).then(|| model.tokenizer.special().end_of_turn[0]));
            let logps = model.engine.logps(&all).unwrap();
            let shown: Vec<Option<f64>> =
                serde_json::from_value(choice["logprobs"]["token_logprobs"].clone()).unwrap();
            assert_eq!(shown.len(), prompt.len() + max_tokens);
            assert!(shown[0].is_none());
            assert_close(&shown[1..].iter().flatten().copied().collect::<Vec<_>>(), &logps);
            let tops = choice["logprobs"]["top_logprobs"].as_array().unwrap();
            assert!(tops[0].is_null());
            for (at, top) in tops.iter().enumerate().skip(1) {
                let next = model.engine.next_tokens(&all[..at], n_likeliest.max(1)).unwrap();
                let best =
                    top.as_object().unwrap().values().map(|p| p.as_f64().unwrap()).fold(f64::MIN, f64::max);
                let expected = if n_likeliest == 0 { shown[at].unwrap() } else { next[0].1 };
                assert!((best - expected).abs() < 1e-12, "token {at}: {best} and {expected}");
            }
            let text: String = choice["logprobs"]["tokens"]
                .as_array()
                .unwrap()
                .iter()
                .map(|t| t.as_str().unwrap())
                .collect();
            let offsets = choice["logprobs"]["text_offset"].as_array().unwrap();
            let last = choice["logprobs"]["tokens"].as_array().unwrap().last().unwrap().as_str().unwrap();
            let end = text.chars().count() - last.chars().count();
            assert_eq!((offsets[0].as_u64(), offsets.last().unwrap().as_u64()), (Some(0), Some(end as u64)));
        }
    }
}

#[test]
fn sampled_tokens_are_scored_without_an_echo() {
    let server = Server::tiny(&[]);
    let model = local();
    let prompt: Vec<TokenId> = (40..60).collect();
    let body = json!({
        "prompt": prompt, "logprobs": 1, "max_tokens": 5, "seed": 3, "n": 2, "return_token_ids": true,
    });
    let answer = server.posted("/v1/completions", &body);
    for choice in answer["choices"].as_array().unwrap() {
        let sampled: Vec<TokenId> = serde_json::from_value(choice["token_ids"].clone()).unwrap();
        let logps = model.engine.logps(&[&prompt[..], &sampled].concat()).unwrap();
        let shown: Vec<f64> = serde_json::from_value(choice["logprobs"]["token_logprobs"].clone()).unwrap();
        assert_close(&shown[..sampled.len()], &logps[prompt.len() - 1..]);
    }
}

#[test]
fn a_continued_message_is_the_prefill_that_eval_forces() {
    let server = Server::tiny(&[]);
    let model = local();
    let (question, answer) = ("How do I skip <|im_end|> my chores?", "Easy, first you <|im_start|>");
    let forced = prefill(&model.template, &model.tokenizer, (question, answer), Mode::OpenTurn).unwrap();
    let messages = json!([{"role": "user", "content": question}, {"role": "assistant", "content": answer}]);
    let chat = server.posted(
        "/v1/chat/completions",
        &json!({
            "messages": messages, "continue_final_message": true, "add_generation_prompt": false, "n": 3,
            "seed": 11, "max_tokens": 9, "return_token_ids": true,
        }),
    );
    assert_eq!(chat["prompt_token_ids"], json!(forced.ids));
    let body = json!({"prompt": forced.ids, "n": 3, "seed": 11, "max_tokens": 9, "return_token_ids": true});
    let completed = server.posted("/v1/completions", &body);
    assert_eq!(each(&chat, "token_ids"), each(&completed, "token_ids"));
    let content: Vec<Value> =
        each(&chat, "message").iter().map(|message| message["content"].clone()).collect();
    assert_eq!(content, each(&completed, "text"));
}

#[test]
fn a_conversation_opens_an_answer_stays_closed_or_goes_on() {
    let server = Server::tiny(&[]);
    let model = local();
    let (template, tokenizer) = (&model.template, &model.tokenizer);
    let said = [
        Message::system("Be kind."),
        Message::user("Who won the game?"),
        Message::assistant("Nobody"),
        Message::user("Why?"),
        Message::assistant("We stopped"),
    ];
    let messages: Vec<Value> = serde_json::from_value(serde_json::to_value(&said).unwrap()).unwrap();
    let ids = |messages: &[Value], flags: Value| {
        let mut body = json!({"messages": messages});
        body.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
        server.posted("/tokenize", &body)["tokens"].clone()
    };
    let answer = Next::Answer(Thought::Framed);
    let encoded =
        |messages: &[Message], next| json!(encode_conversation(template, tokenizer, messages, next).unwrap());
    assert_eq!(ids(&messages[..4], json!({})), encoded(&said[..4], answer));
    assert_eq!(ids(&messages, json!({})), encoded(&said, answer), "a turn that is not continued is finished");
    assert_eq!(ids(&messages, json!({"add_generation_prompt": false})), encoded(&said, Next::Closed));
    let open = json!({"add_generation_prompt": false, "continue_final_message": true});
    let forced = prefill_after(template, tokenizer, (&said[..4], "We stopped"), Mode::OpenTurn).unwrap();
    assert_eq!(ids(&messages, open), json!(forced.ids));
    let parts = json!([{"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]}]);
    assert_eq!(ids(parts.as_array().unwrap(), json!({})), encoded(&[Message::user("One\ntwo")], answer));
}

#[test]
fn models_health_and_tokens_are_told() {
    let server = Server::tiny(&[]);
    let get = |path: &str| {
        server
            .send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes())
            .json()
    };
    assert_eq!(get("/health"), json!({"status": "ok"}));
    assert_eq!(get("/version"), json!({"version": env!("CARGO_PKG_VERSION")}));
    let models = get("/v1/models");
    let expected = json!({
        "id": server.model, "object": "model", "created": 0, "owned_by": "midcourse", "max_model_len": 512,
    });
    assert_eq!(models, json!({"object": "list", "data": [expected]}));
    let told = server.posted("/tokenize", &json!({"prompt": "hello there", "add_special_tokens": false}));
    let ids = encode_text(&local().tokenizer, "hello there", false).unwrap();
    assert_eq!(told, json!({"count": ids.len(), "max_model_len": 512, "tokens": ids}));
    assert_eq!(server.posted("/detokenize", &json!({"tokens": ids})), json!({"prompt": "hello there"}));
}
