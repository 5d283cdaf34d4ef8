//! Preference pairs out: from `rankings.jsonl` to the files that trainers read.
//!
//! One thread reads and checks rankings, another writes; memory holds a few megabytes of texts, whatever the number of
//! rankings. The bytes written depend on the rankings and the share of test prompts only. A file gets its name when
//! it is whole, a data set when all of its files are.
//!
//! Every answer of a ranking ends (`synth::AnswerEnd`), so that every format leaves its end of turn to the template.

mod columns;
mod dataset;
mod dataset_info;
mod lines;
mod read;
mod rows;
mod split;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use midcourse_core::eval::Set;
use midcourse_core::synth::Ranking;
use serde::Serialize;

pub(crate) use columns::ParquetFile;
use dataset::Dataset;
#[cfg(test)]
use dataset::Limits;
pub(crate) use dataset_info::DatasetInfo;
pub(crate) use lines::{Lines, Place};
pub(crate) use read::check;
pub(crate) use rows::RowFormat;
pub(crate) use split::{Split, SplitChoice, TestShare};

use crate::failure::Failure;
use crate::signals::Signals;

/// Writes the pairs of a file of rankings as a data set of the Hugging Face hub, `dir/data/train-00000-of-0000N.parquet`
/// and `test-…`, in place of one that is there.
pub(crate) fn write_dataset(
    rankings: &Path,
    dir: &Path,
    splits: (SplitChoice, TestShare),
    stopping: (&Signals, &str),
) -> Result<PairCounts> {
    export(rankings, Box::new(Dataset::create(dir)?), splits, stopping)
}

/// Where pairs go.
pub(crate) trait Sink {
    /// Takes the pairs of a ranking, and returns how many of them its format has no place for.
    fn take(&mut self, split: Split, ranking: Ranking) -> Result<usize>;

    /// Gives what was written its name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Writes the pairs of a file of rankings that are of the wanted splits, and counts them. When a signal comes, the hint
/// says how to go on.
pub(crate) fn export(
    rankings: &Path,
    mut sink: Box<dyn Sink>,
    (wanted, share): (SplitChoice, TestShare),
    (signals, hint): (&Signals, &str),
) -> Result<PairCounts> {
    let mut counts = PairCounts::default();
    counts.torn_line = read::each(rankings, share, |split, ranking| {
        if let Some(failure) = signals.failure(hint.to_owned()) {
            return Err(failure.into());
        }
        if !wanted.holds(split) {
            return Ok(());
        }
        let counted = (ranking.set, n_pairs(&ranking));
        let n_left_out = sink.take(split, ranking)?;
        counts.add(split, counted, n_left_out);
        Ok(())
    })?;
    if counts.n_pairs == 0 {
        return Err(counts.nothing(rankings, wanted).into());
    }
    sink.finish()?;
    Ok(counts)
}

/// Pairs of a ranking.
fn n_pairs(ranking: &Ranking) -> usize {
    let n_answers = ranking.answers.len();
    n_answers * n_answers.saturating_sub(1) / 2
}

/// What was written.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PairCounts {
    pub n_rankings: usize,
    pub n_pairs: usize,
    /// Pairs that the format has no place for; in no other count.
    pub n_left_out: usize,
    /// The number of a last line that was left unfinished, and is not in the counts.
    pub torn_line: Option<usize>,
    /// Rankings and pairs of every split that has any, by set.
    pub splits: BTreeMap<Split, BTreeMap<Set, SetCounts>>,
}

/// Rankings of one set in one split, and their pairs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct SetCounts {
    pub n_rankings: usize,
    pub n_pairs: usize,
}

impl PairCounts {
    fn add(&mut self, split: Split, (set, n_pairs): (Set, usize), n_left_out: usize) {
        let n_pairs = n_pairs - n_left_out;
        self.n_left_out += n_left_out;
        if n_pairs == 0 {
            return;
        }
        self.n_rankings += 1;
        self.n_pairs += n_pairs;
        let counts = self.splits.entry(split).or_default().entry(set).or_default();
        counts.n_rankings += 1;
        counts.n_pairs += n_pairs;
    }

    fn nothing(&self, rankings: &Path, wanted: SplitChoice) -> Failure {
        let file = rankings.display();
        let (problem, hint) = if self.n_left_out > 0 {
            (
                format!("{file}: the format has no place for any of the {} pairs", self.n_left_out),
                "`midcourse export pairs --help` says what each format takes; choose another",
            )
        } else if wanted == SplitChoice::All {
            (format!("{file}: expected rankings, found none"), "`midcourse synth --out DIR` makes them")
        } else {
            (
                format!("{file}: expected pairs of the wanted split, found none"),
                "choose another --split or --test-share",
            )
        };
        Failure::Input { problem, hint: hint.into() }
    }
}

/// The name of a set in files.
pub(crate) fn set_name(set: Set) -> &'static str {
    match set {
        Set::Harmful => "harmful",
        Set::Benign => "benign",
    }
}
