//! Rows of a file as JSON objects, whatever they mean: JSONL or Parquet.
//!
//! Lines end at `\n` only: rows hold U+2028 inside strings. Blank lines are no rows.

use anyhow::Result;
use serde_json::{Map, Value};

use super::parquet;
use crate::failure::Failure;

/// Where a row stands: a file as the user named it, and a line; in a table the number of the row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub file: &'a str,
    pub line: usize,
}

impl Place<'_> {
    /// The error that something is wrong with the row.
    pub(crate) fn wrong(self, problem: &str, hint: &str) -> Failure {
        Failure::Input { problem: format!("{}:{}: {problem}", self.file, self.line), hint: hint.into() }
    }
}

/// Calls `take` with every row of a file, in order; `is_wanted` tells which columns of a table are decoded.
pub(crate) fn each(
    file: &str,
    bytes: Vec<u8>,
    is_wanted: fn(&str) -> bool,
    mut take: impl FnMut(Place<'_>, Map<String, Value>) -> Result<()>,
) -> Result<()> {
    if super::is_parquet(&bytes) {
        let rows = parquet::Rows::open(file, bytes, is_wanted)?;
        return (1..).zip(rows).try_for_each(|(line, row)| take(Place { file, line }, row?));
    }
    each_line(file, &bytes, take)
}

/// The same, every column decoded and called as it is written.
pub(crate) fn each_as_written(
    file: &str,
    bytes: Vec<u8>,
    mut take: impl FnMut(Place<'_>, Map<String, Value>) -> Result<()>,
) -> Result<()> {
    if super::is_parquet(&bytes) {
        let rows = parquet::Rows::open(file, bytes, |_| true)?.called_as_written();
        return (1..).zip(rows).try_for_each(|(line, row)| take(Place { file, line }, row?));
    }
    each_line(file, &bytes, take)
}

fn each_line(
    file: &str,
    bytes: &[u8],
    mut take: impl FnMut(Place<'_>, Map<String, Value>) -> Result<()>,
) -> Result<()> {
    for (line, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let place = Place { file, line };
        if !text.trim_ascii().is_empty() {
            take(place, object(text).map_err(|problem| place.wrong(&problem, OF_LINES))?)?;
        }
    }
    Ok(())
}

const OF_LINES: &str =
    "one JSON object a line is read, or a Parquet table; .gz, .xz and .zst are decompressed";

fn object(line: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(row)) => Ok(row),
        Ok(_) => Err("expected a JSON object, found other JSON".into()),
        Err(error) => {
            let message = error.to_string();
            let problem = message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem);
            Err(format!("expected a JSON object: {problem} (column {})", error.column()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_with_their_lines_and_a_broken_one_is_refused() {
        let mut lines = Vec::new();
        let text = "{\"a\":\"x\u{2028}y\"}\n\n  \r\n{\"a\":1}\n";
        each(
            "f",
            text.into(),
            |_| true,
            |place, row| {
                lines.push((place.line, row.len()));
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(lines, [(1, 1), (4, 1)]);
        for (text, expected) in [
            ("{}\n[1]", "f:2: expected a JSON object, found other JSON"),
            ("{\"a\"", "f:1: expected a JSON object: EOF while parsing an object (column 4)"),
        ] {
            let error = each("f", text.into(), |_| true, |_, _| Ok(())).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
