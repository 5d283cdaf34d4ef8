//! Runs and gates that cannot be compared: no run, unfinished, cut off, damaged, of a newer version; gates on nothing.

use std::fs;
use std::path::Path;

use super::{Cases, INPUT, STORAGE, USAGE};
use crate::fixtures;

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    finish(&cases);
    no_runs(&mut cases);
    damaged(&mut cases);
    benches(&mut cases);
    gates(&mut cases);
    cases
}

/// Makes a whole run.
fn finish(cases: &Cases) {
    let at = |name: &str| cases.root.path().join(name).display().to_string();
    let (model, data, out) = (format!("scripted:{}", at("script.jsonl")), at("data.jsonl"), at("run"));
    let args = [
        "eval",
        "--model",
        &model,
        "--data",
        &data,
        "--prefix-lengths",
        "5,10",
        "--paths",
        "2",
        "--out",
        &out,
    ];
    fixtures::run(&args).done();
}

/// A copy of the finished run in the next case, without some files.
fn copy(cases: &Cases, but: &[&str]) -> std::path::PathBuf {
    let run = cases.dir().join("other");
    fs::create_dir_all(&run).unwrap();
    for entry in fs::read_dir(cases.root.path().join("run")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if !but.iter().any(|but| name == *but) {
            fs::copy(&path, run.join(name)).unwrap();
        }
    }
    run
}

const COMPARE: [&str; 3] = ["compare", "~/run", "@/other"];

fn no_runs(cases: &mut Cases) {
    cases.add("no directory", &COMPARE, INPUT, &["@/other: no such directory"]);
    fs::create_dir_all(cases.dir().join("other")).unwrap();
    cases.add("an empty directory", &COMPARE, INPUT, &["@/other: expected a run of `eval` or `bench`"]);
    cases.write("other", "text");
    cases.add("a file", &COMPARE, INPUT, &["@/other: expected a run of `eval` or `bench`"]);
    fs::create_dir_all(cases.dir().join("other")).unwrap();
    cases.write("other/train.jsonl", "");
    cases.add(
        "a training",
        &COMPARE,
        INPUT,
        &["@/other: this is a training", "@/other/before @/other/after"],
    );
    copy(cases, &["scores.json"]);
    cases.add(
        "not ended",
        &COMPARE,
        INPUT,
        &["@/other: the run has not ended", "eval --resume --out @/other"],
    );
    cases.add("one run", &["compare", "~/run"], USAGE, &["[NAME=]DIR"]);
    cases.add(
        "one run by name",
        &["compare", "a=~/run", "a=~/run"],
        USAGE,
        &["a: ~/run and ~/run have both measured corr_mean"],
    );
    cases.add("no runs", &["compare"], USAGE, &["[NAME=]DIR"]);
}

fn damaged(cases: &mut Cases) {
    for name in ["samples.jsonl", "trials.jsonl", "judgements.jsonl"] {
        copy(cases, &[name]);
        cases.add(format!("no {name}"), &COMPARE, INPUT, &["@/other: expected the file", name]);
    }
    let changed = |cases: &Cases, name: &str, change: fn(String) -> String| {
        let path = copy(cases, &[]).join(name);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    };
    changed(cases, "judgements.jsonl", |text| text.replacen("{\"set\"", "{set", 1));
    cases.add("a damaged line", &COMPARE, STORAGE, &["@/other/judgements.jsonl:1: expected a record"]);
    changed(cases, "judgements.jsonl", |text| text.split_inclusive('\n').take(3).collect());
    cases.add("a file cut off", &COMPARE, INPUT, &["@/other: expected 6 judged paths with k = 5", "found 2"]);
    changed(cases, "scores.json", |text| text.replace("midcourse.scores/1", "midcourse.scores/9"));
    cases.add("a newer schema", &COMPARE, INPUT, &["@/other/scores.json", "midcourse.scores/9"]);
    changed(cases, "scores.json", |text| text[..text.len() / 2].to_owned());
    cases.add("half a file", &COMPARE, INPUT, &["@/other/scores.json"]);
    changed(cases, "manifest.json", |_| "{}".into());
    cases.add("a foreign manifest", &COMPARE, INPUT, &["@/other/manifest.json", "schema"]);
}

const SUMMARY: &str = r#"{"schema":"midcourse.bench-summary/1","tasks":[{"task":"piqa","kind":"general","identity":{},
    "n_items":2,"n_truncated":0,"metrics":[{"metric":"acc","better":"higher","value":0.5,"ci":[0,1],"n":2}]}]}"#;
const ITEMS: &str = concat!(
    r#"{"task":"piqa","item":"00","values":{"acc":1}}"#,
    "\n",
    r#"{"task":"piqa","item":"01","values":{"acc":0}}"#,
    "\n",
);

fn benches(cases: &mut Cases) {
    let bench = |dir: &Path, summary: &str, items: &str| {
        let files = [("summary.json", summary), ("items.jsonl", items)];
        fs::create_dir_all(dir).unwrap();
        files
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .for_each(|(name, text)| fs::write(dir.join(name), text).unwrap());
    };
    let other = |cases: &Cases| cases.dir().join("other");
    bench(&other(cases), "", ITEMS);
    cases.add(
        "a bench not ended",
        &COMPARE,
        INPUT,
        &["@/other: the run has not ended", "bench --resume --out @/other"],
    );
    bench(&other(cases), SUMMARY, "");
    cases.add("no items", &COMPARE, INPUT, &["@/other: expected the file items.jsonl"]);
    bench(&other(cases), SUMMARY, ITEMS.lines().next().map(|line| format!("{line}\n")).unwrap().as_str());
    cases.add("items cut off", &COMPARE, INPUT, &["@/other: expected 2 items of piqa", "found 1"]);
    bench(&other(cases), SUMMARY, &ITEMS.replace("\"acc\":0", "\"acc\":\"no\""));
    cases.add("a damaged item", &COMPARE, STORAGE, &["@/other/items.jsonl:2: expected a record"]);
    bench(&other(cases), &SUMMARY.replace("bench-summary/1", "synth-summary/1"), ITEMS);
    cases.add("a synthesis", &COMPARE, INPUT, &["@/other/summary.json", "midcourse.synth-summary/1"]);
    bench(&other(cases), SUMMARY, ITEMS);
    cases.add(
        "a bench and an evaluation",
        &COMPARE,
        INPUT,
        &["nothing can be compared: corr_mean: only the baseline has it", "the same data, mode, judge"],
    );
}

fn gates(cases: &mut Cases) {
    let gate = |gate: &'static str| ["compare", "~/run", "~/run", "--out", "@/out", "--gate", gate];
    for (text, named) in [
        ("corr_mean", "`corr_mean`: expected >=, <=, > or <"),
        ("corr_mean>=ten", "expected a number after >=, found `ten`"),
        ("corr_mean>=0,corr@5>", "`corr@5>` (gate 2 of 2)"),
        (">=0", "expected the name of a measure"),
        ("", "expected >=, <=, > or <"),
        ("corr_men>=0", "no run has a measure called `corr_men`"),
        ("hellaswag>=-1", "no run has a measure called `hellaswag`"),
    ] {
        cases.add(format!("--gate {text:?}"), &gate(text), USAGE, &["--gate", named]);
    }
    cases.add("measures are listed", &gate("x>0"), USAGE, &["the runs have corr_mean, corr"]);
}
