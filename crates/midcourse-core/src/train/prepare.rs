//! From rankings and plain pairs to examples: every conversation is written and tokenised once, whole.
//!
//! What is scored is what TRL scores: the answer, the end of its turn, and what the template writes after it. What
//! cannot be trained on is dropped with a reason; an error is only what no row can help, such as a template that cannot
//! be framed as asked.
//!
//! Source: `DPOTrainer._prepare_dataset` of TRL 1.x; unlike there, conversations longer than the limit are dropped and
//! not cut, since a cut answer has no end of turn.

use std::collections::BTreeMap;

use super::example::{Conversation, n_shared};
use super::{DropReason, Dropped, Example, Lost, Trie};
use crate::chat::Message;
use crate::data::{PlainPair, Preference, Sides};
use crate::engine::TokenId;
use crate::synth::{AnswerKind, Ranking};
use crate::template::{
    ChatTemplate, Next, Thought, TokenizeError, Tokenizer, encode_conversation, encode_text,
};
use crate::{Error, Result};

/// What writes and tokenises conversations.
#[derive(Clone, Copy)]
pub struct Preparing<'a> {
    /// The model's template.
    pub template: &'a ChatTemplate,
    /// The model's tokenizer.
    pub tokenizer: &'a dyn Tokenizer,
    /// The longest conversation, in tokens.
    pub max_tokens: usize,
}

/// What there is to train on, and what is not. Every pair is in an example or counted by a [`Dropped`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared {
    /// What there is.
    pub examples: Vec<Example>,
    /// What is not.
    pub dropped: Vec<Dropped>,
    /// Answers of examples whose conversation does not begin with all tokens of their prompt.
    pub n_mismatched: usize,
}

/// A prompt and its answers before they are tokens.
struct Written<T> {
    example: Example,
    prompt: T,
    answers: Vec<(Option<AnswerKind>, T)>,
}

/// Why something is dropped, and more in words.
type Why = (DropReason, String);

/// Something, or why it is dropped.
type Found<T> = std::result::Result<T, Why>;

impl Prepared {
    /// Pairs of all examples.
    pub fn n_pairs(&self) -> usize {
        self.examples.iter().map(|example| example.pairs.len()).sum()
    }

    /// How much was dropped and why: how many of each, and the pairs lost by them.
    pub fn drop_counts(&self) -> BTreeMap<(Lost, DropReason), (usize, usize)> {
        let mut counts = BTreeMap::new();
        for dropped in &self.dropped {
            let count: &mut (usize, usize) = counts.entry((dropped.what, dropped.reason)).or_default();
            *count = (count.0 + 1, count.1 + dropped.n_pairs);
        }
        counts
    }
}

impl Preparing<'_> {
    /// Prepares a ranking: every better answer over every worse one.
    ///
    /// # Errors
    /// When the template cannot be framed as asked.
    pub fn ranking(&self, ranking: &Ranking, into: &mut Prepared) -> Result<()> {
        let n_answers = ranking.answers.len();
        let better = |better: usize| (better + 1..n_answers).map(move |worse| (better, worse));
        let answers =
            ranking.answers.iter().map(|answer| (Some(answer.kind), vec![Message::assistant(&answer.text)]));
        let written = Written {
            example: Example {
                set: Some(ranking.set),
                pairs: (0..n_answers).flat_map(better).collect(),
                ..bare(ranking.sample.clone(), ranking.prompt.clone())
            },
            prompt: ranking.prompt.clone(),
            answers: answers.collect(),
        };
        self.prepare(written, into)
    }

    /// Prepares plain pairs: those with the same prompt become one example, in which equal answers stand once. Pairs
    /// that occur twice count twice.
    ///
    /// # Errors
    /// When the template cannot be framed as asked.
    pub fn pairs(&self, pairs: &[PlainPair], into: &mut Prepared) -> Result<()> {
        let messages = pairs.iter().filter_map(|pair| match &pair.sides {
            Sides::Messages(sides) => Some((pair, sides)),
            Sides::Texts(_) => None,
        });
        let texts = pairs.iter().filter_map(|pair| match &pair.sides {
            Sides::Texts(sides) => Some((pair, sides)),
            Sides::Messages(_) => None,
        });
        let said = |text: &String| vec![Message::user(text)];
        grouped(messages, Clone::clone).into_iter().try_for_each(|written| self.prepare(written, into))?;
        grouped(texts, said).into_iter().try_for_each(|written| self.prepare(written, into))
    }

    fn prepare<T: Say>(&self, written: Written<T>, into: &mut Prepared) -> Result<()> {
        let Written { mut example, prompt, answers } = written;
        let prompt_tokens = self.prompt(&prompt)?;
        let mut found = Vec::with_capacity(answers.len());
        for (kind, answer) in &answers {
            let tokens = if prompt_tokens.is_ok() { self.answer(&prompt, answer)? } else { Ok(Vec::new()) };
            found.push(tokens.map(|tokens| (*kind, tokens)));
        }
        let mut drops = Drops { example: &mut example, into: &mut *into };
        let prompt_tokens = match prompt_tokens {
            Ok(tokens) => tokens,
            Err(why) => {
                drops.prompt(why);
                return Ok(());
            }
        };
        let mut kept = Vec::with_capacity(found.len());
        for (at, found) in part_from_response(found).into_iter().enumerate() {
            let found = found.and_then(|conversation| self.within_limit(conversation));
            kept.push(found.map_err(|why| drops.answer((at, answers[at].0), why)).ok());
        }
        drops.same_sides(&kept);
        let kept = drops.without_pairs(kept);
        if drops.example.pairs.is_empty() {
            drops.prompt((DropReason::NoPairs, String::new()));
            return Ok(());
        }
        let is_mismatched = |conversation: &&Conversation| !conversation.tokens.starts_with(&prompt_tokens);
        into.n_mismatched += kept.iter().filter(is_mismatched).count();
        example.grow(&prompt_tokens, kept);
        into.examples.push(example);
        Ok(())
    }

    /// The tokens of a whole conversation.
    fn answer<T: Say>(&self, prompt: &T, answer: &T) -> Result<Found<Vec<TokenId>>> {
        if answer.is_blank() {
            return Ok(Err((DropReason::Empty, String::new())));
        }
        settled(answer.conversation(prompt, self))
    }

    fn prompt<T: Say>(&self, prompt: &T) -> Result<Found<Vec<TokenId>>> {
        if prompt.is_blank() {
            return Ok(Err((DropReason::Empty, String::new())));
        }
        let tokens = settled(prompt.prompt(self))?;
        let fits = |tokens: &Vec<TokenId>| tokens.len() < self.max_tokens;
        Ok(tokens
            .and_then(|tokens| if fits(&tokens) { Ok(tokens) } else { Err(self.too_long(tokens.len())) }))
    }

    fn within_limit(&self, conversation: Conversation) -> Found<Conversation> {
        let n_tokens = conversation.tokens.len();
        if n_tokens > self.max_tokens { Err(self.too_long(n_tokens)) } else { Ok(conversation) }
    }

    fn too_long(&self, n_tokens: usize) -> Why {
        (DropReason::TooLong, format!("{n_tokens} tokens, at most {} (--max-tokens)", self.max_tokens))
    }
}

/// An example whose answers are still to come.
fn bare(id: String, prompt: Vec<Message>) -> Example {
    let trie = Trie::new(&[]).0;
    Example { id, set: None, prompt, trie, n_prompt: 0, answers: Vec::new(), pairs: Vec::new() }
}

/// Tells of every correction how much of the response it keeps. A response that is dropped later counts as well: what
/// stands before a turn is never taught, not even then.
fn part_from_response(answers: Vec<Found<(Option<AnswerKind>, Vec<TokenId>)>>) -> Vec<Found<Conversation>> {
    let is_response = |answer: &&(Option<AnswerKind>, Vec<TokenId>)| answer.0 == Some(AnswerKind::Response);
    let response = answers.iter().flatten().find(is_response).map(|(_, tokens)| tokens.clone());
    let conversation = |(kind, tokens): (Option<AnswerKind>, Vec<TokenId>)| {
        let is_correction = matches!(kind, Some(AnswerKind::Correction(_)));
        let shared = response.as_ref().filter(|_| is_correction).map(|of| n_shared(of, &tokens));
        Conversation { kind, tokens, shared }
    };
    answers.into_iter().map(|answer| answer.map(conversation)).collect()
}

/// An error that a single row can have is a reason to drop it; another one ends the run.
fn settled(tokens: Result<Vec<TokenId>>) -> Result<Found<Vec<TokenId>>> {
    match tokens {
        Ok(tokens) => Ok(Ok(tokens)),
        Err(error @ Error::Template { .. }) => Ok(Err((DropReason::Unwritable, error.to_string()))),
        Err(error) => Err(error),
    }
}

/// What is dropped of one prompt.
struct Drops<'a> {
    example: &'a mut Example,
    into: &'a mut Prepared,
}

impl Drops<'_> {
    fn record(&mut self, what: Lost, (reason, detail): Why, n_pairs: usize) {
        let sample = self.example.id.clone();
        self.into.dropped.push(Dropped { sample, what, reason, detail, n_pairs });
    }

    fn prompt(&mut self, why: Why) {
        self.record(Lost::Prompt, why, self.example.pairs.len());
    }

    fn answer(&mut self, (at, kind): (usize, Option<AnswerKind>), (reason, detail): Why) {
        let n_before = self.example.pairs.len();
        self.example.pairs.retain(|&(chosen, rejected)| chosen != at && rejected != at);
        let name = kind.map_or_else(|| format!("answer {}", at + 1), String::from);
        let detail = format!("{name}: {detail}").trim_end_matches(": ").to_owned();
        self.record(Lost::Answer, (reason, detail), n_before - self.example.pairs.len());
    }

    /// Drops pairs of two answers that are the same tokens.
    fn same_sides(&mut self, kept: &[Option<Conversation>]) {
        let tokens = |at: usize| kept[at].as_ref().map(|conversation| &conversation.tokens);
        let is_same = |&(chosen, rejected): &(usize, usize)| tokens(chosen) == tokens(rejected);
        let n_same = self.example.pairs.iter().filter(|pair| is_same(pair)).count();
        self.example.pairs.retain(|pair| !is_same(pair));
        for _ in 0..n_same {
            self.record(Lost::Pair, (DropReason::SameSides, String::new()), 1);
        }
    }

    /// The answers that are in a pair; pairs name them by their new places.
    fn without_pairs(&mut self, kept: Vec<Option<Conversation>>) -> Vec<Conversation> {
        let mut places = vec![None; kept.len()];
        let mut left = Vec::new();
        for (at, conversation) in kept.into_iter().enumerate() {
            let is_used = |&(chosen, rejected): &(usize, usize)| chosen == at || rejected == at;
            if let Some(conversation) = conversation.filter(|_| self.example.pairs.iter().any(is_used)) {
                places[at] = Some(left.len());
                left.push(conversation);
            }
        }
        let place = |&(chosen, rejected): &(usize, usize)| Some((places[chosen]?, places[rejected]?));
        self.example.pairs = self.example.pairs.iter().filter_map(place).collect();
        left
    }
}

/// Puts pairs with the same prompt together, in the order of their first rows.
fn grouped<'a, T: Say + Clone + Ord + 'a>(
    pairs: impl Iterator<Item = (&'a PlainPair, &'a Preference<T>)>,
    messages: fn(&T) -> Vec<Message>,
) -> Vec<Written<T>> {
    let mut groups: Vec<Group<T>> = Vec::new();
    let mut places: BTreeMap<&T, usize> = BTreeMap::new();
    for (pair, sides) in pairs {
        let at = *places.entry(&sides.prompt).or_insert(groups.len());
        if at == groups.len() {
            let prompt = messages(&sides.prompt);
            let id = pair.id.clone().unwrap_or_else(|| id_of(&prompt));
            let written =
                Written { example: bare(id, prompt), prompt: sides.prompt.clone(), answers: Vec::new() };
            groups.push(Group { written, places: BTreeMap::new() });
        }
        groups[at].add(sides);
    }
    groups.into_iter().map(|group| group.written).collect()
}

/// Pairs with one prompt, and where their answers are.
struct Group<'a, T> {
    written: Written<T>,
    places: BTreeMap<&'a T, usize>,
}

impl<'a, T: Clone + Ord> Group<'a, T> {
    fn add(&mut self, sides: &'a Preference<T>) {
        let pair = (self.place(&sides.chosen), self.place(&sides.rejected));
        self.written.example.pairs.push(pair);
    }

    fn place(&mut self, answer: &'a T) -> usize {
        let answers = &mut self.written.answers;
        let place = *self.places.entry(answer).or_insert(answers.len());
        if place == answers.len() {
            answers.push((None, answer.clone()));
        }
        place
    }
}

/// The name of a prompt that has none.
fn id_of(prompt: &[Message]) -> String {
    let (last, history) = prompt.split_last().map_or(("", prompt), |(last, rest)| (&last.content, rest));
    crate::data::sample_id(history, last, "")
}

/// What can be written in tokens, as a prompt or as an answer to one.
trait Say: Sized {
    fn is_blank(&self) -> bool;

    /// The tokens of the prompt, its answer about to begin.
    fn prompt(&self, preparing: &Preparing<'_>) -> Result<Vec<TokenId>>;

    /// The tokens of the whole conversation that ends with this answer.
    fn conversation(&self, prompt: &Self, preparing: &Preparing<'_>) -> Result<Vec<TokenId>>;
}

impl Say for Vec<Message> {
    fn is_blank(&self) -> bool {
        self.iter().all(|message| message.content.trim().is_empty())
    }

    fn prompt(&self, Preparing { template, tokenizer, .. }: &Preparing<'_>) -> Result<Vec<TokenId>> {
        encode_conversation(template, *tokenizer, self, Next::Answer(Thought::Framed))
    }

    fn conversation(&self, prompt: &Self, preparing: &Preparing<'_>) -> Result<Vec<TokenId>> {
        let Preparing { template, tokenizer, .. } = preparing;
        encode_conversation(template, *tokenizer, &[prompt.as_slice(), self].concat(), Next::Closed)
    }
}

impl Say for String {
    fn is_blank(&self) -> bool {
        self.trim().is_empty()
    }

    fn prompt(&self, preparing: &Preparing<'_>) -> Result<Vec<TokenId>> {
        preparing.text(self)
    }

    /// The end of sequence stands after an answer that does not bring it, as in TRL.
    fn conversation(&self, prompt: &Self, preparing: &Preparing<'_>) -> Result<Vec<TokenId>> {
        let eos = if self.ends_with(preparing.template.eos()) { "" } else { preparing.template.eos() };
        preparing.text(&format!("{prompt}{self}{eos}"))
    }
}

impl Preparing<'_> {
    /// The tokens of a text as it is.
    fn text(&self, text: &str) -> Result<Vec<TokenId>> {
        encode_text(self.tokenizer, text, true).map_err(|TokenizeError(problem)| Error::Template {
            model: self.template.model().to_owned(),
            problem: format!("tokenizer: {problem}"),
            hint: "the model's tokenizer cannot read the text".into(),
        })
    }
}

#[cfg(test)]
mod tests;
