//! Malformed inputs for every reader, made from good ones one fault at a time.
//!
//! Each must end with the documented exit code and one message that names the file (or flag) and the line,
//! field, tensor or offset in it, followed by a hint. Nothing may panic.

mod compare;
mod corrupted;
mod data;
mod gguf;
mod metadata;
mod options;
mod rankings;
mod runs;
mod safetensors;
mod scripts;
mod templates;
mod tokenizers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::fixtures::{self, Output};

/// Exit codes, as `midcourse --help` documents them.
const USAGE: i32 = 2;
const INPUT: i32 = 3;
const STORAGE: i32 = 5;
const UNSUPPORTED: i32 = 6;

/// A command line that must be refused.
struct Case {
    /// The fault, in words.
    what: String,
    /// Holds the malformed files.
    dir: PathBuf,
    args: Vec<String>,
    code: i32,
    /// What the message holds.
    named: Vec<String>,
}

/// The malformed inputs of one reader.
struct Cases {
    root: TempDir,
    all: Vec<Case>,
}

impl Cases {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("script.jsonl"), fixtures::SCRIPT).unwrap();
        std::fs::write(root.path().join("data.jsonl"), fixtures::DATA).unwrap();
        Self { root, all: Vec::new() }
    }

    /// The directory of the case that is added next.
    fn dir(&self) -> PathBuf {
        let dir = self.root.path().join(self.all.len().to_string());
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Writes a file of the case that is added next.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.dir().join(name), bytes).unwrap();
    }

    /// Adds a case. In `args` and `named`, `@` is the case's directory and `~` that of the good files.
    fn add(&mut self, what: impl Into<String>, args: &[&str], code: i32, named: &[&str]) {
        let dir = self.dir();
        let place = |text: &&str| {
            let text = text.replace('@', &dir.display().to_string());
            text.replace('~', &self.root.path().display().to_string())
        };
        let (args, named) = (args.iter().map(place).collect(), named.iter().map(place).collect());
        self.all.push(Case { what: what.into(), dir, args, code, named });
    }

    /// Runs every case, as many at once as there are processors.
    fn assert_refused(&self) {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let problems: Vec<String> = std::thread::scope(|scope| {
            let share = |cases| scope.spawn(move || -> Vec<_> { problems(cases) });
            let shares: Vec<_> = self.all.chunks(self.all.len().div_ceil(n_threads)).map(share).collect();
            shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
        });
        assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), self.all.len(), problems.join("\n"));
    }
}

fn problems(cases: &[Case]) -> Vec<String> {
    cases.iter().filter_map(Case::problem).collect()
}

impl Case {
    /// What is wrong with the way the input is refused, if anything is.
    fn problem(&self) -> Option<String> {
        let Output { code, stdout, stderr } = fixtures::run(&self.args);
        let fail = |problem: &str| Some(format!("— {}: {problem}\n{:?}\n{stderr}", self.what, self.args));
        if code != self.code {
            return fail(&format!("expected exit code {}, found {code}", self.code));
        }
        if stderr.contains("panicked") || !stdout.is_empty() {
            return fail("a panic, or a result");
        }
        let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
        let hint = stderr.lines().next_back().and_then(|line| line.strip_prefix("hint: "));
        if errors != 1 || hint.is_none_or(str::is_empty) {
            return fail("expected one `error: ` and a `hint: ` at the end");
        }
        if stderr.matches("(os error").count() > 1 {
            return fail("the system's message stands there twice");
        }
        let missing = self.named.iter().find(|named| !stderr.contains(*named))?;
        fail(&format!("expected the message to hold {missing:?}"))
    }

    /// Arguments and files, wherever they lie.
    fn input(&self) -> Vec<u8> {
        let args = self.args.join("\n").replace(&self.dir.display().to_string(), "@");
        let mut input = args.into_bytes();
        add_files(&self.dir, &mut input);
        input
    }
}

fn add_files(dir: &Path, input: &mut Vec<u8>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        input.extend(path.file_name().unwrap().as_encoded_bytes());
        if path.is_dir() { add_files(&path, input) } else { input.extend(std::fs::read(&path).unwrap()) }
    }
}

#[test]
fn data_files() {
    data::cases().assert_refused();
}

#[test]
fn flags_and_configurations() {
    options::cases().assert_refused();
}

#[test]
fn scripts_of_the_scripted_engine() {
    scripts::cases().assert_refused();
}

#[test]
fn gguf_files() {
    gguf::cases().assert_refused();
}

#[test]
fn gguf_metadata() {
    metadata::cases().assert_refused();
}

#[test]
fn safetensors_directories() {
    safetensors::cases().assert_refused();
}

#[test]
fn tokenizer_files() {
    tokenizers::cases().assert_refused();
}

#[test]
fn chat_templates() {
    templates::cases().assert_refused();
}

#[test]
fn files_of_rankings() {
    rankings::cases().assert_refused();
}

#[test]
fn runs_to_compare() {
    compare::cases().assert_refused();
}

#[test]
fn run_directories() {
    runs::cases().assert_refused();
}

#[test]
fn there_are_at_least_300_malformed_inputs_and_none_stands_twice() {
    let readers = [
        data::cases(),
        options::cases(),
        scripts::cases(),
        gguf::cases(),
        metadata::cases(),
        safetensors::cases(),
        tokenizers::cases(),
        templates::cases(),
        rankings::cases(),
        runs::cases(),
        compare::cases(),
    ];
    let all: Vec<&Case> = readers.iter().flat_map(|reader| &reader.all).collect();
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> =
        all.iter().filter(|case| !seen.insert(case.input())).map(|case| case.what.as_str()).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(all.len() >= 300, "only {} malformed inputs", all.len());
}
