//! Connections: bytes that are no request, slow and vanishing clients, a full queue, the key, signals.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Answer, Server, request, tiny_llama};
use crate::fixtures;

fn short() -> Value {
    json!({"prompt": [1, 2, 3], "max_tokens": 2, "temperature": 0.5})
}

/// Takes the tiny model many seconds when one path grows at a time.
fn endless() -> Value {
    json!({"prompt": [1, 2, 3], "max_tokens": 500, "n": 128, "seed": 1, "stop": ["no such text"]})
}

/// Waits until `holds`, but not for ever.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn bytes_that_are_no_request_are_refused_and_stop_nobody() {
    let server = Server::tiny(&[]);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n";
    let many = "X-Header: 1\r\n".repeat(80);
    let long = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20 << 10));
    let deep = "[".repeat(200_000);
    let with_body =
        |body: &str| format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    for (bytes, status) in [
        (b"\0\0\0\0\r\n\r\n".to_vec(), 400),
        (b"GET /health HTTP/9.9\r\n\r\n".to_vec(), 400),
        (b"GET /health\r\n\r\n".to_vec(), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        (format!("{head}Content-Length: -1\r\n\r\n").into_bytes(), 400),
        (format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}").into_bytes(), 400),
        (format!("{head}Content-Length: 99999999999999999999\r\n\r\n").into_bytes(), 400),
        (format!("{head}Content-Length: 999999999\r\n\r\n").into_bytes(), 413),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n").into_bytes(), 411),
        (format!("GET /health HTTP/1.1\r\n{many}\r\n").into_bytes(), 431),
        (long.into_bytes(), 431),
        (with_body("").into_bytes(), 400),
        (with_body("{\"prompt\":").into_bytes(), 400),
        (with_body("[1]").into_bytes(), 400),
        (with_body(&deep).into_bytes(), 400),
        ([with_body("    ").as_bytes(), &[0xff, 0xfe]].concat(), 400),
        (with_body("{}").replace("application/json", "text/plain").into_bytes(), 415),
        (b"GET /v1/completions HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(), 405),
        (b"DELETE /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(), 405),
        (b"GET /../etc HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(), 404),
    ] {
        let answer = server.send(&bytes);
        let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        assert_eq!(answer.status, status, "{sent:?}: {}", answer.body);
        assert!(answer.json()["error"]["message"].is_string(), "{sent:?}");
        assert_eq!(server.post("/v1/completions", &short()).status, 200, "after {sent:?}");
    }
    assert!(!server.log().contains("internal error"), "{}", server.log());
}

#[test]
fn one_connection_carries_several_requests() {
    let server = Server::tiny(&[]);
    let mut stream = server.connect();
    let get = "GET /health HTTP/1.1\r\nHost: t\r\n\r\n";
    stream.write_all(get.repeat(3).as_bytes()).unwrap();
    stream.write_all(get.replace("Host: t", "Connection: close").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 4, "{text}");
}

#[test]
fn a_client_is_told_to_send_its_body() {
    let server = Server::tiny(&[]);
    let mut stream = server.connect();
    let whole = String::from_utf8(request("/v1/completions", &short())).unwrap();
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    stream.write_all(format!("{head}\r\nExpect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut stream).status, 200);
}

#[test]
fn slow_clients_hold_nobody_up() {
    let server = Server::tiny(&[]);
    let mut slow: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for (at, stream) in slow.iter_mut().enumerate() {
        let whole = request("/v1/completions", &short());
        stream.write_all(&whole[..at * whole.len() / 41]).unwrap();
    }
    let started = Instant::now();
    assert_eq!(server.post("/v1/completions", &short()).status, 200);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for (at, mut stream) in slow.into_iter().enumerate() {
        let whole = request("/v1/completions", &short());
        stream.write_all(&whole[at * whole.len() / 41..]).unwrap();
        assert_eq!(Answer::read(&mut stream).status, 200, "{at}");
    }
}

#[test]
fn paths_of_a_client_that_leaves_stop() {
    let server = Server::tiny(&["--batch-paths", "1"]);
    for path in ["/v1/completions", "/v1/completions?stream"] {
        let mut body = endless();
        body["stream"] = path.ends_with("stream").into();
        let mut stream = server.connect();
        stream.write_all(&request(path, &body)).unwrap();
        thread::sleep(Duration::from_millis(300));
        drop(stream);
        // Sampled otherwise, it waits until the first has ended.
        let started = Instant::now();
        assert_eq!(server.post("/v1/completions", &short()).status, 200);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        eventually("the log does not say that the client left", || {
            server.log().contains(" left, 3 prompt tokens")
        });
    }
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let server = Server::tiny(&["--batch-paths", "1", "--max-queue", "1"]);
    let mut first = server.connect();
    first.write_all(&request("/v1/completions", &endless())).unwrap();
    thread::sleep(Duration::from_millis(300));
    // Sampled otherwise, it waits in the queue.
    let mut second = server.connect();
    second.write_all(&request("/v1/completions", &short())).unwrap();
    thread::sleep(Duration::from_millis(300));
    let third = server.post("/v1/completions", &short());
    assert_eq!((third.status, third.json()["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    assert!(third.head.contains("Retry-After: 1"), "{}", third.head);
    drop(first);
    assert_eq!(Answer::read(&mut second).status, 200);
    assert_eq!(server.post("/v1/completions", &short()).status, 200);
}

/// Sends requests one after the other and says in which order they are answered, by the lengths of their prompts.
fn order_of_answers(server: &Server, bodies: &[Value]) -> Vec<usize> {
    let before = server.log().lines().count();
    let mut streams = Vec::new();
    for body in bodies {
        let mut stream = server.connect();
        stream.write_all(&request("/v1/completions", body)).unwrap();
        streams.push(stream);
        thread::sleep(Duration::from_millis(150));
    }
    for mut stream in streams {
        assert_eq!(Answer::read(&mut stream).status, 200);
    }
    let log = server.log();
    let lengths = log.lines().skip(before).filter_map(|line| {
        let (_, rest) = line.split_once(" 200, ")?;
        rest.split_once(" prompt tokens")?.0.parse().ok()
    });
    lengths.collect()
}

#[test]
fn what_is_sampled_alike_grows_together_unless_another_waits() {
    let server = Server::tiny(&[]);
    // Answers are logged when they have been written down, so what follows a long one is not short.
    let long = json!({"prompt": [1, 2, 3], "max_tokens": 500, "n": 64, "stop": ["no such text"]});
    let other =
        json!({"prompt": [1, 2, 3, 4], "max_tokens": 500, "temperature": 0.5, "stop": ["no such text"]});
    // Ends early.
    let alike = json!({"prompt": [1, 2, 3, 4, 5], "max_tokens": 500, "stop": ["e", "a", " ", "o", "t"]});
    assert_eq!(order_of_answers(&server, &[long.clone(), alike]), [5, 3]);
    // Takes longer than it takes to write down the answer before it.
    let alike = json!({"prompt": [1, 2, 3, 4, 5], "max_tokens": 500, "n": 16, "stop": ["no such text"]});
    assert_eq!(order_of_answers(&server, &[long, other, alike]), [3, 4, 5]);
}

#[test]
fn a_key_is_demanded_where_there_is_one() {
    const KEY: &str = "sesame-0123456789";
    let model = tiny_llama().display().to_string();
    let server = Server::start(&model, &[], &[("MIDCOURSE_API_KEY", KEY)]);
    let ask = |path: &str, header: &str| {
        server.send(format!("GET {path} HTTP/1.1\r\n{header}Connection: close\r\n\r\n").as_bytes())
    };
    for (header, status) in [
        (String::new(), 401),
        ("Authorization: Bearer\r\n".into(), 401),
        ("Authorization: Bearer wrong\r\n".into(), 401),
        (format!("Authorization: Bearer {}\r\n", &KEY[1..]), 401),
        (format!("Authorization: Bearer {KEY}x\r\n"), 401),
        (format!("Authorization: Basic {KEY}\r\n"), 401),
        (format!("Authorization: Bearer {KEY}\r\n"), 200),
        (format!("authorization: bearer {KEY}\r\n"), 200),
    ] {
        let answer = ask("/v1/models", &header);
        assert_eq!(answer.status, status, "{header}");
        assert!(!answer.body.contains(KEY) && !answer.head.contains(KEY));
        assert_eq!(answer.head.contains("WWW-Authenticate: Bearer"), status == 401);
    }
    assert_eq!(server.post("/v1/completions", &short()).status, 401);
    assert_eq!(ask("/health", "").status, 200);
    assert!(!server.log().contains(KEY));
}

#[test]
fn signals_end_the_server_and_tell_who_waits() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // On a busy machine a request may take a while to be read; one that was not gets no answer.
        let mut answers = [300, 1_500, 6_000].into_iter().map(|millis| stopped(signal, code, millis));
        let answers = answers.find(|answers| answers.iter().all(|answer| answer.status != 0)).unwrap();
        for answer in answers {
            assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (503, Some("server_error")));
        }
    }
}

/// What a request that grows and one that waits are answered when a signal comes after `millis` milliseconds.
fn stopped(signal: &str, code: i32, millis: u64) -> [Answer; 2] {
    let mut server = Server::tiny(&["--batch-paths", "1"]);
    let mut growing = server.connect();
    growing.write_all(&request("/v1/completions", &endless())).unwrap();
    let mut waiting = server.connect();
    thread::sleep(Duration::from_millis(millis));
    waiting.write_all(&request("/v1/completions", &short())).unwrap();
    thread::sleep(Duration::from_millis(millis));
    let started = Instant::now();
    server.signal(signal);
    let answers = [&mut growing, &mut waiting].map(Answer::read);
    let status = server.wait();
    assert_eq!((status.code(), status.signal()), (Some(code), None), "{}", server.log());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(server.log().contains(&format!("stopped by SIG{signal}")), "{}", server.log());
    answers
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let model = tiny_llama().display().to_string();
    let taken = Server::tiny(&[]);
    let port = taken.address.rsplit(':').next().unwrap();
    for (options, problem) in [
        (["--max-queue", "0"], "--max-queue: expected 1 or more, found 0"),
        (["--port", "65536"], "65536 is not in 0..=65535"),
        (["--host", "nowhere"], "invalid value 'nowhere' for '--host"),
        (["--port", port], "--port"),
        (["--threads", "0"], "--threads: expected 1 or more, found 0"),
    ] {
        let output = fixtures::run(&[&["serve", "--model", &model][..], &options].concat());
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{}", output.stderr);
        assert!(output.stderr.contains(problem) && output.stderr.contains("hint: "), "{}", output.stderr);
    }
}

#[test]
fn an_address_that_others_reach_is_warned_of() {
    let model = tiny_llama().display().to_string();
    let open = Server::start(&model, &["--host", "0.0.0.0"], &[]);
    assert!(open.log().contains("warning: --host 0.0.0.0"), "{}", open.log());
    let keyed = Server::start(&model, &["--host", "0.0.0.0"], &[("MIDCOURSE_API_KEY", "k")]);
    assert!(!keyed.log().contains("warning"), "{}", keyed.log());
}
