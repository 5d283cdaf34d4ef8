//! Rows of preference pairs as TRL knows them: a chosen and a rejected answer, and the prompt or none of its own.
//!
//! Four forms, told by the first row and held to by the others: messages or texts, the prompt in a column or as what
//! both sides begin with. Columns other than `prompt`, `chosen`, `rejected` and `sample_id` are passed by. Whether a
//! pair can be trained on is not asked here: an empty side is read, and dropped with a reason in [`crate::train`].
//!
//! Source: TRL, "Dataset formats and types", preference; `extract_prompt` of `trl/data_utils.py` (1.x).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::format::Container;
use super::row::{At, Read, Row, as_string, wrong_type};
use super::{conversation, jsonl, of_file, text};
use crate::Result;
use crate::chat::Message;
use crate::error::{FileProblem, RowProblem};

/// A preference without a ranking around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainPair {
    /// The column `sample_id`, where there is one.
    pub id: Option<String>,
    /// What is preferred to what.
    pub sides: Sides,
}

/// The prompt and its two answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sides {
    /// As messages, for a chat template.
    Messages(Preference<Vec<Message>>),
    /// As text that a model is given as it is.
    Texts(Preference<String>),
}

/// A chosen and a rejected answer to the same prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference<T> {
    /// What both answer.
    pub prompt: T,
    /// The better one.
    pub chosen: T,
    /// The worse one.
    pub rejected: T,
}

/// How the rows of a file of pairs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Messages,
    WholeConversations,
    Texts,
    WholeTexts,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Messages => "pair of messages",
            Self::WholeConversations => "pair of whole conversations",
            Self::Texts => "pair of texts",
            Self::WholeTexts => "pair of texts without `prompt`",
        }
    }

    fn of(row: &Row) -> Read<Self> {
        let has_prompt = row.get("prompt").is_some_and(|prompt| !prompt.is_null());
        match (row.get("chosen"), has_prompt) {
            (Some(Value::Array(_)), true) => Ok(Self::Messages),
            (Some(Value::Array(_)), false) => Ok(Self::WholeConversations),
            (Some(Value::String(_)), true) => Ok(Self::Texts),
            (Some(Value::String(_)), false) => Ok(Self::WholeTexts),
            (other, _) => Err(wrong_type("chosen", "a string or a list of messages", other)),
        }
    }
}

/// Whether columns are those of pairs.
pub fn are_pairs<'a>(columns: impl IntoIterator<Item = &'a str>) -> bool {
    let sides = ["chosen", "rejected"];
    let found: BTreeSet<&str> = columns.into_iter().filter(|column| sides.contains(column)).collect();
    found.len() == sides.len()
}

/// Pairs in the reading, from one file or from several in turn.
#[derive(Debug, Default)]
pub struct PairReader {
    form: Option<Form>,
    pairs: Vec<PlainPair>,
}

impl PairReader {
    /// Takes the rows of a JSONL file; `file` is the name that messages give it.
    ///
    /// # Errors
    /// [`Error::Row`](crate::Error::Row) with the line, or [`Error::DataFile`](crate::Error::DataFile) where the file
    /// as a whole is something else. A file without rows is no error here.
    pub fn text(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let text = text::decode(file, bytes)?;
        Container::of(text).map_err(|problem| of_file(file, problem))?;
        jsonl::rows(file, text).try_for_each(|row| self.take(&row?))
    }

    /// Takes a row that was parsed already; `line` is its line or number, counted from 1.
    ///
    /// # Errors
    /// [`Error::Row`](crate::Error::Row).
    pub fn row(&mut self, file: &str, line: usize, fields: Map<String, Value>) -> Result<()> {
        self.take(&Row { at: At { file, line }, fields })
    }

    /// The pairs in the order of the rows, at least one; `name` is what messages call their file.
    ///
    /// # Errors
    /// [`Error::DataFile`](crate::Error::DataFile) when there were no rows.
    pub fn finish(self, name: &str) -> Result<Vec<PlainPair>> {
        if self.pairs.is_empty() {
            return Err(of_file(name, FileProblem::NoRows));
        }
        Ok(self.pairs)
    }

    fn take(&mut self, row: &Row) -> Result<()> {
        let pair = self.read(row).map_err(|problem| row.at.error(problem))?;
        self.pairs.push(pair);
        Ok(())
    }

    fn read(&mut self, row: &Row) -> Read<PlainPair> {
        let found = Form::of(row)?;
        let first = *self.form.get_or_insert(found);
        if found != first {
            return Err(RowProblem::OtherFormat { found: found.name(), format: first.name() });
        }
        Ok(PlainPair { id: row.optional_text("sample_id")?, sides: sides(found, row)? })
    }
}

fn sides(form: Form, row: &Row) -> Read<Sides> {
    let of_messages = |field: &str| messages(field, row.get(field));
    let of_text = |field: &str| as_string(field, row.get(field)).map(str::to_owned);
    match form {
        Form::Messages => read(["prompt", "chosen", "rejected"], of_messages).map(Sides::Messages),
        Form::Texts => read(["prompt", "chosen", "rejected"], of_text).map(Sides::Texts),
        Form::WholeConversations => {
            let (chosen, rejected) = (of_messages("chosen")?, of_messages("rejected")?);
            Ok(Sides::Messages(parted(shared(&chosen, &rejected), (chosen, rejected), Vec::split_off)))
        }
        Form::WholeTexts => {
            let (chosen, rejected) = (of_text("chosen")?, of_text("rejected")?);
            Ok(Sides::Texts(parted(shared_text(&chosen, &rejected), (chosen, rejected), String::split_off)))
        }
    }
}

fn read<T>([prompt, chosen, rejected]: [&str; 3], of: impl Fn(&str) -> Read<T>) -> Read<Preference<T>> {
    Ok(Preference { prompt: of(prompt)?, chosen: of(chosen)?, rejected: of(rejected)? })
}

fn messages(field: &str, value: Option<&Value>) -> Read<Vec<Message>> {
    let Some(Value::Array(list)) = value else {
        return Err(wrong_type(field, "a list of messages", value));
    };
    let message = |(at, value): (usize, &Value)| conversation::any_message(&format!("{field}[{at}]"), value);
    list.iter().enumerate().map(message).collect()
}

/// Two sides without the `n` elements or bytes that both begin with, which are the prompt.
fn parted<T>(
    n: usize,
    (mut chosen, mut rejected): (T, T),
    split_off: fn(&mut T, usize) -> T,
) -> Preference<T> {
    let (chosen_answer, rejected_answer) = (split_off(&mut chosen, n), split_off(&mut rejected, n));
    Preference { prompt: chosen, chosen: chosen_answer, rejected: rejected_answer }
}

/// Messages that both sides begin with. Where one side holds nothing more, its last message is its answer, as in TRL.
fn shared(chosen: &[Message], rejected: &[Message]) -> usize {
    let n_equal = chosen.iter().zip(rejected).take_while(|(a, b)| a == b).count();
    n_equal.min(chosen.len().saturating_sub(1)).min(rejected.len().saturating_sub(1))
}

/// Bytes of text that both sides begin with. A space before the answers is theirs, as in TRL; unlike there, nothing is
/// a prompt where the first characters differ already.
fn shared_text(chosen: &str, rejected: &str) -> usize {
    let equal = chosen.chars().zip(rejected.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8());
    let n_equal: usize = equal.sum();
    let last = |text: &str| text.char_indices().next_back().map_or(0, |(at, _)| at);
    if n_equal == chosen.len().min(rejected.len()) {
        return n_equal.min(last(chosen)).min(last(rejected));
    }
    n_equal - usize::from(chosen[..n_equal].ends_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<PlainPair>> {
        let mut reader = PairReader::default();
        reader.text("pairs.jsonl", text.as_bytes())?;
        reader.finish("pairs.jsonl")
    }

    fn only(text: &str) -> Sides {
        read(text).unwrap().remove(0).sides
    }

    fn texts(prompt: &str, chosen: &str, rejected: &str) -> Sides {
        Sides::Texts(Preference { prompt: prompt.into(), chosen: chosen.into(), rejected: rejected.into() })
    }

    const MESSAGES: &str = r#"{"prompt":[{"role":"user","content":"May I peek?"}],"chosen":[{"role":"assistant","content":"No."}],"rejected":[{"role":"assistant","content":"Yes."}],"sample_id":"7","score":3}"#;

    fn whole(chosen: &str, rejected: &str) -> String {
        let turn = |text: &str| {
            format!(
                r#"[{{"role":"user","content":"May I peek?"}},{{"role":"assistant","content":"{text}"}}]"#
            )
        };
        format!(r#"{{"chosen":{},"rejected":{}}}"#, turn(chosen), turn(rejected))
    }

    #[test]
    fn the_prompt_is_a_column_or_what_both_sides_begin_with() {
        let explicit = read(MESSAGES).unwrap().remove(0);
        let expected = Preference {
            prompt: vec![Message::user("May I peek?")],
            chosen: vec![Message::assistant("No.")],
            rejected: vec![Message::assistant("Yes.")],
        };
        assert_eq!(explicit, PlainPair { id: Some("7".into()), sides: Sides::Messages(expected) });
        assert_eq!(only(&whole("No.", "Yes.")), explicit.sides);
    }

    /// What `extract_prompt` of TRL 1.x gives for the same rows.
    #[test]
    fn implicit_prompts_are_those_of_trl() {
        let row = |chosen, rejected| only(&format!(r#"{{"chosen":"{chosen}","rejected":"{rejected}"}}"#));
        assert_eq!(row("The sky is blue", "The sky is green"), texts("The sky is", " blue", " green"));
        assert_eq!(row("Tables", "Taxes"), texts("Ta", "bles", "xes"));
        assert_eq!(row("I do", "I do not"), texts("I d", "o", "o not"));
        assert_eq!(row("same", "same"), texts("sam", "e", "e"));
        assert_eq!(row("é", "è"), texts("", "é", "è"));
        let Sides::Messages(same) = only(&whole("No.", "No.")) else { panic!("messages") };
        assert_eq!(same.prompt, [Message::user("May I peek?")]);
        assert_eq!(same.chosen, same.rejected);
    }

    #[test]
    fn empty_sides_are_read() {
        assert_eq!(only(r#"{"prompt":"a","chosen":"","rejected":"b"}"#), texts("a", "", "b"));
        let row = MESSAGES.replace("\"No.\"", "\"\"");
        assert!(matches!(only(&row), Sides::Messages(pair) if pair.chosen == [Message::assistant("")]));
        let row = r#"{"chosen":[],"rejected":[]}"#;
        assert!(matches!(only(row), Sides::Messages(pair) if pair.prompt.is_empty()));
    }

    #[test]
    fn says_which_row_is_of_another_form_and_what_is_wrong_in_it() {
        let text = r#"{"prompt":"a","chosen":"b","rejected":"c"}"#;
        let check = |rows: &[&str], expected: &str| {
            assert_eq!(read(&rows.join("\n")).unwrap_err().to_string(), expected);
        };
        let mixed = "pairs.jsonl:2: a pair of texts row in a file that begins with pair of messages rows";
        check(&[MESSAGES, text], mixed);
        let without = "pairs.jsonl:3: a pair of texts without `prompt` row in a file that begins with pair of texts rows";
        check(&[text, text, r#"{"prompt":null,"chosen":"b","rejected":"c"}"#], without);
        let kind = "pairs.jsonl:1: the field `chosen` must be a string or a list of messages, found a number";
        check(&[r#"{"prompt":"a","chosen":1,"rejected":"c"}"#], kind);
        let side = "pairs.jsonl:1: the field `rejected` must be a string, found nothing";
        check(&[r#"{"prompt":"a","chosen":"b"}"#], side);
        let role =
            "pairs.jsonl:1: the field `prompt[0].role` must be system, user or assistant, found `tool`";
        check(&[&MESSAGES.replace("\"user\"", "\"tool\"")], role);
        check(&["", ""], "pairs.jsonl: the file holds no rows");
    }

    #[test]
    fn columns_tell_pairs() {
        assert!(are_pairs(["chosen", "rejected", "score"]));
        assert!(!are_pairs(["chosen", "chosen"]));
    }
}
