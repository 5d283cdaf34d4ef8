//! The words and the stages of course-correction (Xu et al. 2024, arXiv 2407.16637).
//!
//! This crate says *what* is measured: samples, prefixes, trials, verdicts, rates. It does no input or
//! output and reads no clock, no environment and no global randomness; a model is a trait
//! ([`engine::Continue`]). Modules depend on each other one way: [`chat`] and
//! [`data`], then [`template`], [`engine`], [`judge`], [`metrics`], [`eval`], [`synth`], [`train`], [`bench`], [`compare`],
//! [`report`].

pub mod bench;
pub mod chat;
pub mod compare;
pub mod data;
pub mod engine;
pub mod eval;
pub mod judge;
pub mod metrics;
pub mod report;
pub mod synth;
pub mod template;
pub mod train;

mod error;

pub use error::Error;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;
