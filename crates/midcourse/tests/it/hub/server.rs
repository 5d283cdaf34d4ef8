//! A stand-in for a model hub and its content server, on two ports of this machine.
//!
//! It speaks the hub's protocol: a repository's files by revision, large files by a redirect to the content
//! server with the file's hash and size in the hub's headers, small ones by a redirect within the hub, ranges.
//! Faults are laid out in advance, each for the requests whose line holds a text.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

/// The repository.
pub(crate) const REPO: &str = "org/tiny";
/// The commit of `main` at first.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Larger files are kept by the content server.
const LARGE: usize = 3000;

/// How an answer is spoilt.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Another answer: status line, headers, body.
    Answer(&'static str, String, String),
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// The range that was asked for is not heeded.
    Whole,
    /// A header is left out or replaced, by its name and value.
    Header(&'static str, Option<String>),
    /// Other bytes of the same length.
    OtherBytes,
}

#[derive(Default)]
struct State {
    /// Files by commit.
    commits: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Commits by revision.
    revisions: BTreeMap<String, String>,
    /// What the list names besides.
    also_listed: Vec<String>,
    /// Texts of request lines, times that are left, faults.
    faults: Vec<(String, usize, Fault)>,
    requests: Vec<Request>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Such as `GET /org/tiny/resolve/…`; those of the content server begin their path with `/cdn/`.
    pub line: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
}

/// A running hub; it ends with the process.
pub(crate) struct Hub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Hub {
    /// A hub with one repository of the given files.
    pub(crate) fn with(files: &[(&str, Vec<u8>)]) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let cdn = serve(&state, None);
        let hub = Self { address: serve(&state, Some(cdn)), state };
        hub.commit(COMMIT, files);
        hub
    }

    /// Adds a commit and moves `main` to it.
    pub(crate) fn commit(&self, commit: &str, files: &[(&str, Vec<u8>)]) {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
        let mut state = self.state.lock().unwrap();
        state.commits.insert(commit.to_owned(), files);
        state.revisions.insert("main".to_owned(), commit.to_owned());
    }

    /// Names a file in the list that nothing is behind.
    pub(crate) fn list_also(&self, name: &str) {
        self.state.lock().unwrap().also_listed.push(name.to_owned());
    }

    /// Spoils the next `times` answers to requests whose line holds `text`.
    pub(crate) fn spoil(&self, text: &str, times: usize, fault: Fault) {
        self.state.lock().unwrap().faults.push((text.to_owned(), times, fault));
    }

    /// What to set `HF_ENDPOINT` to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that came since this was last called.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

/// Listens; with the address of a content server it is the hub, without one it is the content server.
fn serve(state: &Arc<Mutex<State>>, cdn: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let state = Arc::clone(&state);
            thread::spawn(move || while answer(stream.as_ref().unwrap(), &state, cdn).is_some() {});
        }
    });
    address
}

struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Answers a request; none when the connection is over.
fn answer(stream: &TcpStream, state: &Mutex<State>, cdn: Option<SocketAddr>) -> Option<()> {
    let request = read(stream, cdn.is_none())?;
    let (fault, mut answer) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let fault = take_fault(&mut state.faults, &request.line);
        (fault, good_answer(&state, &request, cdn))
    };
    let mut cut = None;
    match fault {
        Some(Fault::Answer(status, headers, body)) => {
            let header = |line: &str| {
                let (name, value) = line.split_once(": ").unwrap();
                (&*name.to_owned().leak(), value.to_owned())
            };
            let headers = headers.lines().map(header).collect();
            answer = Answer { status, headers, body: body.into_bytes() };
        }
        Some(Fault::CutAfter(n)) => cut = Some(n),
        Some(Fault::Whole) => {
            let mut whole = request.clone();
            whole.headers.remove("range");
            answer = good_answer(&state.lock().unwrap(), &whole, cdn);
        }
        Some(Fault::Header(name, value)) => {
            answer.headers.retain(|(there, _)| *there != name);
            answer.headers.extend(value.map(|value| (name, value)));
        }
        Some(Fault::OtherBytes) => answer.body.iter_mut().for_each(|byte| *byte ^= 1),
        None => {}
    }
    write(stream, &request, &answer, cut)
}

fn read(stream: &TcpStream, is_cdn: bool) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let host = if is_cdn { "/cdn" } else { "" };
    Some(Request { line: format!("{method} {host}{path}"), headers })
}

fn take_fault(faults: &mut Vec<(String, usize, Fault)>, line: &str) -> Option<Fault> {
    let at = faults.iter().position(|(text, ..)| line.contains(text.as_str()))?;
    let (_, times, fault) = &mut faults[at];
    let fault = fault.clone();
    *times -= 1;
    if *times == 0 {
        faults.remove(at);
    }
    Some(fault)
}

fn write(mut stream: &TcpStream, request: &Request, answer: &Answer, cut: Option<usize>) -> Option<()> {
    let given = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let length = Some(format!("Content-Length: {}\r\n", answer.body.len()));
    let length = length.filter(|_| answer.headers.iter().all(|(name, _)| *name != "Content-Length"));
    let head: String =
        [format!("HTTP/1.1 {}\r\n", answer.status)].into_iter().chain(given).chain(length).collect();
    stream.write_all((head + "\r\n").as_bytes()).ok()?;
    if !request.line.starts_with("HEAD") {
        stream.write_all(&answer.body[..cut.unwrap_or(answer.body.len()).min(answer.body.len())]).ok()?;
    }
    stream.flush().ok()?;
    if cut.is_some() {
        stream.shutdown(std::net::Shutdown::Both).ok()?;
        return None;
    }
    Some(())
}

fn good_answer(state: &State, request: &Request, cdn: Option<SocketAddr>) -> Answer {
    let path = request.line.split(' ').nth(1).unwrap().replace("%20", " ");
    let missing = |code: &str| Answer {
        status: "404 Not Found",
        headers: vec![("X-Error-Code", code.to_owned()), ("Content-Type", "text/html".into())],
        body: b"<html>not found</html>".to_vec(),
    };
    // A data set of the same name has the same files.
    let listed = ["models", "datasets"]
        .iter()
        .find_map(|kind| path.strip_prefix(&format!("/api/{kind}/{REPO}/revision/")));
    if let Some(revision) = listed {
        let revision = revision.replace("%2F", "/");
        let commit = state.revisions.get(&revision).unwrap_or(&revision);
        let Some(files) = state.commits.get(commit) else { return missing("RevisionNotFound") };
        let names = files.keys().chain(&state.also_listed);
        let siblings: Vec<_> = names.map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"id": REPO, "sha": commit, "siblings": siblings}).to_string();
        let headers = vec![("Content-Type", "application/json; charset=utf-8".to_owned())];
        return Answer { status: "200 OK", headers, body: body.into_bytes() };
    }
    let blob = |etag: &str| state.commits.values().flat_map(BTreeMap::values).find(|b| etag_of(b) == etag);
    if let Some(etag) = path.strip_prefix("/cdn/blob/").map(|rest| rest.split('?').next().unwrap()) {
        return content(request, blob(etag).unwrap());
    }
    let in_hub = |prefix: &str| path.strip_prefix(&format!("{prefix}/{REPO}/"));
    let (kind, folder) = if path.contains("datasets/") { ("datasets", "/datasets") } else { ("models", "") };
    let cached = in_hub(&format!("/api/resolve-cache/{kind}")).map(|rest| ("cached", rest));
    let resolved =
        in_hub(folder).and_then(|rest| rest.strip_prefix("resolve/")).map(|rest| ("resolve", rest));
    let Some((how, (commit, name))) =
        cached.or(resolved).and_then(|(how, rest)| Some((how, rest.split_once('/')?)))
    else {
        return missing("RepoNotFound");
    };
    let Some(bytes) = state.commits.get(commit).and_then(|files| files.get(name)) else {
        return missing("EntryNotFound");
    };
    let etag = format!("\"{}\"", etag_of(bytes));
    if how == "cached" {
        let mut answer = content(request, bytes);
        answer.headers.extend([("X-Repo-Commit", commit.to_owned()), ("ETag", etag)]);
        return answer;
    }
    let (status, place) = if bytes.len() > LARGE {
        ("302 Found", format!("http://{}/blob/{}?signature=1", cdn.unwrap(), etag_of(bytes)))
    } else {
        let place = format!("/api/resolve-cache/{kind}/{REPO}/{commit}/{name}");
        ("307 Temporary Redirect", place.replace(' ', "%20"))
    };
    let mut headers = vec![("Location", place), ("X-Repo-Commit", commit.to_owned())];
    headers.extend([("X-Linked-Size", bytes.len().to_string()), ("X-Linked-Etag", etag)]);
    Answer { status, headers, body: b"redirecting".to_vec() }
}

/// SHA-256 for large files; something shorter, as git's hash is, for small ones.
pub(crate) fn etag_of(bytes: &[u8]) -> String {
    let hash: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > LARGE { hash.concat() } else { hash[..20].concat() }
}

fn content(request: &Request, bytes: &[u8]) -> Answer {
    let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
    let from = range.map(|range| range.trim_end_matches('-').parse::<usize>().unwrap());
    let kind = ("Content-Type", "application/octet-stream".to_owned());
    match from {
        None => Answer { status: "200 OK", headers: vec![kind], body: bytes.to_vec() },
        Some(from) => Answer {
            status: "206 Partial Content",
            headers: vec![
                kind,
                ("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
            ],
            body: bytes[from..].to_vec(),
        },
    }
}
