//! Preference pairs as a person at a terminal exports them.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::{self, Fixture, MIDCOURSE, Output};
use crate::full_disk::{in_shell, unshared};

const RANKINGS: &str = include_str!("../../../../testdata/rankings.jsonl");
const N_RANKINGS: usize = 12;
/// Eleven rankings of four answers, one that has lost a rank.
const N_PAIRS: usize = 11 * 6 + 3;

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.write("rankings.jsonl", RANKINGS);
    fixture
}

fn export(fixture: &Fixture, format: &str, out: &str, more: &[&str]) -> Vec<String> {
    let at = |name: &str| fixture.path(name).display().to_string();
    let given = ["export", "pairs", &at("rankings.jsonl"), "--format", format, "--out", &at(out)];
    given.into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
}

fn run(fixture: &Fixture, format: &str, out: &str, more: &[&str]) -> Output {
    fixtures::run(&export(fixture, format, out, more)).done()
}

fn rows(fixture: &Fixture, name: &str) -> Vec<Value> {
    fixture.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn counts_are_those_of_the_files() {
    let fixture = fixture();
    let counts: Value =
        serde_json::from_str(&run(&fixture, "trl", "all.jsonl", &["--json", "--test-share", "0.3"]).stdout)
            .unwrap();
    assert_eq!((&counts["n_rankings"], &counts["n_pairs"]), (&json!(N_RANKINGS), &json!(N_PAIRS)));
    let all = rows(&fixture, "all.jsonl");
    let mut n_pairs = 0;
    for split in ["train", "test"] {
        let name = format!("{split}.jsonl");
        run(&fixture, "trl", &name, &["--split", split, "--test-share", "0.3"]);
        let rows = rows(&fixture, &name);
        for set in ["harmful", "benign"] {
            let of_set: Vec<&Value> = rows.iter().filter(|row| row["set"] == set).collect();
            assert_eq!(counts["splits"][split][set]["n_pairs"], of_set.len(), "{split} {set}");
        }
        assert!(rows.iter().all(|row| all.contains(row)));
        n_pairs += rows.len();
    }
    assert_eq!((all.len(), n_pairs), (N_PAIRS, N_PAIRS));
}

#[test]
fn a_directory_of_a_synthesis_is_exported_by_its_name() {
    let fixture = fixture();
    let dir = fixture.path("").display().to_string();
    let out = fixture.path("set").display().to_string();
    let output = fixtures::run(&["export", "pairs", &dir, "--format", "trl", "--out", &out]).done();
    assert!(output.stdout.ends_with(&format!("all{N_RANKINGS:>22}{N_PAIRS:>9}\n")), "{}", output.stdout);
    assert!(output.stderr.contains("datasets.load_dataset("), "{}", output.stderr);
    let parts = names_in(&fixture.path("set/data"));
    assert!(parts.iter().all(|name| name.ends_with("-00000-of-00001.parquet")), "{parts:?}");
}

#[test]
fn llama_factory_gets_an_entry_beside_those_that_are_there() {
    let fixture = fixture();
    fixture.write("dataset_info.json", r#"{"identity": {"file_name": "identity.json"}, "b": {}}"#);
    run(&fixture, "llama-factory", "pairs.jsonl", &[]);
    let list: Value = serde_json::from_str(&fixture.read("dataset_info.json")).unwrap();
    assert_eq!(list.as_object().unwrap().keys().collect::<Vec<_>>(), ["identity", "b", "pairs"]);
    assert_eq!(list["identity"], json!({"file_name": "identity.json"}));
    let entry = json!({
        "file_name": "pairs.jsonl",
        "ranking": true,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "system_tag": "system",
        },
    });
    assert_eq!(list["pairs"], entry);
    let rows = rows(&fixture, "pairs.jsonl");
    assert_eq!(rows.len(), N_PAIRS);
    let with_system = rows.iter().find(|row| row["conversations"][0]["from"] == "system").unwrap();
    assert_eq!(with_system["conversations"][0]["value"], "Answer in one\nparagraph.");
    assert_eq!(with_system["chosen"]["from"], "gpt");
    assert_eq!(
        with_system.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["conversations", "chosen", "rejected"]
    );
}

#[test]
fn a_directory_for_llama_factory_has_a_file_and_an_entry_a_split() {
    let fixture = fixture();
    let output = run(&fixture, "llama-factory", "games", &["--test-share", "0.3"]);
    assert!(output.stderr.contains("dataset: games_train, eval_dataset: games_test"), "{}", output.stderr);
    assert_eq!(names_in(&fixture.path("games")), ["dataset_info.json", "test.jsonl", "train.jsonl"]);
    let list: Value = serde_json::from_str(&fixture.read("games/dataset_info.json")).unwrap();
    assert_eq!(list["games_test"]["file_name"], "test.jsonl");
    assert_eq!(list["games_train"]["file_name"], "train.jsonl");
}

#[test]
fn what_a_trainer_would_lose_is_left_out_and_counted() {
    let fixture = fixture();
    let change = |line: &str, change: &dyn Fn(&mut Value)| {
        let mut ranking: Value = serde_json::from_str(line).unwrap();
        change(&mut ranking);
        ranking.to_string()
    };
    let pad = |text: &mut Value| *text = json!(format!("{} ", text.as_str().unwrap()));
    let mut lines: Vec<String> = RANKINGS.lines().map(str::to_owned).collect();
    lines[0] = change(&lines[0], &|ranking| pad(&mut ranking["answers"][2]["text"]));
    lines[4] = change(&lines[4], &|ranking| {
        ranking["prompt"].as_array_mut().unwrap().insert(0, json!({"role": "user", "content": "Hello."}));
    });
    fixture.write("rankings.jsonl", lines.join("\n"));
    // Of six pairs, the answer of rank 2 stands in three; a prompt with two questions in a row in all six.
    for (format, n_left_out) in [("trl", 0), ("axolotl", 3), ("llama-factory", 6)] {
        let output = run(&fixture, format, &format!("{format}.jsonl"), &["--json"]);
        let counts: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(counts["n_left_out"], n_left_out, "{format}");
        assert_eq!(counts["n_pairs"], N_PAIRS - n_left_out, "{format}");
        assert_eq!(rows(&fixture, &format!("{format}.jsonl")).len(), N_PAIRS - n_left_out, "{format}");
        assert_eq!(output.stderr.contains("pairs were left out"), n_left_out > 0, "{}", output.stderr);
    }
}

#[test]
fn a_torn_last_line_is_left_out_and_said() {
    let fixture = fixture();
    fixture.write("rankings.jsonl", &RANKINGS[..RANKINGS.len() - 9]);
    let output = run(&fixture, "trl", "pairs.jsonl", &["--json"]);
    assert!(output.stderr.contains("rankings.jsonl:12: the last line is unfinished"), "{}", output.stderr);
    let counts: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&counts["n_rankings"], &counts["torn_line"]), (&json!(N_RANKINGS - 1), &json!(12)));
    // A whole ranking is one, even if no line break follows.
    fixture.write("rankings.jsonl", RANKINGS.trim_end());
    let counts: Value =
        serde_json::from_str(&run(&fixture, "trl", "whole.jsonl", &["--json"]).stdout).unwrap();
    assert_eq!((&counts["n_rankings"], &counts["torn_line"]), (&json!(N_RANKINGS), &Value::Null));
}

/// Enough rankings to outgrow every limit below, and to be killed at.
fn long_fixture(n_times: usize) -> Fixture {
    let fixture = Fixture::new();
    let again = |i: usize| {
        RANKINGS
            .replace("How do I", &format!("Round {i}: how do I"))
            .replace("First", &format!("In round {i} first"))
    };
    fixture.write("rankings.jsonl", (0..n_times).map(again).collect::<String>());
    fixture
}

const OUTS: [(&str, &str); 4] =
    [("trl", "pairs.jsonl"), ("trl", "pairs.parquet"), ("trl", "set"), ("llama-factory", "games.jsonl")];

fn assert_disk_full(output: &Output, system: &str) {
    assert_eq!(output.code, 5, "{output:?}");
    let error = output.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains(system), "{error}");
    assert!(output.stderr.contains("hint: check that the disk has room"), "{}", output.stderr);
}

#[test]
fn a_limit_of_the_file_size_leaves_nothing_of_an_export() {
    let fixture = long_fixture(200);
    let there = names_in(&fixture.path(""));
    for (format, out) in OUTS {
        // Blocks of 512 bytes: 8 KB.
        let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
        let output = Output::of(&mut in_shell(script, &export(&fixture, format, out, &[])));
        assert_disk_full(&output, "File too large");
        let _ = std::fs::remove_dir(fixture.path("set"));
        assert_eq!(names_in(&fixture.path("")), there, "{out}");
    }
}

/// Needs a kernel that lets this user mount a file system in a namespace of its own.
#[test]
fn a_full_file_system_leaves_nothing_of_an_export() {
    let fixture = long_fixture(200);
    std::fs::create_dir_all(fixture.path("disk")).unwrap();
    let mounted = "mount -t tmpfs -o size=16k tmpfs \"$DISK\"";
    let may_mount = unshared(&fixture, mounted, &[]);
    if may_mount.code != 0 {
        eprintln!("skipped: {}", may_mount.stderr);
        return;
    }
    for (format, out) in OUTS {
        // What is left on the disk is listed before its namespace goes.
        let script = format!("{mounted}; \"$0\" \"$@\"; code=$?; find \"$DISK\" -type f; exit $code");
        let output = unshared(&fixture, &script, &export(&fixture, format, &format!("disk/{out}"), &[]));
        assert_disk_full(&output, "No space left on device");
        assert_eq!(output.stdout, "", "{out}");
    }
}

#[test]
fn a_kill_leaves_no_half_file_and_nothing_in_the_way() {
    let fixture = long_fixture(400);
    for (format, out) in OUTS {
        let started = Instant::now();
        run(&fixture, format, &format!("whole-{out}"), &[]);
        let length = started.elapsed();
        let mut n_killed = 0;
        for tenth in 0..10 {
            let mut child = fixtures::command(MIDCOURSE)
                .args(export(&fixture, format, out, &[]))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(length * tenth / 12 + Duration::from_millis(1));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            n_killed += 1;
            if is_there(&fixture, out) {
                break;
            }
        }
        assert!(n_killed >= 3, "only {n_killed} exports were alive when they were killed");
        if !is_there(&fixture, out) {
            run(&fixture, format, out, &[]);
        }
        assert!(same(&fixture, out), "{out}");
        if out == "set" {
            assert_eq!(names_in(&fixture.path("set")), ["data"]);
        }
    }
}

fn is_there(fixture: &Fixture, out: &str) -> bool {
    fixture.path(out).is_file() || fixture.path(out).join("data").exists()
}

/// Whether what was made is what an export makes that nobody kills.
fn same(fixture: &Fixture, out: &str) -> bool {
    let bytes = |name: &str| -> Vec<(String, Vec<u8>)> {
        let path = fixture.path(name);
        if path.is_file() {
            return vec![(String::new(), std::fs::read(path).unwrap())];
        }
        let data = path.join("data");
        names_in(&data)
            .into_iter()
            .map(|name| (name.clone(), std::fs::read(data.join(name)).unwrap()))
            .collect()
    };
    bytes(out) == bytes(&format!("whole-{out}"))
}
