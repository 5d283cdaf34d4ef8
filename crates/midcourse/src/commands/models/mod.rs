//! `midcourse models`: what can be named, fetching it, describing it, removing it.

mod show;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::args::ModelsCommand;
use crate::catalogue::{ENTRIES, Entry};
use crate::failure::Failure;
use crate::hub::cache::{self, RepoCache};
use crate::hub::{self, Extent, HubName, Repo};
use crate::model::ModelName;
use crate::storage::{self, at};
use crate::terminal::{print, say};

/// Said of a model whose packages name no licence.
const NO_LICENCE: &str = "no licence stated";

/// Runs the command.
pub(crate) fn run(command: Option<&ModelsCommand>, json: bool) -> Result<u8> {
    match command {
        Some(ModelsCommand::Pull { name }) => pull(name),
        Some(ModelsCommand::Show { name, json }) => show::run(name, *json),
        Some(ModelsCommand::Rm { name }) => remove(name),
        None => list(json),
    }
}

fn pull(name: &str) -> Result<u8> {
    let path = match ModelName::parse(name)? {
        ModelName::Entry(entry) => pull_entry(entry)?,
        ModelName::Hub(hub) => hub::fetch(&hub, Extent::Whole)?.path,
        ModelName::Script(_) | ModelName::Path(_) | ModelName::Endpoint(_) => {
            return Err(not_in_a_cache(name).into());
        }
    };
    print(&path.display().to_string());
    Ok(0)
}

fn pull_entry(entry: &Entry) -> Result<std::path::PathBuf> {
    if !entry.is_pulled()? {
        let megabytes = entry.bytes() / 1_000_000;
        let licence = entry.licence.unwrap_or(NO_LICENCE);
        say(&format!("fetching {} ({megabytes} MB, {licence}) …", entry.description));
    }
    if entry.licence.is_none() {
        say("the packages state no licence: find out from the model's authors what you may do with it");
    }
    entry.pull()
}

fn not_in_a_cache(name: &str) -> Failure {
    let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
    Failure::Usage {
        problem: format!("{name}: expected {} or hf:ORG/NAME", names.join(", ")),
        hint: "any other model is named by the path of its .gguf file or directory, which is left alone"
            .into(),
    }
}

fn remove(name: &str) -> Result<u8> {
    let dir = match ModelName::parse(name)? {
        ModelName::Entry(entry) => entry.dir()?,
        ModelName::Hub(HubName { repo, file: None, revision: None }) => {
            RepoCache::new(Repo::model(&repo))?.dir()
        }
        ModelName::Hub(HubName { repo, .. }) => {
            return Err(Failure::Usage {
                problem: format!("{name}: expected a repository without file and revision"),
                hint: format!("contents are shared between revisions; hf:{repo} removes all of them"),
            }
            .into());
        }
        ModelName::Script(_) | ModelName::Path(_) | ModelName::Endpoint(_) => {
            return Err(not_in_a_cache(name).into());
        }
    };
    remove_dir(name, &dir)?;
    Ok(0)
}

/// Removes a model's directory, or the link that stands in its place and not what it leads to.
fn remove_dir(name: &str, dir: &Path) -> Result<()> {
    let there = dir.symlink_metadata().map_err(|_| Failure::Input {
        problem: format!("{name}: nothing of it is in the cache"),
        hint: "`midcourse models` lists what is there".into(),
    })?;
    let bytes = if there.is_dir() { storage::bytes_below(dir) } else { 0 };
    let removed = if there.is_dir() { std::fs::remove_dir_all(dir) } else { std::fs::remove_file(dir) };
    removed.map_err(at(dir))?;
    print(&format!("removed {} ({bytes} bytes)", dir.display()));
    Ok(())
}

/// A model that can be named.
#[derive(Serialize)]
struct Listed {
    name: String,
    description: Option<&'static str>,
    licence: Option<&'static str>,
    /// Of its file; of everything in the cache, for a hub's repository.
    bytes: u64,
    sha256: Option<&'static str>,
    path: String,
    pulled: bool,
}

impl Listed {
    fn entry(entry: &Entry) -> Result<Self> {
        Ok(Self {
            name: entry.name.into(),
            description: Some(entry.description),
            licence: entry.licence,
            bytes: entry.bytes(),
            sha256: Some(entry.sha256),
            path: entry.path()?.display().to_string(),
            pulled: entry.is_pulled()?,
        })
    }

    /// None for a repository without weights that the engine reads.
    fn repo(repo: &RepoCache) -> Option<Self> {
        let is_model = |file: &String| file.ends_with(".safetensors") || hub::is_gguf(file);
        let has_model = |commit: &String| repo.files(commit).iter().any(is_model);
        repo.commits().iter().any(has_model).then(|| Self {
            name: format!("{}{}", hub::SCHEME, repo.repo),
            description: None,
            licence: None,
            bytes: repo.bytes(),
            sha256: None,
            path: repo.dir().display().to_string(),
            pulled: true,
        })
    }

    fn line(&self) -> String {
        let is_entry = self.description.is_some();
        let place =
            if self.pulled { self.path.clone() } else { format!("`midcourse models pull {}`", self.name) };
        let licence = if is_entry { self.licence.unwrap_or(NO_LICENCE) } else { "" };
        format!(
            "{:<18}  {:<35} {:>6} MB  {licence:<17}  {place}",
            self.name,
            self.description.unwrap_or_default(),
            self.bytes / 1_000_000,
        )
    }
}

fn list(json: bool) -> Result<u8> {
    let mut models = ENTRIES.iter().map(Listed::entry).collect::<Result<Vec<_>>>()?;
    models.extend(cache::repos()?.iter().filter_map(Listed::repo));
    if json {
        print(&serde_json::to_string_pretty(&models)?);
    } else {
        let lines: Vec<String> = models.iter().map(Listed::line).collect();
        print(&lines.join("\n"));
    }
    Ok(0)
}
