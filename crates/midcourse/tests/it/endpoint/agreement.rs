//! A sound server gives what the embedded engine gives, byte for byte.

use serde_json::{Value, json};

use super::proxy::{
    N_PATHS, N_REQUESTS, Proxy, asked, eval, eval_at, fixture, json as json_of, records, script, serve,
};
use crate::fixtures::{Fixture, Output};
use crate::serve::server::{Server, tiny_llama};
use crate::tiny_gguf::Gguf;

/// Runs the same both ways and compares the record files.
fn assert_agree(fixture: &Fixture, model: &str, more: &[&str]) {
    let server = Server::start(model, &[], &[]);
    let url = format!("http://{}/v1#{model}", server.address);
    Output::of(&mut eval(fixture, model, "embedded", more)).done();
    Output::of(&mut eval(fixture, &url, "served", &[&["--tokenizer", model], more].concat())).done();
    for name in ["trials.jsonl", "judgements.jsonl", "samples.jsonl"] {
        let file = |out: &str| fixture.read(&format!("{out}/{name}"));
        assert!(file("embedded").lines().count() > 1, "{name}");
        assert_eq!(file("served"), file("embedded"), "{model} {more:?}: {name}");
    }
    let figures = |out: &str| {
        let mut scores = json_of(&fixture.path(out).join("scores.json"));
        let scores = scores.as_object_mut().unwrap();
        scores.remove("timing").unwrap();
        scores.remove("model").unwrap();
        Value::Object(scores.clone())
    };
    assert_eq!(figures("served"), figures("embedded"), "{model} {more:?}");
}

#[test]
fn a_served_script_gives_the_records_of_the_embedded_one() {
    for more in [
        &[][..],
        &["--early-stop", "on"],
        &["--unit", "words"],
        &["--mode", "new-turn"],
        &["--prefix-lengths", "0,5,90"],
        &["--paths", "1", "--temperature", "0"],
        &["--opener", "random", "--system", "Be kind."],
        &["--concurrency", "1"],
    ] {
        let fixture = fixture();
        assert_agree(&fixture, &script(&fixture), more);
    }
}

#[test]
fn a_served_model_gives_the_records_of_the_embedded_one() {
    let tiny = tiny_llama().display().to_string();
    for more in [&["--prefix-lengths", "0,3,8"][..], &["--temperature", "0.7", "--early-stop", "on"]] {
        assert_agree(&fixture(), &tiny, &[&["--limit", "3", "--top-p", "0.9"], more].concat());
    }
    let fixture = fixture();
    let model = fixture.write("model.gguf", Gguf::tiny().write().bytes).display().to_string();
    assert_agree(&fixture, &model, &["--limit", "3"]);
}

/// A script that goes on within words, as the survey of a server that tells nothing looks for.
fn fixture_of_words() -> Fixture {
    let fixture = fixture();
    let cut = [("Wednes", "day"), ("six, sev", "en, eight"), ("June, Ju", "ly")];
    let lines = cut.map(|(said, rest)| json!({"match": said, "continuations": [rest]}).to_string() + "\n");
    fixture.write("script.jsonl", lines.concat() + crate::fixtures::SCRIPT);
    fixture
}

#[test]
fn a_conversation_in_messages_gives_the_same_texts() {
    let fixture = fixture_of_words();
    let server = serve(&fixture);
    let words = ["--unit", "words", "--prefix-lengths", "0,2,5"];
    Output::of(&mut eval(&fixture, &script(&fixture), "embedded", &words)).done();
    let proxy = Proxy::sound(&server);
    for (out, tokenizer, evidence) in
        [("counted", script(&fixture), "prompt-ids"), ("bytes", "none".into(), "cut-words")]
    {
        let model = format!("{}#{}", proxy.server.base(), script(&fixture));
        let more = ["--tokenizer", &tokenizer, "--prefill", "continue-final-message"];
        Output::of(&mut eval(&fixture, &model, out, &[&words[..], &more].concat())).done();
        if out == "counted" {
            assert_eq!(records(&fixture, out)[1], records(&fixture, "embedded")[1]);
        }
        for (file, fields) in [
            ("trials", &["sample", "k", "path", "seed", "prefix_bytes", "text", "finish"][..]),
            ("judgements", &["sample", "k", "path", "verdict", "turn_byte", "phrase"]),
        ] {
            let told = |out: &str| -> Vec<Value> {
                let text = fixture.read(&format!("{out}/{file}.jsonl"));
                let fields = |line: &str| {
                    let record: Value = serde_json::from_str(line).unwrap();
                    fields.iter().map(|&field| record[field].clone()).collect()
                };
                text.lines().map(fields).collect()
            };
            assert_eq!(told(out), told("embedded"), "{out}");
        }
        let manifest = json_of(&fixture.path(out).join("manifest.json"));
        assert_eq!(manifest["endpoint"]["protocol"], "continue-final-message", "{out}");
        assert_eq!(manifest["endpoint"]["evidence"], evidence, "{out}");
        assert_eq!(manifest["prefill"]["n_proved"], manifest["prefill"]["n_checked"], "{out}");
        let caveat = "token ids are the server's text encoded again, not those that were sampled";
        assert_eq!(manifest["caveats"], json!([caveat]), "{out}");
    }
}

#[test]
fn the_proof_and_what_it_cost_stand_in_the_manifest() {
    let fixture = fixture();
    let server = serve(&fixture);
    let proxy = Proxy::sound(&server);
    Output::of(&mut eval_at(&fixture, &proxy.server, "run", &["--prices", "2,8"])).done();
    let manifest = json_of(&fixture.path("run/manifest.json"));
    let expected = json!({
        "server": "midcourse", "version": env!("CARGO_PKG_VERSION"), "model": server.model, "served_as": server.model,
        "context": 1 << 20, "protocol": "completions", "evidence": "prompt-ids", "n_checked": 2,
        "tokenizer_agrees": true, "tells_token_ids": true, "paths_per_request": null, "slots": null,
        "seeds": "counted-up", "keeps_trailing_space": true,
    });
    assert_eq!(manifest["endpoint"], expected);
    assert_eq!(manifest["caveats"], json!([]));
    assert_eq!(manifest["model"]["engine"], "endpoint");
    assert_eq!(manifest["prefill"]["n_proved"], N_REQUESTS);
    let session = &manifest["sessions"][0];
    assert_eq!(
        (&session["n_requests"], manifest["sessions"].as_array().unwrap().len()),
        (&json!(N_REQUESTS), 1)
    );
    let asked: Vec<Value> = proxy.server.requests().iter().filter_map(asked).collect();
    let given = asked.iter().map(|body| body["prompt"].as_array().unwrap().len());
    assert_eq!(session["n_tokens_prompt"], given.sum::<usize>());
    let count = |name: &str| session[name].as_f64().unwrap();
    let spent = (count("n_tokens_prompt") * 2.0 + count("n_tokens_sampled") * 8.0) / 1e6;
    assert!((manifest["spent"].as_f64().unwrap() - spent).abs() < 1e-12);
}

#[test]
fn a_dry_run_asks_nothing_and_counts_what_the_run_asks() {
    let fixture = fixture();
    let server = serve(&fixture);
    let proxy = Proxy::sound(&server);
    let more = ["--prefix-lengths", "0,5,90", "--prices", "2,8"];
    let dry = |more: &[&str]| Output::of(&mut eval_at(&fixture, &proxy.server, "run", more)).done().stdout;
    let counted: Value = serde_json::from_str(&dry(&[&more[..], &["--dry-run", "--json"]].concat())).unwrap();
    let shown = dry(&[&more[..], &["--dry-run"]].concat());
    assert_eq!((proxy.server.n_connections(), fixture.path("run").exists()), (0, false));
    dry(&more);
    let session = &json_of(&fixture.path("run/manifest.json"))["sessions"][0];
    assert_eq!(counted["requests"]["least"], session["n_requests"]);
    assert_eq!(counted["n_tokens_given"], session["n_tokens_prompt"]);
    assert_eq!((&counted["n_paths"], &counted["estimated"]), (&json!(proxy.seeds().len()), &json!(false)));
    assert_eq!(counted["requests"]["most"], counted["n_paths"]);
    let most = counted["n_tokens_sampled_at_most"].as_u64().unwrap();
    assert_eq!(most, proxy.seeds().len() as u64 * 48);
    assert!(session["n_tokens_sampled"].as_u64().unwrap() <= most);
    let cost = (counted["n_tokens_given"].as_f64().unwrap() * 2.0 + most as f64 * 8.0) / 1e6;
    assert!((counted["cost_at_most"].as_f64().unwrap() - cost).abs() < 1e-12);
    for line in [
        format!("paths           {}", proxy.seeds().len()),
        format!("requests        {}, or up to {}", proxy.n_served(), proxy.seeds().len()),
        format!("tokens given    {}", counted["n_tokens_given"]),
        format!("cost            at most {cost:.4}"),
        "no server was asked".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line:?} in {shown}");
    }
}

#[test]
fn replicas_share_the_requests_and_change_nothing() {
    let fixture = fixture();
    let server = serve(&fixture);
    Output::of(&mut eval(&fixture, &script(&fixture), "embedded", &[])).done();
    let (one, other) = (Proxy::sound(&server), Proxy::sound(&server));
    Output::of(&mut eval_at(&fixture, &one.server, "run", &["--replica", &other.server.base()])).done();
    assert_eq!(records(&fixture, "run"), records(&fixture, "embedded"));
    assert!(one.n_served() > 0 && other.n_served() > 0, "{} and {}", one.n_served(), other.n_served());
    assert_eq!(one.n_served() + other.n_served(), N_REQUESTS);
    let seeds = [one.seeds(), other.seeds()].concat();
    let distinct: std::collections::BTreeSet<_> = seeds.iter().collect();
    assert_eq!((seeds.len(), distinct.len()), (N_REQUESTS * N_PATHS, N_REQUESTS * N_PATHS));
}
