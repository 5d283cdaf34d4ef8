//! The hub's protocol: a repository's files, and their contents in pieces that can be continued.
//!
//! Every request says what it was for when it fails. What can pass by itself (a busy hub, a broken connection)
//! is tried again; what cannot is said at once. The token goes to the hub itself and nowhere else: a redirect
//! to a content server is followed without it.
//!
//! Source: the hub's description of its own API, and `file_download.py` of `huggingface_hub` for the headers.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::cache::Remote;
use super::name::{Kind, Repo, is_commit, is_path_within};
use super::partial::Partial;
use crate::endpoint;
use crate::failure::Failure;
use crate::progress::Transfer;
use crate::storage;
use crate::terminal::say;

/// Where the hub is, unless `HF_ENDPOINT` says otherwise.
const HUB: &str = "https://huggingface.co";
/// Times that a request is made before it is given up.
const N_TRIES: u32 = 4;
/// A longer wait that the hub asks for is left to the user.
const MAX_WAIT: Duration = Duration::from_secs(120);
const N_REDIRECTS: usize = 10;
/// A list of files is far smaller.
const MAX_LIST_BYTES: u64 = 32 << 20;
/// Bytes after which a connection that breaks again counts as the first that does.
const PROGRESS_BYTES: u64 = 1 << 20;

/// A connection to the hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<String>,
}

/// Scheme, host and port.
type Origin = (String, String);

/// The files of a commit.
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

#[derive(serde::Deserialize)]
struct RepoInfo {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(serde::Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Client {
    /// Endpoint and token come from the environment.
    pub(super) fn from_env() -> Result<Self> {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|text| !text.is_empty());
        let endpoint = endpoint.as_deref().unwrap_or(HUB).trim_end_matches('/').to_owned();
        let Some(origin) = endpoint.parse().ok().as_ref().and_then(origin) else {
            return Err(Failure::Usage {
                problem: format!("HF_ENDPOINT: expected an address such as {HUB}, found something else"),
                hint: "correct the variable or unset it; it holds no user name".into(),
            }
            .into());
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("midcourse/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(120)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .tls_config(endpoint::tls()?)
            .build()
            .new_agent();
        Ok(Self { agent, endpoint, origin, token: token()? })
    }

    /// What a revision of a repository is.
    ///
    /// `what` is what messages call it.
    pub(super) fn list(&self, repo: &Repo, revision: &str, what: &str) -> Result<Listing> {
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/{}/{repo}/revision/{revision}", self.endpoint, repo.kind.plural());
        let mut answer = self.ask(&Method::GET, &url, 0, what)?;
        let text = answer.body_mut().with_config().limit(MAX_LIST_BYTES).read_to_vec();
        let text = text.map_err(|error| self.unreachable(what, &error))?;
        let Ok(info) = serde_json::from_slice::<RepoInfo>(&text) else {
            return Err(self.no_hub(what, answer.headers()).into());
        };
        let hostile = info.siblings.iter().find(|sibling| !is_path_within(&sibling.rfilename));
        if let Some(sibling) = hostile {
            return Err(strange(what, &format!("the repository lists a file named {:?}", sibling.rfilename)));
        }
        if !is_commit(&info.sha) {
            return Err(strange(what, &format!("expected a commit, found {:?}", info.sha)));
        }
        Ok(Listing { commit: info.sha, files: info.siblings.into_iter().map(|s| s.rfilename).collect() })
    }

    /// What a file of a commit is, without its content.
    pub(super) fn describe(&self, repo: &Repo, commit: &str, file: &str) -> Result<Remote> {
        let what = format!("{repo}: {file}");
        let answer = self.ask(&Method::HEAD, &self.url(repo, commit, file), 0, &what)?;
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let Some(found) = text("x-repo-commit") else {
            return Err(self.no_hub(&what, answer.headers()).into());
        };
        if found != commit {
            return Err(strange(&what, &format!("expected commit {commit}, found {found:?}")));
        }
        let etag = text("x-linked-etag").or_else(|| text("etag")).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        if !(is_path_within(etag) && etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')) {
            return Err(strange(&what, &format!("expected an ETag, found {etag:?}")));
        }
        let bytes = text("x-linked-size").or_else(|| text("content-length"));
        let Some(bytes) = bytes.and_then(|bytes| bytes.parse().ok()) else {
            return Err(strange(&what, "expected the file's size, found none"));
        };
        Ok(Remote { etag: etag.to_owned(), bytes })
    }

    fn url(&self, repo: &Repo, commit: &str, file: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte);
        let escaped = |byte: u8| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
        let file: String = file.bytes().map(escaped).collect();
        let folder = if repo.kind == Kind::Dataset { "datasets/" } else { "" };
        format!("{}/{folder}{repo}/resolve/{commit}/{file}", self.endpoint)
    }

    /// Fetches a file's content into `to`, going on where an earlier attempt ended.
    pub(super) fn download(
        &self,
        (repo, commit, file): (&Repo, &str, &str),
        remote: &Remote,
        to: &Path,
    ) -> Result<()> {
        let (url, what) = (self.url(repo, commit, file), format!("{repo}: {file}"));
        let mut partial = Partial::open(to, remote.bytes)?;
        let progress = Transfer::new(file, remote.bytes, partial.len());
        let (mut tries, mut mark) = (1, partial.len());
        while partial.len() < remote.bytes {
            let broken = match self.receive(&url, &what, &mut partial, &progress) {
                Ok(()) => "the connection ended".to_owned(),
                Err(Receiving::Broken(error)) => error.to_string(),
                Err(Receiving::Failed(error)) => return Err(error),
            };
            if partial.len() >= remote.bytes {
                break;
            }
            if partial.len() > mark + PROGRESS_BYTES {
                (tries, mark) = (1, partial.len());
            }
            if tries == N_TRIES {
                let (found, bytes) = (partial.len(), remote.bytes);
                return Err(Failure::Endpoint {
                    problem: format!("{what}: expected {bytes} bytes, found {found}: {broken}"),
                    hint: "what has come is kept; try again to go on from there".into(),
                }
                .into());
            }
            std::thread::sleep(backoff(tries));
            tries += 1;
        }
        let found = partial.finish()?;
        match remote.sha256().filter(|expected| *expected != found) {
            None => Ok(()),
            Some(expected) => {
                std::fs::remove_file(to).map_err(storage::at(to))?;
                Err(strange(&what, &format!("expected SHA-256 {expected}, found {found}")))
            }
        }
    }

    /// One answer's bytes, appended to `partial`; none are an error that an ended connection explains.
    fn receive(
        &self,
        url: &str,
        what: &str,
        partial: &mut Partial,
        progress: &Transfer,
    ) -> std::result::Result<(), Receiving> {
        let answer = self.ask(&Method::GET, url, partial.len(), what).map_err(Receiving::Failed)?;
        let is_rest = answer.status() == StatusCode::PARTIAL_CONTENT
            && range_start(answer.headers()) == Some(partial.len());
        let is_whole = answer.status() == StatusCode::OK;
        if is_rest || is_whole {
            let n_bytes = partial.expected() - if is_rest { partial.len() } else { 0 };
            self.must_be_file(what, &answer, n_bytes).map_err(Receiving::Failed)?;
        }
        if !is_rest {
            // The server sends the file from its beginning, or cannot go on where it was asked to.
            partial.restart().map_err(|error| Receiving::Failed(error.into()))?;
        }
        if is_rest || is_whole {
            let mut reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
            return partial.append(&mut reader, progress);
        }
        Ok(())
    }

    /// Refuses a page in place of a file, and a file of another length, before it costs a transfer.
    fn must_be_file(&self, what: &str, answer: &Response<Body>, n_bytes: u64) -> Result<()> {
        let headers = answer.headers();
        if media_type(headers) == Some("text/html") {
            return Err(self.no_hub(what, headers).into());
        }
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
        match announced.filter(|announced| *announced != n_bytes) {
            Some(found) => Err(strange(what, &format!("expected {n_bytes} bytes, found {found}"))),
            None => Ok(()),
        }
    }
}

/// How an answer's bytes fail to come.
#[derive(Debug)]
pub(super) enum Receiving {
    /// The connection broke: asking again can help.
    Broken(std::io::Error),
    /// Asking again does not help.
    Failed(anyhow::Error),
}

/// Making requests.
impl Client {
    /// Makes a request until it is answered by something that asking again would not change.
    ///
    /// A HEAD stops at the redirect that leaves the hub: its headers describe the file.
    fn ask(&self, method: &Method, url: &str, from: u64, what: &str) -> Result<Response<Body>> {
        let mut attempt = 1;
        loop {
            let wait = match self.follow(method, url, from) {
                Ok(answer) if attempt < N_TRIES && may_pass(answer.status()) => {
                    self.asked_wait(&answer, what)?.unwrap_or(backoff(attempt))
                }
                Ok(answer) => return self.accept(answer, what),
                Err(error) if attempt == N_TRIES || !may_mend(&error) => {
                    return Err(self.unreachable(what, &error).into());
                }
                Err(_) => backoff(attempt),
            };
            if wait > Duration::from_secs(5) {
                say(&format!("{what}: the hub asks to wait {} s …", wait.as_secs()));
            }
            std::thread::sleep(wait);
            attempt += 1;
        }
    }

    /// How long the hub asks to wait, if it says so.
    fn asked_wait(&self, answer: &Response<Body>, what: &str) -> Result<Option<Duration>> {
        let asked =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let asked = asked.map(Duration::from_secs);
        match asked.filter(|asked| *asked > MAX_WAIT) {
            None => Ok(asked),
            Some(asked) => Err(Failure::Endpoint {
                problem: format!(
                    "{what}: {} asks to wait {} s ({})",
                    self.endpoint,
                    asked.as_secs(),
                    answer.status()
                ),
                hint: "try again after that time; with HF_TOKEN set, more is allowed".into(),
            }
            .into()),
        }
    }

    /// Makes a request and follows redirects; the token goes to the hub only.
    fn follow(
        &self,
        method: &Method,
        url: &str,
        from: u64,
    ) -> std::result::Result<Response<Body>, ureq::Error> {
        let mut uri: Uri = url.parse().map_err(|_| ureq::Error::BadUri(url.to_owned()))?;
        for _ in 0..N_REDIRECTS {
            let mut request = Request::builder().method(method.clone()).uri(uri.clone());
            if let Some(token) = self.token.as_ref().filter(|_| origin(&uri).as_ref() == Some(&self.origin)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let answer = self.agent.run(request.body(())?)?;
            let location =
                answer.headers().get(header::LOCATION).filter(|_| answer.status().is_redirection());
            let Some(location) = location else { return Ok(answer) };
            let next = location.to_str().ok().and_then(|location| resolve(&uri, location));
            let next = next.ok_or_else(|| ureq::Error::BadUri("of a redirect".into()))?;
            if method == Method::HEAD && origin(&next) != origin(&uri) {
                return Ok(answer);
            }
            uri = next;
        }
        Err(ureq::Error::TooManyRedirects)
    }

    /// The answer, unless the hub refuses.
    fn accept(&self, answer: Response<Body>, what: &str) -> Result<Response<Body>> {
        let status = answer.status();
        // A range that cannot be had makes the transfer begin anew.
        if status.is_success() || status.is_redirection() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(answer);
        }
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let (problem, hint) = self.refusal(status, code.unwrap_or_default());
        let problem = format!("{what}: {problem} ({status})");
        let failure = if may_pass(status) {
            Failure::Unreachable { problem, hint }
        } else {
            Failure::Endpoint { problem, hint }
        };
        Err(failure.into())
    }

    /// What the hub's refusal means, and what to do.
    fn refusal(&self, status: StatusCode, code: &str) -> (&'static str, String) {
        let credentials = match self.token {
            Some(_) => "the token of HF_TOKEN or of the hub's login does not allow it",
            None => "set HF_TOKEN if it is private or gated",
        };
        match (status.as_u16(), code) {
            (_, "GatedRepo") => (
                "the repository is gated",
                format!("accept its licence on its page at {}; {credentials}", self.endpoint),
            ),
            (_, "RevisionNotFound") => ("the hub has no such revision", "check the part after @".into()),
            (_, "EntryNotFound") => ("the hub has no such file", "check the file's name".into()),
            (_, "RepoNotFound") | (404, _) => {
                ("the hub has no such repository or revision", format!("check the name; {credentials}"))
            }
            (401 | 403, _) => ("the hub denies access", credentials.to_owned()),
            (429, _) => ("the hub is asked too often", "try again later".into()),
            (500.., _) => ("the hub has a fault", "try again later".into()),
            _ => ("the hub refuses", "check the name and HF_ENDPOINT".into()),
        }
    }

    fn unreachable(&self, what: &str, error: &ureq::Error) -> Failure {
        // An address can hold a signature: none is said but the hub's own.
        if matches!(error, ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects) {
            return Failure::Endpoint {
                problem: format!("{what}: {} redirects in circles or to no address", self.endpoint),
                hint: "check HF_ENDPOINT; a proxy may answer in its place".into(),
            };
        }
        Failure::Unreachable {
            problem: format!("{what}: {} cannot be reached: {error}", self.endpoint),
            hint: "check the network, the proxy variables and HF_ENDPOINT; with HF_HUB_OFFLINE=1 only the \
                   cache is used"
                .into(),
        }
    }

    /// The failure of an answer that no hub gives.
    fn no_hub(&self, what: &str, headers: &HeaderMap) -> Failure {
        let found = media_type(headers).unwrap_or("something else");
        Failure::Endpoint {
            problem: format!("{what}: expected an answer of a model hub, found {found}"),
            hint: format!("{} may be another service, or a proxy answers in its place", self.endpoint),
        }
    }
}

/// The failure of an answer that contradicts itself or the protocol.
fn strange(what: &str, problem: &str) -> anyhow::Error {
    Failure::Endpoint {
        problem: format!("{what}: {problem}"),
        hint: "nothing of it was kept; try again, and check HF_ENDPOINT if it stays".into(),
    }
    .into()
}

/// Whether a refusal can be gone the next time.
fn may_pass(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Whether a connection that failed can succeed the next time.
fn may_mend(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed)
}

/// 0.5, 1, 2, … seconds.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(250 << attempt.min(8))
}

/// None for an address that is not of the web, or that carries a user's name.
fn origin(uri: &Uri) -> Option<Origin> {
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    Some((scheme.to_owned(), authority.as_str().to_ascii_lowercase()))
}

/// The address that `location` means on the page `from`; none when it would give up encryption.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = origin(from)?;
    let absolute = match location {
        path if path.starts_with("//") => format!("{scheme}:{path}"),
        path if path.starts_with('/') => format!("{scheme}://{authority}{path}"),
        whole => whole.to_owned(),
    };
    let next: Uri = absolute.parse().ok()?;
    let (next_scheme, _) = origin(&next)?;
    (scheme == "http" || next_scheme == "https").then_some(next)
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim())
}

/// The first byte of a partial answer.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// The user's token: `HF_TOKEN`, else what the hub's own login has left.
fn token() -> Result<Option<String>> {
    let from_file = || -> Result<Option<String>> {
        let path = match storage::env_path("HF_TOKEN_PATH") {
            Some(path) => path,
            None => super::cache::home()?.join("token"),
        };
        Ok(std::fs::read_to_string(path).ok())
    };
    let given = std::env::var("HF_TOKEN").ok().filter(|token| !token.trim().is_empty());
    let token = match given {
        Some(token) => Some(token),
        None => from_file()?,
    };
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    match token {
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => Err(Failure::Usage {
            problem: "the hub's token: expected letters, digits and signs, found something else".into(),
            hint: "set HF_TOKEN to a token of the hub's settings page".into(),
        }
        .into()),
        token => Ok(token),
    }
}
