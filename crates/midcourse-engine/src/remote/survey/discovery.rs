//! What a server says of itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::remote::client::{Request, Route};
use crate::remote::dispatcher::Dispatcher;
use crate::remote::fault::Fault;
use crate::remote::protocol::field;

/// Kinds of server, as far as they differ in how they go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `midcourse serve`.
    Midcourse,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// The server of llama.cpp.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// Ollama.
    Ollama,
    /// Mistral's own.
    Mistral,
    /// That of `DeepSeek`.
    DeepSeek,
    /// Any other.
    Other,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// What it is.
    pub kind: Kind,
    /// Its version.
    pub version: Option<String>,
    /// The model to ask for.
    pub model: String,
    /// Tokens of context.
    pub context: Option<usize>,
    /// Paths that it can grow from one prompt.
    pub n_slots: Option<usize>,
}

impl Kind {
    /// The name used in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Midcourse => "midcourse",
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "Ollama",
            Self::Mistral => "Mistral",
            Self::DeepSeek => "DeepSeek",
            Self::Other => "a server of another kind",
        }
    }

    fn of_owner(owner: &str) -> Option<Self> {
        Some(match owner {
            "midcourse" => Self::Midcourse,
            "vllm" => Self::Vllm,
            "sglang" => Self::Sglang,
            "llamacpp" => Self::LlamaCpp,
            "library" | "ollama" => Self::Ollama,
            "mistralai" => Self::Mistral,
            "deepseek" => Self::DeepSeek,
            _ => return None,
        })
    }
}

/// A server that is asked about itself.
struct Asked<'a> {
    dispatcher: &'a Dispatcher,
    replica: usize,
}

impl Discovery {
    /// Asks a replica about itself and about `model`, or about its only model where none is named.
    pub(super) fn of(dispatcher: &Dispatcher, replica: usize, model: Option<&str>) -> Result<Self, Error> {
        let asked = Asked { dispatcher, replica };
        let listed = asked.get(Route::Api("/models"))?.unwrap_or(Value::Null);
        let models = field(&listed, "data").and_then(Value::as_array).cloned().unwrap_or_default();
        let owner = models.iter().find_map(|model| field(model, "owned_by").and_then(Value::as_str));
        let (kind, version) = asked.kind(owner.and_then(Kind::of_owner))?;
        let (model, entry) = asked.choose(kind, &models, model)?;
        let number = |path: &str| entry.and_then(|entry| field(entry, path)).and_then(Value::as_u64);
        let mut context = number("max_model_len").or(number("meta.n_ctx")).map(|n| n as usize);
        let mut n_slots = None;
        if kind == Kind::LlamaCpp
            && let Some(props) = asked.get(Route::Native("/props"))?
        {
            let number = |path: &str| field(&props, path).and_then(Value::as_u64).map(|n| n as usize);
            context = number("default_generation_settings.n_ctx").or(context);
            n_slots = number("total_slots");
        }
        Ok(Self { kind, version, model, context, n_slots })
    }
}

impl Asked<'_> {
    /// The JSON of a path; none where the server has no such path.
    fn get(&self, route: Route) -> Result<Option<Value>, Error> {
        let reply = self.dispatcher.ask(self.replica, &Request::get(route));
        match reply.and_then(|reply| reply.json()) {
            Ok(json) => Ok(Some(json)),
            Err(Fault::Refused { status: 400 | 404 | 405 | 501, .. }) => Ok(None),
            // Of a path that it does not know a server may send anything; of the list of models it must not.
            Err(Fault::Html { .. } | Fault::NotJson { .. }) if matches!(route, Route::Native(_)) => Ok(None),
            Err(fault) => Err(self.dispatcher.error(self.replica, &fault)),
        }
    }

    /// The kind of server: as its list of models says, or by a path that only one kind has.
    fn kind(&self, owner: Option<Kind>) -> Result<(Kind, Option<String>), Error> {
        let tells = |json: &Value, name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut version = None;
        let kind = match owner {
            Some(kind) => kind,
            None if self.get(Route::Native("/props"))?.is_some_and(|p| p.get("total_slots").is_some()) => {
                Kind::LlamaCpp
            }
            None if self
                .get(Route::Native("/api/version"))?
                .is_some_and(|v| tells(&v, "version").is_some()) =>
            {
                Kind::Ollama
            }
            None if self
                .get(Route::Native("/get_model_info"))?
                .is_some_and(|v| v.get("model_path").is_some()) =>
            {
                Kind::Sglang
            }
            None => Kind::Other,
        };
        let path = match kind {
            Kind::Vllm | Kind::Midcourse => Some("/version"),
            Kind::Ollama => Some("/api/version"),
            _ => None,
        };
        if let Some(path) = path {
            version = self.get(Route::Native(path))?.and_then(|json| tells(&json, "version"));
        }
        Ok((kind, version.map(|version| version.chars().take(60).collect())))
    }

    /// The model to ask for, and what the list says of it.
    fn choose<'a>(
        &self,
        kind: Kind,
        models: &'a [Value],
        wanted: Option<&str>,
    ) -> Result<(String, Option<&'a Value>), Error> {
        let address = self.dispatcher.clients()[self.replica].address();
        let id = |model: &'a Value| field(model, "id").and_then(Value::as_str);
        let listed = || models.iter().filter_map(id).take(8).collect::<Vec<_>>().join(", ");
        match wanted {
            None => match models {
                [only] => match id(only) {
                    Some(name) => Ok((name.to_owned(), Some(only))),
                    None => Err(self.wrong("expected names of models, found one without", "name it after #")),
                },
                _ => Err(Error::Address {
                    problem: format!("{address}: expected a model's name after #, found none"),
                    hint: format!(
                        "the server lists: {}",
                        if models.is_empty() { "nothing".into() } else { listed() }
                    ),
                }),
            },
            Some(name) => {
                let entry = models.iter().find(|model| id(model) == Some(name));
                // llama.cpp serves one model, whatever it is called; Ollama knows more names than it lists.
                let only = (kind == Kind::LlamaCpp).then(|| models.first()).flatten();
                let strict = !matches!(kind, Kind::LlamaCpp | Kind::Ollama) && !models.is_empty();
                if entry.is_none() && strict {
                    return Err(self.wrong(
                        &format!("expected to find the model {name:?}, found {}", listed()),
                        "name one of these after #",
                    ));
                }
                Ok((name.to_owned(), entry.or(only)))
            }
        }
    }

    fn wrong(&self, problem: &str, hint: &str) -> Error {
        let address = self.dispatcher.clients()[self.replica].address();
        Error::Endpoint { problem: format!("{address}: {problem}"), hint: hint.into() }
    }
}
