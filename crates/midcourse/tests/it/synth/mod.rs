//! `midcourse synth`: from rows to a directory of rankings, whatever comes between.

mod endpoint;
pub(crate) mod full_disk;
mod inputs;
pub(crate) mod killed;
mod policies;
mod refused;
mod same;
mod shards;
mod whole;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixtures::{self, Fixture, Output};
use crate::tiny_model::Noise;

/// The record files.
const RECORDS: [&str; 4] = ["rankings.jsonl", "dropped.jsonl", "candidates.jsonl", "judgements.jsonl"];
/// Prompts of the fixture's files.
const N_HARMFUL: usize = 8;
const N_BENIGN: usize = 2;
/// The harmless prompt that has no response, and what the script answers to it.
const UNANSWERED: &str = "How can I kill time on a train?";
const ANSWER: &str = "Bring a book, a puzzle or music. Look out often, and count bridges. Sleep a little, if you can. \
    Then share your cake.";
const SAFE: &str = "I'm sorry, but I can't help you cheat. Play fair instead.";
/// What the script goes on with wherever an answer has begun.
const TURNS: [&str; 3] = [
    " cheating is unfair, and I can't help you.",
    " it is not right, so let us play fair.",
    " I'm sorry, but I can't help. Be honest.",
];

/// A question that is like no other.
fn prompt(i: usize) -> String {
    let mut noise = Noise::new(i as u64);
    let mut word = || (0..10).map(|_| char::from(b'a' + noise.below(26) as u8)).collect::<String>();
    format!("How do I win at {} {} unfairly?", word(), word())
}

/// A response of nine clauses.
fn response(i: usize) -> String {
    format!(
        "Well, friend {i}, first wait until the others look away from the table, then move your piece two fields on. \
         Talk about the weather, and keep smiling all the time. If somebody asks, say that you rolled a seven. \
         Then put the dice away, and offer cake to everyone."
    )
}

/// Rows as JSONL.
fn jsonl(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| row.to_string() + "\n").collect()
}

/// A row of the harmful file: every second one has a safe response.
fn row(i: usize) -> Value {
    let mut row = json!({"prompt": prompt(i), "response": response(i), "category": "games"});
    if i.is_multiple_of(2) {
        row["safe_response"] = SAFE.into();
    }
    row
}

/// A script line: `match`, and what a path may say there.
fn says(within: &str, continuations: &[&str]) -> Value {
    json!({"match": within, "continuations": continuations})
}

/// Eight harmful rows, two harmless ones, and a script that turns wherever it goes on.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.write("data.jsonl", jsonl((0..N_HARMFUL).map(row)));
    let helpful = "Take a good book, read one chapter a day, and play what you have read. Note your losses, and \
        look at them again. After a month, play with someone who is better than you. In the end, it is practice \
        that counts.";
    let benign = [
        json!({"prompt": "How do I learn the openings of a board game?", "response": helpful}),
        json!({"prompt": UNANSWERED}),
    ];
    fixture.write("benign.jsonl", jsonl(benign));
    let open = format!("{UNANSWERED}<|end|>\n<|start|>assistant\n");
    // The question stands in the conversation when the answer is cut too.
    let cut = format!("{open}Bring a book");
    fixture.write("script.jsonl", jsonl([says(&cut, &TURNS), says(&open, &[ANSWER]), says("", &TURNS)]));
    fixture
}

/// A synthesis of the fixture's files into `out`, as arguments; `more` may name any option but --out.
fn synth(fixture: &Fixture, out: &str, more: &[&str]) -> Vec<String> {
    let at = |name: &str| fixture.path(name).display().to_string();
    let model = format!("scripted:{}", at("script.jsonl"));
    let (data, benign, out) = (at("data.jsonl"), at("benign.jsonl"), at(out));
    let defaults = [["--model", &model], ["--data", &data], ["--benign", &benign]];
    let is_alone = more.contains(&"--resume");
    let defaults = defaults.into_iter().filter(|[flag, _]| !is_alone && !more.contains(flag)).flatten();
    let given = ["synth", "--out", &out].into_iter().chain(defaults).chain(more.iter().copied());
    given.map(str::to_owned).collect()
}

/// Runs a synthesis to its end.
fn run(fixture: &Fixture, out: &str, more: &[&str]) -> Output {
    fixtures::run(&synth(fixture, out, more)).done()
}

/// Runs a command that must be refused, with one message and a hint.
pub(crate) fn refused(args: &[String], code: i32, named: &[&str]) {
    let Output { code: found, stdout, stderr } = fixtures::run(args);
    let n_errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
    let hint = stderr.lines().next_back().and_then(|line| line.strip_prefix("hint: "));
    let is_clear = n_errors == 1 && hint.is_some_and(|hint| !hint.is_empty()) && stdout.is_empty();
    assert!(
        found == code && is_clear && !stderr.contains("panicked"),
        "{code} of {args:?}: {found} {stderr}"
    );
    for named in named {
        assert!(stderr.contains(named), "{named:?} of {args:?}: {stderr}");
    }
}

/// The records of a file.
fn records(fixture: &Fixture, name: &str) -> Vec<Value> {
    fixture.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json_of(fixture: &Fixture, name: &str) -> Value {
    serde_json::from_str(&fixture.read(name)).unwrap()
}

/// The answer of a kind, if the ranking has it.
fn answer<'a>(ranking: &'a Value, kind: &str) -> Option<&'a Value> {
    ranking["answers"].as_array().unwrap().iter().find(|answer| answer["kind"] == kind)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Reasons why prompts were dropped, with the places of the prompts.
fn dropped(fixture: &Fixture, out: &str) -> Vec<(usize, String)> {
    let records = records(fixture, &format!("{out}/dropped.jsonl"));
    let reason =
        |dropped: &Value| (dropped["index"].as_u64().unwrap() as usize, text(&dropped["reason"]).to_owned());
    records.iter().map(reason).collect()
}

/// Everything that must be the same whenever the same is made: records, summary and pairs.
fn made(fixture: &Fixture, out: &str) -> BTreeMap<String, Vec<u8>> {
    let parquet = names_in(&fixture.path(out).join("data")).into_iter().map(|name| format!("data/{name}"));
    let names = RECORDS.map(str::to_owned).into_iter().chain(["summary.json".to_owned()]).chain(parquet);
    let read = |name: String| (name.clone(), std::fs::read(fixture.path(out).join(name)).unwrap());
    names.map(read).collect()
}

/// Compares what was made without printing all of it.
fn assert_same(fixture: &Fixture, out: &str, whole: &str) {
    let (found, expected) = (made(fixture, out), made(fixture, whole));
    assert!(found.keys().eq(expected.keys()), "{out}: {:?}", found.keys());
    for (name, bytes) in &found {
        assert!(*bytes == expected[name], "{out}/{name} is not that of {whole}");
    }
    assert_eq!(names_in(&fixture.path(out)), names_in(&fixture.path(whole)), "{out}");
}

pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(name).collect();
    names.sort();
    names
}
