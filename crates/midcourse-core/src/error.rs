//! Every way in which what the user brought can be wrong, one variant each.
//!
//! A message names the file, line or field, says what was expected and what was found; [`Error::hint`] says
//! what to do next. Mapping to exit codes is the binary's business.

/// What can be wrong with data, templates and plans.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A row of a data file cannot be read.
    #[error("{file}:{line}: {problem}")]
    Row {
        /// The file as the user named it.
        file: String,
        /// Line, counted from 1; of a table that has no lines, its row.
        line: usize,
        /// What was expected and what was found.
        problem: RowProblem,
    },
    /// A data file as a whole cannot be used.
    #[error("{file}: {problem}")]
    DataFile {
        /// The file as the user named it.
        file: String,
        /// What was expected and what was found.
        problem: FileProblem,
    },
    /// A field of a document that has no rows.
    #[error("{file}: {problem}")]
    Field {
        /// The file as the user named it.
        file: String,
        /// What was expected and what was found.
        problem: RowProblem,
    },
    /// A chat template cannot be compiled or rendered.
    #[error("chat template of {model}: {problem}")]
    Template {
        /// The model whose template it is.
        model: String,
        /// What was expected and what was found.
        problem: String,
        /// What to do next.
        hint: String,
    },
    /// A chat template cannot frame a conversation as asked.
    #[error("chat template of {model}: it {what}")]
    TemplateCannot {
        /// The model whose template it is.
        model: String,
        /// What it does, or does not.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// A forced prefix cannot be proved to be what the model sees.
    #[error("sample {sample}: {problem}")]
    Prefill {
        /// The sample's id.
        sample: String,
        /// What was expected and what was found.
        problem: String,
        /// What to do next.
        hint: String,
    },
    /// A prompt for judges cannot be used.
    #[error("{file}:{line}: {problem}")]
    JudgePrompt {
        /// The file as the user named it.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// What was expected and what was found.
        problem: String,
    },
    /// A file that defines a benchmark's task cannot be used.
    #[error("{file}:{line}: {problem}")]
    TaskFile {
        /// The file as the user named it; of a task that is built in its name.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// What was expected and what was found.
        problem: String,
    },
    /// A row cannot be asked as its benchmark's task says.
    #[error("{place}: {problem}")]
    TaskRow {
        /// File and line of the row.
        place: String,
        /// The task, what was expected and what was found.
        problem: String,
        /// What to do next.
        hint: String,
    },
    /// A file of triggers or of refusal openers holds none.
    #[error("{file}: expected a text on a line of its own, found {found}")]
    NoTriggers {
        /// The file as the user named it.
        file: String,
        /// What it holds instead.
        found: &'static str,
    },
    /// Runs that have no measure in common.
    #[error("nothing can be compared: {reasons}")]
    NothingToCompare {
        /// Why, measure by measure.
        reasons: String,
    },
    /// A setting of the plan makes no sense.
    #[error("{field}: {problem}")]
    Setting {
        /// The setting by the name it has on the command line.
        field: &'static str,
        /// What was expected and what was found.
        problem: String,
        /// What to do next.
        hint: String,
    },
}

impl Error {
    /// What the user can do next, in one sentence.
    pub fn hint(&self) -> &str {
        match self {
            Self::Row { problem, .. } | Self::Field { problem, .. } => problem.hint(),
            Self::DataFile { problem, .. } => problem.hint(),
            Self::JudgePrompt { .. } => {
                "a prompt for judges holds {{continuation}} or {{response}}, and may hold {{prompt}}, {{prefix}} and {{fence}}"
            }
            Self::TaskFile { .. } => "docs/tasks.md describes the fields of a task and shows one",
            Self::NoTriggers { .. } => {
                "write one trigger or opener a line; blank lines and lines that begin with # are left out"
            }
            Self::NothingToCompare { .. } => {
                "compare runs of the same data, mode, judge and settings; the model and its adapter may differ"
            }
            Self::Template { hint, .. }
            | Self::TemplateCannot { hint, .. }
            | Self::TaskRow { hint, .. }
            | Self::Prefill { hint, .. }
            | Self::Setting { hint, .. } => hint,
        }
    }
}

/// What can be wrong at one line of a data file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// The bytes are no text.
    #[error("not UTF-8: byte 0x{byte:02X} at offset {offset} of the file")]
    NotUtf8 {
        /// The first byte that does not belong.
        byte: u8,
        /// Its place in the file, counted from 0.
        offset: usize,
    },
    /// A zero byte, which no text file holds.
    #[error("NUL byte at offset {offset} of the file")]
    NulByte {
        /// Its place in the file, counted from 0.
        offset: usize,
    },
    /// A line that is no JSON, or more than one value, or nested too deeply.
    #[error("broken JSON at column {column}: {problem}")]
    BrokenJson {
        /// Character of the line, counted from 1.
        column: usize,
        /// What the parser says.
        problem: String,
    },
    /// A line of JSON that is no object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The kind of what stands there.
        found: &'static str,
    },
    /// A CSV field whose quote is open at the end of the file.
    #[error("the quote at column {column} is never closed")]
    UnclosedQuote {
        /// Character of the line, counted from 1.
        column: usize,
    },
    /// A CSV field that goes on after its closing quote.
    #[error("text at column {column} after the end of a field whose quote opened on line {opened}")]
    TextAfterQuote {
        /// Character of the line, counted from 1.
        column: usize,
        /// Line of the opening quote, counted from 1.
        opened: usize,
    },
    /// A quote inside a CSV field that does not begin with one.
    #[error("a quote at column {column} inside a field that does not begin with one")]
    BareQuote {
        /// Character of the line, counted from 1.
        column: usize,
    },
    /// A CSV row of another width than its header.
    #[error("expected {expected} fields as in the header, found {found}")]
    FieldCount {
        /// Columns of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// A CSV header that names a column twice.
    #[error("the header names the column `{column}` twice")]
    DuplicateColumn {
        /// The column, in lower case.
        column: String,
    },
    /// Columns of no known format.
    #[error("no known format has the columns {found}; known formats: {known}")]
    UnknownColumns {
        /// The columns that are there.
        found: String,
        /// Each format with the columns that tell it.
        known: String,
    },
    /// A row without a field that its format needs.
    #[error("the field `{field}` is missing, which {format} rows have")]
    Missing {
        /// The field's name.
        field: &'static str,
        /// The format of the first row.
        format: &'static str,
    },
    /// A row of another format than the first.
    #[error("a {found} row in a file that begins with {format} rows")]
    OtherFormat {
        /// The format that the row's columns tell.
        found: &'static str,
        /// The format of the first row.
        format: &'static str,
    },
    /// A field that holds a value of the wrong type.
    #[error("the field `{field}` must be {expected}, found {found}")]
    WrongType {
        /// The field's name.
        field: String,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: &'static str,
    },
    /// A needed text that is empty or white space.
    #[error("the field `{field}` is empty")]
    Blank {
        /// The field's name.
        field: String,
    },
    /// A message of nobody who takes part in a conversation.
    #[error("the field `{field}` must be system, user or assistant, found `{found}`")]
    UnknownRole {
        /// The field's name.
        field: String,
        /// What it holds.
        found: String,
    },
    /// Two turns of the assistant with nobody between them.
    #[error("the field `{field}` is a second turn of the assistant in a row")]
    AssistantTwice {
        /// The second of them.
        field: String,
    },
    /// A conversation whose last turn before the response is not the user's.
    #[error("the field `{field}`: the response must answer a turn of the user, found {found}")]
    NothingAsked {
        /// The field's name.
        field: &'static str,
        /// Whose turn it is, in words.
        found: &'static str,
    },
    /// A conversation that nobody answers, where a response is needed.
    #[error("the row has no response: `{field}` ends with the user's turn, and there is no `response`")]
    NoResponse {
        /// The field of the conversation.
        field: &'static str,
    },
    /// A label that no label file has.
    #[error(
        "the field `final_label`: expected 1_full_compliance, 2_full_refusal, 3_partial_refusal, corrected, \
         not_corrected, yes, no or nothing, found `{found}`"
    )]
    UnknownLabel {
        /// What stands there.
        found: String,
    },
    /// A prompt of which nobody can tell whether it may be answered.
    #[error("the field `label` must be safe or unsafe, found `{found}`")]
    UnknownSafety {
        /// What stands there.
        found: String,
    },
    /// A text with U+0000 in it, where many servers would end it.
    #[error("the field `{field}` holds the character U+0000")]
    NulInText {
        /// The field's name.
        field: String,
    },
}

impl RowProblem {
    /// What the user can do next, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } | Self::NulByte { .. } => {
                "save the file as UTF-8 text; UTF-16 and Windows-1252 are not read"
            }
            Self::BrokenJson { .. } | Self::NotAnObject { .. } => {
                "every line must hold one whole JSON object; `jq -c . FILE` writes one a line"
            }
            Self::UnclosedQuote { .. } | Self::TextAfterQuote { .. } | Self::BareQuote { .. } => {
                "a CSV field with a comma, quote or line break stands in quotes, and quotes in it are doubled"
            }
            Self::FieldCount { .. } => {
                "every row has as many fields as the header; a field with a comma stands in quotes"
            }
            Self::DuplicateColumn { .. } => "remove or rename one of the two columns",
            Self::UnknownColumns { .. } => "rename the columns, for example to `prompt` and `response`",
            Self::Missing { .. } => "give the row the fields that the first row has, or remove it",
            Self::OtherFormat { .. } => "keep rows of different formats in different files",
            Self::WrongType { .. } => "correct the value or remove the row",
            Self::Blank { .. } => "fill in the text or remove the row",
            Self::UnknownRole { .. } => {
                "turns of tools and others are not read: correct the role or remove the row"
            }
            Self::AssistantTwice { .. } => "join the two turns, or put the user's between them",
            Self::NothingAsked { .. } => {
                "end the list with the user's turn, or with the answer to it where the row has no `response`"
            }
            Self::NoResponse { .. } => {
                "add the answer as the last message or as `response`, or remove the row"
            }
            Self::UnknownLabel { .. } => "correct the label, or leave it empty for a row without one",
            Self::UnknownSafety { .. } => "correct the label, or remove the row",
            Self::NulInText { .. } => "remove the character or the row",
        }
    }
}

/// What can be wrong with a data file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// No rows at all.
    #[error("the file holds no rows")]
    NoRows,
    /// An artifact without attacks.
    #[error("the file holds no attacks: `jailbreaks` is empty")]
    NoAttacks,
    /// Rows, but none to begin a harmful answer with.
    #[error("no response is unsafe (rows: {n_rows})")]
    NoHarm {
        /// Rows of the file.
        n_rows: usize,
    },
    /// One JSON array instead of an object a line.
    #[error("the file is one JSON array, expected one JSON object a line")]
    JsonArray,
    /// Bytes that are still compressed.
    #[error("the bytes from offset 0 are compressed ({by})")]
    Compressed {
        /// The compression.
        by: &'static str,
    },
    /// A Parquet file.
    #[error("the bytes from offset 0 are a Parquet file")]
    Parquet,
}

impl FileProblem {
    /// What the user can do next, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoRows | Self::NoAttacks => "check that the file was written to its end",
            Self::NoHarm { .. } => "harmless rows are given in midcourse's own format (`prompt`, `response`)",
            Self::JsonArray => "`jq -c '.[]' FILE > rows.jsonl` writes one object a line",
            Self::Compressed { .. } => {
                "decompress the file first, or give its name the ending .gz, .xz or .zst that it should have"
            }
            Self::Parquet => {
                "convert it with pandas: read_parquet(FILE).to_json(OUT, orient=\"records\", lines=True)"
            }
        }
    }
}
