//! Continuations that people have labelled: what a judge is measured against.
//!
//! JSONL or CSV with the columns `prompt`, `completion`, `final_label` and, where the answer was begun for the model,
//! `prefix`; other columns are ignored. Labels are those of `XSTest` (Röttger et al. 2024) or midcourse's own verdicts; an
//! empty one is a row that nobody has labelled yet.
//!
//! Spreadsheets take a cell that begins with `=`, `+`, `-` or `@` for a formula, and what models write may begin so.
//! [`guard`] puts an apostrophe before such a cell of a CSV file; reading takes it away again.

use super::row::Row;
use super::{Container, jsonl, table, text};
use crate::error::{FileProblem, RowProblem};
use crate::judge::Verdict;
use crate::{Error, Result};

/// The columns that a label file must have.
const COLUMNS: [&str; 3] = ["prompt", "completion", "final_label"];

/// A continuation and what people say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledRow {
    /// The row's name, where it has one.
    pub id: Option<String>,
    /// The request.
    pub prompt: String,
    /// The forced start of the answer; empty where the completion is the whole of it.
    pub prefix: String,
    /// The text that was labelled.
    pub completion: String,
    /// The label; none where nobody has given one.
    pub label: Option<Verdict>,
}

/// Reads the rows of a label file; `file` is the name that messages give it.
///
/// # Errors
/// [`Error::Row`] with the line, or [`Error::DataFile`] where the file as a whole is something else.
pub fn parse_labels(file: &str, bytes: &[u8]) -> Result<Vec<LabelledRow>> {
    let of_file = |problem| Error::DataFile { file: file.to_owned(), problem };
    let text = text::decode(file, bytes)?;
    let rows: Vec<LabelledRow> = match Container::of(text).map_err(of_file)? {
        Some(Container::Jsonl) => {
            jsonl::rows(file, text).map(|row| read(&row?, str::to_owned)).collect::<Result<_>>()?
        }
        Some(_) => {
            let rows = table::rows(file, text, has_columns)?;
            rows.map(|row| read(&row?, unguarded)).collect::<Result<_>>()?
        }
        None => Vec::new(),
    };
    if rows.is_empty() { Err(of_file(FileProblem::NoRows)) } else { Ok(rows) }
}

/// The text as a cell that no spreadsheet takes for a formula. A cell that is a guarded one already gets one
/// apostrophe more, so that reading gives back every text.
pub fn guard(text: &str) -> String {
    if is_formula(text) { format!("'{text}") } else { text.to_owned() }
}

fn unguarded(text: &str) -> String {
    text.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(text).to_owned()
}

/// Whether a cell begins a formula, behind apostrophes or not.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

fn has_columns(columns: &[String]) -> std::result::Result<(), RowProblem> {
    let missing = COLUMNS.iter().find(|column| !columns.iter().any(|name| name == *column));
    missing.map_or(Ok(()), |column| Err(RowProblem::Missing { field: column, format: "label" }))
}

fn read(row: &Row, text: impl Fn(&str) -> String) -> Result<LabelledRow> {
    let fields = || {
        let columns: Vec<String> = row.columns().map(str::to_owned).collect();
        has_columns(&columns)?;
        Ok(LabelledRow {
            id: row.optional_text("id")?.map(|id| text(&id)),
            prompt: text(row.text("prompt")?),
            prefix: row.optional_text("prefix")?.map(|prefix| text(&prefix)).unwrap_or_default(),
            completion: text(row.string("completion")?),
            label: label(&row.optional_text("final_label")?.unwrap_or_default())?,
        })
    };
    fields().map_err(|problem| row.at.error(problem))
}

fn label(found: &str) -> std::result::Result<Option<Verdict>, RowProblem> {
    match found.trim().to_lowercase().as_str() {
        "" => Ok(None),
        "2_full_refusal" | "3_partial_refusal" | "corrected" | "yes" => Ok(Some(Verdict::Corrected)),
        "1_full_compliance" | "not_corrected" | "no" => Ok(Some(Verdict::NotCorrected)),
        _ => Err(RowProblem::UnknownLabel { found: text::plain(found) }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Vec<LabelledRow>> {
        parse_labels("labels", text.as_bytes())
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn both_files_give_the_same_rows() {
        let csv = "id,prompt,prefix,completion,final_label\n\
            a,Cheat?,\"Sure, \",'- wait,Yes\n,Gossip?,,I would rather not.,2_full_refusal\n,Chores?,,Do them.,\n";
        let jsonl = r#"{"id":"a","prompt":"Cheat?","prefix":"Sure, ","completion":"- wait","final_label":"corrected","more":1}
            {"prompt":"Gossip?","completion":"I would rather not.","final_label":"3_partial_refusal"}
            {"prompt":"Chores?","completion":"Do them.","final_label":null}"#;
        let rows = parse(csv).unwrap();
        assert_eq!(rows, parse(jsonl).unwrap());
        let labels: Vec<_> = rows.iter().map(|row| row.label).collect();
        assert_eq!(labels, [Some(Verdict::Corrected), Some(Verdict::Corrected), None]);
        assert_eq!((rows[0].prefix.as_str(), rows[0].completion.as_str()), ("Sure, ", "- wait"));
    }

    #[test]
    fn what_is_no_label_file_is_refused_with_its_line() {
        let labels = "expected 1_full_compliance, 2_full_refusal, 3_partial_refusal, corrected, not_corrected, yes, no or nothing";
        for (text, expected) in [
            (
                "prompt,completion\na,b\n",
                "labels:1: the field `final_label` is missing, which label rows have".to_owned(),
            ),
            (
                "prompt,completion,final_label\na,b,perhaps\n",
                format!("labels:2: the field `final_label`: {labels}, found `perhaps`"),
            ),
            (
                "prompt,completion,final_label\na,b\n",
                "labels:2: expected 3 fields as in the header, found 2".to_owned(),
            ),
            ("prompt,completion,final_label\n,b,yes\n", "labels:2: the field `prompt` is empty".to_owned()),
            ("prompt,completion,final_label\n", "labels: the file holds no rows".to_owned()),
            (
                "{\"prompt\":\"a\",\"completion\":1,\"final_label\":\"yes\"}",
                "labels:1: the field `completion` must be a string, found a number".to_owned(),
            ),
            (
                "{\"prompt\":\"a\",\"completion\":\"b\",\"final_label\":true}",
                "labels:1: the field `final_label` must be a string, found true or false".to_owned(),
            ),
            (
                "{\"prompt\":\"a\",\"final_label\":\"yes\"}",
                "labels:1: the field `completion` is missing, which label rows have".to_owned(),
            ),
        ] {
            assert_eq!(message(text), expected);
        }
    }

    proptest! {
        #[test]
        fn a_guarded_text_comes_back_and_is_no_formula(text in "['=+@\\-\t\r a]{0,5}|.*") {
            let guarded = guard(&text);
            prop_assert!(!guarded.starts_with(['=', '+', '-', '@', '\t', '\r']));
            prop_assert_eq!(unguarded(&guarded), text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_labels("labels", &bytes);
        }
    }
}
