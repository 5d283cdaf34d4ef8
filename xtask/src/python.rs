//! Virtual environments for the Python programs that midcourse is measured against and checked with.
//!
//! An environment lives in `target/xtask` and is made again when its requirements change; a stamp, written
//! last, holds the requirements it was made from, so that one left half made is never used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Python of the references: the programs that midcourse is measured against, and the goldens' scripts.
pub(crate) fn references() -> Result<PathBuf, String> {
    environment("peers", &crate::root().join("perf/peers/requirements.txt"))
}

/// The Python of the environment `name` with exactly `requirements`: they are the whole list.
pub(crate) fn environment(name: &str, requirements: &Path) -> Result<PathBuf, String> {
    let wanted = std::fs::read_to_string(requirements);
    let wanted = wanted.map_err(|error| format!("{}: {error}", requirements.display()))?;
    let environment = crate::root().join("target/xtask").join(format!("venv-{name}"));
    let (python, stamp) = (python_of(&environment), environment.join("requirements.txt"));
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(python);
    }
    run(Command::new(system_python()).args(["-m", "venv", "--clear"]).arg(&environment))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    run(pip.arg("--requirement").arg(requirements))?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}

fn python_of(environment: &Path) -> PathBuf {
    let path = if cfg!(windows) { ["Scripts", "python.exe"] } else { ["bin", "python"] };
    environment.join(path.iter().collect::<PathBuf>())
}

/// `python3`, or what the variable names that the `midcourse` binary reads too.
pub(crate) fn system_python() -> std::ffi::OsString {
    std::env::var_os("MIDCOURSE_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Standard output is kept for results.
fn run(command: &mut Command) -> Result<(), String> {
    crate::run(command.stdout(Stdio::null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_made_again_only_when_its_requirements_change() {
        let requirements = crate::root().join("target/xtask/requirements-test.txt");
        let made_from = |text: &str| {
            std::fs::create_dir_all(requirements.parent().unwrap()).unwrap();
            std::fs::write(&requirements, text).unwrap();
            environment("test", &requirements).unwrap()
        };
        let python = made_from("# nothing\n");
        let marker = python.with_file_name("marker");
        std::fs::write(&marker, "").unwrap();
        assert_eq!(made_from("# nothing\n"), python);
        assert!(marker.exists(), "made again though nothing changed");
        made_from("# still nothing\n");
        assert!(!marker.exists(), "kept though the requirements changed");
    }
}
