//! JSON objects, one a line.
//!
//! Lines end at `\n` only: real rows hold U+2028 inside strings, where other splitters break them. A carriage
//! return before it is white space to JSON, and blank lines are no rows. Nesting is limited by `serde_json`
//! (128 levels).

use serde_json::Value;

use super::row::{At, Read, Row, is_blank, kind};
use crate::Result;
use crate::error::RowProblem;

/// The rows of `text`, each parsed when it is asked for.
pub(super) fn rows<'a>(file: &'a str, text: &'a str) -> impl Iterator<Item = Result<Row<'a>>> {
    rows_with_lines(file, text).map(|row| Ok(row?.1))
}

/// The same, each after the line that it stands in.
pub(super) fn rows_with_lines<'a>(
    file: &'a str,
    text: &'a str,
) -> impl Iterator<Item = Result<(&'a str, Row<'a>)>> {
    (1..).zip(text.split('\n')).filter(|(_, line)| !is_blank(line)).map(move |(number, line)| {
        let at = At { file, line: number };
        object(line).map(|fields| (line, Row { at, fields })).map_err(|problem| at.error(problem))
    })
}

fn object(line: &str) -> Read<serde_json::Map<String, Value>> {
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(RowProblem::NotAnObject { found: kind(&other) }),
        Err(e) => Err(broken(line, &e)),
    }
}

/// The parser's complaint, with its place in characters where `serde_json` counts bytes.
fn broken(line: &str, error: &serde_json::Error) -> RowProblem {
    let message = error.to_string();
    let problem = message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem);
    let before = &line.as_bytes()[..error.column().min(line.len())];
    RowProblem::BrokenJson {
        column: String::from_utf8_lossy(before).chars().count().max(1),
        problem: problem.to_owned(),
    }
}
