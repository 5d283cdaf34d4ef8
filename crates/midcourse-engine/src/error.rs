//! Every way in which a model's files or its server can be wrong, or asked for what is not supported.

use std::path::PathBuf;

/// What can go wrong in loading and running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read at all.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A model file is damaged or is something else.
    #[error("{}: {problem}", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
        /// What to do next.
        hint: String,
    },
    /// A field of a model's configuration is missing or makes no sense.
    #[error("{}: {field}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field by its name in the file.
        field: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// The file is sound but asks for something this build does not do.
    #[error("{}: {what} is not supported", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("{}: tensor {tensor}: expected shape {expected:?}, found {found:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// An adapter was made for another model.
    #[error(
        "{}: the adapter was made for {made_for} and does not fit {}: {problem}",
        adapter.display(), model.display()
    )]
    ForeignAdapter {
        /// The adapter's file.
        adapter: PathBuf,
        /// The model that it was made for, as its configuration names it.
        made_for: String,
        /// The model at hand.
        model: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// The weights do not fit into memory.
    #[error(
        "{}: it takes {:.1} GB of memory with what grows at once, and {:.1} GB are free",
        path.display(), *needed as f64 / 1e9, *free as f64 / 1e9
    )]
    TooLarge {
        /// The model.
        path: PathBuf,
        /// Bytes that the weights and the largest batch take.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// What to do instead.
        hint: String,
    },
    /// The model computed something that is not a number.
    #[error("the model's logits are not finite after {n_tokens} tokens")]
    NotFinite {
        /// Length of the conversation at that place.
        n_tokens: usize,
    },
    /// A conversation is longer than the model can take.
    #[error("a conversation of {n_tokens} tokens does not fit the model's context of {context}")]
    TooLong {
        /// Tokens needed.
        n_tokens: usize,
        /// Tokens the model was made for.
        context: usize,
    },
    /// A token id is not in the model's vocabulary.
    #[error("expected token ids below {vocab}, found {id}")]
    ForeignToken {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The values of an adapter, or of its optimiser, are those of another one.
    #[error(
        "expected the values of {expected} matrices of an adapter in their sizes, found {found} or other sizes"
    )]
    OtherAdapter {
        /// Matrices of the adapter.
        expected: usize,
        /// Matrices that were given.
        found: usize,
    },
    /// A script for the scripted engine cannot be used.
    #[error("{}: {problem}", path.display())]
    Script {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// The address of an endpoint, or its key, cannot be understood.
    #[error("{problem}")]
    Address {
        /// What was expected and what was found; never a key or a password.
        problem: String,
        /// What to do next.
        hint: String,
    },
    /// A server cannot be reached, refuses, or sends something else than it should.
    #[error("{problem}")]
    Endpoint {
        /// Which server, and what it did.
        problem: String,
        /// What to do next.
        hint: String,
    },
    /// A server is sound but cannot do what is asked of it.
    #[error("{problem}")]
    EndpointCannot {
        /// Which server, and what it cannot do.
        problem: String,
        /// What to do instead.
        hint: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Whether a server is at fault, whose address the message holds.
    pub fn is_of_endpoint(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Endpoint { .. } | Self::EndpointCannot { .. })
    }

    /// What the user can do next, in one sentence.
    pub fn hint(&self) -> &str {
        match self {
            Self::Read { .. } => "check the path; `midcourse models` lists what is there",
            Self::ModelFile { hint, .. }
            | Self::Unsupported { hint, .. }
            | Self::TooLarge { hint, .. }
            | Self::Address { hint, .. }
            | Self::Endpoint { hint, .. }
            | Self::EndpointCannot { hint, .. } => hint,
            Self::Config { .. } | Self::Shape { .. } | Self::ForeignToken { .. } => {
                "configuration and weights must come from the same model; download it again"
            }
            Self::ForeignAdapter { .. } => {
                "name the model that the adapter was made for; base_model_name_or_path in its adapter_config.json \
                 says which"
            }
            Self::NotFinite { .. } => "the weights are damaged or overflow; check the file's hash",
            Self::TooLong { .. } => "shorten the row or choose a model with a longer context",
            Self::Script { .. } => "a script is JSONL of {\"match\": text, \"continuations\": [text, …]}",
            Self::OtherAdapter { .. } => "adapter and state must come from the same run",
            Self::Tensor(_) => "this is a defect of midcourse or of the model file; please report it",
        }
    }
}
