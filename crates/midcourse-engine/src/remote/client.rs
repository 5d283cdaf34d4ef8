//! One server: a request goes out, a reply or a fault comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::http::{self, HeaderMap, Method, Response, header};
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, Body, Timeout};

use super::address::Address;
use super::deadlines::{Deadlines, Names, Pacing};
use super::fault::{self, Deadline, Fault};
use super::http_date;
use super::secret::Secret;

/// Of an error's body no more is read.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// A head of a reply is far smaller.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Bytes of buffer for either direction of a connection; a head has to fit.
const BUFFER_BYTES: usize = 32 << 10;

/// How servers are spoken to.
#[derive(Debug, Clone)]
pub struct Connection {
    /// How long parts of an exchange may take.
    pub deadlines: Deadlines,
    /// Bytes of a reply: 16 MiB, so that what is in flight at once stays within a machine's memory. A reply
    /// that was asked for is far smaller.
    pub max_reply_bytes: u64,
    /// Whom to trust: Mozilla's list of authorities, or those of [`super::trust`].
    pub tls: TlsConfig,
}

impl Default for Connection {
    fn default() -> Self {
        Self { deadlines: Deadlines::default(), max_reply_bytes: 16 << 20, tls: TlsConfig::default() }
    }
}

/// A server, and connections to it that are kept for the next request.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    address: Address,
    secret: Option<Secret>,
    max_reply_bytes: u64,
    has_answered: AtomicBool,
}

/// A path of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Below the base, such as `/completions` for `…/v1/completions`.
    Api(&'static str),
    /// Below the root, such as `/completion` of llama.cpp's server.
    Native(&'static str),
}

/// What is asked of a server.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where.
    pub route: Route,
    /// JSON to post; without it, it is a GET. It is shared between tries.
    pub body: Option<Arc<[u8]>>,
}

/// What a server answers, refusals among it.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status: 2xx or a refusal.
    pub status: u16,
    /// The body, as it came but for the key.
    pub body: Vec<u8>,
    is_html: bool,
}

impl Request {
    /// A GET.
    pub fn get(route: Route) -> Self {
        Self { route, body: None }
    }

    /// A POST of JSON.
    pub fn post(route: Route, body: &Value) -> Self {
        Self { route, body: Some(body.to_string().into_bytes().into()) }
    }
}

impl Reply {
    /// The JSON of an answer.
    ///
    /// # Errors
    /// A refusal, a page, what is not JSON in UTF-8, and an object that holds an `error` though its status is
    /// that of success.
    pub fn json(&self) -> Result<Value, Fault> {
        if !(200..300).contains(&self.status) {
            return Err(self.refusal());
        }
        let found = |what: &str, error: &dyn std::fmt::Display| Fault::NotJson {
            problem: format!("expected JSON, found {what}: {error}"),
        };
        if self.is_html {
            return Err(Fault::Html { status: self.status });
        }
        let text =
            std::str::from_utf8(&self.body).map_err(|error| found("bytes that are not UTF-8", &error))?;
        let what = if text.trim().is_empty() { "an empty body" } else { "something else" };
        let json: Value = serde_json::from_str(text).map_err(|error| found(what, &error))?;
        if json.get("error").is_none_or(Value::is_null) {
            return Ok(json);
        }
        let message = fault::short(&fault::message_of(&json).unwrap_or_default());
        let problem = format!("expected an answer, found an error under status {}: {message}", self.status);
        Err(Fault::Strange { problem })
    }

    /// The fault that a refusal is.
    pub fn refusal(&self) -> Fault {
        if self.is_html {
            return Fault::Html { status: self.status };
        }
        Fault::Refused { status: self.status, message: fault::message(&self.body) }
    }
}

impl Client {
    /// A client that has not connected yet. The key goes to the address's origin only.
    pub fn new(address: Address, secret: Option<Secret>, connection: &Connection) -> Self {
        let deadlines = connection.deadlines;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding("identity")
            .accept("application/json")
            .user_agent(concat!("midcourse/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(deadlines.connect))
            .timeout_connect(Some(deadlines.connect))
            .timeout_recv_response(Some(deadlines.first_byte))
            .timeout_per_write(Some(deadlines.between_bytes))
            .timeout_global(Some(deadlines.total))
            .max_response_header_size(MAX_HEAD_BYTES)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_idle_connections(usize::MAX)
            .max_idle_connections_per_host(usize::MAX)
            .tls_config(connection.tls.clone())
            .build();
        let connector = DefaultConnector::default().chain(Pacing(deadlines.between_bytes));
        Self {
            agent: Agent::with_parts(config, connector, Names::default()),
            address,
            secret,
            max_reply_bytes: connection.max_reply_bytes,
            has_answered: AtomicBool::new(false),
        }
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether anything has come from the server yet.
    pub fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// Ends every connection: requests in flight fail, and so do later ones. A connection that is still being made
    /// ends by its own deadline.
    pub fn close(&self) {
        self.agent.clone().shutdown();
    }

    /// Makes one exchange. A refusal (4xx) is a reply, so that it can be looked at.
    pub fn send(&self, request: &Request) -> Result<Reply, Fault> {
        let response = self.head(request)?;
        self.has_answered.store(true, Ordering::Relaxed);
        let (status, is_html) = (response.status().as_u16(), is_html(response.headers()));
        let retry_after = retry_after(response.headers());
        if response.status().is_redirection() {
            return Err(self.redirected(&response));
        }
        if status == 429 || status == 408 || (status >= 500 && ![501, 505].contains(&status)) {
            let body = response.into_body().into_with_config().limit(MAX_ERROR_BYTES).read_to_vec();
            let message = fault::message(&self.redacted(status, body.unwrap_or_default()));
            return Err(match status {
                429 => Fault::Busy { retry_after, message },
                status => Fault::Failing { status, retry_after, message },
            });
        }
        let body = response.into_body().into_with_config().limit(self.max_reply_bytes).read_to_vec();
        let body = self.redacted(status, body.map_err(|error| self.fault_of_body(error))?);
        let is_html = is_html || fault::is_html(&String::from_utf8_lossy(&body[..body.len().min(100)]));
        Ok(Reply { status, body, is_html })
    }

    /// Sends a request and takes the head of the reply.
    fn head(&self, request: &Request) -> Result<Response<Body>, Fault> {
        let url = match request.route {
            Route::Api(path) => self.address.base() + path,
            Route::Native(path) => self.address.root() + path,
        };
        let method = if request.body.is_some() { Method::POST } else { Method::GET };
        let mut builder = http::Request::builder().method(method).uri(url);
        if let Some(secret) = &self.secret {
            builder = builder.header(header::AUTHORIZATION, secret.authorization());
        }
        let answer = match &request.body {
            None => builder.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
            Some(body) => builder
                .header(header::CONTENT_TYPE, "application/json")
                .body(&**body)
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
        };
        answer.map_err(|error| self.fault_of_head(&error))
    }

    fn redirected(&self, response: &Response<Body>) -> Fault {
        let to = response.headers().get(header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
        let to = to.as_deref().unwrap_or("nowhere");
        // A query can hold a signature.
        let to = to.split('?').next().unwrap_or_default();
        Fault::Redirected { status: response.status().as_u16(), to: fault::short(&self.redact(to)) }
    }

    /// A text without the server's key.
    fn redact(&self, text: &str) -> String {
        self.secret.as_ref().map_or_else(|| text.to_owned(), |secret| secret.redact(text))
    }

    /// A body without the server's key. An answer that is not UTF-8 is not shown to anyone.
    fn redacted(&self, status: u16, body: Vec<u8>) -> Vec<u8> {
        let is_answer = (200..300).contains(&status);
        match &self.secret {
            Some(secret) if !is_answer => secret.redact(&String::from_utf8_lossy(&body)).into_bytes(),
            Some(secret) if !secret.is_commonplace() => match String::from_utf8(body) {
                Ok(text) => secret.redact(&text).into_bytes(),
                Err(error) => error.into_bytes(),
            },
            _ => body,
        }
    }
}

/// From errors of the HTTP library to faults.
impl Client {
    fn fault_of_head(&self, error: &ureq::Error) -> Fault {
        match error {
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::Http(_) => {
                Fault::NotHttp { message: self.text(error) }
            }
            other => self.fault(other),
        }
    }

    fn fault_of_body(&self, error: ureq::Error) -> Fault {
        // Errors in the middle of a body are wrapped as those of a reader.
        let error = match error {
            ureq::Error::Io(error) => ureq::Error::from(error),
            other => other,
        };
        match &error {
            ureq::Error::BodyExceedsLimit(limit) => Fault::TooLarge { limit: *limit },
            other => self.fault(other),
        }
    }

    fn fault(&self, error: &ureq::Error) -> Fault {
        use std::io::ErrorKind as Kind;
        let message = self.text(error);
        match error {
            ureq::Error::Timeout(timeout) => Fault::Late(match timeout {
                Timeout::Resolve | Timeout::Connect => Deadline::Connect,
                Timeout::RecvResponse => Deadline::FirstByte,
                Timeout::PerRead | Timeout::PerWrite => Deadline::BetweenBytes,
                _ => Deadline::Total,
            }),
            ureq::Error::HostNotFound => Fault::Unreachable { message },
            // A proxy's address can hold a password.
            ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
                Fault::Unreachable { message: "the proxy of the environment does not help".into() }
            }
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) | ureq::Error::TlsRequired => {
                Fault::Tls { message }
            }
            ureq::Error::Io(error) => match error.kind() {
                Kind::ConnectionReset
                | Kind::ConnectionAborted
                | Kind::BrokenPipe
                | Kind::UnexpectedEof
                | Kind::NotConnected => Fault::Broken { message },
                // How the TLS library's errors come through a reader.
                Kind::InvalidData if self.address.is_encrypted() => Fault::Tls { message },
                _ => Fault::Unreachable { message },
            },
            _ => Fault::Broken { message },
        }
    }

    fn text(&self, error: &ureq::Error) -> String {
        fault::short(&self.redact(&error.to_string()))
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// How long a server asks to be left alone, in seconds or until a date by its own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(header::RETRY_AFTER)?;
    if asked.bytes().all(|byte| byte.is_ascii_digit()) && !asked.is_empty() {
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let until = http_date::parse(asked)?;
    let now = text(header::DATE).and_then(http_date::parse);
    let now = now.or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok())?;
    Some(until.saturating_sub(now))
}
