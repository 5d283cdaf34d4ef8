//! What a server is, and which of its ways to go on is a true prefill: looked at before anything is measured.
//!
//! A server is recognised by what it says of itself. Then every [`Protocol`] that it may know is tried, best first,
//! until one is proved: the server tells the token ids or the text that its model was given, or how many tokens
//! they were, and else continues words that are cut in the middle. One that opens a new turn, repeats the prefix or
//! reads another number of tokens than it was sent is never evaluated.

mod discovery;
mod proof;

use serde::{Deserialize, Serialize};

pub use self::discovery::{Discovery, Kind};
use self::proof::{Refusal, Trial};
use super::dispatcher::Dispatcher;
use super::protocol::Protocol;
use super::text::ModelText;
use crate::Error;

/// How a server is asked to go on, as people choose it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrefillChoice {
    /// The best that is proved.
    #[default]
    Auto,
    /// Token ids, to `/v1/completions` or llama.cpp's `/completion`.
    TokenIds,
    /// `continue_final_message` of `/v1/chat/completions`.
    ContinueFinalMessage,
    /// `prefix` on the last message.
    PrefixFlag,
    /// The assistant's message last.
    TrailingAssistant,
}

/// By what it was proved that the model goes on from inside its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The server tells the token ids that its model was given: those that were sent, or such as end with the
    /// prefix.
    PromptIds,
    /// It tells their text, which ends with the prefix byte for byte.
    PromptText,
    /// It tells their number, which is that of the ids that were sent.
    TokenCount,
    /// Words that were cut in the middle were continued, and no tokens were spent on another turn as far as the
    /// server tells.
    CutWords,
}

/// What seeds do at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seeds {
    /// The same seed gives the same path, and the paths of a request count it up.
    CountedUp,
    /// The same seed gives the same path in a request of its own only.
    Single,
    /// The same seed gives other paths.
    Ignored,
}

/// What was found out about a server and the model there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// What the server is.
    pub server: Kind,
    /// Its version, where it tells.
    pub version: Option<String>,
    /// The model as it is asked for.
    pub model: String,
    /// The name under which it answers.
    pub served_as: Option<String>,
    /// Tokens of context, where the server tells.
    pub context: Option<usize>,
    /// How it is asked to go on.
    pub protocol: Protocol,
    /// By what that was proved.
    pub evidence: Evidence,
    /// Prefixes that were tried.
    pub n_checked: usize,
    /// Whether the tokenizer at hand was found to be the server's on sample texts; null where the server has
    /// no way to ask, or no tokenizer is at hand.
    pub tokenizer_agrees: Option<bool>,
    /// Whether the server tells the ids of sampled tokens; else they are its text, encoded again.
    pub tells_token_ids: bool,
    /// Most paths that one request asks for; null where the server sets no limit.
    pub paths_per_request: Option<usize>,
    /// Paths that the server grows at once, where it tells; more of them at a time would wait there for each other.
    pub slots: Option<usize>,
    /// What seeds do.
    pub seeds: Seeds,
    /// Whether white space at the end of a prefix is kept; token ids keep it by themselves.
    pub keeps_trailing_space: bool,
}

impl PrefillChoice {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::TokenIds => "token-ids",
            Self::ContinueFinalMessage => "continue-final-message",
            Self::PrefixFlag => "prefix-flag",
            Self::TrailingAssistant => "trailing-assistant",
        }
    }

    /// Whether token ids are among what is tried.
    pub fn may_send_ids(self) -> bool {
        matches!(self, Self::Auto | Self::TokenIds)
    }

    /// What to try at a server, in this order.
    fn protocols(self, kind: Kind, has_tokenizer: bool) -> Vec<Protocol> {
        use Protocol::{
            Completions, ContinueFinalMessage, LlamaCompletion, OllamaChat, PrefixFlag, TrailingAssistant,
        };
        let with_ids = if kind == Kind::LlamaCpp { LlamaCompletion } else { Completions };
        let trailing = if kind == Kind::Ollama { OllamaChat } else { TrailingAssistant };
        let ids = has_tokenizer.then_some(with_ids).into_iter();
        match (self, kind) {
            (Self::TokenIds, _) => ids.collect(),
            (Self::ContinueFinalMessage, _) => vec![ContinueFinalMessage],
            (Self::PrefixFlag, _) | (Self::Auto, Kind::Mistral | Kind::DeepSeek) => vec![PrefixFlag],
            (Self::TrailingAssistant, _) | (Self::Auto, Kind::Ollama) => vec![trailing],
            (Self::Auto, Kind::LlamaCpp) => ids.chain([trailing]).collect(),
            (Self::Auto, Kind::Midcourse | Kind::Vllm | Kind::Sglang) => {
                ids.chain([ContinueFinalMessage]).collect()
            }
            (Self::Auto, Kind::Other) => {
                ids.chain([ContinueFinalMessage, PrefixFlag, TrailingAssistant]).collect()
            }
        }
    }
}

/// Looks at every replica, and proves how the first can be asked to go on, and that the others can so too.
///
/// # Errors
/// [`Error::EndpointCannot`] when no way to go on is proved, [`Error::Endpoint`] when a server does not answer as it
/// should.
pub fn survey(
    dispatcher: &Dispatcher,
    model: Option<&str>,
    choice: PrefillChoice,
    text: Option<&ModelText>,
) -> Result<Survey, Error> {
    let survey = of_replica(dispatcher, 0, (model, text), |kind| choice.protocols(kind, text.is_some()))?;
    (1..dispatcher.clients().len()).try_fold(survey, |first, replica| {
        let wanted = (Some(first.model.as_str()), text);
        let other = of_replica(dispatcher, replica, wanted, |_| vec![first.protocol])?;
        first.and(&other).map_err(|difference| Error::EndpointCannot {
            problem: format!(
                "{}: expected a replica of {}, found another {difference}",
                dispatcher.clients()[replica].address(),
                dispatcher.clients()[0].address()
            ),
            hint: "replicas serve the same model with the same server".into(),
        })
    })
}

fn of_replica(
    dispatcher: &Dispatcher,
    replica: usize,
    (model, text): (Option<&str>, Option<&ModelText>),
    protocols: impl FnOnce(Kind) -> Vec<Protocol>,
) -> Result<Survey, Error> {
    let discovery = Discovery::of(dispatcher, replica, model)?;
    let address = dispatcher.clients()[replica].address();
    let mut refusals = Vec::new();
    for protocol in protocols(discovery.kind) {
        match (Trial { dispatcher, replica, discovery: &discovery, text, protocol }).run() {
            Ok(survey) => return Ok(survey),
            Err(Refusal::Cannot(why)) => refusals.push(format!("{}: {why}", protocol.name())),
            Err(Refusal::Fault(fault)) => return Err(dispatcher.error(replica, &fault)),
        }
    }
    let hint = match (text, discovery.kind) {
        (None, Kind::Ollama | Kind::Mistral | Kind::DeepSeek) | (Some(_), _) => {
            "evaluate the model embedded, or served by vLLM, SGLang or llama.cpp; as it is it can still judge"
        }
        (None, _) => {
            "name the model's tokenizer with --tokenizer (a directory, a .gguf file or hf:ORG/NAME), so that token \
             ids can be sent; as it is it can still judge"
        }
    };
    let why = if refusals.is_empty() {
        "it takes token ids only where a tokenizer is at hand".into()
    } else {
        refusals.join("; ")
    };
    Err(Error::EndpointCannot {
        problem: format!(
            "{address}#{}: cannot be evaluated, no true prefill was proved: {why}",
            discovery.model
        ),
        hint: hint.into(),
    })
}

impl Survey {
    /// What holds of two replicas together; the name of what differs if that makes them no replicas.
    fn and(self, other: &Self) -> Result<Self, &'static str> {
        if self.server != other.server {
            return Err("kind of server");
        }
        if self.served_as != other.served_as {
            return Err("model");
        }
        let least = |a: Option<usize>, b: Option<usize>| a.into_iter().chain(b).min();
        Ok(Self {
            context: least(self.context, other.context),
            paths_per_request: least(self.paths_per_request, other.paths_per_request),
            slots: self.slots.zip(other.slots).map(|(a, b)| a + b),
            tells_token_ids: self.tells_token_ids && other.tells_token_ids,
            keeps_trailing_space: self.keeps_trailing_space && other.keeps_trailing_space,
            seeds: if self.seeds == other.seeds { self.seeds } else { Seeds::Ignored },
            ..self
        })
    }

    /// What was found out, in a line.
    pub fn summary(&self) -> String {
        let version = self.version.as_deref().map_or(String::new(), |version| format!(" {version}"));
        let given = if self.protocol.takes_ids() { "token ids" } else { "messages" };
        let evidence = match self.evidence {
            Evidence::PromptIds => "the token ids that its model read",
            Evidence::PromptText => "the text that its model read",
            Evidence::TokenCount => "the number of tokens that its model read",
            Evidence::CutWords => "words cut in the middle, which it continued",
        };
        let (server, protocol) = (self.server.name(), self.protocol.name());
        format!("{server}{version}, given {given} ({protocol}); a true prefill, proved by {evidence}")
    }

    /// What a run cannot promise here, in words; empty where it is what an embedded engine promises.
    pub fn caveats(&self) -> Vec<&'static str> {
        let seeds = match self.seeds {
            Seeds::CountedUp => None,
            Seeds::Single => Some("paths sampled in one request are not those of their seeds"),
            Seeds::Ignored => Some("seeds do not decide what is sampled: a second run gives other paths"),
        };
        let ids = (!self.tells_token_ids)
            .then_some("token ids are the server's text encoded again, not those that were sampled");
        seeds.into_iter().chain(ids).collect()
    }
}
