//! CSV with a header (RFC 4180), strictly.
//!
//! Readers at hand take a quote that is never closed, or one in the middle of a field, as they please: the
//! rest of a file then silently becomes one response. Here both are errors with line and column, which is why
//! this is written out. The separator is the comma; names of columns are compared in lower case; blank lines
//! are no rows.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::row::{At, Read, Row, is_blank};
use super::text::plain;
use crate::error::RowProblem;
use crate::{Error, Result};

/// The rows below the header of `text`, each parsed when it is asked for.
///
/// The header itself is checked at once; `is_known` says whether its names are those of a file of the kind.
pub(super) fn rows<'a>(
    file: &'a str,
    text: &'a str,
    is_known: impl Fn(&[String]) -> Read<()>,
) -> Result<impl Iterator<Item = Result<Row<'a>>>> {
    let mut records = Records { file, text, at: 0, line: 1 };
    let header = header(&mut records, str::to_lowercase, is_known).map_err(|e| not_json_either(file, e))?;
    Ok(below(header, records))
}

/// The rows of a CSV file whatever their columns mean, each with its line; columns are called as they are written.
///
/// # Errors
/// For what is no CSV, with its line and column.
pub fn csv_rows(file: &str, text: &str) -> Result<Vec<(usize, Map<String, Value>)>> {
    let mut records = Records { file, text, at: 0, line: 1 };
    let header = header(&mut records, str::to_owned, |_| Ok(()))?;
    below(header, records).map(|row| row.map(|row| (row.at.line, row.fields))).collect()
}

fn below(header: Vec<String>, records: Records<'_>) -> impl Iterator<Item = Result<Row<'_>>> {
    records.map(move |record| {
        let Record { at, fields } = record?;
        let (expected, found) = (header.len(), fields.len());
        if expected != found {
            return Err(at.error(RowProblem::FieldCount { expected, found }));
        }
        let fields = header.iter().cloned().zip(fields.into_iter().map(Value::String)).collect();
        Ok(Row { at, fields })
    })
}

/// The names of the columns, each once.
fn header(
    records: &mut Records,
    called: fn(&str) -> String,
    is_known: impl Fn(&[String]) -> Read<()>,
) -> Result<Vec<String>> {
    let Some(record) = records.next() else { return Ok(Vec::new()) };
    let Record { at, fields } = record?;
    let names: Vec<String> = fields.iter().map(|name| called(name.trim())).collect();
    let mut seen = BTreeSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(at.error(RowProblem::DuplicateColumn { column: plain(name) }));
    }
    is_known(&names).map_err(|problem| at.error(problem))?;
    Ok(names)
}

/// A file that is called JSON and begins like neither is told so.
fn not_json_either(file: &str, error: Error) -> Error {
    let name = file.to_lowercase();
    let stem = [".gz", ".xz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let is_called_json = [".jsonl", ".ndjson", ".json"].iter().any(|end| stem.ends_with(end));
    match error {
        Error::Row { file, line, .. } if is_called_json => {
            Error::Row { file, line, problem: RowProblem::NotAnObject { found: "other text" } }
        }
        other => other,
    }
}

/// A row's cells.
struct Record<'a> {
    at: At<'a>,
    fields: Vec<String>,
}

/// Reads records from `at` on.
struct Records<'a> {
    file: &'a str,
    text: &'a str,
    /// Byte to be read next.
    at: usize,
    /// Its line, counted from 1.
    line: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((blank, _)) = self.rest().split_once('\n').filter(|(line, _)| is_blank(line)) {
            self.skip(blank.len() + 1);
        }
        if is_blank(self.rest()) {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.at = self.text.len();
        }
        Some(record)
    }
}

impl<'a> Records<'a> {
    fn record(&mut self) -> Result<Record<'a>> {
        let at = At { file: self.file, line: self.line };
        let mut fields = Vec::new();
        loop {
            fields.push(if self.rest().starts_with('"') { self.quoted() } else { self.bare() }?);
            if !self.rest().starts_with(',') {
                self.skip(line_end(self.rest()).unwrap_or(0));
                return Ok(Record { at, fields });
            }
            self.skip(1);
        }
    }

    /// A field in quotes, up to the comma or line end after it.
    fn quoted(&mut self) -> Result<String> {
        let (start, opened) = (self.at, self.line);
        let mut field = String::new();
        self.skip(1);
        loop {
            let Some(length) = self.rest().find('"') else {
                self.line = opened;
                return Err(self.error(start, |column| RowProblem::UnclosedQuote { column }));
            };
            field.push_str(&self.rest()[..length]);
            self.skip(length + 1);
            if !self.rest().starts_with('"') {
                break;
            }
            field.push('"');
            self.skip(1);
        }
        if self.rest().starts_with(',') || line_end(self.rest()).is_some() {
            return Ok(field);
        }
        Err(self.error(self.at, |column| RowProblem::TextAfterQuote { column, opened }))
    }

    /// A field without quotes.
    fn bare(&mut self) -> Result<String> {
        let rest = self.rest();
        let length = rest.find([',', '\n']).unwrap_or(rest.len());
        let field = &rest[..length];
        let field = if rest[length..].starts_with(',') { field } else { field.trim_end_matches('\r') };
        if let Some(quote) = field.find('"') {
            return Err(self.error(self.at + quote, |column| RowProblem::BareQuote { column }));
        }
        self.skip(field.len());
        Ok(field.to_owned())
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, n_bytes: usize) {
        let end = self.at + n_bytes;
        self.line += self.text[self.at..end].matches('\n').count();
        self.at = end;
    }

    /// A problem on the current line at byte `at`.
    fn error(&self, at: usize, problem: impl Fn(usize) -> RowProblem) -> Error {
        let line = self.text[..at].rsplit('\n').next().unwrap_or_default();
        At { file: self.file, line: self.line }.error(problem(line.chars().count() + 1))
    }
}

/// Bytes of the line end that `rest` begins with; the end of the text is one, too.
fn line_end(rest: &str) -> Option<usize> {
    let after = rest.trim_start_matches('\r');
    let n_returns = rest.len() - after.len();
    if after.is_empty() { Some(n_returns) } else { after.starts_with('\n').then_some(n_returns + 1) }
}
