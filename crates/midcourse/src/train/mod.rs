//! `midcourse train`: what it hands over.

#[cfg_attr(not(test), expect(dead_code, reason = "the command calls it once both are here"))]
pub(crate) mod trl;
