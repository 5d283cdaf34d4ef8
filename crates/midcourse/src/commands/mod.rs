//! One file a command: straight glue from arguments to results.

mod bench;
mod compare;
mod data;
mod demo;
mod eval;
mod export;
mod judge;
mod models;
mod pages;
mod probe;
mod serve;
mod synth;
mod train;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Args, Command};

pub(crate) use bench::benchmark;
pub(crate) use eval::evaluate;

/// Runs a command and returns its exit code.
pub(crate) fn run(command: Command) -> Result<u8> {
    match command {
        Command::Eval(args) => eval::run(&args),
        Command::Judge(args) => judge::run(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Export(command) => export::run(&command),
        Command::Demo(args) => demo::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Report { run } => pages::run(&run),
        Command::Data(command) => data::run(&command),
        Command::Models { command, json } => models::run(command.as_ref(), json),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "midcourse", &mut std::io::stdout());
            Ok(0)
        }
    }
}
