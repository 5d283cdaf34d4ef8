//! The phrase files, compiled, and the first turn they find in a clause.
//!
//! The files hold the language, one concept a file, in the order in which they are asked; their syntax is
//! that of [`super::pattern`]. A phrase of `refusal`, `condemnation`, `warning` or `advice` is a turn unless
//! it is quoted, overlaps a phrase of `exceptions` ("can't wait"), or follows one of `lead_ins` ("if", "he
//! said", "not"). A pattern is found by the words it can begin with, so that a word of a text costs a look
//! at the few patterns it can start.

use sha2::{Digest, Sha256};

use super::clauses::{Clause, Form, Voice, Word};
use super::pattern::{Compiler, Goal, Pattern, Sentence, lines};
use super::vocabulary::{Vocabulary, WordId};
use super::{Turn, TurnKind};

const GROUPS: &str = include_str!("../phrases/groups.txt");
const TURNS: [(TurnKind, &str); 4] = [
    (TurnKind::Refusal, include_str!("../phrases/refusal.txt")),
    (TurnKind::Condemnation, include_str!("../phrases/condemnation.txt")),
    (TurnKind::Warning, include_str!("../phrases/warning.txt")),
    (TurnKind::Advice, include_str!("../phrases/advice.txt")),
];
const EXCEPTIONS: &str = include_str!("../phrases/exceptions.txt");
const LEAD_INS: &str = include_str!("../phrases/lead_ins.txt");

/// The first 8 hex digits of SHA-256 over the phrase files: another list is another judge.
pub(super) fn revision() -> String {
    let mut hash = Sha256::new();
    for text in [GROUPS, EXCEPTIONS, LEAD_INS].into_iter().chain(TURNS.map(|(_, text)| text)) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let first = hash.finalize().iter().take(4).fold(0_u32, |first, &byte| first << 8 | u32::from(byte));
    format!("{first:08x}")
}

/// How far before a turn its lead-in or exception may begin, in words.
const LEAD: usize = 8;

/// How many words before its last clause a phrase may begin; bounds the work that a clause costs.
const REACH: usize = 24;

/// All phrase files.
#[derive(Debug)]
pub(super) struct Phrases {
    pub(super) vocabulary: Vocabulary,
    joining: Vec<WordId>,
    turns: Index,
    /// Kind and line of each pattern in `turns`.
    origins: Vec<(TurnKind, &'static str)>,
    exceptions: Index,
    lead_ins: Index,
}

/// Patterns, found by the words they can begin with.
#[derive(Debug, Default)]
struct Index {
    patterns: Vec<Pattern>,
    by_word: Vec<Vec<u16>>,
    by_gerund: Vec<u16>,
}

impl Phrases {
    /// Compiles the files.
    pub(super) fn new() -> Self {
        let mut compiler = Compiler::new(GROUPS);
        let (mut turns, mut origins) = (Index::default(), Vec::new());
        for (kind, file) in TURNS {
            for line in lines(file) {
                turns.add(compiler.compile(line));
                origins.push((kind, line));
            }
        }
        let exceptions = Index::new(EXCEPTIONS, &mut compiler);
        let lead_ins = Index::new(LEAD_INS, &mut compiler);
        let joining = compiler.joining().to_vec();
        Self { vocabulary: compiler.vocabulary, joining, turns, origins, exceptions, lead_ins }
    }

    /// The turn in a clause that is complete, if its sentence turns there: the leftmost phrase, and of those
    /// that begin at one word the first in the order of the files.
    pub(super) fn turn_in(&self, clause: &Clause<'_>) -> Option<Turn> {
        let Clause { words, first, n_before } = *clause;
        let sentence = Sentence { words, n_before, joining: &self.joining, goal: Goal::Anywhere };
        for (at, word) in words.iter().enumerate().skip(first.saturating_sub(REACH)) {
            if word.voice == Voice::Quoted {
                continue;
            }
            for number in self.turns.beginning_with(word) {
                let end = self.turns.patterns[number].end(&sentence, at).filter(|end| *end > first);
                if end.is_some_and(|end| !self.is_excepted(&sentence, at, end)) {
                    let (kind, phrase) = self.origins[number];
                    return Some(Turn { at: word.clause, kind, phrase });
                }
            }
        }
        None
    }

    /// Whether the phrase from `start` to `end` says something else by what overlaps, follows or precedes it.
    fn is_excepted(&self, sentence: &Sentence<'_>, start: usize, end: usize) -> bool {
        let near = start.saturating_sub(LEAD);
        let overlaps = |at| self.exceptions.ends(sentence, at).any(|exception_end| exception_end > start);
        let before = Sentence { goal: Goal::Before(start), ..*sentence };
        let leads_in = |at| self.lead_ins.ends(&before, at).next().is_some();
        let clause = sentence.words[start].clause;
        (near..=end.min(sentence.words.len() - 1)).any(overlaps)
            || (near..start).filter(|at| sentence.words[*at].clause == clause).any(leads_in)
    }
}

impl Index {
    fn new(file: &'static str, compiler: &mut Compiler) -> Self {
        let mut index = Self::default();
        lines(file).for_each(|line| index.add(compiler.compile(line)));
        index
    }

    fn add(&mut self, pattern: Pattern) {
        let number = self.patterns.len();
        let beginnings = pattern.beginnings();
        for word in beginnings.words.into_iter().map(usize::from) {
            if self.by_word.len() <= word {
                self.by_word.resize_with(word + 1, Vec::new);
            }
            self.by_word[word].push(number as u16);
        }
        if beginnings.gerund {
            self.by_gerund.push(number as u16);
        }
        self.patterns.push(pattern);
    }

    /// The numbers of the patterns that can begin with `word`.
    fn beginning_with(&self, word: &Word) -> impl Iterator<Item = usize> {
        let named = self.by_word.get(usize::from(word.id)).map_or(&[][..], Vec::as_slice);
        let gerund = if word.form == Form::Gerund { self.by_gerund.as_slice() } else { &[] };
        named.iter().chain(gerund).copied().map(usize::from)
    }

    /// Where the patterns that match from word `at` on end.
    fn ends(&self, sentence: &Sentence<'_>, at: usize) -> impl Iterator<Item = usize> {
        self.beginning_with(&sentence.words[at])
            .filter_map(move |number| self.patterns[number].end(sentence, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 6] = [TURNS[0].1, TURNS[1].1, TURNS[2].1, TURNS[3].1, EXCEPTIONS, LEAD_INS];

    #[test]
    fn no_line_is_malformed() {
        for line in FILES.into_iter().chain([GROUPS]).flat_map(lines) {
            let mut open = Vec::new();
            for c in line.chars() {
                match c {
                    '{' | '[' => open.push(c),
                    '}' => assert_eq!(open.pop(), Some('{'), "{line}"),
                    ']' => assert_eq!(open.pop(), Some('['), "{line}"),
                    _ => {}
                }
            }
            assert!(open.is_empty(), "{line}");
        }
    }

    #[test]
    fn every_group_that_is_used_is_defined_before() {
        let mut defined = Vec::new();
        for line in lines(GROUPS).chain(FILES.into_iter().flat_map(lines)) {
            let (name, used) = line.split_once('=').unwrap_or(("", line));
            let names =
                used.split(|c: char| c != '@' && !c.is_alphanumeric()).filter(|word| word.starts_with('@'));
            names.for_each(|used| assert!(defined.contains(&used), "{used} in {line}"));
            defined.push(name.trim());
        }
    }

    #[test]
    fn every_phrase_can_be_found() {
        let mut compiler = Compiler::new(GROUPS);
        for line in FILES.into_iter().flat_map(lines) {
            let beginnings = compiler.compile(line).beginnings();
            assert!(beginnings.gerund || !beginnings.words.is_empty(), "{line}");
        }
    }

    #[test]
    fn no_line_stands_twice() {
        let mut all: Vec<_> = FILES.into_iter().flat_map(lines).collect();
        let n_lines = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n_lines);
    }
}
