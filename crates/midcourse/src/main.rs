//! `midcourse`: measure and teach course-correction.
//!
//! The binary is arguments, files and the terminal; what is measured lives in `midcourse-core`, what runs
//! models in `midcourse-engine`. One file a command, in [`commands`].

mod args;
mod catalogue;
mod commands;
mod failure;
mod input;
mod manifest;
mod model;
mod pages;
mod plan;
mod progress;
mod run_dir;
mod session;
mod signals;
mod storage;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::say(&failure::message(&error));
            ExitCode::from(failure::exit_code(&error))
        }
    }
}
