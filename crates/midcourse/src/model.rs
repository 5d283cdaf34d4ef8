//! From the name of a model to the model itself.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::engine::{Continue, Score};
use midcourse_core::template::{ChatTemplate, Tokenizer};
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::local::{LoadOptions, LocalModel};
use midcourse_engine::scripted::Scripted;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalogue::{self, Entry};
use crate::failure::Failure;
use crate::hub::{self, Extent, HubName};
use crate::input::{hex, sha256_of_file};

/// A model that can be evaluated.
pub(crate) struct Model {
    pub engine: Box<dyn Engine>,
    pub tokenizer: Box<dyn Tokenizer + Send + Sync>,
    pub template: ChatTemplate,
    pub identity: Identity,
}

/// What the binary asks of an engine.
pub(crate) trait Engine: Continue + Score + Send + Sync {}

impl<E: Continue + Score + Send + Sync> Engine for E {}

/// What a manifest says of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// As the user named it.
    pub name: String,
    /// `local` or `scripted`.
    pub engine: String,
    /// The commit of its repository, of a hub's model.
    #[serde(default)]
    pub commit: Option<String>,
    /// Its files.
    pub files: Vec<FileHash>,
    /// Of its chat template.
    pub template_sha256: String,
    /// What it is, in words: architecture, sizes.
    pub description: String,
}

/// A file and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileHash {
    /// The file's name without its directory.
    pub name: String,
    pub sha256: String,
}

/// What the name of a model can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModelName {
    /// A script of continuations.
    Script(PathBuf),
    /// A model of the catalogue.
    Entry(&'static Entry),
    /// A model on a hub.
    Hub(HubName),
    /// A file or a directory.
    Path(PathBuf),
}

impl ModelName {
    /// Reads a name as the user gives it.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        if let Some(script) = name.strip_prefix("scripted:") {
            return Ok(Self::Script(script.into()));
        }
        if let Some(hub) = name.strip_prefix(hub::SCHEME) {
            return Ok(Self::Hub(HubName::parse(hub)?));
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return Err(Failure::Unsupported {
                problem: format!("{name}: this build runs models from files only"),
                hint: "name a model of a hub as hf:ORG/NAME, or give the path of a directory or .gguf file"
                    .into(),
            }
            .into());
        }
        Ok(catalogue::find(name).map_or_else(|| Self::Path(name.into()), Self::Entry))
    }

    /// The same at a commit, where one is given and the model is a hub's.
    fn at(self, commit: Option<&str>) -> Self {
        match (self, commit) {
            (Self::Hub(hub), Some(commit)) if hub::is_commit(commit) => {
                Self::Hub(HubName { revision: Some(commit.to_owned()), ..hub })
            }
            (other, _) => other,
        }
    }
}

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// A GGUF file, or a directory with `config.json`.
    pub path: PathBuf,
    /// The commit, of a hub's model.
    pub commit: Option<String>,
}

/// Loads the model that `name` names.
pub(crate) fn load(name: &str, options: &LoadOptions) -> Result<Model> {
    load_at(name, None, options)
}

/// The same, at a commit of the hub: a run that is resumed goes on with the one it was begun with.
pub(crate) fn load_at(name: &str, commit: Option<&str>, options: &LoadOptions) -> Result<Model> {
    match ModelName::parse(name)? {
        ModelName::Script(script) => scripted(name, &script, options),
        parsed => local(name, &locate(name, &parsed.at(commit), Extent::Whole)?, options),
    }
}

/// The file or directory of a local model; a hub's model is fetched where the cache lacks it.
pub(crate) fn locate(name: &str, parsed: &ModelName, extent: Extent) -> Result<Located> {
    let path = match parsed {
        ModelName::Hub(hub) => {
            let hub::Snapshot { path, commit } = hub::fetch(hub, extent)?;
            return Ok(Located { path, commit: Some(commit) });
        }
        ModelName::Entry(entry) if entry.is_pulled()? => entry.path()?,
        ModelName::Entry(_) => {
            return Err(Failure::Input {
                problem: format!("{name}: the model is not in the cache"),
                hint: format!("fetch it once with `midcourse models pull {name}`"),
            }
            .into());
        }
        ModelName::Script(path) | ModelName::Path(path) if path.exists() => path.clone(),
        ModelName::Script(_) | ModelName::Path(_) => {
            return Err(Failure::Input {
                problem: format!(
                    "{name}: expected a model's name, a .gguf file or a directory, found nothing there"
                ),
                hint: "`midcourse models` lists the names; hf:ORG/NAME names a model of a hub".into(),
            }
            .into());
        }
    };
    Ok(Located { path, commit: None })
}

fn local(name: &str, located: &Located, options: &LoadOptions) -> Result<Model> {
    let model = LocalModel::load(&located.path, name, options)?;
    let description = format!("{}, {}", model.engine.config().describe(), model.engine.dtype().name());
    let mut identity = identity(name, "local", &model.files, &model.template, description)?;
    identity.commit.clone_from(&located.commit);
    let LocalModel { engine, tokenizer, template, .. } = model;
    Ok(Model { engine: Box::new(engine), tokenizer: Box::new(tokenizer), template, identity })
}

fn scripted(name: &str, path: &Path, options: &LoadOptions) -> Result<Model> {
    let problem = match options {
        LoadOptions { adapter: Some(_), .. } => Some("--adapter: a script has no weights"),
        LoadOptions { template, .. } if *template != TemplateChoice::Own => {
            Some("--chat-template: a script has one of its own")
        }
        _ => None,
    };
    if let Some(problem) = problem {
        let hint = "leave the flag out, or name a model".into();
        return Err(Failure::Usage { problem: problem.into(), hint }.into());
    }
    let engine = Scripted::read(path)?;
    let template = engine.template()?;
    let description = "a script of continuations; no model".into();
    let identity = identity(name, "scripted", &[path.to_owned()], &template, description)?;
    let tokenizer = Box::new(engine.tokenizer().clone());
    Ok(Model { engine: Box::new(engine), tokenizer, template, identity })
}

fn identity(
    name: &str,
    engine: &str,
    files: &[PathBuf],
    template: &ChatTemplate,
    description: String,
) -> Result<Identity> {
    let hash = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sha256 = sha256_of_file(path).map_err(|e| Failure::Input {
            problem: format!("{}: {e}", path.display()),
            hint: "the model's file could be opened but not read again".into(),
        })?;
        Ok(FileHash { name: file, sha256 })
    };
    Ok(Identity {
        name: name.to_owned(),
        engine: engine.to_owned(),
        commit: None,
        files: files.iter().map(hash).collect::<Result<_>>()?,
        template_sha256: hex(&Sha256::digest(template.source())),
        description,
    })
}
