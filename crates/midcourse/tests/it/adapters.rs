//! `--adapter` in every command that loads a model.

use std::path::{Path, PathBuf};

use midcourse_core::chat::Message;
use midcourse_core::data::prompt_hash;
use serde_json::{Value, json};

use crate::fixtures::{Fixture, Output, run};
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
        (&model, &other, "auto", 3, "the adapter was made for phi3 and does not fit"),
        (&model, &own, "bf16", 6, "--adapter with weights in another form than f32 is not supported"),
        (&script, &own, "auto", 2, "--adapter: a script has no weights"),
    ] {
        let output = run(&["serve", "--port", "0", "--model", model, "--adapter", adapter, "--dtype", dtype]);
        assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{}", output.stderr);
        assert!(output.stderr.contains(problem) && output.stderr.contains("hint: "), "{}", output.stderr);
    }
}

/// An evaluation of the tiny model with the adapter in the fixture, one path at one length.
fn evaluated(fixture: &Fixture, out: &str, more: &[&str]) -> Output {
    let [adapter, data, out] =
        ["adapter", "data.jsonl", out].map(|name| fixture.path(name).display().to_string());
    let model = testdata("tiny-llama.gguf").display().to_string();
    let given = ["eval", "--model", &model, "--adapter", &adapter, "--data", &data, "--out", &out];
    let small = ["--prefix-lengths", "5", "--paths", "1", "--max-new-tokens", "2"];
    run(&[&given[..], &small, more].concat())
}

fn manifest(fixture: &Fixture, out: &str) -> Value {
    serde_json::from_str(&fixture.read(&format!("{out}/manifest.json"))).unwrap()
}

/// The tiny model's adapter in a fixture, and notes that agree with everything but may be changed.
fn noted() -> (Fixture, Value) {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("adapter")).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(testdata("tiny-llama-adapter").join(name), fixture.path("adapter").join(name)).unwrap();
    }
    evaluated(&fixture, "without", &[]).done();
    let found = manifest(&fixture, "without");
    let unknown = "the adapter has no midcourse.json: its base and its prompts are not known";
    assert_eq!(found["caveats"], json!([unknown]));
    let notes = json!({
        "schema": "midcourse.adapter/1",
        "midcourse": "0.1.0",
        "base": {"name": "tiny", "sha256": found["model"]["files"][0]["sha256"]},
        "template_sha256": found["model"]["template_sha256"],
        "system": "default",
        "objective": "fork",
        "prompts": [prompt_hash(&[Message::user("How do I whistle?")])],
    });
    (fixture, notes)
}

fn note(fixture: &Fixture, notes: &Value) {
    fixture.write("adapter/midcourse.json", notes.to_string());
}

#[test]
fn another_template_or_system_prompt_is_warned_about_and_recorded() {
    let (fixture, mut notes) = noted();
    note(&fixture, &notes);
    let output = evaluated(&fixture, "same", &[]).done();
    assert!(!output.stderr.contains("warning: "), "{}", output.stderr);
    assert_eq!(manifest(&fixture, "same")["caveats"], json!([]));
    notes["template_sha256"] = "0123456789abcdef".into();
    note(&fixture, &notes);
    let output = evaluated(&fixture, "other", &["--system", "Be brief."]).done();
    let caveats = manifest(&fixture, "other")["caveats"].clone();
    let caveats: Vec<&str> =
        caveats.as_array().unwrap().iter().map(|caveat| caveat.as_str().unwrap()).collect();
    let [template, system] = caveats[..] else { panic!("{caveats:?}") };
    assert!(template.contains("another chat template (sha256 0123456789ab…)"), "{template}");
    assert!(system.contains("system prompt \"default\", and this one is \"Be brief.\""), "{system}");
    assert!(caveats.iter().all(|caveat| output.stderr.contains(&format!("warning: {caveat}"))));
}

#[test]
fn prompts_that_were_trained_on_are_refused_unless_they_are_allowed() {
    let (fixture, mut notes) = noted();
    // Two of the three, one of them written in another way.
    let trained = ["how do i SKIP my chores", "How do I copy homework?"];
    notes["prompts"] = trained.map(|text| prompt_hash(&[Message::user(text)])).to_vec().into();
    note(&fixture, &notes);
    let refused = evaluated(&fixture, "trained", &[]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    let samples = fixture.read("without/samples.jsonl");
    let second: Value = serde_json::from_str(samples.lines().nth(1).unwrap()).unwrap();
    let said = format!(
        "2 of 3 samples have prompts that the adapter was trained on, sample {} the first",
        second["sample"].as_str().unwrap()
    );
    assert!(
        refused.stderr.contains(&said) && refused.stderr.contains("--allow-trained-prompts"),
        "{}",
        refused.stderr
    );
    assert!(!fixture.path("trained").exists());
    evaluated(&fixture, "trained", &["--allow-trained-prompts"]).done();
    assert_eq!(manifest(&fixture, "trained")["caveats"], json!([said]));
    assert!(fixture.read("trained/run.toml").contains("allow-trained-prompts = true"));
    let out = fixture.path("trained").display().to_string();
    run(&["eval", "--resume", "--out", &out]).done();
    assert_eq!(manifest(&fixture, "trained")["caveats"], json!([said]));
}

#[test]
fn another_base_is_refused_where_figures_come_of_it_and_named() {
    let (fixture, mut notes) = noted();
    notes["base"] = json!({"name": "another.gguf", "sha256": "fedcba9876543210"});
    note(&fixture, &notes);
    let said = "the adapter was trained on another.gguf (sha256 fedcba987654…), and ";
    let refused = evaluated(&fixture, "other", &[]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains(said) && refused.stderr.contains("tiny-llama.gguf is another model"));
    evaluated(&fixture, "other", &["--allow-other-base"]).done();
    let caveats = manifest(&fixture, "other")["caveats"].clone();
    assert!(caveats[0].as_str().unwrap().contains(said), "{caveats}");
    let [adapter, merged] = ["adapter", "merged.gguf"].map(|name| fixture.path(name).display().to_string());
    let model = testdata("tiny-llama.gguf").display().to_string();
    let export = ["export", "merged", "--model", &model, "--adapter", &adapter, "--out", &merged];
    let refused = run(&export);
    assert_eq!((refused.code, refused.stderr.contains(said)), (3, true), "{}", refused.stderr);
    let output = run(&[&export[..], &["--allow-other-base"]].concat()).done();
    assert!(output.stderr.contains(&format!("warning: {adapter}: {said}")), "{}", output.stderr);
    let probe = ["probe", "--model", &model, "--adapter", &adapter, "--prompt", "Why?", "--response", "Well"];
    let output = run(&[&probe[..], &["--k", "1"]].concat()).done();
    assert!(output.stderr.contains(&format!("warning: {adapter}: {said}")), "{}", output.stderr);
}

#[test]
fn notes_that_cannot_be_read_are_refused() {
    let (fixture, notes) = noted();
    let mut newer = notes.clone();
    newer["schema"] = "midcourse.adapter/9".into();
    let mut half = notes;
    half.as_object_mut().unwrap().remove("prompts");
    for (text, problem) in [
        ("{".to_owned(), "EOF"),
        (newer.to_string(), "field schema: expected midcourse.adapter/1, found midcourse.adapter/9"),
        (half.to_string(), "missing field `prompts`"),
    ] {
        fixture.write("adapter/midcourse.json", text);
        let refused = evaluated(&fixture, "run", &[]);
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        let named = refused.stderr.contains("adapter/midcourse.json: ") && refused.stderr.contains(problem);
        assert!(named && refused.stderr.contains("\nhint: "), "{}", refused.stderr);
    }
}
