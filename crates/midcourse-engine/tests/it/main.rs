//! The local engine against transformers, and what its tokenizers promise, on the models of `testdata/`; servers
//! that fail in every way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod adapters;
mod bos;
mod chatting;
mod dispatching;
mod exchanges;
mod exports;
mod families;
mod fault_server;
mod fixtures;
mod goldens;
mod special_text;
mod surveys;
mod templates;
mod tokenizers;
mod trl;
