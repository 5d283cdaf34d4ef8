//! A measure of two runs: whether they can be compared, and by how much they differ.

use std::collections::{BTreeMap, BTreeSet};

use super::measure::{Measured, Observed, Value};
use super::record::Why;
use crate::metrics::{self, Difference, PromptOutcome, Scale};

/// Draws resamples and exchanges. One seed for all, so that swapped runs mirror and a run compared twice gives the same.
const SEED: u64 = 0;

/// The difference, and how many prompts or items only one of the runs has a value for.
pub(super) fn difference(first: &Measured, second: &Measured) -> Result<(Difference, usize), Why> {
    if let Some(why) = differing(first, second) {
        return Err(why);
    }
    match (&first.observed, &second.observed) {
        (Observed::Prompts { outcomes, lengths }, Observed::Prompts { outcomes: others, .. }) => {
            of_prompts((outcomes, others), lengths)
        }
        (Observed::Items(first_values), Observed::Items(values)) => {
            of_items((first_values, values), first.measure.scale)
        }
        // A task may be called as a measure of evaluations is: their aspects differ.
        _ => Err(Why::NoPairs),
    }
}

/// The first thing that makes the figures of two runs mean something else.
fn differing(first: &Measured, second: &Measured) -> Option<Why> {
    let read = |measured: &Measured| {
        let m = &measured.measure;
        [
            ("aspect", format!("{:?}", m.aspect)),
            ("better", format!("{:?}", m.better)),
            ("scale", format!("{:?}", m.scale)),
        ]
        .map(|(field, value)| (field.to_owned(), value))
    };
    let fields = |measured: &Measured| -> BTreeMap<String, String> {
        measured.identity.clone().into_iter().chain(read(measured)).collect()
    };
    let [first, second] = [fields(first), fields(second)];
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let field = names.into_iter().find(|field| first.get(*field) != second.get(*field))?;
    let value = |fields: &BTreeMap<String, String>| fields.get(field).map_or("nothing".into(), Clone::clone);
    Some(Why::Differs { field: field.clone(), baseline: value(&first), run: value(&second) })
}

fn of_prompts(
    (first, second): (&BTreeMap<String, PromptOutcome>, &BTreeMap<String, PromptOutcome>),
    lengths: &[usize],
) -> Result<(Difference, usize), Why> {
    let pairs: Vec<_> = first.iter().filter_map(|(id, outcome)| Some((outcome, second.get(id)?))).collect();
    let judged = |outcome: &&PromptOutcome| lengths.iter().any(|&k| outcome.cell(k).n_judged() > 0);
    let n_judged = |outcomes: &BTreeMap<_, _>| outcomes.values().filter(judged).count();
    let difference = metrics::difference(&pairs, lengths, SEED).ok_or(Why::NoPairs)?;
    Ok((difference, n_judged(first) + n_judged(second) - 2 * difference.n_prompts))
}

type Values = BTreeMap<(String, usize), Value>;

fn of_items((first, second): (&Values, &Values), scale: Scale) -> Result<(Difference, usize), Why> {
    let mut clusters: BTreeMap<(&str, usize), [[f64; 2]; 2]> = BTreeMap::new();
    let mut n_pairs = 0;
    for (key, value) in first {
        let Some(other) = second.get(key) else { continue };
        n_pairs += 1;
        // Clusters and items that stand alone may have the same name: no item is at this place in one.
        let cluster = value.cluster.as_deref().map_or((key.0.as_str(), key.1), |name| (name, usize::MAX));
        let sums = clusters.entry(cluster).or_default();
        for (sums, Value { value, weight, .. }) in sums.iter_mut().zip([value, other]) {
            sums[0] += weight * value;
            sums[1] += weight;
        }
    }
    let n_clusters = clusters.len();
    let difference = metrics::difference_of_means(clusters.into_values(), scale, SEED);
    let why = if n_pairs == 0 { Why::NoPairs } else { Why::TooFew { n: n_clusters } };
    Ok((difference.ok_or(why)?, first.len() + second.len() - 2 * n_pairs))
}
