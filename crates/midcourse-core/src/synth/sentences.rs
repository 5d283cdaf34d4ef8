//! Whole sentences of a text that a limit may have broken off.

use std::collections::BTreeSet;

use super::clauses::{EndKind, ends};
use super::script::{LINE_BREAKS, spaces_end_clauses};

/// The text up to the end of its last whole sentence; empty when no sentence of it is whole.
///
/// A sentence ends at its mark, with the quotation marks and brackets that close there. A list item also ends with
/// its line, and so does any line of a script without spaces between words, where a space ends a sentence too: the
/// white space that ends it belongs to the result then. A number that the limit cut at its decimal point cannot be
/// told from one that ends a sentence, and counts as whole.
pub fn whole_sentences(text: &str) -> &str {
    let end = ends(text).into_iter().rev().find_map(|end| match end.kind {
        EndKind::Sentence => Some(end.at),
        EndKind::Space | EndKind::Item => after_white_space(text, end.at),
        EndKind::Line if text[..end.at].ends_with(spaces_end_clauses) => after_white_space(text, end.at),
        EndKind::Line | EndKind::Clause => None,
    });
    &text[..end.unwrap_or(0)]
}

/// The text up to the first sentence that says what an earlier one has said, letter for letter but for case, white space
/// and punctuation: small models go round in circles where they should have ended.
pub(super) fn before_repetition(text: &str) -> &str {
    let mut said = BTreeSet::new();
    let mut start = 0;
    for end in ends(text).into_iter().filter(|end| end.kind != EndKind::Clause) {
        let words: String = text[start..end.at]
            .chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect();
        if !words.is_empty() && !said.insert(words) {
            return text[..start].trim_end();
        }
        start = end.at;
    }
    text
}

/// After the character of white space that ends what ends at `at`: the line break, if there is one.
fn after_white_space(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let space = &rest[..rest.len() - rest.trim_start().len()];
    let broken = space.char_indices().find(|(_, c)| LINE_BREAKS.contains(c));
    broken.or_else(|| space.char_indices().next()).map(|(len, c)| at + len + c.len_utf8())
}

/// Whether what follows `prefix` begins a sentence: it is blank, ends in a whole sentence, or with its line.
pub fn ends_sentence(prefix: &str) -> bool {
    let trimmed = prefix.trim_end();
    trimmed.is_empty()
        || prefix[trimmed.len()..].contains(LINE_BREAKS)
        || ends(trimmed).last().is_some_and(|end| end.kind == EndKind::Sentence && end.at == trimmed.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_kept_up_to_its_last_whole_sentence() {
        for marked in [
            "That is unfair.| I would rath",
            "I can't help with that.|",
            "I won't.| I just can",
            "No, I can’t.| It is",
            "He said \"no.\"| Then",
            "(It is unfair.)|",
            "**Stop.**| I",
            "Really?!| Well, no",
            "|It costs 3",
            "It costs 3.14 or so.| Take 2.71",
            "Ask Mr. Fox, e.g. today.| Or Mr.",
            "Be fair.|\n\n2.",
            "Be kind:\n1. Ask first\n2. Say sorry\n|3. Be",
            "Be kind.|\nTry:\n- as",
            "Here are ways.| Try these:\n\n",
            "|One line\nand half a",
            "|",
            "|1. 2. ",
            "|no mark at all",
            "这样不公平。|我不",
            "「だめです。」|でも",
            "ไม่ยุติธรรม |ฉัน",
            "ไม่ยุติธรรม\n|ฉัน",
            "यह ठीक नहीं।| मैं",
            "هذا ليس عدلاً؟| أنا",
        ] {
            let (kept, lost) = marked.split_once('|').unwrap();
            assert_eq!(whole_sentences(&format!("{kept}{lost}")), kept, "{marked:?}");
        }
    }

    #[test]
    fn a_text_ends_before_it_goes_round_in_circles() {
        for marked in [
            "I won't.| I WON'T! I won't.",
            "It is unfair.\n\nAsk her.|\n\nIt is unfair.\n\nAsk her.",
            "- ask\n- wait|\n- ask\n- wait",
            "No, no, no. Really, no.|",
            "这样不公平。|这样不公平。",
            "|",
        ] {
            let (kept, lost) = marked.split_once('|').unwrap();
            assert_eq!(before_repetition(&format!("{kept}{lost}")), kept, "{marked:?}");
        }
    }

    #[test]
    fn a_sentence_may_begin_after_a_sentence_or_a_line() {
        for prefix in [
            "",
            " \n",
            "Go.",
            "Go. ",
            "He said \"go.\"",
            "Here is how:\n\n",
            "- a king\n",
            "走吧。",
            "First\n",
        ] {
            assert!(ends_sentence(prefix), "{prefix:?}");
        }
        for prefix in [
            "First,",
            "First, ",
            "One thing: ",
            "Ask Mr.",
            "See e.g. ",
            "First",
            "1. ",
            "走吧，",
            "It is —",
            "เล่นไพ่ ",
        ] {
            assert!(!ends_sentence(prefix), "{prefix:?}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        const PIECES: [&str; 24] = [
            "It",
            " is",
            " fair",
            ".",
            ". ",
            "! ",
            "?",
            ",",
            " 3",
            "\n",
            "\n- ",
            "1. ",
            "Mr. ",
            "\"",
            "”",
            " (",
            ")",
            "**",
            "好",
            "。",
            "ไพ่",
            " ",
            "।",
            "…",
        ];
        let pieces = prop::collection::vec(prop::sample::select(&PIECES[..]), 0..20);
        prop_oneof![3 => pieces.prop_map(|pieces| pieces.concat()), 1 => any::<String>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_kept_is_a_prefix_whole_itself_and_never_ends_in_a_word(text in text()) {
            let kept = whole_sentences(&text);
            prop_assert!(text.starts_with(kept));
            prop_assert_eq!(whole_sentences(kept), kept);
            prop_assert!(!kept.ends_with(char::is_alphanumeric), "{kept:?}");
            prop_assert!(kept.is_empty() || kept.contains(char::is_alphanumeric));
        }

        #[test]
        fn more_text_takes_no_sentence_back(text in text(), more in text()) {
            let (kept, longer) = (whole_sentences(&text), format!("{text}\nA {more}"));
            prop_assert!(whole_sentences(&longer).len() >= kept.trim_end().len(), "{text:?} {more:?}");
        }
    }
}
