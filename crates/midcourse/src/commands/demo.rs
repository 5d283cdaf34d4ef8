//! `midcourse demo`: the whole story on the sandbox set, which the program carries: preferences, training, and
//! course-correction and benchmarks before and after it.
//!
//! Every stage is a command of its own, which is shown as it is started, and which anybody can give by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::args::DemoArgs;
use crate::bench;
use crate::failure::Failure;
use crate::storage::{StorageError, at, write_whole};
use crate::terminal::say;
use crate::{options, run_dir};

/// Rows of the sandbox: the file's name, its text, and how many of its rows a demo takes.
const DATA: [(&str, &str, usize); 4] = [
    ("train.jsonl", include_str!("../../../../data/sandbox/train.jsonl"), 16),
    ("benign-train.jsonl", include_str!("../../../../data/sandbox/benign-train.jsonl"), 16),
    ("eval.jsonl", include_str!("../../../../data/sandbox/eval.jsonl"), 16),
    ("benign.jsonl", include_str!("../../../../data/sandbox/benign.jsonl"), 16),
];

/// How the few rankings of a demo are trained on: all of them, in many small steps.
const FEW: [&str; 4] = ["--contrast-share", "0.5", "--prompts-per-step", "2"];

/// Benchmarks whose prompts are those of the demo.
const SAFETY: &str = "over_refusal,jailbreak_prefills";
/// General tasks; their rows are fetched.
const GENERAL: &str = "hellaswag,piqa,arc_easy";
/// Items of every task in a demo, and with all rows.
const LIMITS: [&str; 2] = ["32", "200"];

/// Runs the command.
pub(crate) fn run(args: &DemoArgs) -> Result<u8> {
    let out = args.out.clone().map_or_else(|| run_dir::free("demo"), Ok)?;
    if out.exists() {
        return Err(StorageError::Exists { path: out }.into());
    }
    let data = write_data(&out.join("data"), usize::MAX)?;
    let tasks = tasks()?;
    let [limit, limit_of_full] = LIMITS;
    let whole = settings((&tasks, limit_of_full), &[]);
    let (taken, settings) = if args.full {
        (data.clone(), whole.clone())
    } else {
        let left_out =
            DATA.iter().map(|(name, text, n)| format!("{n} of {} rows of {name}", text.lines().count()));
        say(&format!("the demo takes {}; --full takes all", left_out.collect::<Vec<_>>().join(", ")));
        (write_data(&out.join("data/part"), 0)?, settings((&tasks, limit), &FEW))
    };
    for stage in stages((&args.model, &out), &taken, &settings) {
        if let Some(code) = perform(&stage)? {
            return Ok(code);
        }
    }
    if !args.full {
        say("\nthe same with all rows:");
        for stage in stages((&args.model, &out.with_file_name("full")), &data, &whole) {
            say(&format!("  {}", shown(&stage)));
        }
    }
    say(&format!("\nThe demo is done. Open {} in a browser.", out.join("train/report.html").display()));
    Ok(0)
}

/// The benchmarks of a demo. The rows of general tasks are fetched where they are not there; where they cannot be, the
/// demo goes on without these tasks.
fn tasks() -> Result<String> {
    let rows: Vec<String> = ["data", "pull", "general"].map(str::to_owned).to_vec();
    let is_there = || -> Result<bool> {
        let listed = bench::list(None)?;
        Ok(GENERAL.split(',').all(|task| listed.iter().any(|listed| listed.task == task && listed.there)))
    };
    if !is_there()? && perform(&rows)?.is_some() {
        say("the demo goes on without general tasks, whose rows could not be fetched");
        return Ok(SAFETY.into());
    }
    Ok(format!("{GENERAL},{SAFETY}"))
}

/// Options of the training beside its data.
fn settings<'a>((tasks, limit): (&'a str, &'a str), few: &[&'a str]) -> Vec<&'a str> {
    [&["--bench", tasks, "--bench-limit", limit], few].concat()
}

/// Writes the sandbox's files, whole with `at_least` rows, else as many rows as a demo takes.
fn write_data(dir: &Path, at_least: usize) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    let mut paths = Vec::with_capacity(DATA.len());
    for (name, text, n) in DATA {
        let rows: Vec<&str> = text.lines().take(n.max(at_least)).collect();
        let path = dir.join(name);
        write_whole(&path, (rows.join("\n") + "\n").as_bytes())?;
        paths.push(path);
    }
    Ok(paths)
}

/// The commands, each without the program's name; `settings` are those of the training.
fn stages((model, out): (&str, &Path), data: &[PathBuf], settings: &[&str]) -> Vec<Vec<String>> {
    let text = |path: &Path| path.display().to_string();
    let [train, benign_train, eval, benign] = [0, 1, 2, 3].map(|at| text(&data[at]));
    let (preferences, training) = (text(&out.join("preferences")), text(&out.join("train")));
    let lines: [&[&str]; 2] = [
        &[
            "synth",
            "--model",
            model,
            "--data",
            &train,
            "--benign",
            &benign_train,
            "--exclude",
            &eval,
            &benign,
            "--out",
            &preferences,
        ],
        &[
            "train",
            "--model",
            model,
            "--data",
            &preferences,
            "--eval-data",
            &eval,
            "--benign",
            &benign,
            "--out",
            &training,
        ],
    ];
    let settings = settings.iter().map(|&word| word.to_owned());
    let pull: Vec<String> = ["models", "pull", model].map(str::to_owned).to_vec();
    let owned = |line: &&[&str]| line.iter().map(|&word| word.to_owned()).collect();
    let [synth, train]: [Vec<String>; 2] = lines.each_ref().map(owned);
    vec![pull, synth, train.into_iter().chain(settings).collect()]
}

fn shown(stage: &[String]) -> String {
    let words = stage.iter().map(|word| options::quoted(word.clone()));
    format!("midcourse {}", words.collect::<Vec<_>>().join(" "))
}

/// Performs a stage; its exit code when it is not 0.
fn perform(stage: &[String]) -> Result<Option<u8>> {
    say(&format!("\n→ {}", shown(stage)));
    let program = std::env::current_exe().context("finding this program")?;
    let status = Command::new(program).args(stage).status().context("starting a stage of the demo")?;
    match status.code() {
        Some(0) => Ok(None),
        Some(code) => Ok(Some(u8::try_from(code).unwrap_or(70))),
        None => Err(Failure::Input {
            problem: format!("{}: ended by a signal", shown(stage)),
            hint: "give the same command with --resume".into(),
        }
        .into()),
    }
}
