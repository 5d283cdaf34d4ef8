//! Which samples there are: files read, prompts excluded and near-duplicates found, before anything is grown.

use anyhow::Result;
use midcourse_core::chat::Role;
use midcourse_core::data::{Responses, Sample};
use midcourse_core::eval::Set;
use midcourse_core::synth::{NearIndex, Reason};

use super::manifest::TextIdentity;
use super::{SynthManifest, SynthPlan};
use crate::input::{self, DataSource};
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
    /// Licences of every file of `data`, as far as they are known.
    pub licenses: Vec<Vec<String>>,
}

/// A sample, or one that is dropped before anything is asked of the model.
pub(crate) struct Entry {
    pub set: Set,
    pub sample: Sample,
    pub dropped: Option<(Reason, String)>,
}

/// Reads all files of a plan, those of a hub at the commits that were `recorded`. Says what was found.
pub(crate) fn read(plan: &SynthPlan, recorded: Option<&SynthManifest>) -> Result<Outset> {
    let mut sources = Sources { data: Vec::new(), exclude: Vec::new(), licenses: Vec::new() };
    let mut samples = Vec::new();
    for (set, source) in [(Set::Harmful, Some(&plan.data)), (Set::Benign, plan.benign.as_ref())] {
        let Some(source) = source else { continue };
        let responses = if set == Set::Harmful { Responses::Required } else { Responses::Optional };
        let earlier = recorded.and_then(|run| run.data.iter().find(|data| data.set == set));
        let commit = earlier.and_then(|data| data.commit.as_deref());
        let file = input::read_at(source, commit, responses)?;
        let identity = DataIdentity::of(set, source, &file);
        say(&identity.summary());
        sources.licenses.push(file.licenses);
        let limit = plan.limit.unwrap_or(usize::MAX);
        let entry = |sample| Entry { set, sample, dropped: None };
        samples.extend(file.set.samples.into_iter().take(limit).map(entry));
        sources.data.push(identity);
    }
    let mut excluded = Excluded { index: NearIndex::new(), files: Vec::new() };
    for source in &plan.exclude {
        let name = source.to_string();
        let earlier = recorded.and_then(|run| run.exclude.iter().find(|file| file.file == name));
        let commit = earlier.and_then(|file| file.commit.as_deref());
        sources.exclude.push(excluded.read(source, commit)?);
    }
    drop_repeated(&mut samples, &excluded);
    Ok(Outset { samples, sources })
}

/// Prompts that must not be trained on.
struct Excluded<'a> {
    index: NearIndex,
    /// For every prompt of the index the file it stands in.
    files: Vec<&'a DataSource>,
}

impl<'a> Excluded<'a> {
    fn read(&mut self, source: &'a DataSource, commit: Option<&str>) -> Result<TextIdentity> {
        let file = input::read_at(source, commit, Responses::Optional)?;
        for sample in &file.set.samples {
            self.index.insert(self.files.len(), &asked(sample));
            self.files.push(source);
        }
        Ok(TextIdentity { file: source.to_string(), sha256: file.sha256, commit: file.commit })
    }
}

/// Finds prompts that are excluded, and those that are nearly an earlier one. A prompt of one file does not repeat one
/// of the other: what is harmful in one and harmless in the other is worth seeing as both.
fn drop_repeated(samples: &mut [Entry], excluded: &Excluded) {
    let mut seen = [NearIndex::new(), NearIndex::new()];
    for index in 0..samples.len() {
        let (before, rest) = samples.split_at_mut(index);
        let entry = &mut rest[0];
        let text = asked(&entry.sample);
        let seen = &mut seen[usize::from(entry.set == Set::Benign)];
        entry.dropped = if let Some(near) = excluded.index.find(&text) {
            let file = excluded.files.get(near.place).map_or(String::new(), ToString::to_string);
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

/// What the user asks in all turns: many conversations of a data set begin with the same instructions.
fn asked(sample: &Sample) -> String {
    let turns = sample.messages().into_iter().filter(|message| message.role == Role::User);
    turns.map(|message| message.content).collect::<Vec<_>>().join("\n")
}
