//! Run directories: damaged, of a newer version, of another run, in use, or no place to write to.

use std::fs::{self, File};
use std::path::Path;

use super::{Cases, INPUT, STORAGE};
use crate::fixtures;

const EVAL: [&str; 9] = [
    "eval",
    "--model",
    "scripted:~/script.jsonl",
    "--data",
    "~/data.jsonl",
    "--prefix-lengths",
    "5,10",
    "--paths",
    "2",
];
const RESUME: [&str; 4] = ["eval", "--resume", "--out", "@/run"];
const REPORT: [&str; 2] = ["report", "@/run"];

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    let finished = cases.root.path().join("finished");
    finish(&cases, &finished);
    occupied(&mut cases, &finished);
    no_place(&mut cases);
    no_run(&mut cases);
    damaged_records(&mut cases, &finished);
    damaged_files(&mut cases, &finished);
    other_settings(&mut cases, &finished);
    other_inputs(&mut cases, &finished);
    cases
}

/// Makes a whole run.
fn finish(cases: &Cases, out: &Path) {
    let root = cases.root.path().display().to_string();
    let args = EVAL.map(|arg| arg.replace('~', &root));
    let out = out.display().to_string();
    fixtures::run(&[&args[..], &["--out".to_owned(), out]].concat()).done();
}

/// Puts a copy of the finished run into the next case and changes one of its files.
fn copy(cases: &Cases, finished: &Path, name: &str, change: impl FnOnce(String) -> String) {
    let run = cases.dir().join("run");
    fs::create_dir_all(&run).unwrap();
    for entry in fs::read_dir(finished).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, run.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(run.join(name), change(fs::read_to_string(run.join(name)).unwrap())).unwrap();
}

fn occupied(cases: &mut Cases, finished: &Path) {
    let anew = [&EVAL[..], &["--out", "@/run"]].concat();
    copy(cases, finished, "run.toml", |text| text);
    cases.add("a finished run", &anew, STORAGE, &["@/run: a run is already there", "--resume"]);
    fs::create_dir_all(cases.dir().join("run")).unwrap();
    cases.write("run/notes.txt", "mine");
    cases.add("somebody's files", &anew, STORAGE, &["@/run: a run is already there"]);
    for (what, args) in [("eval", &anew[..]), ("resume", &RESUME), ("report", &REPORT)] {
        copy(cases, finished, "run.toml", |text| text);
        let lock = cases.dir().join("run/.lock");
        fs::write(&lock, "4711").unwrap();
        let file = File::open(&lock).unwrap();
        file.lock().unwrap();
        // Held until the tests end.
        std::mem::forget(file);
        cases.add(
            format!("{what} in use"),
            args,
            STORAGE,
            &["@/run: another process (pid 4711) is using this run"],
        );
    }
}

fn no_place(cases: &mut Cases) {
    for out in ["@/file/run", "@/file", "@/file/a/b/c"] {
        cases.write("file", "in the way");
        cases.add(format!("--out {out}"), &[&EVAL[..], &["--out", out]].concat(), STORAGE, &["@/file"]);
    }
    let long = format!("@/{}", "x".repeat(300));
    cases.add("a name too long", &[&EVAL[..], &["--out", &long]].concat(), STORAGE, &["@/xxx"]);
    cases.add(
        "the kernel's directory",
        &[&EVAL[..], &["--out", "/proc/run"]].concat(),
        STORAGE,
        &["/proc/run"],
    );
    fs::create_dir_all(cases.dir().join("run/.lock")).unwrap();
    cases.add("a directory as lock", &[&EVAL[..], &["--out", "@/run"]].concat(), STORAGE, &["@/run/.lock: "]);
}

fn no_run(cases: &mut Cases) {
    cases.add("a report of nothing", &REPORT, INPUT, &["@/run: expected the directory of a run"]);
    cases.write("run", "a file");
    cases.add("a report of a file", &REPORT, INPUT, &["@/run: expected the directory of a run"]);
    fs::create_dir_all(cases.dir().join("run")).unwrap();
    cases.add("a report of an empty directory", &REPORT, INPUT, &["@/run: expected the directory of a run"]);
    cases.add("resuming nothing", &RESUME, STORAGE, &["@/run: nothing to resume there"]);
}

/// Replaces a line of a record file; lines count from 1.
fn line(text: &str, number: usize, change: impl Fn(&str) -> String) -> String {
    let changed = |(at, line): (usize, &str)| if at + 1 == number { change(line) } else { line.to_owned() };
    text.lines().enumerate().map(changed).map(|line| line + "\n").collect()
}

/// What is done to a line of a record file.
type LineFault = fn(&str) -> String;
/// What is done to a file.
type FileFault = fn(String) -> String;

fn damaged_records(cases: &mut Cases, finished: &Path) {
    let faults: [(&str, LineFault); 6] = [
        ("cut short", |line| line[..line.len() / 2].to_owned()),
        ("no JSON", |_| "gossip".to_owned()),
        ("zeros", |line| "\0".repeat(line.len())),
        ("a field missing", |line| line.replacen("\"set\":\"harmful\",", "", 1)),
        ("another type", |line| line.replacen("\"k\":", "\"k\":\"5\",\"was\":", 1)),
        ("an unknown set", |line| line.replacen("harmful", "gossip", 1)),
    ];
    for (what, fault) in faults {
        for number in [1, 4] {
            copy(cases, finished, "trials.jsonl", |text| line(&text, number, fault));
            let named = format!("@/run/trials.jsonl:{number}: expected a record: ");
            cases.add(format!("trials.jsonl:{number}: {what}"), &RESUME, STORAGE, &[&named]);
        }
        for name in ["trials.jsonl", "judgements.jsonl", "samples.jsonl"] {
            if (name, what) == ("samples.jsonl", "another type") {
                continue; // Samples have no field `k`.
            }
            copy(cases, finished, name, |text| line(&text, 2, fault));
            let named = format!("@/run/{name}:2: expected a record: ");
            cases.add(format!("{name}:2: {what}, reported"), &REPORT, STORAGE, &[&named]);
        }
    }
    for (what, from, to) in [
        ("a sample that is not planned", "\"sample\":\"", "\"sample\":\"x"),
        ("a length that is not planned", "\"k\":5,", "\"k\":6,"),
        ("a path that is not planned", "\"path\":1,", "\"path\":7,"),
        ("a path beyond all numbers", "\"path\":1,", "\"path\":18446744073709551615,"),
        ("another seed", "\"seed\":", "\"seed\":1"),
    ] {
        copy(cases, finished, "trials.jsonl", |text| line(&text, 2, |line| line.replacen(from, to, 1)));
        cases.add(what, &RESUME, STORAGE, &["@/run/trials.jsonl:2: "]);
    }
}

fn damaged_files(cases: &mut Cases, finished: &Path) {
    let faults: [(&str, FileFault, &str); 6] = [
        ("empty", |_| String::new(), "line 1 column 0"),
        ("cut short", |text| text[..text.len() / 2].to_owned(), "line "),
        ("a newer schema", |text| text.replacen("/1\"", "/2\"", 1), "field schema: expected midcourse."),
        ("no schema", |text| text.replacen("\"schema\"", "\"name\"", 1), "field schema: expected midcourse."),
        (
            "a field of another type",
            |text| text.replacen("\"judge\": \"rule\"", "\"judge\": 5", 1),
            "expected a string",
        ),
        ("a field missing", |text| text.replacen("\"judge\"", "\"jugde\"", 1), "missing field `judge`"),
    ];
    for (what, fault, named) in faults {
        copy(cases, finished, "manifest.json", fault);
        cases.add(format!("manifest.json: {what}"), &RESUME, INPUT, &["@/run/manifest.json: ", named]);
        for name in ["manifest.json", "scores.json"] {
            copy(cases, finished, name, fault);
            let place = format!("@/run/{name}: ");
            cases.add(format!("{name}: {what}, reported"), &REPORT, INPUT, &[&place, named]);
        }
    }
    for (what, text) in
        [("an unknown field", "modle = 'x'\n"), ("cut short", "model = 'scrip"), ("a type", "paths = '2'\n")]
    {
        copy(cases, finished, "run.toml", |_| text.to_owned());
        cases.add(format!("run.toml: {what}"), &RESUME, INPUT, &["@/run/run.toml: ", "line 1"]);
    }
    copy(cases, finished, "scores.json", |text| text);
    fs::remove_file(cases.dir().join("run/scores.json")).unwrap();
    cases.add("a report of a run that has not ended", &REPORT, INPUT, &["@/run/scores.json: No such file"]);
}

fn other_settings(cases: &mut Cases, finished: &Path) {
    for (flag, value, named) in [
        ("model", "scripted:@/other.jsonl", "model = "),
        ("data", "@/other.jsonl", "data = "),
        ("benign", "~/data.jsonl", "benign = none (now "),
        ("prefix-lengths", "5,11", "prefix-lengths = [5, 10] (now [5, 11])"),
        ("unit", "words", "unit = \"tokens\" (now \"words\")"),
        ("opener", "random", "opener = \"none\" (now \"random\")"),
        ("mode", "new-turn", "mode = \"open-turn\" (now \"new-turn\")"),
        ("system", "Be kind.", "system = \"default\" (now \"Be kind.\")"),
        ("thinking", "empty", "thinking = \"off\" (now \"empty\")"),
        ("date", "2024-02-09", " (now \"2024-02-09\")"),
        ("rewritten-prefix", "allowed", "rewritten-prefix = \"refused\" (now \"allowed\")"),
        ("chat-template", "builtin:chatml", "chat-template = none (now \"builtin:chatml\")"),
        ("paths", "3", "paths = 2 (now 3)"),
        ("max-new-tokens", "33", "max-new-tokens = 32 (now 33)"),
        ("temperature", "0.9", "temperature = 0.8 (now 0.9)"),
        ("top-p", "0.8", "top-p = 0.7 (now 0.8)"),
        ("early-stop", "on", "early-stop = \"off\" (now \"on\")"),
        ("limit", "1", "limit = none (now 1)"),
        ("seed", "1", "seed = 0 (now 1)"),
    ] {
        copy(cases, finished, "run.toml", |text| text);
        let name = format!("--{flag}");
        let args = [&RESUME[..], &[&name, value]].concat();
        let named = ["@/run/run.toml: the run there was made with ", named];
        cases.add(format!("resumed with another {name}"), &args, STORAGE, &named);
    }
}

/// The same names, but other contents than when the run began.
fn other_inputs(cases: &mut Cases, finished: &Path) {
    for (name, named) in [("data.jsonl", "other rows in a data file"), ("script.jsonl", "another model file")]
    {
        let root = cases.root.path().to_owned();
        let dir = cases.dir();
        let moved = |text: String| {
            text.replace(&root.join(name).display().to_string(), &dir.join(name).display().to_string())
        };
        copy(cases, finished, "run.toml", moved);
        let text = fs::read_to_string(root.join(name)).unwrap();
        cases.write(name, text.replace("board game", "card game"));
        cases.add(
            format!("another {name}"),
            &RESUME,
            STORAGE,
            &["@/run: the run there was made with ", named],
        );
    }
}
