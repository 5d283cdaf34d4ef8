//! `midcourse train`: from preferences to an adapter, on a model of a few thousand weights.

mod by_trl;
mod full_disk;
mod inputs;
mod killed;
mod refused;
mod whole;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fixtures::{self, Fixture, Output};
use crate::serve::server::tiny_llama;

/// Twelve rankings, harmful and harmless ones.
const RANKINGS: &str = include_str!("../../../../../testdata/rankings.jsonl");
/// Logs, and what is kept.
const RECORDS: [&str; 6] = [
    "train.jsonl",
    "eval.jsonl",
    "dropped.jsonl",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "adapter/midcourse.json",
];
/// A training of some steps that takes no time.
const SMALL: [&str; 10] = [
    "--contrast-share",
    "0.5",
    "--epochs",
    "2",
    "--prompts-per-step",
    "2",
    "--save-every",
    "2",
    "--lora-rank",
    "2",
];

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.write("rankings.jsonl", RANKINGS);
    fixture
}

/// A training on the fixture's rankings into `out`, as arguments; `more` may name any option but --out.
fn train(fixture: &Fixture, out: &str, more: &[&str]) -> Vec<String> {
    let at = |name: &str| fixture.path(name).display().to_string();
    let tiny = tiny_llama().display().to_string();
    let (data, out, cache) = (at("rankings.jsonl"), at(out), at("reference"));
    let named =
        [["--model", &tiny], ["--data", &data], ["--reference-cache", &cache], ["--eval-fraction", "0.2"]];
    let small = SMALL.chunks(2).map(|two| [two[0], two[1]]);
    let is_alone = more.contains(&"--resume");
    let defaults =
        named.into_iter().chain(small).filter(|[flag, _]| !is_alone && !more.contains(flag)).flatten();
    let given = ["train", "--out", &out].into_iter().chain(defaults).chain(more.iter().copied());
    given.map(str::to_owned).collect()
}

/// Runs a training to its end.
fn run(fixture: &Fixture, out: &str, more: &[&str]) -> Output {
    fixtures::run(&train(fixture, out, more)).done()
}

/// The records of a log.
fn records(fixture: &Fixture, name: &str) -> Vec<Value> {
    fixture.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json_of(fixture: &Fixture, name: &str) -> Value {
    serde_json::from_str(&fixture.read(name)).unwrap()
}

/// Everything that must be the same whenever the same is trained: logs, adapter, and the last checkpoint.
fn made(fixture: &Fixture, out: &str) -> BTreeMap<String, Vec<u8>> {
    let last = crate::synth::names_in(&fixture.path(&format!("{out}/checkpoints"))).pop().unwrap();
    let of_last = ["adapter_model.safetensors", "optimizer.safetensors", "state.json"];
    let names = RECORDS
        .map(str::to_owned)
        .into_iter()
        .chain(of_last.map(|name| format!("checkpoints/{last}/{name}")));
    names.map(|name| (name.clone(), std::fs::read(fixture.path(out).join(&name)).unwrap())).collect()
}

/// Compares what was made without printing all of it.
fn assert_same(fixture: &Fixture, out: &str, whole: &str) {
    let (found, expected) = (made(fixture, out), made(fixture, whole));
    assert!(found.keys().eq(expected.keys()), "{out}: {:?}", found.keys());
    for (name, bytes) in &found {
        assert!(*bytes == expected[name], "{out}/{name} is not that of {whole}");
    }
}

/// A row of plain pairs.
fn pair(prompt: &str, chosen: &str, rejected: &str) -> Value {
    let said = |role: &str, text: &str| json!([{"role": role, "content": text}]);
    json!({"prompt": said("user", prompt), "chosen": said("assistant", chosen), "rejected": said("assistant", rejected)})
}
