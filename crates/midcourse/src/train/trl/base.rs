//! The model that is handed over, as transformers loads it: safetensors in a directory or on the hub.

use std::fs;

use anyhow::Result;

use crate::failure::Failure;
use crate::hub::HubName;
use crate::model::ModelName;
use crate::storage::at;

/// A model by the name that transformers loads it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// A directory, or `ORG/NAME` on the hub.
    pub name: String,
    /// Branch, tag or commit, of a hub's model.
    pub revision: Option<String>,
}

impl Base {
    /// Finds out how transformers loads the model that `name` names; `commit` is the one of a hub's model that was looked
    /// at.
    ///
    /// # Errors
    /// When the model has no safetensors, and when it is no model with files.
    pub(crate) fn find(name: &str, commit: Option<&str>) -> Result<Self> {
        match ModelName::parse(name)? {
            ModelName::Hub(HubName { file: None, repo, revision }) => {
                Ok(Self { name: repo, revision: commit.map(str::to_owned).or(revision) })
            }
            ModelName::Hub(HubName { repo, .. }) => {
                Err(gguf(name, &format!("name the model's safetensors, for instance --model hf:{repo}"))
                    .into())
            }
            ModelName::Path(path) if path.is_dir() => {
                let path = fs::canonicalize(&path).map_err(at(&path))?;
                Ok(Self { name: path.to_string_lossy().into_owned(), revision: None })
            }
            ModelName::Entry(_) => {
                let hint = "name the same model with safetensors, for instance --model hf:ORG/NAME or a directory with \
                            config.json";
                Err(gguf(name, hint).into())
            }
            ModelName::Path(path) if path.exists() => {
                Err(gguf(name, "name a directory with config.json and safetensors, or hf:ORG/NAME").into())
            }
            ModelName::Path(_) => Err(Failure::Input {
                problem: format!("{name}: expected a directory with config.json, found nothing there"),
                hint: "hf:ORG/NAME names a model of the hub".into(),
            }
            .into()),
            ModelName::Script(_) | ModelName::Endpoint(_) => Err(Failure::Usage {
                problem: format!("{name}: expected a model with weights to train"),
                hint: "name a directory with config.json and safetensors, or hf:ORG/NAME".into(),
            }
            .into()),
        }
    }
}

fn gguf(name: &str, hint: &str) -> Failure {
    Failure::Unsupported {
        problem: format!("{name}: --engine trl trains on safetensors, and this is a GGUF file"),
        hint: format!("{hint}; --engine local trains on GGUF files"),
    }
}
