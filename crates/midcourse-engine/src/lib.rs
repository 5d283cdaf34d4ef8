//! Engines: what turns token ids into sampled paths.
//!
//! [`local`] runs a decoder on this machine's CPU and computes each distinct token of a tree once;
//! [`scripted`] plays a file, for tests and dry runs; [`remote`] carries requests to servers; [`train`] trains adapters. Weights come from GGUF files or safetensors directories
//! ([`weights`]), tokenizers from either ([`tokenizer`]).

pub mod chat_template;
pub mod files;
pub mod local;
pub mod model;
pub mod remote;
pub mod sampling;
pub mod scripted;
pub mod tokenizer;
pub mod train;
pub mod weights;

pub mod contain;
mod error;
mod tree;

pub use error::Error;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;
