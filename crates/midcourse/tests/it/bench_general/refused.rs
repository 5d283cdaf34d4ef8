//! What a person can bring to general tasks that is wrong: one message, the documented code, a hint.

use super::testdata;
use crate::fixtures::{Fixture, Output, run};

const PIQA: &str = r#"{"goal":"keep a door open","sol1":"Ask it.","sol2":"Use a wedge.","label":1}"#;

/// Runs a task on the rows of the fixture's directory `rows`.
fn bench(fixture: &Fixture, more: &[&str]) -> Output {
    let (script, rows) =
        (format!("scripted:{}", fixture.path("script.jsonl").display()), fixture.path("rows"));
    let out = fixture.path("out");
    let mut args =
        vec!["bench", "--model", &script, "--data", rows.to_str().unwrap(), "--out", out.to_str().unwrap()];
    args.extend(more);
    run(&args)
}

fn refused(fixture: &Fixture, more: &[&str], code: i32, named: &[&str]) {
    let output = bench(fixture, more);
    assert_eq!(output.code, code, "{more:?}: {}", output.stderr);
    let (error, hint) = output.stderr.split_once("hint: ").unwrap_or_else(|| panic!("{}", output.stderr));
    assert!(!hint.trim().is_empty());
    for named in named {
        assert!(error.contains(named), "{named}: {error}");
    }
}

fn fixture(files: &[(&str, &str)]) -> Fixture {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("rows")).unwrap();
    for (name, text) in files {
        fixture.write(&format!("rows/{name}"), *text);
    }
    fixture
}

#[test]
fn tasks_and_files_that_are_not_there() {
    let fixture = fixture(&[]);
    refused(&fixture, &["--tasks", "hellswag"], 2, &["no task is called hellswag"]);
    refused(&fixture, &["--tasks", "piqa"], 3, &["task piqa: its rows are missing", "piqa.validation.jsonl"]);
    refused(&fixture, &["--tasks", "general"], 3, &["expected the rows of a general task, found none"]);
    refused(&fixture, &["--tasks", "none.toml"], 3, &["none.toml"]);
    refused(&fixture, &["--tasks", "piqa", "--limit", "0"], 2, &["--limit"]);
}

#[test]
fn rows_that_cannot_be_asked() {
    let wrong = |line: &str| format!("{PIQA}\n{line}\n");
    for (line, named) in [
        (
            r#"{"goal":"g","sol1":"a","label":0}"#,
            "piqa.validation.jsonl:2: task piqa: the column `sol2` is missing",
        ),
        (
            r#"{"goal":"g","sol1":"a","sol2":"b","label":7}"#,
            "piqa.validation.jsonl:2: task piqa: expected the right answer among 2 choices",
        ),
        ("[1]", "piqa.validation.jsonl:2: expected a JSON object"),
        ("{\"goal\"", "piqa.validation.jsonl:2: expected a JSON object"),
    ] {
        let fixture = fixture(&[("piqa.validation.jsonl", &wrong(line))]);
        refused(&fixture, &["--tasks", "piqa"], 3, &[named]);
    }
    let one = r#"{"question":"q","choices":{"text":["a"],"label":["A"]},"answerKey":"A"}"#;
    let fixture = fixture(&[("arc_easy.test.jsonl", one), ("piqa.csv", "goal,sol1,sol2,label\ng,a,\"b,0\n")]);
    refused(&fixture, &["--tasks", "arc_easy"], 3, &["expected two choices or more, found 1"]);
    refused(&fixture, &["--tasks", "piqa"], 3, &["piqa.csv:2", "never closed"]);
}

#[test]
fn more_shots_than_rows() {
    let fixture = fixture(&[("piqa.validation.jsonl", PIQA), ("piqa.train.jsonl", PIQA)]);
    refused(
        &fixture,
        &["--tasks", "piqa", "--shots", "2"],
        3,
        &["piqa.train.jsonl: task piqa: expected 2 answered rows for its shots, found 1"],
    );
}

#[test]
fn task_files_that_are_wrong() {
    let fixture = fixture(&[("own.test.jsonl", r#"{"q":"x"}"#)]);
    let own = fixture.path("own.toml");
    let file = |rest: &str| format!("name = \"own\"\nversion = \"1\"\nkind = \"choices\"\n{rest}");
    for (text, named) in [
        (file("question = \"x\""), "own.toml:4: unknown field `question`"),
        (file("prompt = \"{{ q \"\nchoices = [\"a\", \"b\"]\ncorrect = \"0\""), "own.toml:4: `prompt`"),
        (
            file("prompt = \"{{ missing }}\"\nchoices = [\"a\", \"b\"]\ncorrect = \"0\""),
            "own.toml:4: `prompt`",
        ),
    ] {
        fixture.write("own.toml", text);
        refused(&fixture, &["--tasks", own.to_str().unwrap()], 3, &[named]);
    }
}

#[test]
fn a_model_that_cannot_be_loaded_or_was_another() {
    let fixture = fixture(&[("piqa.validation.jsonl", PIQA)]);
    bench(&fixture, &["--tasks", "piqa"]).done();
    // The run is there, and it is not the one that is asked for.
    refused(&fixture, &["--tasks", "piqa"], 5, &["a run is already there"]);
    fixture.write("rows/piqa.validation.jsonl", PIQA.replace("wedge", "stone"));
    refused(&fixture, &["--resume"], 5, &["task piqa: data_sha256"]);
    let model = testdata("no-model");
    let output = run(&[
        "bench",
        "--model",
        model.to_str().unwrap(),
        "--tasks",
        "piqa",
        "--data",
        fixture.path("rows").to_str().unwrap(),
    ]);
    assert_eq!(output.code, 3, "{}", output.stderr);
}
