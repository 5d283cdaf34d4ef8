//! A server of raw TCP that does what it is told with each request, however wrong.
//!
//! Tests say in steps what is sent, when, and how the connection ends. The head of a request is understood just far
//! enough to know where its body ends. The file stands on the standard library alone, so that tests of other crates
//! can include it.

#![allow(dead_code, reason = "each test binary uses what it needs")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A part of what the server does with a request. When no step ends the connection, it is kept.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes one at a time, with a pause before each.
    Drip(Vec<u8>, Duration),
    /// Does nothing for a time.
    Wait(Duration),
    /// Says that nothing more will come, and holds the connection.
    HalfClose,
    /// Ends the connection.
    Close,
    /// Breaks the connection (RST); only where the request has a body.
    Reset,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// How many came before it, on all connections.
    pub n: usize,
    /// Such as `POST /v1/completions`.
    pub line: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A running server; it ends when it is killed or with the process.
pub(crate) struct FaultServer {
    address: SocketAddr,
    state: Arc<State>,
}

/// What is done with a request.
type Answer = Box<dyn Fn(&Request) -> Vec<Step> + Send + Sync>;

struct State {
    answer: Answer,
    requests: Mutex<Vec<Request>>,
    n_requests: AtomicUsize,
    n_connections: AtomicUsize,
    is_killed: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    keeps_requests: bool,
}

/// A whole reply, with its length.
pub(crate) fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<Step> {
    let mut bytes = head(status, &[headers, &[("Content-Length", &body.len().to_string())]].concat());
    bytes.extend_from_slice(body);
    vec![Step::Send(bytes)]
}

/// A whole reply of JSON under status 200.
pub(crate) fn json(body: &str) -> Vec<Step> {
    reply("200 OK", &[("Content-Type", "application/json")], body.as_bytes())
}

/// The head of a reply with these headers and no others.
pub(crate) fn head(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{}\r\n", headers.concat()).into_bytes()
}

impl FaultServer {
    /// A server that answers as `answer` says, on a port of its own. `answer` runs on the connection's thread and
    /// may take its time.
    pub(crate) fn start(answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answer)
    }

    /// The same on a given port, as after [`FaultServer::kill`].
    pub(crate) fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(address, Box::new(answer), true)
    }

    /// A server that does not keep what it was asked, for very many requests.
    pub(crate) fn forgetful(answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::serve("127.0.0.1:0".parse().unwrap(), Box::new(answer), false)
    }

    /// A server that does the same with every request.
    pub(crate) fn always(steps: Vec<Step>) -> Self {
        Self::start(move |_| steps.clone())
    }

    fn serve(address: SocketAddr, answer: Answer, keeps_requests: bool) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answer,
            requests: Mutex::default(),
            n_requests: AtomicUsize::new(0),
            n_connections: AtomicUsize::new(0),
            is_killed: AtomicBool::new(false),
            streams: Mutex::default(),
            keeps_requests,
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, state }
    }

    /// The base of its API.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that came since this was last called.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }

    /// Requests that came in all.
    pub(crate) fn n_requests(&self) -> usize {
        self.state.n_requests.load(Ordering::SeqCst)
    }

    /// Connections that were made in all.
    pub(crate) fn n_connections(&self) -> usize {
        self.state.n_connections.load(Ordering::SeqCst)
    }

    /// Ends it as a killed process ends: nothing listens any more, every connection is gone.
    pub(crate) fn kill(&self) {
        self.state.is_killed.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then closes the port.
        while TcpStream::connect_timeout(&self.address, Duration::from_millis(100)).is_ok() {
            thread::sleep(Duration::from_millis(2));
        }
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.is_killed.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        state.n_connections.fetch_add(1, Ordering::SeqCst);
        state.streams.lock().unwrap().push(stream.try_clone().unwrap());
        let state = Arc::clone(state);
        thread::spawn(move || while converse(&stream, &state).is_some() {});
    }
}

/// Takes a request and does what is to be done with it; none when the connection is over.
fn converse(mut stream: &TcpStream, state: &State) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (request, has_rest) = read(stream, state)?;
    if state.keeps_requests {
        state.requests.lock().unwrap().push(request.clone());
    }
    let steps = (state.answer)(&request);
    let resets = steps.iter().any(|step| matches!(step, Step::Reset));
    if has_rest && !resets {
        stream.read_exact(&mut [0]).ok()?;
    }
    for step in steps {
        if state.is_killed.load(Ordering::SeqCst) {
            return None;
        }
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).ok()?,
            Step::Drip(bytes, pause) => {
                for byte in bytes {
                    thread::sleep(pause);
                    stream.write_all(&[byte]).ok()?;
                }
            }
            Step::Wait(time) => thread::sleep(time),
            Step::HalfClose => {
                stream.shutdown(Shutdown::Write).ok()?;
                // Holds it until the other side goes.
                let _ = stream.read(&mut [0]);
                return None;
            }
            // A connection that is dropped with unread bytes is broken by the system.
            Step::Reset => {
                thread::sleep(Duration::from_millis(20));
                forget(stream, state);
                return None;
            }
            Step::Close => {
                let _ = stream.shutdown(Shutdown::Both);
                return None;
            }
        }
    }
    Some(())
}

/// Drops the second handle on a connection.
fn forget(stream: &TcpStream, state: &State) {
    let peer = stream.peer_addr().ok();
    state.streams.lock().unwrap().retain(|kept| kept.peer_addr().ok() != peer);
}

/// Reads a request; its last byte is looked at but left, as the text of the second value says.
fn read(mut stream: &TcpStream, state: &State) -> Option<(Request, bool)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        // What speaks TLS sends no such head.
        if head.len() > 1 << 16 || (head.len() == 1 && head[0] == 0x16) {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
    let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
    let n_bytes = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; n_bytes];
    if let Some(last) = n_bytes.checked_sub(1) {
        stream.read_exact(&mut body[..last]).ok()?;
        stream.peek(&mut body[last..]).ok()?;
    }
    let n = state.n_requests.fetch_add(1, Ordering::SeqCst);
    Some((Request { n, line, headers, body }, n_bytes > 0))
}
