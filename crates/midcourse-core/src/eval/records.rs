//! What a run records: trials and judgements, one JSON line each, and what is computed from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PathKey, PlannedSample};
use crate::engine::{Finish, Grown, TokenId};
use crate::judge::rule::TurnKind;
use crate::judge::{Opinion, Verdict};
use crate::metrics::PromptOutcome;

/// Which data a sample comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// Turning away is right.
    Harmful,
    /// Turning away is a false correction.
    Benign,
}

/// What became of one path, or of a prefix that has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which data.
    pub set: Set,
    /// The sample's id.
    pub sample: String,
    /// Length of the prefix.
    pub k: usize,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// A path has grown.
    Grown {
        /// Number of the path at its prefix.
        path: usize,
        /// Its seed.
        seed: u32,
        /// Bytes of the response that were forced.
        prefix_bytes: usize,
        /// The sampled tokens and nothing else.
        token_ids: Vec<TokenId>,
        /// Their text.
        text: String,
        /// Why it ended.
        finish: Finish,
        /// Whether it stopped because the judge had seen it turn.
        stopped_early: bool,
    },
    /// The response is shorter than the prefix.
    Skipped {
        /// Why, in words.
        reason: String,
    },
    /// The engine could not grow the path.
    Failed {
        /// Number of the path at its prefix.
        path: usize,
        /// Why, in words.
        reason: String,
    },
}

impl Trial {
    /// The path as the engine gave it, where it has grown; `id` is its number in the plan.
    pub fn grown(&self, id: usize) -> Option<Grown> {
        match &self.outcome {
            Outcome::Grown { token_ids, finish, .. } => {
                Some(Grown { id, tokens: token_ids.clone(), finish: *finish })
            }
            _ => None,
        }
    }

    /// The path's number, where there is one.
    pub fn path(&self) -> Option<usize> {
        match &self.outcome {
            Outcome::Grown { path, .. } | Outcome::Failed { path, .. } => Some(*path),
            Outcome::Skipped { .. } => None,
        }
    }
}

/// What a judge says of one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Which data.
    pub set: Set,
    /// The sample's id.
    pub sample: String,
    /// Length of the prefix.
    pub k: usize,
    /// Number of the path at its prefix.
    pub path: usize,
    /// The judge's name.
    pub judge: String,
    /// What it says.
    pub verdict: Verdict,
    /// Sampled tokens before the turn begins.
    pub turn_token: Option<usize>,
    /// Byte of the text where the turn begins.
    pub turn_byte: Option<usize>,
    /// What kind of turn.
    pub kind: Option<TurnKind>,
    /// The phrase that decided.
    pub phrase: Option<String>,
    /// How likely the judge holds it that the path turns; left out where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_corrected: Option<f64>,
    /// What the judge wrote, in part, or why it could not be asked; left out where it writes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Which path is judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JudgedPath {
    /// Which data.
    pub set: Set,
    /// The sample's id.
    pub sample: String,
    /// Length of the prefix.
    pub k: usize,
    /// Number of the path at its prefix.
    pub path: usize,
}

impl Judgement {
    /// The record of an opinion; `turn_token` is the number of sampled tokens before the turn, where that is known.
    pub fn new(path: JudgedPath, judge: &str, opinion: Opinion, turn_token: Option<usize>) -> Self {
        let JudgedPath { set, sample, k, path } = path;
        let Opinion { verdict, turn, p_corrected, answer } = opinion;
        Self {
            set,
            sample,
            k,
            path,
            judge: judge.to_owned(),
            verdict,
            turn_token,
            turn_byte: turn.map(|turn| turn.at),
            kind: turn.map(|turn| turn.kind),
            phrase: turn.map(|turn| turn.phrase.to_owned()),
            p_corrected,
            answer,
        }
    }

    /// The path it is about.
    pub fn judged(&self) -> JudgedPath {
        JudgedPath { set: self.set, sample: self.sample.clone(), k: self.k, path: self.path }
    }
}

/// A sample as the figures know it: its set, its id and its category.
pub type SampleName<'a> = (Set, &'a str, Option<&'a str>);

/// The outcomes of every prompt of one set, for the figures, in the order of `samples`.
///
/// `trials` hold a record for every path and one for every prefix that was skipped.
pub fn outcomes<'a>(
    set: Set,
    samples: impl IntoIterator<Item = SampleName<'a>>,
    trials: impl IntoIterator<Item = &'a Trial>,
    judgements: &[Judgement],
) -> Vec<PromptOutcome> {
    let mut order = Vec::new();
    let mut by_id: BTreeMap<&str, PromptOutcome> = BTreeMap::new();
    for (_, id, category) in samples.into_iter().filter(|sample| sample.0 == set) {
        by_id.entry(id).or_insert_with(|| {
            order.push(id);
            PromptOutcome::new(category.map(str::to_owned))
        });
    }
    for trial in trials.into_iter().filter(|trial| trial.set == set) {
        let Some(outcome) = by_id.get_mut(trial.sample.as_str()) else { continue };
        match trial.outcome {
            Outcome::Skipped { .. } => outcome.record_skipped(trial.k),
            Outcome::Failed { .. } => outcome.record_failed(trial.k),
            Outcome::Grown { .. } => {}
        }
    }
    for judgement in judgements.iter().filter(|j| j.set == set) {
        if let Some(outcome) = by_id.get_mut(judgement.sample.as_str()) {
            outcome.record(judgement.k, judgement.verdict, judgement.turn_token);
        }
    }
    order.into_iter().filter_map(|id| by_id.remove(id)).collect()
}

/// Distinct tokens that the trials of one sample need computed: nodes of the trie of whole conversations.
///
/// A path's last token is only drawn, unless the end of the turn was drawn after it.
pub fn distinct_tokens<'a>(
    sample: &PlannedSample,
    grown: impl Iterator<Item = (PathKey, &'a [TokenId], Finish)>,
) -> usize {
    let mut children: BTreeMap<(usize, TokenId), usize> = BTreeMap::new();
    let mut n_nodes = 0;
    let mut walk = |tokens: &mut dyn Iterator<Item = TokenId>| {
        tokens.fold(0, |parent, token| {
            *children.entry((parent, token)).or_insert_with(|| {
                n_nodes += 1;
                n_nodes
            })
        });
    };
    for (key, tokens, finish) in grown {
        let Some(fork) = sample.planned(key.length) else { continue };
        let computed =
            if finish == Finish::EndOfTurn { tokens.len() } else { tokens.len().saturating_sub(1) };
        walk(&mut sample.trunk.iter().copied());
        walk(&mut sample.input(fork).into_iter().chain(tokens[..computed].iter().copied()));
    }
    n_nodes
}
