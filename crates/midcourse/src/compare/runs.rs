//! What the runs on a command line are called, and which directories are one run.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use midcourse_core::compare::{Measured, Run};

use super::read::{Recorded, recorded};
use crate::failure::Failure;

/// A directory, and the name that the user gives to its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunArg {
    name: Option<String>,
    dir: PathBuf,
}

impl RunArg {
    /// A directory whose run is called `name`.
    pub(crate) fn named(name: &str, dir: PathBuf) -> Self {
        Self { name: Some(name.to_owned()), dir }
    }
}

impl FromStr for RunArg {
    type Err = Infallible;

    /// What is there is a directory, also with a `=` in its name.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty() && !Path::new(text).exists());
        Ok(named.map_or_else(
            || Self { name: None, dir: text.into() },
            |(name, dir)| Self { name: Some(name.to_owned()), dir: dir.into() },
        ))
    }
}

/// Reads the runs that the arguments name, each under a name of its own, in the order in which they begin.
pub(crate) fn read(args: &[RunArg]) -> Result<Vec<Run>> {
    let mut taken: BTreeSet<String> = args.iter().filter_map(|arg| arg.name.clone()).collect();
    let mut runs: Vec<Run> = Vec::new();
    for arg in args {
        let Recorded { name, measures } = recorded(&arg.dir)?;
        let source = arg.dir.display().to_string();
        let known = arg.name.as_ref().and_then(|name| runs.iter_mut().find(|run| run.name == *name));
        if let Some(run) = known {
            join(run, source, measures)?;
        } else {
            let name = arg.name.clone().unwrap_or_else(|| free(name, &source, &mut taken));
            runs.push(Run { name, sources: vec![source], measures });
        }
    }
    if let [only] = runs.as_slice() {
        return Err(Failure::Usage {
            problem: format!("all directories are the run {}, and two runs are needed", only.name),
            hint: "give the runs different names: BASE=DIR OTHER=DIR".into(),
        }
        .into());
    }
    Ok(runs)
}

/// Adds what another directory has measured to a run.
fn join(run: &mut Run, source: String, measures: Vec<Measured>) -> Result<()> {
    let names: BTreeSet<&str> = run.measures.iter().map(|known| known.measure.name.as_str()).collect();
    let twice = measures.iter().find(|measured| names.contains(measured.measure.name.as_str()));
    if let Some(twice) = twice {
        return Err(Failure::Usage {
            problem: format!(
                "{}: {} and {source} have both measured {}",
                run.name,
                run.sources.join(", "),
                twice.measure.name
            ),
            hint: "directories of one NAME add to each other; give those of different runs different names"
                .into(),
        }
        .into());
    }
    run.sources.push(source);
    run.measures.extend(measures);
    Ok(())
}

/// A name that no other run has: that of the model, else with the directory, else with a number.
fn free(name: String, source: &str, taken: &mut BTreeSet<String>) -> String {
    let with_dir = format!("{name} ({source})");
    let numbered = (2..).map(|n| format!("{with_dir} {n}"));
    let mut names = [name, with_dir.clone()].into_iter().chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or(with_dir);
    taken.insert(free.clone());
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_before_a_directory_unless_the_whole_is_one() {
        let arg = |text: &str| text.parse::<RunArg>().unwrap();
        let named = |name: Option<&str>, dir: &str| RunArg { name: name.map(str::to_owned), dir: dir.into() };
        assert_eq!(arg("base=runs/a"), named(Some("base"), "runs/a"));
        assert_eq!(arg("runs/a"), named(None, "runs/a"));
        assert_eq!(arg("=runs/a"), named(None, "=runs/a"));
        let root = tempfile::tempdir().unwrap();
        let odd = root.path().join("lr=1e-4");
        std::fs::create_dir(&odd).unwrap();
        let odd = odd.display().to_string();
        assert_eq!(arg(&odd), named(None, &odd));
    }

    #[test]
    fn runs_of_one_model_are_told_by_their_directories() {
        let mut taken = BTreeSet::new();
        let mut name = |dir: &str| free("smollm2".into(), dir, &mut taken);
        let names = [name("a"), name("b"), name("b")];
        assert_eq!(names, ["smollm2", "smollm2 (b)", "smollm2 (b) 2"]);
    }
}
