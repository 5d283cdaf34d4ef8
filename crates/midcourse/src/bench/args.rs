//! The command line of `midcourse bench`.

use std::path::PathBuf;

use super::BenchOptions;

/// Arguments of `midcourse bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = BENCHMARKS)]
#[expect(clippy::struct_excessive_bools, reason = "flags are given or not")]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub options: BenchOptions,
    /// List the tasks that are built in, and whether their rows are there
    #[arg(long)]
    pub list: bool,
    /// Options from a TOML file with the same names; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Go on with the run in --out; its settings are taken from there
    #[arg(long)]
    pub resume: bool,
    /// Print how much would be asked; nothing is measured and no server asked
    #[arg(long)]
    pub dry_run: bool,
    /// Print summary.json instead of a table
    #[arg(long)]
    pub json: bool,
}

const BENCHMARKS: &str = "General tasks are scored as lm-evaluation-harness scores them, a text that several items begin \
    with computed once. OUT/items.jsonl has a line an item, OUT/lm-eval/ the same as lm-evaluation-harness writes it. \
    `midcourse compare` holds two runs against each other, item by item.";
