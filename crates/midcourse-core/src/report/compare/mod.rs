//! Pages of several runs: by how much each differs from the first.
//!
//! The figures are those of [`crate::compare`]; nothing is computed here. Names of runs, tasks and settings are hostile.

mod forest;
mod html;
mod markdown;
mod prose;
mod terminal;

pub use html::html;
pub(super) use html::within as html_within;
pub use markdown::{differences, markdown};
pub(super) use prose::{difference, figure, label};
pub use prose::{missed, sentences};
pub use terminal::terminal;

use super::figure::Figure;
use super::plot::RunCurve;
use crate::compare::{Aspect, Change, Compared, Comparison, Measure, Rank, Told};

/// What the pages of a comparison show.
#[derive(Debug, Clone)]
pub struct CompareReport<'a> {
    /// Every figure.
    pub comparison: &'a Comparison,
    /// Settings and provenance, a name and a value each, in the order in which they are shown.
    pub details: Vec<(String, String)>,
}

/// A run's figure, where it may stand beside the baseline's: figures that mean something else share no table.
fn beside<'a>(comparison: &'a Comparison, run: usize, measure: &str) -> Option<&'a Told> {
    let is_comparable = match run.checked_sub(1) {
        None => true,
        Some(at) => comparison.comparisons.get(at)?.change(measure).is_some(),
    };
    is_comparable.then(|| comparison.runs.get(run)?.value(measure)).flatten()
}

/// Corr@k of every run that has it, by its place among the runs; nothing where none has.
fn curves(comparison: &Comparison) -> Vec<RunCurve<'_>> {
    let curve = |run: usize| {
        let shown = comparison.runs[run].curve().into_iter().filter_map(|point| {
            let told = beside(comparison, run, &point.told.measure)?;
            Some((point.k, Figure { rate: Some(told.value), ci: Some(told.ci) }))
        });
        (comparison.runs[run].name.as_str(), shown.collect())
    };
    let curves: Vec<RunCurve> = (0..comparison.runs.len()).map(curve).collect();
    if curves.iter().all(|(_, points)| points.is_empty()) { Vec::new() } else { curves }
}

/// Rows that stand together: differences on one axis.
struct Group<'a> {
    /// What they are about.
    title: String,
    /// Their measures.
    measures: Vec<&'a Measure>,
}

/// Measures that some run could be compared in: shares by what they are about, every other one by itself.
fn groups(comparison: &Comparison) -> Vec<Group<'_>> {
    let is_told =
        |measure: &&Measure| comparison.comparisons.iter().any(|c| c.change(&measure.name).is_some());
    let told: Vec<&Measure> = comparison.measures.iter().filter(is_told).collect();
    let mut groups = Vec::new();
    for aspect in [Aspect::CourseCorrection, Aspect::General, Aspect::OverRefusal, Aspect::Jailbreak] {
        let of = |measure: &&&Measure| measure.aspect == aspect;
        let (shares, others): (Vec<&Measure>, Vec<&Measure>) =
            told.iter().filter(of).partition(|measure| measure.scale.is_share());
        if !shares.is_empty() {
            groups.push(Group { title: prose::aspect(aspect).to_owned(), measures: shares });
        }
        let alone = |measure| Group { title: prose::own_unit(measure), measures: vec![measure] };
        groups.extend(others.into_iter().map(alone));
    }
    groups
}

/// The measures that say what a run came to, of those that some run could be compared in.
pub(super) fn main_measures(comparison: &Comparison) -> Vec<&Measure> {
    let told = groups(comparison).into_iter().flat_map(|group| group.measures);
    told.filter(|measure| measure.rank == Rank::Main).collect()
}

/// Every change of a measure, with the place of its run among the runs.
fn changes<'a>(
    comparison: &'a Comparison,
    measure: &Measure,
) -> impl Iterator<Item = (usize, &'a Compared, &'a Change)> {
    let name = measure.name.clone();
    let found = comparison.comparisons.iter().enumerate();
    found.filter_map(move |(at, compared)| Some((at + 1, compared, compared.change(&name)?)))
}
