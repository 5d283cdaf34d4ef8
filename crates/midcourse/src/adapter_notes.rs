//! `midcourse.json`, which lies beside an adapter that midcourse trained: for what it was made, and on what.
//!
//! An adapter is evaluated on the model, the chat template and the system prompt that it was trained with, and on
//! prompts that it was not trained on; else a figure says something else than it seems to. Of prompts only hashes are
//! kept. Adapters of others have no such file, and nothing is checked then.

use std::path::Path;

use anyhow::Result;
use midcourse_core::data::{Sample, prompt_hash};
use midcourse_engine::files;
use midcourse_engine::weights::peft;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::input::hex;
use crate::model::{FileHash, Identity};

/// Name of the file.
pub(crate) const FILE: &str = "midcourse.json";
/// The schema this build writes and reads.
pub(crate) const SCHEMA: &str = "midcourse.adapter/1";
/// A million prompts take 70 MB.
const MAX_BYTES: u64 = 1 << 30;

/// What is noted beside an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AdapterNotes {
    pub schema: String,
    /// Version of midcourse that trained it.
    pub midcourse: String,
    /// The model that it adapts.
    pub base: Base,
    /// Of the chat template, as [`Identity::template_sha256`].
    pub template_sha256: String,
    /// `default`, `none` or the system prompt's text.
    pub system: String,
    /// What was optimised.
    pub objective: String,
    /// [`prompt_hash`] of every prompt that was trained on, ascending.
    pub prompts: Vec<String>,
}

/// The model that an adapter was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    /// As the user named it.
    pub name: String,
    /// [`base_sha256`] of its files.
    pub sha256: String,
}

impl Base {
    /// Of a model that was loaded.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self { name: identity.name.clone(), sha256: base_sha256(&identity.files) }
    }
}

/// What a model's weights are known by: the hash of the file that holds them; of several, that of a line
/// `SHA256  NAME` each, in their order, as `sha256sum` prints them. Configuration and tokenizer do not count.
pub(crate) fn base_sha256(hashes: &[FileHash]) -> String {
    let weights: Vec<&FileHash> = hashes.iter().filter(|hash| holds_weights(Path::new(&hash.name))).collect();
    match weights.as_slice() {
        [only] => only.sha256.clone(),
        several => {
            let line = |hash: &&FileHash| format!("{}  {}\n", hash.sha256, hash.name);
            hex(&Sha256::digest(several.iter().map(line).collect::<String>()))
        }
    }
}

/// Whether a file holds weights of a model, not of an adapter.
pub(crate) fn holds_weights(path: &Path) -> bool {
    let is_weights = path.extension().is_some_and(|ending| ending == "safetensors" || ending == "gguf");
    is_weights && path.file_name().is_none_or(|name| name != peft::WEIGHTS)
}

/// The refusal of another base.
pub(crate) fn refusal(problem: String) -> Failure {
    let hint = "name the model that the adapter was trained on, or say --allow-other-base if this is the same model in \
                other files";
    Failure::Input { problem, hint: hint.into() }
}

impl AdapterNotes {
    /// What is noted beside the adapter in `dir`; none where nothing is.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let wrong = |problem: String| Failure::Input {
            problem: format!("{}: {problem}", path.display()),
            hint: format!("`midcourse train` writes it; without {FILE} the adapter is used unchecked"),
        };
        let text = files::read_to_string(&path, MAX_BYTES).map_err(|e| wrong(e.to_string()))?;
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let found = json.get("schema").and_then(serde_json::Value::as_str).unwrap_or("(none)");
        if found != SCHEMA {
            return Err(wrong(format!("field schema: expected {SCHEMA}, found {found}")).into());
        }
        let mut notes: Self = serde_json::from_value(json).map_err(|e| wrong(e.to_string()))?;
        notes.prompts.sort_unstable();
        Ok(Some(notes))
    }

    /// The file's bytes; hashes stand in ascending order, each once.
    pub(crate) fn to_json(&self) -> Result<String> {
        let mut notes = self.clone();
        notes.prompts.sort_unstable();
        notes.prompts.dedup();
        Ok(serde_json::to_string_pretty(&notes)? + "\n")
    }

    /// In what the model at hand is another than the adapter's, in words; both are named.
    pub(crate) fn other_base(&self, dir: &Path, model: &str, sha256: &str) -> Option<String> {
        (self.base.sha256 != sha256).then(|| {
            format!(
                "{}: the adapter was trained on {} ({}), and {model} is another model ({})",
                dir.display(),
                self.base.name,
                short(&self.base.sha256),
                short(sha256),
            )
        })
    }

    /// In what template and system prompt differ from those of the training, in words.
    pub(crate) fn differences(&self, template_sha256: &str, system: &str) -> Vec<String> {
        let mut differences = Vec::new();
        if self.template_sha256 != template_sha256 {
            let trained = short(&self.template_sha256);
            differences.push(format!(
                "the adapter was trained with another chat template ({trained}) than this one ({})",
                short(template_sha256)
            ));
        }
        if self.system != system {
            differences.push(format!(
                "the adapter was trained with the system prompt {:?}, and this one is {system:?}",
                self.system
            ));
        }
        differences
    }

    /// Ids of samples whose prompts were trained on.
    pub(crate) fn trained<'a>(&self, samples: impl Iterator<Item = &'a Sample>) -> Vec<&'a str> {
        let is_trained = |sample: &&Sample| {
            let hash = prompt_hash(&sample.messages());
            self.prompts.binary_search(&hash).is_ok()
        };
        samples.filter(is_trained).map(|sample| sample.id.as_str()).collect()
    }
}

/// The first digits of a hash.
fn short(sha256: &str) -> String {
    format!("sha256 {}…", sha256.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use midcourse_core::chat::Message;

    use super::*;

    fn hash(name: &str, sha256: &str) -> FileHash {
        FileHash { name: name.into(), sha256: sha256.into() }
    }

    fn notes() -> AdapterNotes {
        let identity =
            Identity { files: vec![hash("m.gguf", "ab")], name: "m".into(), ..Identity::default() };
        AdapterNotes {
            schema: SCHEMA.into(),
            midcourse: "0.1.0".into(),
            base: Base::of(&identity),
            template_sha256: "cd".into(),
            system: "default".into(),
            objective: "fork".into(),
            prompts: ["Peek?", "Hide?", "Peek?"].map(|text| prompt_hash(&[Message::user(text)])).to_vec(),
        }
    }

    fn sample(id: &str, prompt: &str) -> Sample {
        let prompt = prompt.to_owned();
        Sample {
            id: id.into(),
            history: Vec::new(),
            prompt,
            response: String::new(),
            category: None,
            safe_response: None,
            source: None,
        }
    }

    #[test]
    fn notes_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(AdapterNotes::read(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(FILE), notes().to_json().unwrap()).unwrap();
        let read = AdapterNotes::read(dir.path()).unwrap().unwrap();
        assert_eq!(read.prompts.len(), 2);
        assert!(read.prompts.is_sorted());
        assert_eq!(AdapterNotes { prompts: notes().prompts, ..read }, notes());
        let newer = notes().to_json().unwrap().replace("adapter/1", "adapter/2");
        std::fs::write(dir.path().join(FILE), newer).unwrap();
        let error = AdapterNotes::read(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("expected midcourse.adapter/1, found midcourse.adapter/2"), "{error}");
    }

    #[test]
    fn prompts_are_known_again_however_they_are_written() {
        let mut notes = notes();
        notes.prompts.sort_unstable();
        let samples = [sample("a", "How?"), sample("b", "  hide "), sample("c", "PEEK")];
        assert_eq!(notes.trained(samples.iter()), ["b", "c"]);
    }

    #[test]
    fn weights_alone_say_which_model_it_is() {
        let with = |more: &[FileHash]| base_sha256(&[&[hash("model.gguf", "ab")], more].concat());
        assert_eq!(with(&[]), "ab");
        assert_eq!(with(&[hash("config.json", "ef"), hash("adapter_model.safetensors", "ef")]), "ab");
        // printf 'ab  model.gguf\ncd  b.safetensors\n' | sha256sum
        assert_eq!(
            with(&[hash("b.safetensors", "cd")]),
            "ff7888162a1bea7e8dd104667c72bb4f36b1d7a49928f41e5f1e3f303b3fdebf"
        );
        assert_ne!(with(&[hash("b.safetensors", "cd")]), with(&[hash("b.safetensors", "ce")]));
    }

    #[test]
    fn differences_name_both_sides() {
        let notes = notes();
        let problem = notes.other_base(Path::new("dir"), "n", "ee").unwrap();
        assert_eq!(
            problem,
            "dir: the adapter was trained on m (sha256 ab…), and n is another model (sha256 ee…)"
        );
        assert_eq!(notes.other_base(Path::new("dir"), "n", "ab"), None);
        assert_eq!(notes.differences("cd", "default"), Vec::<String>::new());
        let both = notes.differences("ce", "Be brief.");
        assert!(both[0].contains("cd…") && both[0].contains("ce…"), "{both:?}");
        assert!(both[1].contains("\"default\"") && both[1].contains("\"Be brief.\""), "{both:?}");
    }
}
