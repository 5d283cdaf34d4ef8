//! Reads a text that may still grow into clauses, each handed out once it cannot change any more.
//!
//! The reader looks at most one character beyond a mark to know what the mark is: "." may be a decimal point,
//! `'` an apostrophe. Where that character is not there yet ([`Ending::Open`]), it stops. So what it reads in
//! a text it reads in every longer one: the judge's monotone answers stand on this alone. Sentences end at
//! `.` `!` `?` and line ends; clauses also at `,` `;` `:`, ellipses and dashes. It knows nothing of phrases.

use super::super::Ending;
use super::vocabulary::{Folded, UNKNOWN, Vocabulary, WordId};

/// What a text still open may end with when a token ends inside a character.
const INCOMPLETE: char = char::REPLACEMENT_CHARACTER;

/// Words before a full stop that does not end a sentence, besides single letters.
const ABBREVIATIONS: [&str; 9] = ["approx", "dr", "etc", "mr", "mrs", "ms", "prof", "st", "vs"];

/// Words that begin with an apostrophe, which is no opening quotation mark then.
const ELISIONS: [&str; 6] = ["bout", "cause", "em", "til", "tis", "twas"];

/// Words in "ing" that name no doing.
const NOUNS: [&str; 14] = [
    "anything",
    "being",
    "bring",
    "building",
    "ceiling",
    "clothing",
    "during",
    "evening",
    "everything",
    "morning",
    "nothing",
    "something",
    "string",
    "thing",
];

/// One word of the sentence being read; the two words of a contraction share a clause and a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) id: WordId,
    pub(super) form: Form,
    pub(super) voice: Voice,
    /// Byte offset of the first word of its clause, which also tells clauses apart.
    pub(super) clause: usize,
}

/// What can be said of a word that no phrase file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It ends in "ing" and names a doing.
    Gerund,
    /// Anything else.
    Plain,
}

/// Who speaks a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// The text itself.
    Own,
    /// It stands between quotation marks.
    Quoted,
}

/// A clause that is complete, with what its sentence holds before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clause<'a> {
    /// The sentence up to the end of the clause.
    pub(super) words: &'a [Word],
    /// Where in `words` the clause begins.
    pub(super) first: usize,
    /// How many words the text has before the sentence.
    pub(super) n_before: usize,
}

/// The quotation mark that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// What a mark does to the quotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Opens(Quote),
    Closes(Quote),
    Neither,
}

/// What one step of reading ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Border {
    Nothing,
    Clause,
    Sentence,
}

/// A reader of clauses.
#[derive(Debug)]
pub(super) struct Clauses<'a> {
    text: &'a str,
    ending: Ending,
    vocabulary: &'a Vocabulary,
    at: usize,
    quote: Quote,
    last_word: &'a str,
    /// The sentence so far; emptied when the next clause is asked for after `over`.
    words: Vec<Word>,
    /// Where in `words` the clause being read begins.
    first: usize,
    /// How many words the sentences before this one hold.
    n_before: usize,
    over: Border,
}

impl<'a> Clauses<'a> {
    /// Begins to read; characters a token left incomplete at the end of `text` are not read.
    pub(super) fn new(text: &'a str, ending: Ending, vocabulary: &'a Vocabulary) -> Self {
        let text = text.trim_end_matches(INCOMPLETE);
        let words = Vec::with_capacity(64);
        let (quote, over) = (Quote::None, Border::Nothing);
        Self { text, ending, vocabulary, at: 0, quote, last_word: "", words, first: 0, n_before: 0, over }
    }

    /// The next complete clause that holds a word; `None` when the text so far has no further one.
    pub(super) fn advance(&mut self) -> Option<Clause<'_>> {
        self.leave_what_is_over();
        while self.at <= self.text.len() {
            self.over = self.step()?;
            if self.over != Border::Nothing && self.first < self.words.len() {
                return Some(Clause { words: &self.words, first: self.first, n_before: self.n_before });
            }
            self.leave_what_is_over();
        }
        None
    }

    fn leave_what_is_over(&mut self) {
        match std::mem::replace(&mut self.over, Border::Nothing) {
            Border::Sentence => {
                self.n_before += self.words.len();
                self.words.clear();
                self.first = 0;
            }
            Border::Clause => self.first = self.words.len(),
            Border::Nothing => {}
        }
    }

    /// Reads one word or mark; `None` if it cannot be told yet what it is.
    fn step(&mut self) -> Option<Border> {
        let c = self.look(self.at)?;
        match c {
            '\n' => Some(self.end_line()),
            '.' | '!' | '?' | ',' | ';' | ':' | '…' => self.read_terminator(),
            '-' | '–' | '—' => self.read_dash(),
            '\'' | '"' | '‘' | '’' | '“' | '”' | '«' | '»' => self.read_quote(c),
            _ if c.is_alphanumeric() => self.read_word(),
            _ => {
                self.at += c.len_utf8();
                Some(Border::Nothing)
            }
        }
    }

    /// The character at `at`; the end of a path that has ended reads as a line end.
    fn look(&self, at: usize) -> Option<char> {
        let found = self.text.get(at..)?.chars().next();
        match self.ending {
            Ending::Open => found,
            Ending::Ended => found.or(Some('\n')),
        }
    }

    fn before(&self, at: usize) -> Option<char> {
        self.text[..at].chars().next_back()
    }

    /// The end of the run of characters from `at` that `belongs` holds for.
    fn run_end(&self, mut at: usize, belongs: impl Fn(char) -> bool) -> Option<usize> {
        loop {
            let c = self.look(at)?;
            if !belongs(c) {
                return Some(at);
            }
            at += c.len_utf8();
        }
    }

    fn end_line(&mut self) -> Border {
        self.at += 1;
        self.quote = Quote::None;
        Border::Sentence
    }

    fn read_word(&mut self) -> Option<Border> {
        let text = self.text;
        let start = self.at;
        let mut end = self.run_end(start, char::is_alphanumeric)?;
        while matches!(self.look(end)?, joint @ ('\'' | '’' | '-') if self.look(end + joint.len_utf8())?.is_alphanumeric())
        {
            let joint = self.look(end)?;
            end = self.run_end(end + joint.len_utf8(), char::is_alphanumeric)?;
        }
        self.at = end;
        self.last_word = &text[start..end];
        self.push(start, self.last_word);
        Some(Border::Nothing)
    }

    /// Adds the one or two words a spelling stands for.
    fn push(&mut self, start: usize, spelling: &str) {
        let clause = self.words.get(self.first).map_or(start, |word| word.clause);
        let voice = if self.quote == Quote::None { Voice::Own } else { Voice::Quoted };
        let mut word = Word { id: UNKNOWN, form: Form::Plain, voice, clause };
        let Some(folded) = Folded::new(spelling) else { return self.words.push(word) };
        let spelled = folded.as_str();
        if spelled.len() > 4 && spelled.ends_with("ing") && NOUNS.binary_search(&spelled).is_err() {
            word.form = Form::Gerund;
        }
        let (first, second) = folded.words();
        self.words.push(Word { id: self.vocabulary.id(first), ..word });
        if let Some(second) = second {
            self.words.push(Word { id: self.vocabulary.id(second), ..word });
        }
    }

    /// A run of terminators ends something if white space follows it, closing marks between them or not.
    fn read_terminator(&mut self) -> Option<Border> {
        let start = self.at;
        let run_end = self.run_end(start, |c| matches!(c, '.' | '!' | '?' | ',' | ';' | ':' | '…'))?;
        self.at = run_end;
        while let Some(c) = Some(self.look(self.at)?).filter(|c| is_closing(*c)) {
            let side = self.side(c)?;
            if matches!(side, Side::Opens(_)) {
                break;
            }
            self.turn_quote(side);
            self.at += c.len_utf8();
        }
        let spaced = self.look(self.at)?.is_whitespace();
        Some(if spaced { self.ended_by(&self.text[start..run_end]) } else { Border::Nothing })
    }

    fn ended_by(&self, run: &str) -> Border {
        match run {
            "." if self.is_abbreviated() => Border::Nothing,
            "…" => Border::Clause,
            _ if run.contains(['!', '?']) => Border::Sentence,
            _ if run.contains("..") => Border::Clause,
            _ if run.contains('.') => Border::Sentence,
            _ => Border::Clause,
        }
    }

    fn is_abbreviated(&self) -> bool {
        let mut letters = self.last_word.chars();
        match (letters.next(), letters.next()) {
            (Some(only), None) => only.is_ascii_alphabetic() && !only.eq_ignore_ascii_case(&'i'),
            _ => ABBREVIATIONS.iter().any(|word| word.eq_ignore_ascii_case(self.last_word)),
        }
    }

    /// A long dash, a double one and one between spaces end a clause; a hyphen does not.
    fn read_dash(&mut self) -> Option<Border> {
        let start = self.at;
        let end = self.run_end(start, |c| matches!(c, '-' | '–' | '—'))?;
        let between_spaces =
            self.look(end)?.is_whitespace() && self.before(start).is_none_or(char::is_whitespace);
        self.at = end;
        let run = &self.text[start..end];
        let long = run.contains('—') || run.chars().nth(1).is_some();
        Some(if long || between_spaces { Border::Clause } else { Border::Nothing })
    }

    fn read_quote(&mut self, mark: char) -> Option<Border> {
        let side = self.side(mark)?;
        self.turn_quote(side);
        self.at += mark.len_utf8();
        Some(Border::Nothing)
    }

    /// What the mark at the present place does, judged from its two neighbours.
    fn side(&self, mark: char) -> Option<Side> {
        let after = self.at + mark.len_utf8();
        let next = self.look(after)?;
        let space_before = self.before(self.at).is_none_or(char::is_whitespace);
        Some(match mark {
            '"' => self.side_of_double(next),
            '“' | '«' => Side::Opens(Quote::Double),
            '”' | '»' => Side::Closes(Quote::Double),
            '‘' => Side::Opens(Quote::Single),
            '\'' if space_before && next.is_alphabetic() && !self.is_elision(after) => {
                Side::Opens(Quote::Single)
            }
            '\'' | '’' if !space_before && !next.is_alphanumeric() => Side::Closes(Quote::Single),
            _ => Side::Neither,
        })
    }

    /// What a straight double mark at the present place does; after a number it may stand for inches.
    fn side_of_double(&self, next: char) -> Side {
        let before = self.before(self.at);
        let (space_before, space_after) = (before.is_none_or(char::is_whitespace), next.is_whitespace());
        let opens_a_word = next.is_alphanumeric() && !before.is_some_and(char::is_alphanumeric);
        if opens_a_word || (space_before && !space_after) {
            Side::Opens(Quote::Double)
        } else if self.quote == Quote::None && before.is_some_and(|c| c.is_ascii_digit()) {
            Side::Neither
        } else {
            Side::Closes(Quote::Double)
        }
    }

    fn is_elision(&self, at: usize) -> bool {
        let rest = &self.text[at..];
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        ELISIONS.iter().any(|word| word.eq_ignore_ascii_case(&rest[..end]))
    }

    /// Opens or closes the quotation. A double mark that closes what was never opened tells that the clause
    /// so far was quoted: the cut fell between the marks.
    fn turn_quote(&mut self, side: Side) {
        match side {
            Side::Opens(quote) if self.quote == Quote::None => self.quote = quote,
            Side::Closes(quote) if self.quote == quote => self.quote = Quote::None,
            Side::Closes(Quote::Double) if self.quote == Quote::None => {
                for word in &mut self.words[self.first..] {
                    word.voice = Voice::Quoted;
                }
            }
            _ => {}
        }
    }
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | '’' | '”' | '»' | ')' | ']' | '*' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clauses of a text as slices between the offsets at which they begin.
    fn offsets(text: &str, ending: Ending) -> Vec<usize> {
        let vocabulary = Vocabulary::default();
        let mut clauses = Clauses::new(text, ending, &vocabulary);
        let mut found = Vec::new();
        while let Some(clause) = clauses.advance() {
            found.push(clause.words[clause.first].clause);
        }
        found
    }

    fn quoted(text: &str) -> usize {
        let vocabulary = Vocabulary::default();
        let mut clauses = Clauses::new(text, Ending::Ended, &vocabulary);
        let mut n_quoted = 0;
        while let Some(clause) = clauses.advance() {
            n_quoted +=
                clause.words[clause.first..].iter().filter(|word| word.voice == Voice::Quoted).count();
        }
        n_quoted
    }

    #[test]
    fn a_clause_is_complete_when_white_space_follows_its_terminator() {
        assert!(offsets("Roll the dice", Ending::Open).is_empty());
        assert!(offsets("Roll the dice.", Ending::Open).is_empty());
        assert_eq!(offsets("Roll the dice. ", Ending::Open), [0]);
        assert_eq!(offsets("Roll the dice\n", Ending::Open), [0]);
        assert_eq!(offsets("Roll, then move. Pass", Ending::Open), [0, 6]);
        assert_eq!(offsets("Roll, then move. Pass", Ending::Ended), [0, 6, 17]);
    }

    #[test]
    fn decimals_abbreviations_and_hyphens_end_nothing() {
        assert_eq!(offsets("It costs 3.5 or 1,000 points", Ending::Ended), [0]);
        assert_eq!(offsets("Ask Dr. Moss e.g. by post", Ending::Ended), [0]);
        assert_eq!(offsets("A well-known game", Ending::Ended), [0]);
        assert_eq!(offsets("A game - an old one", Ending::Ended), [0, 9]);
        assert_eq!(offsets("A game—an old one", Ending::Ended), [0, 9]);
        assert_eq!(offsets("Well... yes", Ending::Ended), [0, 8]);
    }

    #[test]
    fn an_incomplete_character_at_the_end_is_not_read() {
        assert!(offsets("Roll the dice—", Ending::Open).is_empty());
        assert!(offsets("Roll the dice—\u{fffd}", Ending::Open).is_empty());
        assert_eq!(offsets("Roll the dice—\u{fffd}a", Ending::Open), [0]);
        assert_eq!(offsets("Roll the dice. \u{fffd}\u{fffd}", Ending::Open), [0]);
    }

    #[test]
    fn a_word_in_ing_names_a_doing_unless_it_is_listed() {
        assert!(NOUNS.is_sorted());
        let vocabulary = Vocabulary::default();
        let mut clauses =
            Clauses::new("Nothing beats playing during the evening", Ending::Ended, &vocabulary);
        let forms: Vec<Form> = clauses.advance().unwrap().words.iter().map(|word| word.form).collect();
        assert_eq!(forms, [Form::Plain, Form::Plain, Form::Gerund, Form::Plain, Form::Plain, Form::Plain]);
    }

    #[test]
    fn words_before_a_sentence_are_counted() {
        let vocabulary = Vocabulary::default();
        let mut clauses = Clauses::new("Roll, then move. Don't pass. Go", Ending::Ended, &vocabulary);
        let before = std::iter::from_fn(|| clauses.advance().map(|clause| clause.n_before));
        assert_eq!(before.collect::<Vec<_>>(), [0, 0, 3, 6]);
    }

    #[test]
    fn quotation_is_told_from_apostrophes_and_inches() {
        assert_eq!(quoted("He said \"not now\" again"), 2);
        assert_eq!(quoted("He said “not now” again"), 2);
        assert_eq!(quoted("He said 'not now' again"), 2);
        assert_eq!(quoted("The dogs' bowls and the cat's bed"), 0);
        assert_eq!(quoted("Tell 'em all"), 0);
        assert_eq!(quoted("A 5\" ruler lies here"), 0);
        assert_eq!(quoted("not now,\" he said"), 2);
        assert_eq!(quoted("He said \"not now\nand left"), 2);
    }
}
