//! Options as tables: flags over a file over a saved plan, and in what two plans differ.
//!
//! Flags and file have the same names and the same type; laying one over the other is overlaying tables, so an option
//! is defined in one place. A saved plan is itself a valid file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_engine::files;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::run_dir::{self, Opening};
use crate::storage::StorageError;

/// Bytes of the longest file of options.
const MAX_FILE: u64 = 1 << 20;

/// Lays `above` over `below`: what is set above wins.
pub(crate) fn over<T: Serialize + DeserializeOwned>(above: &T, below: &T) -> Result<T> {
    let mut table = toml::Table::try_from(below)?;
    table.extend(toml::Table::try_from(above)?);
    Ok(table.try_into()?)
}

/// Reads a file of options.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let wrong = |problem: String| Failure::Input {
        problem: format!("{}: {problem}", path.display()),
        hint: "a configuration is TOML with the names of the flags, without their dashes in front".into(),
    };
    let text = files::read_to_string(path, MAX_FILE).map_err(|e| wrong(e.to_string()))?;
    Ok(toml::from_str(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?)
}

/// Options of a command that make the plan of a run.
pub(crate) trait Planned: Serialize + DeserializeOwned + Default {
    /// What they come to, every default named.
    type Plan;

    /// The run's directory, where one is named.
    fn out(&self) -> Option<&Path>;

    /// Checks the options.
    fn plan(&self) -> Result<Self::Plan>;

    /// In what a plan differs from that of the run that is gone on with, if it does.
    fn difference(now: &Self::Plan, earlier: &Self::Plan) -> Result<Option<String>>;
}

/// Flags over the file over the saved plan of a run that is resumed; and the run's directory, where one is named.
pub(crate) fn resolve<O: Planned>(
    flags: &O,
    file: Option<&Path>,
    opening: Opening,
) -> Result<(O::Plan, Option<PathBuf>)> {
    let file = file.map(read).transpose()?.unwrap_or_default();
    let given = over(flags, &file)?;
    let out = given.out().map(Path::to_owned);
    if opening == Opening::New {
        return Ok((given.plan()?, out));
    }
    let Some(out) = out else {
        return Err(Failure::Usage {
            problem: "--resume: --out is missing".into(),
            hint: "name the directory of the run to go on with, for instance --out runs/first".into(),
        }
        .into());
    };
    let path = out.join(run_dir::PLAN);
    if !path.exists() {
        return Err(StorageError::NothingToResume { path: out }.into());
    }
    let earlier: O = read(&path)?;
    let plan = over(&given, &earlier)?.plan()?;
    if let Some(difference) = O::difference(&plan, &earlier.plan()?)? {
        return Err(StorageError::Mismatch { path, difference }.into());
    }
    Ok((plan, Some(out)))
}

/// The first option in which two tables differ, in words.
pub(crate) fn difference(now: &toml::Table, before: &toml::Table) -> Option<String> {
    let (option, now, before) = differing(now, before)?;
    Some(format!("{option} = {before} (now {now})"))
}

/// The first option in which two tables differ, and its values.
pub(crate) fn differing<'a>(
    one: &'a toml::Table,
    other: &'a toml::Table,
) -> Option<(&'a str, String, String)> {
    let mut keys = one.keys().chain(other.keys());
    let option = keys.find(|key| one.get(*key) != other.get(*key))?;
    let value = |table: &toml::Table| table.get(option).map_or("none".into(), ToString::to_string);
    Some((option, value(one), value(other)))
}

/// The command line that asks for the same as these options, as a shell takes it.
pub(crate) fn command(name: &str, options: &impl Serialize) -> Result<String> {
    let plain = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut words = vec![format!("midcourse {name}")];
    for (option, value) in toml::Table::try_from(options)? {
        words.push(format!("--{option}"));
        match value {
            toml::Value::Boolean(true) => {}
            toml::Value::Array(values) => words.extend(values.iter().map(plain).map(quoted)),
            value => words.push(quoted(plain(&value))),
        }
    }
    Ok(words.join(" "))
}

/// An argument as a shell takes it.
pub(crate) fn quoted(argument: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,#".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}
