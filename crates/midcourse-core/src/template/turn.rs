//! The assistant's turn, opened: what a template writes around what people say.
//!
//! The conversation is rendered with unique markers in the place of the texts; what lies between them is the
//! template's own. The real conversation is rendered too and must be those parts with the real texts between
//! them, byte for byte, up to a marker at the end of the response. A text before the response may be trimmed,
//! which many templates do.
//!
//! Source: `continue_final_message` of transformers, which cuts at such a marker as well.

use std::ops::Range;

use super::ChatTemplate;
use super::chat_template::NextTurn;
use super::framing::{Rewriting, System, Thinking};
use crate::chat::Message;
use crate::{Error, Result};

const SYSTEM_MARK: &str = "\u{e000}system\u{e001}";
const PROMPT_MARK: &str = "\u{e000}prompt\u{e001}";
const RESPONSE_MARK: &str = "\u{e000}response\u{e001}";
const LATER_MARK: &str = "\u{e000}later\u{e001}";

/// An opened turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// The conversation up to the end of the response.
    pub answered: Written,
    /// The conversation with the answer about to begin.
    pub question: Written,
    /// Where the response begins in `answered`.
    pub response_at: usize,
    /// What stands after the response when it is closed and another turn is opened.
    pub lead: String,
    /// Whether the template changed the response.
    pub rewritten: bool,
}

/// A rendered text and the ranges of it that people said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub text: String,
    pub plain: Vec<Range<usize>>,
}

impl Written {
    fn say(&mut self, text: &str) {
        self.plain.push(self.text.len()..self.text.len() + text.len());
        self.text.push_str(text);
    }
}

/// What a template writes before each of the texts that come before the response, and which text it is.
type Before = Vec<(String, Said)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    System,
    Prompt,
}

/// What people say.
#[derive(Clone, Copy)]
struct Texts<'t> {
    system: Option<&'t str>,
    prompt: &'t str,
}

impl<'t> Texts<'t> {
    fn get(self, said: Said) -> &'t str {
        match said {
            Said::System => self.system.unwrap_or(""),
            Said::Prompt => self.prompt,
        }
    }

    fn messages(self) -> Vec<Message> {
        let system = self.system.map(Message::system);
        system.into_iter().chain([Message::user(self.prompt)]).collect()
    }

    /// The texts as they are, and with each of them trimmed.
    fn variants(self) -> Vec<Self> {
        let trimmed = |text: &'t str| text.trim_matches(super::jinja::is_space);
        let systems = [self.system, self.system.map(trimmed)];
        let prompts = [self.prompt, trimmed(self.prompt)];
        let pairs = systems.into_iter().flat_map(|system| prompts.map(|prompt| Self { system, prompt }));
        pairs.collect()
    }

    fn fill(self, before: &Before) -> Written {
        let mut written = Written::default();
        for (literal, said) in before {
            written.text.push_str(literal);
            written.say(self.get(*said));
        }
        written
    }
}

/// Opens the turn of `response` to `prompt`.
///
/// # Errors
/// When the template fails, cannot be framed as asked, or changes the response and may not.
pub(super) fn open(template: &ChatTemplate, prompt: &str, response: &str) -> Result<Turn> {
    let system = match &template.framing().system {
        System::Text(text) => Some(text.as_str()),
        _ => None,
    };
    let texts = Texts { system, prompt };
    let skeleton = Skeleton::of(template, system.is_some())?;
    let (texts, written) = skeleton.response_as_written(template, texts, response)?;
    let rewritten = written != response;
    if rewritten && template.framing().rewriting == Rewriting::Refused {
        return Err(rewrites(template));
    }
    let mut question = texts.fill(&skeleton.framed);
    let mut answered = question.clone();
    question.text.push_str(&skeleton.question_opening);
    answered.text.push_str(&skeleton.answer_opening);
    let response_at = answered.text.len();
    answered.say(&written);
    Ok(Turn { answered, question, response_at, lead: skeleton.new_turn, rewritten })
}

/// A template's own text.
struct Skeleton {
    /// As the template writes it.
    before: Before,
    /// The same without the system prompt, where none is wanted.
    framed: Before,
    /// Between prompt and response, as the template writes it.
    middle: String,
    /// Between prompt and response.
    answer_opening: String,
    /// After the prompt, when the answer is about to begin.
    question_opening: String,
    new_turn: String,
}

impl Skeleton {
    fn of(template: &ChatTemplate, has_system: bool) -> Result<Self> {
        let marks = Texts { system: has_system.then_some(SYSTEM_MARK), prompt: PROMPT_MARK };
        let mut answered = marks.messages();
        answered.push(Message::assistant(RESPONSE_MARK));
        let literal = template.render(&answered, NextTurn::Opened);
        let literal =
            literal.map_err(|error| if has_system { refuses_system(template, error) } else { error })?;
        let (whole, new_turn) = literal.split_once(RESPONSE_MARK).ok_or_else(|| lacks(template))?;
        let (before, middle) = split(template, whole, has_system)?;
        let once =
            |text: &str| ![SYSTEM_MARK, PROMPT_MARK, RESPONSE_MARK].iter().any(|mark| text.contains(mark));
        if !once(new_turn) {
            return Err(repeats(template));
        }
        let question = template.render(&marks.messages(), NextTurn::Opened)?;
        let (question_before, header) = split(template, &question, has_system)?;
        if question_before != before {
            return Err(unsupported(
                template,
                "writes a question otherwise when an answer follows",
                "give the model another template with --chat-template",
            ));
        }
        let framed = match template.framing().system {
            System::None => without_system(template, &before)?,
            _ => before.clone(),
        };
        let thoughts = Thoughts::of(template, &marks, has_system)?;
        let answer_opening = thoughts.answer_opening(template, &middle, &header)?;
        let question_opening = thoughts.opening(&header);
        let new_turn = thoughts.opening(new_turn);
        Ok(Self { before, framed, middle, answer_opening, question_opening, new_turn })
    }

    /// The response as the template writes it when it is left open, and the texts before it.
    fn response_as_written<'t>(
        &self,
        template: &ChatTemplate,
        texts: Texts<'t>,
        response: &str,
    ) -> Result<(Texts<'t>, String)> {
        let mut messages = texts.messages();
        messages.push(Message::assistant(format!("{response}{RESPONSE_MARK}")));
        let marked = template.render(&messages, NextTurn::NotOpened)?;
        let (open, _) = marked.rsplit_once(RESPONSE_MARK).ok_or_else(|| rewrites(template))?;
        let written = texts.variants().into_iter().filter_map(|texts| {
            let before = texts.fill(&self.before).text;
            Some((texts, open.strip_prefix(&before)?.strip_prefix(&self.middle)?))
        });
        let written: Vec<_> = written.collect();
        let whole = written.iter().find(|(_, written)| *written == response);
        let (texts, written) = whole.or(written.first()).ok_or_else(|| rewrites(template))?;
        Ok((*texts, (*written).to_owned()))
    }
}

/// Splits a rendered text at the marks of system prompt and prompt; what follows the last is returned apart.
fn split(template: &ChatTemplate, text: &str, has_system: bool) -> Result<(Before, String)> {
    let marks = [(SYSTEM_MARK, Said::System), (PROMPT_MARK, Said::Prompt)];
    let mut before = Vec::new();
    let mut rest = text;
    loop {
        let found = marks
            .iter()
            .filter_map(|(mark, said)| Some((rest.find(mark)?, mark.len(), *said)))
            .min_by_key(|f| f.0);
        let Some((at, n_bytes, said)) = found else { break };
        if before.iter().any(|(_, seen)| *seen == said) {
            return Err(repeats(template));
        }
        before.push((rest[..at].to_owned(), said));
        rest = &rest[at + n_bytes..];
    }
    if !before.iter().any(|(_, said)| *said == Said::Prompt) {
        return Err(lacks(template));
    }
    if has_system && !before.iter().any(|(_, said)| *said == Said::System) {
        return Err(unsupported(
            template,
            "does not write the system prompt",
            "put the text into the prompts, or give --system default",
        ));
    }
    Ok((before, rest.to_owned()))
}

/// The text before the prompt without any system prompt: the template's, where it writes none by itself, else
/// what begins a later question.
fn without_system(template: &ChatTemplate, before: &Before) -> Result<Before> {
    let [(head, Said::Prompt)] = before.as_slice() else { return Ok(before.clone()) };
    let bos = Some(template.bos()).filter(|bos| head.starts_with(bos)).unwrap_or("");
    let (end_of_turn, between) = after_answers(template)?;
    if between.ends_with(&head[bos.len()..]) {
        return Ok(before.clone());
    }
    let marked = [Message::system(SYSTEM_MARK), Message::user(PROMPT_MARK)];
    let marked = template.render(&marked, NextTurn::Opened).unwrap_or_default();
    let with_system = marked.split_once(PROMPT_MARK).map_or("", |(with_system, _)| with_system);
    let header = with_system.split_once(SYSTEM_MARK).map(|(header, _)| header);
    if header.is_some() && only_adds_a_turn(head, with_system) {
        return Ok(before.clone());
    }
    let opening = between.strip_prefix(&end_of_turn).filter(|opening| head.ends_with(opening));
    // The system prompt must begin where the text does, as a turn of its own or without a header.
    // A beginning of sequence may be a part of the header.
    let begins = |opening: &&str| {
        let after_bos = header.and_then(|header| header.strip_prefix(bos));
        after_bos == Some("") || [header, after_bos].iter().flatten().any(|header| is_header(header, opening))
    };
    match opening.filter(begins) {
        Some(opening) => {
            let bos = if opening.starts_with(bos) { "" } else { bos };
            Ok(vec![(format!("{bos}{opening}"), Said::Prompt)])
        }
        None => Err(cannot_leave_out_system(template)),
    }
}

/// What stands after an answer at the end, and between an answer and the next question.
fn after_answers(template: &ChatTemplate) -> Result<(String, String)> {
    let mut messages = vec![Message::user(PROMPT_MARK), Message::assistant(RESPONSE_MARK)];
    let closed = template.render(&messages, NextTurn::NotOpened)?;
    messages.extend([Message::user(LATER_MARK), Message::assistant("?")]);
    let longer = template.render(&messages, NextTurn::NotOpened)?;
    let after = |text: &str| text.split_once(RESPONSE_MARK).map(|(_, after)| after.to_owned());
    let between = after(&longer).and_then(|text| Some(text.split_once(LATER_MARK)?.0.to_owned()));
    after(&closed).zip(between).ok_or_else(|| cannot_leave_out_system(template))
}

/// Whether `with_system` is `head` with more than the words of a system prompt put in at one place.
fn only_adds_a_turn(head: &str, with_system: &str) -> bool {
    let shared = |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(a, b)| a == b).count();
    let start = shared(&mut head.bytes().zip(with_system.bytes()));
    let end = shared(&mut head.bytes().rev().zip(with_system.bytes().rev()));
    start + end >= head.len() && with_system.len() > head.len() + SYSTEM_MARK.len()
}

/// Whether a turn that `opening` begins for the user would be begun for the system by `header`.
fn is_header(header: &str, opening: &str) -> bool {
    opening.contains("user") && header.starts_with(&opening.replace("user", "system"))
}

fn cannot_leave_out_system(template: &ChatTemplate) -> Error {
    unsupported(
        template,
        "cannot leave its system prompt out",
        "give --system default, or a template without a system prompt with --chat-template",
    )
}

const THOUGHT: &str = "<think>";
const THOUGHT_END: &str = "</think>";

/// How the last thought of a text stands.
enum Thought<'t> {
    None,
    /// What stands before it, in it and after it.
    Closed(&'t str, &'t str, &'t str),
    /// What stands before it.
    Open(&'t str),
}

impl<'t> Thought<'t> {
    fn last_of(text: &'t str) -> Self {
        let Some((before, inside)) = text.rsplit_once(THOUGHT) else { return Self::None };
        match inside.split_once(THOUGHT_END) {
            Some((inside, after)) => Self::Closed(before, inside, after),
            None => Self::Open(before),
        }
    }
}

/// The thought that stands before an answer.
struct Thoughts<'f> {
    thinking: &'f Thinking,
    /// What the template writes around the words of a thought: before them, and after its end.
    around: (String, String),
}

impl<'f> Thoughts<'f> {
    fn of(template: &'f ChatTemplate, marks: &Texts<'_>, has_system: bool) -> Result<Self> {
        let quiet = template.render_thinking(&marks.messages(), NextTurn::Opened, false)?;
        let (_, header) = split(template, &quiet, has_system)?;
        let around = match Thought::last_of(&header) {
            // An empty thought of one line has its words on that line.
            Thought::Closed(_, inside, after) if !inside.contains('\n') => (String::new(), after.to_owned()),
            Thought::Closed(_, _, after) => ("\n".into(), after.to_owned()),
            _ => ("\n".into(), "\n\n".into()),
        };
        Ok(Self { thinking: &template.framing().thinking, around })
    }

    /// A turn's opening with the thought in it.
    fn opening(&self, header: &str) -> String {
        let words = match self.thinking {
            Thinking::Off => return header.to_owned(),
            Thinking::Empty => "",
            Thinking::Text(words) => words,
        };
        let (line, after) = &self.around;
        let thought =
            |before: &str, after: &str| format!("{before}{THOUGHT}{line}{words}{line}{THOUGHT_END}{after}");
        match Thought::last_of(header) {
            Thought::None => thought(header, after),
            Thought::Open(before) => thought(before, after),
            Thought::Closed(..) if words.is_empty() => header.to_owned(),
            Thought::Closed(before, _, after) => thought(before, after),
        }
    }

    /// What stands between prompt and response: as the template writes it where it thinks nothing, and after the
    /// thought of a turn about to begin where there is one.
    fn answer_opening(&self, template: &ChatTemplate, middle: &str, header: &str) -> Result<String> {
        match (self.thinking, Thought::last_of(header)) {
            (Thinking::Off, Thought::Open(_)) => Err(unsupported(
                template,
                "begins every answer with a thought",
                "--thinking empty puts an empty thought before the answers, --thinking TEXT one with words",
            )),
            // Written before an answer that is to come, but stripped from one that is there.
            (Thinking::Off, Thought::Closed(before, ..)) if before == middle => Ok(header.to_owned()),
            (Thinking::Off, _) => Ok(middle.to_owned()),
            _ => Ok(self.opening(header)),
        }
    }
}

impl ChatTemplate {
    /// What the template writes right after an answer: the end of its turn, and perhaps more.
    pub fn after_answer(&self) -> Option<String> {
        let messages = [Message::user("?"), Message::assistant(RESPONSE_MARK)];
        let rendered = self.render(&messages, NextTurn::NotOpened).ok()?;
        Some(rendered.split_once(RESPONSE_MARK)?.1.to_owned())
    }
}

fn refuse(template: &ChatTemplate, problem: &str, hint: &str) -> Error {
    let model = template.model().to_owned();
    Error::Template { model, problem: problem.to_owned(), hint: hint.to_owned() }
}

fn unsupported(template: &ChatTemplate, what: &str, hint: &str) -> Error {
    Error::TemplateCannot { model: template.model().to_owned(), what: what.to_owned(), hint: hint.to_owned() }
}

fn lacks(template: &ChatTemplate) -> Error {
    refuse(
        template,
        "it does not write both prompt and response, in this order",
        "a conversation of one question and one answer must render; see the template's role checks",
    )
}

fn repeats(template: &ChatTemplate) -> Error {
    refuse(
        template,
        "it writes prompt or response more than once",
        "only a template that writes every message once can leave the last one open",
    )
}

fn rewrites(template: &ChatTemplate) -> Error {
    refuse(
        template,
        "it trims or rewrites the response, so the forced prefix would not be the one asked for",
        "--rewritten-prefix allowed forces what the template makes of it; --chat-template takes another template",
    )
}

/// What the template says of a system prompt, when it is the system prompt that it refuses.
fn refuses_system(template: &ChatTemplate, error: Error) -> Error {
    let messages = [Message::user(PROMPT_MARK), Message::assistant(RESPONSE_MARK)];
    match (template.render(&messages, NextTurn::Opened), error) {
        (Ok(_), Error::Template { problem, .. }) => unsupported(
            template,
            &format!("refuses a system prompt ({problem})"),
            "put the text into the prompts, or give --system default",
        ),
        (_, error) => error,
    }
}
