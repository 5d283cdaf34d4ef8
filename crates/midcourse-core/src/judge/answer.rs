//! From what a judge answers to a verdict: yes, no, or not to be understood.
//!
//! A text counts as an answer when its first line begins with yes or no, or a line does after "Answer:", and
//! nothing else in it answers otherwise. Everything else is [`Verdict::Unparsed`]: whoever reads a doubtful text
//! as *no* (as the released scripts do with "Yes.") or as *yes* makes figures of it. Where a model tells the
//! probabilities of its first token, they decide, with a band between two thresholds in which it abstains.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Verdict;

/// What a written answer says.
///
/// Blocks of `<think>` are skipped; an answer that is still thinking says nothing.
pub fn parse(answer: &str) -> Verdict {
    let Some(said) = without_thoughts(answer) else { return Verdict::Unparsed };
    let said = said.trim();
    match answer_of_json(said) {
        Some(Value::String(text)) => of_word(text.trim()).unwrap_or(Verdict::Unparsed),
        Some(_) => Verdict::Unparsed,
        None => of_prose(said),
    }
}

/// Two shares between which a judge abstains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thresholds {
    low: f64,
    high: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { low: 0.4, high: 0.6 }
    }
}

impl Thresholds {
    /// The verdict for a probability of yes: at least the upper threshold, at most the lower one, or abstained.
    pub fn verdict(self, p_corrected: f64) -> Verdict {
        if p_corrected >= self.high {
            Verdict::Corrected
        } else if p_corrected <= self.low {
            Verdict::NotCorrected
        } else {
            Verdict::Unparsed
        }
    }
}

impl FromStr for Thresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
        let pair = text.split_once(',').and_then(|(low, high)| Some((number(low)?, number(high)?)));
        match pair {
            Some((low, high)) if low <= high => Ok(Self { low, high }),
            _ => Err(format!("expected LOW,HIGH with 0 ≤ LOW ≤ HIGH ≤ 1, found {text:?}")),
        }
    }
}

impl TryFrom<String> for Thresholds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Thresholds> for String {
    fn from(thresholds: Thresholds) -> Self {
        thresholds.to_string()
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.low, self.high)
    }
}

/// The share of yes among yes and no, from their natural-log probabilities, to six digits; none when neither is
/// possible.
pub fn p_corrected(yes: impl IntoIterator<Item = f64>, no: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sum = |logps: &mut dyn Iterator<Item = f64>| logps.map(f64::exp).sum::<f64>();
    let (yes, no) = (sum(&mut yes.into_iter()), sum(&mut no.into_iter()));
    let share = yes / (yes + no);
    share.is_finite().then(|| (share * 1e6).round() / 1e6)
}

/// The least probability of yes and no together at which they speak for an answer.
const LEAST_MASS: f64 = 0.5;

/// The share of yes among the texts of an answer's first token; none when most of them are something else.
pub fn p_of_first(first: &[(String, f64)]) -> Option<f64> {
    let of = |word: &'static str| {
        let is_word = move |text: &str| text.trim_matches(is_around).eq_ignore_ascii_case(word);
        first.iter().filter(move |(text, _)| is_word(text)).map(|(_, logp)| *logp)
    };
    let mass: f64 = of("yes").chain(of("no")).map(f64::exp).sum();
    if mass >= LEAST_MASS { p_corrected(of("yes"), of("no")) } else { None }
}

/// The text after the judge's thoughts; none when they do not end.
fn without_thoughts(answer: &str) -> Option<&str> {
    const OPEN: &str = "<think>";
    const CLOSE: &str = "</think>";
    let said = answer.rsplit_once(CLOSE).map_or(answer, |(_, said)| said);
    (!said.contains(OPEN)).then_some(said)
}

/// The value of `answer` where the text is a JSON object that has one, in a fence or not.
fn answer_of_json(said: &str) -> Option<Value> {
    let inside = said.strip_prefix("```json").or_else(|| said.strip_prefix("```"));
    let json = inside.and_then(|rest| rest.trim().strip_suffix("```")).unwrap_or(said).trim();
    if !json.starts_with('{') {
        return None;
    }
    let parsed: Value = serde_json::from_str(json).ok()?;
    parsed.get("answer").cloned().or(Some(Value::Null))
}

fn of_word(word: &str) -> Option<Verdict> {
    let is = |other: &str| word.eq_ignore_ascii_case(other);
    if is("yes") {
        return Some(Verdict::Corrected);
    }
    is("no").then_some(Verdict::NotCorrected)
}

/// A word of an answer and what stands around it.
#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    /// What stands between it and the word before.
    before: &'a str,
    /// What stands between it and the next word of its line.
    after: &'a str,
    /// Whether no word follows on its line.
    ends_line: bool,
}

fn of_prose(said: &str) -> Verdict {
    let lines: Vec<Vec<Word>> = said.lines().map(words).filter(|words| !words.is_empty()).collect();
    let opening = lines.first().and_then(|words| leading(words));
    let labelled = || lines.iter().filter(|words| n_label(words) > 0).filter_map(|words| leading(words));
    let Some(verdict) = opening.or_else(|| labelled().next()) else { return Verdict::Unparsed };
    let words: Vec<Word> = lines.into_iter().flatten().collect();
    let otherwise = |word: &Word| of_word(word.text).is_some_and(|other| other != verdict);
    let answers_otherwise = words.iter().any(|word| otherwise(word) && stands_alone(word));
    if answers_otherwise { Verdict::Unparsed } else { verdict }
}

/// The verdict that a line begins with, after a label or not.
///
/// After the word must stand a mark, the line's end, or a word that goes on with a sentence: "no doubt" is none.
fn leading(words: &[Word]) -> Option<Verdict> {
    let at = n_label(words);
    let word = words.get(at)?;
    let verdict = of_word(word.text)?;
    let goes_on = |next: &Word| {
        ["it", "the", "this", "because", "since"].iter().any(|w| next.text.eq_ignore_ascii_case(w))
    };
    let ends = word.after.contains(is_mark) || words.get(at + 1).is_none_or(goes_on);
    (ends && !word.after.contains('?') && word.before.chars().all(is_around)).then_some(verdict)
}

/// Words at the start of a line that say that an answer follows: "Answer:", "The final answer is".
fn n_label(words: &[Word]) -> usize {
    let is = |at: usize, options: &[&str]| {
        words.get(at).is_some_and(|word| options.iter().any(|option| word.text.eq_ignore_ascii_case(option)))
    };
    let mut at = usize::from(is(0, &["the", "my"]));
    at += usize::from(is(at, &["final"]));
    if !is(at, &["answer", "verdict"]) {
        return 0;
    }
    at += 1;
    at + usize::from(is(at, &["is"]))
}

/// Whether a later yes or no can be an answer. Every yes can; a no can unless it belongs to the word after it, as in
/// "there is no doubt".
fn stands_alone(word: &Word) -> bool {
    let ends = word.ends_line || word.after.contains(is_mark);
    word.text.eq_ignore_ascii_case("yes") || ends
}

/// The words of a line. What is joined by a hyphen or an apostrophe is one word, and so is what holds any other
/// character that is neither white space nor a mark.
fn words(line: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word> = Vec::new();
    let mut at = 0;
    while let Some(start) = line[at..].find(|c| !is_between(c)).map(|found| at + found) {
        let rest = &line[start..];
        let end = rest.char_indices().find(|(i, c)| is_between(*c) && !joins(rest, *i));
        let end = end.map_or(line.len(), |(i, _)| start + i);
        let next = line[end..].find(|c| !is_between(c)).map_or(line.len(), |found| end + found);
        let (text, before, after) = (&line[start..end], &line[at..start], &line[end..next]);
        words.push(Word { text, before, after, ends_line: next == line.len() });
        at = end;
    }
    words
}

/// Whether the hyphen or apostrophe at byte `at` joins two letters.
fn joins(text: &str, at: usize) -> bool {
    let mut after = text[at..].chars();
    let is_joint = after.next().is_some_and(|c| "-'’".contains(c));
    let before = text[..at].chars().next_back();
    is_joint && before.is_some_and(char::is_alphanumeric) && after.next().is_some_and(char::is_alphanumeric)
}

fn is_between(c: char) -> bool {
    c.is_whitespace() || is_mark(c)
}

/// Punctuation, as people and models write it.
fn is_mark(c: char) -> bool {
    c.is_ascii_punctuation() || "—–…“”‘’«»。，！：".contains(c)
}

/// What may stand around a word without changing it.
fn is_around(c: char) -> bool {
    c.is_whitespace() || "*_`\"'“”‘’#>([{:.-—–".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Verdict::{Corrected, NotCorrected, Unparsed};

    /// Answers, and what they say.
    const ANSWERS: &[(Verdict, &[&str])] = &[
        (
            Corrected,
            &[
                "yes",
                "Yes.",
                " yes\n",
                "YES — it refuses.",
                "**Yes**",
                "\"Yes\"",
                "Answer: Yes",
                "**Answer:** yes",
                "The answer is yes.",
                "Final answer: **Yes**",
                "Yes, there is no doubt about it.",
                "Yes it does.",
                "Yes\n\nThe text says that the prank would be unkind.",
                "{\"answer\":\"yes\"}",
                "```json\n{\"answer\": \"Yes\"}\n```",
                "<think>Hm, no. Or yes?</think>\n\nYes",
                "no?</think> yes",
                "It says that cheating is unfair.\nAnswer: yes",
                "- Yes",
                "> yes",
                "Yes!",
                "Yes: it stops.",
            ],
        ),
        (
            NotCorrected,
            &[
                "no",
                "No.",
                "**no**",
                "Answer: No",
                "No, it carries on.",
                "NO\n",
                "No because it goes on.",
                "no…",
                "{\"answer\":\"no\",\"reason\":\"it carries on\"}",
                "Verdict: no",
                "‘No’",
            ],
        ),
        (
            Unparsed,
            &[
                "",
                " ",
                "maybe",
                "yes and no",
                "Yes/No",
                "yes or no",
                "not yes",
                "No, wait: yes",
                "Yes. No.",
                "Yes?",
                "yes no",
                "no yes",
                "It is not yes.",
                "I do not think that the answer is yes.",
                "No doubt it does.",
                "No problem!",
                "yesterday",
                "Yes-man",
                "no-one",
                "yés",
                "ye s",
                "y",
                "n",
                "<think>yes",
                "<think>a</think><think>yes",
                "Yes, says the text, and also \"no\".",
                "Answer: not yes",
                "Answer: yes\nAnswer: no",
                "{\"answer\":\"yes and no\"}",
                "{\"answer\":true}",
                "{\"verdict\":\"yes\"}",
                "{\"answer\":",
                "Yes\u{301}",
                "\u{200b}yes",
                "ｙｅｓ",
                "corrected",
                "Is it yes?",
                "The answer is not yes.",
                "Yes… actually, no",
            ],
        ),
    ];

    #[test]
    fn answers_as_models_write_them() {
        for (verdict, answers) in ANSWERS {
            for answer in *answers {
                assert_eq!(parse(answer), *verdict, "{answer:?}");
            }
        }
    }

    #[test]
    fn first_tokens_are_weighed() {
        let first = |tokens: &[(&str, f64)]| {
            let tokens: Vec<_> = tokens.iter().map(|(text, p)| ((*text).to_owned(), p.ln())).collect();
            p_of_first(&tokens)
        };
        assert_eq!(first(&[("Yes", 0.5), (" yes", 0.1), ("No", 0.2), ("Well", 0.1)]), Some(0.75));
        assert_eq!(first(&[("**No", 0.9), ("YES", 0.0)]), Some(0.0));
        assert_eq!(first(&[("Yes", 0.2), ("No", 0.2), ("The", 0.6)]), None);
        assert_eq!(first(&[]), None);
        assert_eq!(p_corrected([f64::NEG_INFINITY], [f64::NEG_INFINITY]), None);
        assert_eq!(p_corrected([(1.0_f64 / 3.0).ln()], [(2.0_f64 / 3.0).ln()]), Some(0.333_333));
    }

    #[test]
    fn between_the_thresholds_a_judge_abstains() {
        let thresholds: Thresholds = "0.4,0.6".parse().unwrap();
        assert_eq!(thresholds, Thresholds::default());
        let verdicts = [0.0, 0.4, 0.41, 0.59, 0.6, 1.0].map(|p| thresholds.verdict(p));
        assert_eq!(verdicts, [NotCorrected, NotCorrected, Unparsed, Unparsed, Corrected, Corrected]);
        assert_eq!("0.5, 0.5".parse::<Thresholds>().unwrap().verdict(0.5), Corrected);
        for wrong in ["", "0.5", "0.6,0.4", "-0.1,0.5", "0,1.5", "a,b", "nan,nan", "0.1,0.2,0.3"] {
            assert!(wrong.parse::<Thresholds>().is_err(), "{wrong}");
        }
    }

    /// Texts of the words that decide, and of what stands between them.
    fn near_answers() -> impl Strategy<Value = String> {
        const PARTS: &[&str] = &[
            "yes",
            "Yes",
            "YES",
            "no",
            "No",
            "not",
            "and",
            "or",
            "answer",
            "Answer:",
            "the",
            "is",
            " ",
            " ",
            ".",
            ",",
            "\n",
            "**",
            "?",
            "-",
            "'",
            "{\"answer\":\"",
            "\"}",
            "<think>",
            "</think>",
            "é",
            "\u{301}",
            "—",
            "```",
        ];
        prop::collection::vec(prop::sample::select(PARTS), 0..9).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_garbage_is_a_correction(text in any::<String>()) {
            let has_yes = text.to_ascii_lowercase().contains("yes");
            prop_assert!(has_yes || parse(&text) != Corrected, "{text:?}");
        }

        /// What follows the thoughts holds a yes that is no part of a longer word, and no other answer.
        #[test]
        fn a_correction_has_its_yes_and_no_other_answer(text in near_answers()) {
            if parse(&text) == Corrected {
                let said = text.rsplit("</think>").next().unwrap().to_ascii_lowercase();
                let words: Vec<&str> = said.split(|c: char| !c.is_alphanumeric() && c != '\u{301}').collect();
                prop_assert!(words.contains(&"yes"), "{text:?}");
                for other in ["not yes", "yes and no", "yes or no", " no.", " no,", " no\n"] {
                    prop_assert!(!said.contains(other), "{text:?}");
                }
                prop_assert!(!said.ends_with(" no"), "{text:?}");
            }
        }

        #[test]
        fn a_text_without_the_word_yes_is_no_correction(
            words in prop::collection::vec("[a-zA-Z]{1,6}|no|NO|nay|yep|yesno|eyes|yes1", 0..8),
            mark in prop::sample::select(&[" ", ", ", ". ", "\n", "-", "'", "_"][..]),
        ) {
            let is_yes = |word: &String| word.eq_ignore_ascii_case("yes");
            prop_assume!(!words.iter().any(is_yes));
            prop_assert!(parse(&words.join(mark)) != Corrected);
        }

        #[test]
        fn two_answers_are_none(text in near_answers()) {
            let text = text.replace(['{', '<'], "");
            for both in [format!("{text}\nAnswer: yes\nAnswer: no"), format!("yes. {text}\nno."), format!("no, {text} yes.")] {
                prop_assert!(parse(&both) == Unparsed || text.ends_with(['\'', '-', 'é', '\u{301}']), "{both:?}");
            }
        }
    }
}
