//! `midcourse eval` against servers: the same records as the embedded engine's, whatever the server does.

mod agreement;
mod key;
mod matrix;
pub(crate) mod proxy;
mod stopped;
pub(crate) mod unsupported;
