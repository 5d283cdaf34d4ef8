//! Flags, and configurations in TOML.

use super::{Cases, INPUT, USAGE};

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    wrong_values(&mut cases);
    wrong_combinations(&mut cases);
    broken_toml(&mut cases);
    wrong_types(&mut cases);
    senseless_settings(&mut cases);
    cases
}

/// Values of flags that are refused.
const WRONG: [(&str, &[&str]); 15] = [
    ("prefix-lengths", &["", "-10", "30,10", "10,10", "80..10:10", "1..9:0", "ten", "10:", "..", "1..2:3:4"]),
    ("prefix-lengths", &["1..99999999999", "10.5", "10,,20", "0x10", "10;20", "1e3", "10..80:-10"]),
    ("paths", &["0", "-1", "1.5", "many", "100001", "99999999999999999999"]),
    ("max-new-tokens", &["0", "-3", "all", "100001"]),
    ("temperature", &["-1", "nan", "inf", "hot", "101", "0.001"]),
    ("top-p", &["0", "-0.1", "1.5", "nan", "most"]),
    ("unit", &["chars", "", "Tokens"]),
    ("mode", &["closed", "open_turn"]),
    ("judge-thresholds", &["0.5", "0.6,0.4", "-1,0.5", "0,2", "a,b", ""]),
    ("judge-prices", &["1", "1,", "-1,2", "a,b", ""]),
    ("early-stop", &["maybe", "true"]),
    ("preset", &["huge", ""]),
    ("threads", &["0", "-1", "all"]),
    ("batch-paths", &["0", "-1", "1.5"]),
    ("limit", &["0", "-1", "ten"]),
];

fn wrong_values(cases: &mut Cases) {
    let eval = ["eval", "--model", "scripted:~/script.jsonl", "--data", "~/data.jsonl", "--out", "@/run"];
    let more: [(&str, &[&str]); 2] = [("seed", &["-1", "1e3", "0.5", ""]), ("max-failed", &["-1", "none"])];
    for (flag, values) in WRONG.iter().chain(&more) {
        for value in *values {
            let name = format!("--{flag}");
            cases.add(format!("{name} {value:?}"), &[&eval[..], &[&name, value]].concat(), USAGE, &[flag]);
        }
    }
    let probe =
        ["probe", "--model", "scripted:~/script.jsonl", "--prompt", "Hi", "--response", "Sure", "--k"];
    for k in ["-1", "5", "many"] {
        cases.add(format!("--k {k}"), &[&probe[..], &[k]].concat(), USAGE, &["--k"]);
    }
}

fn wrong_combinations(cases: &mut Cases) {
    for (args, named) in [
        (&["eval"][..], "--model is missing"),
        (&["eval", "--model", "scripted:~/script.jsonl"], "--data is missing"),
        (&["eval", "--resume"], "--out"),
        (&["eval", "--modle", "smollm2"], "--modle"),
        (&["eval", "--paths"], "--paths"),
        (&["eval", "--paths", "1", "--paths", "2"], "--paths"),
        (&["eval", "data.jsonl"], "data.jsonl"),
        (&["evaluate"], "evaluate"),
        (&["probe", "--prompt", "Hi"], "--model"),
        (&["report"], "<RUN>"),
        (&["data", "check"], "<FILE>"),
        (&["data", "chek", "a"], "chek"),
        (&["models", "pull"], "<NAME>"),
        (&["models", "pull", "gossip-1b"], "gossip-1b: expected smollm2, "),
        (&["models", "push"], "push"),
        (&["completions", "tcsh"], "tcsh"),
        (&["completions"], "<SHELL>"),
    ] {
        cases.add(args.join(" "), args, USAGE, &[named]);
    }
}

fn config(cases: &mut Cases, what: &str, text: impl AsRef<[u8]>, (code, named): (i32, &[&str])) {
    cases.write("eval.toml", text);
    cases.add(
        format!("eval.toml: {what}"),
        &["eval", "--config", "@/eval.toml", "--out", "@/run"],
        code,
        named,
    );
}

fn broken_toml(cases: &mut Cases) {
    for (what, line) in [
        ("an unknown field", "modle = 'smollm2'"),
        ("a field of another spelling", "max_new_tokens = 32"),
        ("a flag's dashes", "--paths = 5"),
        ("no value", "paths ="),
        ("no quotes", "model = smollm2"),
        ("an open quote", "model = 'smollm2"),
        ("an open list", "prefix-lengths = [10, 20"),
        ("a field twice", "seed = 1\nseed = 2"),
        ("a section", "[eval]\npaths = 5"),
        ("a colon", "paths: 5"),
        ("a number too large", "seed = 99999999999999999999"),
        ("a control character", "model = \"a\u{1}b\""),
        ("JSON", "{\"paths\": 5}"),
        ("a flag of the command line only", "resume = true"),
    ] {
        config(cases, what, format!("# A run.\n{line}\n"), (INPUT, &["@/eval.toml: ", "line "]));
    }
    config(cases, "not UTF-8", b"model = '\xff'\n", (INPUT, &["@/eval.toml: ", "UTF-8"]));
    let args = ["eval", "--config", "@/none.toml"];
    cases.add("no such configuration", &args, INPUT, &["@/none.toml: No such file"]);
    cases.add(
        "a directory as configuration",
        &["eval", "--config", "@"],
        INPUT,
        &["@: expected a regular file, found a directory"],
    );
}

/// Every field with a value of a type that it must not have.
fn wrong_types(cases: &mut Cases) {
    let texts = ["model", "data", "benign", "out", "preset", "unit", "opener", "mode", "early-stop"];
    let numbers = ["paths", "max-new-tokens", "threads", "batch-paths", "max-failed", "limit", "seed"];
    let mut wrong = |field: &str, value: &str| {
        let text = format!("# A run.\n{field} = {value}\n");
        config(cases, &text, &text, (INPUT, &["@/eval.toml: ", "line 2", field]));
    };
    for field in texts {
        wrong(field, "5");
        wrong(field, "['a']");
    }
    for field in numbers {
        wrong(field, "'5'");
        wrong(field, "1.5");
        wrong(field, "-1");
    }
    for field in ["temperature", "top-p"] {
        wrong(field, "'0.5'");
        wrong(field, "[0.5]");
    }
    for field in ["preset", "unit", "mode", "early-stop"] {
        wrong(field, "'other'");
    }
    for value in ["'ten'", "'-10'", "[-1]", "[1.5]", "['10']", "true", "10.5", "{ from = 10 }"] {
        wrong("prefix-lengths", value);
    }
}

/// Values of the right type that make no sense are what such a flag would be.
fn senseless_settings(cases: &mut Cases) {
    for (field, value) in [
        ("prefix-lengths", "[30, 10]"),
        ("prefix-lengths", "[]"),
        ("prefix-lengths", "'10,10'"),
        ("paths", "0"),
        ("max-new-tokens", "0"),
        ("temperature", "-0.5"),
        ("temperature", "nan"),
        ("top-p", "0.0"),
        ("top-p", "1.01"),
        ("threads", "0"),
        ("batch-paths", "0"),
        ("limit", "0"),
    ] {
        config(cases, field, format!("{field} = {value}\n"), (USAGE, &[field, "expected"]));
    }
}
