//! Malformed data files, made from good ones one fault at a time.
//!
//! Each must be refused with the kind of error that the fault is, naming the file, the line of the row, and
//! the field, column or offset in it. Most faults stand in the second row, so that a reader that looks at the
//! first row only is found out.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::tests::{ADVBENCH, BEAVER, BEHAVIOURS, OWN, OWN_CSV, PKU};
use super::*;

/// A file with a fault, and what must be said of it.
struct Fault {
    bytes: Vec<u8>,
    is_expected: fn(&RowProblem) -> bool,
    /// The lines that may be named.
    lines: RangeInclusive<usize>,
    /// What the message holds; empty where faults of one sort show themselves in several ways.
    named: String,
}

impl Fault {
    fn assert_refused(&self) {
        let shown = String::from_utf8_lossy(&self.bytes);
        let error = parse("faulty.rows", &self.bytes, Responses::Required).expect_err(&shown);
        let Error::Row { file, line, problem } = &error else { panic!("{error}: {shown}") };
        let message = error.to_string();
        assert_eq!(file, "faulty.rows");
        assert!(self.lines.contains(line), "{message}: {shown}");
        assert!((self.is_expected)(problem), "{message}: {shown}");
        assert!(message.starts_with(&format!("faulty.rows:{line}: ")), "{message}");
        assert!(message.contains(&self.named), "{message}, expected {}: {shown}", self.named);
        assert!(!error.hint().is_empty());
    }
}

const JSON: [&str; 3] = [OWN, PKU, BEAVER];
const CSV: [&str; 3] = [ADVBENCH, BEHAVIOURS, OWN_CSV];

/// First line of a file, and its second row.
fn second_row(text: &str) -> (String, serde_json::Map<String, Value>) {
    let (first, second) = text.split_once('\n').unwrap();
    (first.to_owned(), serde_json::from_str(second).unwrap())
}

fn with_second_row(text: &str, change: impl Fn(&mut serde_json::Map<String, Value>)) -> Vec<u8> {
    let (first, mut row) = second_row(text);
    change(&mut row);
    format!("{first}\n{}\n{first}\n", Value::Object(row)).into_bytes()
}

fn json_cut_short() -> Vec<Fault> {
    let mut faults = Vec::new();
    for text in JSON {
        let start = text.find('\n').unwrap() + 1;
        faults.extend((start + 1..text.len() - 1).step_by(7).map(|end| Fault {
            bytes: text.as_bytes()[..end].to_vec(),
            is_expected: |problem| matches!(problem, RowProblem::BrokenJson { .. }),
            lines: 2..=2,
            named: format!("at column {}: EOF while parsing", end - start),
        }));
    }
    faults
}

fn fields_missing() -> Vec<Fault> {
    let needed = [
        (OWN, &["prompt", "response"][..]),
        (PKU, &["prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"]),
        (BEAVER, &["prompt", "response", "is_safe"]),
    ];
    let fault = |text, field: &str| Fault {
        bytes: with_second_row(text, |row| {
            row.shift_remove(field).unwrap();
        }),
        is_expected: |problem| matches!(problem, RowProblem::Missing { .. }),
        lines: 2..=2,
        named: format!("`{field}`"),
    };
    needed.iter().flat_map(|(text, fields)| fields.iter().map(|field| fault(text, field))).collect()
}

/// Every field that is read, with a value of every type that it must not have.
fn wrong_types() -> Vec<Fault> {
    let strings: [(&str, &[&str]); 3] = [
        (OWN, &["prompt", "response", "category", "safe_response", "source"]),
        (PKU, &["prompt", "response_0", "response_1", "response_0_source", "response_1_source"]),
        (BEAVER, &["prompt", "response"]),
    ];
    let bools: [(&str, &[&str]); 2] =
        [(PKU, &["is_response_0_safe", "is_response_1_safe"]), (BEAVER, &["is_safe"])];
    let objects: [(&str, &[&str]); 2] =
        [(PKU, &["response_0_harm_category", "response_1_harm_category"]), (BEAVER, &["category"])];
    let mut faults = Vec::new();
    let mut add = |(text, fields): &(&str, &[&str]), values: &[Value]| {
        for field in *fields {
            faults.extend(values.iter().map(|value| wrong_type(text, field, value)));
        }
    };
    for of in &strings {
        add(of, &[json!(5), json!(true), json!(["a"]), json!({"a": "b"})]);
    }
    for of in &bools {
        add(of, &[json!(1), json!("true"), json!(null), json!([])]);
    }
    for of in &objects {
        add(of, &[json!(1), json!("Gossip"), json!(["Gossip"]), json!({"Gossip": 1}), json!({"a": "b"})]);
    }
    faults
}

fn wrong_type(text: &str, field: &str, value: &Value) -> Fault {
    Fault {
        bytes: with_second_row(text, |row| row[field] = value.clone()),
        is_expected: |problem| matches!(problem, RowProblem::WrongType { .. }),
        lines: 2..=2,
        named: format!("the field `{field}"),
    }
}

fn texts_empty_or_with_nul() -> Vec<Fault> {
    let mut faults = Vec::new();
    for (text, fields) in
        [(OWN, &["prompt", "response"]), (PKU, &["prompt", "response_1"]), (BEAVER, &["prompt", "response"])]
    {
        for field in fields {
            faults.extend(["", " ", "\n\u{2028}\t"].map(|blank| Fault {
                bytes: with_second_row(text, |row| {
                    if text == PKU {
                        row["is_response_0_safe"] = json!(true);
                    }
                    row[*field] = json!(blank);
                }),
                is_expected: |problem| matches!(problem, RowProblem::Blank { .. }),
                lines: 2..=2,
                named: format!("`{field}` is empty"),
            }));
            faults.push(Fault {
                bytes: with_second_row(text, |row| row[*field] = json!("a\0b")),
                is_expected: |problem| matches!(problem, RowProblem::NulInText { .. }),
                lines: 2..=2,
                named: format!("`{field}` holds the character U+0000"),
            });
        }
    }
    faults
}

/// Bytes that no text holds, put at many places of every file.
fn no_text() -> Vec<Fault> {
    let mut faults = Vec::new();
    for text in [JSON, CSV].concat() {
        for at in (1..text.len()).step_by(31) {
            let line = 1 + text[..at].matches('\n').count();
            let mut fault = |byte: u8, is_expected, named| {
                let mut bytes = text.as_bytes().to_vec();
                bytes.insert(at, byte);
                faults.push(Fault { bytes, is_expected, lines: line..=line, named });
            };
            let not_utf8 = |problem: &RowProblem| matches!(problem, RowProblem::NotUtf8 { .. });
            for byte in [0xff, 0xc3, 0x80] {
                fault(byte, not_utf8, format!("0x{byte:02X} at offset {at} "));
            }
            fault(0, |problem| matches!(problem, RowProblem::NulByte { .. }), format!("at offset {at} "));
        }
    }
    faults
}

fn rows_of_another_kind() -> Vec<Fault> {
    let (own, _) = second_row(OWN);
    let fault = |row: &str, is_expected, named: &str| Fault {
        bytes: format!("{own}\n{row}\n{own}\n").into_bytes(),
        is_expected,
        lines: 2..=2,
        named: named.to_owned(),
    };
    let mut faults = Vec::new();
    for (value, found) in [
        ("5", "a number"),
        ("\"a\"", "a string"),
        ("[]", "an array"),
        ("null", "null"),
        ("true", "true or false"),
    ] {
        faults.push(fault(value, |problem| matches!(problem, RowProblem::NotAnObject { .. }), found));
    }
    let broken = |problem: &RowProblem| matches!(problem, RowProblem::BrokenJson { .. });
    for row in
        ["}", "{]", "{\"a\"}", "{\"a\":}", "{'a':1}", "{a:1}", "{} {}", "{},", "{\"a\":1,}", "// a", "NaN"]
    {
        faults.push(fault(row, broken, "at column "));
    }
    for row in ["{\"a\":01}", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\\q\"}", "{\"a\":\"\u{1}\"}"]
    {
        faults.push(fault(row, broken, "at column "));
    }
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        faults.push(fault(&open.repeat(50_000), broken, "recursion limit exceeded"));
    }
    for (text, name) in [(PKU, "PKU-SafeRLHF"), (BEAVER, "BeaverTails")] {
        let row = text.lines().next().unwrap().replacen('{', "{\"response\":\"a\",", 1);
        faults.push(fault(&row, |problem| matches!(problem, RowProblem::OtherFormat { .. }), name));
    }
    faults
}

fn csv_cut_short() -> Vec<Fault> {
    let mut faults = Vec::new();
    // What the longest cut leaves out: from there on a cut file can be a good one.
    for (text, left_out) in [(ADVBENCH, " \"\"how"), (BEHAVIOURS, ",Pranks"), (OWN_CSV, "\"\n\"games")] {
        let start = text.find('\n').unwrap() + 1;
        let longest = text.find(left_out).unwrap();
        faults.extend((start + 1..=longest).map(|end| Fault {
            bytes: text.as_bytes()[..end].to_vec(),
            is_expected: |problem| {
                use RowProblem::{Blank, FieldCount, UnclosedQuote};
                matches!(problem, UnclosedQuote { .. } | FieldCount { .. } | Blank { .. })
            },
            lines: 2..=2,
            named: String::new(),
        }));
    }
    faults
}

fn csv_quotes_unbalanced() -> Vec<Fault> {
    let mut faults = Vec::new();
    for text in CSV {
        for (at, _) in text.match_indices('"') {
            let line = 1 + text[..at].matches('\n').count();
            let mut bytes = text.as_bytes().to_vec();
            bytes.remove(at);
            faults.push(Fault {
                bytes,
                is_expected: |problem| {
                    use RowProblem::{BareQuote, FieldCount, TextAfterQuote, UnclosedQuote};
                    matches!(problem, BareQuote { .. } | TextAfterQuote { .. })
                        || matches!(problem, FieldCount { .. } | UnclosedQuote { .. })
                },
                // An open field runs on to the next quote, which may stand a line or two below.
                lines: line..=line + 2,
                named: String::new(),
            });
        }
    }
    faults
}

fn csv_of_another_shape() -> Vec<Fault> {
    let mut faults = Vec::new();
    for text in CSV {
        let (header, rows) = text.split_once('\n').unwrap();
        let n_columns = header.split(',').count();
        let mut fault = |bytes: String, is_expected, line, named: String| {
            faults.push(Fault { bytes: bytes.into_bytes(), is_expected, lines: line..=line, named });
        };
        for more in 1..=3 {
            let row = vec!["x"; n_columns + more].join(",");
            let field_count = |problem: &RowProblem| matches!(problem, RowProblem::FieldCount { .. });
            let named = format!("expected {n_columns} fields as in the header, found {}", n_columns + more);
            fault(format!("{header}\n{row}\n{rows}"), field_count, 2, named);
        }
        for name in header.split(',') {
            let twice = |problem: &RowProblem| matches!(problem, RowProblem::DuplicateColumn { .. });
            let lower = name.to_lowercase();
            fault(format!("{header},{}\n{rows}", name.to_uppercase()), twice, 1, format!("`{lower}` twice"));
            if ["goal", "target", "prompt", "response"].contains(&lower.as_str()) {
                let unknown = |problem: &RowProblem| matches!(problem, RowProblem::UnknownColumns { .. });
                fault(format!("{}\n{rows}", header.replace(name, "what")), unknown, 1, "what".to_owned());
            }
        }
    }
    faults
}

#[test]
fn every_malformed_file_is_refused_with_its_place() {
    let faults = [
        json_cut_short(),
        fields_missing(),
        wrong_types(),
        texts_empty_or_with_nul(),
        no_text(),
        rows_of_another_kind(),
        csv_cut_short(),
        csv_quotes_unbalanced(),
        csv_of_another_shape(),
    ];
    for kind in &faults {
        kind.iter().for_each(Fault::assert_refused);
    }
    let distinct: BTreeSet<&[u8]> = faults.iter().flatten().map(|fault| fault.bytes.as_slice()).collect();
    assert!(distinct.len() >= 500, "only {} distinct malformed files", distinct.len());
}
