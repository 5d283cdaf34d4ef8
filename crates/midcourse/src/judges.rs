//! Who judges: from the options to a judge and to what is recorded of it.
//!
//! A judge is known by everything that decides what it says: of a judge of text the version and its phrases, of a model its files or
//! its server, of both what it is asked and where it abstains. That identity stands in the records, is the key of the
//! cache, and must be that of a calibration.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::engine::Chat;
use midcourse_core::judge::answer::Thresholds;
use midcourse_core::judge::interview::Interviewer;
use midcourse_core::judge::prompt::JudgePrompt;
use midcourse_core::judge::rule::RuleJudge;
use midcourse_core::judge::weigh::Weigher;
use midcourse_core::judge::{self, Judge};
use midcourse_engine::files;
use midcourse_engine::remote::{self, EndpointName, RemoteChat};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::endpoint::{EndpointOptions, Prices};
use crate::failure::Failure;
use crate::input::hex;
use crate::model::{self, Identity};

/// The variable that holds the key of a judge's server: it is not that of the model that is judged.
const KEY: &str = "MIDCOURSE_JUDGE_API_KEY";
/// Bytes of the longest prompt for judges.
const MAX_PROMPT: u64 = 1 << 20;
/// The prompt that is asked when none is named.
const DEFAULT_PROMPT: &str = "midcourse";

/// Options that name a judge: the same for `eval`, `judge` and `judge calibrate`.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JudgeOptions {
    /// Who judges the continuations: rule (phrases), strings (plain string matching, to compare with), or a model by
    /// any name that --model takes: an embedded one judges by the probabilities of yes and no, one at
    /// http(s)://HOST:PORT/v1#MODEL by what it writes (key in `MIDCOURSE_JUDGE_API_KEY`) [default: rule]
    #[arg(long, value_name = "rule|strings|MODEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// What a model is asked: midcourse, paper, or a file with {{continuation}} and, as wanted, {{prompt}},
    /// {{prefix}}, {{response}} and {{fence}} in it [default: midcourse]
    #[arg(long, value_name = "midcourse|paper|FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_prompt: Option<String>,
    /// Probabilities of yes at which a model says no, and says yes; between them it abstains [default: 0.4,0.6]
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_thresholds: Option<Thresholds>,
    /// Where judgements of models are kept so that none is asked for twice: a directory, or off [default: below the
    /// user's cache]
    #[arg(long, value_name = "DIR|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_cache: Option<String>,
    /// Most requests in flight at the judge's server; the number adapts to what it takes [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_concurrency: Option<usize>,
    /// Seconds that a request to the judge's server may take in all [default: 600]
    #[arg(long, value_name = "SECS", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_timeout: Option<u64>,
    /// Prices of a million tokens that the judge's server is given and of a million that it samples: what judging
    /// costs is counted
    #[arg(long, value_name = "IN,OUT", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_prices: Option<Prices>,
    /// Correct the rates for the judge's error, as `midcourse judge calibrate` measured it
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PathBuf>,
}

/// A judge as it was asked for, everything decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JudgePlan {
    pub name: String,
    /// None of a judge of text.
    pub prompt: Option<String>,
    /// None of a judge of text.
    pub thresholds: Option<Thresholds>,
    /// How a judge's server is asked.
    pub endpoint: EndpointOptions,
    pub cache: Option<String>,
    pub calibration: Option<PathBuf>,
}

impl JudgeOptions {
    /// Those that decide what the judge says: where, how fast and at which price it is asked changes nothing.
    pub(crate) fn deciding(self) -> Self {
        Self {
            judge_cache: None,
            judge_concurrency: None,
            judge_timeout: None,
            judge_prices: None,
            calibration: None,
            ..self
        }
    }

    /// Fills in what was not named.
    pub(crate) fn resolve(&self) -> Result<JudgePlan> {
        let name = self.judge.clone().unwrap_or_else(|| RuleJudge::NAME.into());
        let is_text = judge::text_judge(&name).is_some();
        let of_models = "leave the flag out, or name a model as --judge";
        let of_servers = "leave the flag out, or name a judge as http://HOST:PORT/v1#MODEL";
        let is_here = !remote::is_address(&name);
        for (flag, is_given, is_senseless, what, hint) in [
            ("judge-prompt", self.judge_prompt.is_some(), is_text, "model", of_models),
            ("judge-thresholds", self.judge_thresholds.is_some(), is_text, "model", of_models),
            ("judge-concurrency", self.judge_concurrency.is_some(), is_here, "endpoint", of_servers),
            ("judge-timeout", self.judge_timeout.is_some(), is_here, "endpoint", of_servers),
            ("judge-prices", self.judge_prices.is_some(), is_here, "endpoint", of_servers),
        ] {
            if is_given && is_senseless {
                let problem = format!("--{flag}: the judge {name} is no {what}");
                return Err(Failure::Usage { problem, hint: hint.into() }.into());
            }
        }
        let endpoint = EndpointOptions {
            concurrency: self.judge_concurrency,
            timeout: self.judge_timeout,
            prices: self.judge_prices,
            ..EndpointOptions::default()
        };
        endpoint.check_limits("judge-")?;
        let prompt = || self.judge_prompt.clone().unwrap_or_else(|| DEFAULT_PROMPT.into());
        Ok(JudgePlan {
            name,
            prompt: (!is_text).then(prompt),
            thresholds: (!is_text).then(|| self.judge_thresholds.unwrap_or_default()),
            endpoint,
            cache: self.judge_cache.clone(),
            calibration: self.calibration.clone(),
        })
    }
}

impl JudgePlan {
    /// The plan as options.
    pub(crate) fn options(&self) -> JudgeOptions {
        JudgeOptions {
            judge: Some(self.name.clone()),
            judge_prompt: self.prompt.clone(),
            judge_thresholds: self.thresholds,
            judge_concurrency: self.endpoint.concurrency,
            judge_timeout: self.endpoint.timeout,
            judge_prices: self.endpoint.prices,
            judge_cache: self.cache.clone(),
            calibration: self.calibration.clone(),
        }
    }

    /// Whether it is the judge that can be asked after every token.
    pub(crate) fn is_rule(&self) -> bool {
        self.name == RuleJudge::NAME
    }

    /// Whether a model is asked what it is asked when no prompt is named.
    pub(crate) fn asks_usual_prompt(&self) -> bool {
        self.prompt.as_deref() == Some(DEFAULT_PROMPT)
    }

    /// The judge, known but not loaded.
    pub(crate) fn identify(&self) -> Result<KnownJudge> {
        let (Some(prompt), Some(thresholds)) = (&self.prompt, self.thresholds) else {
            return Ok(KnownJudge { identity: JudgeIdentity::of_text(&self.name), asked: None });
        };
        let (name, prompt) = (self.name.clone(), read_prompt(prompt)?);
        let model = match endpoint(&name)? {
            Some(endpoint) => {
                Identity { name: endpoint.to_string(), engine: "endpoint".into(), ..Identity::default() }
            }
            None => model::identify(&name)?,
        };
        let identity = JudgeIdentity::of_model(model, &prompt, thresholds);
        let endpoint = self.endpoint.clone();
        Ok(KnownJudge { identity, asked: Some(Asked { name, prompt, thresholds, endpoint }) })
    }
}

/// A judge of which is known what it is.
#[derive(Debug)]
pub(crate) struct KnownJudge {
    pub identity: JudgeIdentity,
    /// None of a judge of text.
    asked: Option<Asked>,
}

/// A model that judges, and what it is asked.
#[derive(Debug)]
struct Asked {
    name: String,
    prompt: JudgePrompt,
    thresholds: Thresholds,
    endpoint: EndpointOptions,
}

impl KnownJudge {
    /// Loads it.
    pub(crate) fn open(&self) -> Result<Box<dyn Judge>> {
        let Some(Asked { name, prompt, thresholds, endpoint: options }) = &self.asked else {
            let judge = judge::text_judge(&self.identity.id);
            return Ok(Box::new(judge.ok_or_else(|| anyhow::anyhow!("no judge {}", self.identity.id))?));
        };
        let (prompt, thresholds) = (prompt.clone(), *thresholds);
        if let Some(endpoint) = endpoint(name)? {
            return Ok(Box::new(Interviewer { chat: chat(&endpoint, options)?, prompt, thresholds }));
        }
        Ok(Box::new(Weigher::new(model::load_weighing(name)?, prompt, thresholds)?))
    }

    /// Whether asking it takes long enough to remember what it said.
    pub(crate) fn is_model(&self) -> bool {
        self.asked.is_some()
    }

    /// What is asked of a judge behind a server, and at which prices; none of other judges.
    pub(crate) fn at_server(&self) -> Option<(&JudgePrompt, Option<Prices>)> {
        let asked = self.asked.as_ref().filter(|asked| remote::is_address(&asked.name))?;
        Some((&asked.prompt, asked.endpoint.prices))
    }
}

/// Everything that decides what a judge says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JudgeIdentity {
    /// The name that its records carry.
    pub id: String,
    /// Of a judge of text: the version of midcourse, and what its phrases are known by.
    pub version: Option<String>,
    /// Of a judge that is a model.
    pub model: Option<Identity>,
    pub prompt: Option<PromptIdentity>,
    /// As on the command line.
    pub thresholds: Option<String>,
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PromptIdentity {
    pub name: String,
    pub sha256: String,
}

impl JudgeIdentity {
    fn of_text(name: &str) -> Self {
        let mut version = env!("CARGO_PKG_VERSION").to_owned();
        if name == RuleJudge::NAME {
            version = format!("{version}+{}", RuleJudge::revision());
        }
        Self { id: name.to_owned(), version: Some(version), model: None, prompt: None, thresholds: None }
    }

    fn of_model(model: Identity, prompt: &JudgePrompt, thresholds: Thresholds) -> Self {
        // Of a server's model what stands after #.
        let mut id = model::short_name(model.name.rsplit('#').next().unwrap_or(&model.name));
        if prompt.name() != DEFAULT_PROMPT {
            id = format!("{id}+{}", prompt.name());
        }
        if thresholds != Thresholds::default() {
            id = format!("{id}@{}", thresholds.to_string().replace(',', "-"));
        }
        let prompt = PromptIdentity { name: prompt.name().to_owned(), sha256: prompt.sha256().to_owned() };
        Self {
            id,
            version: None,
            model: Some(model),
            prompt: Some(prompt),
            thresholds: Some(thresholds.to_string()),
        }
    }

    /// SHA-256 over what decides what the judge says; the same judge under another path has the same.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        match &self.model {
            None => part(&self.id),
            // Nobody knows a server's files: its name has to do.
            Some(model) if model.files.is_empty() => part(&model.name),
            Some(model) => model.files.iter().map(|file| &file.sha256).for_each(|sha256| part(sha256)),
        }
        let template = self.model.as_ref().map(|model| model.template_sha256.as_str());
        let prompt = self.prompt.as_ref().map(|prompt| prompt.sha256.as_str());
        for text in [self.version.as_deref(), template, prompt, self.thresholds.as_deref()] {
            part(text.unwrap_or_default());
        }
        hex(&hash.finalize())
    }

    /// Its name and the start of its fingerprint, for people to tell judges by.
    pub(crate) fn summary(&self) -> String {
        format!("{} ({})", self.id, &self.fingerprint()[..8])
    }

    /// Whether both are the same judge.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

/// The endpoint that a judge's name names, if it names one.
fn endpoint(name: &str) -> Result<Option<EndpointName>> {
    if !remote::is_address(name) {
        return Ok(None);
    }
    let endpoint: EndpointName = name.parse()?;
    if endpoint.model.is_none() {
        return Err(Failure::Usage {
            problem: format!("--judge: {name}: expected a model's name after #, found none"),
            hint: "write http://HOST:PORT/v1#MODEL".into(),
        }
        .into());
    }
    Ok(Some(endpoint))
}

/// The model at a server, to talk with.
fn chat(endpoint: &EndpointName, options: &EndpointOptions) -> Result<Box<dyn Chat>> {
    let dispatcher = options.dispatcher(endpoint, KEY, 0)?;
    Ok(Box::new(RemoteChat::open(dispatcher, endpoint.model.as_deref().unwrap_or_default())?))
}

fn read_prompt(name: &str) -> Result<JudgePrompt> {
    if let Some(prompt) = JudgePrompt::builtin(name) {
        return Ok(prompt?);
    }
    let path = Path::new(name);
    let text = files::read_to_string(path, MAX_PROMPT).map_err(|error| Failure::Input {
        problem: format!("--judge-prompt: {name}: {error}"),
        hint: format!("name {}, or a text file", JudgePrompt::BUILTIN.join(", ")),
    })?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(JudgePrompt::parse(&stem, name, &text)?)
}
