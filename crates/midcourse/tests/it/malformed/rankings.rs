//! Files of rankings, and places to export their pairs to.

use std::fs;

use serde_json::{Value, json};

use super::{Cases, INPUT, STORAGE, USAGE};

/// Twelve harmless rankings; the tests change one of them.
const RANKINGS: &str = include_str!("../../../../../testdata/rankings.jsonl");
const EXPORT: [&str; 7] =
    ["export", "pairs", "@/rankings.jsonl", "--format", "trl", "--out", "@/pairs.jsonl"];

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    broken_lines(&mut cases);
    broken_rankings(&mut cases);
    no_rankings(&mut cases);
    no_place(&mut cases);
    lists_of_data_sets(&mut cases);
    options(&mut cases);
    cases
}

/// The rankings with another second line.
fn with_second_line(line: &str) -> String {
    let mut lines: Vec<&str> = RANKINGS.lines().collect();
    lines[1] = line;
    lines.join("\n") + "\n"
}

fn broken_lines(cases: &mut Cases) {
    let second = RANKINGS.lines().nth(1).unwrap();
    let cut = |share: usize| second.chars().take(second.chars().count() * share / 10).collect::<String>();
    let mut faults: Vec<(String, String)> =
        (1..10).map(|share| (format!("cut at {share} tenths"), cut(share))).collect();
    for (what, line) in [
        ("no JSON", "gossip"),
        ("a list", "[1,2]"),
        ("a number", "7"),
        ("another object", "{\"prompt\":\"How do I cheat at chess?\"}"),
        ("nested too deeply", &"[".repeat(500)),
    ] {
        faults.push((what.into(), line.into()));
    }
    for (what, line) in faults {
        cases.write("rankings.jsonl", with_second_line(&line));
        cases.add(what, &EXPORT, INPUT, &["@/rankings.jsonl:2: expected a ranking: ", "(column "]);
    }
    let mut bytes = with_second_line("?").into_bytes();
    let at = bytes.iter().position(|&byte| byte == b'?').unwrap();
    bytes[at] = 0xff;
    cases.write("rankings.jsonl", bytes);
    cases.add("no UTF-8", &EXPORT, INPUT, &["@/rankings.jsonl:1: expected a ranking: "]);
}

/// What is changed in a ranking, and what is said of it.
type Fault = (&'static str, fn(&mut Value), &'static str);

fn broken_rankings(cases: &mut Cases) {
    let faults: [Fault; 20] = [
        ("no set", |r| drop(r.as_object_mut().unwrap().remove("set")), "missing field `set`"),
        ("no prompt", |r| drop(r.as_object_mut().unwrap().remove("prompt")), "missing field `prompt`"),
        ("no answers", |r| drop(r.as_object_mut().unwrap().remove("answers")), "missing field `answers`"),
        ("a set that is none", |r| r["set"] = json!("gossip"), "unknown variant"),
        ("a prompt of text", |r| r["prompt"] = json!("Hello?"), "expected a sequence"),
        ("a role that is none", |r| r["prompt"][0]["role"] = json!("friend"), "unknown variant"),
        (
            "a message without content",
            |r| r["prompt"][0] = json!({"role": "user"}),
            "missing field `content`",
        ),
        ("content that is no text", |r| r["prompt"][0]["content"] = json!(5), "expected a string"),
        ("an empty prompt", |r| r["prompt"] = json!([]), "`prompt` must end with a message of the user"),
        (
            "a prompt that ends with an answer",
            |r| r["prompt"][0]["role"] = json!("assistant"),
            "`prompt` must end with a message of the user",
        ),
        ("answers that are none", |r| r["answers"] = json!([]), "at least 2 answers, found 0"),
        ("one answer", |r| r["answers"].as_array_mut().unwrap().truncate(1), "at least 2 answers, found 1"),
        ("the worst first", |r| r["answers"].as_array_mut().unwrap().reverse(), "best first, found rank "),
        ("a rank twice", |r| r["answers"][1]["rank"] = json!(0), "best first, found rank 0 after rank 0"),
        ("a rank below 0", |r| r["answers"][0]["rank"] = json!(-1), "invalid value"),
        (
            "a rank beyond all numbers",
            |r| {
                let last = r["answers"].as_array().unwrap().len() - 1;
                r["answers"][last]["rank"] = json!(u64::MAX);
            },
            "expected the rank of an answer, found 18446744073709551615",
        ),
        ("a kind that is none", |r| r["answers"][0]["kind"] = json!("correction_0"), "correction_1, …"),
        (
            "an answer without text",
            |r| r["answers"][1]["text"] = json!(" \n"),
            "the answer of rank 1 is empty",
        ),
        (
            "a prefix beyond the answer",
            |r| r["answers"][1]["prefix_chars"] = json!(99_999),
            "`prefix_chars` of rank 1 is 99999, of ",
        ),
        ("an unknown verdict", |r| r["answers"][0]["verdict"]["verdict"] = json!("maybe"), ""),
    ];
    for (what, fault, named) in faults {
        let mut ranking: Value = serde_json::from_str(RANKINGS.lines().nth(2).unwrap()).unwrap();
        if ranking["prompt"].as_array().unwrap().len() > 1 {
            ranking["prompt"].as_array_mut().unwrap().remove(0);
        }
        ranking["answers"][0]["verdict"] = json!({"judge": "rule", "verdict": "corrected", "phrase": null});
        fault(&mut ranking);
        cases.write("rankings.jsonl", with_second_line(&ranking.to_string()));
        cases.add(what, &EXPORT, INPUT, &["@/rankings.jsonl:2: ", named]);
    }
}

fn no_rankings(cases: &mut Cases) {
    cases.add("no file", &EXPORT, INPUT, &["@/rankings.jsonl: No such file"]);
    for (what, text) in
        [("an empty file", ""), ("blank lines", "\n \n\n"), ("one unfinished line", "{\"index\":0")]
    {
        cases.write("rankings.jsonl", text);
        cases.add(what, &EXPORT, INPUT, &["@/rankings.jsonl: expected rankings, found none"]);
    }
    let of_dir = ["export", "pairs", "@", "--format", "trl", "--out", "@/pairs.jsonl"];
    cases.add(
        "a directory without rankings",
        &of_dir,
        INPUT,
        &["@: expected rankings, found no rankings.jsonl there"],
    );
    cases.write("rankings.jsonl", RANKINGS);
    let no_tests = [&EXPORT[..], &["--split", "test", "--test-share", "0"]].concat();
    cases.add(
        "a split without pairs",
        &no_tests,
        INPUT,
        &["@/rankings.jsonl: expected pairs of the wanted split, found none"],
    );
    let second: Value = serde_json::from_str(RANKINGS.lines().next().unwrap()).unwrap();
    let mut twice = second.clone();
    twice["prompt"] = json!([{"role": "user", "content": "Hello."}, {"role": "user", "content": "Hello?"}]);
    cases.write("rankings.jsonl", twice.to_string());
    let args = ["export", "pairs", "@/rankings.jsonl", "--format", "llama-factory", "--out", "@/pairs.jsonl"];
    cases.add("nothing that fits", &args, INPUT, &["the format has no place for any of the 6 pairs"]);
}

fn no_place(cases: &mut Cases) {
    for (format, out, there) in [
        ("trl", "@/pairs.jsonl", "pairs.jsonl"),
        ("trl", "@/pairs.parquet", "pairs.parquet"),
        ("trl", "@/set", "set/data"),
        ("axolotl", "@/set", "set/test.jsonl"),
        ("llama-factory", "@/set", "set/train.jsonl"),
    ] {
        cases.write("rankings.jsonl", RANKINGS);
        fs::create_dir_all(cases.dir().join("set")).unwrap();
        cases.write(there, "mine");
        let args = ["export", "pairs", "@/rankings.jsonl", "--format", format, "--out", out];
        cases.add(
            format!("{there} is there"),
            &args,
            STORAGE,
            &[&format!("@/{there}: something is already there")],
        );
    }
    for (format, out, named) in [
        ("trl", "@/pairs.csv", ".jsonl or .parquet, or a directory"),
        ("axolotl", "@/pairs.parquet", "ends with .jsonl, or a directory"),
        ("llama-factory", "@/pairs.json", "ends with .jsonl, or a directory"),
    ] {
        cases.write("rankings.jsonl", RANKINGS);
        let args = ["export", "pairs", "@/rankings.jsonl", "--format", format, "--out", out];
        cases.add(format!("{format} to {out}"), &args, USAGE, &["--out: expected a name that ", named]);
    }
    for (format, out) in
        [("trl", "@/file/pairs.jsonl"), ("trl", "@/file/pairs.parquet"), ("axolotl", "@/file/set")]
    {
        cases.write("rankings.jsonl", RANKINGS);
        cases.write("file", "in the way");
        let args = ["export", "pairs", "@/rankings.jsonl", "--format", format, "--out", out];
        cases.add(format!("{out} under a file"), &args, STORAGE, &[out]);
    }
    cases.write("rankings.jsonl", RANKINGS);
    let args = ["export", "pairs", "@/rankings.jsonl", "--format", "trl", "--out", "@/none/pairs.jsonl"];
    cases.add("no directory", &args, STORAGE, &["@/none/pairs.jsonl: No such file"]);
}

fn lists_of_data_sets(cases: &mut Cases) {
    let args = ["export", "pairs", "@/rankings.jsonl", "--format", "llama-factory", "--out", "@/pairs.jsonl"];
    for (what, list, named) in [
        ("a list", "[]", "expected a JSON object with an entry a data set, found other JSON"),
        ("a text", "\"pairs\"", "expected a JSON object with an entry a data set, found other JSON"),
        ("cut short", "{\"identity\": {", "expected a JSON object with an entry a data set: "),
        ("nothing", "", "expected a JSON object with an entry a data set: "),
        ("an entry of the name", "{\"pairs\": {}}", "an entry `pairs` is already there"),
    ] {
        cases.write("rankings.jsonl", RANKINGS);
        cases.write("dataset_info.json", list);
        cases.add(format!("dataset_info.json: {what}"), &args, INPUT, &["@/dataset_info.json: ", named]);
    }
}

fn options(cases: &mut Cases) {
    for (flag, value, named) in [
        ("--split", "validation", "--split <SPLIT>"),
        ("--format", "alpaca", "--format <FORMAT>"),
        ("--test-share", "1", "expected a number from 0 to less than 1, found 1"),
        ("--test-share", "-0.5", "expected a number from 0 to less than 1, found -0.5"),
        ("--test-share", "NaN", "expected a number from 0 to less than 1, found NaN"),
    ] {
        let args = ["export", "pairs", "~/data.jsonl", "--out", "@/pairs.jsonl", flag, value];
        let args =
            if flag == "--format" { args.to_vec() } else { [&args[..], &["--format", "trl"]].concat() };
        cases.add(format!("{flag} {value}"), &args, USAGE, &[named]);
    }
}
