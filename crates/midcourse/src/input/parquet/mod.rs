//! Rows of Parquet files, as JSON objects.
//!
//! A file is decoded a few rows at a time, and of its columns those that some format reads. Strings are views of the
//! pages that hold them, so that a text that many rows share is there once. What the arrow schema of the writer says
//! besides (dictionaries, large strings) is left alone: columns are read as Parquet itself types them.
//!
//! Files are hostile. The library allocates what a file claims and nests as deep as it says, so the claims are checked
//! before it is called ([`claims`]); where it panics, that becomes an error.

mod claims;
mod thrift;

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use bytes::Bytes;
use midcourse_engine::contain::contain;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use serde_json::{Map, Value};

use super::MAX_BYTES;
use crate::failure::Failure;

/// What every Parquet file begins and ends with.
pub(super) const MAGIC: &[u8] = b"PAR1";
/// More than any set of prompts has; a few bytes can claim billions.
const MAX_ROWS: usize = 1 << 26;
/// How many times its size a file larger than a few megabytes may grow: a few bytes can repeat a text without end.
const MAX_GROWTH: u64 = 256;
/// A longer list is no conversation.
const MAX_LIST: usize = 1 << 16;

/// The rows of a file, decoded as they are asked for.
pub(super) struct Rows<'a> {
    file: &'a str,
    /// Which columns are decoded, by their names in lower case.
    is_wanted: fn(&str) -> bool,
    /// What a column is called in a row.
    called: fn(&str) -> String,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    /// Row groups that are still to be opened.
    groups: Range<usize>,
    batches: Option<ParquetRecordBatchReader>,
    /// A few rows, and the one that comes next.
    batch: Option<(RecordBatch, usize)>,
    /// Rows that have been read.
    n_read: usize,
    /// Bytes of text that the rows have held so far, and may hold.
    n_bytes: u64,
    max_bytes: u64,
}

impl<'a> Rows<'a> {
    /// Reads the footer; `file` is the name that messages give the file, `is_wanted` tells which columns are decoded.
    pub(super) fn open(file: &'a str, bytes: Vec<u8>, is_wanted: fn(&str) -> bool) -> Result<Self> {
        claims::check_footer(&bytes).map_err(|problem| broken(file, &problem))?;
        let max_bytes = (bytes.len() as u64 * MAX_GROWTH).clamp(1 << 30, MAX_BYTES);
        let bytes = Bytes::from(bytes);
        let load = || -> parquet::errors::Result<_> {
            let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let plain = ArrowReaderMetadata::load(&bytes, options())?;
            let fields: Vec<_> = plain.schema().fields().iter().map(with_views).collect();
            let options = options().with_schema(Arc::new(Schema::new(fields)));
            ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options)
        };
        let metadata = library(file, contain(load))?;
        let rows = Self {
            file,
            is_wanted,
            called: str::to_lowercase,
            bytes,
            groups: 0..metadata.metadata().num_row_groups(),
            metadata,
            batches: None,
            batch: None,
            n_read: 0,
            n_bytes: 0,
            max_bytes,
        };
        rows.check_columns()?;
        Ok(rows)
    }

    /// The same, columns called as they are written.
    pub(super) fn called_as_written(self) -> Self {
        Self { called: str::to_owned, ..self }
    }

    /// Names of columns are compared in lower case, as those of CSV files are.
    fn is_read(&self, column: &str) -> bool {
        (self.is_wanted)(&column.to_lowercase())
    }

    /// Refuses a column that a format reads and that holds something else than rows can.
    fn check_columns(&self) -> Result<()> {
        let mut columns = self.metadata.schema().fields().iter().filter(|field| self.is_read(field.name()));
        match columns.find(|field| !is_value(field.data_type())) {
            None => Ok(()),
            Some(field) => Err(Failure::Input {
                problem: format!(
                    "{}: the column `{}`: expected texts, truth values, numbers, or lists or structures of them, \
                     found {}",
                    self.file,
                    field.name(),
                    field.data_type()
                ),
                hint: "write the column as strings, or leave it out".into(),
            }
            .into()),
        }
    }

    /// Begins with the next row group; none after the last.
    fn open_group(&mut self) -> Option<Result<()>> {
        let group = self.groups.next()?;
        let opened = self.group(group).map(|batches| self.batches = Some(batches));
        Some(opened)
    }

    fn group(&self, group: usize) -> Result<ParquetRecordBatchReader> {
        let metadata = self.metadata.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let is_read = |leaf: usize| self.is_read(schema.get_column_root(leaf).name());
        let checked = contain(|| claims::check_group(&self.bytes, metadata.row_group(group), is_read));
        let batch_size =
            checked.and_then(|checked| checked).map_err(|problem| broken(self.file, &problem))?;
        let leaves = ProjectionMask::leaves(schema, (0..schema.num_columns()).filter(|leaf| is_read(*leaf)));
        let build = || {
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone());
            builder.with_row_groups(vec![group]).with_projection(leaves).with_batch_size(batch_size).build()
        };
        library(self.file, contain(build))
    }

    /// The row with the number `at` of a batch, all columns of the file among its fields.
    fn row(&mut self, batch: &RecordBatch, at: usize) -> Result<Map<String, Value>> {
        let mut cells = Cells::default();
        let mut row = Map::new();
        for field in self.metadata.schema().fields() {
            let value = match batch.column_by_name(field.name()).filter(|_| self.is_read(field.name())) {
                Some(column) => cells.value(column.as_ref(), at),
                None => Ok(Value::Null),
            };
            let value = value.map_err(|problem| {
                broken(
                    self.file,
                    &format!("row {}: the column `{}`: {problem}", self.n_read + 1, field.name()),
                )
            })?;
            row.insert((self.called)(field.name()), value);
        }
        self.n_read += 1;
        self.n_bytes += cells.n_bytes;
        if self.n_read > MAX_ROWS || self.n_bytes > self.max_bytes {
            return Err(Failure::Input {
                problem: format!(
                    "{}: it holds more than {MAX_ROWS} rows, or more than {} bytes of text",
                    self.file, self.max_bytes
                ),
                hint: "divide it into several files".into(),
            }
            .into());
        }
        Ok(row)
    }

    fn read(&mut self) -> Option<Result<Map<String, Value>>> {
        loop {
            if let Some((batch, at)) = self.batch.take().filter(|(batch, at)| *at < batch.num_rows()) {
                let row = self.row(&batch, at);
                self.batch = Some((batch, at + 1));
                return Some(row);
            }
            let next = self.batches.as_mut().map(|batches| contain(|| batches.next().transpose()));
            match next.map(|next| library(self.file, next)) {
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(Some(batch))) => self.batch = Some((batch, 0)),
                Some(Ok(None)) | None => {
                    self.batches = None;
                    if let Err(error) = self.open_group()? {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Map<String, Value>>;

    /// The next row; nothing comes after an error.
    fn next(&mut self) -> Option<Self::Item> {
        let row = self.read();
        if let Some(Err(_)) = row {
            (self.groups, self.batches, self.batch) = (0..0, None, None);
        }
        row
    }
}

/// The field with views in the place of strings.
fn with_views(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::List(inner) => DataType::List(with_views(inner)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(with_views).collect()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}

/// Whether a column holds what JSON can say.
fn is_value(kind: &DataType) -> bool {
    match kind {
        DataType::List(inner) => is_value(inner.data_type()),
        DataType::Struct(_) | DataType::Utf8View | DataType::Boolean | DataType::Null => true,
        // Half precision is no number of JSON's.
        kind => kind.is_numeric() && kind.is_primitive() && !matches!(kind, DataType::Float16),
    }
}

/// Cells of a row on the way to JSON.
#[derive(Default)]
pub(super) struct Cells {
    /// Bytes of their texts.
    n_bytes: u64,
}

impl Cells {
    /// The value that stands in a column at a row. What no format reads of a structure is null.
    pub(super) fn value(&mut self, column: &dyn Array, at: usize) -> Result<Value, String> {
        if column.is_null(at) {
            return Ok(Value::Null);
        }
        Ok(match column.data_type() {
            DataType::Utf8View => {
                let text = column.as_string_view().value(at);
                self.n_bytes += text.len() as u64;
                text.into()
            }
            DataType::Utf8 => column.as_string::<i32>().value(at).into(),
            DataType::LargeUtf8 => column.as_string::<i64>().value(at).into(),
            DataType::Boolean => column.as_boolean().value(at).into(),
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(column.as_struct().columns());
                let cell = |(field, column): (&FieldRef, &arrow_array::ArrayRef)| {
                    Ok((field.name().clone(), self.value(column.as_ref(), at)?))
                };
                Value::Object(columns.map(cell).collect::<Result<_, String>>()?)
            }
            DataType::List(_) => {
                let list = column.as_list::<i32>().value(at);
                if list.len() > MAX_LIST {
                    return Err(format!(
                        "expected at most {MAX_LIST} values in a list, found {}",
                        list.len()
                    ));
                }
                Value::Array(
                    (0..list.len()).map(|at| self.value(list.as_ref(), at)).collect::<Result<_, _>>()?,
                )
            }
            kind => number(kind, column, at),
        })
    }
}

fn number(kind: &DataType, column: &dyn Array, at: usize) -> Value {
    match kind {
        DataType::Int8 => of::<Int8Type>(column, at),
        DataType::Int16 => of::<Int16Type>(column, at),
        DataType::Int32 => of::<Int32Type>(column, at),
        DataType::Int64 => of::<Int64Type>(column, at),
        DataType::UInt8 => of::<UInt8Type>(column, at),
        DataType::UInt16 => of::<UInt16Type>(column, at),
        DataType::UInt32 => of::<UInt32Type>(column, at),
        DataType::UInt64 => of::<UInt64Type>(column, at),
        DataType::Float32 => of::<Float32Type>(column, at),
        DataType::Float64 => of::<Float64Type>(column, at),
        _ => Value::Null,
    }
}

fn of<T: ArrowPrimitiveType<Native: Into<Value>>>(column: &dyn Array, at: usize) -> Value {
    column.as_primitive::<T>().value(at).into()
}

/// What the library says, with its panics and errors as ours.
fn library<T, E: ToString>(file: &str, said: Result<Result<T, E>, String>) -> Result<T> {
    let said = said.and_then(|said| said.map_err(|error| error.to_string()));
    said.map_err(|problem| broken(file, &problem).into())
}

fn broken(file: &str, problem: &str) -> Failure {
    Failure::Input {
        problem: format!("{file}: it cannot be read as Parquet: {problem}"),
        hint: "write the table again, with snappy, zstd or no compression and row groups of at most a million rows"
            .into(),
    }
}
