//! The words the phrase files know, numbered, and how a word of a text is folded to one of them.
//!
//! Folding makes patterns short: capitals, curly apostrophes and contractions are gone before matching, so
//! that "Can’t", "cannot" and "can not" are the same two words. A word no phrase file names is [`UNKNOWN`];
//! it still counts as a word.

use std::collections::HashMap;

/// A word's number in a [`Vocabulary`].
pub(super) type WordId = u16;

/// Every word that no phrase file names.
pub(super) const UNKNOWN: WordId = 0;

/// Words longer than this are in no phrase file.
const LONGEST: usize = 24;

/// Contractions whose parts cannot be read off their spelling.
const IRREGULAR: [(&str, [&str; 2]); 12] = [
    ("can't", ["can", "not"]),
    ("cannot", ["can", "not"]),
    ("cant", ["can", "not"]),
    ("dont", ["do", "not"]),
    ("here's", ["here", "is"]),
    ("im", ["i", "am"]),
    ("it's", ["it", "is"]),
    ("let's", ["let", "us"]),
    ("that's", ["that", "is"]),
    ("there's", ["there", "is"]),
    ("what's", ["what", "is"]),
    ("won't", ["will", "not"]),
];

/// Contractions by their end, and the word it stands for.
const SUFFIXES: [(&str, &str); 6] =
    [("n't", "not"), ("'m", "am"), ("'re", "are"), ("'ll", "will"), ("'ve", "have"), ("'d", "would")];

/// The numbered words of all phrase files.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    // Looked up once a word of a text, never walked through.
    ids: HashMap<Box<str>, WordId>,
}

/// A word folded to lower case and straight apostrophes, without allocating.
pub(super) struct Folded {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Vocabulary {
    /// The number of `word`, given one if it has none; `word` is in folded form.
    pub(super) fn intern(&mut self, word: &str) -> WordId {
        let next = self.ids.len() as WordId + 1;
        *self.ids.entry(word.into()).or_insert(next)
    }

    /// The number of `word`, [`UNKNOWN`] if no phrase file names it.
    pub(super) fn id(&self, word: &str) -> WordId {
        self.ids.get(word).copied().unwrap_or(UNKNOWN)
    }
}

impl Folded {
    /// Folds a word of a text; `None` if no phrase file can name it (too long, or letters beyond ASCII).
    pub(super) fn new(word: &str) -> Option<Self> {
        let mut folded = Self { bytes: [0; LONGEST], len: 0 };
        for c in word.chars() {
            let c = if c == '’' { '\'' } else { c.to_ascii_lowercase() };
            *folded.bytes.get_mut(folded.len)? = u8::try_from(c).ok().filter(u8::is_ascii)?;
            folded.len += 1;
        }
        Some(folded)
    }

    /// The folded spelling.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// The one or two words it stands for: "don't" is "do" and "not".
    pub(super) fn words(&self) -> (&str, Option<&str>) {
        let spelling = self.as_str();
        if let Ok(found) = IRREGULAR.binary_search_by_key(&spelling, |(contraction, _)| contraction) {
            let [first, second] = IRREGULAR[found].1;
            return (first, Some(second));
        }
        if !spelling.contains('\'') {
            return (spelling, None);
        }
        let split = |(end, second): &(&str, &'static str)| Some((spelling.strip_suffix(end)?, Some(*second)));
        SUFFIXES.iter().find_map(split).unwrap_or((spelling, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(word: &str) -> Vec<String> {
        let folded = Folded::new(word).unwrap();
        let (first, second) = folded.words();
        std::iter::once(first).chain(second).map(str::to_owned).collect()
    }

    #[test]
    fn contractions_become_two_words() {
        assert_eq!(fold("Can’t"), ["can", "not"]);
        assert_eq!(fold("CANNOT"), ["can", "not"]);
        assert_eq!(fold("shouldn't"), ["should", "not"]);
        assert_eq!(fold("I'd"), ["i", "would"]);
        assert_eq!(fold("it’s"), ["it", "is"]);
        assert_eq!(fold("friend's"), ["friend's"]);
        assert_eq!(fold("want"), ["want"]);
    }

    #[test]
    fn irregular_contractions_are_sorted_for_the_search() {
        assert!(IRREGULAR.is_sorted_by_key(|(contraction, _)| contraction));
    }

    #[test]
    fn what_no_phrase_file_can_name_is_not_folded() {
        assert!(Folded::new("naïve").is_none());
        assert!(Folded::new(&"a".repeat(LONGEST + 1)).is_none());
        assert!(Folded::new(&"a".repeat(LONGEST)).is_some());
    }
}
