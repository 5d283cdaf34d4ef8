//! Flags, and configurations in TOML.

use super::{Cases, INPUT, USAGE};

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    wrong_values(&mut cases);
    wrong_combinations(&mut cases);
    broken_toml(&mut cases);
    wrong_types(&mut cases);
    senseless_settings(&mut cases);
    addresses(&mut cases);
    endpoints(&mut cases);
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

/// Addresses of endpoints.
fn addresses(cases: &mut Cases) {
    let eval = ["eval", "--data", "~/data.jsonl", "--out", "@/run", "--model"];
    for (model, named) in [
        (
            "http://127.0.0.1:8000",
            "the address of an API, such as http://HOST:PORT/v1, found one without a path",
        ),
        ("http://127.0.0.1:0/v1#m", "a port from 1 to 65535"),
        ("http://127.0.0.1:99999/v1#m", "a port from 1 to 65535"),
        ("http:///v1#m", "an address"),
        ("http://127.0.0.1:8000/v1?key=1#m", "without a query"),
        ("http://127.0.0.1:8000/v1#", "a model's name after http://127.0.0.1:8000/v1#"),
        ("http://127.0.0.1:8000/v1#a b", "a model's name after"),
        ("ftp://127.0.0.1/v1#m", "begins with http:// or https://"),
    ] {
        cases.add(
            model,
            &[&eval[..], &[model]].concat(),
            USAGE,
            &["the address of an endpoint: expected", named],
        );
    }
}

/// Options of endpoints. No server is asked.
fn endpoints(cases: &mut Cases) {
    let eval = ["eval", "--data", "~/data.jsonl", "--out", "@/run", "--model"];
    let at = [&eval[..], &["http://127.0.0.1:1/v1#m"]].concat();
    for (flag, value, named) in [
        ("--replica", "127.0.0.1:2/v1", "the address of an endpoint: expected"),
        ("--replica", "http://127.0.0.1:2/v1#m", "the address of an endpoint: expected"),
        ("--prefill", "echo", "--prefill"),
        ("--concurrency", "0", "--concurrency: expected 1 to 1024, found 0"),
        ("--concurrency", "1025", "--concurrency: expected 1 to 1024, found 1025"),
        ("--concurrency", "-1", "--concurrency"),
        ("--timeout", "0", "--timeout: expected 1 to 86400, found 0"),
        ("--timeout", "1.5", "--timeout"),
        ("--prices", "1", "expected two prices such as 0.15,0.60"),
        ("--prices", "1,x", "expected two prices"),
        ("--prices", "nan,1", "expected two prices"),
        ("--chat-template", "smollm2", "--chat-template: no tokenizer is at hand"),
    ] {
        let args = [&at[..], &[flag, value]].concat();
        cases.add(format!("{flag} {value}"), &args, USAGE, &[named]);
    }
    for (tokenizer, code, named) in [
        ("@/none.gguf", INPUT, "@/none.gguf: expected a model's name, a .gguf file or a directory"),
        ("~/data.jsonl", INPUT, "~/data.jsonl"),
        ("scripted:@/none.jsonl", INPUT, "@/none.jsonl: No such file"),
        ("http://127.0.0.1:1/v1#m", USAGE, "expected a model with files, found an endpoint"),
        ("none", USAGE, "--unit tokens: no tokenizer of http://127.0.0.1:1/v1#m is at hand"),
    ] {
        // What is planned is planned without a server.
        let args = [&at[..], &["--dry-run", "--tokenizer", tokenizer]].concat();
        cases.add(format!("--tokenizer {tokenizer}"), &args, code, &[named]);
    }
    let script = [&eval[..], &["scripted:~/script.jsonl"]].concat();
    for (flag, value) in
        [("--replica", "http://127.0.0.1:2/v1"), ("--prefill", "auto"), ("--tokenizer", "smollm2")]
    {
        let named = format!("{flag}: scripted:~/script.jsonl is no endpoint");
        cases.add(
            format!("{flag} without an endpoint"),
            &[&script[..], &[flag, value]].concat(),
            USAGE,
            &[&named],
        );
    }
}
