//! Whether a text reads as English: whether enough of its words are among the commonest.
//!
//! Only the difference between a text and what a wrong key makes of it has to be told, so a list of words is enough. Short
//! texts of rare words are not recognised. The rule judge knows English only, too.

/// The share of words that must be common ones.
const LEAST_COMMON: f64 = 0.2;

/// The commonest words, in alphabetical order.
const COMMON: &str = include_str!("common_words.txt");

/// Whether `text` has words, and enough of them are common.
pub(super) fn is_english(text: &str) -> bool {
    let is_common = |word: &&str| COMMON.split_whitespace().any(|common| common.eq_ignore_ascii_case(word));
    let words = || {
        let parts = text.split(|c: char| !c.is_alphabetic() && c != '\'' && c != '’');
        parts.map(|word| word.trim_matches(['\'', '’'])).filter(|word| !word.is_empty())
    };
    let (n_words, n_common) = (words().count(), words().filter(is_common).count());
    n_common > 0 && n_common as f64 >= LEAST_COMMON * n_words as f64
}
