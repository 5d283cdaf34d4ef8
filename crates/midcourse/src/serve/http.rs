//! One client's connection: requests in, answers out, each within bounds of size and time.
//!
//! HTTP/1.1 with `Content-Length` bodies over blocking sockets, a thread a connection; heads are read by httparse.
//! A slow client holds its own thread only, and not for long.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::error::ApiError;

/// Bytes of a request's line and headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Bytes of a body: a prompt of half a million token ids.
const MAX_BODY: usize = 4 << 20;
/// How long a connection may stay open without a request.
const IDLE: Duration = Duration::from_secs(30);
/// How long a head may take once it has begun.
const HEAD: Duration = Duration::from_secs(10);
/// How long a body may take.
const BODY: Duration = Duration::from_secs(30);
/// How long a client may take none of what is written.
const WRITE: Duration = Duration::from_secs(10);
/// What a refused client may still send before the connection is closed.
const DRAIN: (Duration, usize) = (Duration::from_millis(500), 1 << 20);

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub method: String,
    /// Without its query.
    pub path: String,
    pub authorization: Option<String>,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
    pub keep_alive: bool,
}

/// An answer in one piece.
#[derive(Debug)]
pub(super) struct Response {
    pub status: u16,
    pub body: Value,
    /// Another header.
    pub header: Option<(&'static str, String)>,
}

impl Response {
    pub(super) fn ok(body: Value) -> Self {
        Self { status: 200, body, header: None }
    }
}

/// A head that has been read.
struct Head {
    request: Request,
    body_len: usize,
    expects_continue: bool,
}

/// A client's connection.
pub(super) struct Connection {
    stream: TcpStream,
    /// Read, but not yet a part of a request.
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_write_timeout(Some(WRITE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// The next request; none when the client has gone or asks for nothing more.
    ///
    /// # Errors
    /// When what comes is no request that is read here; the connection cannot be used further.
    pub(super) fn read(&mut self) -> Result<Option<Request>, ApiError> {
        let idle = Instant::now() + IDLE;
        if self.buffer.is_empty() && !matches!(self.fill(idle), Ok(1..)) {
            return Ok(None);
        }
        let deadline = Instant::now() + HEAD;
        let Head { mut request, body_len, expects_continue } = loop {
            if let Some((head, n_bytes)) = head(&self.buffer)? {
                self.buffer.drain(..n_bytes);
                break head;
            }
            if self.buffer.len() >= MAX_HEAD {
                return Err(ApiError::new(431, format!("expected a head of at most {MAX_HEAD} bytes")));
            }
            if self.next(deadline, "the head")?.is_none() {
                return Ok(None);
            }
        };
        if body_len > MAX_BODY {
            return Err(ApiError::new(
                413,
                format!("expected a body of at most {MAX_BODY} bytes, found {body_len}"),
            ));
        }
        if expects_continue && self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
            return Ok(None);
        }
        let deadline = Instant::now() + BODY;
        while self.buffer.len() < body_len {
            if self.next(deadline, "the body")?.is_none() {
                return Ok(None);
            }
        }
        request.body = self.buffer.drain(..body_len).collect();
        Ok(Some(request))
    }

    /// Reads more; none when the client has gone.
    fn next(&mut self, deadline: Instant, what: &str) -> Result<Option<()>, ApiError> {
        match self.fill(deadline) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(())),
            Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                Err(ApiError::new(408, format!("{what} of the request did not come in time")))
            }
            Err(_) => Ok(None),
        }
    }

    fn fill(&mut self, deadline: Instant) -> std::io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 16 << 10];
        let n = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    /// Whether the client has closed the connection, or its half of it.
    pub(super) fn is_gone(&self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let restored = self.stream.set_nonblocking(false);
        let open = match peeked {
            Ok(n) => n > 0,
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        };
        !open || restored.is_err()
    }

    /// Writes an answer.
    pub(super) fn write(&mut self, response: &Response, keep_alive: bool) -> std::io::Result<()> {
        let body = response.body.to_string();
        let Response { status, header, .. } = response;
        let header = header.as_ref().map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{header}Connection: {connection}\r\n\r\n",
            reason(*status),
            body.len()
        );
        self.stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())
    }

    /// Begins an answer in pieces, which ends with the connection.
    pub(super) fn begin_events(&mut self) -> std::io::Result<()> {
        self.stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n",
        )
    }

    /// Writes a piece.
    pub(super) fn event(&mut self, data: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("data: {data}\n\n").as_bytes())
    }

    /// Closes so that the client can still read what was written: a connection that is closed with unread bytes
    /// is reset.
    pub(super) fn close(mut self) {
        let (duration, mut left) = DRAIN;
        let deadline = Instant::now() + duration;
        let _ = self.stream.shutdown(Shutdown::Write);
        self.buffer.clear();
        while let Ok(n @ 1..) = self.fill(deadline) {
            self.buffer.clear();
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    }
}

/// Reads a head and its length; none when it is not there as a whole.
fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, ApiError> {
    let bad = |problem: String| ApiError::new(400, problem);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let n_bytes = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(n_bytes)) => n_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(ApiError::new(431, format!("expected at most {MAX_HEADERS} headers")));
        }
        Err(e) => return Err(bad(format!("expected an HTTP/1.1 request: {e}"))),
    };
    let target = parsed.path.unwrap_or_default();
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: target.split('?').next().unwrap_or_default().to_owned(),
        authorization: None,
        content_type: None,
        body: Vec::new(),
        keep_alive: parsed.version == Some(1),
    };
    let (mut body_len, mut expects_continue) = (None, false);
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let digits = Some(&value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
                let n = digits.and_then(|digits| digits.parse::<usize>().ok());
                let n =
                    n.ok_or_else(|| bad(format!("Content-Length: expected a number, found {value:?}")))?;
                if body_len.is_some_and(|earlier| earlier != n) {
                    return Err(bad("Content-Length: expected one, found two that differ".into()));
                }
                body_len = Some(n);
            }
            "transfer-encoding" => {
                return Err(ApiError::new(411, "Transfer-Encoding: send the body with Content-Length"));
            }
            "expect" => expects_continue = value.eq_ignore_ascii_case("100-continue"),
            "connection" => {
                let asked = |what: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(what));
                request.keep_alive = !asked("close") && (request.keep_alive || asked("keep-alive"));
            }
            "authorization" => request.authorization = Some(value),
            "content-type" => request.content_type = Some(value),
            _ => {}
        }
    }
    Ok(Some((Head { request, body_len: body_len.unwrap_or(0), expects_continue }, n_bytes)))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Bad Request",
    }
}
