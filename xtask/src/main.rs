//! What developers and newcomers run: `cargo xtask demo | test | ci | golden | test-servers | perf`.
//!
//! Standard library only, so that it compiles in seconds on a fresh machine.

mod perf;
mod python;
mod servers;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask demo                            build midcourse and run its demo: measure, make preferences, train, measure
cargo xtask test                            format, lints, every test (fetches the small model once)
cargo xtask ci                              the same, as the continuous integration runs it
cargo xtask golden                          make the reference files in testdata/ again with transformers
cargo xtask test-servers [NAME…]            the same evaluation embedded and through real servers
cargo xtask perf eval [--peers] [--json]    how fast an evaluation runs, against its peers
cargo xtask perf dtype                      what each form of the weights costs, on a larger model
cargo xtask perf synth [--json]             how fast preference pairs are written, and in how much memory
cargo xtask perf train [--peers] [--json]   how fast a ranking is trained on, against TRL
cargo xtask perf bench [--peers] [--json]   how fast choices are scored, against lm-evaluation-harness";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("demo") => demo(),
        Some("test" | "ci") => test(),
        Some("golden") => golden(),
        Some("test-servers") => servers::test(&arguments[1..]),
        Some("perf") => perf::run(&arguments[1..]),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&problem);
            ExitCode::FAILURE
        }
    }
}

/// The whole story on the sandbox set, from a fresh clone.
fn demo() -> Result<(), String> {
    cargo(&["build", "--release", "--package", "midcourse"])?;
    midcourse(&["demo"])
}

/// Everything that must hold before a change lands.
fn test() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    cargo(&["run", "--package", "midcourse", "--", "models", "pull", "smollm2"])?;
    cargo(&["test", "--workspace"])
}

/// Makes the goldens again; their tests say whether midcourse still agrees.
fn golden() -> Result<(), String> {
    let data = root().join("testdata");
    let mut script = Command::new(python::references()?);
    script.arg(data.join("golden.py")).arg("--smollm2").arg(model_path("smollm2")?).arg("--out").arg(&data);
    run(script.env("HF_HUB_OFFLINE", "1").env("TQDM_DISABLE", "1"))
}

/// Fetches a model of the catalogue and returns where it is.
pub(crate) fn model_path(name: &str) -> Result<PathBuf, String> {
    cargo(&["build", "--release", "--package", "midcourse"])?;
    let output = Command::new(binary()).args(["models", "pull", name]).output();
    let output = output.map_err(|error| format!("midcourse: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

pub(crate) fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release").join("midcourse")
}

fn midcourse(arguments: &[&str]) -> Result<(), String> {
    run(Command::new(binary()).args(arguments).current_dir(root()))
}

/// Runs cargo in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Result<(), String> {
    run(Command::new(env!("CARGO")).args(arguments).current_dir(root()))
}

/// Runs a command, its output shown; says which one failed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}").replace('"', "");
    say(&format!("→ {shown}"));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// Writes a line to standard error.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
