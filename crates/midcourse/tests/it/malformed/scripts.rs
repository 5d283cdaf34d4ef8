//! Scripts of the scripted engine, and names of models that name nothing.

use super::{Cases, INPUT, USAGE};

const GOOD: &str = r#"{"match":"","continuations":["go on."]}"#;
const EVAL: [&str; 7] = ["eval", "--data", "~/data.jsonl", "--out", "@/run", "--model", ""];

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    broken_scripts(&mut cases);
    names(&mut cases);
    cases
}

fn eval(model: &str) -> Vec<&str> {
    [&EVAL[..6], &[model]].concat()
}

fn broken_scripts(cases: &mut Cases) {
    let faults = [
        ("cut short", &GOOD[..20], "EOF while parsing"),
        ("no JSON", "go on.", "expected value"),
        ("an array", "[]", "expected"),
        ("a number as match", r#"{"match":1,"continuations":["a"]}"#, "invalid type: integer `1`"),
        ("no match", r#"{"continuations":["a"]}"#, "missing field `match`"),
        ("no continuations", r#"{"match":"a"}"#, "missing field `continuations`"),
        ("a text as continuations", r#"{"match":"a","continuations":"b"}"#, "expected a sequence"),
        ("a number as continuation", r#"{"match":"a","continuations":[1]}"#, "expected a string"),
        ("an unknown field", r#"{"match":"a","continuations":["b"],"weight":1}"#, "unknown field `weight`"),
        (
            "no continuation",
            r#"{"match":"a","continuations":[]}"#,
            "field continuations: expected at least one",
        ),
        ("two rows on a line", r#"{"match":"a","continuations":["b"]}{}"#, "trailing characters"),
    ];
    for (what, row, named) in faults {
        for (line, text) in [(1, format!("{row}\n{GOOD}\n")), (3, format!("{GOOD}\n\n{row}\n"))] {
            cases.write("script.jsonl", text);
            let named = ["@/script.jsonl: ", &format!("line {line}: "), named];
            cases.add(format!("{what}, line {line}"), &eval("scripted:@/script.jsonl"), INPUT, &named);
        }
    }
    for (what, bytes, named) in [
        ("empty", &b""[..], "expected at least one line, found none"),
        ("blank", b"\n\n", "expected at least one line, found none"),
        ("not UTF-8", b"{\"match\":\"\xff\"}", "valid UTF-8"),
    ] {
        cases.write("script.jsonl", bytes);
        cases.add(what, &eval("scripted:@/script.jsonl"), INPUT, &["@/script.jsonl: ", named]);
    }
    cases.add("no script", &eval("scripted:@/none.jsonl"), INPUT, &["@/none.jsonl: No such file"]);
    cases.add(
        "a directory as script",
        &eval("scripted:@"),
        INPUT,
        &["@: expected a regular file, found a directory"],
    );
}

fn names(cases: &mut Cases) {
    cases.add(
        "a model that is not pulled",
        &eval("smollm2"),
        INPUT,
        &["smollm2: ", "midcourse models pull smollm2"],
    );
    cases.add("no such model", &eval("@/none.gguf"), INPUT, &["@/none.gguf: expected a model's name"]);
    cases.add("no name", &eval(""), INPUT, &["expected a model's name"]);
    for name in ["hf:", "hf:name", "hf:org/../name", "hf:org/name/weights.bin"] {
        cases.add(name, &eval(name), USAGE, &[name, "expected hf:ORG/NAME"]);
    }
}
