//! `midcourse`: measure and teach course-correction.
//!
//! The binary is arguments, files and the terminal; what is measured lives in `midcourse-core`, what runs
//! models in `midcourse-engine`. One file a command, in [`commands`].

mod adapted;
mod adapter_notes;
mod args;
mod bench;
mod calibration;
mod card;
mod catalogue;
mod commands;
mod compare;
mod dry_run;
mod endpoint;
mod evaluated;
mod failure;
mod framing;
mod hub;
mod input;
mod judgement_cache;
mod judges;
mod judging;
mod manifest;
mod model;
mod new_dir;
mod options;
mod pages;
mod pairs;
mod plan;
mod planned;
mod progress;
mod run;
mod run_dir;
mod serve;
mod session;
mod signals;
mod storage;
mod synth;
mod synth_pages;
mod terminal;
mod train;

use std::panic;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::Parser;

fn main() -> ExitCode {
    // Libraries panic on some damaged files, which is caught and said as an error: no panic speaks for itself.
    let defect = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&defect);
    panic::set_hook(Box::new(move |panic| {
        if let Ok(mut heard) = heard.lock() {
            *heard = panic.to_string();
        }
    }));
    panic::catch_unwind(run).unwrap_or_else(|_| {
        let said = defect.lock().map(|said| said.clone()).unwrap_or_default();
        fail(&anyhow::anyhow!("internal error: {said}"))
    })
}

fn run() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    match commands::run(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    terminal::say(&failure::message(error));
    ExitCode::from(failure::exit_code(error))
}

/// Says what clap says, with a hint like every other message. Help and version are not refusals.
fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !text.starts_with("error: ") {
        error.exit();
    }
    let problem = text.trim_end().trim_end_matches("For more information, try '--help'.").trim_end();
    terminal::say(&format!("{problem}\nhint: `midcourse COMMAND --help` lists what can be given"));
    ExitCode::from(failure::USAGE)
}
