//! Which samples there are: files read, prompts excluded and near-duplicates found, before anything is grown.

use std::path::Path;

use anyhow::Result;
use midcourse_core::data::{Responses, Sample};
use midcourse_core::eval::Set;
use midcourse_core::synth::{NearIndex, Reason};

use super::SynthPlan;
use super::manifest::TextIdentity;
use crate::input;
use crate::manifest::DataIdentity;
use crate::terminal::say;

/// What a synthesis begins with.
pub(crate) struct Outset {
    /// Every sample of both files in order; those that are dropped already with the reason.
    pub samples: Vec<Entry>,
    pub sources: Sources,
}

/// What is recorded of the files.
pub(crate) struct Sources {
    pub data: Vec<DataIdentity>,
    pub exclude: Vec<TextIdentity>,
    pub licenses: Vec<String>,
}

/// A sample, or one that is dropped before anything is asked of the model.
pub(crate) struct Entry {
    pub set: Set,
    pub sample: Sample,
    pub dropped: Option<(Reason, String)>,
}

/// Reads all files of a plan. Says what was found.
pub(crate) fn read(plan: &SynthPlan) -> Result<Outset> {
    let mut sources = Sources { data: Vec::new(), exclude: Vec::new(), licenses: Vec::new() };
    let mut samples = Vec::new();
    for (set, path) in [(Set::Harmful, Some(&plan.data)), (Set::Benign, plan.benign.as_ref())] {
        let Some(path) = path else { continue };
        let responses = if set == Set::Harmful { Responses::Required } else { Responses::Optional };
        let file = input::read(path, responses)?;
        let identity = DataIdentity::of(set, path, &file);
        say(&identity.summary());
        let new = Vec::<String>::new().into_iter().filter(|license| !sources.licenses.contains(license));
        let new: Vec<String> = new.collect();
        sources.licenses.extend(new);
        let limit = plan.limit.unwrap_or(usize::MAX);
        let entry = |sample| Entry { set, sample, dropped: None };
        samples.extend(file.set.samples.into_iter().take(limit).map(entry));
        sources.data.push(identity);
    }
    let mut excluded = Excluded { index: NearIndex::new(), files: Vec::new() };
    for path in &plan.exclude {
        sources.exclude.push(excluded.read(path)?);
    }
    drop_repeated(&mut samples, &excluded);
    Ok(Outset { samples, sources })
}

/// Prompts that must not be trained on.
struct Excluded<'a> {
    index: NearIndex,
    /// For every prompt of the index the file it stands in.
    files: Vec<&'a Path>,
}

impl<'a> Excluded<'a> {
    fn read(&mut self, path: &'a Path) -> Result<TextIdentity> {
        let file = input::read(path, Responses::Optional)?;
        for sample in &file.set.samples {
            self.index.insert(self.files.len(), &conversation(sample));
            self.files.push(path);
        }
        Ok(TextIdentity { file: path.display().to_string(), sha256: file.sha256 })
    }
}

/// Finds prompts that are excluded, and those that are nearly an earlier one. A prompt of one file does not repeat one
/// of the other: what is harmful in one and harmless in the other is worth seeing as both.
fn drop_repeated(samples: &mut [Entry], excluded: &Excluded) {
    let mut seen = [NearIndex::new(), NearIndex::new()];
    for index in 0..samples.len() {
        let (before, rest) = samples.split_at_mut(index);
        let entry = &mut rest[0];
        let text = conversation(&entry.sample);
        let seen = &mut seen[usize::from(entry.set == Set::Benign)];
        entry.dropped = if let Some(near) = excluded.index.find(&text) {
            let file =
                excluded.files.get(near.place).map_or(String::new(), |file| file.display().to_string());
            Some((Reason::Excluded, format!("{file}, similarity {:.2}", near.jaccard)))
        } else if let Some(near) = seen.find(&text) {
            let first = before.get(near.place).map_or("", |first| &first.sample.id);
            Some((Reason::NearDuplicate, format!("of sample {first}, similarity {:.2}", near.jaccard)))
        } else {
            seen.insert(index, &text);
            None
        };
    }
    for (reason, what) in [
        (Reason::Excluded, "stand in an excluded file, exactly or nearly"),
        (Reason::NearDuplicate, "are nearly the same as an earlier one"),
    ] {
        let n = samples.iter().filter(|e| e.dropped.as_ref().is_some_and(|(r, _)| *r == reason)).count();
        if n > 0 {
            say(&format!("{n} of {} prompts {what}: dropped", samples.len()));
        }
    }
}

/// The whole conversation as one text.
fn conversation(sample: &Sample) -> String {
    let turns = sample.messages();
    turns.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
}
