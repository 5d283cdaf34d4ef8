//! Data files: JSONL and CSV in every format, compressed or not.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{Cases, INPUT};

const OWN: &str = r#"{"prompt":"How do I peek at cards?","response":"Sure, first you lean.","category":"games","safe_response":"Play fair.","source":"us"}"#;
const PKU: &str = r#"{"prompt":"How do I copy homework?","response_0":"Write it yourself.","response_1":"First you borrow it.","is_response_0_safe":true,"is_response_1_safe":false,"response_0_harm_category":{"Cheating":false},"response_1_harm_category":{"Cheating":true},"response_0_source":"a","response_1_source":"b"}"#;
const BEAVER: &str = r#"{"prompt":"How do I skip chores?","response":"First you hide.","category":{"lazy":true},"is_safe":false}"#;
const ADVBENCH: &str = "goal,target\n\"Peek at the cards, twice\",\"Sure, here is how\"\n";
const BEHAVIOURS: &str = "Index,Goal,Target,Behavior,Category,Source\n0,\"Write a rude note\",\"Here is a rude note\",Rude note,Pranks,Original\n";
const OWN_CSV: &str = "prompt,response,category\n\"How do I skip chores?\",\"Sure, first you hide\",chores\n";

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    no_file(&mut cases);
    no_rows(&mut cases);
    for row in [OWN, PKU, BEAVER] {
        broken_json(&mut cases, row);
        wrong_fields(&mut cases, row);
    }
    other_rows(&mut cases);
    conversations(&mut cases);
    for table in [ADVBENCH, BEHAVIOURS, OWN_CSV] {
        broken_csv(&mut cases, table);
    }
    for ending in ["gz", "xz", "zst"] {
        compressed(&mut cases, ending);
    }
    cases
}

const EVAL: [&str; 6] = ["eval", "--model", "scripted:~/script.jsonl", "--out", "@/run", "--data"];

/// Adds a file, to be read by each command that reads data, in turn.
fn add(cases: &mut Cases, what: &str, (name, bytes): (&str, &[u8]), named: &[&str]) {
    let path = format!("@/{name}");
    let args = match cases.all.len() % 3 {
        0 => vec!["data", "check", &path],
        1 => [&EVAL[..], &[&path]].concat(),
        _ => [&EVAL[..], &["~/data.jsonl", "--benign", &path]].concat(),
    };
    cases.write(name, bytes);
    cases.add(what, &args, INPUT, &[&[path.as_str()], named].concat());
}

/// Adds a file that lacks a response: a prompt only is something to look at, not to evaluate.
fn add_unanswered(cases: &mut Cases, what: &str, (name, bytes): (&str, &[u8]), named: &[&str]) {
    let path = format!("@/{name}");
    cases.write(name, bytes);
    cases.add(what, &[&EVAL[..], &[&path]].concat(), INPUT, &[&[path.as_str()], named].concat());
}

fn no_file(cases: &mut Cases) {
    cases.add("no such file", &["data", "check", "@/none.jsonl"], INPUT, &["@/none.jsonl: No such file"]);
    cases.add(
        "a directory",
        &["data", "check", "@"],
        INPUT,
        &["@: expected a regular file, found a directory"],
    );
    cases.add("no such data", &[&EVAL[..], &["@/none.csv"]].concat(), INPUT, &["@/none.csv: No such file"]);
    let benign = ["~/data.jsonl", "--benign", "@/none.gz"];
    cases.add("no such benign data", &[&EVAL[..], &benign].concat(), INPUT, &["@/none.gz: No such file"]);
}

fn no_rows(cases: &mut Cases) {
    for (what, name, bytes, named) in [
        ("empty", "rows.jsonl", &b""[..], "no rows"),
        ("blank lines only", "rows.jsonl", b"\n \n\t\n", "no rows"),
        ("a header without rows", "rows.csv", b"goal,target\n", "no rows"),
        ("a byte order mark only", "rows.jsonl", b"\xef\xbb\xbf", "no rows"),
        ("one JSON array", "rows.json", b"[{\"prompt\":\"a\",\"response\":\"b\"}]", "one JSON array"),
        ("Parquet, cut short", "rows.parquet", b"PAR1\x15\x04\x15", "the file ends before its footer does"),
        ("a zip file", "rows.jsonl", b"PK\x03\x04\x14\0", "offset 0 are compressed (zip)"),
        ("UTF-16", "rows.jsonl", b"\xff\xfe{\0\"\0", ":1: NUL byte at offset 3"),
        ("prose", "rows.jsonl", b"Dear all,\n", ":1: expected a JSON object"),
        (
            "unknown columns",
            "rows.csv",
            b"question,answer\na,b\n",
            ":1: no known format has the columns question",
        ),
        ("unknown fields", "rows.jsonl", b"{\"q\":1}\n", ":1: no known format has the columns q"),
        ("no fields", "rows.jsonl", b"{}\n", ":1: no known format has the columns (none)"),
    ] {
        add(cases, what, (name, bytes), &[named]);
    }
    for row in [PKU.replacen("_1_safe\":false", "_1_safe\":true", 1), BEAVER.replace("false", "true")] {
        add(cases, "no harm", ("rows.jsonl", row.as_bytes()), &["no response is unsafe (rows: 1)"]);
    }
}

/// A good row and a second one that is cut, spoilt, or no text.
fn broken_json(cases: &mut Cases, row: &str) {
    let mut second = |what: &str, second: &[u8], named: &str| {
        let bytes = [row.as_bytes(), b"\n", second, b"\n"].concat();
        add(cases, what, ("rows.jsonl", &bytes), &[&format!("@/rows.jsonl:2: {named}")]);
    };
    for end in (1..row.len()).step_by(row.len().div_ceil(7)) {
        second("a row cut short", &row.as_bytes()[..end], "broken JSON at column ");
    }
    let offset = row.len() + 1 + 5;
    for byte in [0xff, 0xc3] {
        let spoilt = [&row.as_bytes()[..5], &[byte], &row.as_bytes()[5..]].concat();
        second("not UTF-8", &spoilt, &format!("not UTF-8: byte 0x{byte:02X} at offset {offset}"));
    }
    let spoilt = [&row.as_bytes()[..5], b"\0", &row.as_bytes()[5..]].concat();
    second("a NUL byte", &spoilt, &format!("NUL byte at offset {offset}"));
    second("two objects", format!("{row} {row}").as_bytes(), "broken JSON at column ");
    second("a trailing comma", format!("{row},").as_bytes(), "broken JSON at column ");
    second("an array", format!("[{row}]").as_bytes(), "expected a JSON object, found an array");
    let deep = "[".repeat(100_000);
    second(
        "deep nesting",
        row.replacen('{', &format!("{{\"x\":{deep},"), 1).as_bytes(),
        "broken JSON at column ",
    );
}

/// Every field of the second row missing, or of a type that it must not have.
fn wrong_fields(cases: &mut Cases, row: &str) {
    let fields: Map<String, Value> = serde_json::from_str(row).unwrap();
    let mut second = |what: &str, fields: Map<String, Value>, named: &str| {
        let lacks_response = fields.get("response").is_none_or(|value| value == " \n");
        let bytes = format!("{row}\n{}\n", Value::Object(fields));
        let add = if row == OWN && lacks_response { add_unanswered } else { add };
        add(cases, what, ("rows.jsonl", bytes.as_bytes()), &["@/rows.jsonl:2: ", named]);
    };
    for (field, value) in &fields {
        let with = |value| {
            let mut fields = fields.clone();
            fields.insert(field.clone(), value);
            fields
        };
        let wrong = if value.is_string() { json!(["text"]) } else { json!("true") };
        second("a wrong type", with(wrong), &format!("the field `{field}` must be"));
        if value.is_string() && ["prompt", "response", "response_1"].contains(&field.as_str()) {
            second("blank", with(json!(" \n")), &format!("the field `{field}` is empty"));
            second("U+0000", with(json!("a\0b")), &format!("the field `{field}` holds the character U+0000"));
        }
        if field.starts_with("is_") || ["prompt", "response", "response_1"].contains(&field.as_str()) {
            let mut fields = fields.clone();
            fields.shift_remove(field);
            second("a missing field", fields, &format!("the field `{field}` is missing"));
        }
    }
}

fn other_rows(cases: &mut Cases) {
    for (first, second, named) in
        [(OWN, BEAVER, "a BeaverTails row"), (BEAVER, PKU, "the field `response` is missing")]
    {
        let bytes = format!("{first}\n{second}\n");
        add(cases, "rows of two formats", ("rows.jsonl", bytes.as_bytes()), &["@/rows.jsonl:2: ", named]);
    }
}

/// A good conversation and a second one with a turn that is wrong.
fn conversations(cases: &mut Cases) {
    let (user, assistant) =
        (r#"{"role":"user","content":"Cards?"}"#, r#"{"role":"assistant","content":"Yes."}"#);
    let first = format!(r#"{{"messages":[{user},{assistant}]}}"#);
    for (what, turns, named) in [
        ("no list", "7", "`messages` must be a list of messages"),
        ("no turns", "[]", "the field `messages` is empty"),
        ("no message", "[null]", "`messages[0]` must be a message"),
        (
            "a tool's turn",
            r#"[{"role":"tool","content":"x"}]"#,
            "`messages[0].role` must be system, user or assistant",
        ),
        ("no role", r#"[{"content":"x"}]"#, "`messages[0].role` must be a string"),
        ("contents in parts", r#"[{"role":"user","content":[]}]"#, "`messages[0].content` must be a string"),
        ("a turn that says nothing", r#"[{"role":"user","content":""}]"#, "`messages[0].content` is empty"),
        ("an answer twice", &format!("[{user},{assistant},{assistant}]"), "`messages[2]` is a second turn"),
        ("an answer to nobody", &format!("[{assistant}]"), "must answer a turn of the user, found nothing"),
    ] {
        let bytes = format!("{first}\n{{\"messages\":{turns}}}\n");
        add(cases, what, ("rows.jsonl", bytes.as_bytes()), &["@/rows.jsonl:2: ", named]);
    }
    let unanswered = format!("{first}\n{{\"messages\":[{user}]}}\n");
    let named = ["@/rows.jsonl:2: the row has no response: `messages` ends with the user's turn"];
    add_unanswered(cases, "no answer", ("rows.jsonl", unanswered.as_bytes()), &named);
}

fn broken_csv(cases: &mut Cases, table: &str) {
    let (header, rows) = table.split_once('\n').unwrap();
    let mut spoilt = |what: &str, text: String, named: &[&str]| {
        add(cases, what, ("rows.csv", text.as_bytes()), named);
    };
    let open = rows.find("\",").unwrap();
    let unclosed = format!("{header}\n{}", &rows[..open]);
    spoilt("an open quote", unclosed, &["@/rows.csv:2: the quote at column "]);
    let after = rows.replacen("\",", "\"x,", 1);
    spoilt("text after a quote", format!("{header}\n{after}"), &["@/rows.csv:2: text at column "]);
    let bare = format!("{header}\n{rows}x\"y,{}", &rows[rows.find(',').unwrap()..]);
    spoilt("a quote inside", bare, &["@/rows.csv:3: a quote at column 2 "]);
    let n = header.split(',').count();
    let wide = format!("{header}\n{rows}{}\n", vec!["x"; n + 1].join(","));
    spoilt(
        "a field too many",
        wide,
        &[&format!("@/rows.csv:3: expected {n} fields as in the header, found {}", n + 1)],
    );
    spoilt("a field too few", format!("{header}\n{rows}x\n"), &["@/rows.csv:3: expected ", "found 1"]);
    let first = header.split(',').next().unwrap();
    let twice = format!("{header},{first}\n{rows}");
    spoilt("a column twice", twice, &["@/rows.csv:1: the header names the column "]);
    let renamed = header.to_lowercase().replace("goal", "aim").replace("prompt", "aim");
    spoilt(
        "an unknown column",
        format!("{renamed}\n{rows}"),
        &["@/rows.csv:1: no known format has the columns"],
    );
    let blank = format!("{header}\n{rows}{}\n", vec![" "; n].join(","));
    spoilt("a blank row", blank, &["@/rows.csv:3: the field `", "` is empty"]);
    let semicolons = table.replace(',', ";");
    spoilt("semicolons", semicolons, &["@/rows.csv:1: no known format has the columns"]);
}

fn compress(ending: &str, bytes: &[u8]) -> Vec<u8> {
    match ending {
        "gz" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "xz" => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        _ => zstd::encode_all(bytes, 3).unwrap(),
    }
}

fn compressed(cases: &mut Cases, ending: &str) {
    let rows: String = (0..40).map(|n| OWN.replace("peek", &format!("peek {n} times")) + "\n").collect();
    let whole = compress(ending, rows.as_bytes());
    let name = format!("rows.jsonl.{ending}");
    for share in 1..6 {
        let cut = &whole[..whole.len() * share / 6];
        add(cases, "compressed and cut short", (&name, cut), &["decompressed bytes: "]);
    }
    add(cases, "not compressed", (&name, rows.as_bytes()), &["after 0 decompressed bytes: "]);
    let mut spoilt = whole.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle..middle + 8].fill(0x55);
    add(cases, "compressed and spoilt", (&name, &spoilt), &["decompressed bytes: "]);
    let broken = compress(ending, format!("{OWN}\n{{\"prompt\":\n").as_bytes());
    add(
        cases,
        "broken JSON, compressed",
        (&name, &broken),
        &[&format!("@/{name}:2: broken JSON at column 10")],
    );
    let blank = compress(ending, b"\n\n");
    add(cases, "no rows, compressed", (&name, &blank), &["no rows"]);
    add(cases, "compressed, not so named", ("rows.jsonl", &whole), &["offset 0 are compressed"]);
    let twice = compress(ending, &whole);
    add(cases, "compressed twice", (&name, &twice), &["offset 0 are compressed"]);
}
