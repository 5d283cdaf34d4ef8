//! What `midcourse data check` says of a data file.
//!
//! Counting tokens needs a tokenizer and is the caller's business; without one the figures in tokens are left
//! out. The JSON form holds names as they are, the text form only what a terminal may show.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::text::plain;
use super::{Container, DataSet, Format, Sample};

/// The figures of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Whose columns the rows have.
    pub format: Format,
    /// How the rows are written down.
    pub container: Container,
    /// Rows of the file.
    pub n_rows: usize,
    /// Distinct samples.
    pub n_samples: usize,
    /// Rows whose prompt and response an earlier row has.
    pub n_duplicates: usize,
    /// Rows without an unsafe response.
    pub n_without_harm: usize,
    /// Samples of a prompt only.
    pub n_without_response: usize,
    /// Samples whose prompt has turns before it.
    pub n_with_history: usize,
    /// Samples that bring a safe response.
    pub n_safe_responses: usize,
    /// Samples by category, the most frequent first, then by name.
    pub categories: Vec<CategoryCount>,
    /// Lengths of responses in white-space separated words; null where there are none.
    pub words: Option<Quantiles>,
    /// Lengths of responses in tokens; null without a tokenizer.
    pub tokens: Option<Quantiles>,
    /// How many samples reach each prefix length; empty without a tokenizer.
    pub reach: Vec<Reach>,
}

/// Samples of one category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryCount {
    /// The category's name as the data gives it; null for samples without.
    pub category: Option<String>,
    /// Samples of it.
    pub n_samples: usize,
}

/// Five points of a distribution of lengths, each a length that occurs (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The shortest.
    pub min: usize,
    /// A tenth are no longer.
    pub p10: usize,
    /// Half are no longer.
    pub median: usize,
    /// Nine tenths are no longer.
    pub p90: usize,
    /// The longest.
    pub max: usize,
}

/// Samples whose response has at least `k` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Prefix length in tokens.
    pub k: usize,
    /// Samples that have so many.
    pub n_samples: usize,
}

/// Counts what a data set holds.
///
/// `lengths_in_tokens` are those of the responses that are there, or empty when no tokenizer is at hand; `ks` are
/// the prefix lengths to be reached, in tokens.
pub fn summarise(set: &DataSet, lengths_in_tokens: &[usize], ks: &[usize]) -> Summary {
    let count = |holds: fn(&&Sample) -> bool| set.samples.iter().filter(holds).count();
    let responses = set.samples.iter().map(|sample| &sample.response).filter(|text| !text.is_empty());
    let words = responses.map(|response| response.split_whitespace().count());
    let reach = |&k: &usize| Reach { k, n_samples: lengths_in_tokens.iter().filter(|&&n| n >= k).count() };
    Summary {
        format: set.format,
        container: set.container,
        n_rows: set.n_rows,
        n_samples: set.samples.len(),
        n_duplicates: set.n_duplicates,
        n_without_harm: set.n_without_harm,
        n_without_response: count(|sample| sample.response.is_empty()),
        n_with_history: count(|sample| !sample.history.is_empty()),
        n_safe_responses: count(|sample| sample.safe_response.is_some()),
        categories: count_categories(&set.samples),
        words: Quantiles::of(words.collect()),
        tokens: Quantiles::of(lengths_in_tokens.to_vec()),
        reach: if lengths_in_tokens.is_empty() { Vec::new() } else { ks.iter().map(reach).collect() },
    }
}

fn count_categories(samples: &[Sample]) -> Vec<CategoryCount> {
    let mut counts = BTreeMap::<Option<&str>, usize>::new();
    for sample in samples {
        *counts.entry(sample.category.as_deref()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts
        .into_iter()
        .map(|(category, n_samples)| CategoryCount { category: category.map(str::to_owned), n_samples })
        .collect();
    // Stable: names of one count stay in order.
    counts.sort_by_key(|count| std::cmp::Reverse(count.n_samples));
    counts
}

impl Quantiles {
    /// The quantiles of these lengths, or none of none.
    pub fn of(mut lengths: Vec<usize>) -> Option<Self> {
        lengths.sort_unstable();
        let n = lengths.len();
        let at = |percent: usize| lengths.get((n * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self { min: at(0)?, p10: at(10)?, median: at(50)?, p90: at(90)?, max: at(100)? })
    }
}

/// The most categories that the text form lists.
const MAX_LISTED: usize = 30;

impl Summary {
    /// The figures as plain text for a terminal, ending in a line end.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_counts(&mut out);
        let _ = self.write_lengths(&mut out);
        let _ = self.write_categories(&mut out);
        out
    }

    fn write_counts(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "format          {} rows ({})", self.format, self.container)?;
        writeln!(out, "rows            {}", self.n_rows)?;
        writeln!(out, "samples         {}", self.n_samples)?;
        writeln!(out, "duplicates      {}", self.n_duplicates)?;
        writeln!(out, "without harm    {}", self.n_without_harm)?;
        for (n, what) in
            [(self.n_without_response, "prompts only    "), (self.n_with_history, "several turns   ")]
        {
            if n > 0 {
                writeln!(out, "{what}{n}")?;
            }
        }
        writeln!(out, "safe responses  {}", self.n_safe_responses)
    }

    fn write_lengths(&self, out: &mut String) -> std::fmt::Result {
        if self.words.is_none() {
            return Ok(());
        }
        writeln!(out, "\nresponse length     min     p10  median     p90     max")?;
        for (unit, quantiles) in [("tokens", self.tokens), ("words", self.words)] {
            let Some(Quantiles { min, p10, median, p90, max }) = quantiles else { continue };
            writeln!(out, "  in {unit:<10} {min:>7} {p10:>7} {median:>7} {p90:>7} {max:>7}")?;
        }
        if !self.reach.is_empty() {
            writeln!(out, "\nreach k tokens  samples")?;
        }
        for Reach { k, n_samples } in &self.reach {
            writeln!(out, "  {k:<12} {n_samples:>8}")?;
        }
        Ok(())
    }

    fn write_categories(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nsamples  category")?;
        for CategoryCount { category, n_samples } in self.categories.iter().take(MAX_LISTED) {
            let name = category.as_deref().map_or_else(|| "(none)".to_owned(), plain);
            writeln!(out, "{n_samples:>7}  {name}")?;
        }
        match self.categories.len().saturating_sub(MAX_LISTED) {
            0 => Ok(()),
            n_more => writeln!(out, "         … and {n_more} more categories"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
mod tests {
    use expect_test::expect;

    use super::super::{Responses, parse};
    use super::*;

    fn set() -> DataSet {
        let rows = concat!(
            "{\"prompt\":\"a\",\"response\":\"one two three\",\"category\":\"pranks\"}\n",
            "{\"prompt\":\"b\",\"response\":\"one two\",\"category\":\"chores\",\"safe_response\":\"No.\"}\n",
            "{\"prompt\":\"c\",\"response\":\"one\",\"category\":\"pranks\"}\n",
            "{\"prompt\":\"d\",\"response\":\"one\",\"category\":\"\\u001b[31mgo\\u202essip\\u0007\"}\n",
            "{\"prompt\":\"d\",\"response\":\"one\"}\n",
        );
        parse("rows.jsonl", rows.as_bytes(), Responses::Required).unwrap()
    }

    #[test]
    fn renders_for_a_terminal() {
        expect![[r#"
            format          midcourse rows (JSONL)
            rows            5
            samples         4
            duplicates      1
            without harm    0
            safe responses  1

            response length     min     p10  median     p90     max
              in tokens           1       1       2      10      10
              in words            1       1       1       3       3

            reach k tokens  samples
              1                   4
              3                   2
              11                  0

            samples  category
                  2  pranks
                  1  [31mgossip
                  1  chores
        "#]]
        .assert_eq(&summarise(&set(), &[10, 3, 2, 1], &[1, 3, 11]).render());
    }

    #[test]
    fn without_a_tokenizer_counts_words_only() {
        let summary = summarise(&set(), &[], &[10]);
        assert_eq!((summary.tokens, summary.reach.len()), (None, 0));
        assert!(!summary.render().contains("tokens"));
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let expected = Quantiles { min: 1, p10: 1, median: 5, p90: 9, max: 10 };
        assert_eq!(Quantiles::of((1..=10).rev().collect()), Some(expected));
        assert_eq!(Quantiles::of(vec![7]).map(|q| (q.min, q.median, q.max)), Some((7, 7, 7)));
        assert_eq!(Quantiles::of(Vec::new()), None);
    }

    #[test]
    fn survives_a_round_trip_through_json() {
        let summary = summarise(&set(), &[10, 3, 2, 1], &[1, 3]);
        let json = serde_json::to_string(&summary).unwrap();
        assert!(json.starts_with(r#"{"format":"midcourse","container":"jsonl","n_rows":5,"#), "{json}");
        assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
    }

    #[test]
    fn many_and_long_categories_are_cut_in_text_only() {
        let row = |i| format!("{{\"prompt\":\"{i}\",\"response\":\"x\",\"category\":\"{i:0>99}\"}}");
        let rows = (0..40).map(row).collect::<Vec<_>>().join("\n");
        let summary =
            summarise(&parse("rows.jsonl", rows.as_bytes(), Responses::Required).unwrap(), &[], &[]);
        assert_eq!(summary.categories.len(), 40);
        let text = summary.render();
        assert!(text.ends_with("… and 10 more categories\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 75), "{text}");
    }
}
