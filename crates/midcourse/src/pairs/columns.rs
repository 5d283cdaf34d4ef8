//! Pairs as Parquet: the columns of TRL's conversational preferences.
//!
//! An answer stands in several pairs. It is in memory once, and once in the dictionary of its column in every row
//! group, so row groups are bounded by the text that their rankings hold. Nothing may be null. No Arrow schema is
//! stored: `datasets` reads plain strings, whatever the encoding.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use midcourse_core::chat::Role;
use midcourse_core::synth::{Answer, Pair, Ranking, pairs};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::Sink;
use super::split::Split;
use crate::storage::{NewFile, StorageError};

/// Levels: a message begins a row (repetition 0) or is a further one of its prompt (1), and is always there
/// (definition 1).
const SCHEMA: &str = "message pairs {
    REQUIRED GROUP prompt (LIST) { REPEATED GROUP list { REQUIRED GROUP element {
        REQUIRED BINARY role (STRING); REQUIRED BINARY content (STRING); } } }
    REQUIRED GROUP chosen (LIST) { REPEATED GROUP list { REQUIRED GROUP element {
        REQUIRED BINARY role (STRING); REQUIRED BINARY content (STRING); } } }
    REQUIRED GROUP rejected (LIST) { REPEATED GROUP list { REQUIRED GROUP element {
        REQUIRED BINARY role (STRING); REQUIRED BINARY content (STRING); } } }
    REQUIRED BINARY sample_id (STRING);
    REQUIRED INT64 chosen_rank;
    REQUIRED INT64 rejected_rank;
    REQUIRED INT64 chosen_prefix_chars;
    REQUIRED INT64 rejected_prefix_chars;
    REQUIRED BINARY set (STRING);
}";
/// Bytes of the rankings' texts that make a row group full.
pub(super) const GROUP_BYTES: usize = 16 << 20;
/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

type Written<T> = Result<T, ParquetError>;

/// A Parquet file in the making.
pub(crate) struct ParquetFile {
    path: PathBuf,
    writer: SerializedFileWriter<NewFile>,
    group: Group,
    group_bytes: usize,
}

impl ParquetFile {
    /// Begins a file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let writer = SerializedFileWriter::new(NewFile::create(path)?, schema, properties()?);
        let writer = writer.map_err(|error| cannot_write(path, error))?;
        Ok(Self { path: path.to_owned(), writer, group: Group::default(), group_bytes: GROUP_BYTES })
    }

    /// With row groups of another size.
    pub(super) fn with_groups_of(self, group_bytes: usize) -> Self {
        Self { group_bytes, ..self }
    }

    /// Adds every pair of a ranking.
    pub(super) fn add(&mut self, ranking: Ranking) -> Result<()> {
        self.group.add(ranking);
        if self.group.n_bytes >= self.group_bytes { self.write_group() } else { Ok(()) }
    }

    /// Bytes that were written.
    pub(super) fn n_bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    fn write_group(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        group.write(&mut self.writer).map_err(|error| cannot_write(&self.path, error))
    }

    /// Writes what is left, and gives the file its name.
    pub(super) fn close(mut self) -> Result<()> {
        if self.group.n_bytes > 0 {
            self.write_group()?;
        }
        let path = self.path;
        let file = self.writer.into_inner().map_err(|error| cannot_write(&path, error))?;
        Ok(file.finish()?)
    }
}

impl Sink for ParquetFile {
    fn take(&mut self, _: Split, ranking: Ranking) -> Result<usize> {
        self.add(ranking)?;
        Ok(0)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.close()
    }
}

/// What the system said, where it was the system.
fn cannot_write(path: &Path, error: ParquetError) -> anyhow::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(source) => StorageError::Io { path: path.to_owned(), source: *source }.into(),
            Err(other) => anyhow::anyhow!(other),
        },
        other => other.into(),
    }
}

fn properties() -> Written<WriterPropertiesPtr> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("midcourse version ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        // A row group bounds its dictionaries; one that was given up would write an answer once a pair.
        .set_dictionary_page_size_limit(usize::MAX)
        // The least and the greatest of texts help nobody to find a row.
        .set_statistics_enabled(EnabledStatistics::None);
    Ok(Arc::new(properties.build()))
}

/// Rows in the making, as columns.
#[derive(Default)]
struct Group {
    /// Bytes of the rankings' texts.
    n_bytes: usize,
    prompt: Messages,
    chosen: Messages,
    rejected: Messages,
    sample_id: Vec<ByteArray>,
    chosen_rank: Vec<i64>,
    rejected_rank: Vec<i64>,
    chosen_prefix_chars: Vec<i64>,
    rejected_prefix_chars: Vec<i64>,
    set: Vec<ByteArray>,
}

/// A column of lists of messages, none of them empty.
#[derive(Default)]
struct Messages {
    role: Vec<ByteArray>,
    content: Vec<ByteArray>,
    repetition: Vec<i16>,
}

/// Role and text of a message; cloning it copies no text.
type Shared = (ByteArray, ByteArray);

fn shared(role: Role, content: String) -> Shared {
    (role.name().into(), content.into_bytes().into())
}

impl Messages {
    /// Adds the messages of one row.
    fn add(&mut self, row: &[Shared]) {
        for (i, (role, content)) in row.iter().enumerate() {
            self.role.push(role.clone());
            self.content.push(content.clone());
            self.repetition.push(i16::from(i > 0));
        }
    }
}

impl Group {
    /// Adds a row a pair.
    fn add(&mut self, mut ranking: Ranking) {
        let prompt: Vec<Shared> =
            std::mem::take(&mut ranking.prompt).into_iter().map(|m| shared(m.role, m.content)).collect();
        let take_text = |answer: &mut Answer| shared(Role::Assistant, std::mem::take(&mut answer.text));
        let texts: Vec<Shared> = ranking.answers.iter_mut().map(take_text).collect();
        self.n_bytes += prompt.iter().chain(&texts).map(|(_, content)| content.len()).sum::<usize>();
        let text = |answer: &Answer| {
            let place = ranking.answers.partition_point(|other| other.rank < answer.rank);
            std::slice::from_ref(&texts[place])
        };
        let sample = ByteArray::from(ranking.sample.as_str());
        let set = ByteArray::from(super::set_name(ranking.set));
        for Pair { chosen, rejected } in pairs(&ranking) {
            self.prompt.add(&prompt);
            self.chosen.add(text(chosen));
            self.rejected.add(text(rejected));
            self.sample_id.push(sample.clone());
            self.chosen_rank.push(integer(chosen.rank));
            self.rejected_rank.push(integer(rejected.rank));
            self.chosen_prefix_chars.push(integer(chosen.prefix_chars));
            self.rejected_prefix_chars.push(integer(rejected.prefix_chars));
            self.set.push(set.clone());
        }
    }

    /// Writes the columns in the order of the schema.
    fn write<W: Write + Send>(&self, file: &mut SerializedFileWriter<W>) -> Written<()> {
        let mut group = file.next_row_group()?;
        for Messages { role, content, repetition } in [&self.prompt, &self.chosen, &self.rejected] {
            let definition = vec![1; repetition.len()];
            for values in [role, content] {
                column::<ByteArrayType, _>(&mut group, values, Some((&definition, repetition)))?;
            }
        }
        column::<ByteArrayType, _>(&mut group, &self.sample_id, None)?;
        for values in
            [&self.chosen_rank, &self.rejected_rank, &self.chosen_prefix_chars, &self.rejected_prefix_chars]
        {
            column::<Int64Type, _>(&mut group, values, None)?;
        }
        column::<ByteArrayType, _>(&mut group, &self.set, None)?;
        group.close().map(|_| ())
    }
}

/// Writes the next column of a row group; `levels` are those of definition and repetition.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<(&[i16], &[i16])>,
) -> Written<()> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    let (definition, repetition) = levels.unzip();
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}

/// A number of the file's type; the reader of rankings takes no larger one.
fn integer(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
