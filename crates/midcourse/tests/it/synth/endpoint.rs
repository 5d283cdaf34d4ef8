//! Syntheses at a server.

use serde_json::Value;

use super::{assert_same, fixture, json_of, refused, run, synth};
use crate::endpoint::proxy::{self, MAX_NEW_TOKENS, Proxy, Spoil};
use crate::endpoint::unsupported::chats_only;
use crate::fault_server::{FaultServer, reply};
use crate::fixtures::{self, Fixture};
use crate::serve::server::{Server, tiny_llama};

/// Options for the model `name` behind an address.
fn at(address: &str, name: &str, more: &[&str]) -> Vec<String> {
    let most = MAX_NEW_TOKENS.to_string();
    let model = format!("{address}#{name}");
    let given = ["--model", &model, "--tokenizer", name, "--max-new-tokens", &most];
    given.into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
}

fn synth_at(fixture: &Fixture, out: &str, options: &[String]) -> Vec<String> {
    synth(fixture, out, &options.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_server_gives_the_bytes_of_the_embedded_engine() {
    let fixture = fixture();
    for (name, more) in [
        (proxy::script(&fixture), &[][..]),
        (proxy::script(&fixture), &["--candidates", "3", "--opener", "shared"]),
        (tiny_llama().display().to_string(), &["--candidates", "2", "--temperature", "1.5"]),
    ] {
        let server = Server::start(&name, &[], &[]);
        let address = format!("http://{}/v1", server.address);
        let out = |how: &str| format!("{how}-{}{}", more.len(), name.starts_with("scripted:"));
        let most = MAX_NEW_TOKENS.to_string();
        run(&fixture, &out("embedded"), &[&["--model", &name, "--max-new-tokens", &most], more].concat());
        fixtures::run(&synth_at(&fixture, &out("served"), &at(&address, &name, more))).done();
        assert_same(&fixture, &out("served"), &out("embedded"));
        let manifest = json_of(&fixture, &format!("{}/manifest.json", out("served")));
        assert_eq!(manifest["endpoint"]["protocol"], "completions");
    }
}

#[test]
fn a_dry_run_asks_nothing_of_a_server_and_foretells_its_requests() {
    let fixture = fixture();
    let script = proxy::script(&fixture);
    let server = Server::start(&script, &[], &[]);
    let proxy = Proxy::sound(&server);
    let options = at(&proxy.server.base(), &script, &["--prices", "2,8"]);
    let dry = [&synth_at(&fixture, "run", &options)[..], &["--dry-run".into(), "--json".into()]].concat();
    let foretold: Value = serde_json::from_str(&fixtures::run(&dry).done().stdout).unwrap();
    assert_eq!((proxy.server.n_connections(), fixture.path("run").exists()), (0, false));
    fixtures::run(&synth_at(&fixture, "run", &options)).done();
    let manifest = json_of(&fixture, "run/manifest.json");
    let session = &manifest["sessions"][0];
    for (most, spent) in [
        (&foretold["n_requests_at_most"], &session["n_requests"]),
        (&foretold["n_tokens_given_at_most"], &session["n_tokens_prompt"]),
        (&foretold["n_tokens_sampled_at_most"], &session["n_tokens_sampled"]),
        (&foretold["cost_at_most"], &manifest["spent"]),
    ] {
        let (most, spent) = (most.as_f64().unwrap(), spent.as_f64().unwrap());
        assert!(0.0 < spent && spent <= most, "{spent} of at most {most}: {foretold}");
    }
    assert_eq!(session["n_requests"], proxy.n_asked());
}

#[test]
fn a_server_that_can_only_chat_ends_with_6_and_says_what_to_do() {
    let fixture = fixture();
    let server = FaultServer::start(chats_only);
    let model = format!("{}#m", server.base());
    let proved = "cannot be evaluated, no true prefill was proved";
    let hint = "hint: name the model's tokenizer with --tokenizer";
    refused(&synth(&fixture, "run", &["--model", &model]), 6, &[&model, proved, "opens a new turn", hint]);
    assert!(!fixture.path("run").exists());
}

#[test]
fn a_server_that_refuses_midway_ends_with_4_and_the_run_goes_on_later() {
    const REFUSES: Spoil = |_| reply("401 Unauthorized", &[("Content-Type", "application/json")], b"{}");
    let fixture = fixture();
    let script = proxy::script(&fixture);
    let server = Server::start(&script, &[], &[]);
    let proxy = Proxy::start(&server, |n| (n >= 20).then_some(REFUSES));
    let options = at(&proxy.server.base(), &script, &["--concurrency", "2"]);
    refused(&synth_at(&fixture, "run", &options), 4, &["401"]);
    let n_recorded = super::records(&fixture, "run/parts/00000.candidates.jsonl").len();
    assert!(n_recorded > 0 && n_recorded <= 20, "{n_recorded} paths");
    proxy.heal();
    let n_asked = proxy.n_asked();
    run(&fixture, "run", &["--resume"]);
    run(&fixture, "embedded", &["--model", &script, "--max-new-tokens", &MAX_NEW_TOKENS.to_string()]);
    assert_same(&fixture, "run", "embedded");
    let n_grown = super::records(&fixture, "run/candidates.jsonl").len();
    assert_eq!(proxy.n_asked() - n_asked, n_grown - n_recorded, "a recorded path was asked for again");
}
