//! From errors to exit codes and messages: the one place that knows both.

use midcourse_core::Error as CoreError;
use midcourse_engine::Error as EngineError;

use crate::storage::StorageError;

/// Done, but a limit that the user set was missed.
pub(crate) const GATE: u8 = 1;
/// Arguments that cannot be understood or do not go together.
pub(crate) const USAGE: u8 = 2;
const INPUT: u8 = 3;
const ENDPOINT: u8 = 4;
const STORAGE: u8 = 5;
const UNSUPPORTED: u8 = 6;
const INTERNAL: u8 = 70;

/// An error that is the binary's own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Arguments that do not go together.
    #[error("{problem}")]
    Usage { problem: String, hint: String },
    /// Something the user brought cannot be used.
    #[error("{problem}")]
    Input { problem: String, hint: String },
    /// Something this build does not do.
    #[error("{problem}")]
    Unsupported { problem: String, hint: String },
    /// A server refuses, or answers with something else than it should.
    #[error("{problem}")]
    Endpoint { problem: String, hint: String },
    /// No server answers, or none that can serve now.
    #[error("{problem}")]
    Unreachable { problem: String, hint: String },
    /// A signal ended the run; everything finished is recorded.
    #[error("stopped by {name}; everything finished is recorded")]
    Signal { name: &'static str, code: u8, hint: String },
}

/// The documented exit code of an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let known = error.chain().find_map(|cause| {
        let own = cause.downcast_ref().map(|failure| match failure {
            Failure::Usage { .. } => USAGE,
            Failure::Input { .. } => INPUT,
            Failure::Unsupported { .. } => UNSUPPORTED,
            Failure::Endpoint { .. } | Failure::Unreachable { .. } => ENDPOINT,
            Failure::Signal { code, .. } => *code,
        });
        let core = || {
            cause.downcast_ref().map(|error| match error {
                CoreError::Setting { .. } => USAGE,
                CoreError::Prefill { .. } | CoreError::TemplateCannot { .. } => UNSUPPORTED,
                _ => INPUT,
            })
        };
        let engine = || {
            cause.downcast_ref().map(|error| match error {
                EngineError::Unsupported { .. }
                | EngineError::TooLarge { .. }
                | EngineError::EndpointCannot { .. } => UNSUPPORTED,
                EngineError::Address { .. } => USAGE,
                EngineError::Endpoint { .. } => ENDPOINT,
                EngineError::Tensor(_) => INTERNAL,
                _ => INPUT,
            })
        };
        let storage = || cause.downcast_ref::<StorageError>().map(|_| STORAGE);
        own.or_else(core).or_else(engine).or_else(storage)
    });
    known.unwrap_or(INTERNAL)
}

/// The message for the person at the terminal: what is wrong, and what to do next.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let hint = error.chain().find_map(|cause| {
        let own = cause.downcast_ref().map(|failure| match failure {
            Failure::Usage { hint, .. }
            | Failure::Input { hint, .. }
            | Failure::Unsupported { hint, .. }
            | Failure::Endpoint { hint, .. }
            | Failure::Unreachable { hint, .. }
            | Failure::Signal { hint, .. } => hint.as_str(),
        });
        let core = || cause.downcast_ref().map(CoreError::hint);
        let engine = || cause.downcast_ref().map(EngineError::hint);
        let storage = || cause.downcast_ref().map(StorageError::hint);
        own.or_else(core).or_else(engine).or_else(storage)
    });
    let hint =
        hint.unwrap_or("this is a defect of midcourse; please report it with the command that led here");
    let text = shortened(&midcourse_core::report::strip_controls(&causes(error)));
    format!("error: {text}\nhint: {hint}")
}

/// A text without its middle when it is long: what is found in a hostile file can be of any length.
fn shortened(text: &str) -> String {
    const START: usize = 600;
    const END: usize = 200;
    let n = text.chars().count();
    if n <= START + END {
        return text.to_owned();
    }
    let (start, end): (String, String) =
        (text.chars().take(START).collect(), text.chars().skip(n - END).collect());
    format!("{start} … {end}")
}

/// The error and what caused it, but no cause that the text before it has told already.
fn causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.ends_with(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}
