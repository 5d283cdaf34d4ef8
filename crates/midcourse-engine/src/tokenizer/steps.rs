//! What happens to a text before its words become tokens: normalizers and pre-tokenizers, within bounds.
//!
//! They are the library's own, taken one by one, except where what they do depends on what a file says: a
//! pattern may ask for a search without end, where the library stops and goes on with half a split, and a
//! replacement may be longer than memory. Both end as errors here. Time is counted in steps of the search, so
//! that a text is refused on every machine or on none.

use std::cell::Cell;

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pattern::{Invert, Pattern};
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{
    NormalizedString, Normalizer, Offsets, PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Result,
    SplitDelimiterBehavior,
};

/// Steps back that a search may take before it counts as long. Patterns of the field take one for every
/// character of a run of white space, and none otherwise.
const STEPS: usize = 2_000;
/// Steps back that a long search may take, as the library allows, and how many of them a text may cost:
/// together under a second.
const LONG_STEPS: usize = 1_000_000;
const LONG_SEARCHES: usize = 64;
const TOO_LONG: &str = "the search for a pattern of the tokenizer takes too long";
/// Bytes that a text may grow by, for each of its own and besides. `▁` for a space is three for one, and the
/// longest that Unicode knows is 18 characters for one.
const GROWTH: usize = 64;
const GROWTH_BESIDES: usize = 1 << 16;

/// The normalizers and pre-tokenizers of a tokenizer, in order.
#[derive(Debug, Default)]
pub(super) struct Steps {
    normalizers: Vec<Normalize>,
    pre_tokenizers: Vec<PreTokenize>,
}

#[derive(Debug)]
enum Normalize {
    Replace { pattern: Bounded, content: String },
    Prepend(String),
    Library(NormalizerWrapper),
}

#[derive(Debug)]
enum PreTokenize {
    Split { pattern: Bounded, behavior: SplitDelimiterBehavior, invert: bool },
    Library(PreTokenizerWrapper),
}

/// What one text may cost.
#[derive(Debug)]
pub(super) struct Budget {
    long_searches: Cell<usize>,
    bytes: Cell<usize>,
}

impl Budget {
    pub(super) fn of(text: &str) -> Self {
        let bytes = GROWTH * text.len() + GROWTH_BESIDES;
        Self { long_searches: Cell::new(LONG_SEARCHES), bytes: Cell::new(bytes) }
    }

    fn take_search(&self) -> Result<()> {
        let left = self.long_searches.get().checked_sub(1);
        self.long_searches.set(left.ok_or(TOO_LONG)?);
        Ok(())
    }

    fn take_bytes(&self, n: usize) -> Result<()> {
        let left = self.bytes.get().checked_sub(n);
        self.bytes.set(left.ok_or("the tokenizer's normalizer makes the text too long")?);
        Ok(())
    }
}

/// Refuses normalizers and decoders of a `tokenizer.json` that make a text far longer. The library runs them on added tokens
/// while it reads the file, before there is a budget.
pub(super) fn check_growth(normalizer: &Value) -> std::result::Result<(), String> {
    if growth(normalizer) > GROWTH {
        return Err(format!("it makes a text more than {GROWTH} times as long"));
    }
    Ok(())
}

/// Bytes that one byte can become.
fn growth(step: &Value) -> usize {
    let n_bytes = |field: &str| step[field].as_str().map_or(0, str::len);
    match step["type"].as_str() {
        Some("Sequence") => {
            let all = step["normalizers"].as_array().or(step["decoders"].as_array());
            let all = all.map_or(&[][..], Vec::as_slice);
            all.iter().map(growth).fold(1, usize::saturating_mul)
        }
        Some("Replace") => match step["pattern"]["String"].as_str() {
            Some(pattern) => n_bytes("content").div_ceil(pattern.len().max(1)).max(1),
            None => 1 + n_bytes("content"),
        },
        Some("Prepend") => 1 + n_bytes("prepend"),
        _ => 1,
    }
}

impl Steps {
    pub(super) fn new(
        normalizer: Option<&NormalizerWrapper>,
        pre_tokenizer: Option<&PreTokenizerWrapper>,
    ) -> Result<Self> {
        let mut steps = Self::default();
        normalizer.map_or(Ok(()), |step| steps.add_normalizer(step))?;
        pre_tokenizer.map_or(Ok(()), |step| steps.add_pre_tokenizer(step))?;
        Ok(steps)
    }

    fn add_normalizer(&mut self, step: &NormalizerWrapper) -> Result<()> {
        let step = match step {
            NormalizerWrapper::Sequence(all) => {
                return all.as_ref().iter().try_for_each(|step| self.add_normalizer(step));
            }
            NormalizerWrapper::Prepend(step) => Normalize::Prepend(step.prepend.clone()),
            NormalizerWrapper::Replace(step) => {
                // The pattern is private, but is written.
                let pattern = serde_json::to_value(step)?["pattern"].take();
                Normalize::Replace { pattern: Bounded::written(&pattern)?, content: step.content.clone() }
            }
            other => Normalize::Library(other.clone()),
        };
        self.normalizers.push(step);
        Ok(())
    }

    fn add_pre_tokenizer(&mut self, step: &PreTokenizerWrapper) -> Result<()> {
        let step = match step {
            PreTokenizerWrapper::Sequence(all) => {
                return all.as_ref().iter().try_for_each(|step| self.add_pre_tokenizer(step));
            }
            PreTokenizerWrapper::Split(step) => PreTokenize::Split {
                pattern: match &step.pattern {
                    SplitPattern::String(text) => Bounded::literal(text)?,
                    SplitPattern::Regex(pattern) => Bounded::new(pattern)?,
                },
                behavior: step.behavior,
                invert: step.invert,
            },
            other => PreTokenize::Library(other.clone()),
        };
        self.pre_tokenizers.push(step);
        Ok(())
    }

    /// Normalises a piece of text.
    pub(super) fn normalize(&self, text: &mut NormalizedString, budget: &Budget) -> Result<()> {
        self.normalizers.iter().try_for_each(|step| match step {
            Normalize::Replace { pattern, content } => {
                let places = pattern.find(text.get(), budget)?;
                let n_places = places.iter().filter(|(_, is_match)| *is_match).count();
                budget.take_bytes(n_places.saturating_mul(content.len()))?;
                text.replace(Places(places), content)
            }
            Normalize::Prepend(_) if text.is_empty() => Ok(()),
            Normalize::Prepend(start) => {
                budget.take_bytes(start.len())?;
                text.prepend(start);
                Ok(())
            }
            Normalize::Library(step) => step.normalize(text),
        })
    }

    /// Splits pieces of text into words.
    pub(super) fn pre_tokenize(&self, pieces: &mut PreTokenizedString, budget: &Budget) -> Result<()> {
        self.pre_tokenizers.iter().try_for_each(|step| match step {
            PreTokenize::Split { pattern, behavior, invert } => pieces.split(|_, piece| {
                let places = Places(pattern.find(piece.get(), budget)?);
                if *invert { piece.split(Invert(places), *behavior) } else { piece.split(places, *behavior) }
            }),
            PreTokenize::Library(step) => step.pre_tokenize(pieces),
        })
    }
}

/// A pattern whose searches end.
#[derive(Debug)]
struct Bounded {
    short: Regex,
    long: Regex,
}

impl Bounded {
    fn new(pattern: &str) -> Result<Self> {
        let with_limit = |steps| RegexBuilder::new(pattern).backtrack_limit(steps).build();
        Ok(Self { short: with_limit(STEPS)?, long: with_limit(LONG_STEPS)? })
    }

    fn literal(text: &str) -> Result<Self> {
        Self::new(&fancy_regex::escape(text))
    }

    /// A pattern as `tokenizer.json` writes it.
    fn written(pattern: &Value) -> Result<Self> {
        match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
            (Some(text), _) => Self::literal(text),
            (_, Some(pattern)) => Self::new(pattern),
            _ => Err(format!("expected a text or a pattern, found {pattern}").into()),
        }
    }

    /// Matches and what lies between them. An empty match right behind another is none.
    fn find(&self, text: &str, budget: &Budget) -> Result<Vec<(Offsets, bool)>> {
        let mut places = Vec::new();
        let (mut from, mut at, mut last) = (0, 0, None);
        while let Some(range) = self.find_from(text, at, budget)? {
            let next = text[range.end..].chars().next().map_or(1, char::len_utf8);
            at = if range.is_empty() { range.end + next } else { range.end };
            if !range.is_empty() || last != Some(range.end) {
                places.extend((from < range.start).then_some(((from, range.start), false)));
                places.push(((range.start, range.end), true));
                from = range.end;
            }
            last = Some(range.end);
        }
        if from < text.len() || text.is_empty() {
            places.push(((from, text.len()), false));
        }
        Ok(places)
    }

    fn find_from(&self, text: &str, at: usize, budget: &Budget) -> Result<Option<std::ops::Range<usize>>> {
        if at > text.len() || text.is_empty() {
            return Ok(None);
        }
        let found = self.short.find_from_pos(text, at).or_else(|_| {
            budget.take_search()?;
            self.long.find_from_pos(text, at).map_err(|_| tokenizers::Error::from(TOO_LONG))
        })?;
        Ok(found.map(|found| found.range()))
    }
}

/// Places that were found already.
struct Places(Vec<(Offsets, bool)>);

impl Pattern for Places {
    fn find_matches(&self, _: &str) -> Result<Vec<(Offsets, bool)>> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::split::Split;

    use super::*;

    /// The words of `text`, split by `pattern` and nothing else.
    fn split(pattern: &str, text: &str) -> Result<Vec<String>> {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
        let steps = Steps::new(None, Some(&split.into()))?;
        let mut pieces = PreTokenizedString::from(text);
        steps.pre_tokenize(&mut pieces, &Budget::of(text))?;
        Ok(words(&pieces))
    }

    fn words(pieces: &PreTokenizedString) -> Vec<String> {
        use tokenizers::{OffsetReferential, OffsetType};
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(text, ..)| text.to_owned()).collect()
    }

    fn normalized(step: &Value, text: &str) -> Result<String> {
        let normalizer: NormalizerWrapper = serde_json::from_value(step.clone())?;
        let mut normalized = NormalizedString::from(text);
        Steps::new(Some(&normalizer), None)?.normalize(&mut normalized, &Budget::of(text))?;
        Ok(normalized.get().to_owned())
    }

    #[test]
    fn searches_that_do_not_end_are_refused_in_time() {
        let one_without_end = [&"a".repeat(60), "!"].concat();
        let many_long_ones = [&"a".repeat(15), "!"].concat().repeat(1000);
        for pattern in [
            r"(a+)+$(?!b)|a",
            r"(a*)*\1b|a",
            r"(?=(?:a|aa)+(?!a)b)a|.",
            r"(?:(a|aa)\1?)+(?=b)|.",
            r"(?:a(?=a)|a)+(?=b)|a",
            r"(?:(?=a)a+)+(?=b)|a|!",
        ] {
            for text in [&one_without_end, &many_long_ones] {
                let start = Instant::now();
                let problem = split(pattern, text).unwrap_err().to_string();
                assert_eq!(problem, TOO_LONG, "{pattern}");
                assert!(start.elapsed() < Duration::from_secs(4), "{pattern}: {:?}", start.elapsed());
            }
        }
    }

    #[test]
    fn patterns_of_the_field_take_long_runs() {
        let pattern =
            r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        for run in [" ", "\n", "a", "1", "!", " \n", "\t a"] {
            let text = [&run.repeat(100_000), "b"].concat();
            assert_eq!(split(pattern, &text).unwrap().concat(), text, "{run:?}");
        }
    }

    #[test]
    fn a_text_does_not_grow_without_end() {
        let long = "x".repeat(1 << 20);
        let replace = |pattern: Value, content: &str| serde_json::json!({"type": "Replace", "pattern": pattern, "content": content});
        let twice = || replace(serde_json::json!({"String": "a"}), "aa");
        let thirty: Vec<_> = (0..30).map(|_| twice()).collect();
        for step in [
            replace(serde_json::json!({"String": "a"}), &long),
            replace(serde_json::json!({"Regex": ""}), &long),
            serde_json::json!({"type": "Prepend", "prepend": long}),
            serde_json::json!({"type": "Sequence", "normalizers": thirty}),
        ] {
            let problem = normalized(&step, &"a".repeat(1000)).unwrap_err().to_string();
            assert_eq!(problem, "the tokenizer's normalizer makes the text too long");
        }
        assert_eq!(normalized(&twice(), "banana").unwrap(), "baanaanaa");
    }

    #[test]
    fn growth_is_that_of_all_steps_together() {
        let replace = |from: &str, to: &str| serde_json::json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let sequence = |steps: Vec<Value>| serde_json::json!({"type": "Sequence", "normalizers": steps});
        let prepend = serde_json::json!({"type": "Prepend", "prepend": "\u{2581}"});
        assert_eq!(growth(&sequence(vec![prepend, replace(" ", "\u{2581}")])), 12);
        assert_eq!(growth(&replace("``", "\"")), 1);
        assert_eq!(growth(&Value::Null), 1);
        assert!(check_growth(&sequence(vec![replace("a", "aa"); 6])).is_ok());
        assert!(check_growth(&sequence(vec![replace("a", "aa"); 7])).is_err());
        assert!(check_growth(&sequence(vec![replace("a", "aa"); 70])).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn splits_and_replacements_are_those_of_the_library(
            pattern in proptest::sample::select(&[r"a*", r"\s+(?!\S)|\s+", r"b|(?=a)", "", r"(?i:'s)|.", "a"][..]),
            text in "[ab 's\n\u{e9}]{0,12}",
            invert in any::<bool>(),
        ) {
            let library = Split::new(SplitPattern::Regex(pattern.into()), SplitDelimiterBehavior::Isolated, invert);
            let library = PreTokenizerWrapper::from(library.unwrap());
            let mut expected = PreTokenizedString::from(text.as_str());
            library.pre_tokenize(&mut expected).unwrap();
            let mut found = PreTokenizedString::from(text.as_str());
            Steps::new(None, Some(&library)).unwrap().pre_tokenize(&mut found, &Budget::of(&text)).unwrap();
            prop_assert_eq!(found, expected);

            let step = serde_json::json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "\u{2581}x"});
            let library: NormalizerWrapper = serde_json::from_value(step.clone()).unwrap();
            let mut expected = NormalizedString::from(text.as_str());
            library.normalize(&mut expected).unwrap();
            prop_assert_eq!(normalized(&step, &text).unwrap(), expected.get());
        }
    }
}
