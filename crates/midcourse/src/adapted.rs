//! An adapter in use: whether model, template, system prompt and prompts are those that it is to be used with.
//!
//! What would make a figure mean something else is refused unless it is allowed, and is then recorded; the rest is
//! warned about.

use std::path::Path;

use anyhow::Result;
use midcourse_core::data::Sample;
use midcourse_core::report::strip_controls;
use midcourse_core::template::System;

use crate::adapter_notes::{self, AdapterNotes};
use crate::failure::Failure;
use crate::model::{Identity, Model};
use crate::plan::EvalPlan;
use crate::terminal::say;

/// The adapter of an evaluation.
pub(crate) struct Adapted<'a> {
    dir: &'a Path,
    notes: Option<AdapterNotes>,
    /// What is allowed of prompts, in words.
    trained: Option<String>,
}

impl<'a> Adapted<'a> {
    /// The adapter of a plan; refuses prompts that it was trained on, unless they are allowed.
    pub(crate) fn of<'s>(
        plan: &'a EvalPlan,
        samples: impl ExactSizeIterator<Item = &'s Sample>,
    ) -> Result<Option<Self>> {
        let Some(dir) = plan.adapter.as_deref() else { return Ok(None) };
        let (notes, n_samples) = (AdapterNotes::read(dir)?, samples.len());
        let found = notes.as_ref().map_or(Vec::new(), |notes| notes.trained(samples));
        let trained = found.first().map(|first| {
            format!(
                "{} of {n_samples} samples have prompts that the adapter was trained on, sample {first} the first",
                found.len()
            )
        });
        match trained {
            Some(problem) if !plan.allow_trained_prompts => Err(Failure::Input {
                problem: format!("{}: {problem}", dir.display()),
                hint: "`midcourse data split` keeps prompts for evaluation; --allow-trained-prompts evaluates on them \
                       nonetheless"
                    .into(),
            }
            .into()),
            trained => Ok(Some(Self { dir, notes, trained })),
        }
    }

    /// What cannot be promised of a run with this adapter, in words; refuses another base, unless it is allowed.
    pub(crate) fn caveats(self, plan: &EvalPlan, model: &Model) -> Result<Vec<String>> {
        let Some(notes) = self.notes else {
            let unknown =
                format!("the adapter has no {}: its base and its prompts are not known", adapter_notes::FILE);
            return Ok(vec![unknown]);
        };
        let other = other_base(&notes, self.dir, &model.identity);
        if let Some(problem) = other.as_ref().filter(|_| !plan.allow_other_base) {
            return Err(adapter_notes::refusal(problem.clone()).into());
        }
        let differences = differences(&notes, &model.identity, &plan.settings.framing.system);
        let caveats: Vec<String> = self.trained.into_iter().chain(other).chain(differences).collect();
        for caveat in &caveats {
            warn_of(caveat);
        }
        Ok(caveats)
    }
}

/// Warns of an adapter that is used with another model, template or system prompt than it was trained with.
pub(crate) fn warn(dir: Option<&Path>, identity: &Identity, system: &System) -> Result<()> {
    let Some(dir) = dir else { return Ok(()) };
    let Some(notes) = AdapterNotes::read(dir)? else { return Ok(()) };
    let problems = other_base(&notes, dir, identity).into_iter().chain(differences(&notes, identity, system));
    for problem in problems {
        warn_of(&problem);
    }
    Ok(())
}

fn warn_of(problem: &str) {
    say(&format!("warning: {}", strip_controls(problem)));
}

fn other_base(notes: &AdapterNotes, dir: &Path, identity: &Identity) -> Option<String> {
    notes.other_base(dir, &identity.name, &adapter_notes::base_sha256(&identity.files))
}

fn differences(notes: &AdapterNotes, identity: &Identity, system: &System) -> Vec<String> {
    notes.differences(&identity.template_sha256, &String::from(system.clone()))
}
