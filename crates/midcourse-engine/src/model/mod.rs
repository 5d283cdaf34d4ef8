//! One decoder, driven by a configuration.
//!
//! [`config`] says what a model is, `decoder` runs it over the rows of several token trees at once,
//! `attention` lets every token attend to its ancestors only, and `kernels` holds the arithmetic between the
//! matrix products. The products themselves are candle's.

pub mod config;

mod attention;
mod decoder;
mod kernels;
mod product;

pub use config::ModelConfig;
pub(crate) use decoder::{Decoder, Row};
pub(crate) use kernels::{LANES, exp, max, sum_lanes, vectorised, with_values};
