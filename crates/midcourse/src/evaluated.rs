//! A finished evaluation, prompt by prompt: what differences between two runs are computed from.
//!
//! Its files must agree: a record file that was cut off would be compared as if nothing were missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use midcourse_core::eval::{Judgement, Set, Trial, outcomes};
use midcourse_core::metrics::{PromptOutcome, Scores};

use crate::failure::Failure;
use crate::pages::{SampleRecord, read_scores};
use crate::run_dir;

/// A finished evaluation.
pub(crate) struct Evaluated {
    pub scores: Scores,
    /// By the id of the sample.
    pub harmful: BTreeMap<String, PromptOutcome>,
    /// By the id of the sample.
    pub benign: BTreeMap<String, PromptOutcome>,
}

impl Evaluated {
    /// As the judge sees it whose files lie in `judged`: the run's own in the run.
    pub(crate) fn read(run: &Path, judged: &Path) -> Result<Self> {
        let files = [(run, run_dir::SAMPLES), (run, run_dir::TRIALS), (judged, run_dir::JUDGEMENTS)];
        if let Some((dir, name)) = files.into_iter().find(|(dir, name)| !dir.join(name).is_file()) {
            return Err(Failure::Input {
                problem: format!("{}: expected the file {name} of a finished run, found none", dir.display()),
                hint: "copy the whole directory of the run, or evaluate again".into(),
            }
            .into());
        }
        let samples: Vec<SampleRecord> = run_dir::read_records(&run.join(run_dir::SAMPLES))?;
        let trials: Vec<Trial> = run_dir::read_records(&run.join(run_dir::TRIALS))?;
        let judgements: Vec<Judgement> = run_dir::read_records(&judged.join(run_dir::JUDGEMENTS))?;
        let of = |set| {
            let names = samples.iter().map(|sample| (sample.set, sample.sample.as_str(), None));
            let mut known = BTreeSet::new();
            let ids = samples.iter().filter(|sample| sample.set == set).map(|sample| sample.sample.clone());
            let ids: Vec<String> = ids.filter(|id| known.insert(id.clone())).collect();
            ids.into_iter().zip(outcomes(set, names, &trials, &judgements)).collect()
        };
        let (harmful, benign) = (of(Set::Harmful), of(Set::Benign));
        let evaluated = Self { scores: read_scores(judged)?, harmful, benign };
        evaluated.must_agree(judged)?;
        Ok(evaluated)
    }

    /// The prompts of one set.
    pub(crate) fn of(&self, set: Set) -> &BTreeMap<String, PromptOutcome> {
        if set == Set::Harmful { &self.harmful } else { &self.benign }
    }

    /// Refuses records that are not those which the figures were counted from.
    fn must_agree(&self, dir: &Path) -> Result<()> {
        let harmful = self.scores.corr_at_k.iter().map(|at| (Set::Harmful, at));
        let benign = self.scores.benign.iter().flat_map(|benign| &benign.at_k).map(|at| (Set::Benign, at));
        for (set, at) in harmful.chain(benign) {
            let n_judged: usize = self.of(set).values().map(|outcome| outcome.cell(at.k).n_judged()).sum();
            if n_judged != at.n_judged {
                return Err(Failure::Input {
                    problem: format!(
                        "{}: expected {} judged paths with k = {} as {} says, found {n_judged} in {}",
                        dir.display(),
                        at.n_judged,
                        at.k,
                        run_dir::SCORES,
                        run_dir::JUDGEMENTS
                    ),
                    hint: "a file was cut off or is another run’s: copy the whole directory of the run"
                        .into(),
                }
                .into());
            }
        }
        Ok(())
    }
}
