//! `midcourse compare`: by how much runs differ from the first of them, and whether that is within bounds.

use anyhow::Result;
use midcourse_core::compare::{self as comparing, Gate};
use midcourse_core::report::compare::missed;
use midcourse_core::report::strip_controls;

use crate::compare::{self, CompareArgs};
use crate::terminal::{print, say};
use crate::{failure, model, run_dir};

/// Runs the command.
pub(crate) fn run(args: &CompareArgs) -> Result<u8> {
    let gates: Vec<Vec<Gate>> =
        args.gate.iter().map(|text| comparing::gates(text)).collect::<Result<_, _>>()?;
    let runs = compare::read(&args.runs)?;
    let comparison = comparing::compare(&runs, &gates.concat())?;
    let name = || run_dir::free(&format!("compare-{}", model::short_name(&runs[0].name)));
    let out = args.out.clone().map_or_else(name, Ok)?;
    compare::write(&out, &comparison)?;
    print(&if args.json { run_dir::pretty(&comparison)? } else { compare::terminal(&comparison) });
    say(&format!("report: {}", out.join("compare.html").display()));
    let missed = missed(&comparison);
    // The tables end with the gates; JSON has no sentences.
    for gate in missed.iter().filter(|_| args.json) {
        say(&strip_controls(gate));
    }
    Ok(if missed.is_empty() { 0 } else { failure::GATE })
}
