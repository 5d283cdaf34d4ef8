//! The same seed gives the same bytes, however the work is divided.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{assert_same, fixture, made, run, synth};
use crate::fixtures::{self, Fixture, MIDCOURSE};
use crate::serve::server::tiny_llama;

/// A model of noise and sampled decoding: every token could be another.
const SAMPLED: [&str; 10] =
    ["--candidates", "4", "--max-new-tokens", "48", "--temperature", "1.5", "--top-p", "0.99", "--seed", "5"];

fn tiny(fixture: &Fixture, out: &str, more: &[&str]) -> Vec<String> {
    let model = tiny_llama().display().to_string();
    synth(fixture, out, &[&["--model", &model], &SAMPLED[..], more].concat())
}

#[test]
fn batches_and_threads_change_nothing() {
    let fixture = fixture();
    fixtures::run(&tiny(&fixture, "whole", &[])).done();
    for more in [&["--batch-paths", "1"][..], &["--threads", "1"], &["--threads", "2", "--batch-paths", "7"]]
    {
        let out = more.concat();
        fixtures::run(&tiny(&fixture, &out, more)).done();
        assert_same(&fixture, &out, "whole");
    }
    let other: Vec<String> = tiny(&fixture, "other", &[])
        .iter()
        .map(|arg| if arg == "5" { "6" } else { arg }.to_owned())
        .collect();
    fixtures::run(&other).done();
    assert_ne!(made(&fixture, "other")["candidates.jsonl"], made(&fixture, "whole")["candidates.jsonl"]);
}

#[test]
fn shards_that_are_joined_are_the_unsharded_run() {
    let fixture = fixture();
    fixtures::run(&tiny(&fixture, "whole", &[])).done();
    for n in [2, 3] {
        let shard = |i: usize| format!("{i}-of-{n}");
        for i in 1..=n {
            fixtures::run(&tiny(&fixture, &shard(i), &["--shard", &format!("{i}/{n}")])).done();
        }
        let at = |name: &str| fixture.path(name).display().to_string();
        let (joined, shards): (String, Vec<String>) =
            (at(&format!("joined-{n}")), (1..=n).rev().map(|i| at(&shard(i))).collect());
        let arguments = [&["synth".into(), "merge".into(), "--out".into(), joined], &shards[..]].concat();
        fixtures::run(&arguments).done();
        assert_same(&fixture, &format!("joined-{n}"), "whole");
    }
}

#[test]
fn signals_end_a_run_with_their_codes_and_change_nothing() {
    let fixture = fixture();
    run(&fixture, "scripted", &[]);
    fixtures::run(&tiny(&fixture, "tiny", &["--batch-paths", "1"])).done();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut command = fixtures::command(MIDCOURSE);
        command.args(tiny(&fixture, signal, &["--batch-paths", "1"]));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let grown = fixture.path(signal).join("parts/00000.candidates.jsonl");
        while std::fs::metadata(&grown).map_or(0, |file| file.len()) == 0 {
            assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(!fixture.path(signal).join("rankings.jsonl").exists());
        run(&fixture, signal, &["--resume"]);
        assert_same(&fixture, signal, "tiny");
    }
}
