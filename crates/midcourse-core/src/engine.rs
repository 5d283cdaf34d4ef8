//! What is asked of a model: to grow paths from a tree of tokens.
//!
//! One prompt's evaluation is a [`Tree`]: a *trunk* (rendered prompt and response) which *forks* leave after
//! some tokens, and from each fork a number of paths grow. An engine computes each distinct token once and
//! lets every token attend to its ancestors only. Engines see token ids, never text. This module holds the
//! contract; the engines live in `midcourse-engine`.

use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

use crate::chat::Message;
use crate::{Error, Result};

/// Index of a token in a model's vocabulary.
pub type TokenId = u32;

/// A trunk of tokens and the forks that leave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Tokens of the rendered prompt and response, at least one, up to the last fork.
    pub trunk: Vec<TokenId>,
    /// Where paths leave the trunk.
    pub forks: Vec<Fork>,
}

/// A place where paths leave the trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Number of trunk tokens that the fork's paths attend to; at least 1.
    pub at: usize,
    /// Given tokens that stand between the trunk and the paths (a new turn's header, a trigger).
    pub lead: Vec<TokenId>,
    /// The paths to grow.
    pub paths: Vec<PathSpec>,
}

/// A path before it has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathSpec {
    /// The caller's name for the path, unique in a run.
    pub id: usize,
    /// Seed of the path's own generator, 31 bits so that servers can carry it.
    pub seed: u32,
}

/// The seed of a path among those that leave one fork: consecutive from `first`, in 31 bits, as servers count
/// seeds up when one request asks for several paths.
pub fn path_seed(first: u32, path: usize) -> u32 {
    first.wrapping_add(path as u32) & SEED_MASK
}

/// Seeds have 31 bits.
pub(crate) const SEED_MASK: u32 = 0x7fff_ffff;

/// How the next token is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Keeps the smallest set of likeliest tokens that holds this probability; 1 keeps all.
    pub top_p: f64,
    /// A path ends after this many new tokens.
    pub max_new_tokens: usize,
}

impl Sampling {
    /// Checks that tokens can be drawn so.
    pub fn check(&self) -> Result<()> {
        let refuse =
            |field, problem: String, hint: &str| Err(Error::Setting { field, problem, hint: hint.into() });
        let Self { temperature, top_p, max_new_tokens } = *self;
        if max_new_tokens == 0 || max_new_tokens > 100_000 {
            let problem = format!("expected 1 to 100000, found {max_new_tokens}");
            return refuse("max-new-tokens", problem, "the paper takes 32 to measure, 128 to synthesise");
        }
        if !(temperature.is_finite() && (temperature == 0.0 || (0.01..=100.0).contains(&temperature))) {
            let problem = format!("expected 0 or 0.01 to 100, found {temperature}");
            return refuse("temperature", problem, "0 takes the likeliest token; the paper takes 0.8");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            let problem = format!("expected a share above 0 and up to 1, found {top_p}");
            return refuse("top-p", problem, "1 keeps every token; the paper takes 0.7");
        }
        Ok(())
    }
}

/// Why a path ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended its turn; the end-of-turn token is not part of the path.
    EndOfTurn,
    /// The limit of new tokens was reached.
    Length,
    /// The [`Forest`] needed no more of it.
    Stopped,
}

/// A path after it has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// The id of its [`PathSpec`].
    pub id: usize,
    /// The sampled tokens and nothing else.
    pub tokens: Vec<TokenId>,
    /// Why it ended.
    pub finish: Finish,
}

impl Finish {
    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndOfTurn => "end_of_turn",
            Self::Length => "length",
            Self::Stopped => "stopped",
        }
    }
}

/// Whether a path needs to grow on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// Sample another token.
    Continue,
    /// What is wanted of the path is known.
    Stop,
}

/// Tokens of work done by one call of [`Continue::grow`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens whose keys and values were computed.
    pub n_computed: usize,
    /// Tokens drawn, the ends of turns among them.
    pub n_sampled: usize,
    /// Requests that a server answered; 0 of an engine in this process.
    pub n_requests: usize,
    /// Tokens that a server was given, counted once a request.
    pub n_prompt: usize,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.n_computed += other.n_computed;
        self.n_sampled += other.n_sampled;
        self.n_requests += other.n_requests;
        self.n_prompt += other.n_prompt;
    }
}

/// Where trees come from and where grown paths go.
pub trait Forest {
    /// The next tree to grow, or none for now: it is asked again as long as trees grow.
    fn plant(&mut self) -> Option<Tree>;

    /// Whether paths that have not begun to grow should be left alone.
    fn stopping(&self) -> bool;

    /// Called after every sampled token with all tokens of the path so far.
    fn grown_by_one(&mut self, id: usize, tokens: &[TokenId]) -> Growth;

    /// Takes paths that have ended; they are recorded when this returns.
    fn harvest(&mut self, paths: Vec<Grown>) -> std::result::Result<(), BoxError>;

    /// Takes a path that the engine could not grow, with the reason in words; it is recorded when this returns. An
    /// engine in this process grows every path.
    fn failed(&mut self, _id: usize, reason: String) -> std::result::Result<(), BoxError> {
        Err(reason.into())
    }

    /// Called as work is done, for progress displays.
    fn progress(&mut self, so_far: Usage);
}

/// An error that an engine passes on without knowing it.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// A model that can go on from inside an open assistant turn.
///
/// A model that can only answer whole conversations does not implement this, and so cannot be evaluated.
pub trait Continue {
    /// Grows every path of every tree that `forest` plants.
    ///
    /// What a path samples depends on its tree and seed alone, not on what grows beside it.
    fn grow(&self, sampling: &Sampling, forest: &mut dyn Forest) -> std::result::Result<Usage, BoxError>;

    /// Tokens of context the model was made for.
    fn context(&self) -> usize;

    /// The `n` likeliest tokens after `tokens`, with natural-log probabilities, likeliest first.
    fn next_tokens(&self, tokens: &[TokenId], n: usize)
    -> std::result::Result<Vec<(TokenId, f64)>, BoxError>;
}

/// A model that tells how likely given tokens are.
pub trait Weigh {
    /// The natural-log probability of every one of `candidates` as the next token, at every fork of `tree` (after
    /// its lead), in the order of the forks. Paths of the forks are ignored.
    ///
    /// What is said of a fork depends on its trunk and lead alone, not on the forks beside it.
    fn weigh(&self, tree: &Tree, candidates: &[TokenId]) -> std::result::Result<Vec<Vec<f64>>, BoxError>;
}

/// How likely a model finds a token of a given text.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The token.
    pub token: TokenId,
    /// Its natural-log probability after the tokens before it.
    pub logprob: f64,
    /// The likeliest tokens in its place with natural-log probabilities, likeliest first.
    pub likeliest: Vec<(TokenId, f64)>,
}

/// A model that tells how likely it finds a text, token by token.
pub trait Score {
    /// Token ids are below this.
    fn vocab(&self) -> usize;

    /// Scores the tokens from number `from` (at least 1) on, with the `n_likeliest` in the place of each.
    ///
    /// # Errors
    /// When the tokens do not fit the context or the model's numbers are not finite, or for a model without
    /// probabilities.
    fn score(
        &self,
        tokens: &[TokenId],
        from: usize,
        n_likeliest: usize,
    ) -> std::result::Result<Vec<Scored>, BoxError>;
}

/// Texts that begin alike, and what of them is to be scored.
///
/// What is said of a branch depends on its trunk and its tokens alone, not on the branches beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The tokens with which all texts begin, at least one.
    pub trunk: Vec<TokenId>,
    /// How the texts go on.
    pub branches: Vec<Branch>,
}

/// A text of a [`Bundle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The caller's name for it, unique in an assessment.
    pub id: usize,
    /// The tokens after the trunk; none where the trunk is the whole text.
    pub tokens: Vec<TokenId>,
    /// Number of the first token that is scored, counted from the start of the trunk; at least 1.
    pub from: usize,
}

/// How likely a model finds the end of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assessed {
    /// The id of its [`Branch`].
    pub id: usize,
    /// Sum of the natural-log probabilities of the scored tokens.
    pub logp: f64,
    /// Whether every scored token is the likeliest in its place.
    pub is_greedy: bool,
}

/// Where texts come from and where their likelihoods go.
pub trait Assessment {
    /// The next bundle, or none when there is none left.
    fn next(&mut self) -> Option<Bundle>;

    /// Whether bundles that have not begun should be left alone.
    fn stopping(&self) -> bool;

    /// Takes what was found of branches; it is recorded when this returns.
    fn take(&mut self, assessed: Vec<Assessed>) -> std::result::Result<(), BoxError>;

    /// Called as work is done, for progress displays.
    fn progress(&mut self, so_far: Usage);
}

/// A model that tells how likely it finds given texts.
pub trait Assess {
    /// Scores every branch of every bundle of `assessment`.
    ///
    /// # Errors
    /// When a text does not fit the context, the model's numbers are not finite, or it tells no probabilities.
    fn assess(&self, assessment: &mut dyn Assessment) -> std::result::Result<Usage, BoxError>;
}

/// A conversation that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The caller's name for it, unique in an interview.
    pub id: usize,
    /// The conversation, a user's message last.
    pub messages: Vec<Message>,
    /// The answer ends after this many tokens.
    pub max_new_tokens: usize,
}

/// What a model answers to a [`Question`].
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The id of its question.
    pub id: usize,
    /// The text of the answer.
    pub text: String,
    /// The likeliest texts of its first token with natural-log probabilities; empty where the model tells none.
    pub first: Vec<(String, f64)>,
    /// What it took.
    pub usage: Usage,
}

/// Where questions come from and where answers go.
pub trait Interview {
    /// The next question, or none for now: it is called again after every answer.
    fn ask(&mut self) -> Option<Question>;

    /// Whether questions that have not been sent should be left alone.
    fn stopping(&self) -> bool;

    /// Takes an answer; it is recorded when this returns.
    fn hear(&mut self, answer: Answer) -> std::result::Result<(), BoxError>;

    /// Takes the reason why the question `id` has no answer and gets none, while others do: it is too long, or the
    /// server does not want to read it.
    fn refused(&mut self, id: usize, reason: &str) -> std::result::Result<(), BoxError>;
}

/// A model that answers whole conversations: enough to judge, not to be evaluated.
pub trait Chat {
    /// Asks every question of `interview`, several at a time; ends when none is asked and none is open.
    fn talk(&self, interview: &mut dyn Interview) -> std::result::Result<(), BoxError>;
}
