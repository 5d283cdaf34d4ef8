//! From the name of a model to the model itself.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::engine::{Assess, Continue, Score, Weigh};
use midcourse_core::judge::weigh::Weighing;
use midcourse_core::report::strip_controls;
use midcourse_core::template::{ChatTemplate, Tokenizer};
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::local::{LoadOptions, LocalModel, ModelHeader};
use midcourse_engine::model::ModelConfig;
use midcourse_engine::remote::{self, EndpointName, FramedTokenizer, RemoteModel, Survey, framed_template};
use midcourse_engine::scripted::Scripted;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalogue::{self, Entry};
use crate::endpoint::{self, EndpointOptions, TextAtHand};
use crate::failure::Failure;
use crate::hub::{self, Extent, HubName};
use crate::input::{hex, sha256_of_file};
use crate::terminal::say;

/// A model that can be evaluated, or one that can do more.
pub(crate) struct Model<E: ?Sized = dyn Continue> {
    pub engine: Box<E>,
    pub tokenizer: Box<dyn Tokenizer + Send + Sync>,
    pub template: ChatTemplate,
    pub identity: Identity,
    /// What was found out about its server, and proved.
    pub survey: Option<Survey>,
}

/// What a plan needs of a model: its text.
pub(crate) struct Outline {
    pub tokenizer: Box<dyn Tokenizer + Send + Sync>,
    pub template: ChatTemplate,
    /// Tokens of context.
    pub context: usize,
}

/// How a model is loaded, or reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loading {
    /// In this process.
    pub local: LoadOptions,
    /// At a server.
    pub endpoint: EndpointOptions,
    /// Draws the waits between tries of requests.
    pub seed: u64,
}

/// What benchmarks ask of engines.
pub(crate) trait Measurable: Continue + Assess {}

impl<E: Continue + Assess> Measurable for E {}

/// A model that benchmarks can be run on.
pub(crate) type MeasurableModel = Model<dyn Measurable>;

/// What engines in this process can do.
pub(crate) trait Embedded: Measurable + Score + Weigh + Send + Sync {}

impl<E: Measurable + Score + Weigh + Send + Sync> Embedded for E {}

/// A model in this process.
pub(crate) type EmbeddedModel = Model<dyn Embedded>;

impl From<EmbeddedModel> for MeasurableModel {
    fn from(model: EmbeddedModel) -> Self {
        let Model { engine, tokenizer, template, identity, survey } = model;
        Self { engine, tokenizer, template, identity, survey }
    }
}

impl From<MeasurableModel> for Model {
    fn from(model: MeasurableModel) -> Self {
        let Model { engine, tokenizer, template, identity, survey } = model;
        Self { engine, tokenizer, template, identity, survey }
    }
}

/// What a manifest says of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// As the user named it.
    pub name: String,
    /// `local`, `scripted` or `endpoint`.
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

impl FileHash {
    /// Of a file of a model.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sha256 = sha256_of_file(path).map_err(|e| Failure::Input {
            problem: format!("{}: {e}", path.display()),
            hint: "the model's file could be opened but not read again".into(),
        })?;
        Ok(Self { name, sha256 })
    }
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
    /// A model at a server.
    Endpoint(EndpointName),
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
        if remote::is_address(name) {
            return Ok(Self::Endpoint(name.parse()?));
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
pub(crate) fn load(name: &str, loading: &Loading) -> Result<Model> {
    load_at(name, None, loading)
}

/// The same, at a commit of the hub: a run that is resumed goes on with the one it was begun with.
pub(crate) fn load_at(name: &str, commit: Option<&str>, loading: &Loading) -> Result<Model> {
    Ok(load_measurable(name, commit, loading)?.into())
}

/// The same, as benchmarks need it.
pub(crate) fn load_measurable(
    name: &str,
    commit: Option<&str>,
    loading: &Loading,
) -> Result<MeasurableModel> {
    match ModelName::parse(name)? {
        ModelName::Endpoint(endpoint) => at_endpoint(&endpoint, loading),
        _ => Ok(embedded(name, commit, &loading.local)?.into()),
    }
}

/// Loads a model into this process.
pub(crate) fn embedded(name: &str, commit: Option<&str>, options: &LoadOptions) -> Result<EmbeddedModel> {
    match ModelName::parse(name)? {
        ModelName::Script(script) => scripted(name, &script, options),
        parsed => local(name, &locate(name, &parsed.at(commit), Extent::Whole)?, options),
    }
}

/// Loads the model that `name` names, to judge by its probabilities.
pub(crate) fn load_weighing(name: &str) -> Result<Weighing> {
    let Model { engine, tokenizer, template, .. } = embedded(name, None, &LoadOptions::default())?;
    Ok(Weighing { context: engine.context(), model: engine, tokenizer, template })
}

/// What there is to record of a model, without loading its weights.
pub(crate) fn identify(name: &str) -> Result<Identity> {
    let parsed = ModelName::parse(name)?;
    if let ModelName::Script(script) = parsed {
        return Ok(scripted(name, &script, &LoadOptions::default())?.identity);
    }
    let located = locate(name, &parsed, Extent::Whole)?;
    let ModelHeader { config, template, files, .. } =
        ModelHeader::read(&located.path, name, &TemplateChoice::Own)?;
    let mut identity = identity(name, "local", &files.paths(), &template, config.describe())?;
    identity.commit = located.commit;
    Ok(identity)
}

/// A model that an adapter can be trained for, without its weights.
pub(crate) struct Base {
    /// A GGUF file, or a directory with `config.json`.
    pub path: PathBuf,
    pub tokenizer: Box<dyn Tokenizer + Send + Sync>,
    pub template: ChatTemplate,
    /// What its decoder is.
    pub config: ModelConfig,
    pub identity: Identity,
}

/// Finds the model that `name` names, at a commit of its hub where one is given; weights are hashed, not loaded.
pub(crate) fn base(name: &str, commit: Option<&str>, choice: &TemplateChoice) -> Result<Base> {
    let parsed = ModelName::parse(name)?.at(commit);
    if let ModelName::Script(_) = parsed {
        return Err(Failure::Usage {
            problem: format!("{name}: a script has no weights to train beside"),
            hint: "name a model of `midcourse models`, a .gguf file or a directory".into(),
        }
        .into());
    }
    let located = locate(name, &parsed, Extent::Whole)?;
    let ModelHeader { config, tokenizer, template, files } = ModelHeader::read(&located.path, name, choice)?;
    let mut identity = identity(name, "local", &files.paths(), &template, config.describe())?;
    identity.commit = located.commit;
    let tokenizer = Box::new(tokenizer);
    Ok(Base { path: located.path, tokenizer, template, config, identity })
}

/// The name of a model without what says where it lies, as it may stand in the name of a file.
pub(crate) fn short_name(model: &str) -> String {
    let name = Path::new(model).file_name().unwrap_or_default().to_string_lossy();
    // Names hold dots: only what says a file's format is its ending.
    let name =
        [".gguf", ".jsonl"].into_iter().fold(name.as_ref(), |name, ending| name.trim_end_matches(ending));
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

/// The text of the model that `name` names; weights are not loaded and no server is asked.
pub(crate) fn outline(name: &str, commit: Option<&str>, loading: &Loading) -> Result<Outline> {
    match ModelName::parse(name)? {
        ModelName::Script(script) => {
            let Model { engine, tokenizer, template, .. } = scripted(name, &script, &loading.local)?;
            Ok(Outline { tokenizer, template, context: engine.context() })
        }
        ModelName::Endpoint(endpoint) => {
            let text = loading.endpoint.text(&endpoint, &loading.local.template)?.map(|at_hand| at_hand.text);
            let context = text.as_ref().map_or(usize::MAX, |text| text.context);
            let choice = loading.endpoint.prefill.unwrap_or_default();
            match text {
                Some(text) if choice.may_send_ids() => {
                    Ok(Outline { tokenizer: Box::new(text.tokenizer), template: text.template, context })
                }
                text => Ok(Outline {
                    tokenizer: Box::new(FramedTokenizer::new(text.map(|text| text.tokenizer))),
                    template: framed_template()?,
                    context,
                }),
            }
        }
        parsed => {
            let located = locate(name, &parsed.at(commit), Extent::Header)?;
            let header = ModelHeader::read(&located.path, name, &loading.local.template)?;
            let context = header.config.context;
            Ok(Outline { tokenizer: Box::new(header.tokenizer), template: header.template, context })
        }
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
        ModelName::Endpoint(_) => {
            return Err(Failure::Usage {
                problem: format!("{name}: expected a model with files, found an endpoint"),
                hint: "name a model of `midcourse models`, a .gguf file or a directory".into(),
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

fn local(name: &str, located: &Located, options: &LoadOptions) -> Result<EmbeddedModel> {
    let model = LocalModel::load(&located.path, name, options)?;
    let description = format!("{}, {}", model.engine.config().describe(), model.engine.dtype().name());
    let mut identity = identity(name, "local", &model.files, &model.template, description)?;
    identity.commit.clone_from(&located.commit);
    let LocalModel { engine, tokenizer, template, .. } = model;
    Ok(Model { engine: Box::new(engine), tokenizer: Box::new(tokenizer), template, identity, survey: None })
}

fn at_endpoint(name: &EndpointName, loading: &Loading) -> Result<MeasurableModel> {
    if loading.local.adapter.is_some() {
        return Err(Failure::Usage {
            problem: "--adapter: expected a model in this process, found an endpoint".into(),
            hint: "let the server load the adapter, or name the model's files".into(),
        }
        .into());
    }
    let text = loading.endpoint.text(name, &loading.local.template)?;
    if text.is_none() && loading.local.template != TemplateChoice::Own {
        return Err(Failure::Usage {
            problem: "--chat-template: no tokenizer is at hand, so the server uses its own template".into(),
            hint: "name the model's tokenizer with --tokenizer, or leave the flag out".into(),
        }
        .into());
    }
    let (text, files) = text.map_or((None, Vec::new()), |TextAtHand { text, files }| (Some(text), files));
    let dispatcher = loading.endpoint.dispatcher(name, endpoint::KEY, loading.seed)?;
    let choice = loading.endpoint.prefill.unwrap_or_default();
    let RemoteModel { engine, tokenizer, template } =
        RemoteModel::open(dispatcher, name.model.as_deref(), choice, text)?;
    let survey = engine.survey().clone();
    say(&strip_controls(&survey.summary()));
    survey.caveats().into_iter().for_each(say);
    let version = survey.version.as_deref().map_or(String::new(), |version| format!(" {version}"));
    let description = format!("{}{version} at {}", survey.server.name(), name.address);
    let identity = identity(&name.to_string(), "endpoint", &files, &template, description)?;
    Ok(Model {
        engine: Box::new(engine),
        tokenizer: Box::new(tokenizer),
        template,
        identity,
        survey: Some(survey),
    })
}

/// A script as a model.
pub(crate) fn scripted(name: &str, path: &Path, options: &LoadOptions) -> Result<EmbeddedModel> {
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
    Ok(Model { engine: Box::new(engine), tokenizer, template, identity, survey: None })
}

fn identity(
    name: &str,
    engine: &str,
    files: &[PathBuf],
    template: &ChatTemplate,
    description: String,
) -> Result<Identity> {
    Ok(Identity {
        name: name.to_owned(),
        engine: engine.to_owned(),
        commit: None,
        files: files.iter().map(|path| FileHash::of(path)).collect::<Result<_>>()?,
        template_sha256: hex(&Sha256::digest(template.source())),
        description,
    })
}
