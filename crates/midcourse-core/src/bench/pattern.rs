//! Regular expressions as tasks have them: Python's, searched with a limit on how far they go back.
//!
//! A pattern is searched as `re` searches it. What differs is translated: `$` also stands before a line end at the end
//! of the text, and `\Z` is the end itself.

use fancy_regex::{Regex, RegexBuilder};

/// Steps back that a search may take; the tasks that are built in take none.
const BACKTRACKS: usize = 100_000;

/// A pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(&translated(source)).backtrack_limit(BACKTRACKS).build();
        Ok(Self { regex: built.map_err(|error| error.to_string())? })
    }

    /// What `re.findall` finds: of a pattern with groups the first of them that matched, else the whole match. A search
    /// that goes back too far finds nothing more.
    pub(super) fn find_all<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let found = self.regex.captures_iter(text).map_while(Result::ok).map(|captures| {
            let groups = captures.iter().skip(1);
            let first = groups.flatten().find(|group| !group.as_str().is_empty());
            let whole = (captures.len() == 1).then(|| captures.get(0)).flatten();
            first.or(whole).map_or("", |found| found.as_str())
        });
        found.collect()
    }

    /// Groups that the pattern has.
    pub(super) fn n_groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// The text without what matches; as it is when the search goes back too far.
    pub(super) fn remove(&self, text: &str) -> String {
        self.replace(text, "")
    }

    /// The text with `by` in place of what matches.
    pub(super) fn replace(&self, text: &str, by: &str) -> String {
        let by = fancy_regex::NoExpand(by);
        self.regex.try_replacen(text, 0, by).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
    }
}

/// A pattern of Python in the words of the library.
fn translated(source: &str) -> String {
    let mut out = String::new();
    let mut chars = source.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if !in_class => out.push_str(r"\z"),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '$' if !in_class => out.push_str(r"(?=\n?\z)"),
            c => {
                in_class = if in_class { c != ']' } else { c == '[' };
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_what_python_finds() {
        let all = |pattern: &str, text: &'static str| Pattern::new(pattern).unwrap().find_all(text);
        assert_eq!(all(r"#### (\-?[0-9\.\,]+)", "so 5\n#### -1,200.5 "), ["-1,200.5"]);
        assert_eq!(all(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "3 of $40, or 7"), ["3", "$40,", "7"]);
        assert!(all("x", "y").is_empty());
        let removed = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().remove(text);
        assert_eq!(removed(r"\.$", "5.\n"), "5\n");
        assert_eq!(removed(r"(?s).*#### ", "a\nb #### 7"), "7");
        assert_eq!(removed(r"\b(?:The |the |An |A |The |a |an )", "the cat and the dog"), "cat and dog");
        assert_eq!(removed(r"\$", "$5"), "5");
        assert_eq!(removed(r"\[.*?\]", "a [x] b [y"), "a  b [y");
    }

    #[test]
    fn a_search_that_does_not_end_finds_nothing() {
        let text = "a".repeat(4000) + "!";
        let pattern = Pattern::new(r"(a|aa)+(?=b)").unwrap();
        assert!(pattern.find_all(&text).is_empty());
        assert_eq!(pattern.remove(&text), text);
    }
}
