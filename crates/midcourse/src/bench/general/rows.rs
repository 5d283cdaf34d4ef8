//! Where the rows of a task lie: files named by the task and the split, in a directory.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::bench::TaskRow;
use midcourse_core::data;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::input::{self, Place};
use crate::storage::user_cache;

/// Endings of files of rows.
const ENDINGS: [&str; 4] = ["jsonl", "csv", "parquet", "txt"];
/// Endings of compressed files, which follow the others.
const COMPRESSED: [&str; 4] = ["", ".gz", ".xz", ".zst"];

/// Rows and what is recorded of their file.
pub(super) struct Rows {
    pub all: Vec<TaskRow>,
    pub file: PathBuf,
    /// The split, of which the file says that it is; none of a file that is named by the task alone.
    pub split: Option<String>,
    /// Of the decompressed bytes.
    pub sha256: String,
}

/// Where `midcourse data pull general` keeps rows.
pub(crate) fn cache() -> Result<PathBuf> {
    Ok(user_cache()?.join("midcourse").join("data").join("general"))
}

/// The rows called `name` of the first of `splits` that is there, or of a file without a split; none where no file is.
pub(super) fn find(dir: &Path, name: &str, splits: &[String]) -> Result<Option<Rows>> {
    let of_splits = splits.iter().map(|split| (format!("{name}.{split}"), Some(split.clone())));
    for (stem, split) in of_splits.chain([(name.to_owned(), None)]) {
        let files =
            ENDINGS.iter().flat_map(|ending| COMPRESSED.map(|packed| format!("{stem}.{ending}{packed}")));
        if let Some(file) = files.map(|file| dir.join(file)).find(|file| file.is_file()) {
            return read(file, split).map(Some);
        }
    }
    Ok(None)
}

fn read(file: PathBuf, split: Option<String>) -> Result<Rows> {
    let bytes = input::read_file(&file)?;
    let name = file.display().to_string();
    let sha256 = input::hex(&Sha256::digest(&bytes));
    let stem = name.trim_end_matches(".gz").trim_end_matches(".xz").trim_end_matches(".zst");
    let rows = match Path::new(stem).extension().and_then(|ending| ending.to_str()) {
        Some("csv") => from_csv(&name, &text(&name, bytes)?)?,
        Some("txt") => {
            let columns = Map::from_iter([("text".to_owned(), Value::String(text(&name, bytes)?))]);
            vec![TaskRow { place: name.clone(), columns }]
        }
        _ => from_objects(&name, bytes)?,
    };
    if rows.is_empty() {
        let hint = "check that the file was written to its end".into();
        return Err(Failure::Input { problem: format!("{name}: the file holds no rows"), hint }.into());
    }
    Ok(Rows { all: rows, file, split, sha256 })
}

fn text(file: &str, bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| Failure::Input {
        problem: format!("{file}: not UTF-8 at offset {}", error.utf8_error().valid_up_to()),
        hint: "save the file as UTF-8 text; UTF-16 and Windows-1252 are not read".into(),
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn from_objects(name: &str, bytes: Vec<u8>) -> Result<Vec<TaskRow>> {
    let mut rows = Vec::new();
    input::each_as_written(name, bytes, |Place { file, line }, columns| {
        rows.push(TaskRow { place: format!("{file}:{line}"), columns });
        Ok(())
    })?;
    Ok(rows)
}

/// Cells that hold a list or a mapping as JSON are read as such.
fn from_csv(name: &str, text: &str) -> Result<Vec<TaskRow>> {
    let cell = |(column, value): (String, Value)| {
        let json = value.as_str().filter(|text| text.starts_with(['[', '{']));
        let json = json.and_then(|text| serde_json::from_str(text).ok());
        (column, json.unwrap_or(value))
    };
    let row = |(line, columns): (usize, Map<String, Value>)| TaskRow {
        place: format!("{name}:{line}"),
        columns: columns.into_iter().map(cell).collect(),
    };
    Ok(data::csv_rows(name, text)?.into_iter().map(row).collect())
}
