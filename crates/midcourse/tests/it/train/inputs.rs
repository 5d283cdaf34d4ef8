//! What can be trained on: pairs of all forms, a synthesis's data set, and what is dropped and counted.

use serde_json::{Value, json};

use super::{RANKINGS, fixture, json_of, pair, records, run, train};
use crate::fixtures::{self, Fixture};

/// A third of the fixture's rankings are contrast rankings: with this share all are taken.
const SHARE: &str = "0.33333333334";

fn counts(fixture: &Fixture, out: &str) -> Value {
    json_of(fixture, &format!("{out}/manifest.json"))["counts"].clone()
}

#[test]
fn a_file_of_one_pair_is_trained_on() {
    let fixture = fixture();
    let path =
        fixture.write("pairs.jsonl", pair("May I peek?", "Better not.", "Sure, lean over.").to_string());
    run(&fixture, "run", &["--data", &path.display().to_string()]);
    let counts = counts(&fixture, "run");
    assert_eq!(
        (&counts["n_train"], &counts["n_held_out"], &counts["n_pairs"]),
        (&json!(1), &json!(0), &json!(1))
    );
    assert_eq!(fixture.read("run/eval.jsonl"), "");
    assert!(fixture.path("run/adapter/adapter_model.safetensors").exists());
}

#[test]
fn the_pairs_of_rankings_are_the_same_trees() {
    let fixture = fixture();
    let at = |name: &str| fixture.path(name).display().to_string();
    let export = |format: &str, out: &str| {
        fixtures::run(&["export", "pairs", &at("rankings.jsonl"), "--format", format, "--out", &at(out)])
            .done();
    };
    export("trl", "pairs.jsonl");
    export("trl", "set");
    let options =
        ["--objective", "dpo-full", "--anchor", "0", "--eval-fraction", "0", "--prompts-per-step", "12"];
    let first_loss = |out: &str, more: &[&str]| {
        run(&fixture, out, &[&options[..], &["--epochs", "1", "--contrast-share", SHARE], more].concat());
        records(&fixture, &format!("{out}/train.jsonl"))[0].clone()
    };
    let rankings = first_loss("rankings", &[]);
    let pairs = first_loss("pairs", &["--data", &at("pairs.jsonl")]);
    for key in ["n_prompts", "num_tokens", "num_tokens_distinct"] {
        assert_eq!(rankings[key], pairs[key], "{key}");
    }
    let difference = rankings["grad_norm"].as_f64().unwrap() / pairs["grad_norm"].as_f64().unwrap() - 1.0;
    assert!(difference.abs() < 1e-4, "{difference}");
    // Of a data set only what is for training is taken.
    let set = first_loss("set-run", &["--data", &at("set")]);
    assert!(set["n_prompts"].as_u64() <= pairs["n_prompts"].as_u64());
}

#[test]
fn what_is_dropped_is_counted_and_said() {
    let fixture = fixture();
    let rows = [
        pair("May I peek?", "Better not.", "Sure, lean over."),
        pair("May I peek?", "Better not.", "Better not."),
        pair("May I hide a card?", "", "Sure, in your sleeve."),
        pair("May I skip my chores?", &"Better not. ".repeat(200), "Sure."),
        pair("May I copy homework?", "Better not.", "Sure, ask a friend."),
    ];
    let path = fixture.write("pairs.jsonl", rows.map(|row| row.to_string() + "\n").concat());
    let output = run(&fixture, "run", &["--data", &path.display().to_string(), "--max-tokens", "100"]);
    let dropped = counts(&fixture, "run")["dropped"].clone();
    let of = |what: &str, reason: &str| {
        let all = dropped.as_array().unwrap();
        let found = all.iter().find(|count| count["what"] == what && count["reason"] == reason);
        found.map_or(0, |count| count["n"].as_u64().unwrap())
    };
    let found =
        [of("pair", "same_sides"), of("answer", "empty"), of("answer", "too_long"), of("prompt", "no_pairs")];
    assert_eq!(found, [1, 1, 1, 2], "{dropped}");
    assert!(output.stderr.contains("1 answer dropped (too long), 1 pair lost by it"), "{}", output.stderr);
    let records = records(&fixture, "run/dropped.jsonl");
    assert_eq!(records.len(), 5);
}

#[test]
fn only_the_first_rows_are_taken_where_it_is_asked() {
    let fixture = fixture();
    let output = fixtures::run(&train(&fixture, "run", &["--limit", "4", "--dry-run", "--json"])).done();
    let counted: Value = serde_json::from_str(&output.stdout).unwrap();
    let n = ["n_train", "n_held_out", "n_left_out"].map(|key| counted["counts"][key].as_u64().unwrap());
    assert_eq!(n.iter().sum::<u64>(), 4, "{counted}");
    assert_eq!(counted["data"]["n_rows"], RANKINGS.lines().count());
}
