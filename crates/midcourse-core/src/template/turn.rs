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
use crate::chat::{Message, Role};
use crate::{Error, Result};

const SYSTEM_MARK: &str = "\u{e000}system\u{e001}";
const PROMPT_MARK: &str = "\u{e000}prompt\u{e001}";
const RESPONSE_MARK: &str = "\u{e000}response\u{e001}";
const LATER_MARK: &str = "\u{e000}later\u{e001}";

/// What stands in the place of a message, by its number.
fn mark(number: usize) -> String {
    format!("\u{e000}{number}\u{e001}")
}

/// Ways to read a rendered conversation that are followed at once.
const MAX_READINGS: usize = 16;

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

/// What follows the last message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The model's answer, about to begin.
    Answer(Thought),
    /// Nothing: the last message is a finished turn.
    Closed,
}

/// What a thinking model thinks before an answer that is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thought {
    /// As the framing says.
    Framed,
    /// Whatever the model likes: its template is told that it thinks.
    Free,
}

/// What a template writes before each of the messages, and the message's number.
type Before = Vec<(String, usize)>;

/// The messages that stand before the answer.
#[derive(Clone, Copy)]
struct Said<'t>(&'t [Message]);

impl<'t> Said<'t> {
    fn has_system(self) -> bool {
        self.0.iter().any(|message| message.role == Role::System)
    }

    /// The messages, with marks in the place of their texts.
    fn marked(self) -> Vec<Message> {
        let marked =
            |(number, message): (usize, &Message)| Message { role: message.role, content: mark(number) };
        self.0.iter().enumerate().map(marked).collect()
    }

    /// The texts of the messages as `open` has them, each as it is or trimmed, and what stands after them.
    fn readings<'o>(self, before: &Before, open: &'o str) -> Vec<(Vec<&'t str>, &'o str)> {
        let mut readings = vec![(Vec::new(), open)];
        for (literal, number) in before {
            let text = self.0[*number].content.as_str();
            let trimmed = text.trim_matches(super::jinja::is_space);
            let forms = if trimmed == text { vec![text] } else { vec![text, trimmed] };
            let further = readings.iter().flat_map(|(texts, rest)| {
                forms.iter().filter_map(move |form| {
                    let rest = rest.strip_prefix(literal.as_str())?.strip_prefix(form)?;
                    Some((texts.iter().copied().chain([*form]).collect(), rest))
                })
            });
            readings = further.take(MAX_READINGS).collect();
        }
        readings
    }
}

/// A conversation of `before` with the texts put in.
fn fill(before: &Before, texts: &[&str]) -> Written {
    let mut written = Written::default();
    for ((literal, _), text) in before.iter().zip(texts) {
        written.text.push_str(literal);
        written.say(text);
    }
    written
}

/// The system prompt that the framing puts before a conversation that has none, and the conversation.
pub(super) fn framed(template: &ChatTemplate, messages: &[Message]) -> Vec<Message> {
    let has_system = Said(messages).has_system();
    let system = match &template.framing().system {
        System::Text(text) if !has_system => Some(Message::system(text)),
        _ => None,
    };
    system.into_iter().chain(messages.iter().cloned()).collect()
}

/// Opens the turn of `response` to `messages`.
///
/// # Errors
/// When the template fails, cannot be framed as asked, or changes the response and may not.
pub(super) fn open(template: &ChatTemplate, messages: &[Message], response: &str) -> Result<Turn> {
    let messages = framed(template, messages);
    let said = Said(&messages);
    let skeleton = Skeleton::of(template, said)?;
    let (texts, written) = skeleton.response_as_written(template, said, response)?;
    let rewritten = written != response;
    if rewritten && template.framing().rewriting == Rewriting::Refused {
        return Err(rewrites(template));
    }
    let mut question = fill(&skeleton.framed, &texts);
    let mut answered = question.clone();
    question.text.push_str(&skeleton.question_opening);
    answered.text.push_str(&skeleton.answer_opening);
    let response_at = answered.text.len();
    answered.say(&written);
    Ok(Turn { answered, question, response_at, lead: skeleton.new_turn, rewritten })
}

/// A conversation with the answer about to begin, or closed after its last message.
///
/// # Errors
/// When the template fails, cannot be framed as asked, or changes a message.
pub(super) fn conversation(template: &ChatTemplate, messages: &[Message], next: Next) -> Result<Written> {
    let messages = framed(template, messages);
    let said = Said(&messages);
    let next_turn = if next == Next::Closed { NextTurn::NotOpened } else { NextTurn::Opened };
    let render = |messages: &[Message]| match next {
        Next::Answer(Thought::Free) => template.render_thinking(messages, next_turn, true),
        _ => template.render(messages, next_turn),
    };
    let literal = render(&said.marked()).map_err(|error| refuses_system(template, said, error))?;
    let (before, end) = split(template, &literal, said)?;
    let whole = render(&messages)?;
    let readings = said.readings(&before, &whole);
    let texts =
        readings.into_iter().find(|(_, rest)| *rest == end).ok_or_else(|| rewrites_message(template))?.0;
    let mut written = fill(&framed_before(template, said, &before)?, &texts);
    let opening = match next {
        Next::Answer(Thought::Framed) => Thoughts::of(template, said)?.opening(&end),
        _ => end,
    };
    written.text.push_str(&opening);
    Ok(written)
}

/// The text before the messages, without a system prompt of the template's own where none is wanted.
fn framed_before(template: &ChatTemplate, said: Said<'_>, before: &Before) -> Result<Before> {
    match template.framing().system {
        System::None if !said.has_system() => without_system(template, before),
        _ => Ok(before.clone()),
    }
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
    fn of(template: &ChatTemplate, said: Said<'_>) -> Result<Self> {
        let mut answered = said.marked();
        answered.push(Message::assistant(RESPONSE_MARK));
        let literal = template.render(&answered, NextTurn::Opened);
        let literal = literal.map_err(|error| refuses_system(template, said, error))?;
        let (whole, new_turn) = literal.split_once(RESPONSE_MARK).ok_or_else(|| lacks(template))?;
        let (before, middle) = split(template, whole, said)?;
        if new_turn.contains(RESPONSE_MARK)
            || (0..said.0.len()).any(|number| new_turn.contains(&mark(number)))
        {
            return Err(repeats(template));
        }
        let question = template.render(&said.marked(), NextTurn::Opened)?;
        let (question_before, header) = split(template, &question, said)?;
        if question_before != before {
            return Err(unsupported(
                template,
                "writes a question otherwise when an answer follows",
                "give the model another template with --chat-template",
            ));
        }
        let framed = framed_before(template, said, &before)?;
        let thoughts = Thoughts::of(template, said)?;
        let answer_opening = thoughts.answer_opening(template, &middle, &header)?;
        let question_opening = thoughts.opening(&header);
        let new_turn = thoughts.opening(new_turn);
        Ok(Self { before, framed, middle, answer_opening, question_opening, new_turn })
    }

    /// The response as the template writes it when it is left open, and the texts before it.
    fn response_as_written<'t>(
        &self,
        template: &ChatTemplate,
        said: Said<'t>,
        response: &str,
    ) -> Result<(Vec<&'t str>, String)> {
        let mut messages = said.0.to_vec();
        messages.push(Message::assistant(format!("{response}{RESPONSE_MARK}")));
        let marked = template.render(&messages, NextTurn::NotOpened)?;
        let (open, _) = marked.rsplit_once(RESPONSE_MARK).ok_or_else(|| rewrites(template))?;
        let readings = said.readings(&self.before, open).into_iter();
        let written = readings.filter_map(|(texts, rest)| Some((texts, rest.strip_prefix(&self.middle)?)));
        let mut written: Vec<_> = written.collect();
        let whole = written.iter().position(|(_, written)| *written == response).unwrap_or(0);
        if written.is_empty() {
            return Err(rewrites(template));
        }
        let (texts, written) = written.swap_remove(whole);
        Ok((texts, written.to_owned()))
    }
}

/// Splits a rendered text at the marks of the messages; what follows the last is returned apart.
fn split(template: &ChatTemplate, text: &str, said: Said<'_>) -> Result<(Before, String)> {
    let mut places = Vec::new();
    for (number, message) in said.0.iter().enumerate() {
        let mark = mark(number);
        let mut found = text.match_indices(&mark);
        let Some((at, _)) = found.next() else {
            return Err(if message.role == Role::System { lacks_system(template) } else { lacks(template) });
        };
        if found.next().is_some() {
            return Err(repeats(template));
        }
        places.push((at, mark.len(), number));
    }
    places.sort_unstable();
    let mut before = Vec::new();
    let mut end = 0;
    for (at, n_bytes, number) in places {
        before.push((text[end..at].to_owned(), number));
        end = at + n_bytes;
    }
    Ok((before, text[end..].to_owned()))
}

fn lacks_system(template: &ChatTemplate) -> Error {
    unsupported(
        template,
        "does not write the system prompt",
        "put the text into the prompts, or give --system default",
    )
}

/// The text before the prompt without any system prompt: the template's, where it writes none by itself, else
/// what begins a later question.
fn without_system(template: &ChatTemplate, before: &Before) -> Result<Before> {
    let Some(((head, _), later)) = before.split_first() else { return Ok(Vec::new()) };
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
            Ok([(format!("{bos}{opening}"), 0)].into_iter().chain(later.iter().cloned()).collect())
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
enum LastThought<'t> {
    None,
    /// What stands before it, in it and after it.
    Closed(&'t str, &'t str, &'t str),
    /// What stands before it.
    Open(&'t str),
}

impl<'t> LastThought<'t> {
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
    fn of(template: &'f ChatTemplate, said: Said<'_>) -> Result<Self> {
        let quiet = template.render_thinking(&said.marked(), NextTurn::Opened, false)?;
        let (_, header) = split(template, &quiet, said)?;
        let around = match LastThought::last_of(&header) {
            // An empty thought of one line has its words on that line.
            LastThought::Closed(_, inside, after) if !inside.contains('\n') => {
                (String::new(), after.to_owned())
            }
            LastThought::Closed(_, _, after) => ("\n".into(), after.to_owned()),
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
        match LastThought::last_of(header) {
            LastThought::None => thought(header, after),
            LastThought::Open(before) => thought(before, after),
            LastThought::Closed(..) if words.is_empty() => header.to_owned(),
            LastThought::Closed(before, _, after) => thought(before, after),
        }
    }

    /// What stands between prompt and response: as the template writes it where it thinks nothing, and after the
    /// thought of a turn about to begin where there is one.
    fn answer_opening(&self, template: &ChatTemplate, middle: &str, header: &str) -> Result<String> {
        match (self.thinking, LastThought::last_of(header)) {
            (Thinking::Off, LastThought::Open(_)) => Err(unsupported(
                template,
                "begins every answer with a thought",
                "--thinking empty puts an empty thought before the answers, --thinking TEXT one with words",
            )),
            // Written before an answer that is to come, but stripped from one that is there.
            (Thinking::Off, LastThought::Closed(before, ..)) if before == middle => Ok(header.to_owned()),
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

fn rewrites_message(template: &ChatTemplate) -> Error {
    refuse(
        template,
        "it rewrites a message of the conversation",
        "only texts that the template writes as they are can be told from control tokens",
    )
}

/// What the template says of a system prompt, when it is the system prompt that it refuses.
fn refuses_system(template: &ChatTemplate, said: Said<'_>, error: Error) -> Error {
    let messages = [Message::user(PROMPT_MARK), Message::assistant(RESPONSE_MARK)];
    match (said.has_system().then(|| template.render(&messages, NextTurn::Opened)), error) {
        (Some(Ok(_)), Error::Template { problem, .. }) => unsupported(
            template,
            &format!("refuses a system prompt ({problem})"),
            "put the text into the prompts, or give --system default",
        ),
        (_, error) => error,
    }
}
