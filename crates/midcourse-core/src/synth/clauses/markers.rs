//! Markers of list items: bullets, and enumerators such as "1.", "a)", "(ii)", "Step 2:", "一、".

use super::super::script::{is_unspaced, is_wide};

/// Bullets that need no space after them.
const BULLETS: [char; 18] =
    ['•', '‣', '◦', '▪', '▫', '●', '○', '■', '□', '◆', '◇', '➤', '➢', '→', '✓', '✔', '※', '・'];

/// What closes an enumerator; the last two make an emoji of a digit.
const CLOSERS: [char; 16] =
    ['.', ')', ']', ':', '*', '_', '、', '．', '。', '）', '】', '：', '，', '۔', '\u{fe0f}', '\u{20e3}'];

/// What the numerals of Chinese and Japanese lists are written with, their counters included.
const HAN_NUMERALS: &str = "第一二三四五六七八九十百零〇步章节節条條";

/// Longest number, in letters and digits, that is taken for an enumerator: "1945." is a sentence too.
const NUMBER_LETTERS: usize = 3;

/// Longest word before a number, as in "Step 2:".
const WORD_LETTERS: usize = 12;

/// Whether the text begins with a bullet.
pub(super) fn is_bullet(text: &str) -> bool {
    let mut chars = text.chars();
    let (first, second) = (chars.next(), chars.next());
    match first {
        Some('-' | '*' | '+' | '–' | '—' | '·') => second.is_none_or(char::is_whitespace),
        Some(c) => BULLETS.contains(&c),
        None => false,
    }
}

/// The length of the enumerator that the text begins with; at the start of a line a word may stand before its number.
pub(super) fn enumerator(text: &str, begins_line: bool) -> Option<usize> {
    let label = label(text).or_else(|| worded_label(text).filter(|_| begins_line))?;
    let closed = |at: usize| -> usize {
        at + text[at..].chars().take_while(|c| CLOSERS.contains(c)).map(char::len_utf8).sum::<usize>()
    };
    let dash = || [" - ", " – ", " — "].into_iter().find(|dash| text[label..].starts_with(*dash));
    let end = match closed(label) {
        // "Step 2 – ": the dash closes it.
        end if end == label && text[..label].contains(' ') => label + dash()?.trim_end().len(),
        end => end,
    };
    let closers = &text[label..end];
    let is_apart = match text[end..].chars().next() {
        Some(next) if next.is_numeric() => closers.chars().count() > 1,
        Some(next) if next.is_alphabetic() => is_unspaced(next) || !closers.is_ascii(),
        _ => true,
    };
    (is_apart && !closers.is_empty()).then_some(end)
}

/// The length of a number, letter or numeral.
fn label(text: &str) -> Option<usize> {
    let head = head(text, char::is_alphanumeric, WORD_LETTERS)?;
    let n_letters = head.chars().count();
    let is_letter = n_letters == 1 && head.chars().all(|c| c.is_alphabetic() && !is_wide(c));
    let is_roman = n_letters <= 5 && head.chars().all(|c| "ivxlIVXL".contains(c));
    let is_han = n_letters <= 5 && head.chars().all(|c| HAN_NUMERALS.contains(c));
    if is_letter || is_roman || is_han {
        return Some(head.len());
    }
    (n_letters <= NUMBER_LETTERS && head.chars().all(char::is_numeric)).then(|| numbers(text, head.len()))
}

/// The end of "1.2.3", of which `text[..end]` is the first number.
fn numbers(text: &str, mut end: usize) -> usize {
    while let Some(rest) = text[end..].strip_prefix('.') {
        let Some(next) = head(rest, char::is_numeric, NUMBER_LETTERS) else { break };
        end += 1 + next.len();
    }
    end
}

/// The length of a word and a number.
fn worded_label(text: &str) -> Option<usize> {
    let word = head(text, char::is_alphabetic, WORD_LETTERS)?;
    let number = head(text[word.len()..].strip_prefix(' ')?, char::is_numeric, NUMBER_LETTERS)?;
    Some(word.len() + 1 + number.len())
}

/// The characters at the start that `belongs` holds for; none if there are none, or more than `most`.
fn head(text: &str, belongs: impl Fn(char) -> bool, most: usize) -> Option<&str> {
    let end = text.char_indices().take(most + 1).find(|(_, c)| !belongs(*c)).map(|(at, _)| at);
    let end = end.or_else(|| (text.chars().nth(most).is_none()).then_some(text.len()))?;
    (end > 0).then(|| &text[..end])
}
