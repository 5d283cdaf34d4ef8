//! Data sets: rows of prompts and harmful (or harmless) responses, in the formats people have.
//!
//! [`parse`] tells the format by the columns of the first row, holds every other row to it, and drops rows
//! that say the same as an earlier one. Nothing is repaired and nothing skipped silently: a row that does not
//! fit is an error with its line. Reading bytes from disk and decompressing them is the caller's business.
//! Of JSON keys that stand twice in a row the last counts, as in most readers.

mod format;
mod jsonl;
mod labels;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod messages;
mod row;
mod samples;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};
use row::Row;

pub use crate::error::{FileProblem, RowProblem};
pub use format::{Container, Format};
pub use labels::{LabelledRow, guard, parse_labels};
pub use summary::{CategoryCount, Quantiles, Reach, Summary, summarise};

/// A prompt and a response to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Hash of prompt and response: 16 hex digits.
    pub id: String,
    /// The user's text.
    pub prompt: String,
    /// A whole answer to it.
    pub response: String,
    /// The row's category, where the format has one.
    pub category: Option<String>,
    /// A good answer to the same prompt, where the row has one.
    pub safe_response: Option<String>,
    /// Where the row comes from.
    pub source: Option<String>,
}

/// What a data file holds.
///
/// Every row is accounted for: `n_rows` = samples + duplicates + rows without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// Whose columns the rows have.
    pub format: Format,
    /// How the rows are written down.
    pub container: Container,
    /// Distinct samples in the order of the file, at least one.
    pub samples: Vec<Sample>,
    /// Rows of the file, blank lines and a header not among them.
    pub n_rows: usize,
    /// Rows whose prompt and response an earlier row has.
    pub n_duplicates: usize,
    /// Rows that say of themselves that no response is unsafe.
    pub n_without_harm: usize,
}

/// Reads the rows of `bytes`; `file` is the name that messages give it.
///
/// # Errors
///
/// [`Error::Row`] with the line, or [`Error::DataFile`] where the file as a whole is something else.
pub fn parse(file: &str, bytes: &[u8]) -> Result<DataSet> {
    let of_file = |problem| Error::DataFile { file: file.to_owned(), problem };
    let text = text::decode(file, bytes)?;
    let container = Container::of(text).map_err(of_file)?;
    let mut reading = Reading::default();
    match container {
        Container::Jsonl => reading.take_all(jsonl::rows(file, text))?,
        Container::Csv => reading.take_all(table::rows(file, text, is_format)?)?,
    }
    reading.finish(container).map_err(of_file)
}

/// Whether the columns are those of a known format.
fn is_format(columns: &[String]) -> row::Read<()> {
    Format::detect(&columns.iter().map(String::as_str)).map(|_| ())
}

/// The name of a sample: the first 16 hex digits of SHA-256 over prompt and response.
///
/// Each text stands after its length in bytes (8 bytes, little-endian), so that no two samples run together.
pub fn sample_id(prompt: &str, response: &str) -> String {
    let mut hash = Sha256::new();
    for text in [prompt, response] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let id = hash.finalize().iter().take(8).fold(0_u64, |id, &byte| id << 8 | u64::from(byte));
    format!("{id:016x}")
}

/// A data set in the making.
#[derive(Default)]
struct Reading {
    format: Option<Format>,
    ids: BTreeSet<String>,
    samples: Vec<Sample>,
    n_duplicates: usize,
    n_without_harm: usize,
}

impl Reading {
    fn take_all<'a>(&mut self, rows: impl Iterator<Item = Result<Row<'a>>>) -> Result<()> {
        for row in rows {
            let row = row?;
            self.take(&row).map_err(|problem| row.at.error(problem))?;
        }
        Ok(())
    }

    fn take(&mut self, row: &Row) -> std::result::Result<(), RowProblem> {
        let format = match self.format {
            Some(format) => format,
            None => *self.format.insert(Format::detect(&row.columns())?),
        };
        format.check(row)?;
        match samples::read(format, row)? {
            None => self.n_without_harm += 1,
            Some(sample) if self.ids.insert(sample.id.clone()) => self.samples.push(sample),
            Some(_) => self.n_duplicates += 1,
        }
        Ok(())
    }

    fn finish(self, container: Container) -> std::result::Result<DataSet, FileProblem> {
        let Self { format, samples, n_duplicates, n_without_harm, .. } = self;
        let n_rows = samples.len() + n_duplicates + n_without_harm;
        match format {
            None => Err(FileProblem::NoRows),
            Some(_) if samples.is_empty() => Err(FileProblem::NoHarm { n_rows }),
            Some(format) => Ok(DataSet { format, container, samples, n_rows, n_duplicates, n_without_harm }),
        }
    }
}
