//! Models and data sets on a hub: from `hf:ORG/NAME` to files in the cache.
//!
//! What is fetched of a model are the few files that the engine reads: configuration, tokenizer, chat template and
//! safetensors, or one GGUF file; of a data set its card and one split ([`dataset`]). Pickle is never fetched. A revision is a commit from the beginning, so that
//! all files are of one state and a run can name it. The cache is that of the hub's own clients ([`cache`]);
//! the protocol is in [`client`].

pub(crate) mod cache;
mod client;
pub(crate) mod dataset;
mod glob;
mod name;
mod partial;
mod splits;

pub(crate) use name::{DataName, HubName, Repo, SCHEME, is_commit, is_gguf};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_engine::files;
use midcourse_engine::model::ModelConfig;

use cache::{RepoCache, not_cached};
use client::{Client, Listing};
use name::Kind;

use crate::failure::Failure;
use crate::storage::{self, at};
use crate::terminal::say;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// What stands beside the weights; those that a repository lacks are not needed.
const SMALL: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];
/// What a directory of safetensors cannot do without: one file of each row.
const NEEDED: [&[&str]; 2] = [&["config.json"], &["tokenizer.json", "tokenizer.model"]];
/// Endings of files that are, or hold, pickled Python objects.
const PICKLE: [&str; 5] = [".bin", ".pt", ".pth", ".ckpt", ".pkl"];
/// An index is a list of tensors.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// A hub's model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The directory of its files, or its GGUF file.
    pub path: PathBuf,
    pub commit: String,
}

/// How much of a model is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything that it takes to run it.
    Whole,
    /// What describes it: weights are taken where they are there, and not fetched.
    Header,
}

/// The model's files, fetched as far as they are not in the cache.
///
/// When the hub cannot be reached or has a fault, what the cache has is taken.
pub(crate) fn fetch(name: &HubName, extent: Extent) -> Result<Snapshot> {
    let cache = RepoCache::new(Repo::model(&name.repo))?;
    if is_offline() {
        return cached(name, &cache, "HF_HUB_OFFLINE is set");
    }
    let client = Client::from_env()?;
    let listing = match client.list(&cache.repo, name.revision(), &name.to_string()) {
        Ok(listing) => listing,
        Err(error) if matches!(error.downcast_ref(), Some(Failure::Unreachable { .. })) => {
            let Ok(snapshot) = cached(name, &cache, "") else { return Err(error) };
            say(&format!("{error:#}; taking commit {} from the cache", snapshot.commit));
            return Ok(snapshot);
        }
        Err(error) => return Err(error),
    };
    fetch_files((name, extent), &cache, &client, &listing)?;
    cache.set_commit(name.revision(), &listing.commit)?;
    Ok(snapshot(name, &cache, &listing.commit))
}

fn snapshot(name: &HubName, cache: &RepoCache, commit: &str) -> Snapshot {
    let dir = cache.snapshot(commit);
    let path = name.file.as_ref().map_or(dir.clone(), |file| dir.join(file));
    Snapshot { path, commit: commit.to_owned() }
}

/// `HF_HUB_OFFLINE`, read as the hub's own clients read it.
fn is_offline() -> bool {
    let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_uppercase();
    ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
}

/// The model as the cache has it.
fn cached(name: &HubName, cache: &RepoCache, reason: &str) -> Result<Snapshot> {
    let lacking = |missing: &[String]| not_cached(Kind::Model, &name.to_string(), reason, missing);
    let commit = cache.commit(name.revision()).ok_or_else(|| lacking(&[]))?;
    let files = cache.files(&commit);
    let weights = weights(name, &files).map_err(|error| match &name.file {
        Some(file) => lacking(std::slice::from_ref(file)).into(),
        None if files.iter().any(|file| is_gguf(file)) => error,
        None => lacking(&[]).into(),
    })?;
    let mut wanted = BTreeSet::new();
    match weights {
        Weights::Gguf(file) => wanted.extend([file.to_owned()]),
        Weights::Single => wanted.extend(lacking_of(&files)),
        Weights::Sharded => {
            wanted.extend(lacking_of(&files));
            wanted.extend(shards(&cache.snapshot(&commit).join(INDEX))?);
        }
    }
    let missing: Vec<String> = wanted.into_iter().filter(|file| !files.contains(file)).collect();
    if missing.is_empty() { Ok(snapshot(name, cache, &commit)) } else { Err(lacking(&missing).into()) }
}

/// In what a repository keeps its weights.
enum Weights<'a> {
    Single,
    Sharded,
    Gguf(&'a str),
}

/// The weights that `name` means among the files of a repository.
fn weights<'a>(name: &'a HubName, files: &[String]) -> Result<Weights<'a>> {
    let has = |file: &str| files.iter().any(|there| there == file);
    let gguf: Vec<&str> = files.iter().map(String::as_str).filter(|file| is_gguf(file)).collect();
    match &name.file {
        Some(file) if is_split(file) => return Err(split(name).into()),
        Some(file) if has(file) => return Ok(Weights::Gguf(file)),
        Some(file) => return Err(no_such_file(name, file, &gguf).into()),
        None if has(WEIGHTS) => return Ok(Weights::Single),
        None if has(INDEX) => return Ok(Weights::Sharded),
        None => {}
    }
    let pickle = files.iter().find(|file| PICKLE.iter().any(|ending| file.ends_with(ending)));
    Err(match (gguf.is_empty(), pickle) {
        (false, _) => Failure::Usage {
            problem: format!("{name}: the repository holds GGUF files, and none is named"),
            hint: format!("name one of {}", names(name, &gguf)),
        },
        (true, Some(file)) => Failure::Unsupported {
            problem: format!("{name}: expected {WEIGHTS} or {INDEX}, found pickle ({file})"),
            hint:
                "pickle can run code when it is read, so it never is; take a revision or a repository with \
                   safetensors, or convert the model"
                    .into(),
        },
        (true, None) => Failure::Input {
            problem: format!("{name}: expected {WEIGHTS}, {INDEX} or GGUF files, found none of them"),
            hint: "the repository may hold an adapter or a data set; name one with a whole model".into(),
        },
    }
    .into())
}

/// Whether a GGUF file is one of several that make a model: `…-00001-of-00003.gguf`.
fn is_split(file: &str) -> bool {
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = file.trim_end_matches(".gguf").rsplit('-');
    words.next().is_some_and(digits) && words.next() == Some("of") && words.next().is_some_and(digits)
}

fn split(name: &HubName) -> Failure {
    Failure::Unsupported {
        problem: format!("{name}: a GGUF model in several files"),
        hint:
            "put the files together with llama.cpp's `llama-gguf-split --merge` and give the path, or take \
               the repository's safetensors"
                .into(),
    }
}

fn no_such_file(name: &HubName, file: &str, gguf: &[&str]) -> Failure {
    let hint = match gguf {
        [] => format!("the repository holds no GGUF file; hf:{} names its safetensors", name.repo),
        gguf => format!("it holds {}", names(name, gguf)),
    };
    Failure::Input { problem: format!("{name}: the repository holds no {file}"), hint }
}

/// What to give for each of some GGUF files.
fn names(name: &HubName, files: &[&str]) -> String {
    const MOST: usize = 20;
    let full = |file: &&str| HubName { file: Some((*file).to_owned()), ..name.clone() }.to_string();
    let mut listed: Vec<String> = files.iter().take(MOST).map(full).collect();
    if files.len() > MOST {
        listed.push(format!("{} more", files.len() - MOST));
    }
    listed.join(", ")
}

/// Fetches what `name` means of a commit's files.
fn fetch_files(
    (name, extent): (&HubName, Extent),
    cache: &RepoCache,
    client: &Client,
    listing: &Listing,
) -> Result<()> {
    let fetch = |file: &str| fetch_file(cache, client, &listing.commit, file);
    let fetch_weights = |file: &str| match extent {
        Extent::Header if !cache.snapshot(&listing.commit).join(file).exists() => Err(not_pulled(name)),
        _ => fetch(file),
    };
    let weights = weights(name, &listing.files)?;
    if let Weights::Gguf(file) = weights {
        return fetch_weights(file);
    }
    if let Some(file) = lacking_of(&listing.files).next() {
        return Err(Failure::Unsupported {
            problem: format!("{name}: the repository holds no {file}"),
            hint: "take a repository in transformers' format with its tokenizer, or a GGUF file".into(),
        }
        .into());
    }
    let has = |file: &&str| listing.files.iter().any(|there| there == *file);
    SMALL.into_iter().filter(has).try_for_each(fetch)?;
    must_be_supported(&cache.snapshot(&listing.commit).join("config.json"))?;
    match weights {
        Weights::Sharded => {
            fetch(INDEX)?;
            let shards = shards(&cache.snapshot(&listing.commit).join(INDEX))?;
            if let Some(file) = shards.iter().find(|shard| !listing.files.contains(shard)) {
                return Err(Failure::Input {
                    problem: format!("{name}: {INDEX} names {file:?}, which the repository does not hold"),
                    hint: "the repository is not whole; try another revision".into(),
                }
                .into());
            }
            match extent {
                Extent::Whole => shards.iter().try_for_each(|shard| fetch(shard)),
                // The index tells enough.
                Extent::Header => Ok(()),
            }
        }
        // The configuration tells enough.
        Weights::Single if extent == Extent::Header => Ok(()),
        Weights::Single | Weights::Gguf(_) => fetch_weights(WEIGHTS),
    }
}

/// What a directory of `files` lacks to be a model.
fn lacking_of(files: &[String]) -> impl Iterator<Item = String> {
    let has = |row: &&&[&str]| row.iter().any(|needed| files.iter().any(|file| file == needed));
    let lacking: Vec<String> = NEEDED.iter().filter(|row| !has(row)).map(|row| row[0].to_owned()).collect();
    lacking.into_iter()
}

/// The failure of a model that is described by the file that holds its weights, when that is not there.
fn not_pulled(name: &HubName) -> anyhow::Error {
    Failure::Input {
        problem: format!("{name}: the model is not in the cache"),
        hint: format!("fetch it once with `midcourse models pull {name}`"),
    }
    .into()
}

/// Refuses a model that the engine does not run before its weights are fetched.
fn must_be_supported(config: &Path) -> Result<()> {
    let bytes = files::read(config, MAX_INDEX_BYTES).map_err(at(config))?;
    let json = serde_json::from_slice(&bytes).map_err(|error| Failure::Input {
        problem: format!("{}: expected JSON: {error}", config.display()),
        hint: "the repository is damaged; try another revision".into(),
    })?;
    ModelConfig::from_json(config, &json)?;
    Ok(())
}

/// The files that an index names; all of them lie beside it.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let refuse = |problem: String| Failure::Input {
        problem: format!("{}: {problem}", index.display()),
        hint: "the repository is damaged or hostile; try another revision".into(),
    };
    let bytes = files::read(index, MAX_INDEX_BYTES).map_err(|error| refuse(error.to_string()))?;
    let json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| refuse(format!("expected JSON: {error}")))?;
    let map = json.get("weight_map").and_then(|map| map.as_object()).filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| refuse("field weight_map: expected an object of tensors".into()))?;
    let shard = |(tensor, file): (&String, &serde_json::Value)| match file.as_str() {
        Some(file) if is_shard(file) => Ok(file.to_owned()),
        _ => Err(refuse(format!("field weight_map.{tensor}: {file} is no file name here")).into()),
    };
    map.iter().map(shard).collect()
}

fn is_shard(file: &str) -> bool {
    name::is_path_within(file) && !file.contains('/') && file.ends_with(".safetensors")
}

/// Fetches a file's content unless it is there, and gives it its name in the commit.
fn fetch_file(cache: &RepoCache, client: &Client, commit: &str, file: &str) -> Result<()> {
    if cache.snapshot(commit).join(file).exists() {
        return Ok(());
    }
    let remote = client.describe(&cache.repo, commit, file)?;
    let blob = cache.blob(&remote.etag);
    let _lock = cache.lock(&remote.etag, file)?;
    if !blob.exists() {
        let dir = cache.dir().join("blobs");
        std::fs::create_dir_all(&dir).map_err(at(&dir))?;
        let partial = dir.join(format!("{}.midcourse.incomplete", remote.etag));
        client.download((&cache.repo, commit, file), &remote, &partial)?;
        std::fs::rename(&partial, &blob).map_err(storage::at(&blob))?;
    }
    Ok(cache.link(commit, file, &remote.etag)?)
}
