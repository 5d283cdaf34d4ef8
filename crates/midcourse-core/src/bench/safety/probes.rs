//! From rows to what is asked: probes, and the items of a task in their order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::SafetyTask;
use super::finding::{Finding, TellsExtent};
use crate::bench::ItemRecord;
use crate::bench::cipher::{Cipher, Reading};
use crate::data::{Artifact, LabelledPrompt, Safety, Sample, content_id, sample_id};
use crate::eval::Set;

/// What rates are also told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facet {
    /// How an attack prompt was found.
    Method,
    /// The cipher that a goal is asked in.
    Cipher,
    /// Length of the prefix.
    Length,
    /// What makes a prompt look alarming.
    Type,
    /// What a goal is about.
    Category,
}

impl Facet {
    const ALL: [Self; 5] = [Self::Method, Self::Cipher, Self::Length, Self::Type, Self::Category];

    /// The facet that has this name in files.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|facet| facet.name() == name)
    }

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Cipher => "cipher",
            Self::Length => "k",
            Self::Type => "type",
            Self::Category => "category",
        }
    }

    /// The name of the group that has `value`.
    pub(super) fn group(self, value: &str) -> String {
        match self {
            Self::Length => format!("k = {value}"),
            _ => format!("{}: {value}", self.name()),
        }
    }

    /// Whether an item with `value` is a goal asked without an attack.
    pub(super) fn is_without_attack(self, value: &str) -> bool {
        matches!((self, value), (Self::Cipher, "plain") | (Self::Length, "0"))
    }
}

/// Something that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What the model is sent, and what prefixes are cut from; none where the authors of an attack found no prompt.
    pub sample: Option<Sample>,
    /// What stands behind it: what a judge is told was asked.
    pub goal: String,
    /// The cipher in which it is sent.
    pub cipher: Cipher,
    /// What rates are also told by, the first before all.
    facets: Vec<(Facet, String)>,
}

/// The probes of a task, and what became of the other rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probes {
    /// The task.
    pub task: SafetyTask,
    /// Each once, in the order of the rows.
    pub probes: Vec<Probe>,
    /// Rows that made no probe, by reason.
    pub n_skipped: BTreeMap<String, usize>,
}

/// One measurement: a probe at a length of the prefix, 0 where nothing is forced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Hash of the content, 16 hexadecimal digits, unique in a task.
    pub id: String,
    /// Index of the probe.
    pub probe: usize,
    /// Length of the prefix.
    pub k: usize,
}

impl Probes {
    /// Prompts that are `safety`, and for the harmless ones ordinary rows besides.
    pub fn of_prompts(safety: Safety, prompts: &[LabelledPrompt], ordinary: &[Sample]) -> Self {
        let task = if safety == Safety::Safe { SafetyTask::OverRefusal } else { SafetyTask::Contrast };
        let labelled = prompts.iter().filter(|prompt| prompt.safety == safety).map(|prompt| Probe {
            sample: Some(asked(&prompt.prompt)),
            goal: prompt.prompt.clone(),
            cipher: Cipher::Plain,
            facets: prompt.kind.iter().map(|kind| (Facet::Type, kind.clone())).collect(),
        });
        let ordinary = ordinary.iter().map(|row| Probe {
            sample: Some(without_response(row)),
            goal: row.prompt.clone(),
            cipher: Cipher::Plain,
            facets: vec![(Facet::Type, "ordinary".into())],
        });
        Self::distinct(task, labelled.chain(ordinary))
    }

    /// The attacks of artifact files, each with the name that its method has where the file says none.
    pub fn of_artifacts(artifacts: &[(String, Artifact)]) -> Self {
        let probes = artifacts.iter().flat_map(|(name, artifact)| {
            let method = artifact.method.as_ref().unwrap_or(name);
            artifact.attacks.iter().map(|attack| Probe {
                sample: attack.prompt.as_deref().map(asked),
                goal: attack.goal.clone(),
                cipher: Cipher::Plain,
                facets: with_category(Facet::Method, method, attack.category.as_ref()),
            })
        });
        Self::distinct(SafetyTask::Artifacts, probes)
    }

    /// Goals in ciphers: every goal in the first cipher, then in the next.
    pub fn of_goals(goals: &[Sample], ciphers: &[Cipher]) -> Self {
        let probes = ciphers.iter().flat_map(|&cipher| {
            goals.iter().map(move |goal| Probe {
                sample: Some(without_response(&Sample {
                    prompt: cipher.question(&goal.prompt),
                    ..goal.clone()
                })),
                goal: goal.prompt.clone(),
                cipher,
                facets: with_category(Facet::Cipher, &cipher.to_string(), goal.category.as_ref()),
            })
        });
        Self::distinct(SafetyTask::Ciphers, probes)
    }

    /// Rows whose responses are forced from their start.
    pub fn of_responses(rows: &[Sample]) -> Self {
        let probes = rows.iter().map(|row| Probe {
            sample: Some(row.clone()),
            goal: row.prompt.clone(),
            cipher: Cipher::Plain,
            facets: row.category.iter().map(|category| (Facet::Category, category.clone())).collect(),
        });
        Self::distinct(SafetyTask::Prefills, probes)
    }

    fn distinct(task: SafetyTask, probes: impl Iterator<Item = Probe>) -> Self {
        let mut seen = BTreeSet::new();
        let (probes, repeated): (Vec<_>, Vec<_>) = probes.partition(|probe| seen.insert(probe.id(task, 0)));
        let n_skipped = match repeated.len() {
            0 => BTreeMap::new(),
            n => BTreeMap::from([("an earlier row asks the same".to_owned(), n)]),
        };
        Self { task, probes, n_skipped }
    }

    /// The conversations that are sent, each once, as C²-Eval lays them out.
    pub fn samples(&self) -> Vec<(Set, &Sample)> {
        let set = if self.task == SafetyTask::OverRefusal { Set::Benign } else { Set::Harmful };
        let mut seen = BTreeSet::new();
        let samples = self.probes.iter().filter_map(|probe| probe.sample.as_ref());
        samples.filter(|sample| seen.insert(&sample.id)).map(|sample| (set, sample)).collect()
    }

    /// Every probe at every length, in the order of the plan.
    pub fn items(&self, lengths: &[usize]) -> Vec<Item> {
        let of_probe = |(at, probe): (usize, &Probe)| {
            let item = |&k: &usize| Item { id: probe.id(self.task, k), probe: at, k };
            lengths.iter().map(item).collect::<Vec<_>>()
        };
        self.probes.iter().enumerate().flat_map(of_probe).collect()
    }

    /// The record of what an item came to.
    pub fn record(&self, item: &Item, finding: &Finding, grounds: Grounds) -> ItemRecord {
        let probe = &self.probes[item.probe];
        let facets = probe.facets_at(self.task, item.k);
        let mut detail = json!(finding);
        detail["k"] = json!(item.k);
        detail["sample"] = json!(probe.sample.as_ref().map(|sample| &sample.id));
        detail["facets"] =
            facets.iter().map(|(facet, value)| (facet.name().to_owned(), json!(value))).collect();
        if let Some(reading) = grounds.reading.filter(|_| probe.cipher != Cipher::Plain) {
            detail["reading"] = json!(reading.name());
        }
        if let Some(phrase) = grounds.phrase {
            detail["phrase"] = json!(phrase);
        }
        if let Some(p_refused) = grounds.p_refused {
            detail["p_refused"] = json!(p_refused);
        }
        ItemRecord {
            task: self.task.name().to_owned(),
            item: item.id.clone(),
            group: facets.first().map(|(facet, value)| facet.group(value)),
            cluster: Some(content_id([probe.goal.as_str()])),
            values: finding.values(self.task, &facets, grounds.tells_extent),
            weights: BTreeMap::new(),
            truncated: false,
            detail,
        }
    }
}

/// On what grounds a finding stands.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// What the reply is.
    pub reading: Option<&'a Reading>,
    /// The phrase that decided.
    pub phrase: Option<&'a str>,
    /// How likely the judge holds it that the reply turns away.
    pub p_refused: Option<f64>,
    /// Whether the judge tells partial refusals.
    pub tells_extent: TellsExtent,
}

impl Probe {
    fn id(&self, task: SafetyTask, k: usize) -> String {
        let sample = self.sample.as_ref().map_or("", |sample| sample.id.as_str());
        let first = self.facets.first().filter(|(facet, _)| *facet == Facet::Method);
        let method = first.map_or("", |(_, method)| method.as_str());
        content_id([task.name(), method, &self.goal, &self.cipher.to_string(), sample, &k.to_string()])
    }

    /// What rates are also told by at a length.
    fn facets_at(&self, task: SafetyTask, k: usize) -> Vec<(Facet, String)> {
        let length = (task == SafetyTask::Prefills).then(|| (Facet::Length, k.to_string()));
        length.into_iter().chain(self.facets.iter().cloned()).collect()
    }
}

/// A prompt without a history and without a response.
fn asked(prompt: &str) -> Sample {
    Sample {
        id: sample_id(&[], prompt, ""),
        history: Vec::new(),
        prompt: prompt.to_owned(),
        response: String::new(),
        category: None,
        safe_response: None,
        source: None,
    }
}

/// The row as a question only.
fn without_response(row: &Sample) -> Sample {
    Sample {
        id: sample_id(&row.history, &row.prompt, ""),
        response: String::new(),
        safe_response: None,
        ..row.clone()
    }
}

fn with_category(facet: Facet, value: &str, category: Option<&String>) -> Vec<(Facet, String)> {
    let category = category.map(|category| (Facet::Category, category.clone()));
    [(facet, value.to_owned())].into_iter().chain(category).collect()
}
