//! Data sets of a hub: the card and the files of one split, in the cache.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cache::{RepoCache, not_cached};
use super::client::Client;
use super::name::{Kind, Repo, is_commit};
use super::{DataName, fetch_file, is_offline, splits};
use crate::failure::Failure;
use crate::input::Card;
use crate::terminal::say;

const CARD: &str = "README.md";

/// A split of a hub's data set on this machine.
#[derive(Debug)]
pub(crate) struct Split {
    pub commit: String,
    /// Paths in the repository and on this machine, in the order of their rows.
    pub files: Vec<(String, PathBuf)>,
    pub card: Card,
}

/// The files of a split, fetched as far as they are not in the cache; at `commit`, where one is recorded.
///
/// When the hub cannot be reached or has a fault, what the cache has is taken.
pub(crate) fn fetch(name: &DataName, commit: Option<&str>) -> Result<Split> {
    let cache = RepoCache::new(Repo::dataset(&name.repo))?;
    let revision = commit.filter(|commit| is_commit(commit)).unwrap_or(name.revision());
    if is_offline() {
        return cached((name, revision), &cache, "HF_HUB_OFFLINE is set");
    }
    let client = Client::from_env()?;
    let listing = match client.list(&cache.repo, revision, &name.to_string()) {
        Ok(listing) => listing,
        Err(error) if matches!(error.downcast_ref(), Some(Failure::Unreachable { .. })) => {
            let Ok(split) = cached((name, revision), &cache, "") else { return Err(error) };
            say(&format!("{error:#}; taking commit {} from the cache", split.commit));
            return Ok(split);
        }
        Err(error) => return Err(error),
    };
    let fetch = |file: &str| fetch_file(&cache, &client, &listing.commit, file);
    if listing.files.iter().any(|file| file == CARD) {
        fetch(CARD)?;
    }
    let snapshot = cache.snapshot(&listing.commit);
    let card = Card::read(&snapshot.join(CARD));
    let files = splits::choose(name, &card, &listing.files)?;
    files.iter().try_for_each(|file| fetch(file))?;
    cache.set_listing(&listing.commit, &listing.files)?;
    cache.set_commit(revision, &listing.commit)?;
    Ok(Split { files: placed(&snapshot, files), card, commit: listing.commit })
}

/// The split as the cache has it.
fn cached((name, revision): (&DataName, &str), cache: &RepoCache, reason: &str) -> Result<Split> {
    let lacking = |missing: &[String]| not_cached(Kind::Dataset, &name.to_string(), reason, missing);
    let commit = cache.commit(revision).ok_or_else(|| lacking(&[]))?;
    let snapshot = cache.snapshot(&commit);
    let there = cache.files(&commit);
    if there.is_empty() {
        return Err(lacking(&[]).into());
    }
    let card = Card::read(&snapshot.join(CARD));
    let listed = cache.listing(&commit);
    if listed.is_none() {
        say(&format!("{name}: the files that the cache has of the data set are taken for all of them"));
    }
    let files = splits::choose(name, &card, listed.as_ref().unwrap_or(&there))?;
    let missing: Vec<String> = files.iter().filter(|file| !there.contains(file)).cloned().collect();
    if missing.is_empty() {
        return Ok(Split { files: placed(&snapshot, files), card, commit });
    }
    Err(lacking(&missing).into())
}

fn placed(snapshot: &Path, files: Vec<String>) -> Vec<(String, PathBuf)> {
    files.into_iter().map(|file| (file.clone(), snapshot.join(file))).collect()
}
