//! Options as tables: flags over a file over a saved plan, and in what two plans differ.
//!
//! Flags and file have the same names and the same type; laying one over the other is overlaying tables, so an option
//! is defined in one place. A saved plan is itself a valid file.

use std::path::Path;

use anyhow::Result;
use midcourse_engine::files;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

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
