//! Where the clauses and sentences of a text end, in any script.
//!
//! A clause ends at a mark, a sentence at one after which UAX 29 finds a sentence boundary; closing quotation marks
//! and brackets belong to what they close. A line ends what stands on it, and in Thai, Lao, Khmer and Myanmar a space
//! does. UAX 29 knows neither abbreviations nor list markers nor addresses: those are left out here, when in doubt
//! one too many. Reading takes time linear in the text.
//!
//! Source: UAX 29, section 5, asked about one mark and the letter that follows it. Its rule SB8 looks ahead from
//! every character that may follow a full stop, which is quadratic in a run of spaces.

mod markers;

use unicode_segmentation::UnicodeSegmentation;

use self::markers::{enumerator, is_bullet};
use super::script::{LINE_BREAKS, is_wide, spaces_end_clauses};

/// The end of a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Byte offset after its mark and what closes there; after its last word where it has no mark.
    pub(super) at: usize,
    /// Byte offset of what follows the white space after it.
    pub(super) next: usize,
    /// What ends there.
    pub(super) kind: EndKind,
}

/// What ends, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndKind {
    /// A clause, by a mark.
    Clause,
    /// A sentence, by a mark.
    Sentence,
    /// A clause of a script without spaces between words, by white space.
    Space,
    /// A line without a mark at its end.
    Line,
    /// The same, of a list.
    Item,
}

/// Every end of a clause, in order. Between two of them stands at least a letter or a digit.
pub(super) fn ends(text: &str) -> Vec<End> {
    let mut reader = Reader::new(text);
    while let Some(c) = reader.peek(reader.at) {
        reader.read(c);
    }
    reader.ends
}

/// Marks beside those of ASCII that end a clause and no sentence.
const CLAUSE_MARKS: [char; 31] = [
    '،', '؛', '、', '，', '；', '：', '﹐', '﹑', '﹔', '﹕', '､', '…', '⋯', '—', '–', '―', '⸺', '﹘', '፣',
    '፤', '፥', '፦', '՝', '៖', '།', '༎', '᠂', '߸', '꓾', '︐', '︓',
];

/// Marks that may open as well as close.
const EITHER_WAY: [char; 12] = ['"', '\'', '“', '‘', '«', '»', '‹', '›', '*', '_', '`', '~'];

/// Marks that close; the last two make an emoji of the mark before them.
const CLOSING: [char; 17] = [
    ')', ']', '}', '”', '’', '」', '』', '）', '】', '〕', '》', '〉', '］', '｝', '〗', '\u{fe0f}',
    '\u{20e3}',
];

/// Words that end in a full stop and end no sentence.
const ABBREVIATIONS: [&str; 31] = [
    "al", "approx", "bzw", "capt", "cf", "col", "dept", "dr", "est", "ggf", "gov", "hon", "inc", "jr", "lt",
    "ltd", "mr", "mrs", "ms", "mt", "prof", "rev", "sgt", "sr", "sra", "srta", "st", "usw", "vgl", "vs",
    "डॉ",
];

/// Words that do so before a number.
const BEFORE_NUMBERS: [&str; 14] =
    ["art", "ch", "eq", "fig", "figs", "no", "nos", "nr", "p", "pp", "pt", "sec", "ver", "vol"];

/// Letters of the longest abbreviation, and room to see that a word is longer.
const ABBREVIATION_LETTERS: usize = 8;

/// Where a place lies in its line or sentence, which decides what a list marker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// No letter or digit stands on the line yet, markers aside.
    Line,
    /// None stands in the sentence yet.
    Sentence,
    /// One does.
    Inside,
}

/// What is open on the line of the marks that open and close alike.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// The straight quotation mark.
    quote: bool,
    /// Stars, which make text bold.
    bold: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    place: Place,
    /// Whether a letter or digit that is no marker stands since the last end.
    has_word: bool,
    /// End of the last character that is no white space.
    last: usize,
    /// Whether a list marker begins the line.
    is_item: bool,
    open: Open,
    /// Where the next letter or line break stands, as far as it was looked for.
    letter: (usize, char),
    ends: Vec<End>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            place: Place::Line,
            has_word: false,
            last: 0,
            is_item: false,
            open: Open::default(),
            letter: (0, '\n'),
            ends: Vec::new(),
        }
    }

    fn peek(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    fn before(&self, at: usize) -> Option<char> {
        self.text[..at].chars().next_back()
    }

    /// The end of the run from `at` of characters that `belongs` holds for.
    fn run_end(&self, at: usize, belongs: impl Fn(char) -> bool) -> usize {
        self.text[at..].find(|c| !belongs(c)).map_or(self.text.len(), |len| at + len)
    }

    fn read(&mut self, c: char) {
        match c {
            _ if LINE_BREAKS.contains(&c) => self.read_line_break(c),
            _ if c.is_whitespace() => self.read_space(),
            _ if is_mark(c) => self.read_marks(),
            _ if c.is_alphanumeric() => self.read_word(c),
            _ => self.read_other(c),
        }
    }

    fn pass(&mut self, len: usize) {
        self.at += len;
        self.last = self.at;
    }

    fn read_word(&mut self, c: char) {
        let marker = match self.place {
            Place::Inside => None,
            place => enumerator(&self.text[self.at..], place == Place::Line),
        };
        if let Some(len) = marker {
            self.is_item |= self.place == Place::Line;
            return self.pass(len);
        }
        self.place = Place::Inside;
        self.has_word = true;
        self.pass(c.len_utf8());
    }

    fn read_other(&mut self, c: char) {
        let is_bullet = self.place == Place::Line && is_bullet(&self.text[self.at..]);
        self.is_item |= is_bullet;
        self.open.quote ^= c == '"';
        self.open.bold ^= c == '*' && !is_bullet && self.before(self.at) != Some('*');
        self.pass(c.len_utf8());
    }

    fn read_line_break(&mut self, c: char) {
        if self.has_word {
            let kind = if self.is_item { EndKind::Item } else { EndKind::Line };
            self.end(self.last, kind);
        }
        self.at += c.len_utf8();
        self.place = Place::Line;
        self.is_item = false;
        self.open = Open::default();
    }

    /// A space between two letters of a script that has none between words; a sign of repetition keeps its spaces.
    fn read_space(&mut self) {
        let (start, end) =
            (self.at, self.run_end(self.at, |c| c.is_whitespace() && !LINE_BREAKS.contains(&c)));
        let ends = |c: char| spaces_end_clauses(c) && !c.is_numeric() && !matches!(c, 'ๆ' | 'ฯ' | 'ໆ' | 'ៗ');
        let (before, after) = (self.before(start), self.peek(end));
        if self.has_word && before.is_some_and(ends) && after.is_none_or(ends) {
            self.end(start, EndKind::Space);
        }
        self.at = end;
    }

    fn read_marks(&mut self) {
        let start = self.at;
        self.is_item |= self.place == Place::Line && is_bullet(&self.text[start..]);
        let run_end = self.run_end(start, is_mark);
        let at = self.closed(run_end);
        let is_end =
            self.has_word && self.is_apart(start, run_end, at) && !self.is_abbreviated(start, run_end);
        if let Some(kind) = is_end.then(|| self.kind(start, run_end)).flatten() {
            self.end(at, kind);
        }
        self.pass(run_end - start);
    }

    fn end(&mut self, at: usize, kind: EndKind) {
        let next = self.run_end(at, char::is_whitespace);
        self.ends.push(End { at, next, kind });
        self.has_word = false;
        if kind == EndKind::Sentence {
            self.place = Place::Sentence;
        }
    }

    /// Where what closes after the marks that end at `at` is over; what may open closes where no word follows at
    /// once.
    fn closed(&self, at: usize) -> usize {
        let (mut end, mut sure, mut is_quoted) = (at, at, self.open.quote);
        while let Some(c) = self.peek(end).filter(|c| CLOSING.contains(c) || EITHER_WAY.contains(c)) {
            end += c.len_utf8();
            if CLOSING.contains(&c) || (c == '"' && is_quoted) || (c == '*' && self.open.bold) {
                sure = end;
            }
            is_quoted ^= c == '"';
        }
        if self.peek(end).is_some_and(char::is_alphanumeric) { sure } else { end }
    }

    /// Whether the marks stand between clauses and not inside a number, word, address or file name.
    fn is_apart(&self, start: usize, run_end: usize, at: usize) -> bool {
        let run = &self.text[start..run_end];
        let (before, after) = (self.before(start), self.peek(at));
        let is_digit = |c: Option<char>| c.is_some_and(char::is_numeric);
        let is_spaced = after.is_none_or(char::is_whitespace);
        match run {
            "-" | "–" => {
                let after = self.peek(self.run_end(at, char::is_whitespace));
                let before_spaces = self.text[..start].trim_end().chars().next_back();
                let spaced = is_spaced && before.is_none_or(char::is_whitespace);
                spaced && !(is_digit(before_spaces) && is_digit(after))
            }
            _ if is_spaced => true,
            _ if is_digit(before) && is_digit(after) => false,
            _ if run.chars().all(|c| c == '-') => run.len() > 1 && !before.is_none_or(char::is_whitespace),
            _ if run.is_ascii() => before.is_some_and(is_wide) && after.is_some_and(is_wide),
            _ => true,
        }
    }

    fn is_abbreviated(&self, start: usize, run_end: usize) -> bool {
        let run = &self.text[start..run_end];
        if !run.starts_with('.') || run.starts_with("..") {
            return false;
        }
        let letters = self.text[..start].chars().rev().take(ABBREVIATION_LETTERS);
        let mut word: Vec<char> =
            letters.take_while(|c| c.is_alphanumeric() || ['\'', '’'].contains(c)).collect();
        word.reverse();
        if let [only] = word[..] {
            return only.is_alphabetic() && !is_wide(only) && only != 'I';
        }
        let word = word.iter().collect::<String>().to_lowercase();
        let is_numbered =
            || self.peek(self.run_end(run_end, char::is_whitespace)).is_some_and(char::is_numeric);
        ABBREVIATIONS.contains(&word.as_str()) || (BEFORE_NUMBERS.contains(&word.as_str()) && is_numbered())
    }

    /// What the marks end; nothing where a full stop is followed by a small letter.
    fn kind(&mut self, start: usize, run_end: usize) -> Option<EndKind> {
        let run = &self.text[start..run_end];
        let next = self.letter_after(run_end);
        if run.chars().next_back().is_some_and(|last| ends_sentence_before(last, next)) {
            return Some(EndKind::Sentence);
        }
        (run != "." && run != "．").then_some(EndKind::Clause)
    }

    /// The next letter, or what comes before it and ends a sentence: a line break, also for the end of the text, or a
    /// mark.
    fn letter_after(&mut self, at: usize) -> char {
        let is_sought = |c: char| {
            c.is_alphabetic() || LINE_BREAKS.contains(&c) || (is_mark(c) && ends_sentence_before(c, 'A'))
        };
        if self.letter.0 < at {
            let place = self.text[at..].find(is_sought).map_or(self.text.len(), |len| at + len);
            self.letter = (place, self.peek(place).unwrap_or('\n'));
        }
        self.letter.1
    }
}

/// Whether `c` may end a clause.
fn is_mark(c: char) -> bool {
    match c {
        '.' | '!' | '?' | ',' | ';' | ':' | '-' => true,
        // Armenian signs that stand inside the word they stress.
        '\u{55c}' | '\u{55e}' => false,
        _ if c.is_ascii() || c.is_alphanumeric() || c.is_whitespace() => false,
        _ => CLAUSE_MARKS.contains(&c) || ends_sentence_before(c, 'A'),
    }
}

/// Whether UAX 29 finds the end of a sentence between the mark, a space and `next`; before anything but a letter it
/// does as before a capital one.
fn ends_sentence_before(mark: char, next: char) -> bool {
    let next = if next.is_alphabetic() { next } else { 'A' };
    let around: String = [mark, ' ', next].iter().collect();
    around.split_sentence_bounds().count() > 1
}

#[cfg(test)]
mod tests;
