//! From rankings to everything that is made of them: summary, pairs, card and pages.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use midcourse_core::synth::{Candidate, Growth, Reason, Summary};

use super::options::Shard;
use super::{CANDIDATES, RANKINGS, SynthManifest, SynthOptions, read_manifest};
use crate::card::{Card, Source};
use crate::failure::Failure;
use crate::pairs::{self, PairCounts, SplitChoice, TestShare};
use crate::run_dir::{self, Lines, RunDir};
use crate::signals::Signals;
use crate::synth_pages::{self, Facts};
use crate::terminal::say;
use crate::{model, options};

/// The data-set card.
const CARD: &str = "README.md";

/// Makes summary, pairs, card and pages of the rankings in a directory.
pub(crate) fn finish(dir: &RunDir, signals: &Signals) -> Result<Summary> {
    let made = Made::read(&dir.path)?;
    let n_cuts = made.options.cuts.unwrap_or_default();
    let summary = synth_pages::summarise(&dir.path, n_cuts, made.manifest.seed)?;
    if summary.sets.iter().all(|set| set.n_rankings == 0) {
        if made.manifest.shard == Shard::WHOLE {
            return Err(nothing(&dir.path, &summary).into());
        }
        say("no prompt of this shard has a ranking; dropped.jsonl says why");
        synth_pages::write(&dir.path, &made.facts())?;
        return Ok(summary);
    }
    let splits = (SplitChoice::All, made.test_share());
    let hint = super::resume_hint(&dir.path);
    let counts = pairs::write_dataset(&dir.file(RANKINGS), &dir.path, splits, (signals, &hint))?;
    dir.write(CARD, &made.card(&summary, counts)?.render())?;
    synth_pages::write(&dir.path, &made.facts())?;
    Ok(summary)
}

/// What a directory was made from.
pub(crate) struct Made {
    manifest: SynthManifest,
    options: SynthOptions,
}

impl Made {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let manifest = read_manifest(dir)?.ok_or_else(|| Failure::Input {
            problem: format!(
                "{}: expected the directory of a synthesis, found no manifest.json",
                dir.display()
            ),
            hint: "`midcourse synth --out DIR` makes one".into(),
        })?;
        let options = options::read(&dir.join(run_dir::PLAN))?;
        Ok(Self { manifest, options })
    }

    /// The share of prompts that are kept for tests.
    pub(crate) fn test_share(&self) -> TestShare {
        self.options.test_share.unwrap_or_default()
    }

    /// Paths that may fail.
    pub(crate) fn max_failed(&self) -> usize {
        self.options.max_failed.unwrap_or(0)
    }

    fn card(&self, summary: &Summary, counts: PairCounts) -> Result<Card> {
        let Self { manifest, .. } = self;
        let Facts { details, .. } = self.facts();
        let sources = manifest.data.iter().zip(&manifest.licenses).map(|(data, licenses)| Source {
            set: data.set,
            file: data.file.clone(),
            format: data.format.clone(),
            sha256: data.sha256.clone(),
            licenses: self.options.license.clone().map_or_else(|| licenses.clone(), |license| vec![license]),
        });
        let mut dropped: BTreeMap<Reason, usize> = BTreeMap::new();
        for (reason, n) in summary.sets.iter().flat_map(|set| &set.dropped) {
            *dropped.entry(*reason).or_default() += n;
        }
        let has_own_field =
            |(name, _): &(String, String)| ["judge", "seed", "model", "midcourse"].contains(&name.as_str());
        Ok(Card {
            name: format!("Course-correction preferences of {}", model::short_name(&manifest.model.name)),
            languages: Vec::new(),
            sources: sources.collect(),
            midcourse: manifest.midcourse.clone(),
            command: options::command("synth", &self.options)?,
            model: manifest.model.name.clone(),
            judge: manifest.judge.id.clone(),
            seed: manifest.seed,
            settings: details.into_iter().filter(|detail| !has_own_field(detail)).collect(),
            n_prompts: summary.sets.iter().map(|set| set.n_prompts).sum(),
            dropped: dropped.into_iter().collect(),
            counts,
            style_leak: summary.leak.together.all.rate,
        })
    }

    /// What the pages say of it.
    pub(crate) fn facts(&self) -> Facts {
        let Self { manifest, options } = self;
        let files = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
        let cost = manifest.cost();
        let details = [
            ("model", manifest.model.description.clone()),
            ("judge", manifest.judge.id.clone()),
            ("data", files(&mut manifest.data.iter().map(|data| data.file.clone()))),
            ("excluded", files(&mut manifest.exclude.iter().map(|file| file.file.clone()))),
            ("decoding", options.decoding_text()),
            ("candidates", options.candidates.unwrap_or(1).to_string()),
            ("opener", options.opener.clone().unwrap_or_default().into()),
            ("safe response", options.safe_response.unwrap_or_default().name().into()),
            ("triggers", manifest.texts.first().map(|texts| texts.file.clone()).unwrap_or_default()),
            ("seed", manifest.seed.to_string()),
            ("shard", manifest.shard.to_string()),
            ("tokens", format!("{} computed, {} sampled", cost.n_tokens_computed, cost.n_tokens_sampled)),
            ("midcourse", format!("{} on {}", manifest.midcourse, manifest.platform)),
        ];
        let details = details.into_iter().filter(|(_, value)| !value.is_empty());
        let mut caveats = manifest.caveats.clone();
        if options.benign.is_none() {
            caveats.push(super::WITHOUT_CONTRAST.into());
        }
        Facts {
            model: manifest.model.name.clone(),
            details: details.map(|(name, value)| (name.to_owned(), value)).collect(),
            caveats,
        }
    }
}

/// Paths of a directory that failed, in whichever session.
pub(crate) fn n_failed(dir: &Path) -> Result<usize> {
    let mut lines = Lines::open(&dir.join(CANDIDATES))?;
    let mut n_failed = 0;
    while lines.advance()? {
        let candidate: Candidate = lines.record()?;
        n_failed += usize::from(matches!(candidate.outcome, Growth::Failed { .. }));
    }
    Ok(n_failed)
}

/// Says why there is nothing.
fn nothing(dir: &Path, summary: &Summary) -> Failure {
    let dropped = summary.sets.iter().flat_map(|set| &set.dropped);
    let dropped: Vec<String> = dropped.map(|(reason, n)| format!("{n} {}", reason.name())).collect();
    let n_prompts: usize = summary.sets.iter().map(|set| set.n_prompts).sum();
    Failure::Input {
        problem: format!(
            "{}: expected rankings, found none: of {n_prompts} prompts {}",
            dir.display(),
            dropped.join(", ")
        ),
        hint: "dropped.jsonl says why of every prompt".into(),
    }
}
