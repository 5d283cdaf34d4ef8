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
/// Steps back that a long search may take, and how many of them a text may cost: together about a second.
const LONG_STEPS: usize = 200_000;
const LONG_SEARCHES: usize = 64;
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
        self.long_searches.set(left.ok_or("the search for a pattern of the tokenizer takes too long")?);
        Ok(())
    }

    fn take_bytes(&self, n: usize) -> Result<()> {
        let left = self.bytes.get().checked_sub(n);
        self.bytes.set(left.ok_or("the tokenizer's normalizer makes the text too long")?);
        Ok(())
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
            Ok::<_, tokenizers::Error>(self.long.find_from_pos(text, at)?)
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
