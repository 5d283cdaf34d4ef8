//! What a plan wants sampled, and the records of it: laid out before anything is sampled, found again when a run goes on.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use midcourse_core::data::Sample;
use midcourse_core::eval::{self, EvalSettings, Outcome, PathKey, PlannedSample, Set, Trial, Unit};
use midcourse_core::template::{ChatTemplate, Tokenizer};

use crate::failure::Failure;
use crate::run_dir::{self, RunDir};
use crate::storage::StorageError;
use crate::terminal::say;

/// Lays samples out for `model`, whose text and context are given. Says what is special about them.
pub(crate) fn lay_out(
    samples: &[(Set, &Sample)],
    settings: &EvalSettings,
    model: &str,
    text: (&ChatTemplate, &dyn Tokenizer),
    context: usize,
) -> Result<Vec<PlannedSample>> {
    let forces = settings.prefix_lengths.iter().any(|&k| k > 0);
    if forces && !text.1.counts_tokens() && settings.unit == Unit::Tokens {
        return Err(Failure::Usage {
            problem: format!("--unit tokens: no tokenizer of {model} is at hand to count with"),
            hint:
                "name one with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), or count --unit words"
                    .into(),
        }
        .into());
    }
    let planned = samples.iter().enumerate().map(|(at, (set, sample))| {
        let planned = eval::plan((*set, sample), settings, text, context);
        planned.with_context(|| format!("sample {} of {} ({})", at + 1, samples.len(), sample.id))
    });
    let planned: Vec<_> = planned.collect::<Result<_>>()?;
    let n_special: usize = planned.iter().map(|sample| sample.n_special_as_text).sum();
    if n_special > 0 {
        say(&format!("{n_special} special-token strings in the rows are given to the model as text"));
    }
    let n_rewritten = planned.iter().filter(|sample| sample.rewritten).count();
    if n_rewritten > 0 {
        say(&format!(
            "{n_rewritten} of {} responses are forced as the chat template rewrites them; samples.jsonl has them so",
            planned.len()
        ));
    }
    Ok(planned)
}

/// The paths of a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedPaths<'a> {
    pub settings: &'a EvalSettings,
    pub plan: &'a [PlannedSample],
}

impl PlannedPaths<'_> {
    /// The grown paths that the record file `name` holds, each with its place in the plan. What failed is taken out of
    /// the file: it is tried again.
    pub(crate) fn recover(self, dir: &RunDir, name: &str) -> Result<Vec<(PathKey, Trial)>> {
        let recorded: Vec<Trial> = dir.recover(name)?;
        let n_recorded = recorded.len();
        let grown = self.grown(recorded, dir, name)?;
        if grown.len() < n_recorded {
            let grown: Vec<&Trial> = grown.iter().map(|(_, trial)| trial).collect();
            dir.write_records(name, &grown)?;
        }
        Ok(grown)
    }

    /// The records of all paths in the order of the plan, with those of prefixes from which none grows.
    pub(crate) fn in_order(self, dir: &RunDir, name: &str) -> Result<Vec<(PathKey, Trial)>> {
        let recorded: Vec<Trial> = run_dir::read_records(&dir.file(name))?;
        let failed = self.failed(&recorded);
        // Of a path that failed and has grown since, the latter stands: sorting keeps the order of equals.
        let mut trials = self.grown(recorded, dir, name)?;
        trials.extend(failed);
        for (index, sample) in self.plan.iter().enumerate() {
            trials.extend(sample.without_paths(index, self.settings));
        }
        trials.sort_by_key(|(key, _)| *key);
        trials.dedup_by_key(|(key, _)| *key);
        Ok(trials)
    }

    /// Places in the plan, by set and sample.
    fn places(&self) -> BTreeMap<(Set, &str), usize> {
        self.plan.iter().enumerate().map(|(at, sample)| ((sample.set, sample.id.as_str()), at)).collect()
    }

    /// The paths that the model's server would not grow, each with its place in the plan.
    fn failed(&self, trials: &[Trial]) -> Vec<(PathKey, Trial)> {
        let places = self.places();
        let failed = trials.iter().filter_map(|trial| {
            let Outcome::Failed { path, .. } = trial.outcome else { return None };
            let sample = *places.get(&(trial.set, trial.sample.as_str()))?;
            let length = self.settings.prefix_lengths.iter().position(|&k| k == trial.k)?;
            self.plan[sample].planned(length)?;
            Some((PathKey { sample, length, path }, trial.clone()))
        });
        failed.collect()
    }

    /// The grown paths among the trials of the record file `name`, each with its place in the plan.
    fn grown(&self, trials: Vec<Trial>, dir: &RunDir, name: &str) -> Result<Vec<(PathKey, Trial)>> {
        let places = self.places();
        let mut placed = Vec::new();
        for (line, trial) in trials.into_iter().enumerate() {
            let Outcome::Grown { path, seed, .. } = trial.outcome else { continue };
            let sample = places.get(&(trial.set, trial.sample.as_str()));
            let length = self.settings.prefix_lengths.iter().position(|&k| k == trial.k);
            let key = sample.zip(length).map(|(&sample, length)| PathKey { sample, length, path });
            let Some(key) = key.filter(|key| self.is_planned(*key, seed)) else {
                let problem = format!(
                    "path {path} of sample {} with k = {} and seed {seed} is not in the plan",
                    trial.sample, trial.k
                );
                return Err(StorageError::Record { path: dir.file(name), line: line + 1, problem }.into());
            };
            placed.push((key, trial));
        }
        Ok(placed)
    }

    fn is_planned(&self, key: PathKey, seed: u32) -> bool {
        let fork = self.plan[key.sample].planned(key.length);
        key.path < self.settings.paths && fork.is_some_and(|fork| fork.path_seed(key.path) == seed)
    }
}
