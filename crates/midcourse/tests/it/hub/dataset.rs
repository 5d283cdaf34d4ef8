//! Data sets of a hub, on the stand-in for it.

use serde_json::Value;

use super::server::{COMMIT, Fault, Hub, REPO};
use super::{Cache, FAULT, Files, OTHER_COMMIT, assert_refused};
use crate::fixtures::{DATA, Output, SCRIPT};

const SET: &str = "hf:datasets/org/tiny";
const CARD: &str = "---\nlicense: cc-by-4.0\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    \
    path: data/first-*\n  - split: held_out\n    path: data/last.csv\n---\n# A tiny set\n";

fn row(prompt: &str) -> String {
    format!("{{\"prompt\":\"{prompt}\",\"response\":\"Sure, first you wait.\"}}\n")
}

/// Two shards in JSONL, one of them compressed, another split, and what else lies in repositories.
fn set() -> Files {
    let mut shard = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut shard, (row("c") + &row("a")).as_bytes()).unwrap();
    vec![
        ("README.md", b"# no head".to_vec()),
        ("data/train-00001-of-00002.jsonl.gz", shard.finish().unwrap()),
        ("data/train-00000-of-00002.jsonl", (row("a") + &row("b")).into_bytes()),
        ("data/test-00000-of-00001.jsonl", row("d").into_bytes()),
        ("script.py", b"print()".to_vec()),
    ]
}

fn checked(cache: &Cache, hub: &Hub, source: &str) -> Value {
    serde_json::from_str(&cache.run(hub, &["data", "check", source, "--json"]).done().stdout).unwrap()
}

/// A path in the repository's part of the cache.
fn place(cache: &Cache, below: &str) -> std::path::PathBuf {
    cache.fixture.path("cache/huggingface/hub/datasets--org--tiny").join(below)
}

#[test]
fn shards_are_read_in_order_as_one_set_and_other_files_are_left_alone() {
    let (hub, cache) = (Hub::with(&set()), Cache::new());
    let found = checked(&cache, &hub, SET);
    assert_eq!(
        (&found["n_rows"], &found["n_samples"], &found["n_duplicates"]),
        (&4.into(), &3.into(), &1.into())
    );
    assert_eq!((&found["commit"], &found["licenses"]), (&COMMIT.into(), &serde_json::json!([])));
    let lines: Vec<String> = hub.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines[0], format!("GET /api/datasets/{REPO}/revision/main"));
    assert!(lines.iter().any(|line| line.starts_with("HEAD /datasets/org/tiny/resolve/")), "{lines:?}");
    assert!(
        lines.iter().all(|line| !line.contains("test-00000") && !line.contains("script.py")),
        "{lines:?}"
    );
    let train = place(&cache, "snapshots").join(COMMIT).join("data/train-00000-of-00002.jsonl");
    assert_eq!(std::fs::read_to_string(train).unwrap(), row("a") + &row("b"));
    let out = cache.fixture.path("out");
    let split = ["data", "split", SET, "--eval-share", "0.5", "--out", out.to_str().unwrap()];
    cache.run(&hub, &split).done();
    let sides = cache.fixture.read("out/train.jsonl") + &cache.fixture.read("out/eval.jsonl");
    let mut sides: Vec<&str> = sides.lines().collect();
    sides.sort_unstable();
    let rows = [row("a"), row("a"), row("b"), row("c")];
    assert_eq!(sides, rows.iter().map(|row| row.trim_end()).collect::<Vec<_>>());
}

#[test]
fn a_split_is_named_after_a_colon_and_a_wrong_one_is_told_the_right_ones() {
    let (hub, cache) = (Hub::with(&set()), Cache::new());
    assert_eq!(checked(&cache, &hub, &format!("{SET}:test"))["n_rows"], 1);
    let wrong = cache.run(&hub, &["data", "check", &format!("{SET}@main:validation")]);
    let named = ["has no split `validation`, found test, train", "hf:datasets/org/tiny@main:test"];
    assert_refused(&wrong, 3, &named);
}

#[test]
fn the_card_tells_files_and_licence() {
    let mut files = set();
    files[0].1 = CARD.as_bytes().to_vec();
    files.push(("data/first-1.csv", b"goal,target\na,b\n".to_vec()));
    files.push(("data/first-2.csv", b"goal,target\nc,d\n".to_vec()));
    files.push(("data/last.csv", b"goal,target\ne,f\n".to_vec()));
    files.retain(|(name, _)| !name.contains(".jsonl"));
    let (hub, cache) = (Hub::with(&files), Cache::new());
    let found = checked(&cache, &hub, SET);
    assert_eq!((&found["n_rows"], &found["format"]), (&2.into(), &"advbench".into()));
    assert_eq!(found["licenses"], serde_json::json!(["cc-by-4.0", "mit"]));
    assert_eq!(checked(&cache, &hub, &format!("{SET}:held_out"))["n_rows"], 1);
    assert!(
        cache.run(&hub, &["data", "check", SET]).done().stdout.contains("licence         cc-by-4.0, mit")
    );
}

#[test]
fn offline_and_without_a_network_the_cache_is_taken_if_it_has_the_split() {
    let (hub, cache) = (Hub::with(&set()), Cache::new());
    let offline = |source: &str| {
        let mut command = cache.command(&hub, &["data", "check", source, "--json"]);
        Output::of(command.env("HF_HUB_OFFLINE", "1"))
    };
    assert_refused(&offline(SET), 4, &[SET, "HF_HUB_OFFLINE is set", "the data set", "midcourse data check"]);
    checked(&cache, &hub, SET);
    hub.requests();
    for source in [SET, &format!("{SET}@main:train"), &format!("{SET}@{COMMIT}")] {
        let found: Value = serde_json::from_str(&offline(source).done().stdout).unwrap();
        assert_eq!((&found["n_rows"], &found["commit"]), (&4.into(), &COMMIT.into()));
    }
    // The split is known, and was not fetched.
    assert_refused(&offline(&format!("{SET}:test")), 4, &["the cache lacks data/test-00000-of-00001.jsonl"]);
    assert!(hub.requests().is_empty());
    hub.spoil("/api/datasets/", 4, Fault::Answer(FAULT, String::new(), String::new()));
    let output = cache.run(&hub, &["data", "check", SET]).done();
    assert!(output.stderr.contains(&format!("taking commit {COMMIT} from the cache")), "{output:?}");
    std::fs::remove_file(place(&cache, "snapshots").join(COMMIT).join("data/train-00000-of-00002.jsonl"))
        .unwrap();
    assert_refused(&offline(SET), 4, &["the cache lacks data/train-00000-of-00002.jsonl"]);
}

#[test]
fn an_evaluation_records_the_commit_of_its_data_and_resumes_at_it() {
    let rows = |data: &str| vec![("train.jsonl", data.as_bytes().to_vec())];
    let (hub, cache) = (Hub::with(&rows(DATA)), Cache::new());
    let script = format!("scripted:{}", cache.fixture.write("script.jsonl", SCRIPT).display());
    let out = cache.fixture.path("run");
    let out = out.to_str().unwrap();
    let options = ["--prefix-lengths", "5", "--paths", "2", "--max-new-tokens", "8", "--out", out];
    cache
        .run(&hub, &[&["eval", "--model", &script, "--data", SET, "--benign", SET], &options[..]].concat())
        .done();
    let manifest: Value = serde_json::from_str(&cache.fixture.read("run/manifest.json")).unwrap();
    for data in manifest["data"].as_array().unwrap() {
        assert_eq!((&data["file"], &data["commit"]), (&SET.into(), &COMMIT.into()));
    }
    let trials = cache.fixture.read("run/trials.jsonl");
    hub.commit(OTHER_COMMIT, &rows(&row("another")));
    std::fs::remove_dir_all(place(&cache, "")).unwrap();
    cache.run(&hub, &["eval", "--resume", "--out", out]).done();
    assert_eq!(cache.fixture.read("run/trials.jsonl"), trials);
    assert_eq!(checked(&cache, &hub, SET)["commit"], OTHER_COMMIT);
}

#[test]
fn what_a_hostile_hub_says_is_refused_and_nothing_is_written_outside() {
    for name in
        ["../../evil.jsonl", "/etc/evil.jsonl", "data/../../evil.jsonl", "data\\\\evil.jsonl", "a//b.csv"]
    {
        let (hub, cache) = (Hub::with(&set()), Cache::new());
        hub.list_also(name);
        assert_refused(&cache.run(&hub, &["data", "check", SET]), 4, &["lists a file named"]);
        assert!(!place(&cache, "snapshots").exists());
    }
    let (hub, cache) = (Hub::with(&set()), Cache::new());
    hub.list_also("data/train-00002-of-00002.jsonl");
    assert_refused(&cache.run(&hub, &["data", "check", SET]), 4, &["the hub has no such file"]);
    let huge = vec![("README.md", [b"---\n", &b"a: [".repeat(1 << 18)[..]].concat()), set().remove(2)];
    let (hub, cache) = (Hub::with(&huge), Cache::new());
    assert_eq!(checked(&cache, &hub, SET)["n_rows"], 2);
    let (hub, cache) = (Hub::with(&[("a.py", vec![]), ("README.md", vec![])]), Cache::new());
    assert_refused(&cache.run(&hub, &["data", "check", SET]), 3, &["the repository holds no file of rows"]);
}

#[test]
fn a_row_of_a_hub_is_named_by_its_file_and_line() {
    let files = [("data/train.jsonl", (row("a") + "{\"prompt\":1}\n").into_bytes())];
    let (hub, cache) = (Hub::with(&files), Cache::new());
    let named = ["hf:datasets/org/tiny: data/train.jsonl:2: the field `prompt` must be a string"];
    assert_refused(&cache.run(&hub, &["data", "check", SET]), 3, &named);
    for name in ["hf:org/tiny", "hf:datasets/tiny", "hf:datasets/org/tiny:a b", "hf:datasets/org/../x"] {
        let output = cache.run(&hub, &["data", "check", name]);
        assert_refused(&output, 2, &["expected hf:datasets/ORG/NAME[@REVISION][:SPLIT]"]);
    }
}
