//! Where a model's chat template comes from.
//!
//! In this order: what the user names; `chat_template.jinja`, and beside it `additional_chat_templates/NAME.jinja`;
//! the field `chat_template` of `tokenizer_config.json`, a text or a list of named ones; `tokenizer.chat_template`
//! of a GGUF file, and `tokenizer.chat_template.NAME`; a built-in one where the model's name leaves no doubt.
//!
//! Source: `PreTrainedTokenizerBase.from_pretrained` of transformers, `gguf/constants.py` of llama.cpp.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::Value;
use midcourse_core::template::builtin;

use crate::weights::ModelFiles;
use crate::weights::gguf::GgufFile;
use crate::weights::metadata::Metadata;
use crate::{Error, Result};

/// The template that transformers takes when several are there.
const DEFAULT: &str = "default";
/// The key of a GGUF file's template; those with names follow it.
const GGUF_KEY: &str = "tokenizer.chat_template";
/// A template file: the longest in use have some 30 KB.
const MAX_BYTES: u64 = 1 << 20;

/// Which chat template a model is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TemplateChoice {
    /// The model's own.
    #[default]
    Own,
    /// The model's own of this name.
    Named(String),
    /// One that comes with midcourse.
    BuiltIn(String),
    /// The text of a file.
    File(PathBuf),
}

impl From<&str> for TemplateChoice {
    fn from(text: &str) -> Self {
        if let Some(name) = text.strip_prefix("name:") {
            return Self::Named(name.to_owned());
        }
        match text.strip_prefix("builtin:") {
            Some(name) => Self::BuiltIn(name.to_owned()),
            None => Self::File(text.into()),
        }
    }
}

/// A template's text, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateSource {
    /// A file, a field of one, or `builtin:NAME`.
    pub origin: String,
    pub text: String,
}

/// The chosen template of the model at `path`.
///
/// # Errors
/// When there is none, none of the name, or its file cannot be read.
pub(crate) fn find(path: &Path, files: &ModelFiles, choice: &TemplateChoice) -> Result<TemplateSource> {
    match choice {
        TemplateChoice::File(file) => {
            Ok(TemplateSource { origin: file.display().to_string(), text: read(file)? })
        }
        TemplateChoice::BuiltIn(name) => built_in(path, name),
        TemplateChoice::Own => own(path, files, DEFAULT),
        TemplateChoice::Named(name) => own(path, files, name),
    }
}

fn built_in(path: &Path, name: &str) -> Result<TemplateSource> {
    let found = builtin::find(name).map(source_of);
    found.ok_or_else(|| Error::ModelFile {
        path: path.to_owned(),
        problem: format!("--chat-template builtin:{name}: expected one of {}", builtin::names()),
        hint: "a template of your own is given by its file".into(),
    })
}

fn source_of(found: &builtin::BuiltIn) -> TemplateSource {
    TemplateSource { origin: format!("builtin:{}", found.name), text: found.source.to_owned() }
}

fn own(path: &Path, files: &ModelFiles, name: &str) -> Result<TemplateSource> {
    let mut found = match files {
        ModelFiles::Gguf(file) => of_gguf(file)?,
        ModelFiles::Safetensors(dir) => dir.chat_templates()?,
    };
    if let Some(template) = found.remove(name) {
        return Ok(template);
    }
    let names = found.keys().map(|name| format!("name:{name}")).collect::<Vec<_>>().join(", ");
    if !found.is_empty() {
        return Err(Error::ModelFile {
            path: path.to_owned(),
            problem: format!("expected a chat template named {name}, found {names}"),
            hint: "name one of them with --chat-template".into(),
        });
    }
    let recognised = builtin::recognise(model_names(path, files).iter().map(String::as_str));
    recognised.filter(|_| name == DEFAULT).map(source_of).ok_or_else(|| Error::Unsupported {
        path: path.to_owned(),
        what: "a model without a chat template".into(),
        hint: format!(
            "take the model's chat or instruct version, or name its template with --chat-template FILE or one of {}",
            builtin::names()
        ),
    })
}

/// The names that a model goes by: those in its files, then that of its file or directory.
fn model_names(path: &Path, files: &ModelFiles) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    match files {
        ModelFiles::Gguf(file) => {
            let text = |key: &str| match file.content.metadata.get(key) {
                Some(Value::String(text)) => Some(text.clone()),
                _ => None,
            };
            names.extend(["general.name", "general.basename"].into_iter().filter_map(text));
        }
        ModelFiles::Safetensors(dir) => {
            let name = dir.config.get("_name_or_path").and_then(serde_json::Value::as_str);
            names.extend(name.map(str::to_owned));
        }
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    names.extend(absolute.file_name().map(|name| name.to_string_lossy().into_owned()));
    names
}

/// Templates by name, the unnamed one under `default`.
pub(crate) type Templates = BTreeMap<String, TemplateSource>;

fn of_gguf(file: &GgufFile) -> Result<Templates> {
    let meta = Metadata { path: &file.path, values: &file.content.metadata };
    let name = |key: &str| match key.strip_prefix(GGUF_KEY)? {
        "" => Some(DEFAULT.to_owned()),
        name => name.strip_prefix('.').map(str::to_owned),
    };
    let mut templates = Templates::new();
    for (name, key) in file.content.metadata.keys().filter_map(|key| Some((name(key)?, key))) {
        if let Some(text) = meta.optional_text(key)? {
            templates.insert(name, TemplateSource { origin: key.clone(), text: text.to_owned() });
        }
    }
    Ok(templates)
}

/// The templates of a directory: files of their own, else those of `tokenizer_config.json`, whose content is
/// `settings`.
pub(crate) fn of_dir(dir: &Path, settings: Option<&serde_json::Value>) -> Result<Templates> {
    let mut templates = Templates::new();
    let mut add = |name: &str, file: &Path, origin: &str| -> Result<()> {
        templates.insert(name.to_owned(), TemplateSource { origin: origin.to_owned(), text: read(file)? });
        Ok(())
    };
    let single = dir.join("chat_template.jinja");
    if single.exists() {
        add(DEFAULT, &single, "chat_template.jinja")?;
    }
    let named = dir.join("additional_chat_templates");
    for file in std::fs::read_dir(&named).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if let (Some(name), true) = (file.file_stem(), file.extension().is_some_and(|e| e == "jinja")) {
            let name = name.to_string_lossy();
            add(&name, &file, &format!("additional_chat_templates/{name}.jinja"))?;
        }
    }
    let field = settings.and_then(|settings| settings.get("chat_template")).filter(|field| !field.is_null());
    if let (true, Some(field)) = (templates.is_empty(), field) {
        return of_field(&dir.join("tokenizer_config.json"), field);
    }
    Ok(templates)
}

/// The field `chat_template`: one text, or a list of `{"name", "template"}`.
fn of_field(path: &Path, field: &serde_json::Value) -> Result<Templates> {
    let source = |text: &str, at: String| TemplateSource { origin: at, text: text.to_owned() };
    if let Some(text) = field.as_str() {
        return Ok([(DEFAULT.to_owned(), source(text, "tokenizer_config.json".into()))].into());
    }
    let named = |entry: &serde_json::Value| {
        let name = entry.get("name")?.as_str()?;
        let text = entry.get("template")?.as_str()?;
        Some((name.to_owned(), source(text, format!("tokenizer_config.json, {name}"))))
    };
    let templates = field.as_array().and_then(|entries| entries.iter().map(named).collect());
    templates.ok_or_else(|| Error::Config {
        path: path.to_owned(),
        field: "chat_template".into(),
        problem: "expected a text, or a list of objects with the texts `name` and `template`".into(),
    })
}

fn read(path: &Path) -> Result<String> {
    let wrong = |problem: String| Error::ModelFile {
        path: path.to_owned(),
        problem,
        hint: format!("a chat template is a Jinja file in UTF-8, or one of {}", builtin::names()),
    };
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(wrong(format!("expected a file of at most {MAX_BYTES} bytes")));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| wrong(format!("expected UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("config.json", "{}"), ("model.safetensors", "")].iter().chain(files) {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn found(files: &[(&str, &str)], choice: &str) -> std::result::Result<[String; 2], String> {
        let dir = dir(files);
        let choice = if choice.is_empty() { TemplateChoice::Own } else { choice.into() };
        let found = find(dir.path(), &ModelFiles::open(dir.path()).unwrap(), &choice);
        found.map(|found| [found.origin, found.text]).map_err(|error| format!("{error}; {}", error.hint()))
    }

    const FILE: (&str, &str) = ("chat_template.jinja", "file");
    const NAMED_FILE: (&str, &str) = ("additional_chat_templates/rag.jinja", "rag file");
    const FIELD: (&str, &str) = ("tokenizer_config.json", r#"{"chat_template": "field"}"#);
    const LIST: (&str, &str) = (
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]}"#,
    );

    #[test]
    fn files_come_before_fields_and_names_are_found_in_both() {
        let is = |files: &[_], choice, expected: [&str; 2]| {
            assert_eq!(found(files, choice).unwrap(), expected, "{choice:?}");
        };
        is(&[FILE, FIELD], "", ["chat_template.jinja", "file"]);
        is(&[FIELD], "", ["tokenizer_config.json", "field"]);
        is(&[LIST], "", ["tokenizer_config.json, default", "a"]);
        is(&[LIST], "name:tool_use", ["tokenizer_config.json, tool_use", "b"]);
        is(&[FILE, NAMED_FILE, LIST], "name:rag", ["additional_chat_templates/rag.jinja", "rag file"]);
        is(&[FIELD], "name:default", ["tokenizer_config.json", "field"]);
        assert_eq!(found(&[FIELD], "builtin:zephyr").unwrap()[0], "builtin:zephyr");
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let missing = found(&[LIST], "name:rag").unwrap_err();
        assert!(missing.contains("named rag, found name:default, name:tool_use"), "{missing}");
        let unknown = found(&[FIELD], "builtin:zebra").unwrap_err();
        assert!(unknown.contains("builtin:chatml, builtin:llama-2"), "{unknown}");
        let none = found(&[], "").unwrap_err();
        assert!(none.contains("without a chat template") && none.contains("builtin:vicuna"), "{none}");
        let broken =
            found(&[("tokenizer_config.json", r#"{"chat_template": [{"name": 7}]}"#)], "").unwrap_err();
        assert!(broken.contains("chat_template: expected a text, or a list"), "{broken}");
        assert!(found(&[FIELD], "/nowhere.jinja").unwrap_err().contains("/nowhere.jinja"));
    }

    #[test]
    fn a_model_without_one_is_recognised_by_its_name_only() {
        let vicuna = ("config.json", r#"{"_name_or_path": "lmsys/vicuna-7b-v1.5"}"#);
        assert_eq!(found(&[vicuna], "").unwrap()[0], "builtin:vicuna");
        assert_eq!(found(&[vicuna, FIELD], "").unwrap()[1], "field", "its own comes first");
        assert!(found(&[("config.json", r#"{"_name_or_path": "my-llama"}"#)], "").is_err());
    }

    #[test]
    fn a_gguf_file_has_named_ones_too() {
        let file = |keys: &[(&str, &str)]| {
            let path =
                std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama.gguf");
            let mut file = GgufFile::open(&path).unwrap();
            file.content.metadata.retain(|key, _| !key.starts_with(GGUF_KEY));
            let pairs = keys.iter().map(|(key, text)| ((*key).to_owned(), Value::String((*text).to_owned())));
            file.content.metadata.extend(pairs);
            (path, ModelFiles::Gguf(file))
        };
        let two = [("tokenizer.chat_template", "a"), ("tokenizer.chat_template.tool_use", "b")];
        let (path, files) = file(&two);
        let text = |choice: TemplateChoice| find(&path, &files, &choice).unwrap().text;
        assert_eq!(text(TemplateChoice::Own), "a");
        assert_eq!(text(TemplateChoice::Named("tool_use".into())), "b");
        let (path, files) = file(&[("general.name", "zephyr-7b-beta")]);
        assert_eq!(find(&path, &files, &TemplateChoice::Own).unwrap().origin, "builtin:zephyr");
    }
}
