//! The embedded engine behind an HTTP server that speaks OpenAI's API.
//!
//! [`http`] reads and writes, a thread a connection; [`completions`] and [`chat`] make jobs of requests;
//! [`scheduler`] runs them on one engine thread; [`reply`] makes answers of what grew. Fields are those of OpenAI's
//! API with vLLM's extensions (`docs/serve.md` says which). What a request does not get here it is refused, by name.

mod asked;
mod chat;
mod completions;
mod error;
mod fields;
mod http;
mod reply;
mod scheduler;
mod text;
mod tokens;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use midcourse_core::report::strip_controls;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::error::ApiError;
use self::fields::Fields;
use self::http::{Connection, Request, Response};
use self::reply::{Counts, Outcome};
use self::scheduler::Scheduler;
use crate::model::EmbeddedModel;
use crate::terminal::say;

/// Connections beyond those that can wait in the queue.
const MORE_CONNECTIONS: usize = 64;
/// Pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);
/// How long what runs may take to end when the server stops.
const LAST: Duration = Duration::from_millis(500);

/// A server.
pub(crate) struct Server {
    model: EmbeddedModel,
    scheduler: Scheduler,
    /// Hash of the key that clients must show.
    key: Option<[u8; 32]>,
    max_connections: usize,
    n_connections: AtomicUsize,
}

impl Server {
    /// A server of `model`, at which at most `max_queue` requests wait, for clients that know `key`.
    pub(crate) fn new(model: EmbeddedModel, max_queue: usize, key: Option<&str>) -> Self {
        Self {
            model,
            scheduler: Scheduler::new(max_queue),
            key: key.map(|key| Sha256::digest(key).into()),
            max_connections: max_queue + MORE_CONNECTIONS,
            n_connections: AtomicUsize::new(0),
        }
    }

    /// Begins to answer what comes to `listener`, on threads of its own.
    pub(crate) fn start(self: &Arc<Self>, listener: TcpListener) {
        let server = Arc::clone(self);
        thread::spawn(move || server.scheduler.run(&server.model));
        let server = Arc::clone(self);
        thread::spawn(move || {
            loop {
                match listener.accept() {
                    Ok((stream, _)) => server.admit(stream),
                    // No more files can be opened, or the client left at once.
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        });
    }

    /// Gives clients that wait what has grown so far, for a moment.
    pub(crate) fn stop(&self) {
        self.scheduler.stop();
        let deadline = Instant::now() + LAST;
        while self.n_connections.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) {
        let Ok(mut connection) = Connection::new(stream) else { return };
        let place = Place::take(self);
        let server = Arc::clone(self);
        let serve = move || {
            let Some(_place) = place else {
                let header = Some(("Retry-After", "1".to_owned()));
                let busy = ApiError { header, ..ApiError::new(503, "too many connections are open") };
                let _ = connection.write(&busy.response(), false);
                return connection.close();
            };
            server.converse(connection);
        };
        let _ = thread::Builder::new().spawn(serve);
    }

    /// Answers a client's requests until it has no more.
    fn converse(&self, mut connection: Connection) {
        loop {
            let request = match connection.read() {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => {
                    say(&format!("- {}: {}", error.status, error.message));
                    let _ = connection.write(&error.response(), false);
                    return connection.close();
                }
            };
            let started = Instant::now();
            let (outcome, counts) = self.answer(&request, &mut connection);
            let outcome = outcome.unwrap_or_else(|error| Outcome::Whole(error.response()));
            log(&request, &outcome, counts, started.elapsed());
            let Outcome::Whole(response) = outcome else { return connection.close() };
            if connection.write(&response, request.keep_alive).is_err() {
                return;
            }
            if !request.keep_alive {
                return connection.close();
            }
        }
    }

    fn answer(&self, request: &Request, connection: &mut Connection) -> (Result<Outcome, ApiError>, Counts) {
        let generation = match self.route(request) {
            Ok(Routed::Answered(body)) => return (Ok(Outcome::Whole(Response::ok(body))), Counts::default()),
            Ok(Routed::Asked(generation)) => generation,
            Err(error) => return (Err(error), Counts::default()),
        };
        reply::generate(self, &generation, connection)
    }

    fn route(&self, request: &Request) -> Result<Routed, ApiError> {
        let (method, path) = (request.method.as_str(), request.path.as_str());
        let expected = match path {
            "/health" | "/version" | "/v1/models" => "GET",
            "/v1/completions" | "/v1/chat/completions" | "/tokenize" | "/detokenize" => "POST",
            _ => {
                let message =
                    format!("{}: not found; expected a path such as /v1/completions", shortened(path));
                return Err(ApiError::new(404, message));
            }
        };
        if method != expected {
            let message = format!("{path}: expected {expected}, found {}", shortened(method));
            let header = Some(("Allow", expected.to_owned()));
            return Err(ApiError { header, ..ApiError::new(405, message) });
        }
        if path == "/health" {
            return Ok(Routed::Answered(json!({"status": "ok"})));
        }
        self.authorise(request)?;
        if path == "/version" {
            return Ok(Routed::Answered(json!({"version": env!("CARGO_PKG_VERSION")})));
        }
        if path == "/v1/models" {
            return Ok(Routed::Answered(self.models()));
        }
        let is_json = |kind: &String| {
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        };
        // A page in a browser can send other kinds to this machine without asking.
        if !request.content_type.as_ref().is_some_and(is_json) {
            let found = request.content_type.as_deref().unwrap_or("none");
            let message = format!("Content-Type: expected application/json, found {}", shortened(found));
            return Err(ApiError::new(415, message));
        }
        let fields = Fields::of(&request.body)?;
        self.check_model(&fields)?;
        Ok(match path {
            "/tokenize" => Routed::Answered(tokens::tokenize(&fields, &self.model)?),
            "/detokenize" => Routed::Answered(tokens::detokenize(&fields, &self.model)?),
            "/v1/chat/completions" => Routed::Asked(Box::new(chat::generation(&fields, &self.model)?)),
            _ => Routed::Asked(Box::new(completions::generation(&fields, &self.model)?)),
        })
    }

    /// Demands the key, where there is one.
    fn authorise(&self, request: &Request) -> Result<(), ApiError> {
        let Some(key) = &self.key else { return Ok(()) };
        let shown = request.authorization.as_deref().and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        // Hashes are compared, and all of them: how long it takes tells nothing of the key.
        let shown: [u8; 32] = Sha256::digest(shown.unwrap_or_default()).into();
        let difference = key.iter().zip(shown).fold(0, |all, (a, b)| all | (a ^ b));
        if std::hint::black_box(difference) == 0 {
            return Ok(());
        }
        let header = Some(("WWW-Authenticate", "Bearer".to_owned()));
        let message = "Authorization: expected `Bearer` and the key of this server";
        Err(ApiError { header, code: Some("invalid_api_key"), ..ApiError::new(401, message) })
    }

    fn check_model(&self, fields: &Fields) -> Result<(), ApiError> {
        let served = &self.model.identity.name;
        match fields.text("model")? {
            Some(name) if name != served => {
                let message = format!("model: expected {served:?}, found {:?}", shortened(name));
                let param = Some("model".to_owned());
                Err(ApiError { param, code: Some("model_not_found"), ..ApiError::new(404, message) })
            }
            _ => Ok(()),
        }
    }

    fn models(&self) -> Value {
        let model = json!({
            "id": self.model.identity.name, "object": "model", "created": 0, "owned_by": "midcourse",
            "max_model_len": self.model.engine.context(),
        });
        json!({"object": "list", "data": [model]})
    }
}

/// What a request comes to.
enum Routed {
    Answered(Value),
    Asked(Box<reply::Generation>),
}

/// A place among the connections.
struct Place(Arc<Server>);

impl Place {
    fn take(server: &Arc<Server>) -> Option<Self> {
        let before = server.n_connections.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(server));
        (before < server.max_connections).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.n_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says what was asked and what became of it, in numbers only.
fn log(request: &Request, outcome: &Outcome, counts: Counts, took: Duration) {
    let status = match outcome {
        Outcome::Whole(response) => response.status.to_string(),
        Outcome::Streamed(None) => "200".into(),
        Outcome::Streamed(Some(error)) => format!("200, then {}", error.status),
        Outcome::Gone => "left".into(),
    };
    let Counts { n_prompt, n_sampled } = counts;
    let tokens = match n_prompt {
        0 => String::new(),
        _ => format!(", {n_prompt} prompt tokens, {n_sampled} sampled"),
    };
    let (method, path) = (shortened(&request.method), shortened(&request.path));
    say(&format!("{method} {path} {status}{tokens}, {:.3} s", took.as_secs_f64()));
}

/// A text of a client as a message shows it.
fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    strip_controls(text).chars().take(MOST).collect()
}
