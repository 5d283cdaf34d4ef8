//! Comparing runs: from directories to measures ([`read`]), and what the runs are called ([`runs`]).

mod pages;
mod read;
mod runs;

use std::path::PathBuf;

pub(crate) use pages::{terminal, write};
pub(crate) use runs::{RunArg, read};

/// Arguments of `midcourse compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPARING)]
pub(crate) struct CompareArgs {
    /// Directories of finished runs of `eval` and `bench`, the baseline first; NAME=DIR says what a run is called, and
    /// directories with the same NAME are one run
    #[arg(required = true, num_args = 2.., value_name = "[NAME=]DIR")]
    pub runs: Vec<RunArg>,
    /// Bounds on differences, for instance "corr_mean>=+10,hellaswag>=-1": a missed one makes the exit code 1
    #[arg(long, value_name = "GATES", allow_hyphen_values = true)]
    pub gate: Vec<String>,
    /// Directory for compare.html, compare.md and compare.json, which must not be there yet [default: runs/compare-NAME-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print compare.json instead of a table
    #[arg(long)]
    pub json: bool,
}

const COMPARING: &str = "Every other run is compared with the first, prompt by prompt and item by item. What was measured \
    with other data, another mode, another judge or other settings is not compared, and it is said why; the model may \
    differ. Measures are corr_mean, corr@K, false_corrections, plain_refusal/harmful and plain_refusal/benign of evaluations, \
    and of benchmarks TASK (its main metric) and TASK:METRIC. Gates bound the difference to the baseline with >=, <=, > or \
    <, of shares in points, of perplexities in their own unit; low(MEASURE) and high(MEASURE) bound the ends of its \
    interval. A training is compared by its parts: `midcourse compare DIR/before DIR/after`.";
