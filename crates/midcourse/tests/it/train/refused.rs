//! What is refused, and what is said.

use super::{fixture, pair, run, train};
use crate::fixtures::Fixture;
use crate::serve::server::tiny_llama;
use crate::synth::refused;

fn check(fixture: &Fixture, more: &[&str], code: i32, named: &[&str]) {
    refused(&train(fixture, "refused", more), code, named);
}

#[test]
fn data_that_cannot_be_trained_on_are_refused_with_their_line() {
    let fixture = fixture();
    let ranking = super::RANKINGS.lines().next().unwrap();
    let row = pair("May I peek?", "Better not.", "Sure.").to_string();
    let path = fixture.path("rows.jsonl").display().to_string();
    let long = pair("May I peek?", &"Better not. ".repeat(900), "Sure.").to_string();
    for (text, named) in [
        (format!("{ranking}\n{row}\n"), "rows.jsonl:2: expected rankings as before, found a pair"),
        (format!("{row}\n\n{ranking}\n"), "rows.jsonl:3: expected pairs as before, found a ranking"),
        (
            "{\"prompt\":\"a\"}\n".into(),
            "rows.jsonl:1: expected a ranking (columns prompt, answers) or a pair",
        ),
        ("{\"a\":\n".into(), "rows.jsonl:1: expected a JSON object: "),
        (String::new(), "rows.jsonl: expected preferences, found no row"),
        (long, "nothing is left to train on: 1 answer dropped (too long), 1 pair lost by it"),
        ("{\"prompt\":\"a\",\"chosen\":1,\"rejected\":\"b\"}".into(), "rows.jsonl:1: the field `chosen`"),
    ] {
        fixture.write("rows.jsonl", text);
        check(&fixture, &["--data", &path], 3, &[named]);
    }
    check(&fixture, &["--data", "no-such-file"], 3, &["no-such-file"]);
    assert!(!fixture.path("refused").exists());
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let fixture = fixture();
    let script = format!("scripted:{}", fixture.path("script.jsonl").display());
    let gguf = tiny_llama().with_extension("gguf").display().to_string();
    let cases: [(&[&str], i32, &str); 10] = [
        (&["--beta", "0"], 2, "--beta: expected a number above 0, found 0"),
        (&["--eval-fraction", "1"], 2, "--eval-fraction: expected 0 to less than 1, found 1"),
        (&["--lora-targets", "q,head"], 2, "\"head\""),
        (&["--objective", "ppo"], 2, "--objective <OBJECTIVE>"),
        (&["--benign", "b.jsonl"], 2, "--eval-data"),
        (&["--processes", "2"], 2, "--processes: the local engine is one process"),
        (&["--python", "python"], 2, "--python: the local engine is one process"),
        (&["--engine", "trl", "--model", &gguf], 6, "--engine trl trains on safetensors"),
        (&["--model", &script], 2, "a script has no weights to train beside"),
        (&["--model", "http://127.0.0.1:1/v1"], 2, "expected a model with files, found an endpoint"),
    ];
    for (more, code, named) in cases {
        check(&fixture, more, code, &[named]);
    }
    refused(&["train".into(), "--resume".into()], 2, &["--resume: --out is missing"]);
}

#[test]
fn nothing_is_measured_on_prompts_that_are_trained_on() {
    let fixture = fixture();
    let row = r#"{"prompt":"how do I cheat at CHESS","response":"Well, first you wait until the others look away."}"#;
    let path = fixture.write("seen.jsonl", row).display().to_string();
    let more = ["--eval-data", &path, "--eval-fraction", "0", "--contrast-share", "0.5"];
    check(&fixture, &more, 3, &["seen.jsonl: 1 of 1 prompts are trained on"]);
    assert!(!fixture.path("refused").exists());
}

#[test]
fn another_run_is_not_gone_on_with() {
    let fixture = fixture();
    run(&fixture, "run", &[]);
    let again = |more: &[&str], code, named: &[&str]| refused(&train(&fixture, "run", more), code, named);
    again(&[], 5, &["a run is already there"]);
    again(&["--resume", "--beta", "0.2"], 5, &["the run there was made with beta = 0.1 (now 0.2)"]);
    again(&["--resume", "--save-every", "3"], 5, &["save-every = 2 (now 3)"]);
    refused(&train(&fixture, "none", &["--resume"]), 5, &["nothing to resume there"]);
    let fewer = super::RANKINGS.split_once('\n').unwrap().1;
    fixture.write("rankings.jsonl", fewer);
    again(&["--resume"], 5, &["other rows in the data of the same name"]);
}

#[test]
fn a_learning_rate_that_leaves_the_numbers_stops_and_saves_its_batch() {
    let fixture = fixture();
    let more = ["--learning-rate", "1e30", "--warmup", "0", "--schedule", "constant"];
    refused(&train(&fixture, "run", &more), 3, &["is not finite", "nan-batch.json"]);
    let saved = super::json_of(&fixture, "run/nan-batch.json");
    assert_eq!(saved["schema"], "midcourse.nan-batch/1");
    assert!(!fixture.path("run/adapter").exists());
}
