//! One exchange with servers that do everything wrong: what the client makes of it, and how soon.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use midcourse_engine::remote::{
    Client, Connection, Deadline, Deadlines, EndpointName, Fault, Remedy, Reply, Request, Route, Secret,
    trust,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::fault_server::{FaultServer, Step, head, json as json_reply, reply};

/// A key that is nowhere to be seen.
pub(crate) const KEY: &str = "sk-sesame/0123456789";

/// Deadlines that a test can wait for.
pub(crate) fn connection() -> Connection {
    let ms = Duration::from_millis;
    let deadlines =
        Deadlines { connect: ms(1000), first_byte: ms(1000), between_bytes: ms(600), total: ms(1800) };
    Connection { deadlines, max_reply_bytes: 1 << 20, ..Connection::default() }
}

pub(crate) fn client(base: &str) -> Client {
    let name: EndpointName = base.parse().unwrap();
    Client::new(name.address, Some(Secret::new(KEY, "KEY").unwrap()), &connection())
}

pub(crate) fn request() -> Request {
    Request::post(Route::Api("/completions"), &json!({"prompt": "Tell me of chores.", "n": 2}))
}

/// What one exchange brings.
fn exchange(steps: Vec<Step>) -> Result<Reply, Fault> {
    client(&FaultServer::always(steps).base()).send(&request())
}

/// The fault that one exchange ends in, the reading of JSON included.
fn fault(steps: Vec<Step>) -> Fault {
    exchange(steps).and_then(|reply| reply.json()).unwrap_err()
}

fn chunked(chunks: &str) -> Vec<u8> {
    [head("200 OK", &[("Transfer-Encoding", "chunked")]), chunks.as_bytes().to_vec()].concat()
}

fn with_length(length: &str, body: &str) -> Vec<u8> {
    [head("200 OK", &[("Content-Length", length)]), body.as_bytes().to_vec()].concat()
}

/// A way to go wrong, what the server does, and whether the fault is the right one.
type Kind = (&'static str, Vec<Step>, fn(&Fault) -> bool);

fn statuses() -> Vec<Kind> {
    let busy =
        |headers: &[(&str, &str)]| reply("429 Too Many Requests", headers, b"{\"error\":\"slow down\"}");
    vec![
        (
            "429",
            busy(&[]),
            |f| matches!(f, Fault::Busy { retry_after: None, message } if message == "slow down"),
        ),
        ("429 with seconds", busy(&[("Retry-After", "7")]), |f| {
            f.retry_after() == Some(Duration::from_secs(7))
        }),
        (
            "429 with a date",
            busy(&[
                ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT"),
            ]),
            |f| f.retry_after() == Some(Duration::from_secs(30)),
        ),
        ("429 with a date that has passed", busy(&[("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT")]), |f| {
            f.retry_after() == Some(Duration::ZERO)
        }),
        ("429 with an absurd number", busy(&[("Retry-After", "99999999999999999999999")]), |f| {
            f.retry_after() > Some(Duration::from_secs(1 << 40))
        }),
        ("429 with nonsense", busy(&[("Retry-After", "soon")]), |f| {
            matches!(f, Fault::Busy { retry_after: None, .. })
        }),
        (
            "500",
            reply("500 Internal Server Error", &[], b"oops"),
            |f| matches!(f, Fault::Failing { status: 500, message, .. } if message == "oops"),
        ),
        (
            "502 with a page",
            reply("502 Bad Gateway", &[("Content-Type", "text/html")], b"<html>x"),
            |f| matches!(f, Fault::Failing { status: 502, message, .. } if message == "a page of HTML"),
        ),
        ("503", reply("503 Service Unavailable", &[("Retry-After", "3")], b""), |f| {
            matches!(f, Fault::Failing { status: 503, .. }) && f.retry_after() == Some(Duration::from_secs(3))
        }),
        ("504", reply("504 Gateway Timeout", &[], b""), |f| f.remedy() == Remedy::Later),
        ("501", reply("501 Not Implemented", &[], b""), |f| f.remedy() == Remedy::Hopeless),
        (
            "400",
            reply("400 Bad Request", &[], b"{\"detail\":\"n is too large\"}"),
            |f| matches!(f, Fault::Refused { status: 400, message } if message == "n is too large"),
        ),
        ("401", reply("401 Unauthorized", &[], b""), Fault::is_of_endpoint),
        ("404 with a page", reply("404 Not Found", &[], b"<!DOCTYPE html><p>?"), |f| {
            *f == Fault::Html { status: 404 }
        }),
    ]
}

fn connections() -> Vec<Kind> {
    let (ms, body) = (Duration::from_millis, r#"{"choices":[{"text":"I tidy up."}]}"#);
    let send = |bytes: Vec<u8>| Step::Send(bytes);
    let half = || send(with_length("90", body));
    vec![
        ("reset mid-body", vec![half(), Step::Reset], |f| matches!(f, Fault::Broken { .. })),
        ("half-closed mid-body", vec![half(), Step::HalfClose], |f| matches!(f, Fault::Broken { .. })),
        ("closed mid-body", vec![half(), Step::Close], |f| matches!(f, Fault::Broken { .. })),
        ("closed without a byte", vec![Step::Close], |f| matches!(f, Fault::Broken { .. })),
        ("closed in the head", vec![send(b"HTTP/1.1 200 O".to_vec()), Step::Close], |f| {
            matches!(f, Fault::Broken { .. })
        }),
        ("silence", vec![Step::Wait(ms(5000))], |f| *f == Fault::Late(Deadline::FirstByte)),
        ("200 then silence", vec![half(), Step::Wait(ms(5000))], |f| {
            *f == Fault::Late(Deadline::BetweenBytes)
        }),
        ("silence in the head", vec![send(b"HTTP/1.1 200 OK\r\nA: ".to_vec()), Step::Wait(ms(5000))], |f| {
            *f == Fault::Late(Deadline::BetweenBytes)
        }),
        ("slow drip of a head", vec![Step::Drip(with_length("90", body), ms(300))], |f| {
            *f == Fault::Late(Deadline::FirstByte)
        }),
        (
            "slow drip of a body",
            vec![send(head("200 OK", &[("Content-Length", "35")])), Step::Drip(body.into(), ms(300))],
            |f| *f == Fault::Late(Deadline::Total),
        ),
        ("a chunk that is none", vec![send(chunked("zz\r\n{}\r\n0\r\n\r\n")), Step::Close], |f| {
            matches!(f, Fault::Broken { .. })
        }),
        ("a chunk that is cut off", vec![send(chunked("10\r\n{\"a\"")), Step::Close], |f| {
            matches!(f, Fault::Broken { .. })
        }),
        ("chunks without an end", vec![send(chunked("2\r\n{}\r\n")), Step::Close], |f| {
            matches!(f, Fault::Broken { .. })
        }),
        ("garbage", vec![send(b"\x00\x01garbage\r\n\r\n".to_vec()), Step::Close], |f| {
            matches!(f, Fault::NotHttp { .. })
        }),
        ("another protocol", vec![send(b"SSH-2.0-x\r\n".to_vec()), Step::Close], |f| {
            matches!(f, Fault::NotHttp { .. })
        }),
        (
            "TLS where plain is spoken",
            vec![send(b"\x15\x03\x01\x00\x02\x02\x46".to_vec()), Step::Close],
            |f| matches!(f, Fault::NotHttp { .. }),
        ),
        (
            "a flood of headers",
            vec![send([b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(100_000)].concat()), Step::Close],
            |f| matches!(f, Fault::NotHttp { .. }),
        ),
        (
            "one endless header",
            vec![send([b"HTTP/1.1 200 OK\r\nA: ".to_vec(), b"b".repeat(1 << 20)].concat()), Step::Close],
            |f| matches!(f, Fault::NotHttp { .. }),
        ),
    ]
}

fn bodies() -> Vec<Kind> {
    let typed = |body: &[u8]| reply("200 OK", &[("Content-Type", "application/json")], body);
    let large = vec![b' '; 10 << 20];
    let endless = chunked(&format!("{:x}\r\n{}\r\n0\r\n\r\n", large.len(), " ".repeat(large.len())));
    vec![
        ("a page", reply("200 OK", &[("Content-Type", "text/html; charset=utf-8")], b"log in"), |f| {
            *f == Fault::Html { status: 200 }
        }),
        ("a page that says it is JSON", typed(b"\n<!doctype HTML><html>"), |f| {
            *f == Fault::Html { status: 200 }
        }),
        ("truncated JSON", typed(br#"{"choices":[{"text":"I ti"#), |f| matches!(f, Fault::NotJson { .. })),
        ("invalid JSON", typed(b"{choices: 1}"), |f| matches!(f, Fault::NotJson { .. })),
        ("JSON and more", typed(b"{} {}"), |f| matches!(f, Fault::NotJson { .. })),
        ("JSON of great depth", typed("[".repeat(100_000).as_bytes()), |f| {
            matches!(f, Fault::NotJson { .. })
        }),
        (
            "invalid UTF-8",
            typed(b"{\"text\":\"\xff\xfe\"}"),
            |f| matches!(f, Fault::NotJson { problem } if problem.contains("UTF-8")),
        ),
        ("nothing", typed(b""), |f| matches!(f, Fault::NotJson { problem } if problem.contains("empty"))),
        (
            "a length that is too short",
            vec![Step::Send(with_length("9", "{\"choices\":[]}")), Step::Close],
            |f| matches!(f, Fault::NotJson { .. }),
        ),
        ("10 MB", typed(&large), |f| *f == Fault::TooLarge { limit: 1 << 20 }),
        ("10 MB in chunks", vec![Step::Send(endless), Step::Close], |f| {
            *f == Fault::TooLarge { limit: 1 << 20 }
        }),
        (
            "an error under status 200",
            typed(br#"{"error":{"message":"no room","code":500}}"#),
            |f| matches!(f, Fault::Strange { problem } if problem.ends_with("under status 200: no room")),
        ),
        (
            "a redirect",
            reply("307 Temporary Redirect", &[("Location", "http://elsewhere.invalid/v1?token=abc")], b""),
            |f| *f == Fault::Redirected { status: 307, to: "http://elsewhere.invalid/v1".into() },
        ),
    ]
}

#[test]
fn every_kind_of_fault_is_told_within_its_time() {
    let kinds = [statuses(), connections(), bodies()].concat();
    assert!(kinds.len() >= 40);
    thread::scope(|scope| {
        for (name, steps, is_right) in kinds {
            scope.spawn(move || {
                let began = Instant::now();
                let fault = fault(steps);
                assert!(is_right(&fault), "{name}: {fault:?}");
                assert!(began.elapsed() < Duration::from_secs(4), "{name}: {:?}", began.elapsed());
                assert!(!format!("{fault} {fault:?}").contains("sesame"), "{name}: {fault:?}");
                assert!(!fault.hint().is_empty());
            });
        }
    });
}

#[test]
fn a_redirect_is_not_followed_even_to_the_server_itself() {
    let server = FaultServer::always(reply("302 Found", &[("Location", "/v1/completions")], b""));
    let fault = client(&server.base()).send(&request()).unwrap_err();
    assert_eq!(fault, Fault::Redirected { status: 302, to: "/v1/completions".into() });
    assert_eq!(server.n_requests(), 1);
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for base in [format!("http://{unused}/v1"), "http://nowhere.invalid:8000/v1".into()] {
        let began = Instant::now();
        let client = client(&base);
        let fault = client.send(&request()).unwrap_err();
        let is_late = fault == Fault::Late(Deadline::Connect);
        assert!(matches!(fault, Fault::Unreachable { .. }) || is_late, "{base}: {fault:?}");
        assert!(began.elapsed() < Duration::from_secs(4));
        assert!(!client.has_answered());
    }
}

#[test]
fn plain_text_where_encryption_is_expected_is_told() {
    let server = FaultServer::always(reply("400 Bad Request", &[], b"plain HTTP"));
    let base = server.base().replace("http:", "https:");
    let fault = client(&base).send(&request()).unwrap_err();
    assert!(matches!(fault, Fault::Tls { .. }), "{fault:?}");
}

#[test]
fn a_key_goes_out_in_one_header_and_never_comes_back() {
    let echo = r#"{"error":{"message":"wrong key sk-sesame\/0123456789 or sk-sesame%2F0123456789"}}"#;
    for status in ["401 Unauthorized", "500 Internal Server Error", "429 Too Many Requests", "200 OK"] {
        let server = FaultServer::always(reply(status, &[], echo.as_bytes()));
        let reply = client(&server.base()).send(&request());
        let fault = reply.and_then(|reply| reply.json()).unwrap_err();
        assert!(fault.to_string().ends_with("wrong key [key] or [key]"), "{fault}");
        let request = &server.requests()[0];
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        assert!(
            !String::from_utf8_lossy(&request.body).contains("sesame") && !request.line.contains("sesame")
        );
    }
    let server = FaultServer::always(json_reply(&format!(r#"{{"text":"{KEY}"}}"#)));
    let reply = client(&server.base()).send(&request()).unwrap();
    assert_eq!(reply.json().unwrap(), json!({"text": "[key]"}));
}

#[test]
fn a_commonplace_key_does_not_alter_answers() {
    let server = FaultServer::always(json_reply(r#"{"text":"The box is EMPTY."}"#));
    let name: EndpointName = server.base().parse().unwrap();
    let client = Client::new(name.address, Some(Secret::new("EMPTY", "KEY").unwrap()), &connection());
    let reply = client.send(&request()).unwrap();
    assert_eq!(reply.json().unwrap(), json!({"text": "The box is EMPTY."}));
}

#[test]
fn refusals_are_replies_that_can_be_looked_at() {
    let server = FaultServer::start(|request| match request.line.as_str() {
        "GET /props" => reply("404 Not Found", &[], b"{\"error\":\"no such path\"}"),
        "POST /v1/completions" => json_reply("{}"),
        other => panic!("{other}"),
    });
    let client = client(&server.base());
    let reply = client.send(&Request::get(Route::Native("/props"))).unwrap();
    assert_eq!((reply.status, &*reply.body), (404, &b"{\"error\":\"no such path\"}"[..]));
    assert_eq!(client.send(&request()).unwrap().status, 200);
    assert_eq!(server.n_connections(), 1, "a connection is kept for the next request");
}

/// A server that speaks TLS with the certificate of `testdata/tls`, for connections that it answers once.
fn encrypted() -> String {
    let path = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tls").join(name);
    let chain = CertificateDer::pem_file_iter(path("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(path("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let base = format!("https://localhost:{}/v1", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            let mut request = [0; 4096];
            // A client that does not trust the certificate goes.
            if stream.read(&mut request).is_ok_and(|n| n > 0) {
                let body = b"{\"text\":\"I tidy up.\"}";
                let length = body.len().to_string();
                let _ =
                    stream.write_all(&[&head("200 OK", &[("Content-Length", &length)]), &body[..]].concat());
            }
        }
    });
    base
}

#[test]
fn an_encrypted_server_is_answered_when_its_authority_is_trusted_and_not_otherwise() {
    let base = encrypted();
    let fault = client(&base).send(&request()).unwrap_err();
    assert!(matches!(&fault, Fault::Tls { message } if message.contains("certificate")), "{fault:?}");
    let pem = include_bytes!("../../../../testdata/tls/authority.pem");
    let trusting = Connection { tls: trust(pem).unwrap(), ..connection() };
    let name: EndpointName = base.parse().unwrap();
    let reply = Client::new(name.address, None, &trusting).send(&request()).unwrap();
    assert_eq!(reply.json().unwrap(), json!({"text": "I tidy up."}));
}

#[test]
fn only_what_is_trusted_is_read_as_certificates() {
    assert!(trust(b"").unwrap_err().contains("found none"));
    assert!(trust(b"-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n").is_err());
}
