//! What shows of an answer without reading it, as features of a regression.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::Cue;
use super::regression::Row;
use crate::synth::{AnswerEnd, Ranking};

/// Words of an opening.
const N_WORDS: usize = 3;

/// Characters of a word that are looked at; scripts without spaces have long ones.
const MAX_WORD_CHARS: usize = 16;

/// All that is kept of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Surface {
    /// The first words, in small letters, with single spaces between them.
    opening: Box<str>,
    n_chars: usize,
    n_words: usize,
    end: AnswerEnd,
    mark: Mark,
    has_breaks: bool,
    has_list: bool,
}

/// What the last character of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    FullStop,
    Exclamation,
    Question,
    Colon,
    Word,
    Other,
}

/// Something that an answer has or has more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feature<'a> {
    /// It begins with these words.
    Opening(&'a str),
    /// Logarithm of its characters.
    Chars,
    /// Logarithm of its words.
    Words,
    End(AnswerEnd),
    Mark(Mark),
    Breaks,
    List,
}

/// What shows of every answer of a ranking.
pub(super) fn surfaces(ranking: &Ranking) -> Vec<Surface> {
    let opener = &ranking.opener;
    // What all begin with tells nothing, and would hide what comes after it.
    let is_shared = ranking.answers.iter().all(|answer| answer.text.starts_with(opener.as_str()));
    let skipped = if is_shared { opener.len() } else { 0 };
    ranking.answers.iter().map(|answer| Surface::of(&answer.text, skipped, answer.end)).collect()
}

/// The features of these cues as numbered columns, for every answer of every ranking.
///
/// What only one ranking has cannot be learned, and has no column.
pub(super) fn rows<'a>(rankings: impl Iterator<Item = &'a [Surface]> + Clone, cues: &[Cue]) -> Vec<Vec<Row>> {
    let features =
        |answer: &'a Surface| answer.features().filter(|(feature, _)| cues.contains(&feature.cue()));
    let mut seen_in: BTreeMap<Feature, (usize, usize)> = BTreeMap::new();
    for (number, answers) in rankings.clone().enumerate() {
        for (feature, _) in answers.iter().flat_map(features) {
            let (n_rankings, last) = seen_in.entry(feature).or_insert((0, usize::MAX));
            *n_rankings += usize::from(*last != number);
            *last = number;
        }
    }
    let known = seen_in.into_iter().filter(|(_, (n_rankings, _))| *n_rankings > 1);
    let columns: BTreeMap<Feature, usize> =
        known.zip(0..).map(|((feature, _), column)| (feature, column)).collect();
    let column = |(feature, value): (Feature, f64)| Some((*columns.get(&feature)?, value));
    let row = |answer: &'a Surface| features(answer).filter_map(column).collect();
    rankings.map(|answers| answers.iter().map(row).collect()).collect()
}

impl Surface {
    fn of(text: &str, skipped: usize, end: AnswerEnd) -> Self {
        let lines = || text.lines().map(str::trim_start);
        Self {
            opening: opening(&text[skipped..]).into(),
            n_chars: text.chars().count(),
            n_words: text.split_whitespace().count(),
            end,
            mark: Mark::of(text),
            has_breaks: text.trim().contains('\n'),
            has_list: lines().any(is_item),
        }
    }

    /// What the answer has, and how much of it.
    pub(super) fn features(&self) -> impl Iterator<Item = (Feature<'_>, f64)> {
        let log = |n: usize| ((n + 1) as f64).ln();
        let lengths = [(Feature::Chars, log(self.n_chars)), (Feature::Words, log(self.n_words))];
        let ends = [(Feature::End(self.end), 1.0), (Feature::Mark(self.mark), 1.0)];
        let layout = [(Feature::Breaks, self.has_breaks), (Feature::List, self.has_list)];
        let layout = layout.into_iter().filter(|(_, has)| *has).map(|(feature, _)| (feature, 1.0));
        self.openings().map(|words| (Feature::Opening(words), 1.0)).chain(lengths).chain(ends).chain(layout)
    }

    /// The first word, the first two, the first three.
    fn openings(&self) -> impl Iterator<Item = &str> {
        let spaces = self.opening.match_indices(' ').map(|(at, _)| at);
        let ends = spaces.chain((!self.opening.is_empty()).then_some(self.opening.len()));
        ends.map(|end| &self.opening[..end])
    }
}

/// The first words of a text in small letters, without marks.
fn opening(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’');
    let words = text.split(|c| !is_word(c)).map(|word| word.trim_matches(['\'', '’']));
    let words = words.filter(|word| !word.is_empty()).take(N_WORDS).map(|word| {
        let letters = word.chars().take(MAX_WORD_CHARS).map(|c| if c == '’' { '\'' } else { c });
        letters.flat_map(char::to_lowercase).collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line begins like an item of a list: with a bullet or a number.
fn is_item(line: &str) -> bool {
    let after_number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let bullets = ["- ", "* ", "• "].iter().any(|bullet| line.starts_with(bullet));
    let numbered = after_number.len() < line.len() && after_number.starts_with(['.', ')']);
    bullets || numbered && after_number[1..].starts_with(char::is_whitespace)
}

impl Mark {
    fn of(text: &str) -> Self {
        match text.trim_end().chars().next_back() {
            Some('.' | '…' | '。' | '．' | '।') => Self::FullStop,
            Some('!' | '！') => Self::Exclamation,
            Some('?' | '？' | '؟') => Self::Question,
            Some(':' | '：' | ';') => Self::Colon,
            Some(c) if c.is_alphanumeric() => Self::Word,
            _ => Self::Other,
        }
    }
}

impl Feature<'_> {
    pub(super) fn cue(&self) -> Cue {
        match self {
            Self::Opening(_) => Cue::Opening,
            Self::Chars | Self::Words => Cue::Length,
            Self::End(_) | Self::Mark(_) => Cue::Ending,
            Self::Breaks | Self::List => Cue::Layout,
        }
    }

    /// Whether it is told in words; one of the two lengths is enough.
    pub(super) fn is_told(&self) -> bool {
        !matches!(self, Self::Words)
    }

    /// Whether one is the beginning of the other.
    pub(super) fn is_nested(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Opening(a), Self::Opening(b)) => {
                let begins = |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.starts_with(' '));
                a == b || begins(a, b) || begins(b, a)
            }
            _ => self == other,
        }
    }
}

impl Display for Feature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opening(words) => return write!(f, "begins with “{words}”"),
            Self::Chars => "is the longer one",
            Self::Words => "has more words",
            Self::End(AnswerEnd::Row) => "ends where the row does",
            Self::End(AnswerEnd::EndOfTurn) => "ends where the model ended its turn",
            Self::End(AnswerEnd::Sentence) => "ends after a sentence, at the limit of new tokens",
            Self::Mark(Mark::FullStop) => "ends with a full stop",
            Self::Mark(Mark::Exclamation) => "ends with an exclamation mark",
            Self::Mark(Mark::Question) => "ends with a question mark",
            Self::Mark(Mark::Colon) => "ends with a colon",
            Self::Mark(Mark::Word) => "ends with a word",
            Self::Mark(Mark::Other) => "ends with another mark",
            Self::Breaks => "has line breaks",
            Self::List => "has a list",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_its_first_words_without_marks() {
        for (text, words) in [
            ("I’m SORRY,\n but no.", "i'm sorry but"),
            ("\"Well\" — 'yes'", "well yes"),
            ("…", ""),
            ("", ""),
            ("抱歉，我不能", "抱歉 我不能"),
            ("Donaudampfschifffahrtsgesellschaft is", "donaudampfschiff is"),
        ] {
            assert_eq!(opening(text), words);
        }
        let surface = Surface::of("Sure thing. No.", 5, AnswerEnd::Row);
        assert_eq!(surface.openings().collect::<Vec<_>>(), ["thing", "thing no"]);
    }

    #[test]
    fn items_of_lists_are_known_from_numbers_in_sentences() {
        for line in ["- sweep", "* sweep", "1. Sweep", "12) sweep"] {
            assert!(is_item(line), "{line}");
        }
        for line in ["1.5 litres", "-sweep", "1", "a. b", ". a", "", "3.", "1.é"] {
            assert!(!is_item(line), "{line}");
        }
    }

    #[test]
    fn the_last_mark_is_found_in_any_script() {
        let marks = ["Done. ", "完了。", "Why?", "Go!", "So:", "word", "(aside)", ""].map(Mark::of);
        let [stop, other] = [Mark::FullStop, Mark::Other];
        assert_eq!(
            marks,
            [stop, stop, Mark::Question, Mark::Exclamation, Mark::Colon, Mark::Word, other, other]
        );
    }

    #[test]
    fn what_one_ranking_has_has_no_column() {
        let answer = |text: &str| Surface::of(text, 0, AnswerEnd::Row);
        let rankings = [vec![answer("Yes. No.")], vec![answer("Yes! Oh.")]];
        let rows = rows(rankings.iter().map(Vec::as_slice), &[Cue::Opening]);
        assert_eq!(rows, [[[(0, 1.0)]], [[(0, 1.0)]]]);
    }
}
