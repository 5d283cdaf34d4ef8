//! Replies that are written: where they end, what of them counts, and whether it is what was expected.
//!
//! # Source
//! lm-evaluation-harness 0.4.13: `filters/extraction.py`, `api/metrics.py` (`exact_match_hf_evaluate`), and
//! `models/utils.py` (`postprocess_generated_text`).

use serde::Deserialize;

use super::pattern::Pattern;
use crate::template::is_space;

/// What stands for a reply in which a pattern finds nothing.
const NOTHING: &str = "[invalid]";
/// Python's `string.punctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// A filter as a task file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FilterText {
    name: String,
    /// What is looked for.
    pattern: Option<String>,
    /// Which of the places that it is found at counts; from the end where it is below 0.
    #[serde(default)]
    nth: i64,
}

/// What of a reply counts.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub name: String,
    /// None: the reply without white space around it.
    pattern: Option<(Pattern, i64)>,
}

impl Filter {
    /// # Errors
    /// For a pattern that is none.
    pub(super) fn new(text: FilterText) -> Result<Self, String> {
        let FilterText { name, pattern, nth } = text;
        let pattern =
            pattern.map(|pattern| Pattern::new(&pattern).map_err(|problem| format!("`pattern`: {problem}")));
        Ok(Self { name, pattern: pattern.transpose()?.map(|pattern| (pattern, nth)) })
    }

    /// What counts of a reply.
    pub(super) fn apply(&self, reply: &str) -> String {
        let Some((pattern, nth)) = &self.pattern else { return reply.trim_matches(is_space).to_owned() };
        let found = pattern.find_all(reply);
        let at =
            if *nth < 0 { found.len().checked_add_signed(*nth as isize) } else { usize::try_from(*nth).ok() };
        let found = at.and_then(|at| found.get(at)).map(|found| found.trim_matches(is_space));
        // Of several groups one must have matched something.
        let is_nothing = |found: &&str| found.is_empty() && pattern.n_groups() > 1;
        found.filter(|found| !is_nothing(found)).unwrap_or(NOTHING).to_owned()
    }
}

/// How two texts are compared, as a task file has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct MatchText {
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    ignore_punctuation: bool,
    #[serde(default)]
    ignore: Vec<String>,
}

/// How two texts are compared.
#[derive(Debug, Clone, Default)]
pub(super) struct Match {
    text: MatchText,
    /// Of the patterns that are ignored.
    ignored: Vec<Pattern>,
}

impl Match {
    /// # Errors
    /// For a pattern that is none.
    pub(super) fn new(text: MatchText) -> Result<Self, String> {
        let pattern =
            |pattern: &String| Pattern::new(pattern).map_err(|problem| format!("`ignore`: {problem}"));
        let ignored = text.ignore.iter().map(pattern).collect::<Result<_, _>>()?;
        Ok(Self { text, ignored })
    }

    /// Whether a text is one of those expected.
    pub(super) fn is_any(&self, found: &str, expected: &[String]) -> bool {
        let found = self.compared(found);
        expected.iter().any(|expected| self.compared(expected) == found)
    }

    fn compared(&self, text: &str) -> String {
        let text = self.ignored.iter().fold(text.to_owned(), |text, pattern| pattern.remove(&text));
        let text = if self.text.ignore_case { text.to_lowercase() } else { text };
        if self.text.ignore_punctuation { text.replace(|c| PUNCTUATION.contains(c), "") } else { text }
    }
}

/// A reply up to the first of the texts that end it.
pub fn ended<'r>(reply: &'r str, until: &[String]) -> &'r str {
    let cut = |reply: &'r str, end: &String| {
        if end.is_empty() { reply } else { reply.split(end.as_str()).next().unwrap_or(reply) }
    };
    until.iter().fold(reply, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pattern: &str, nth: i64) -> Filter {
        Filter::new(FilterText { name: "f".into(), pattern: Some(pattern.into()), nth }).unwrap()
    }

    #[test]
    fn filters_find_the_first_the_last_or_nothing() {
        let strict = filter(r"#### (\-?[0-9\.\,]+)", 0);
        assert_eq!(strict.apply("2 + 3 = 5\n#### 5\n#### 6"), "5");
        assert_eq!(strict.apply("five"), "[invalid]");
        let flexible = filter(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1);
        assert_eq!(flexible.apply("first 12, then $40."), "$40.");
        assert_eq!(flexible.apply("7 and 8"), "8");
        let plain = Filter::new(FilterText { name: "f".into(), pattern: None, nth: 0 }).unwrap();
        assert_eq!(plain.apply(" \n Paris "), "Paris");
    }

    #[test]
    fn texts_are_compared_without_what_is_ignored() {
        let of = |ignore_case, ignore_punctuation, ignore: &[&str]| {
            let ignore = ignore.iter().map(|pattern| (*pattern).to_owned()).collect();
            Match::new(MatchText { ignore_case, ignore_punctuation, ignore }).unwrap()
        };
        let numbers = of(true, false, &[",", "\\$", "(?s).*#### ", "\\.$"]);
        assert!(numbers.is_any("$1,200.", &["so\nit is\n#### 1200".into()]));
        assert!(!numbers.is_any("1201", &["#### 1200".into()]));
        let names = of(true, true, &[r"\b(?:The |the |An |A |The |a |an )"]);
        assert!(names.is_any("the Beatles", &["Wings".into(), "Beatles!".into()]));
        assert!(!of(false, false, &[]).is_any("paris", &["Paris".into()]));
    }

    #[test]
    fn a_reply_ends_at_the_first_end() {
        let until = ["Question:".to_owned(), "\n\n".into(), String::new()];
        assert_eq!(ended("5\n\nQuestion: x", &until), "5");
        assert_eq!(ended("5", &until), "5");
    }
}
