//! Endpoints from the command line: options, keys of the environment, and what is at hand of a server's model.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::local::{LoadOptions, ModelHeader};
use midcourse_engine::remote::{
    self, Address, Client, Connection, Deadlines, Dispatcher, EndpointName, ModelText, Patience,
    PrefillChoice, Secret,
};
use serde::{Deserialize, Serialize};

use crate::catalogue;
use crate::failure::Failure;
use crate::hub::Extent;
use crate::model::{Model, ModelName, locate, scripted};
use crate::plan::names;
use crate::storage;
use crate::terminal::say;

/// The variable that holds the key of the servers that are evaluated.
pub(crate) const KEY: &str = "MIDCOURSE_API_KEY";
/// Names of the ways to go on.
const PREFILLS: &[&str] =
    &["auto", "token-ids", "continue-final-message", "prefix-flag", "trailing-assistant"];
/// Requests in flight at most, unless the user says otherwise.
const CONCURRENCY: usize = 64;
const MAX_CONCURRENCY: usize = 1024;
/// Seconds that a request may take, unless the user says otherwise.
const TIMEOUT: u64 = 600;
const MAX_TIMEOUT: u64 = 86_400;
/// Requests' times without any answer that end a run, if that is sooner than its usual patience.
const N_TIMEOUTS: u32 = 4;

/// Options of endpoints, on the command line and in a file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EndpointOptions {
    /// Another address of the same model, such as http://HOST:PORT/v1; may be given several times
    #[arg(long, value_name = "URL", help_heading = "Endpoints")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<Vec<String>>,
    /// How the server is asked to go on from inside a turn [default: auto, the best that is proved]
    #[arg(long, value_parser = names::<PrefillChoice>(PREFILLS), help_heading = "Endpoints")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<PrefillChoice>,
    /// Tokenizer of the server's model: a name of `midcourse models`, a directory, a .gguf file, hf:ORG/NAME,
    /// scripted:FILE, or none
    /// [default: of a model of this name that `midcourse models` has]
    #[arg(long, value_name = "M|none", help_heading = "Endpoints")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Most requests in flight; the number adapts to what the server takes [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Endpoints")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Seconds that a request may take in all; four times that without any answer, or 120, end the run [default: 600]
    #[arg(long, value_name = "SECS", allow_negative_numbers = true, help_heading = "Endpoints")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Prices of a million tokens given and of a million sampled, such as 0.15,0.60: what the run costs is counted
    #[arg(long, value_name = "IN,OUT", help_heading = "Endpoints")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
}

/// Prices of a million tokens, in any currency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Prices {
    /// Of tokens that the server is given.
    pub given: f64,
    /// Of tokens that it samples.
    pub sampled: f64,
}

impl Prices {
    /// What so many tokens cost.
    pub(crate) fn cost(self, n_given: usize, n_sampled: usize) -> f64 {
        (n_given as f64 * self.given + n_sampled as f64 * self.sampled) / 1e6
    }
}

impl FromStr for Prices {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let price = |text: &str| text.trim().parse().ok().filter(|price| (0.0..1e9).contains(price));
        let prices = text.split_once(',').and_then(|(a, b)| Some((price(a)?, price(b)?)));
        let (given, sampled) =
            prices.ok_or_else(|| format!("expected two prices such as 0.15,0.60, found {text:?}"))?;
        Ok(Self { given, sampled })
    }
}

impl TryFrom<String> for Prices {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Prices> for String {
    fn from(prices: Prices) -> Self {
        format!("{},{}", prices.given, prices.sampled)
    }
}

impl EndpointOptions {
    /// Those that decide what is sampled: where, how fast and at which price the same model is asked changes nothing.
    pub(crate) fn deciding(self) -> Self {
        Self { replica: None, concurrency: None, timeout: None, prices: None, ..self }
    }

    /// Refuses what makes no sense, also where no endpoint is asked.
    pub(crate) fn check(&self, model: &str) -> Result<()> {
        self.check_limits("")?;
        let given = [
            ("replica", self.replica.is_some()),
            ("prefill", self.prefill.is_some()),
            ("tokenizer", self.tokenizer.is_some()),
        ];
        match given.iter().find(|(_, given)| *given && !remote::is_address(model)) {
            Some((flag, _)) => Err(Failure::Usage {
                problem: format!("--{flag}: {model} is no endpoint"),
                hint: "leave the flag out, or name a model as http://HOST:PORT/v1#MODEL".into(),
            }
            .into()),
            None => Ok(()),
        }
    }

    /// Refuses limits out of their range; the flags' names begin with `prefix`.
    pub(crate) fn check_limits(&self, prefix: &str) -> Result<(), Failure> {
        let within = |flag: &str, value: Option<u64>, most: u64| match value {
            Some(value) if value == 0 || value > most => Err(Failure::Usage {
                problem: format!("--{prefix}{flag}: expected 1 to {most}, found {value}"),
                hint: "leave the flag out for the default".into(),
            }),
            _ => Ok(()),
        };
        within("concurrency", self.concurrency.map(|n| n as u64), MAX_CONCURRENCY as u64)?;
        within("timeout", self.timeout, MAX_TIMEOUT)
    }

    /// Requests to an endpoint and its replicas; the key is that of the environment variable `key`, if it is set.
    pub(crate) fn dispatcher(&self, name: &EndpointName, key: &'static str, seed: u64) -> Result<Dispatcher> {
        let secret = secret(key)?;
        let timeout = Duration::from_secs(self.timeout.unwrap_or(TIMEOUT));
        let usual = Deadlines::default();
        let connection = Connection {
            deadlines: Deadlines {
                connect: usual.connect.min(timeout),
                // An answer begins when it is whole: nothing is streamed.
                first_byte: timeout,
                between_bytes: usual.between_bytes.min(timeout),
                total: timeout,
            },
            tls: tls()?,
            ..Connection::default()
        };
        let replicas =
            self.replica.iter().flatten().map(|url| url.parse::<Address>().map_err(anyhow::Error::new));
        let addresses =
            std::iter::once(Ok(name.address.clone())).chain(replicas).collect::<Result<Vec<_>>>()?;
        let clients = addresses.into_iter().map(|address| Client::new(address, secret.clone(), &connection));
        let most = self.concurrency.unwrap_or(CONCURRENCY);
        let usual = Patience::default();
        let patience = Patience { without_answer: usual.without_answer.min(timeout * N_TIMEOUTS), ..usual };
        Ok(Dispatcher::new(clients.collect(), most, patience, seed).with_key(key))
    }

    /// What is at hand of the text of the model there, and where it was found.
    pub(crate) fn text(&self, name: &EndpointName, template: &TemplateChoice) -> Result<Option<TextAtHand>> {
        let source = match (self.tokenizer.as_deref(), name.model.as_deref()) {
            (Some("none"), _) | (None, None) => return Ok(None),
            (Some(source), _) => source,
            (None, Some(model)) => match catalogue::find(model) {
                Some(entry) if entry.is_pulled()? => model,
                _ => return Ok(None),
            },
        };
        if self.prefill.unwrap_or_default().may_send_ids() {
            say(&format!("tokenizer and chat template: {source}"));
        }
        let parsed = ModelName::parse(source)?;
        if let ModelName::Script(script) = parsed {
            let options = LoadOptions { template: template.clone(), ..LoadOptions::default() };
            let Model { engine, tokenizer, template, .. } = scripted(source, &script, &options)?;
            let (tokenizer, context) = (Arc::from(tokenizer), engine.context());
            let text = ModelText { name: source.to_owned(), template, tokenizer, context };
            return Ok(Some(TextAtHand { text, files: vec![script] }));
        }
        let located = locate(source, &parsed, Extent::Header)?;
        let header = ModelHeader::read(&located.path, source, template)?;
        let (files, context) = (header.files.paths(), header.config.context);
        let text = ModelText {
            name: source.to_owned(),
            template: header.template,
            tokenizer: Arc::new(header.tokenizer),
            context,
        };
        Ok(Some(TextAtHand { text, files }))
    }
}

/// What is at hand of the text of a server's model.
pub(crate) struct TextAtHand {
    pub text: ModelText,
    /// The files it was read from.
    pub files: Vec<std::path::PathBuf>,
}

/// The key in an environment variable, if it is set.
fn secret(variable: &str) -> Result<Option<Secret>> {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => Ok(Some(Secret::new(&text, variable)?)),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Ok(Some(Secret::new("\u{0}", variable)?)),
    }
}

/// Whom to trust: the authorities of Mozilla's list, or those of the file that `SSL_CERT_FILE` names, as behind a
/// company's proxy.
pub(crate) fn tls() -> Result<remote::TlsConfig> {
    let Some(path) = storage::env_path("SSL_CERT_FILE") else { return Ok(remote::TlsConfig::default()) };
    let wrong = |problem: String| Failure::Usage {
        problem: format!("SSL_CERT_FILE: {}: {problem}", path.display()),
        hint: "name a file of certificates in PEM, or unset the variable".into(),
    };
    let pem = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    Ok(remote::trust(&pem).map_err(wrong)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_two_numbers_a_million_tokens() {
        let prices: Prices = "0.15, 0.6".parse().unwrap();
        assert!((prices.cost(2_000_000, 500_000) - 0.6).abs() < 1e-12);
        assert_eq!(String::from(prices).parse(), Ok(prices));
        for wrong in ["", "1", "1,", "-1,2", "1,2,3", "a,b", "nan,1", "inf,1"] {
            assert!(wrong.parse::<Prices>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_of_endpoints_need_one() {
        let options = EndpointOptions { tokenizer: Some("smollm2".into()), ..EndpointOptions::default() };
        assert!(options.check("http://localhost:1/v1#m").is_ok());
        assert!(
            options.check("smollm2").unwrap_err().to_string().contains("--tokenizer: smollm2 is no endpoint")
        );
        let none = EndpointOptions { concurrency: Some(0), ..EndpointOptions::default() };
        assert!(none.check("http://localhost:1/v1#m").is_err());
    }
}
