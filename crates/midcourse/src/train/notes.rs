//! `midcourse.json`, which lies beside a trained adapter: for what it was made, and on what.
//!
//! An adapter is evaluated on the model, the template and the system prompt that it was trained with, and on prompts
//! that it was not trained on. Of prompts only hashes are kept.

use std::path::Path;

use anyhow::Result;
use midcourse_core::chat::Message;
use midcourse_core::data::prompt_hash;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::TrainPlan;
use crate::input::hex;
use crate::model::{self, FileHash};
use crate::run_dir;

const SCHEMA: &str = "midcourse.adapter/1";

#[derive(Serialize)]
struct Notes<'a> {
    schema: &'a str,
    midcourse: &'a str,
    base: Base<'a>,
    template_sha256: &'a str,
    /// `default`, `none` or the system prompt's text.
    system: String,
    objective: &'a str,
    /// Of every prompt that was trained on, ascending.
    prompts: Vec<String>,
}

#[derive(Serialize)]
struct Base<'a> {
    name: &'a str,
    sha256: String,
}

/// The file's text.
pub(crate) fn notes(plan: &TrainPlan, base: &model::Base, prompts: &[Vec<Message>]) -> Result<String> {
    let mut prompts: Vec<String> = prompts.iter().map(|prompt| prompt_hash(prompt)).collect();
    prompts.sort_unstable();
    prompts.dedup();
    let notes = Notes {
        schema: SCHEMA,
        midcourse: env!("CARGO_PKG_VERSION"),
        base: Base { name: &base.identity.name, sha256: base_sha256(&base.identity.files) },
        template_sha256: &base.identity.template_sha256,
        system: base.template.framing().system.clone().into(),
        objective: plan.settings.objective.objective.name(),
        prompts,
    };
    Ok(run_dir::pretty(&notes)?)
}

/// What a model's weights are known by: the hash of the file that holds them; of several, that of a line
/// `SHA256  NAME` each, in their order, as `sha256sum` prints them. Configuration and tokenizer do not count.
pub(crate) fn base_sha256(files: &[FileHash]) -> String {
    let holds_weights = |file: &&FileHash| {
        let ending = Path::new(&file.name).extension();
        ending.is_some_and(|ending| ending == "safetensors" || ending == "gguf")
    };
    let weights: Vec<&FileHash> = files.iter().filter(holds_weights).collect();
    match weights.as_slice() {
        [only] => only.sha256.clone(),
        several => {
            let line = |file: &&FileHash| format!("{}  {}\n", file.sha256, file.name);
            hex(&Sha256::digest(several.iter().map(line).collect::<String>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_alone_say_which_model_it_is() {
        let file = |name: &str, sha256: &str| FileHash { name: name.into(), sha256: sha256.into() };
        let first = file("model.gguf", "ab");
        assert_eq!(base_sha256(&[first.clone(), file("config.json", "ef")]), "ab");
        // printf 'ab  model.gguf\ncd  b.safetensors\n' | sha256sum
        assert_eq!(
            base_sha256(&[first, file("b.safetensors", "cd")]),
            "ff7888162a1bea7e8dd104667c72bb4f36b1d7a49928f41e5f1e3f303b3fdebf"
        );
    }
}
