//! Data sets: rows of prompts and harmful (or harmless) responses, in the formats people have.
//!
//! [`parse`] tells the format by the columns of the first row, holds every other row to it, and drops rows
//! that say the same as an earlier one. Nothing is repaired and nothing skipped silently: a row that does not
//! fit is an error with its line. Reading bytes from disk and decompressing them is the caller's business, and
//! so is taking binary tables apart: a [`Reader`] takes their rows as JSON objects.
//! Of JSON keys that stand twice in a row the last counts, as in most readers.

mod artifact;
mod conversation;
mod format;
mod jsonl;
mod labels;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod messages;
mod pairs;
#[cfg(test)]
mod prompts;
mod row;
mod samples;
mod split;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod xstest;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::chat::Message;
use crate::{Error, Result};
use row::{At, Row};

pub use crate::error::{FileProblem, RowProblem};
pub use artifact::{Artifact, PublishedAttack, parse_artifact};
pub use format::{Container, Format, is_column};
pub use labels::{LabelledRow, guard, parse_labels};
pub use pairs::{PairReader, PlainPair, Preference, Sides, are_pairs};
pub(crate) use split::chance;
pub use split::{Line, Side, Split, lines, prompt_hash};
pub use summary::{CategoryCount, Quantiles, Reach, Summary, summarise};
pub use table::csv_rows;
pub use xstest::{LabelledPrompt, LabelledPrompts, Safety, parse_labelled_prompts};

/// A prompt and a response to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Hash of history, prompt and response: 16 hex digits.
    pub id: String,
    /// What was said before the prompt; empty where the prompt is the whole conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Message>,
    /// The user's text: the last one, where there is a history.
    pub prompt: String,
    /// A whole answer to it; empty where the row has none, which [`Responses::Optional`] allows.
    pub response: String,
    /// The row's category, where the format has one.
    pub category: Option<String>,
    /// A good answer to the same prompt, where the row has one.
    pub safe_response: Option<String>,
    /// Where the row comes from.
    pub source: Option<String>,
}

impl Sample {
    /// The conversation that the response answers.
    pub fn messages(&self) -> Vec<Message> {
        self.history.iter().cloned().chain([Message::user(self.prompt.clone())]).collect()
    }
}

/// Whether rows must bring a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responses {
    /// A row without one is an error.
    Required,
    /// A row may be a prompt only.
    Optional,
}

/// What a data file, or the files of a data set, hold.
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

/// Reads the rows of one file of text; `file` is the name that messages give it.
///
/// # Errors
///
/// [`Error::Row`] with the line, or [`Error::DataFile`] where the file as a whole is something else.
pub fn parse(file: &str, bytes: &[u8], responses: Responses) -> Result<DataSet> {
    let mut reader = Reader::new(responses);
    reader.text(file, bytes)?;
    reader.finish(file)
}

/// The name of a sample: the first 16 hex digits of SHA-256 over prompt and response, and over the history where
/// there is one.
///
/// Each text stands after its length in bytes (8 bytes, little-endian), so that no two samples run together; of a
/// message of the history its role and its text.
pub fn sample_id(history: &[Message], prompt: &str, response: &str) -> String {
    let said = history.iter().flat_map(|message| [message.role.name(), message.content.as_str()]);
    content_id([prompt, response].into_iter().chain(said))
}

/// The name of what texts say: the first 16 hex digits of SHA-256 over them, each after its length.
pub(crate) fn content_id<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    format!("{:016x}", hash_of(texts.into_iter()))
}

/// The first 8 bytes of SHA-256 over texts, each after its length.
fn hash_of<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    digest_of(texts).iter().take(8).fold(0, |id, &byte| id << 8 | u64::from(byte))
}

/// SHA-256 over texts, each after its length.
fn digest_of<'a>(texts: impl Iterator<Item = &'a str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// A data set in the making, from one file or from several in turn.
#[derive(Debug)]
pub struct Reader {
    responses: Responses,
    format: Option<Format>,
    container: Option<Container>,
    ids: BTreeSet<String>,
    samples: Vec<Sample>,
    n_duplicates: usize,
    n_without_harm: usize,
}

impl Reader {
    /// Has read nothing yet.
    pub fn new(responses: Responses) -> Self {
        Self {
            responses,
            format: None,
            container: None,
            ids: BTreeSet::new(),
            samples: Vec::new(),
            n_duplicates: 0,
            n_without_harm: 0,
        }
    }

    /// Takes the rows of a file of text, JSONL or CSV; `file` is the name that messages give it.
    ///
    /// # Errors
    ///
    /// As [`parse`]; a file without rows is none here.
    pub fn text(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let text = text::decode(file, bytes)?;
        let Some(container) = Container::of(text).map_err(|problem| of_file(file, problem))? else {
            return Ok(());
        };
        self.container.get_or_insert(container);
        if container == Container::Jsonl {
            return self.take_all(jsonl::rows(file, text));
        }
        let responses = self.responses;
        self.take_all(table::rows(file, text, |columns| is_format(columns, responses))?)
    }

    /// Takes rows that stood in a Parquet file, as JSON objects of one set of columns.
    ///
    /// # Errors
    ///
    /// Those of the iterator, and [`Error::Row`] with the number of the row in the place of a line.
    pub fn parquet<E: From<Error>>(
        &mut self,
        file: &str,
        rows: impl Iterator<Item = std::result::Result<Map<String, Value>, E>>,
    ) -> std::result::Result<(), E> {
        self.container.get_or_insert(Container::Parquet);
        for (line, row) in (1..).zip(rows) {
            self.take(&Row { at: At { file, line }, fields: row? })?;
        }
        Ok(())
    }

    fn take_all<'a>(&mut self, mut rows: impl Iterator<Item = Result<Row<'a>>>) -> Result<()> {
        rows.try_for_each(|row| self.take(&row?))
    }

    fn take(&mut self, row: &Row) -> Result<()> {
        self.sort(row).map_err(|problem| row.at.error(problem))
    }

    /// Puts a row where it belongs.
    fn sort(&mut self, row: &Row) -> row::Read<()> {
        let format = match self.format {
            Some(format) => format,
            None => *self.format.insert(Format::of(row, self.responses)?),
        };
        format.check(row, self.responses)?;
        match samples::read(format, row, self.responses)? {
            None => self.n_without_harm += 1,
            Some(sample) if self.ids.insert(sample.id.clone()) => self.samples.push(sample),
            Some(_) => self.n_duplicates += 1,
        }
        Ok(())
    }

    /// Whether there were no rows yet.
    pub fn is_empty(&self) -> bool {
        self.format.is_none()
    }

    /// The data set; `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// [`Error::DataFile`] when there were no rows, or none with a harmful response.
    pub fn finish(self, name: &str) -> Result<DataSet> {
        let Self { format, container, samples, n_duplicates, n_without_harm, .. } = self;
        let n_rows = samples.len() + n_duplicates + n_without_harm;
        match (format, container) {
            (Some(_), _) if samples.is_empty() => Err(of_file(name, FileProblem::NoHarm { n_rows })),
            (Some(format), Some(container)) => {
                Ok(DataSet { format, container, samples, n_rows, n_duplicates, n_without_harm })
            }
            _ => Err(of_file(name, FileProblem::NoRows)),
        }
    }
}

fn of_file(file: &str, problem: FileProblem) -> Error {
    Error::DataFile { file: file.to_owned(), problem }
}

/// Whether the columns are those of a known format.
fn is_format(columns: &[String], responses: Responses) -> row::Read<()> {
    Format::detect(&columns.iter().map(String::as_str), responses).map(|_| ())
}
