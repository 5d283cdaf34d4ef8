//! What can go wrong with one exchange, and whether asking again can help.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// A longer message of a server is cut.
const MAX_MESSAGE_CHARS: usize = 300;
/// How often something is asked for that a second try may answer otherwise.
const N_DOUBTFUL_TRIES: u32 = 3;

/// Why one request has no answer. Texts of servers are short and hold no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server has more to do than it takes (429).
    Busy {
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
        /// What it says.
        message: String,
    },
    /// The server, or a proxy before it, cannot serve now (408 and 5xx but 501 and 505).
    Failing {
        /// The status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
        /// What it says.
        message: String,
    },
    /// A deadline passed.
    Late(Deadline),
    /// No connection: the host is not found, nothing listens there, no way leads there.
    Unreachable {
        /// What the system says.
        message: String,
    },
    /// The connection ended or broke before the reply was whole.
    Broken {
        /// What was seen.
        message: String,
    },
    /// The server refuses the request (other 4xx, 501, 505).
    Refused {
        /// The status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The server sends elsewhere. Redirects are not followed: a key would go where nobody named it.
    Redirected {
        /// The status.
        status: u16,
        /// Where to.
        to: String,
    },
    /// No trust or no agreement on encryption.
    Tls {
        /// What the library says.
        message: String,
    },
    /// What came is not HTTP, or a head without end.
    NotHttp {
        /// What was seen.
        message: String,
    },
    /// A page for people, as proxies and login walls send.
    Html {
        /// The status.
        status: u16,
    },
    /// The reply is larger than allowed.
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// The body is not JSON in UTF-8.
    NotJson {
        /// What was expected and what was found.
        problem: String,
    },
    /// The body is JSON but no answer: an error under status 200, or fields that are missing or make no sense.
    Strange {
        /// What was expected and what was found.
        problem: String,
    },
    /// The run ended before the request was answered. It says nothing of the request.
    Stopped,
}

/// A deadline of [`super::Deadlines`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// To connect.
    Connect,
    /// For the head of the reply.
    FirstByte,
    /// From bytes to the next, of the request or of the reply.
    BetweenBytes,
    /// For all of it.
    Total,
}

/// What a fault asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Fewer requests at once, then again.
    Slower,
    /// Again, after a wait.
    Later,
    /// Again, but a few times only.
    Doubtful {
        /// How often in all.
        n_tries: u32,
    },
    /// Nothing: the same would come.
    Hopeless,
}

impl Fault {
    /// What asking again can do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Busy { .. } => Remedy::Slower,
            Self::Failing { .. } | Self::Late(_) | Self::Unreachable { .. } | Self::Broken { .. } => {
                Remedy::Later
            }
            Self::NotHttp { .. } | Self::Html { .. } | Self::NotJson { .. } | Self::Strange { .. } => {
                Remedy::Doubtful { n_tries: N_DOUBTFUL_TRIES }
            }
            Self::Refused { .. }
            | Self::Redirected { .. }
            | Self::Tls { .. }
            | Self::TooLarge { .. }
            | Self::Stopped => Remedy::Hopeless,
        }
    }

    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::Failing { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether there is no server, or a proxy or the server itself says so: alone it says nothing of the request.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Failing { status: 502 | 503, .. }
                | Self::Late(Deadline::Connect)
        )
    }

    /// Whether every other request would meet the same: another key, address or server is needed.
    pub fn is_of_endpoint(&self) -> bool {
        matches!(
            self,
            Self::Refused { status: 401 | 402 | 403 | 404 | 405 | 407, .. }
                | Self::Redirected { .. }
                | Self::Tls { .. }
                | Self::NotHttp { .. }
                | Self::Html { .. }
        )
    }

    /// What to do next, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Busy { .. } => {
                "let fewer requests be in flight, or try again when the server has less to do"
            }
            Self::Failing { .. } | Self::Broken { .. } => {
                "look at the server's log; what is recorded is kept, and the run can go on from there"
            }
            Self::Late(_) => {
                "let fewer requests be in flight if the server is slow; the run can go on from what is recorded"
            }
            Self::Unreachable { .. } => "check the address and that the server runs, and the proxy variables",
            Self::Refused { status: 401 | 403, .. } => "check the key in the environment",
            Self::Refused { status: 404, .. } => "check the path, usually /v1, and the model's name after #",
            Self::Refused { .. } => "look at what the server says and at its documentation",
            Self::Redirected { .. } => "name that address instead, if it is the right one",
            Self::Tls { .. } => {
                "check http or https; for a company's certificates set SSL_CERT_FILE to a file in PEM"
            }
            Self::NotHttp { .. } => "check the port, and http or https",
            Self::Html { .. } => "check the path, usually /v1; a proxy may answer in the server's place",
            Self::TooLarge { .. } | Self::NotJson { .. } | Self::Strange { .. } => {
                "check that the server speaks the API of OpenAI at this address"
            }
            Self::Stopped => "the run can go on from what is recorded",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { message, .. } => write!(f, "the server is asked too much (429){}", said(message)),
            Self::Failing { status, message, .. } => {
                write!(f, "the server fails ({status}){}", said(message))
            }
            Self::Late(deadline) => write!(f, "{deadline}"),
            Self::Unreachable { message } => write!(f, "no connection{}", said(message)),
            Self::Broken { message } => write!(f, "the reply broke off{}", said(message)),
            Self::Refused { status, message } => write!(f, "the server refuses ({status}){}", said(message)),
            Self::Redirected { status, to } => write!(f, "the server sends elsewhere ({status}): {to}"),
            Self::Tls { message } => write!(f, "no encrypted connection{}", said(message)),
            Self::NotHttp { message } => {
                write!(f, "expected a reply in HTTP, found something else{}", said(message))
            }
            Self::Html { status } => write!(f, "expected JSON, found a page of HTML ({status})"),
            Self::TooLarge { limit } => {
                write!(f, "expected a reply of at most {limit} bytes, found a larger one")
            }
            Self::NotJson { problem } | Self::Strange { problem } => f.write_str(problem),
            Self::Stopped => f.write_str("the run was stopped"),
        }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the server did not take the connection in time",
            Self::FirstByte => "the server did not begin its reply in time",
            Self::BetweenBytes => "the server fell silent in the middle",
            Self::Total => "the reply took too long in all",
        })
    }
}

impl std::error::Error for Fault {}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// What a server says in the body of an error, in the ways that servers have; empty if it says nothing.
pub(super) fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let said = match serde_json::from_str::<Value>(&text) {
        Ok(json) => message_of(&json).unwrap_or_default(),
        Err(_) if is_html(&text) => "a page of HTML".to_owned(),
        Err(_) => text.into_owned(),
    };
    short(&said)
}

/// The message of an error object: `{"error": {"message"}}`, `{"error": "…"}`, `{"message"}`, `{"detail"}`.
pub(super) fn message_of(json: &Value) -> Option<String> {
    let fields = ["error", "message", "detail", "msg"];
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => fields.iter().find_map(|field| message_of(object.get(*field)?)),
        Value::Array(items) => items.iter().find_map(message_of),
        _ => None,
    }
}

/// Whether a body is a page, whatever its type says.
pub(super) fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(14).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// One line of a server's text, cut where it is long.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match line.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((at, _)) => format!("{} …", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_every_form() {
        for (body, expected) in [
            (r#"{"error":{"message":"no such model","type":"x"}}"#, "no such model"),
            (r#"{"error":"no such model"}"#, "no such model"),
            (r#"{"object":"error","message":"no such model","code":404}"#, "no such model"),
            (r#"{"detail":"no such model"}"#, "no such model"),
            (r#"{"detail":[{"loc":["body","n"],"msg":"must be positive"}]}"#, "must be positive"),
            (r#"{"error":null,"message":"said"}"#, "said"),
            ("plain\n  words", "plain words"),
            ("<!DOCTYPE html><html>…", "a page of HTML"),
            (r#"{"code":7}"#, ""),
            ("", ""),
        ] {
            assert_eq!(message(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(message(&[0xff, b'a', 0x1b, b'b']), "\u{fffd}a\u{fffd}b");
        assert_eq!(message("é".repeat(1000).as_bytes()).chars().count(), MAX_MESSAGE_CHARS + 2);
    }
}
