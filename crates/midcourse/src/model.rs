//! From the name of a model to the model itself.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::engine::Continue;
use midcourse_core::template::{ChatTemplate, Tokenizer};
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::local::{BatchLimits, LocalModel};
use midcourse_engine::scripted::Scripted;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalogue;
use crate::failure::Failure;
use crate::input::{hex, sha256_of_file};

/// A model that can be evaluated.
pub(crate) struct Model {
    pub engine: Box<dyn Continue>,
    pub tokenizer: Box<dyn Tokenizer>,
    pub template: ChatTemplate,
    pub identity: Identity,
}

/// What a manifest says of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// As the user named it.
    pub name: String,
    /// `local` or `scripted`.
    pub engine: String,
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

/// Loads the model that `name` names.
pub(crate) fn load(name: &str, limits: BatchLimits, template: &TemplateChoice) -> Result<Model> {
    if let Some(script) = name.strip_prefix("scripted:") {
        return scripted(name, Path::new(script), template);
    }
    if name.starts_with("hf:") || name.starts_with("http://") || name.starts_with("https://") {
        return Err(Failure::Unsupported {
            problem: format!("{name}: this build runs models from files only"),
            hint: "download the model and give the path of its directory or .gguf file".into(),
        }
        .into());
    }
    local(name, &locate(name)?, limits, template)
}

/// The file or directory of a local model.
fn locate(name: &str) -> Result<PathBuf> {
    if let Some(entry) = catalogue::find(name) {
        if !entry.is_pulled()? {
            return Err(Failure::Input {
                problem: format!("{name}: the model is not in the cache"),
                hint: format!("fetch it once with `midcourse models pull {name}`"),
            }
            .into());
        }
        return entry.path();
    }
    let path = PathBuf::from(name);
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::Input {
        problem: format!("{name}: expected a model's name, a .gguf file or a directory, found nothing there"),
        hint: "`midcourse models` lists the names".into(),
    }
    .into())
}

fn local(name: &str, path: &Path, limits: BatchLimits, template: &TemplateChoice) -> Result<Model> {
    let model = LocalModel::load(path, name, limits, template)?;
    let config = model.engine.config();
    let description = format!(
        "Llama decoder: {} layers, width {}, {} heads ({} for keys), vocabulary {}, f32",
        config.n_layers, config.width, config.n_heads, config.n_kv_heads, config.vocab
    );
    let identity = identity(name, "local", &model.files, &model.template, description)?;
    let LocalModel { engine, tokenizer, template, .. } = model;
    Ok(Model { engine: Box::new(engine), tokenizer: Box::new(tokenizer), template, identity })
}

fn scripted(name: &str, path: &Path, template: &TemplateChoice) -> Result<Model> {
    if *template != TemplateChoice::Own {
        return Err(Failure::Usage {
            problem: "--chat-template: a script has one of its own".into(),
            hint: "leave the flag out, or name a model".into(),
        }
        .into());
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
        files: files.iter().map(hash).collect::<Result<_>>()?,
        template_sha256: hex(&Sha256::digest(template.source())),
        description,
    })
}
