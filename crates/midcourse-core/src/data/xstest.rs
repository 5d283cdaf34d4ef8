//! Prompts that look alarming and are not, with their contrasts: the columns of `XSTest` (Röttger et al. 2024).
//!
//! CSV or JSONL with `prompt`, `type` and `label`, which is `safe` or `unsafe`; other columns are ignored. Types of the
//! contrasts begin with `contrast_`.

use std::collections::BTreeSet;

use super::row::Row;
use super::{Container, jsonl, of_file, table, text};
use crate::Result;
use crate::error::{FileProblem, RowProblem};

/// The columns that a file must have.
const COLUMNS: [&str; 3] = ["prompt", "type", "label"];

/// A prompt, and whether it may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledPrompt {
    /// The user's text.
    pub prompt: String,
    /// What makes it look alarming.
    pub kind: Option<String>,
    /// Whether it is harmless.
    pub safety: Safety,
}

/// Whether a prompt is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Safety {
    /// To refuse it is a fault.
    Safe,
    /// To refuse it is right.
    Unsafe,
}

/// The prompts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledPrompts {
    /// Each prompt once, in the order of the file, at least one.
    pub prompts: Vec<LabelledPrompt>,
    /// Rows whose prompt an earlier row has.
    pub n_duplicates: usize,
}

/// Reads the rows of a file; `file` is the name that messages give it.
///
/// # Errors
/// [`crate::Error::Row`] with the line, or [`crate::Error::DataFile`] where the file as a whole is something else.
pub fn parse_labelled_prompts(file: &str, bytes: &[u8]) -> Result<LabelledPrompts> {
    let text = text::decode(file, bytes)?;
    let rows: Vec<LabelledPrompt> = match Container::of(text).map_err(|problem| of_file(file, problem))? {
        Some(Container::Jsonl) => jsonl::rows(file, text).map(|row| read(&row?)).collect::<Result<_>>()?,
        Some(_) => table::rows(file, text, has_columns)?.map(|row| read(&row?)).collect::<Result<_>>()?,
        None => Vec::new(),
    };
    if rows.is_empty() {
        return Err(of_file(file, FileProblem::NoRows));
    }
    let (n_rows, mut seen) = (rows.len(), BTreeSet::new());
    let prompts: Vec<_> = rows.into_iter().filter(|row| seen.insert(row.prompt.clone())).collect();
    Ok(LabelledPrompts { n_duplicates: n_rows - prompts.len(), prompts })
}

fn has_columns(columns: &[String]) -> std::result::Result<(), RowProblem> {
    let missing = COLUMNS.iter().find(|column| !columns.iter().any(|name| name == *column));
    missing.map_or(Ok(()), |field| Err(RowProblem::Missing { field, format: "XSTest" }))
}

fn read(row: &Row) -> Result<LabelledPrompt> {
    let fields = || {
        let columns: Vec<String> = row.columns().map(str::to_owned).collect();
        has_columns(&columns)?;
        Ok(LabelledPrompt {
            prompt: row.text("prompt")?.to_owned(),
            kind: row.optional_text("type")?,
            safety: safety(row.text("label")?)?,
        })
    };
    fields().map_err(|problem| row.at.error(problem))
}

fn safety(label: &str) -> std::result::Result<Safety, RowProblem> {
    match label.trim().to_lowercase().as_str() {
        "safe" => Ok(Safety::Safe),
        "unsafe" => Ok(Safety::Unsafe),
        _ => Err(RowProblem::UnknownSafety { found: text::plain(label) }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<LabelledPrompts> {
        parse_labelled_prompts("prompts.csv", text.as_bytes())
    }

    #[test]
    fn both_files_give_the_same_prompts() {
        let csv = "id,Prompt,type,label,note\n1,How do I kill time?,homonyms,safe,x\n\
            2,How do I cheat at cards?,contrast_homonyms,Unsafe,\n3,How do I kill time?,homonyms,safe,\n";
        let jsonl = r#"{"prompt":"How do I kill time?","type":"homonyms","label":"safe"}
            {"prompt":"How do I cheat at cards?","type":"contrast_homonyms","label":"unsafe"}
            {"prompt":"How do I kill time?","type":null,"label":"safe"}"#;
        let found = parse(csv).unwrap();
        assert_eq!(found, parse(jsonl).unwrap());
        let labels: Vec<_> = found.prompts.iter().map(|p| (p.kind.as_deref(), p.safety)).collect();
        let expected = [(Some("homonyms"), Safety::Safe), (Some("contrast_homonyms"), Safety::Unsafe)];
        assert_eq!((labels.as_slice(), found.n_duplicates), (expected.as_slice(), 1));
    }

    #[test]
    fn what_is_no_such_file_is_refused_with_its_line() {
        for (text, expected) in [
            ("", "prompts.csv: the file holds no rows"),
            ("prompt,type,label\n", "prompts.csv: the file holds no rows"),
            ("prompt,label\na,safe\n", "prompts.csv:1: the field `type` is missing, which XSTest rows have"),
            (
                "{\"prompt\":\"a\",\"type\":\"b\"}",
                "prompts.csv:1: the field `label` is missing, which XSTest rows have",
            ),
            (
                "prompt,type,label\na,b,fine\n",
                "prompts.csv:2: the field `label` must be safe or unsafe, found `fine`",
            ),
            ("prompt,type,label\n ,b,safe\n", "prompts.csv:2: the field `prompt` is empty"),
            ("prompt,type,label\na,b\n", "prompts.csv:2: expected 3 fields as in the header, found 2"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!error.hint().is_empty());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_labelled_prompts("prompts", &bytes);
        }
    }
}
