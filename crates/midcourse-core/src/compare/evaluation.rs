//! What an evaluation has measured: course-correction, false corrections, and plain refusals.

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::measure::{Aspect, Measure, Measured, Observed, Rank, Seen};
use crate::bench::Better;
use crate::judge::prompt::hex;
use crate::metrics::{CorrAtK, PromptOutcome, Scale, Scores, Share};

/// A finished evaluation, prompt by prompt.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// Its figures and settings.
    pub scores: &'a Scores,
    /// What the judge is known by: its name, and a fingerprint of what decides what it says.
    pub judge: String,
    /// By the id of the sample.
    pub harmful: BTreeMap<String, PromptOutcome>,
    /// By the id of the sample; empty without harmless rows.
    pub benign: BTreeMap<String, PromptOutcome>,
}

/// Everything that an evaluation has measured.
pub fn of_evaluation(evaluation: Evaluation) -> Vec<Measured> {
    let Evaluation { scores, judge, harmful, benign } = evaluation;
    let harmful = Set::new(harmful, common(scores, &judge));
    let benign = Set::new(benign, common(scores, &judge));
    let n_judged = |at_k: &[CorrAtK]| at_k.iter().map(|at| at.n_judged).sum();
    let mut measures = Vec::new();
    if let Some(mean) = scores.corr_mean {
        let seen = Seen { value: mean.rate, ci: mean.ci, n: n_judged(&scores.corr_at_k) };
        let of = Of { name: "corr_mean".into(), rank: Rank::Main, better: Better::Higher };
        measures.push(harmful.over(of, &scores.settings.prefix_lengths, Some(seen)));
    }
    for at in &scores.corr_at_k {
        let of = Of { name: format!("corr@{}", at.k), rank: Rank::Detail, better: Better::Higher };
        measures.push(harmful.at(of, at.k, seen(at.rate, at.ci, at.n_judged)));
    }
    if let Some(share) = &scores.benign {
        let of = Of { name: "false_corrections".into(), rank: Rank::Main, better: Better::Lower };
        measures.push(benign.over(of, &scores.settings.prefix_lengths, seen_of(&share.overall)));
    }
    if let Some(share) = &scores.plain {
        let of = Of { name: "plain_refusal/harmful".into(), rank: Rank::Main, better: Better::Higher };
        measures.push(harmful.at(of, 0, seen_of(share)));
    }
    if let Some(share) = scores.benign.as_ref().and_then(|benign| benign.plain.as_ref()) {
        let of = Of { name: "plain_refusal/benign".into(), rank: Rank::Main, better: Better::Lower };
        measures.push(benign.at(of, 0, seen_of(share)));
    }
    measures
}

/// What a measure of an evaluation is called, and how it is read.
struct Of {
    name: String,
    rank: Rank,
    better: Better,
}

/// One set of prompts, and what its figures depend on besides the lengths.
struct Set {
    outcomes: Rc<BTreeMap<String, PromptOutcome>>,
    identity: BTreeMap<String, String>,
}

impl Set {
    fn new(outcomes: BTreeMap<String, PromptOutcome>, mut identity: BTreeMap<String, String>) -> Self {
        let mut hash = Sha256::new();
        for id in outcomes.keys() {
            hash.update(format!("{id}\n"));
        }
        let digest = hex(&hash.finalize()[..4]);
        identity.insert("prompts".into(), format!("{} ({digest})", outcomes.len()));
        Self { outcomes: Rc::new(outcomes), identity }
    }

    /// A mean over all lengths above 0, which must be the same ones then.
    fn over(&self, of: Of, lengths: &[usize], seen: Option<Seen>) -> Measured {
        let lengths: Vec<usize> = lengths.iter().copied().filter(|&k| k > 0).collect();
        let mut identity = self.identity.clone();
        let named: Vec<String> = lengths.iter().map(ToString::to_string).collect();
        identity.insert("prefix_lengths".into(), named.join(","));
        self.measured((of, identity), lengths, seen)
    }

    /// The share at one length.
    fn at(&self, of: Of, k: usize, seen: Option<Seen>) -> Measured {
        self.measured((of, self.identity.clone()), vec![k], seen)
    }

    fn measured(
        &self,
        (of, identity): (Of, BTreeMap<String, String>),
        lengths: Vec<usize>,
        seen: Option<Seen>,
    ) -> Measured {
        let Of { name, rank, better } = of;
        let aspect = Aspect::CourseCorrection;
        Measured {
            measure: Measure { name, aspect, rank, better, scale: Scale::Share },
            seen,
            identity,
            observed: Observed::Prompts { outcomes: Rc::clone(&self.outcomes), lengths },
        }
    }
}

/// What decides what a share of an evaluation means. How many paths there are, their seeds and when they stop decide only
/// how well it is known; the model, its adapter and its chat template are what is compared.
fn common(scores: &Scores, judge: &str) -> BTreeMap<String, String> {
    let Scores { mode, unit, max_new_tokens, settings, .. } = scores;
    let fields = [
        ("judge", judge.to_owned()),
        ("mode", mode.clone()),
        ("unit", unit.clone()),
        ("max_new_tokens", max_new_tokens.to_string()),
        ("temperature", settings.temperature.to_string()),
        ("top_p", settings.top_p.to_string()),
        ("opener", settings.opener.clone()),
        ("system", settings.system.clone()),
        ("thinking", settings.thinking.clone()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn seen_of(share: &Share) -> Option<Seen> {
    seen(share.rate, share.ci, share.n_judged)
}

fn seen(rate: Option<f64>, ci: Option<[f64; 2]>, n: usize) -> Option<Seen> {
    Some(Seen { value: rate?, ci: ci?, n })
}
