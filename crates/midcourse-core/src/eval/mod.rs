//! C²-Eval: force the first k tokens of a harmful answer, sample continuations, judge them.
//!
//! [`plan`] lays a data set out as trees, one a sample, before anything is sampled: which prefixes exist, which
//! are skipped, which seed each path has. [`Trial`] and [`Judgement`] are what is recorded. Sampling itself is
//! an engine's, writing to disk the binary's.
//!
//! Source: Xu et al. 2024, section 3; where the released scripts differ is said at the line.

mod opener;
mod plan;
mod records;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

pub use opener::Opener;
pub use plan::{PathKey, PlannedFork, PlannedSample, Prefixes, plan};
pub use records::{JudgedPath, Judgement, Outcome, SampleName, Set, Trial, distinct_tokens, outcomes};
pub use settings::{EarlyStop, EvalSettings, Unit};
pub use watch::{Observed, Observer};
