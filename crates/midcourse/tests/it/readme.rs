//! The terminal sessions of the README, run as they stand there.
//!
//! Numbers depend on the processor, so digits and spacing are not compared; every line that the README shows
//! must be printed. To save time an evaluation takes the first four samples only, a synthesis the first two of each
//! file and a quarter of the tokens.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixtures::{MIDCOURSE, Output};

/// A command of the README and the lines it is said to print.
struct Session {
    command: String,
    lines: Vec<String>,
}

fn sessions(readme: &str) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => sessions.push(Session { command: command.into(), lines: Vec::new() }),
                None => sessions.last_mut().unwrap().lines.push(line.into()),
            }
        }
    }
    sessions
}

/// The line with its numbers and its spacing taken out.
fn shape(line: &str) -> String {
    let plain: String =
        line.chars().map(|c| if c.is_ascii_digit() || ",.-+−±".contains(c) { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a command line; double quotes hold words together.
fn words(command: &str) -> Vec<String> {
    let quoted = command.split('"').enumerate();
    quoted
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[test]
fn the_sessions_of_the_readme_run() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.canonicalize().unwrap().join("data"), scratch.path().join("data"))
        .unwrap();
    let mut n_run = 0;
    for session in sessions(&readme) {
        let mut words = words(&session.command);
        if words.remove(0) != "midcourse" {
            assert!(session.command.starts_with("cargo xtask"), "{}", session.command);
            continue;
        }
        if words[0] == "eval" {
            words.extend(["--limit".into(), "4".into()]);
        }
        if words[0] == "synth" {
            words.extend(["--limit", "2", "--max-new-tokens", "32"].map(str::to_owned));
        }
        check(&session, &words, scratch.path());
        n_run += 1;
    }
    assert!(n_run >= 5, "only {n_run} sessions were found");
}

fn check(session: &Session, words: &[String], directory: &Path) {
    let output = Output::of(Command::new(MIDCOURSE).args(words).current_dir(directory));
    assert_eq!(output.code, 0, "{}: {}", session.command, output.stderr);
    let printed: Vec<String> = output.stdout.lines().chain(output.stderr.lines()).map(shape).collect();
    for line in &session.lines {
        let expected = shape(line);
        assert!(
            printed.iter().any(|line| line.starts_with(&expected)),
            "{}: the README shows {expected:?}, printed were {printed:#?}",
            session.command
        );
    }
}
