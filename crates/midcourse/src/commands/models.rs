//! `midcourse models`: what can be named, and fetching it.

use anyhow::Result;
use serde::Serialize;

use crate::args::ModelsCommand;
use crate::catalogue::{self, ENTRIES, Entry};
use crate::failure::Failure;
use crate::terminal::{print, say};

/// Runs the command.
pub(crate) fn run(command: Option<&ModelsCommand>, json: bool) -> Result<u8> {
    match command {
        Some(ModelsCommand::Pull { name }) => pull(name),
        None => list(json),
    }
}

fn pull(name: &str) -> Result<u8> {
    let Some(entry) = catalogue::find(name) else {
        let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
        return Err(Failure::Usage {
            problem: format!("{name}: expected one of {}", names.join(", ")),
            hint: "any other model is named by the path of its .gguf file or directory".into(),
        }
        .into());
    };
    if !entry.is_pulled()? {
        say(&format!(
            "fetching {} ({} MB, {}) …",
            entry.description,
            entry.bytes() / 1_000_000,
            entry.licence.unwrap_or(NO_LICENCE)
        ));
    }
    let path = entry.pull()?;
    print(&path.display().to_string());
    Ok(0)
}

/// Said of a model whose packages name no licence.
const NO_LICENCE: &str = "no licence stated";

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    description: &'static str,
    licence: Option<&'static str>,
    bytes: u64,
    sha256: &'static str,
    path: String,
    pulled: bool,
}

fn list(json: bool) -> Result<u8> {
    let listed = |entry: &Entry| -> Result<Listed> {
        Ok(Listed {
            name: entry.name,
            description: entry.description,
            licence: entry.licence,
            bytes: entry.bytes(),
            sha256: entry.sha256,
            path: entry.path()?.display().to_string(),
            pulled: entry.is_pulled()?,
        })
    };
    let models = ENTRIES.iter().map(listed).collect::<Result<Vec<_>>>()?;
    if json {
        print(&serde_json::to_string_pretty(&models)?);
        return Ok(0);
    }
    for model in models {
        let place = if model.pulled { model.path } else { format!("`midcourse models pull {}`", model.name) };
        let size = model.bytes / 1_000_000;
        print(&format!(
            "{:<18} {:<35} {size:>4} MB  {:<18} {place}",
            model.name,
            model.description,
            model.licence.unwrap_or(NO_LICENCE),
        ));
    }
    Ok(0)
}
