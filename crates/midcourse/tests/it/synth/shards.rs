//! Shards that do not make one data set.

use serde_json::json;

use super::{assert_same, fixture, json_of, jsonl, prompt, records, refused, response, run};
use crate::fixtures::{self, Fixture};

fn merge(fixture: &Fixture, shards: &[&str], out: &str) -> Vec<String> {
    let at = |name: &&str| fixture.path(name).display().to_string();
    let shards: Vec<String> = shards.iter().map(at).collect();
    [&["synth".into(), "merge".into(), "--out".into(), at(&out)], &shards[..]].concat()
}

#[test]
fn joined_shards_hold_what_the_shards_hold() {
    let fixture = fixture();
    run(&fixture, "whole", &[]);
    for shard in ["1/3", "2/3", "3/3"] {
        run(&fixture, &shard.replace('/', "-"), &["--shard", shard]);
    }
    let shards = ["2-3", "3-3", "1-3"];
    let output =
        fixtures::run(&[&merge(&fixture, &shards, "joined")[..], &["--json".into()]].concat()).done();
    assert_same(&fixture, "joined", "whole");
    let summary: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(summary, json_of(&fixture, "whole/summary.json"));
    let manifest = json_of(&fixture, "joined/manifest.json");
    assert_eq!((&manifest["shard"], manifest["sessions"].as_array().unwrap().len()), (&json!("1/1"), 3));
    let sampled = |out: &str| {
        let sessions = json_of(&fixture, &format!("{out}/manifest.json"))["sessions"].clone();
        let of = |session: &serde_json::Value| session["n_tokens_sampled"].as_u64().unwrap();
        sessions.as_array().unwrap().iter().map(of).sum::<u64>()
    };
    assert_eq!(sampled("joined"), sampled("whole"));
    assert!(!fixture.read("joined/run.toml").contains("shard"));
    // A shard holds every third prompt, whichever file it is in.
    let indices = records(&fixture, "2-3/rankings.jsonl");
    assert!(indices.iter().map(|ranking| ranking["index"].as_u64().unwrap()).eq([1, 4, 7]));
    // A whole run is one shard of one.
    fixtures::run(&merge(&fixture, &["whole"], "copy")).done();
    assert_same(&fixture, "copy", "whole");
}

#[test]
fn a_shard_of_which_nothing_is_left_is_joined_with_the_others() {
    let fixture = fixture();
    let rows = (0..4).map(|i| {
        let response = if i % 2 == 0 { "Hide it.".to_owned() } else { response(i) };
        json!({"prompt": prompt(i), "response": response})
    });
    fixture.write("data.jsonl", jsonl(rows.collect::<Vec<_>>()));
    fixture.write("benign.jsonl", jsonl([json!({"prompt": prompt(9), "response": "Read."})]));
    run(&fixture, "whole", &[]);
    let said = run(&fixture, "1", &["--shard", "1/2"]).stderr;
    assert!(said.contains("no prompt of this shard has a ranking"), "{said}");
    run(&fixture, "2", &["--shard", "2/2"]);
    fixtures::run(&merge(&fixture, &["1", "2"], "joined")).done();
    assert_same(&fixture, "joined", "whole");
}

#[test]
fn shards_that_are_not_those_of_one_run_are_refused() {
    let fixture = fixture();
    for (out, more) in [
        ("1", &["--shard", "1/3"][..]),
        ("2", &["--shard", "2/3"]),
        ("3", &["--shard", "3/3"]),
        ("half", &["--shard", "2/2"]),
        ("seed", &["--shard", "2/3", "--seed", "7"]),
        ("cuts", &["--shard", "2/3", "--cuts", "3"]),
    ] {
        run(&fixture, out, more);
    }
    let data = fixture.read("data.jsonl");
    fixture.write("data.jsonl", jsonl((0..5).map(super::row)));
    run(&fixture, "data", &["--shard", "2/3"]);
    fixture.write("data.jsonl", data);
    run(&fixture, "way", &["--shard", "2/3"]);
    std::fs::remove_file(fixture.path("way/rankings.jsonl")).unwrap();
    std::fs::create_dir(fixture.path("other")).unwrap();
    for (shards, code, named) in [
        (&["1", "3"][..], 3, &["expected 3 shards, found 2; missing: 2/3", "hint: make them with"][..]),
        (&["3"], 3, &["missing: 1/3, 2/3"]),
        (&["1", "2", "3", "2"], 3, &["/2: shard 2/3 is there twice"]),
        (&["1", "1", "2", "3"], 3, &["/1: shard 1/3 is there twice"]),
        (&["1", "half", "3"], 3, &["/half: expected a shard of 3, found 2/2"]),
        (&["1", "seed", "3"], 3, &["/seed: the shard was made with seed = 7", "/1 with 0"]),
        (&["1", "cuts", "3"], 3, &["/cuts: the shard was made with cuts = 3"]),
        (
            &["1", "data", "3"],
            3,
            &["/data: the shard was made with other rows in a data file of the same name"],
        ),
        (
            &["1", "way", "3"],
            3,
            &["/way: expected a finished shard, found one that is under way", "--resume"],
        ),
        (&["1", "other", "3"], 3, &["/other: expected the directory of a shard, found no manifest.json"]),
        (&["1", "nothing", "3"], 3, &["/nothing: expected the directory of a shard"]),
        (&["data.jsonl"], 3, &["/data.jsonl: expected the directory of a shard"]),
        (&[], 2, &["SHARDS"]),
    ] {
        refused(&merge(&fixture, shards, "joined"), code, named);
        assert!(!fixture.path("joined").exists(), "{shards:?}");
    }
    refused(&merge(&fixture, &["1", "2", "3"], "1"), 5, &["/1: a run is already there"]);
}

#[test]
fn a_shard_that_is_damaged_is_refused() {
    let fixture = fixture();
    for shard in ["1/2", "2/2"] {
        run(&fixture, &shard[..1], &["--shard", shard]);
    }
    let candidates = fixture.read("2/candidates.jsonl");
    let last = format!("candidates.jsonl:{}: expected a record", candidates.lines().count());
    let torn = &candidates[..candidates.len() - 9];
    for (out, name, text, code, named) in [
        ("1", "candidates.jsonl", torn, 5, last.as_str()),
        ("2", "manifest.json", "{}", 5, "/2/manifest.json:1: expected the manifest of a synthesis"),
        ("3", "manifest.json", "gossip", 5, "/2/manifest.json:1"),
        ("4", "run.toml", "cuts = many", 3, "/2/run.toml"),
    ] {
        let whole = fixture.read(&format!("2/{name}"));
        fixture.write(&format!("2/{name}"), text);
        refused(&merge(&fixture, &["1", "2"], &format!("joined-{out}")), code, &[named]);
        fixture.write(&format!("2/{name}"), whole);
    }
    fixtures::run(&merge(&fixture, &["1", "2"], "joined")).done();
}
