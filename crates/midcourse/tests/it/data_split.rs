//! `midcourse data split`.

use serde_json::Value;

use crate::fixtures::{self, Fixture, Output};

/// Twenty rows; of every prompt a second form that differs in case and punctuation, spaced as JSON may be.
fn rows() -> String {
    let row = |n: usize| {
        format!(
            "{{\"prompt\": \"How do I peek at card {n}?\",\"response\":\"Lean.\",\"extra\":[{n}]}}\n\
             {{\"response\":\"Lean.\",  \"prompt\":\"how do i PEEK at card {n}\"}}\r\n\n"
        )
    };
    (0..10).map(row).collect()
}

fn split(fixture: &Fixture, file: &str, more: &[&str]) -> Output {
    let (file, out) = (fixture.path(file), fixture.path("out"));
    let args = ["data", "split", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    fixtures::run(&[&args[..], more].concat())
}

#[test]
fn rows_stay_as_they_are_and_like_prompts_stay_together() {
    let fixture = Fixture::new();
    fixture.write("rows.jsonl", rows());
    let written = split(&fixture, "rows.jsonl", &["--eval-share", "0.4", "--json"]).done().stdout;
    let written: Value = serde_json::from_str(&written).unwrap();
    let sides = ["train", "eval"].map(|side| fixture.read(&format!("out/{side}.jsonl")));
    let counts = sides.each_ref().map(|side| side.lines().count() as u64);
    assert_eq!([&written["n_train"], &written["n_eval"]].map(|n| n.as_u64().unwrap()), counts);
    let text = rows();
    let lines: Vec<&str> = text.split_terminator('\n').filter(|line| !line.is_empty()).collect();
    for side in &sides {
        // In the order of the file, to the byte.
        let there = |line: &&str| side.split_terminator('\n').any(|found| found == *line);
        let expected: Vec<&str> = lines.iter().copied().filter(there).collect();
        assert_eq!(side.split_terminator('\n').collect::<Vec<_>>(), expected);
    }
    for n in 0..10 {
        let on = sides.each_ref().map(|side| side.to_lowercase().matches(&format!("card {n}")).count());
        assert!(on == [2, 0] || on == [0, 2], "{n}: {on:?}");
    }
    assert_eq!(counts.iter().sum::<u64>(), 20);
}

#[test]
fn nothing_is_written_over_and_no_side_is_empty() {
    let fixture = Fixture::new();
    fixture.write("rows.jsonl", rows());
    split(&fixture, "rows.jsonl", &["--eval-share", "0.4"]).done();
    let before = fixture.read("out/train.jsonl");
    let again = split(&fixture, "rows.jsonl", &["--eval-share", "0.6"]);
    assert_eq!(again.code, 5);
    assert!(again.stderr.contains("out/train.jsonl: something is already there"), "{}", again.stderr);
    assert_eq!(fixture.read("out/train.jsonl"), before);
    std::fs::remove_dir_all(fixture.path("out")).unwrap();
    for (share, code, named) in [
        ("0.0001", 3, "no row goes to eval.jsonl (rows: 20)\nhint: raise --eval-share"),
        ("0.9999", 3, "no row goes to train.jsonl (rows: 20)\nhint: lower --eval-share"),
        ("0", 2, "--eval-share: expected a share between 0 and 1, found 0"),
        ("-1", 2, "found -1"),
    ] {
        let refused = split(&fixture, "rows.jsonl", &["--eval-share", share]);
        assert_eq!(refused.code, code, "{}", refused.stderr);
        assert!(refused.stderr.contains(named), "{}", refused.stderr);
        assert!(!fixture.path("out").exists());
    }
}

#[test]
fn tables_are_written_as_rows_of_our_own() {
    let fixture = Fixture::new();
    let table: Vec<String> = (0..40).map(|n| format!("Peek {n},\"Sure,\nlean\"\n")).collect();
    fixture.write("rows.csv", format!("goal,target\n{}", table.concat()));
    split(&fixture, "rows.csv", &[]).done();
    let sides = fixture.read("out/train.jsonl") + &fixture.read("out/eval.jsonl");
    assert_eq!(sides.lines().count(), 40);
    assert!(sides.lines().all(|line| line.ends_with(",\"response\":\"Sure,\\nlean\"}")), "{sides}");
}
