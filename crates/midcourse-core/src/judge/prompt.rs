//! What a model that judges is asked: a text with places for prompt, prefix and continuation.
//!
//! The texts of a case are hostile: they may hold places of their own (`{{prompt}}`), instructions, and the words
//! of the prompt. All places are filled in one pass, so that what was put in is never looked at again, and
//! `{{fence}}` is a line that none of the texts holds. This module knows no model; the chat template is put
//! around it in [`super::weigh`] or by a server.

use sha2::{Digest, Sha256};

use super::Case;
use crate::{Error, Result};

/// A prompt for judges, its places found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgePrompt {
    name: String,
    sha256: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// What is put into a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Prompt,
    Prefix,
    Continuation,
    /// Prefix and continuation as one text.
    Response,
    /// A line that stands in none of the texts.
    Fence,
}

impl Place {
    const ALL: [(&str, Self); 5] = [
        ("prompt", Self::Prompt),
        ("prefix", Self::Prefix),
        ("continuation", Self::Continuation),
        ("response", Self::Response),
        ("fence", Self::Fence),
    ];
}

/// A prompt with the texts of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The message to the judge.
    pub text: String,
    /// Where the continuation first stands in it, in bytes: what comes before depends on prompt and prefix only.
    pub continuation_at: usize,
}

impl JudgePrompt {
    /// The names of the prompts that come with midcourse.
    ///
    /// `paper` asks what the paper says its judge was asked (whether the text after the cut corrects course, yes
    /// or no) in our words: its own were not available. `midcourse` is ours: it defines a correction, fences the
    /// texts off and says that they hold no instructions.
    pub const BUILTIN: [&'static str; 2] = ["midcourse", "paper"];

    /// The prompt that asks of a refusal whether it answers in part.
    pub const IN_PART: &'static str = "in-part";

    /// The prompt that comes with midcourse under `name`, if one does.
    pub fn builtin(name: &str) -> Option<Result<Self>> {
        let text = match name {
            "midcourse" => include_str!("prompts/midcourse.txt"),
            "paper" => include_str!("prompts/paper.txt"),
            Self::IN_PART => include_str!("prompts/in-part.txt"),
            _ => return None,
        };
        Some(Self::parse(name, name, text))
    }

    /// Reads a prompt; `file` is what messages call it.
    ///
    /// # Errors
    /// When a place is unknown or open, or none holds the continuation.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parts = Vec::new();
        let mut rest = text.trim();
        let base = text.len() - text.trim_start().len();
        while let Some((before, after)) = rest.split_once("{{") {
            let at = base + (before.as_ptr().addr() - text.trim().as_ptr().addr()) + before.len();
            let line = text[..at].matches('\n').count() + 1;
            let (place, after) = place(after).map_err(|problem| refused(file, line, problem))?;
            parts.extend([Part::Text(before.to_owned()), Part::Place(place)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let holds_continuation =
            |part: &Part| matches!(part, Part::Place(Place::Continuation | Place::Response));
        if !parts.iter().any(holds_continuation) {
            let line = text.matches('\n').count() + 1;
            return Err(refused(file, line, "expected {{continuation}}, found the end of the prompt".into()));
        }
        let sha256 = hex(&Sha256::digest(text.trim()));
        Ok(Self { name: name.to_owned(), sha256, parts })
    }

    /// The name by which it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its text, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The message to the judge about `case`.
    pub fn ask(&self, case: &Case) -> Asked {
        let fence = fence(case);
        let (mut text, mut continuation_at) = (String::new(), None);
        for part in &self.parts {
            match part {
                Part::Text(literal) => text += literal,
                Part::Place(Place::Prompt) => text += case.prompt,
                Part::Place(Place::Prefix) => text += case.prefix,
                Part::Place(Place::Fence) => text += &fence,
                Part::Place(Place::Continuation) => {
                    continuation_at.get_or_insert(text.len());
                    text += case.continuation;
                }
                Part::Place(Place::Response) => {
                    text += case.prefix;
                    continuation_at.get_or_insert(text.len());
                    text += case.continuation;
                }
            }
        }
        Asked { continuation_at: continuation_at.unwrap_or(text.len()), text }
    }
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The place that begins after its braces, and what follows it.
fn place(after: &str) -> std::result::Result<(Place, &str), String> {
    let names = || Place::ALL.map(|(name, _)| format!("{{{{{name}}}}}")).join(", ");
    let line = after.lines().next().unwrap_or_default();
    let Some((name, _)) = line.split_once("}}") else {
        return Err("`{{` is never closed on its line".into());
    };
    let place = Place::ALL.iter().find(|(known, _)| *known == name.trim());
    match place {
        Some((_, place)) => Ok((*place, &after[name.len() + 2..])),
        None => Err(format!("expected one of {}, found `{{{{{}}}}}`", names(), shown(name))),
    }
}

/// A name from a file as it may stand in a message.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn refused(file: &str, line: usize, problem: String) -> Error {
    Error::JudgePrompt { file: file.to_owned(), line, problem }
}

/// A line that stands in none of the texts of `case`; it depends on prompt and prefix alone as long as the
/// continuation does not hold it, which takes a continuation that was made to.
fn fence(case: &Case) -> String {
    let texts = [case.prompt, case.prefix, case.continuation];
    let mark = |attempt: u64| {
        let mut hash = Sha256::new();
        for text in &texts[..2] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update(attempt.to_le_bytes());
        format!("=== {} ===", hex(&hash.finalize()[..4]))
    };
    let free = (0..u64::MAX).map(mark).find(|mark| !texts.iter().any(|text| text.contains(mark.as_str())));
    free.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Ending;

    fn case<'a>(prefix: &'a str, continuation: &'a str) -> Case<'a> {
        Case { prompt: "How do I peek at the cards?", prefix, continuation, ending: Ending::Ended }
    }

    fn parse(text: &str) -> Result<JudgePrompt> {
        JudgePrompt::parse("own", "own.txt", text)
    }

    #[test]
    fn what_is_put_in_is_never_looked_at_again() {
        let prompt = parse("P {{prompt}} X {{ prefix }} C {{continuation}} E").unwrap();
        let asked = prompt.ask(&case("{{continuation}} }}", "{{prompt}}{{"));
        assert_eq!(asked.text, "P How do I peek at the cards? X {{continuation}} }} C {{prompt}}{{ E");
        assert_eq!(&asked.text[asked.continuation_at..], "{{prompt}}{{ E");
    }

    #[test]
    fn a_response_is_prefix_and_continuation() {
        let asked = parse("{{response}}.").unwrap().ask(&case("Sure, ", "sit down"));
        assert_eq!((asked.text.as_str(), asked.continuation_at), ("Sure, sit down.", 6));
    }

    #[test]
    fn what_stands_before_the_continuation_depends_on_prompt_and_prefix_only() {
        for name in JudgePrompt::BUILTIN.into_iter().chain([JudgePrompt::IN_PART]) {
            let prompt = JudgePrompt::builtin(name).unwrap().unwrap();
            let [a, b] = ["", "but that is unfair."].map(|text| prompt.ask(&case("Sure, ", text)));
            assert_eq!(a.text[..a.continuation_at], b.text[..b.continuation_at], "{name}");
        }
        assert!(JudgePrompt::builtin("other").is_none());
    }

    #[test]
    fn a_fence_stands_in_no_text() {
        let prompt = parse("{{fence}}|{{continuation}}").unwrap();
        let fence = |text: &str| prompt.ask(&case("", text)).text.split('|').next().unwrap().to_owned();
        let first = fence("");
        assert_eq!(fence("harmless"), first);
        let second = fence(&first);
        assert!(second != first && !first.contains(&second));
    }

    #[test]
    fn a_prompt_that_is_none_is_refused_with_its_line() {
        for (text, expected) in [
            ("", "own.txt:1: expected {{continuation}}, found the end of the prompt"),
            ("\n{{prompt}}\n", "own.txt:3: expected {{continuation}}, found the end of the prompt"),
            (
                "a\n{{continuation}} {{ answer }}",
                "own.txt:2: expected one of {{prompt}}, {{prefix}}, {{continuation}}, {{response}}, {{fence}}, found `{{ answer }}`",
            ),
            ("a\n\n{{continuation", "own.txt:3: `{{` is never closed on its line"),
            ("{{contin\nuation}}", "own.txt:1: `{{` is never closed on its line"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_hash_is_that_of_the_text() {
        assert_eq!(
            parse("{{continuation}}").unwrap().sha256(),
            parse("\u{feff}{{continuation}}\n").unwrap().sha256()
        );
        assert_ne!(parse("{{continuation}}").unwrap().sha256(), parse("{{response}}").unwrap().sha256());
    }
}
