//! Scoring the texts of a window.

use std::ops::Range;

use anyhow::Result;
use midcourse_core::bench::{Findings, Likelihood};
use midcourse_core::engine::{Assessed, Assessment, BoxError, Branch, Bundle, Usage};

use super::window::Window;
use crate::bench::Work;
use crate::model::MeasurableModel;
use crate::session::into_anyhow;

/// Scores every question of a window that is not recorded.
pub(super) fn measure(window: &Window<'_>, model: &MeasurableModel, work: &mut Work<'_>) -> Result<()> {
    work.take_open(&window.failed())?;
    let open = window.questions.iter().map(|question| !work.is_done(&question.id)).collect();
    let found = vec![None; window.texts.len()];
    let mut scoring = Scoring { window, work, open, found, next: 0 };
    let usage = model.engine.assess(&mut scoring);
    *work.usage += usage.map_err(|error| into_anyhow(error, &model.identity.name))?;
    Ok(())
}

/// A window under way.
struct Scoring<'w, 'a, 'b> {
    window: &'w Window<'a>,
    work: &'w mut Work<'b>,
    /// Whether a question is to be scored.
    open: Vec<bool>,
    /// What was found of every text.
    found: Vec<Option<Likelihood>>,
    /// The bundle that comes next.
    next: usize,
}

impl Assessment for Scoring<'_, '_, '_> {
    fn next(&mut self) -> Option<Bundle> {
        while let Some(together) = self.window.bundles.get(self.next) {
            self.next += 1;
            let texts = together.texts.clone().map(|at| (at, &self.window.texts[at]));
            let branches = texts.filter(|(_, text)| self.open[text.item]).map(|(at, text)| Branch {
                id: at,
                tokens: text.scored.tokens[together.n_shared..].to_vec(),
                from: text.scored.from,
            });
            let branches: Vec<Branch> = branches.collect();
            if !branches.is_empty() {
                let first = &self.window.texts[together.texts.start];
                return Some(Bundle { trunk: first.read()[..together.n_shared].to_vec(), branches });
            }
        }
        None
    }

    fn stopping(&self) -> bool {
        self.work.stopping()
    }

    fn take(&mut self, assessed: Vec<Assessed>) -> Result<(), BoxError> {
        let mut records = Vec::new();
        for Assessed { id, logp, is_greedy } in assessed {
            self.found[id] = Some(Likelihood { logp, is_greedy });
            let item = self.window.texts[id].item;
            let Ok(texts) = &self.window.of_question[item] else { continue };
            if let Some(found) = self.all_of(texts.clone()) {
                records.push(self.window.record(item, &Findings::Likelihoods(found)));
            }
        }
        self.work.take(&records)
    }

    fn progress(&mut self, _so_far: Usage) {}
}

impl Scoring<'_, '_, '_> {
    /// What was found of all texts of a question; none as long as one is missing.
    fn all_of(&self, texts: Range<usize>) -> Option<Vec<Likelihood>> {
        self.found[texts].iter().copied().collect()
    }
}
