//! The local engine against transformers, and what its tokenizers promise, on the models of `testdata/`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod adapters;
mod bos;
mod families;
mod fixtures;
mod goldens;
mod special_text;
mod templates;
mod tokenizers;
