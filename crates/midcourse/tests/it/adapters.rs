//! `--adapter` in every command that loads a model.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fixtures::{Fixture, run};
use crate::serve::server::Server;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// The likeliest next tokens of a probe, with their log-probabilities.
fn probed(more: &[&str]) -> Vec<(u64, f64)> {
    let model = testdata("families/llama3.1").display().to_string();
    let given = ["probe", "--model", &model, "--prompt", "Why?", "--response", "Well", "--k", "3", "--json"];
    let probe: Value = serde_json::from_str(&run(&[&given, more].concat()).done().stdout).unwrap();
    let next = probe["next_tokens"].as_array().unwrap();
    next.iter().map(|next| (next["id"].as_u64().unwrap(), next["logprob"].as_f64().unwrap())).collect()
}

#[test]
fn probe_and_serve_run_the_adapted_model() {
    let adapter = testdata("adapters/llama3.1").display().to_string();
    let (plain, adapted) = (probed(&[]), probed(&["--adapter", &adapter]));
    assert_ne!(plain, adapted);
    let model = testdata("families/llama3.1").display().to_string();
    let messages = json!([{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Well"}]);
    let mut body = json!({
        "messages": messages, "continue_final_message": true, "add_generation_prompt": false, "max_tokens": 1,
        "temperature": 0, "return_token_ids": true,
    });
    for (options, expected) in [(vec![], &plain), (vec!["--adapter", &adapter], &adapted)] {
        let server = Server::start(&model, &options, &[]);
        body["model"] = model.as_str().into();
        let answer = server.posted("/v1/chat/completions", &body);
        assert_eq!(answer["choices"][0]["token_ids"][0], expected[0].0, "{answer}");
    }
}

#[test]
fn an_adapter_is_part_of_a_run() {
    let fixture = Fixture::new();
    let model = testdata("families/llama3.1").display().to_string();
    let adapter = testdata("adapters/llama3.1").display().to_string();
    let out = fixture.path("run").display().to_string();
    let data = fixture.path("data.jsonl").display().to_string();
    let given = ["eval", "--model", &model, "--adapter", &adapter, "--data", &data, "--out", &out];
    run(&[&given[..], &["--prefix-lengths", "5", "--paths", "2", "--max-new-tokens", "4"]].concat()).done();
    let manifest: Value = serde_json::from_str(&fixture.read("run/manifest.json")).unwrap();
    let files = manifest["model"]["files"].as_array().unwrap();
    let names: Vec<&str> = files.iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"adapter_config.json") && names.contains(&"adapter_model.safetensors"),
        "{names:?}"
    );
    assert!(fixture.read("run/run.toml").contains("adapter = "));
    let other = testdata("adapters/qwen2").display().to_string();
    let refused = run(&["eval", "--resume", "--out", &out, "--adapter", &other]);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("adapter"), "{}", refused.stderr);
}

#[test]
fn an_adapter_that_cannot_be_used_is_refused() {
    let fixture = Fixture::new();
    let model = testdata("families/llama3.1").display().to_string();
    let script = format!("scripted:{}", fixture.path("script.jsonl").display());
    let [own, other, none] = ["adapters/llama3.1", "adapters/phi3", "no-such-adapter"]
        .map(|name| testdata(name).display().to_string());
    for (model, adapter, dtype, code, problem) in [
        (&model, &none, "auto", 3, "expected adapter_config.json in the directory of an adapter"),
        (&model, &other, "auto", 6, "which adapts nothing that can be adapted here"),
        (&model, &own, "bf16", 6, "--adapter with weights in another form than f32 is not supported"),
        (&script, &own, "auto", 2, "--adapter: a script has no weights"),
    ] {
        let output = run(&["serve", "--port", "0", "--model", model, "--adapter", adapter, "--dtype", dtype]);
        assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{}", output.stderr);
        assert!(output.stderr.contains(problem) && output.stderr.contains("hint: "), "{}", output.stderr);
    }
}
