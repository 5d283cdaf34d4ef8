//! What tells the better answer of a pair from the worse one without understanding either.
//!
//! Four cues are looked at: the first words, the length, the ending and the layout ([`Cue`]). A deliberately trivial
//! classifier (Bradley–Terry: logistic regression on differences of features, see [`regression`]) learns from the
//! pairs of some prompts which of two answers is the better one, and is tried on those of the others. Where it does
//! well, training may teach the cue instead of the turn. It says nothing of cues that take more than a look, such as
//! the vocabulary of another author.
//!
//! Rates are over pairs, intervals over prompts; a pair that the classifier cannot tell apart counts half.

mod features;
mod regression;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Ranking, n_pairs};
use crate::chat::Message;
use crate::eval::Set;
use crate::metrics;
use features::{Feature, Surface};
use regression::Row;

/// Accuracy above which a classifier that understands nothing is said to have found a leak.
pub const LEAK_ABOVE: f64 = 0.65;

/// Most rankings that are looked at; more leave the interval as wide as other errors anyway.
pub const MAX_RANKINGS: usize = 5_000;

/// Parts of the prompts, of which each is tried once and learned from otherwise.
const N_FOLDS: u64 = 5;

/// Most features that are told in words.
const MAX_TELLING: usize = 8;

/// Something that shows of an answer without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cue {
    /// Its first one, two and three words; after the opener, where all answers of a ranking begin with that.
    Opening,
    /// Characters and words of it.
    Length,
    /// Where it ends, and with which mark. Whose end it is a text does not say, but its style may.
    Ending,
    /// Whether it has line breaks and a list.
    Layout,
}

impl Cue {
    /// Every cue.
    pub const ALL: [Self; 4] = [Self::Opening, Self::Length, Self::Ending, Self::Layout];
}

/// How often a classifier picks the better answer of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Share of the pairs in [0, 1]; null without pairs. One half is chance.
    pub rate: Option<f64>,
    /// Its 95 % interval over prompts.
    pub ci: Option<[f64; 2]>,
    /// Pairs it was tried on: the denominator.
    pub n_pairs: usize,
}

/// How often it does on each kind of ranking, always on prompts that it has not learned from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracies {
    /// On all pairs, having learned from all rankings.
    pub all: Accuracy,
    /// The same classifier on the harmful rankings.
    pub harmful: Accuracy,
    /// The same classifier on the contrast rankings.
    pub benign: Accuracy,
    /// On the harmful rankings, having learned from harmful ones only: what training without contrast rankings meets.
    pub harmful_alone: Accuracy,
}

/// What a classifier reaches that sees one cue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CueAccuracy {
    /// The cue.
    pub cue: Cue,
    /// What it reaches.
    #[serde(flatten)]
    pub accuracies: Accuracies,
}

/// A feature that alone goes far towards telling the better answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Telling {
    /// The cue it belongs to.
    pub cue: Cue,
    /// The feature in words, such as `begins with “i'm sorry”`. The words of an answer in it are hostile text.
    pub feature: String,
    /// Pairs of which one answer has it and the other has not.
    pub n_pairs: usize,
    /// Share of these in which the answer that has it is the better one.
    pub chosen: f64,
}

/// What can be told of pairs without understanding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StyleLeak {
    /// Rankings of the run.
    pub n_rankings_total: usize,
    /// Those that were looked at: at most [`MAX_RANKINGS`], chosen by a hash of their prompts.
    pub n_rankings: usize,
    /// Contrast rankings among these.
    pub n_benign: usize,
    /// Distinct prompts among these.
    pub n_prompts: usize,
    /// What each cue reaches.
    pub by_cue: Vec<CueAccuracy>,
    /// What all cues reach together.
    pub together: Accuracies,
    /// The features that explain most pairs, the first most.
    pub telling: Vec<Telling>,
    /// Those that explain most pairs of the harmful rankings alone.
    pub telling_alone: Vec<Telling>,
    /// Accuracy above which it is called a leak.
    pub leak_above: f64,
    /// Whether a cue, or all together, are above that on all pairs.
    pub leaks: bool,
    /// What can be done against it, in sentences; empty where nothing leaks.
    pub hints: Vec<String>,
}

/// Rankings on their way to a [`StyleLeak`]: takes them in any order and keeps little of each.
#[derive(Debug, Clone, Default)]
pub struct StyleCheck {
    n_rankings: usize,
    /// By hash of the prompt, then by place in the run: the first [`MAX_RANKINGS`] are a sample without favour.
    kept: BTreeMap<(u64, usize), Seen>,
}

/// What is kept of a ranking.
#[derive(Debug, Clone)]
struct Seen {
    set: Set,
    /// Best first.
    answers: Vec<Surface>,
}

impl StyleCheck {
    /// Looks at a ranking.
    pub fn add(&mut self, ranking: &Ranking) {
        self.n_rankings += 1;
        let key = (prompt_hash(&ranking.prompt), ranking.index);
        if self.kept.len() == MAX_RANKINGS && self.kept.last_key_value().is_some_and(|(last, _)| *last < key)
        {
            return;
        }
        self.kept.insert(key, Seen { set: ranking.set, answers: features::surfaces(ranking) });
        if self.kept.len() > MAX_RANKINGS {
            self.kept.pop_last();
        }
    }

    /// What can be told; equal rankings and seeds give equal figures, whatever their order was.
    pub fn finish(&self, seed: u64) -> StyleLeak {
        let by_cue = Cue::ALL.map(|cue| CueAccuracy { cue, accuracies: self.accuracies(&[cue], seed) });
        let prompts = self.kept.keys().map(|(prompt, _)| prompt);
        let leak = StyleLeak {
            n_rankings_total: self.n_rankings,
            n_rankings: self.kept.len(),
            n_benign: self.kept.values().filter(|seen| seen.set == Set::Benign).count(),
            n_prompts: prompts.collect::<std::collections::BTreeSet<_>>().len(),
            by_cue: by_cue.to_vec(),
            together: self.accuracies(&Cue::ALL, seed),
            telling: telling(self.kept.values()),
            telling_alone: telling(self.kept.values().filter(|seen| seen.set == Set::Harmful)),
            leak_above: LEAK_ABOVE,
            leaks: false,
            hints: Vec::new(),
        };
        let leaks = leak.by_cue.iter().map(|c| c.accuracies.all).chain([leak.together.all]).any(is_leak);
        StyleLeak { leaks, hints: if leaks { hints(&leak) } else { Vec::new() }, ..leak }
    }

    /// What a classifier reaches that sees these cues.
    fn accuracies(&self, cues: &[Cue], seed: u64) -> Accuracies {
        let rankings: Vec<Vec<Row>> = features::rows(self.kept.values().map(|seen| &*seen.answers), cues);
        let every: Vec<Tried> = self.kept.iter().zip(&rankings).map(tried).collect();
        let harmful: Vec<Tried> = every.iter().filter(|tried| tried.set == Set::Harmful).copied().collect();
        let hits = cross_fitted(&every);
        // Without contrast rankings both have learned from the same.
        let hits_alone = if harmful.len() == every.len() { hits.clone() } else { cross_fitted(&harmful) };
        let of = |set: Set| hits.iter().filter(move |hits| hits.set == set);
        Accuracies {
            all: accuracy(&hits, seed),
            harmful: accuracy(of(Set::Harmful), seed),
            benign: accuracy(of(Set::Benign), seed),
            harmful_alone: accuracy(&hits_alone, seed),
        }
    }
}

/// The features that tell a hundredth of the pairs beyond chance, those that tell most first.
fn telling<'a>(rankings: impl Iterator<Item = &'a Seen>) -> Vec<Telling> {
    let (mut pairs, mut n_all) = (BTreeMap::new(), 0);
    for seen in rankings {
        n_all += n_pairs(seen.answers.len());
        count_differing(&seen.answers, &mut pairs);
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    // Of beginnings that tell as much, the longest says most.
    pairs.sort_by(|(a, n_a), (b, n_b)| n_b.explains().cmp(&n_a.explains()).then(b.cmp(a)));
    let mut telling: Vec<(Feature, Count)> = Vec::new();
    for (feature, count) in pairs {
        let is_new = !telling.iter().any(|(told, _)| told.is_nested(&feature));
        if is_new && telling.len() < MAX_TELLING && 50 * count.explains() >= n_all {
            telling.push((feature, count));
        }
    }
    let told = |(feature, Count { n_chosen, n_pairs }): (Feature, Count)| Telling {
        cue: feature.cue(),
        feature: feature.to_string(),
        n_pairs,
        chosen: n_chosen as f64 / n_pairs as f64,
    };
    telling.into_iter().map(told).collect()
}

/// A ranking to learn from or to be tried on.
#[derive(Clone, Copy)]
struct Tried<'a> {
    prompt: u64,
    set: Set,
    answers: &'a [Row],
}

fn tried<'a>(((key, seen), answers): ((&(u64, usize), &Seen), &'a Vec<Row>)) -> Tried<'a> {
    Tried { prompt: key.0, set: seen.set, answers }
}

/// How a classifier did on the pairs of a ranking.
#[derive(Debug, Clone, Copy)]
struct Hits {
    prompt: u64,
    set: Set,
    n_right: f64,
    n_pairs: usize,
}

/// Tries the pairs of every ranking on a classifier that has learned from other prompts.
fn cross_fitted(rankings: &[Tried]) -> Vec<Hits> {
    let mut hits = Vec::with_capacity(rankings.len());
    for fold in 0..N_FOLDS {
        let (held_out, learned): (Vec<Tried>, Vec<Tried>) =
            rankings.iter().partition(|ranking| ranking.prompt % N_FOLDS == fold);
        let learned: Vec<&[Row]> = learned.iter().map(|ranking| ranking.answers).collect();
        let weights = regression::fit(&learned);
        hits.extend(held_out.iter().map(|ranking| Hits {
            prompt: ranking.prompt,
            set: ranking.set,
            n_right: regression::n_right(ranking.answers, &weights),
            n_pairs: n_pairs(ranking.answers.len()),
        }));
    }
    hits
}

fn accuracy<'a>(hits: impl IntoIterator<Item = &'a Hits>, seed: u64) -> Accuracy {
    let mut prompts: BTreeMap<u64, (f64, usize)> = BTreeMap::new();
    for hit in hits {
        let (n_right, n_pairs) = prompts.entry(hit.prompt).or_default();
        *n_right += hit.n_right;
        *n_pairs += hit.n_pairs;
    }
    let estimate = metrics::share_over_prompts(prompts.values().map(|(right, n)| [*right, *n as f64]), seed);
    Accuracy {
        rate: estimate.map(|estimate| estimate.rate),
        ci: estimate.map(|estimate| estimate.ci),
        n_pairs: prompts.values().map(|(_, n)| n).sum(),
    }
}

fn is_leak(accuracy: Accuracy) -> bool {
    accuracy.rate.is_some_and(|rate| rate > LEAK_ABOVE)
}

/// Pairs that differ in a feature.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    n_chosen: usize,
    n_pairs: usize,
}

impl Count {
    /// Pairs that the feature tells beyond chance, twice.
    fn explains(self) -> usize {
        (2 * self.n_chosen).abs_diff(self.n_pairs)
    }
}

/// Counts, for every feature, the pairs of which the better answer has more of it, and the worse.
fn count_differing<'a>(answers: &'a [Surface], pairs: &mut BTreeMap<Feature<'a>, Count>) {
    let features: Vec<BTreeMap<Feature, f64>> = answers.iter().map(|a| a.features().collect()).collect();
    for (better, chosen) in features.iter().enumerate() {
        for rejected in &features[better + 1..] {
            let distinct =
                chosen.keys().chain(rejected.keys().filter(|feature| !chosen.contains_key(feature)));
            for feature in distinct.filter(|feature| feature.is_told()) {
                let of = |answer: &BTreeMap<Feature, f64>| answer.get(feature).copied().unwrap_or(0.0);
                let order = of(chosen).total_cmp(&of(rejected));
                if order.is_ne() {
                    let count = pairs.entry(*feature).or_default();
                    count.n_pairs += 1;
                    count.n_chosen += usize::from(order.is_gt());
                }
            }
        }
    }
}

/// The first eight bytes of SHA-256 over the conversation; each text stands after its length.
fn prompt_hash(prompt: &[Message]) -> u64 {
    let mut hash = Sha256::new();
    for message in prompt {
        for text in [message.role.name(), &message.content] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hash.finalize().iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

/// What can be done against a leak.
fn hints(leak: &StyleLeak) -> Vec<String> {
    let tells = |cue: Cue| leak.by_cue.iter().any(|by| by.cue == cue && is_leak(by.accuracies.all));
    let n_harmful = leak.n_rankings - leak.n_benign;
    let mut hints = Vec::new();
    if tells(Cue::Opening) {
        hints.push(
            "The first words give the better answer away: `--opener shared` lets all answers begin alike."
                .into(),
        );
    }
    if leak.n_benign == 0 {
        hints.push("Without contrast rankings every mark of a refusal is a mark of the better answer: `--benign FILE` adds harmless prompts, whose better answers do not turn.".into());
    } else if 2 * leak.n_benign < n_harmful || 2 * n_harmful < leak.n_benign {
        hints.push(format!("Cues cancel where both kinds of ranking are as many; here {n_harmful} are harmful and {} are contrast rankings: give more rows of the other kind.", leak.n_benign));
    }
    if tells(Cue::Length) || tells(Cue::Ending) {
        hints.push("Length or ending give the better answer away: a larger `--max-new-tokens` lets more answers end by themselves.".into());
    }
    if tells(Cue::Layout) {
        hints.push("Line breaks and lists give the better answer away: take harmless rows whose responses are laid out like the harmful ones.".into());
    }
    if hints.is_empty() {
        hints.push("No cue alone gives the better answer away, but all together do: `--opener shared` and more contrast rankings (`--benign FILE`) leave them less to go by.".into());
    }
    hints
}

#[cfg(test)]
mod tests;
