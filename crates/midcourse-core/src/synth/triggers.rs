//! Texts that are put before what a model says: triggers of corrections, openers of refusals.
//!
//! One a line of a text file. Choosing takes a number from the caller: there is no randomness here.
//!
//! Source: Xu et al. 2024, section 4.2. The texts are ours. Theirs stand where chance puts them; ours begin with a
//! capital letter where a sentence begins, and else with a small one.

use std::collections::BTreeSet;

use super::script::is_unspaced;
use super::sentences::ends_sentence;
use crate::{Error, Result};

/// Triggers or refusal openers; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggers {
    texts: Vec<String>,
}

/// What a text can follow, by its first letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    Sentence,
    Clause,
    /// Its first letter is neither capital nor small.
    Both,
}

impl Triggers {
    /// The triggers that come with midcourse.
    pub fn builtin() -> Self {
        Self { texts: lines(include_str!("triggers.txt")) }
    }

    /// The refusal openers that come with midcourse.
    pub fn builtin_refusals() -> Self {
        Self { texts: lines(include_str!("refusals.txt")) }
    }

    /// Reads one text a line; blank lines, lines that begin with `#` and repeated texts are left out.
    ///
    /// # Errors
    ///
    /// No text is left.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let texts = lines(text);
        if texts.is_empty() {
            let text = text.trim_start_matches('\u{feff}').trim();
            let found = if text.is_empty() { "an empty file" } else { "comments only" };
            return Err(Error::NoTriggers { file: file.into(), found });
        }
        Ok(Self { texts })
    }

    /// The texts, in the order of their file.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The text that `chance`, any number, falls on.
    pub fn pick(&self, chance: u64) -> &str {
        &self.texts[place(chance, self.texts.len())]
    }

    /// The trigger that `chance` falls on among those that can follow `prefix`; among all if none can.
    pub fn choose(&self, chance: u64, prefix: &str) -> &str {
        let wanted = if ends_sentence(prefix) { Follows::Sentence } else { Follows::Clause };
        let fits = |text: &&String| [wanted, Follows::Both].contains(&follows(text));
        let fitting: Vec<&String> = self.texts.iter().filter(fits).collect();
        if fitting.is_empty() { self.pick(chance) } else { fitting[place(chance, fitting.len())] }
    }
}

/// `next` after `before`, with a space between the two where writing has one.
pub fn joined(before: &str, next: &str) -> String {
    let begins = next.chars().next().is_some_and(|c| is_unspaced(c) || clings(c) || c.is_whitespace());
    let is_apart = before.is_empty() || before.ends_with(char::is_whitespace) || next.is_empty() || begins;
    format!("{before}{}{next}", if is_apart { "" } else { " " })
}

/// Whether `c` stands at once after what is before it.
fn clings(c: char) -> bool {
    !c.is_alphanumeric() && ",.;:!?…)]}”’»›%،؛؟۔।॥、，。．：；！？」』）】》〉".contains(c)
}

fn lines(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let texts = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    texts.filter(|line| seen.insert(*line)).map(String::from).collect()
}

fn follows(text: &str) -> Follows {
    match text.chars().find(|c| c.is_alphabetic()) {
        Some(first) if first.is_uppercase() => Follows::Sentence,
        Some(first) if first.is_lowercase() => Follows::Clause,
        _ => Follows::Both,
    }
}

fn place(chance: u64, n: usize) -> usize {
    (chance % n as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Ending;
    use crate::judge::rule::RuleJudge;

    fn parse(text: &str) -> Triggers {
        Triggers::parse("triggers.txt", text).unwrap()
    }

    /// Every text that some chance falls on after `prefix`.
    fn chosen<'a>(triggers: &'a Triggers, prefix: &str) -> BTreeSet<&'a str> {
        (0..64).map(|chance| triggers.choose(chance, prefix)).collect()
    }

    #[test]
    fn triggers_fit_what_they_follow() {
        let triggers = parse("However, I\nbut I\n“But\n但是，\n# no\n\nbut I\n");
        assert_eq!(triggers.texts(), ["However, I", "but I", "“But", "但是，"]);
        assert_eq!(chosen(&triggers, "Go."), BTreeSet::from(["However, I", "“But", "但是，"]));
        assert_eq!(chosen(&triggers, "Go on,"), BTreeSet::from(["but I", "但是，"]));
        assert_eq!(chosen(&parse("Wait."), "Go on,"), BTreeSet::from(["Wait."]));
        assert_eq!(chosen(&parse("but"), "走吧。"), BTreeSet::from(["but"]));
    }

    #[test]
    fn a_file_without_a_text_is_refused() {
        for (text, found) in
            [("", "an empty file"), ("\u{feff} \n", "an empty file"), ("# a\n\n#b", "comments only")]
        {
            let error = Triggers::parse("t.txt", text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("t.txt: expected a text on a line of its own, found {found}")
            );
            assert!(error.hint().contains('#'));
        }
    }

    #[test]
    fn builtin_texts_are_of_both_kinds() {
        let (triggers, refusals) = (Triggers::builtin(), Triggers::builtin_refusals());
        assert_eq!((triggers.texts().len(), refusals.texts().len()), (15, 15));
        for (prefix, wanted, n) in [("Go.", Follows::Sentence, 8), ("Go,", Follows::Clause, 7)] {
            let chosen = chosen(&triggers, prefix);
            assert_eq!(chosen.len(), n);
            assert!(chosen.iter().all(|text| follows(text) == wanted));
        }
        assert!(refusals.texts().iter().all(|text| follows(text) == Follows::Sentence));
        let heard: BTreeSet<&str> = (0..15).map(|chance| refusals.pick(chance)).collect();
        assert_eq!(heard.len(), 15);
    }

    #[test]
    fn one_space_joins_where_writing_has_one() {
        for (before, next, both) in [
            ("Go.", "However,", "Go. However,"),
            ("Go.\n", "However,", "Go.\nHowever,"),
            ("Go ", "but", "Go but"),
            ("", "But", "But"),
            ("Go", "", "Go"),
            ("Go", ", but", "Go, but"),
            ("Go,", "(but", "Go, (but"),
            ("走吧，", "但是", "走吧，但是"),
            ("Go,", "แต่", "Go,แต่"),
            ("走吧，", "but", "走吧， but"),
            ("खेलो।", "लेकिन", "खेलो। लेकिन"),
        ] {
            assert_eq!(joined(before, next), both);
        }
    }

    #[test]
    fn what_comes_with_midcourse_turns_by_itself() {
        let judge = RuleJudge::new();
        for texts in [Triggers::builtin(), Triggers::builtin_refusals()] {
            for text in texts.texts() {
                let turn = judge.find_turn(&format!(" {text} somebody else."), Ending::Ended);
                assert!(turn.is_some(), "{text:?} is no turn");
            }
        }
    }
}
