//! Runs side by side: by how much every other run differs from the first, measure by measure, and how sure that is.
//!
//! A *measure* is a figure that two runs can both have: `corr_mean`, `hellaswag`. What is compared is what was recorded,
//! prompt by prompt or item by item, never text. A measure of two runs is compared where all that decides what it means is
//! equal; otherwise it is said what is not. How sure a difference is comes from [`crate::metrics::difference`]; over all
//! measures of a pair of runs Holm's correction says which of them are clear.

mod bench;
mod change;
mod evaluation;
#[cfg(test)]
pub(crate) mod fixture;
mod gate;
mod measure;
mod record;
#[cfg(test)]
mod tests;

pub use bench::of_bench;
pub use evaluation::{Evaluation, of_evaluation};
pub use gate::{Bound, End, Gate, gates};
pub use measure::{Aspect, Measure, Measured, Observed, Rank, Seen, Value};
pub use record::{
    Change, Clarity, Compared, Comparison, CurvePoint, GateOutcome, GateResult, NotCompared, RunSummary,
    SCHEMA, Told, Why,
};

use std::collections::BTreeSet;

use crate::metrics::{Difference, LEVEL, holm};
use crate::{Error, Result};

/// A run as it is compared.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it is called, unlike any other run.
    pub name: String,
    /// Where it lies.
    pub sources: Vec<String>,
    /// Everything that it has measured; those shown first stand first.
    pub measures: Vec<Measured>,
}

/// Every run after the first against the first, and what the gates say.
///
/// # Errors
///
/// [`Error::NothingToCompare`] when no measure of any run can be compared, and [`Error::Setting`] for a gate on a measure
/// that no run has.
pub fn compare(runs: &[Run], gates: &[Gate]) -> Result<Comparison> {
    let measures = measures(runs);
    gates.iter().try_for_each(|gate| gate.must_name(&measures))?;
    let [baseline, others @ ..] = runs else { return Err(nothing("there is no run".into())) };
    let comparisons: Vec<Compared> = others.iter().map(|run| against(baseline, run)).collect();
    if comparisons.iter().all(|compared| compared.changes.is_empty()) {
        return Err(nothing(comparisons.first().map_or_else(String::new, reasons)));
    }
    let gates =
        comparisons.iter().flat_map(|compared| gates.iter().map(|gate| gate.check(compared, &measures)));
    Ok(Comparison {
        schema: SCHEMA.into(),
        gates: gates.collect(),
        runs: runs.iter().map(summary).collect(),
        measures,
        comparisons,
    })
}

/// The measures of all runs, each once, in the order of the first run that has it.
fn measures(runs: &[Run]) -> Vec<Measure> {
    let mut known = BTreeSet::new();
    let all = runs.iter().flat_map(|run| &run.measures).map(|measured| &measured.measure);
    all.filter(|measure| known.insert(measure.name.clone())).cloned().collect()
}

fn summary(run: &Run) -> RunSummary {
    let told = |measured: &Measured| {
        let Seen { value, ci, n } = measured.seen?;
        Some(Told { measure: measured.measure.name.clone(), value, ci, n })
    };
    RunSummary {
        name: run.name.clone(),
        sources: run.sources.clone(),
        values: run.measures.iter().filter_map(told).collect(),
    }
}

/// One run against the baseline.
fn against(baseline: &Run, run: &Run) -> Compared {
    let find = |run: &'_ Run, name: &str| run.measures.iter().position(|found| found.measure.name == name);
    let mut differences: Vec<(&Measured, Difference, usize)> = Vec::new();
    let mut not_compared = Vec::new();
    let mut leave = |measured: &Measured, why| {
        not_compared.push(NotCompared { measure: measured.measure.name.clone(), why });
    };
    for first in &baseline.measures {
        let Some(second) = find(run, &first.measure.name).map(|at| &run.measures[at]) else {
            leave(first, Why::OnlyInBaseline);
            continue;
        };
        match change::difference(first, second) {
            Ok((difference, n_unpaired)) => differences.push((first, difference, n_unpaired)),
            Err(why) => leave(first, why),
        }
    }
    for only in run.measures.iter().filter(|only| find(baseline, &only.measure.name).is_none()) {
        leave(only, Why::OnlyHere);
    }
    let ps: Vec<f64> = differences.iter().map(|(_, difference, _)| difference.p).collect();
    let changes = differences.into_iter().zip(holm(&ps)).map(|((first, difference, n_unpaired), p_holm)| {
        let clarity = clarity(&first.measure, &difference, p_holm);
        Change { measure: first.measure.name.clone(), difference, p_holm, clarity, n_unpaired }
    });
    Compared {
        run: run.name.clone(),
        baseline: baseline.name.clone(),
        changes: changes.collect(),
        not_compared,
    }
}

fn clarity(measure: &Measure, difference: &Difference, p_holm: f64) -> Clarity {
    match (difference.is_clear(), p_holm <= LEVEL) {
        (false, _) => Clarity::No,
        (true, false) => Clarity::Alone,
        (true, true) if measure.is_gain(difference.difference) => Clarity::Better,
        (true, true) => Clarity::Worse,
    }
}

fn nothing(reasons: String) -> Error {
    Error::NothingToCompare { reasons }
}

/// Why a run could not be compared: the first three reasons, all of them being alike as a rule.
fn reasons(compared: &Compared) -> String {
    let said = compared.not_compared.iter().map(|left| format!("{}: {}", left.measure, left.why));
    let (n, said) = (compared.not_compared.len(), said.take(3).collect::<Vec<_>>().join("; "));
    let more = if n > 3 { format!("; and {} more measures", n - 3) } else { String::new() };
    if n == 0 { "the runs have measured nothing".into() } else { said + &more }
}
