//! Names of endpoints: an address, and the model to ask for there.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

use crate::Error;

/// A server's address, such as `http://127.0.0.1:8000/v1`.
///
/// It holds neither a user's name nor a query, so that it can stand in files and messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    origin: String,
    path: String,
}

/// A model at an address, such as `http://127.0.0.1:8000/v1#smollm2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointName {
    /// Where the server is.
    pub address: Address,
    /// The model to ask for; none leaves it to what the server lists.
    pub model: Option<String>,
}

impl Address {
    /// The address that paths of the API follow, without a slash at its end.
    pub fn base(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// The address that a server's own paths follow: the base without `/v1`.
    pub fn root(&self) -> String {
        format!("{}{}", self.origin, self.path.strip_suffix("/v1").unwrap_or(&self.path))
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether what is sent there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.origin.starts_with("https:")
    }
}

/// Whether a model's name looks like an endpoint's, so that a mistake in it is one of an address.
pub fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '\\']))
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // What is refused here may hold a key, so it is not repeated.
        let refused = |expected: &str, found: &str| wrong(&format!("expected {expected}, found {found}"));
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(refused("an address that begins with http:// or https://", "something else"));
        };
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(refused("an address that begins with http:// or https://", "another scheme"));
        }
        if rest.contains('@') {
            return Err(refused("an address without a user's name or a password", "one with an @"));
        }
        if rest.contains(['?', '#']) {
            return Err(refused("an address without a query or a fragment", "one with ? or #"));
        }
        let uri: Uri = text.parse().map_err(|_| refused("an address", "characters that none has"))?;
        let (Some(authority), path) = (uri.authority(), uri.path().trim_end_matches('/')) else {
            return Err(refused("an address with a host", "none"));
        };
        let port = &authority.as_str()[authority.host().len()..];
        if authority.host().is_empty() || !(port.is_empty() || authority.port_u16().is_some_and(|p| p > 0)) {
            return Err(refused("a host and a port from 1 to 65535", &format!("{:?}", authority.as_str())));
        }
        if path.is_empty() {
            return Err(refused("the address of an API, such as http://HOST:PORT/v1", "one without a path"));
        }
        let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
        Ok(Self { origin, path: path.to_owned() })
    }
}

impl FromStr for EndpointName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((address, model)) = text.split_once('#') else {
            return Ok(Self { address: text.parse()?, model: None });
        };
        let address = address.parse()?;
        if model.is_empty() || model.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong(&format!("expected a model's name after {address}#, found {model:?}")));
        }
        Ok(Self { address, model: Some(model.to_owned()) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Some(model) => write!(f, "{}#{model}", self.address),
            None => self.address.fmt(f),
        }
    }
}

fn wrong(problem: &str) -> Error {
    Error::Address {
        problem: format!("the address of an endpoint: {problem}"),
        hint: "write http://HOST:PORT/v1#MODEL; keys come from the environment".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_address_and_a_model() {
        let name: EndpointName = "HTTP://LocalHost:8080/v1/#org/Model-7B:q4".parse().unwrap();
        assert_eq!(name.address.base(), "http://localhost:8080/v1");
        assert_eq!(name.address.root(), "http://localhost:8080");
        assert_eq!(name.model.as_deref(), Some("org/Model-7B:q4"));
        assert_eq!(name.to_string(), "http://localhost:8080/v1#org/Model-7B:q4");
        assert_eq!(name.to_string().parse::<EndpointName>().unwrap(), name);
        let deeper: EndpointName = "https://[::1]/api/openai".parse().unwrap();
        assert_eq!((deeper.address.base(), deeper.address.root()), {
            ("https://[::1]/api/openai".to_owned(), "https://[::1]/api/openai".to_owned())
        });
        assert_eq!(deeper.model, None);
    }

    #[test]
    fn what_could_hold_a_key_is_refused_and_not_repeated() {
        for text in [
            "https://user:sesame@host/v1#m",
            "https://sesame@host/v1",
            "https://host/v1?key=sesame#m",
            "ftp://host/sesame",
            "sesame",
            "http://ho st/sesame",
        ] {
            let error = text.parse::<EndpointName>().unwrap_err();
            assert!(matches!(error, Error::Address { .. }), "{text}");
            assert!(!format!("{error} {error:?} {}", error.hint()).contains("sesame"), "{text}: {error}");
        }
    }

    #[test]
    fn parts_that_are_missing_are_named() {
        for (text, part) in [
            ("http://host#m", "/v1"),
            ("http:///v1#m", "address"),
            ("http://host:0/v1#m", "port"),
            ("http://host:99999/v1#m", "address"),
            ("http://host/v1#", "model's name"),
            ("http://host/v1#a b", "model's name"),
            ("http://host/v1#a\n", "model's name"),
        ] {
            let error = text.parse::<EndpointName>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn names_of_files_are_no_addresses() {
        assert!(is_address("http://host/v1#m") && is_address("ftp://host"));
        assert!(!is_address("models/a.gguf") && !is_address("org/name@main") && !is_address("./a://b"));
    }
}
