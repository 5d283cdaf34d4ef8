//! Patterns of words: their compact syntax, and matching them against a sentence.
//!
//! | written | matches |
//! | --- | --- |
//! | `word` | that word; contractions are split first, so `can't` is `can not` |
//! | `{a\|b c}` | one of the alternatives |
//! | `[a\|b c]` | one of them, or nothing |
//! | `@name` | a group of alternatives, defined in `groups.txt` as `@name = a \| b c` |
//! | `_`, `-ing` | any one word; any one word that ends in "ing" |
//! | `*`, `*2` | up to four, or two, words of one clause, none of which joins clauses ("and", "but") |
//! | `^`, `$` | where a clause begins; where one ends |
//! | `<` | in the first 64 words of the text |
//!
//! Commas are not seen: `however i must` matches "However, I must". Parsing never fails: what is malformed
//! is read as if closed at the end of its line, and a test holds that no file has such a line.

use std::collections::BTreeMap;

use super::clauses::{Form, Word};
use super::vocabulary::{Folded, UNKNOWN, Vocabulary, WordId};

/// How many words `*` spans when it does not say.
const GAP: usize = 4;

/// Words that begin another clause without a comma; no gap reaches over them.
const JOINING: [&str; 8] = ["although", "and", "because", "but", "however", "since", "so", "though"];

/// How far `<` reaches into a text, in words: further than the paths of the paper's preset grow.
const OPENING: usize = 64;

/// One element of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Word(WordId),
    Choice(Choice),
    Gerund,
    Any,
    Gap(usize),
    ClauseStart,
    ClauseEnd,
    Opening,
}

/// Alternatives: those of one word are looked up, the longer ones are tried in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Choice {
    single: Vec<WordId>,
    longer: Vec<Vec<Part>>,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

/// With what a pattern can begin.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    /// These words.
    pub(super) words: Vec<WordId>,
    /// Any word that ends in "ing".
    pub(super) gerund: bool,
}

/// The named groups and the numbered words that patterns are written with.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    pub(super) vocabulary: Vocabulary,
    groups: BTreeMap<&'static str, Choice>,
    joining: Vec<WordId>,
}

/// Where a match may end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// Anywhere.
    Anywhere,
    /// Just before this word.
    Before(usize),
}

/// A sentence to match in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sentence<'a> {
    pub(super) words: &'a [Word],
    /// How many words the text has before the sentence.
    pub(super) n_before: usize,
    /// The words no gap reaches over.
    pub(super) joining: &'a [WordId],
    pub(super) goal: Goal,
}

impl Compiler {
    /// Reads the groups of `file`; a name given twice grows.
    pub(super) fn new(file: &'static str) -> Self {
        let mut compiler = Self::default();
        compiler.joining = JOINING.iter().map(|word| compiler.vocabulary.intern(word)).collect();
        for line in lines(file) {
            if let Some((name, alternatives)) = line.trim_start_matches('@').split_once('=') {
                let more = Parser { rest: alternatives, compiler: &mut compiler }.choice();
                let group = compiler.groups.entry(name.trim()).or_default();
                group.single.extend(more.single);
                group.longer.extend(more.longer);
            }
        }
        compiler
    }

    /// Compiles one line.
    pub(super) fn compile(&mut self, line: &str) -> Pattern {
        Pattern { parts: Parser { rest: line, compiler: self }.sequence() }
    }

    /// The words no gap reaches over.
    pub(super) fn joining(&self) -> &[WordId] {
        &self.joining
    }
}

/// The lines of a phrase file without comments and empty ones.
pub(super) fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Reads the syntax of the module's table, left to right.
struct Parser<'a, 'c> {
    rest: &'a str,
    compiler: &'c mut Compiler,
}

impl Parser<'_, '_> {
    /// Parts up to the end of the line or of the alternative.
    fn sequence(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None | Some('|' | '}' | ']') => return parts,
                Some('{') => {
                    self.skip();
                    parts.push(Part::Choice(self.choice()));
                }
                Some('[') => {
                    self.skip();
                    let mut choice = self.choice();
                    choice.longer.push(Vec::new());
                    parts.push(Part::Choice(choice));
                }
                Some(_) => self.token(&mut parts),
            }
        }
    }

    /// Alternatives up to the bracket that closes them.
    fn choice(&mut self) -> Choice {
        let mut choice = Choice::default();
        loop {
            choice.add(self.sequence());
            let closes = !self.rest.starts_with('|');
            self.skip();
            if closes {
                return choice;
            }
        }
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn token(&mut self, parts: &mut Vec<Part>) {
        let ends = |c: char| c.is_whitespace() || matches!(c, '|' | '{' | '}' | '[' | ']');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        match token {
            "_" => parts.push(Part::Any),
            "^" => parts.push(Part::ClauseStart),
            "$" => parts.push(Part::ClauseEnd),
            "<" => parts.push(Part::Opening),
            "-ing" => parts.push(Part::Gerund),
            _ if token.starts_with('*') => parts.push(Part::Gap(token[1..].parse().unwrap_or(GAP))),
            _ if token.starts_with('@') => {
                parts.push(Part::Choice(self.compiler.groups.get(&token[1..]).cloned().unwrap_or_default()));
            }
            _ => self.word(token, parts),
        }
    }

    fn word(&mut self, token: &str, parts: &mut Vec<Part>) {
        let Some(folded) = Folded::new(token) else { return parts.push(Part::Word(UNKNOWN)) };
        let (first, second) = folded.words();
        parts.push(Part::Word(self.compiler.vocabulary.intern(first)));
        parts.extend(second.map(|word| Part::Word(self.compiler.vocabulary.intern(word))));
    }
}

impl Choice {
    /// Adds an alternative; one that is itself a choice is taken apart.
    fn add(&mut self, alternative: Vec<Part>) {
        match <[Part; 1]>::try_from(alternative) {
            Ok([Part::Word(id)]) => self.single.push(id),
            Ok([Part::Choice(choice)]) => {
                self.single.extend(choice.single);
                self.longer.extend(choice.longer);
            }
            Ok([part]) => self.longer.push(vec![part]),
            Err(parts) => self.longer.push(parts),
        }
    }
}

impl Pattern {
    /// Where a match that begins at word `at` ends: the first word after it.
    pub(super) fn end(&self, sentence: &Sentence<'_>, at: usize) -> Option<usize> {
        sentence.follow(&Rest { parts: &self.parts, then: None }, at)
    }

    /// With what the pattern can begin.
    pub(super) fn beginnings(&self) -> Beginnings {
        let mut beginnings = Beginnings::default();
        beginnings.collect(&self.parts);
        beginnings.words.sort_unstable();
        beginnings.words.dedup();
        beginnings
    }
}

impl Beginnings {
    /// Collects what `parts` can begin with; says whether they can match no word at all.
    fn collect(&mut self, parts: &[Part]) -> Emptiness {
        for part in parts {
            match part {
                Part::ClauseStart | Part::ClauseEnd | Part::Opening | Part::Gap(_) => continue,
                Part::Word(id) => self.words.push(*id),
                Part::Gerund => self.gerund = true,
                Part::Any => {}
                Part::Choice(choice) => {
                    self.words.extend(&choice.single);
                    let mut emptiness = Emptiness::Never;
                    for longer in &choice.longer {
                        emptiness = emptiness.max(self.collect(longer));
                    }
                    if emptiness == Emptiness::Possible {
                        continue;
                    }
                }
            }
            return Emptiness::Never;
        }
        Emptiness::Possible
    }
}

/// Whether parts can match without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Emptiness {
    Never,
    Possible,
}

/// What is left to match: parts, and what stands after the choice they are an alternative of.
struct Rest<'p> {
    parts: &'p [Part],
    then: Option<&'p Rest<'p>>,
}

impl Sentence<'_> {
    /// Where the rest of a pattern ends if it matches from word `at` on.
    fn follow(&self, rest: &Rest<'_>, at: usize) -> Option<usize> {
        let Some((part, parts)) = rest.parts.split_first() else { return self.follow_outward(rest, at) };
        let rest = Rest { parts, then: rest.then };
        match part {
            Part::Word(id) => {
                self.follow(&rest, self.words.get(at).filter(|word| word.id == *id).map(|_| at + 1)?)
            }
            Part::Gerund => {
                self.words.get(at).filter(|word| word.form == Form::Gerund)?;
                self.follow(&rest, at + 1)
            }
            Part::Any => self.words.get(at).and_then(|_| self.follow(&rest, at + 1)),
            Part::Choice(choice) => self.follow_choice(choice, &rest, at),
            Part::Gap(most) => self.follow_gap(*most, &rest, at),
            Part::ClauseStart => self.is_border(at).then(|| self.follow(&rest, at))?,
            Part::ClauseEnd => (at > 0 && self.is_border(at)).then(|| self.follow(&rest, at))?,
            Part::Opening => (self.n_before + at < OPENING).then(|| self.follow(&rest, at))?,
        }
    }

    fn follow_outward(&self, rest: &Rest<'_>, at: usize) -> Option<usize> {
        match (rest.then, self.goal) {
            (Some(then), _) => self.follow(then, at),
            (None, Goal::Before(word)) => (at == word).then_some(at),
            (None, Goal::Anywhere) => Some(at),
        }
    }

    fn follow_choice(&self, choice: &Choice, rest: &Rest<'_>, at: usize) -> Option<usize> {
        let single = self.words.get(at).filter(|word| choice.single.contains(&word.id));
        let found = single.and_then(|_| self.follow(rest, at + 1));
        let longer = |parts: &Vec<Part>| self.follow(&Rest { parts, then: Some(rest) }, at);
        found.or_else(|| choice.longer.iter().find_map(longer))
    }

    fn follow_gap(&self, most: usize, rest: &Rest<'_>, at: usize) -> Option<usize> {
        let clause = self.words.get(at.saturating_sub(1))?.clause;
        for next in at..=at + most {
            let found = self.follow(rest, next);
            let ends_gap = |word: &Word| word.clause != clause || self.joining.contains(&word.id);
            if found.is_some() || self.words.get(next).is_none_or(ends_gap) {
                return found;
            }
        }
        None
    }

    /// Whether a clause begins at word `at`, or the sentence ends there.
    fn is_border(&self, at: usize) -> bool {
        match (self.words.get(at), at.checked_sub(1)) {
            (Some(word), Some(before)) => word.clause != self.words[before].clause,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Ending;
    use super::super::clauses::Clauses;
    use super::*;

    const GROUPS: &str = "# comment\n@who = i | we\n@who = you all\n";

    /// Where in the last sentence of `text` `pattern` matches: first word and the one after the last.
    fn found(pattern: &str, text: &str) -> Option<(usize, usize)> {
        let mut compiler = Compiler::new(GROUPS);
        let pattern = compiler.compile(pattern);
        let mut clauses = Clauses::new(text, Ending::Ended, &compiler.vocabulary);
        let (mut words, mut n_before) = (Vec::new(), 0);
        while let Some(clause) = clauses.advance() {
            (words, n_before) = (clause.words.to_vec(), clause.n_before);
        }
        let joining = compiler.joining();
        let sentence = Sentence { words: &words, n_before, joining, goal: Goal::Anywhere };
        (0..words.len()).find_map(|at| Some((at, pattern.end(&sentence, at)?)))
    }

    #[test]
    fn words_choices_and_groups() {
        assert_eq!(found("can't {help|go on}", "I cannot go on here"), Some((1, 5)));
        assert_eq!(found("can't {help|go on}", "I cannot go off"), None);
        assert_eq!(found("@who do", "you all do"), Some((0, 3)));
        assert_eq!(found("@who do", "they do"), None);
        assert_eq!(found("do [really|very much] play", "we do play"), Some((1, 3)));
        assert_eq!(found("do [really|very much] play", "we do very much play"), Some((1, 5)));
    }

    #[test]
    fn gaps_stay_in_their_clause_and_before_joining_words() {
        assert_eq!(found("can't *2 help", "I can't in truth help"), Some((1, 6)));
        assert_eq!(found("can't *2 help", "I can't in all truth help"), None);
        assert_eq!(found("can't * help", "I can't but help"), None);
        assert_eq!(found("can't * help", "I can't go on, friend help"), None);
    }

    #[test]
    fn forms_and_borders() {
        assert_eq!(found("-ing is _ fun", "so gossiping is no fun"), Some((1, 5)));
        assert_eq!(found("^ stop", "we stop"), None);
        assert_eq!(found("^ stop", "now, stop"), Some((1, 2)));
        assert_eq!(found("i won't $", "I won't, ever"), Some((0, 3)));
        assert_eq!(found("i won't $", "I won't ever"), None);
    }

    #[test]
    fn an_early_pattern_begins_in_the_first_words_of_the_text() {
        let after = |n_words: usize| format!("{}stop.", "Go. ".repeat(n_words));
        assert_eq!(found("< stop", &after(OPENING - 1)), Some((0, 1)));
        assert_eq!(found("< stop", &after(OPENING)), None);
        assert_eq!(found("stop", &after(OPENING)), Some((0, 1)));
        assert_eq!(found("< stop", &format!("{}stop.", "go ".repeat(OPENING))), None);
    }
}
