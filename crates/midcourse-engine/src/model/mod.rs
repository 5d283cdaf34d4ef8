//! One decoder, driven by a configuration.
//!
//! [`config`] says what a model is, `decoder` runs it over the rows of several token trees at once,
//! `attention` lets every token attend to its ancestors only, `rotary` turns heads by position, `loader` takes
//! weights from files, `linear` keeps them in their form and multiplies with them, and `kernels` holds the arithmetic between the products.

pub mod config;

mod attention;
mod decoder;
mod kernels;
mod linear;
mod loader;
mod product;
pub mod rotary;

pub use config::{BlockNorms, ModelConfig};
pub(crate) use decoder::{Decoder, Row};
pub(crate) use kernels::{LANES, exp, max, sum_lanes, vectorised, with_values};
pub(crate) use loader::{Loader, Projection};
