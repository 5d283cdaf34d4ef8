//! What is said of files that [`parse`] refuses, word for word.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};

use super::tests::BEAVER;
use super::{Responses, parse};

fn check_error(name: &str, bytes: impl AsRef<[u8]>, expected: &Expect) {
    let error = parse(name, bytes.as_ref(), Responses::Required).unwrap_err();
    expected.assert_eq(&format!("{error}\nhint: {}", error.hint()));
}

#[test]
fn says_which_columns_were_found_and_which_are_known() {
    let rows = "{\"question\":\"a\",\"\\u001b[2Janswer\":\"b\"}\n";
    check_error(
        "rows.jsonl",
        rows,
        &expect![[r#"
            rows.jsonl:1: no known format has the columns question, [2Janswer; known formats: PKU-SafeRLHF (prompt, response_0, response_1, is_response_0_safe, is_response_1_safe); BeaverTails (prompt, response, is_safe); JailbreakBench (goal, behavior, target); AdvBench (goal, target); conversation (messages); midcourse (prompt, response)
            hint: rename the columns, for example to `prompt` and `response`"#]],
    );
    check_error(
        "rows.csv",
        "question;answer\na;b\n",
        &expect![[r#"
            rows.csv:1: no known format has the columns question;answer; known formats: PKU-SafeRLHF (prompt, response_0, response_1, is_response_0_safe, is_response_1_safe); BeaverTails (prompt, response, is_safe); JailbreakBench (goal, behavior, target); AdvBench (goal, target); conversation (messages); midcourse (prompt, response)
            hint: rename the columns, for example to `prompt` and `response`"#]],
    );
}

#[test]
fn says_what_a_file_is_that_is_no_text() {
    check_error(
        "rows.jsonl",
        b"\x1f\x8b\x08\0",
        &expect![[r#"
        rows.jsonl: the bytes from offset 0 are compressed (gzip)
        hint: decompress the file first, or give its name the ending .gz, .xz or .zst that it should have"#]],
    );
    check_error(
        "rows.jsonl",
        b"\xfd7zXZ\0\0",
        &expect![[r#"
        rows.jsonl: the bytes from offset 0 are compressed (xz)
        hint: decompress the file first, or give its name the ending .gz, .xz or .zst that it should have"#]],
    );
    check_error(
        "rows.jsonl",
        b"\x28\xb5\x2f\xfd\0",
        &expect![[r#"
        rows.jsonl: the bytes from offset 0 are compressed (zstd)
        hint: decompress the file first, or give its name the ending .gz, .xz or .zst that it should have"#]],
    );
    check_error(
        "rows.jsonl",
        b"PAR1\x15",
        &expect![[r#"
        rows.jsonl: the bytes from offset 0 are a Parquet file
        hint: convert it with pandas: read_parquet(FILE).to_json(OUT, orient="records", lines=True)"#]],
    );
    check_error(
        "rows.jsonl",
        b"\xff\xfe{\0\"\0",
        &expect![[r#"
        rows.jsonl:1: NUL byte at offset 3 of the file
        hint: save the file as UTF-8 text; UTF-16 and Windows-1252 are not read"#]],
    );
    check_error(
        "rows.jsonl",
        b"{\"prompt\":\n\"\xfcber\"}",
        &expect![[r#"
        rows.jsonl:2: not UTF-8: byte 0xFC at offset 12 of the file
        hint: save the file as UTF-8 text; UTF-16 and Windows-1252 are not read"#]],
    );
}

#[test]
fn says_what_a_file_is_that_is_no_rows() {
    check_error(
        "rows.jsonl",
        "",
        &expect![[r#"
        rows.jsonl: the file holds no rows
        hint: check that the file was written to its end"#]],
    );
    check_error(
        "rows.csv",
        "goal,target\r\n\r\n",
        &expect![[r#"
        rows.csv: the file holds no rows
        hint: check that the file was written to its end"#]],
    );
    check_error(
        "rows.json",
        "\n [{\"prompt\":\"a\",\"response\":\"b\"}]",
        &expect![[r#"
            rows.json: the file is one JSON array, expected one JSON object a line
            hint: `jq -c '.[]' FILE > rows.jsonl` writes one object a line"#]],
    );
    check_error(
        "rows.jsonl.gz",
        "\nA page of text, with \"quotes\".\n",
        &expect![[r#"
        rows.jsonl.gz:2: expected a JSON object, found other text
        hint: every line must hold one whole JSON object; `jq -c . FILE` writes one a line"#]],
    );
    check_error(
        "rows.jsonl",
        BEAVER.lines().nth(1).unwrap(),
        &expect![[r#"
            rows.jsonl: no response is unsafe (rows: 1)
            hint: harmless rows are given in midcourse's own format (`prompt`, `response`)"#]],
    );
}

const GOOD: &str = "{\"prompt\":\"a\",\"response\":\"b\"}";

/// What is said of a row that comes after a good one.
fn check_second(row: &str, expected: &Expect) {
    check_error("rows.jsonl", format!("{GOOD}\n{row}\n"), expected);
}

#[test]
fn says_where_a_row_is_no_json_object() {
    check_second(
        "{\"prompt\":\"é\",}",
        &expect![[r#"
        rows.jsonl:2: broken JSON at column 15: trailing comma
        hint: every line must hold one whole JSON object; `jq -c . FILE` writes one a line"#]],
    );
    check_second(
        "{",
        &expect![[r#"
        rows.jsonl:2: broken JSON at column 1: EOF while parsing an object
        hint: every line must hold one whole JSON object; `jq -c . FILE` writes one a line"#]],
    );
    check_second(
        &format!("{GOOD} {GOOD}"),
        &expect![[r#"
        rows.jsonl:2: broken JSON at column 31: trailing characters
        hint: every line must hold one whole JSON object; `jq -c . FILE` writes one a line"#]],
    );
    check_second(
        "[1]",
        &expect![[r#"
        rows.jsonl:2: expected a JSON object, found an array
        hint: every line must hold one whole JSON object; `jq -c . FILE` writes one a line"#]],
    );
    check_second(
        &"{\"a\":".repeat(100_000),
        &expect![[r#"
        rows.jsonl:2: broken JSON at column 636: recursion limit exceeded
        hint: every line must hold one whole JSON object; `jq -c . FILE` writes one a line"#]],
    );
}

#[test]
fn says_which_field_of_a_row_is_wrong() {
    check_second(
        "{\"prompt\":\"a\"}",
        &expect![[r#"
            rows.jsonl:2: the field `response` is missing, which midcourse rows have
            hint: give the row the fields that the first row has, or remove it"#]],
    );
    check_second(
        "{\"prompt\":\"a\",\"response\":5}",
        &expect![[r#"
        rows.jsonl:2: the field `response` must be a string, found a number
        hint: correct the value or remove the row"#]],
    );
    check_second(
        "{\"prompt\":\" \\n\",\"response\":\"b\"}",
        &expect![[r#"
        rows.jsonl:2: the field `prompt` is empty
        hint: fill in the text or remove the row"#]],
    );
    check_second(
        "{\"prompt\":\"a\",\"response\":\"b\\u0000\"}",
        &expect![[r#"
        rows.jsonl:2: the field `response` holds the character U+0000
        hint: remove the character or the row"#]],
    );
    check_second(
        BEAVER.lines().next().unwrap(),
        &expect![[r#"
            rows.jsonl:2: a BeaverTails row in a file that begins with midcourse rows
            hint: keep rows of different formats in different files"#]],
    );
}

#[test]
fn says_what_is_wrong_with_a_category() {
    let row = BEAVER.replacen("\"lazy\":true", "\"la\\u0007zy\":1", 1);
    check_error(
        "rows.jsonl",
        row,
        &expect![[r#"
        rows.jsonl:1: the field `category.lazy` must be true or false, found a number
        hint: correct the value or remove the row"#]],
    );
    check_error(
        "rows.jsonl",
        "{\"prompt\":\"a\",\"response\":\"b\",\"is_safe\":false}",
        &expect![[r#"
            rows.jsonl:1: the field `category` must be an object of true and false, found nothing
            hint: correct the value or remove the row"#]],
    );
}

#[test]
fn says_what_is_wrong_with_a_csv_row() {
    let check_csv = |rows: &str, expected| check_error("rows.csv", format!("goal,target\n{rows}"), expected);
    check_csv(
        "a\n",
        &expect![[r#"
            rows.csv:2: expected 2 fields as in the header, found 1
            hint: every row has as many fields as the header; a field with a comma stands in quotes"#]],
    );
    check_csv(
        "\na,b,c\n",
        &expect![[r#"
            rows.csv:3: expected 2 fields as in the header, found 3
            hint: every row has as many fields as the header; a field with a comma stands in quotes"#]],
    );
    check_csv(
        "a,\n",
        &expect![[r#"
        rows.csv:2: the field `target` is empty
        hint: fill in the text or remove the row"#]],
    );
    check_csv(
        "a,b\n\"c\nd\",\"e\nf",
        &expect![[r#"
            rows.csv:4: the quote at column 4 is never closed
            hint: a CSV field with a comma, quote or line break stands in quotes, and quotes in it are doubled"#]],
    );
    check_csv(
        "\"a\n\"\"b,c\nd,e\n",
        &expect![[r#"
        rows.csv:2: the quote at column 1 is never closed
        hint: a CSV field with a comma, quote or line break stands in quotes, and quotes in it are doubled"#]],
    );
    check_csv(
        "\"a\nb\"c,d",
        &expect![[r#"
            rows.csv:3: text at column 3 after the end of a field whose quote opened on line 2
            hint: a CSV field with a comma, quote or line break stands in quotes, and quotes in it are doubled"#]],
    );
    check_csv(
        "a,say \"b\"",
        &expect![[r#"
            rows.csv:2: a quote at column 7 inside a field that does not begin with one
            hint: a CSV field with a comma, quote or line break stands in quotes, and quotes in it are doubled"#]],
    );
    check_error(
        "rows.csv",
        "Goal,target, goal\na,b,c\n",
        &expect![[r#"
        rows.csv:1: the header names the column `goal` twice
        hint: remove or rename one of the two columns"#]],
    );
}
