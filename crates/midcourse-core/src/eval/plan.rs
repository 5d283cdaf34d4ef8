//! The plan of a run: every sample as a tree, every path with its seed, before anything is sampled.

use sha2::{Digest, Sha256};

use super::{EvalSettings, Outcome, Set, Trial, Unit};
use crate::chat::Message;
use crate::data::Sample;
use crate::engine::{Fork, PathSpec, SEED_MASK, TokenId, Tree, path_seed};
use crate::template::{ChatTemplate, Prefill, Proof, Sent, Tokenizer, prefill_after};
use crate::{Error, Result};

/// One sample, laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSample {
    /// Harmful or benign.
    pub set: Set,
    /// The sample's id.
    pub id: String,
    /// The row's category.
    pub category: Option<String>,
    /// What was said before the prompt.
    pub history: Vec<Message>,
    /// The user's text, the last one.
    pub prompt: String,
    /// The response with its opener, as the template writes it: what prefixes are cut from.
    pub response: String,
    /// Tokens of the response.
    pub n_response_tokens: usize,
    /// Special-token strings of the row that were kept as text.
    pub n_special_as_text: usize,
    /// Whether the template changed the response, which was allowed.
    pub rewritten: bool,
    /// The shared trunk, up to the last fork.
    pub trunk: Vec<TokenId>,
    /// A fork or a reason for its absence, for every length of the settings.
    pub forks: Vec<(usize, Prefixes)>,
}

/// What became of one prefix length of one sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Prefixes {
    /// Paths grow here.
    Planned(PlannedFork),
    /// The response is too short; the reason in words.
    Skipped(String),
    /// The engine cannot take it; the reason in words.
    Failed(String),
}

/// A fork with what is recorded of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFork {
    /// Trunk tokens before the fork.
    pub at: usize,
    /// Given tokens after the trunk.
    pub lead: Vec<TokenId>,
    /// Bytes of the response that are forced.
    pub prefix_bytes: usize,
    /// Seed of path 0; path i has this plus i, in 31 bits.
    pub seed: u32,
    /// What was checked of the model input; none at k = 0, where nothing is forced.
    pub proof: Option<Proof>,
    /// Whether the model is given the text of the input, which it divides into other tokens.
    pub retokenised: bool,
}

/// Which path of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathKey {
    /// Index of the sample in the plan.
    pub sample: usize,
    /// Index of the length in the settings.
    pub length: usize,
    /// Number of the path at its fork.
    pub path: usize,
}

impl PathKey {
    /// The path's number in plan order.
    pub fn id(self, settings: &EvalSettings) -> usize {
        (self.sample * settings.prefix_lengths.len() + self.length) * settings.paths + self.path
    }

    /// The path with this number.
    pub fn of(id: usize, settings: &EvalSettings) -> Self {
        let (fork, path) = (id / settings.paths, id % settings.paths);
        let n_lengths = settings.prefix_lengths.len();
        Self { sample: fork / n_lengths, length: fork % n_lengths, path }
    }
}

/// Lays out one sample.
///
/// `context` is the number of tokens that the engine can take.
///
/// # Errors
/// When the template cannot render the row, or a prefix cannot be proved to be one.
pub fn plan(
    (set, sample): (Set, &Sample),
    settings: &EvalSettings,
    (template, tokenizer): (&ChatTemplate, &dyn Tokenizer),
    context: usize,
) -> Result<PlannedSample> {
    let chance = hash(settings.seed, &sample.id, None);
    let response = settings.opener.apply(chance, &sample.response);
    let asked = (&sample.messages()[..], response.as_str());
    let rendered = prefill_after(template, tokenizer, asked, settings.mode)?;
    let planner = Planner { settings, tokenizer, context, rendered: &rendered, sample };
    let forks = settings.prefix_lengths.iter().map(|&k| Ok((k, planner.fork(k)?)));
    let forks: Vec<_> = forks.collect::<Result<_>>()?;
    let planned = forks.iter().filter_map(|(_, fork)| match fork {
        Prefixes::Planned(fork) => Some(fork.at),
        _ => None,
    });
    let trunk_len = planned.max().unwrap_or(0);
    Ok(PlannedSample {
        set,
        id: sample.id.clone(),
        category: sample.category.clone(),
        history: sample.history.clone(),
        prompt: sample.prompt.clone(),
        n_response_tokens: rendered.n_response_tokens(),
        n_special_as_text: rendered.n_special_as_text,
        rewritten: rendered.rewritten,
        response: rendered.response().to_owned(),
        trunk: rendered.ids[..trunk_len].to_vec(),
        forks,
    })
}

impl PlannedSample {
    /// The tree of those paths for which `wanted` holds; none when there are none.
    pub fn tree(
        &self,
        index: usize,
        settings: &EvalSettings,
        wanted: impl Fn(PathKey) -> bool,
    ) -> Option<Tree> {
        let fork = |(length, (_, prefixes)): (usize, &(usize, Prefixes))| {
            let Prefixes::Planned(fork) = prefixes else { return None };
            let keys = (0..settings.paths).map(|path| PathKey { sample: index, length, path });
            let paths: Vec<_> = keys
                .filter(|key| wanted(*key))
                .map(|key| PathSpec { id: key.id(settings), seed: fork.path_seed(key.path) })
                .collect();
            (!paths.is_empty()).then(|| Fork { at: fork.at, lead: fork.lead.clone(), paths })
        };
        let forks: Vec<_> = self.forks.iter().enumerate().filter_map(fork).collect();
        (!forks.is_empty()).then(|| Tree { trunk: self.trunk.clone(), forks })
    }

    /// Records for the lengths at which no path grows: one for a skipped prefix, one a path for a failed one.
    pub fn without_paths(&self, index: usize, settings: &EvalSettings) -> Vec<(PathKey, Trial)> {
        let mut records = Vec::new();
        for (length, (k, prefixes)) in self.forks.iter().enumerate() {
            let mut record = |path, outcome| {
                let trial = Trial { set: self.set, sample: self.id.clone(), k: *k, outcome };
                records.push((PathKey { sample: index, length, path }, trial));
            };
            match prefixes {
                Prefixes::Planned(_) => {}
                Prefixes::Skipped(reason) => record(0, Outcome::Skipped { reason: reason.clone() }),
                Prefixes::Failed(reason) => (0..settings.paths)
                    .for_each(|path| record(path, Outcome::Failed { path, reason: reason.clone() })),
            }
        }
        records
    }

    /// The fork of a length, where paths grow.
    pub fn planned(&self, length: usize) -> Option<&PlannedFork> {
        match &self.forks.get(length)?.1 {
            Prefixes::Planned(fork) => Some(fork),
            _ => None,
        }
    }

    /// The tokens a model is given at a fork.
    pub fn input(&self, fork: &PlannedFork) -> Vec<TokenId> {
        [&self.trunk[..fork.at], &fork.lead].concat()
    }
}

impl PlannedFork {
    /// The seed of a path: consecutive, so that one request for several paths can carry it.
    pub fn path_seed(&self, path: usize) -> u32 {
        path_seed(self.seed, path)
    }
}

/// A number that depends on run, sample and length.
fn hash(seed: u64, sample: &str, k: Option<usize>) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(sample.as_bytes());
    hash.update(k.map_or(u64::MAX, |k| k as u64).to_le_bytes());
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |n, &byte| n << 8 | u64::from(byte))
}

struct Planner<'a> {
    settings: &'a EvalSettings,
    tokenizer: &'a dyn Tokenizer,
    context: usize,
    rendered: &'a Prefill,
    sample: &'a Sample,
}

impl Planner<'_> {
    fn fork(&self, k: usize) -> Result<Prefixes> {
        let (at, lead, prefix_tokens) = if k == 0 {
            let (at, lead) = self.plain()?;
            (at, lead, 0)
        } else {
            let Some(n_tokens) = self.prefix_tokens(k) else {
                return Ok(Prefixes::Skipped(self.too_short()));
            };
            (self.rendered.prefix_start + n_tokens, self.rendered.lead.clone(), n_tokens)
        };
        let needed = at + lead.len() + self.settings.sampling.max_new_tokens;
        if needed > self.context {
            let reason = format!("needs {needed} tokens of context, the model has {}", self.context);
            return Ok(Prefixes::Failed(reason));
        }
        let retokenised = match self.tokenizer.sent(&[&self.rendered.ids[..at], &lead].concat()) {
            Sent::AsPlanned => false,
            Sent::Retokenised => true,
            Sent::Impossible(reason) => return Ok(Prefixes::Failed(reason)),
        };
        let seed = hash(self.settings.seed, &self.sample.id, Some(k)) as u32 & SEED_MASK;
        let prefix_bytes = self.rendered.prefix_bytes(prefix_tokens);
        let proof = (k > 0).then(|| self.proof(prefix_tokens)).transpose()?;
        let must_hold = self.settings.mode == crate::template::Mode::OpenTurn;
        if let Some(proof) = proof.filter(|proof| must_hold && !proof.holds()) {
            if self.is_normalised(prefix_bytes)? {
                let reason =
                    "the tokenizer writes the prefix otherwise: it normalises accents or white space";
                return Ok(Prefixes::Failed(reason.into()));
            }
            return Err(self.unproved(&format!("the model would not see the prefix it is given: {proof:?}")));
        }
        Ok(Prefixes::Planned(PlannedFork { at, lead, prefix_bytes, seed, proof, retokenised }))
    }

    /// Tokens of the response that make up `k` units; none when it is shorter.
    fn prefix_tokens(&self, k: usize) -> Option<usize> {
        match self.settings.unit {
            Unit::Tokens => (k <= self.rendered.n_response_tokens()).then_some(k),
            Unit::Words => self.rendered.tokens_of_words(k),
        }
    }

    fn too_short(&self) -> String {
        let n = match self.settings.unit {
            Unit::Tokens => self.rendered.n_response_tokens(),
            Unit::Words => self.rendered.text[self.rendered.response_at..].split_whitespace().count(),
        };
        format!("the response has {n} {}", self.settings.unit.name())
    }

    /// Where the plain answer leaves the trunk, and what it begins with: a template may open an empty turn
    /// otherwise than one that it fills.
    fn plain(&self) -> Result<(usize, Vec<TokenId>)> {
        let Prefill { plain, ids, .. } = self.rendered;
        let at = plain.iter().zip(ids).take_while(|(a, b)| a == b).count();
        if at == 0 {
            return Err(self.unproved("the plain question and the prefilled answer begin differently"));
        }
        Ok((at, plain[at..].to_vec()))
    }

    /// Whether the tokenizer gives back another text than that of the prefix: then no model that has it can be
    /// given this one.
    fn is_normalised(&self, prefix_bytes: usize) -> Result<bool> {
        let response = &self.rendered.text[self.rendered.response_at..];
        // The bytes may end within a character.
        let end = (prefix_bytes..response.len()).find(|&end| response.is_char_boundary(end));
        let prefix = &response[..end.unwrap_or(response.len())];
        let whole = 0..prefix.len();
        let encoded = self.tokenizer.encode(prefix, std::slice::from_ref(&whole));
        let decoded = encoded.and_then(|encoded| self.tokenizer.decode(&encoded.ids));
        let decoded = decoded.map_err(|e| self.unproved(&e.to_string()))?;
        Ok(decoded.trim_start() != prefix.trim_start())
    }

    fn proof(&self, n_tokens: usize) -> Result<Proof> {
        self.rendered.proof(self.tokenizer, n_tokens).map_err(|e| self.unproved(&e.to_string()))
    }

    fn unproved(&self, problem: &str) -> Error {
        Error::Prefill {
            sample: self.sample.id.clone(),
            problem: problem.to_owned(),
            hint: "see what the model is given with `midcourse probe`; another chat template may help".into(),
        }
    }
}
