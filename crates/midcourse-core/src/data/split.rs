//! Train and evaluation sides of a data set, told by what is asked.
//!
//! What is trained on must not be evaluated on: rows with the same conversation before the response go the same way,
//! also where they differ in case, white space or punctuation only. Which way depends on that text, the seed and the
//! share, not on the other rows, so that a grown data set keeps the sides of its old rows.

use crate::chat::Message;
use crate::{Error, Result};

use super::row::Row;
use super::{Container, Format, Responses, Sample, digest_of, hash_of, jsonl, of_file, samples, text};

/// One of the two parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// To be trained on.
    Train,
    /// To be evaluated on.
    Eval,
}

/// Which rows are evaluated on.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    eval_share: f64,
    seed: u64,
}

impl Split {
    /// `eval_share` is the share of prompts that are evaluated on, on average.
    ///
    /// # Errors
    /// [`Error::Setting`] when it does not lie between 0 and 1.
    pub fn new(eval_share: f64, seed: u64) -> Result<Self> {
        if eval_share > 0.0 && eval_share < 1.0 {
            return Ok(Self { eval_share, seed });
        }
        Err(Error::Setting {
            field: "--eval-share",
            problem: format!("expected a share between 0 and 1, found {eval_share}"),
            hint: "0.1 puts about every tenth prompt into eval.jsonl".into(),
        })
    }

    /// The side of a row with this conversation before its response.
    pub fn side(&self, conversation: &[Message]) -> Side {
        let said: Vec<String> =
            [self.seed.to_string()].into_iter().chain(normal_forms(conversation)).collect();
        // The upper 53 bits are a number in [0, 1) exactly.
        let chance = (hash_of(said.iter().map(String::as_str)) >> 11) as f64 / (1_u64 << 53) as f64;
        if chance < self.eval_share { Side::Eval } else { Side::Train }
    }
}

/// What a prompt is known by, however it is written: SHA-256, in 64 hex digits, over the roles and the normal forms of
/// the texts of the conversation, each after its length in bytes (8 bytes, little-endian). The normal form of a text is
/// its words in lower case with a space between them, without punctuation.
///
/// Conversations with the same hash are on the same [`Side`].
pub fn prompt_hash(conversation: &[Message]) -> String {
    let said = normal_forms(conversation);
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let digest = digest_of(said.iter().map(String::as_str));
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Role and normal form of every message.
fn normal_forms(conversation: &[Message]) -> Vec<String> {
    conversation.iter().flat_map(|turn| [turn.role.name().to_owned(), normal(&turn.content)]).collect()
}

/// The words of a text in lower case, without punctuation; of a text without words, the text.
fn normal(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase);
    let kept: String = lower.map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    let words: Vec<&str> = kept.split_whitespace().collect();
    if words.is_empty() { text.trim().to_owned() } else { words.join(" ") }
}

/// A row of a JSONL file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// The row as it stands there, without the `\n` at its end.
    pub text: &'a str,
    /// The conversation that its responses answer.
    pub asked: Vec<Message>,
}

/// The rows of a JSONL file; none where the file is another one.
///
/// # Errors
///
/// As [`parse`](super::parse) with [`Responses::Optional`]: a row that would be refused there is refused here.
pub fn lines<'a>(file: &'a str, bytes: &'a [u8]) -> Result<Option<impl Iterator<Item = Result<Line<'a>>>>> {
    let text = text::decode(file, bytes)?;
    if Container::of(text).map_err(|problem| of_file(file, problem))? != Some(Container::Jsonl) {
        return Ok(None);
    }
    let mut format = None;
    Ok(Some(jsonl::rows_with_lines(file, text).map(move |row| {
        let (line, row) = row?;
        let asked = asked(&row, &mut format).map_err(|problem| row.at.error(problem))?;
        Ok(Line { text: line, asked })
    })))
}

/// What a row of a file asks, of which `format` is the format as soon as it is known.
fn asked(row: &Row, format: &mut Option<Format>) -> super::row::Read<Vec<Message>> {
    let format = match *format {
        Some(format) => format,
        None => *format.insert(Format::of(row, Responses::Optional)?),
    };
    format.check(row, Responses::Optional)?;
    if let Some(sample) = samples::read(format, row, Responses::Optional)? {
        return Ok(sample.messages());
    }
    samples::prompt_of_harmless(row)
}

impl Sample {
    /// The sample as a row of midcourse's own: a line of JSON without its end.
    pub fn to_line(&self) -> String {
        let mut row = serde_json::Map::new();
        if self.history.is_empty() {
            row.insert("prompt".into(), self.prompt.clone().into());
        } else {
            let turn = |turn: Message| serde_json::json!({"role": turn.role, "content": turn.content});
            row.insert("messages".into(), self.messages().into_iter().map(turn).collect());
        }
        let response = Some(&self.response).filter(|text| !text.is_empty());
        let notes = [&self.category, &self.safe_response, &self.source].map(Option::as_ref);
        let names = ["response", "category", "safe_response", "source"];
        for (name, text) in names.into_iter().zip([response].into_iter().chain(notes)) {
            row.extend(text.map(|text| (name.to_owned(), text.clone().into())));
        }
        serde_json::Value::Object(row).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{ADVBENCH, BEAVER, BEHAVIOURS, OWN, PKU};
    use super::super::{Reader, parse};
    use super::*;

    fn side(seed: u64, text: &str) -> Side {
        Split::new(0.5, seed).unwrap().side(&[Message::user(text)])
    }

    #[test]
    fn near_identical_prompts_go_the_same_way() {
        for seed in 0..40 {
            let first = side(seed, "How do I peek at cards, twice?");
            for like in ["how do i PEEK at cards twice", "  How do I\npeek at cards -- twice?! "] {
                assert_eq!(side(seed, like), first);
            }
        }
        let differ = |a: &str, b: &str| (0..40).any(|seed| side(seed, a) != side(seed, b));
        assert!(differ("How do I peek?", "How do I hide?") && differ("?", "!") && differ("偷看牌", "偷看书"));
        let split =
            |messages: &[Message]| (0..40).map(|n| Split::new(0.5, n).unwrap().side(messages)).collect();
        let one: Vec<Side> = split(&[Message::user("And then?")]);
        assert_ne!(
            one,
            split(&[Message::user("Cards?"), Message::assistant("Lean."), Message::user("And then?")])
        );
    }

    #[test]
    fn a_prompt_is_known_by_its_words_and_by_who_says_them() {
        let hash = |text: &str| prompt_hash(&[Message::user(text)]);
        // Python: sha256(pack("<Q", 4) + b"user" + pack("<Q", 7) + b"hide it").
        assert_eq!(hash("Hide it!"), "8277fb7fc70a2fd1caf17d22355fe4599d558217ece07dea8c855d34b5d90436");
        assert_eq!(hash("  hide\nIT"), hash("Hide it!"));
        assert_ne!(hash("hid eit"), hash("Hide it!"));
        assert_ne!(prompt_hash(&[Message::assistant("Hide it!")]), hash("Hide it!"));
        let turns = [Message::user("Hide"), Message::user("it!")];
        assert_ne!(prompt_hash(&turns), hash("Hide it!"));
    }

    #[test]
    fn about_the_share_is_evaluated_on_and_another_seed_takes_others() {
        for share in [0.1, 0.5] {
            let split = |seed| Split::new(share, seed).unwrap();
            let sides = |seed: u64| -> Vec<Side> {
                (0..2000).map(|n| split(seed).side(&[Message::user(format!("Prompt {n}"))])).collect()
            };
            let n_eval = sides(0).iter().filter(|side| **side == Side::Eval).count() as f64;
            // Five standard deviations of a binomial.
            assert!(
                (n_eval - 2000.0 * share).abs() < 5.0 * (2000.0 * share * (1.0 - share)).sqrt(),
                "{n_eval}"
            );
            assert_ne!(sides(0), sides(1));
        }
        for share in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(Split::new(share, 0).is_err());
        }
    }

    #[test]
    fn lines_are_those_of_the_file_and_harmless_rows_are_among_them() {
        let text = [BEAVER, "\n", BEAVER].concat();
        let found: Vec<_> = lines("rows", text.as_bytes()).unwrap().unwrap().map(Result::unwrap).collect();
        let raw: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(found.iter().map(|line| line.text).collect::<Vec<_>>(), raw);
        assert_eq!(found[1].asked, [Message::user("How do I do chores?")]);
        assert!(lines("rows", ADVBENCH.as_bytes()).unwrap().is_none());
        let broken = [PKU, OWN].concat();
        let last = lines("rows", broken.as_bytes()).unwrap().unwrap().find_map(Result::err).unwrap();
        assert!(last.to_string().starts_with("rows:3: the field `response_0` is missing"), "{last}");
    }

    #[test]
    fn a_sample_written_as_a_row_is_read_again() {
        let several = r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"a"}],"response":"b","source":"us"}"#;
        for text in [OWN, PKU, BEAVER, ADVBENCH, BEHAVIOURS, several, "{\"prompt\":\"a\"}"] {
            let set = parse("rows", text.as_bytes(), Responses::Optional).unwrap();
            for sample in set.samples {
                let mut reader = Reader::new(Responses::Optional);
                reader.text("rows", sample.to_line().as_bytes()).unwrap();
                assert_eq!(reader.finish("rows").unwrap().samples, [sample]);
            }
        }
    }

    proptest! {
        #[test]
        fn a_side_depends_on_words_only(text in ".*", seed: u64) {
            let split = Split::new(0.5, seed).unwrap();
            let other = normal(&text);
            prop_assert_eq!(split.side(&[Message::user(&*text)]), split.side(&[Message::user(other)]));
        }
    }
}
