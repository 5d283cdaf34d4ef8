//! Launching the script, waiting for it, and passing signals on.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::output::{last_lines, said};
use super::relay::{Relay, Seen};
use super::{ACCELERATE, DIR, Data, REQUIREMENTS, SCRIPT};
use crate::failure::Failure;
use crate::signals::Signals;
use crate::storage::at;
use crate::terminal::say;
use crate::train::resume_hint;

/// How often the log is looked at.
const POLL: Duration = Duration::from_millis(200);
/// How long processes have to end once they were told to.
const GRACE: Duration = Duration::from_secs(20);
/// Lines of the output that are shown of a training that failed.
const LINES_SHOWN: usize = 20;
/// What was printed, below the hand-over.
const OUTPUT: &str = "output.log";
const CHECKPOINTS: &str = "checkpoints";
const PACKAGES: &str = "accelerate, datasets, peft, torch, transformers, trl";

/// What launches the script.
pub(crate) struct Launch<'a> {
    /// The interpreter that has the packages.
    pub python: PathBuf,
    pub signals: &'a Signals,
}

impl Launch<'_> {
    /// Checks that the packages are there that a run needs.
    ///
    /// # Errors
    /// When Python or a package is missing.
    pub(crate) fn check(&self, run: &Path) -> Result<(), Failure> {
        let python = self.python.display();
        let asked = Command::new(&self.python)
            .arg("-c")
            .arg(format!("import {PACKAGES}"))
            .stdin(Stdio::null())
            .output();
        let output = asked.map_err(|error| Failure::Input {
            problem: format!(
                "--python {python}: expected an interpreter of Python, found none that starts: {error}"
            ),
            hint: format!("name one with --python, say .venv/bin/python; {}", resume_hint(run)),
        })?;
        if output.status.success() {
            return Ok(());
        }
        let why = last_lines(&output.stderr, 1).pop().unwrap_or_else(|| output.status.to_string());
        Err(Failure::Input {
            problem: format!("--python {python}: expected the packages {PACKAGES}, found: {why}"),
            hint: format!(
                "{python} -m pip install -r {}, or name another interpreter with --python; then {}",
                run.join(DIR).join(REQUIREMENTS).display(),
                resume_hint(run)
            ),
        })
    }

    /// Runs the script to its end.
    pub(super) fn run(&self, run: &Path, data: Data<'_>, seen: &mut dyn FnMut(&Seen)) -> Result<()> {
        let dir = run.join(DIR);
        let checkpoint = newest_checkpoint(&dir.join(CHECKPOINTS))?;
        let mut relay = Relay::open(run, data, checkpoint.as_ref().map_or(0, |(step, _)| *step))?;
        if let Some((step, path)) = &checkpoint {
            say(&format!("going on from {} at step {step}", path.display()));
        }
        let output = dir.join(OUTPUT);
        let mut child = self.spawn(&dir, &output, checkpoint.map(|(_, path)| path))?;
        let ended = self.watch(&mut child, &mut relay, seen);
        if !matches!(ended, Ok(Some(_))) {
            end(&mut child)?;
        }
        relay.read_on(seen)?;
        relay.finish()?;
        if let Some(failure) = self.signals.failure(resume_hint(run)) {
            return Err(failure.into());
        }
        match ended? {
            Some(status) if !status.success() => Err(failed(status, run).into()),
            _ => Ok(()),
        }
    }

    /// Relays until the launcher ends; none when a signal came before.
    fn watch(
        &self,
        child: &mut Child,
        relay: &mut Relay<'_>,
        seen: &mut dyn FnMut(&Seen),
    ) -> Result<Option<ExitStatus>> {
        while !self.signals.stopping() {
            relay.read_on(seen)?;
            if let Some(status) = child.try_wait().context("waiting for TRL")? {
                return Ok(Some(status));
            }
            thread::sleep(POLL);
        }
        Ok(None)
    }

    /// Starts the launcher in a group of its own: all processes of the training can be reached through it.
    fn spawn(&self, dir: &Path, output: &Path, checkpoint: Option<PathBuf>) -> Result<Child> {
        let open = OpenOptions::new().create(true).append(true).open(output);
        let out = open.map_err(at(output))?;
        let error: File = out.try_clone().map_err(at(output))?;
        let mut command = Command::new(&self.python);
        command.args(["-m", "accelerate.commands.launch", "--config_file", ACCELERATE, SCRIPT]);
        if let Some(checkpoint) = checkpoint {
            command.arg("--resume").arg(checkpoint);
        }
        command.current_dir(dir).stdin(Stdio::null()).stdout(out).stderr(error).process_group(0);
        command.spawn().with_context(|| format!("starting {}", self.python.display()))
    }
}

/// Steps that a run which is resumed does not do again.
pub(crate) fn n_steps_done(run: &Path) -> Result<usize> {
    let newest = newest_checkpoint(&run.join(DIR).join(CHECKPOINTS))?;
    Ok(newest.map_or(0, |(step, _)| step))
}

/// The checkpoint of the latest step, relative to the directory of the hand-over.
fn newest_checkpoint(dir: &Path) -> Result<Option<(usize, PathBuf)>> {
    if !dir.exists() {
        return Ok(None);
    }
    let entries = fs::read_dir(dir).map_err(at(dir))?.flatten();
    let checkpoints = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let step = name.strip_prefix("checkpoint-")?.parse().ok()?;
        // The state is what transformers writes last.
        let is_whole = entry.path().join("trainer_state.json").exists();
        is_whole.then(|| (step, Path::new(CHECKPOINTS).join(name)))
    });
    Ok(checkpoints.max())
}

/// Tells all processes to end, and makes them.
fn end(child: &mut Child) -> Result<()> {
    tell(child, "-TERM");
    let told = Instant::now();
    while told.elapsed() < GRACE {
        if child.try_wait().context("waiting for TRL")?.is_some() {
            break;
        }
        thread::sleep(POLL);
    }
    // What the launcher has left behind is in its group too.
    tell(child, "-KILL");
    child.wait().context("waiting for TRL")?;
    Ok(())
}

/// Sends a signal to the group of a process. That nobody is left to hear it is no error.
fn tell(child: &Child, signal: &str) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
}

fn failed(status: ExitStatus, run: &Path) -> Failure {
    let output = run.join(DIR).join(OUTPUT);
    let text = fs::read(&output).unwrap_or_default();
    for line in said(&last_lines(&text, LINES_SHOWN)) {
        say(&line);
    }
    Failure::Input {
        problem: format!("TRL did not train: the launcher ended with {status}"),
        hint: format!(
            "above are the last lines of {}; once they are dealt with, {}",
            output.display(),
            resume_hint(run)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_checkpoint_is_gone_on_from() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(newest_checkpoint(&temp.path().join("none")).unwrap(), None);
        for (name, is_whole) in
            [("checkpoint-20", true), ("checkpoint-100", true), ("checkpoint-120", false), ("x", true)]
        {
            fs::create_dir(temp.path().join(name)).unwrap();
            if is_whole {
                fs::write(temp.path().join(name).join("trainer_state.json"), "{}").unwrap();
            }
        }
        let found = newest_checkpoint(temp.path()).unwrap();
        assert_eq!(found, Some((100, PathBuf::from("checkpoints/checkpoint-100"))));
    }

    #[test]
    fn what_the_launcher_has_started_ends_with_it() {
        let temp = tempfile::tempdir().unwrap();
        let script = "sleep 600 & echo $! > pid; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(temp.path()).process_group(0);
        let mut child = command.spawn().unwrap();
        let pid = loop {
            let text = fs::read_to_string(temp.path().join("pid")).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
            thread::sleep(Duration::from_millis(10));
        };
        end(&mut child).unwrap();
        // A process that nobody has waited for yet is a zombie, and no longer runs. One that was just killed may need
        // the processor once more to end.
        let stat = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let has_ended = || stat().is_empty() || stat().contains(") Z ");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !has_ended() && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(has_ended(), "{}", stat());
    }
}
