//! Rows of Arrow's stream format, as `datasets` keeps them on disk, as JSON objects.

use std::io::Cursor;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use midcourse_engine::contain::contain;
use serde_json::{Map, Value};

use super::parquet::Cells;
use crate::failure::Failure;

/// The rows of a file; the library's panics become errors.
pub(crate) fn rows(file: &str, bytes: Vec<u8>) -> Result<Vec<Map<String, Value>>> {
    let read = || -> Result<Vec<RecordBatch>, arrow_schema::ArrowError> {
        StreamReader::try_new(Cursor::new(bytes), None)?.collect()
    };
    let batches = contain(read).and_then(|batches| batches.map_err(|error| error.to_string()));
    let batches = batches.map_err(|problem| broken(file, &problem))?;
    let mut rows = Vec::new();
    for batch in &batches {
        for at in 0..batch.num_rows() {
            rows.push(row(batch, at).map_err(|problem| broken(file, &problem))?);
        }
    }
    Ok(rows)
}

fn row(batch: &RecordBatch, at: usize) -> Result<Map<String, Value>, String> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let mut cells = Cells::default();
    columns.map(|(field, column)| Ok((field.name().clone(), cells.value(column.as_ref(), at)?))).collect()
}

fn broken(file: &str, problem: &str) -> Failure {
    Failure::Input {
        problem: format!("{file}: it cannot be read as an Arrow stream: {problem}"),
        hint: "the package may be damaged; pull again".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Made by `testdata/arrow.py`.
    const FILE: &[u8] = include_bytes!("../../../../testdata/arrow/rows.arrow");

    #[test]
    fn rows_of_all_batches_are_read_with_what_is_in_them() {
        let rows = Value::Array(rows("f", FILE.to_vec()).unwrap().into_iter().map(Value::Object).collect());
        let expected = json!([
            {"id": "q1", "question": "What melts in the sun?", "choices": {"text": ["Ice", "Stone"], "label": ["A", "B"]}, "n": 1, "is_easy": true},
            {"id": "q2", "question": "Wer wäscht ab?", "choices": {"text": [], "label": []}, "n": null, "is_easy": false},
        ]);
        assert_eq!(rows, expected);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for bytes in [b"ARROW1".to_vec(), FILE[..FILE.len() / 2].to_vec(), Vec::new()] {
            let error = rows("f.arrow", bytes).unwrap_err().to_string();
            assert!(error.starts_with("f.arrow: it cannot be read as an Arrow stream"), "{error}");
        }
    }
}
