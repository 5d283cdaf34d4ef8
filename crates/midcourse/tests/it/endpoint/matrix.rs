//! Every fault of a server, once in the middle of a run and for ever: what is recorded is right, and nothing is lost.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::proxy::{
    Exchange, N_PATHS, N_REQUESTS, Proxy, Spoil, eval, eval_at, fixture, json as json_of, recorded_seeds,
    records, script, serve,
};
use crate::fault_server::{self, Step, head, reply};
use crate::fixtures::{Fixture, Output};
use crate::serve::server::Server;

/// The first request that meets a fault, and how many do when it passes.
const FIRST: usize = 10;
const N_SPOILT: usize = 3;
/// Runs at a time: most of them wait.
const N_AT_ONCE: usize = 8;

/// A fault of a server.
struct Fault {
    name: &'static str,
    spoil: Spoil,
    /// What becomes of a run that meets it a few times.
    passing: Passing,
    /// What the message says when it stays.
    says: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// The run ends as if nothing had been.
    Recovers,
    /// Asking again cannot help, so the run stops.
    Stops,
}

const fn passing(name: &'static str, spoil: Spoil, says: &'static str) -> Fault {
    Fault { name, spoil, passing: Passing::Recovers, says }
}

const fn lasting(name: &'static str, spoil: Spoil, says: &'static str) -> Fault {
    Fault { name, spoil, passing: Passing::Stops, says }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// An error as servers put it.
fn refused(status: &str, headers: &[(&str, &str)]) -> Vec<Step> {
    reply(status, &[&[JSON], headers].concat(), br#"{"error":{"message":"not now","type":"server_error"}}"#)
}

/// The true answer with one value changed.
fn altered(exchange: &Exchange, at: &str, value: Value) -> Vec<Step> {
    let mut json = exchange.json();
    *json.pointer_mut(at).unwrap() = value;
    fault_server::json(&json.to_string())
}

/// The true answer, up to half its body, and what follows.
fn half(exchange: &Exchange, then: &[Step]) -> Vec<Step> {
    let (_, _, body) = exchange.answer();
    let mut bytes = head("200 OK", &[JSON, ("Content-Length", &body.len().to_string())]);
    bytes.extend(&body[..body.len() / 2]);
    [&[Step::Send(bytes)], then].concat()
}

const LONG: Duration = Duration::from_secs(4);

const FAULTS: [Fault; 39] = [
    passing("429", |_| refused("429 Too Many Requests", &[]), "asked too much (429)"),
    passing(
        "429 with Retry-After in seconds",
        |_| refused("429 Too Many Requests", &[("Retry-After", "1")]),
        "asked too much (429)",
    ),
    passing(
        "429 with Retry-After as a date",
        |_| {
            let dates =
                [("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT")];
            refused("429 Too Many Requests", &dates)
        },
        "asked too much (429)",
    ),
    passing("408", |_| refused("408 Request Timeout", &[]), "fails (408)"),
    passing("500", |_| refused("500 Internal Server Error", &[]), "fails (500): not now"),
    passing("502", |_| refused("502 Bad Gateway", &[]), "fails (502)"),
    passing(
        "503 with Retry-After",
        |_| refused("503 Service Unavailable", &[("Retry-After", "1")]),
        "fails (503)",
    ),
    passing("504", |_| refused("504 Gateway Timeout", &[]), "fails (504)"),
    passing("a reset before the answer", |_| vec![Step::Reset], "broke off"),
    passing("an end before the answer", |_| vec![Step::Close], "broke off"),
    passing("a reset in the middle", |exchange| half(exchange, &[Step::Close]), "broke off"),
    passing("half-closed in the middle", |exchange| half(exchange, &[Step::HalfClose]), "broke off"),
    passing("silence in the middle", |exchange| half(exchange, &[Step::Wait(LONG)]), "too long"),
    passing(
        "silence after the head",
        |_| {
            vec![
                Step::Send(head("200 OK", &[JSON, ("Content-Length", "100")])),
                Step::Wait(LONG),
                Step::Close,
            ]
        },
        "too long",
    ),
    passing("silence", |_| vec![Step::Wait(LONG), Step::Close], "too long"),
    passing(
        "a slow drip",
        |exchange| {
            let (_, _, body) = exchange.answer();
            let start = head("200 OK", &[JSON, ("Content-Length", &body.len().to_string())]);
            vec![Step::Send(start), Step::Drip(body[..100].to_vec(), Duration::from_millis(40)), Step::Close]
        },
        "too long",
    ),
    passing(
        "wrong chunks",
        |_| {
            let start = head("200 OK", &[JSON, ("Transfer-Encoding", "chunked")]);
            vec![Step::Send([&start[..], b"zz\r\n{}\r\n"].concat()), Step::Close]
        },
        "broke off",
    ),
    passing("garbage", |_| vec![Step::Send(b"\x15\x03\x03\0\x02\x02\x46".to_vec()), Step::Close], "HTTP"),
    passing(
        "a head without end",
        |_| vec![Step::Send([b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 1 << 17]].concat()), Step::Close],
        "HTTP",
    ),
    passing(
        "a proxy's page",
        |_| reply("200 OK", &[("Content-Type", "text/html")], b"<html><body>Please log in</body></html>"),
        "a page of HTML (200)",
    ),
    passing(
        "a proxy's page under 502",
        |_| {
            reply(
                "502 Bad Gateway",
                &[("Content-Type", "text/html")],
                b"<html><body>Bad gateway</body></html>",
            )
        },
        "fails (502)",
    ),
    passing(
        "JSON cut short",
        |exchange| {
            let (_, _, body) = exchange.answer();
            reply("200 OK", &[JSON], &body[..body.len() / 2])
        },
        "expected JSON",
    ),
    passing("no JSON", |_| reply("200 OK", &[JSON], b"{'choices': None}"), "expected JSON"),
    passing("an empty body", |_| reply("200 OK", &[JSON], b""), "an empty body"),
    passing(
        "bytes that are not UTF-8",
        |exchange| {
            let (_, _, mut body) = exchange.answer();
            let at = body.windows(8).position(|text| text == b"\"text\":\"").unwrap();
            body[at + 8] = 0xff;
            reply("200 OK", &[JSON], &body)
        },
        "not UTF-8",
    ),
    passing(
        "an error under status 200",
        |_| fault_server::json(r#"{"error":{"message":"out of memory"}}"#),
        "out of memory",
    ),
    passing("no choices", |exchange| altered(exchange, "/choices", json!([])), "choices"),
    passing("a null text", |exchange| altered(exchange, "/choices/0/text", Value::Null), "choices.text"),
    passing(
        "fewer choices than asked for",
        |exchange| {
            let mut json = exchange.json();
            json["choices"].as_array_mut().unwrap().pop();
            fault_server::json(&json.to_string())
        },
        "paths: expected 4, found 3",
    ),
    passing(
        "a choice twice",
        |exchange| {
            let mut json = exchange.json();
            let choices = json["choices"].as_array_mut().unwrap();
            choices.push(choices[0].clone());
            fault_server::json(&json.to_string())
        },
        "index",
    ),
    passing(
        "an end of another kind",
        |exchange| altered(exchange, "/choices/0/finish_reason", json!("content_filter")),
        "content_filter",
    ),
    passing(
        "the model input again",
        |exchange| {
            let mut json = exchange.json();
            let prompt: Value =
                serde_json::from_slice::<Value>(&exchange.request.body).unwrap()["prompt"].clone();
            for choice in json["choices"].as_array_mut().unwrap() {
                let tokens =
                    [prompt.as_array().unwrap().clone(), choice["token_ids"].as_array().unwrap().clone()];
                choice["token_ids"] = tokens.concat().into();
            }
            fault_server::json(&json.to_string())
        },
        "again",
    ),
    passing("another model", |exchange| altered(exchange, "/model", json!("gossip-1b")), "gossip-1b"),
    passing(
        "another model input",
        |exchange| altered(exchange, "/choices/0/prompt_token_ids", json!([1, 2, 3])),
        "token ids that were sent",
    ),
    passing(
        "another count of tokens",
        |exchange| altered(exchange, "/usage/prompt_tokens", json!(3)),
        "found 3",
    ),
    passing(
        "a path longer than asked for",
        |exchange| altered(exchange, "/choices/0/token_ids", json!(vec![97; 49])),
        "at most 48 tokens, found 49",
    ),
    lasting("17 MB", |_| reply("200 OK", &[JSON], &vec![b' '; 17 << 20]), "at most 16777216 bytes"),
    lasting(
        "a redirect to itself",
        |exchange| {
            let to = format!("http://{}/v1/completions", exchange.request.headers["host"]);
            reply("307 Temporary Redirect", &[("Location", &to)], b"")
        },
        "sends elsewhere (307)",
    ),
    lasting("401", |_| refused("401 Unauthorized", &[]), "refuses (401): not now"),
];

/// What every run of the matrix has.
struct Ground {
    fixture: Fixture,
    server: Server,
    expected: [String; 2],
}

impl Ground {
    fn new() -> Self {
        let fixture = fixture();
        let server = serve(&fixture);
        Output::of(&mut eval(&fixture, &script(&fixture), "embedded", &[])).done();
        let expected = records(&fixture, "embedded");
        Self { fixture, server, expected }
    }

    /// Runs `check` for every fault, several at a time, and says what is wrong.
    fn for_each(&self, check: impl Fn(&Self, usize, &Fault) -> Result<(), String> + Sync) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            let mut problems = Vec::new();
            loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let Some(fault) = FAULTS.get(at) else { return problems };
                if let Err(problem) = check(self, at, fault) {
                    problems.push(format!("{}: {problem}", fault.name));
                }
            }
        };
        let problems: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..N_AT_ONCE).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), FAULTS.len(), problems.join("\n"));
    }

    /// Runs to the end and holds the records against those of the embedded engine and what the proxy passed on.
    fn completes(&self, proxy: &Proxy, out: &str, more: &[&str]) -> Result<(), String> {
        let output = Output::of(&mut eval_at(&self.fixture, &proxy.server, out, more));
        ensure(output.code == 0, || format!("expected the run to end: {output:?}"))?;
        ensure(records(&self.fixture, out) == self.expected, || "other records than embedded".into())?;
        let (passed_on, recorded) = (proxy.seeds(), recorded_seeds(&self.fixture, out));
        ensure(recorded.len() == N_REQUESTS * N_PATHS, || "a path is lost".into())?;
        ensure(passed_on == recorded, || "answers were lost or taken twice".into())?;
        let manifest = json_of(&self.fixture.path(out).join("manifest.json"));
        let sessions = manifest["sessions"].as_array().unwrap().iter();
        let n: u64 = sessions.map(|session| session["n_requests"].as_u64().unwrap()).sum();
        ensure(n == proxy.n_served() as u64, || format!("{n} requests counted, {} served", proxy.n_served()))
    }

    /// Runs to the error of a fault, and holds what is recorded against what the proxy passed on.
    fn stops(&self, proxy: &Proxy, out: &str, says: &str) -> Result<(), String> {
        let output = Output::of(&mut eval_at(&self.fixture, &proxy.server, out, &[]));
        ensure(output.code == 4, || format!("expected exit code 4: {output:?}"))?;
        let lines: Vec<&str> = output.stderr.lines().collect();
        let (error, hint) = (lines[lines.len() - 2], lines[lines.len() - 1]);
        let base = proxy.server.base();
        let is_clear = error.starts_with("error: ") && error.contains(&base) && error.contains(says);
        ensure(is_clear && hint.starts_with("hint: "), || format!("expected {says:?}: {output:?}"))?;
        ensure(!output.stderr.contains("panicked"), || output.stderr.clone())?;
        let recorded = recorded_seeds(&self.fixture, out);
        ensure(recorded == proxy.seeds(), || "what was answered is not what is recorded".into())?;
        ensure(recorded.len() >= (FIRST - 4) * N_PATHS, || format!("only {} recorded", recorded.len()))
    }
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

#[test]
fn a_fault_that_passes_changes_nothing() {
    Ground::new().for_each(|ground, at, fault| {
        let spoil = fault.spoil;
        let proxy =
            Proxy::start(&ground.server, move |n| (FIRST..FIRST + N_SPOILT).contains(&n).then_some(spoil));
        let out = format!("passing-{at}");
        if fault.passing == Passing::Recovers {
            return ground.completes(&proxy, &out, &[]);
        }
        ground.stops(&proxy, &out, fault.says)?;
        proxy.heal();
        ground.completes(&proxy, &out, &["--resume"])
    });
}

#[test]
fn a_fault_that_stays_ends_the_run_and_resuming_completes_it() {
    Ground::new().for_each(|ground, at, fault| {
        let spoil = fault.spoil;
        let proxy = Proxy::start(&ground.server, move |n| (n >= FIRST).then_some(spoil));
        let out = format!("staying-{at}");
        ground.stops(&proxy, &out, fault.says)?;
        proxy.heal();
        ground.completes(&proxy, &out, &["--resume"])
    });
}

#[test]
fn a_server_that_is_killed_and_started_again_is_waited_for() {
    let ground = Ground::new();
    let proxy = Proxy::start(&ground.server, |_| {
        Some(|exchange| {
            std::thread::sleep(Duration::from_millis(20));
            let (_, _, body) = exchange.answer();
            reply("200 OK", &[JSON], &body)
        })
    });
    let mut run = eval_at(&ground.fixture, &proxy.server, "run", &[]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while proxy.n_asked() < FIRST {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _again = proxy.restart(Duration::from_secs(1));
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(records(&ground.fixture, "run"), ground.expected);
}

#[test]
fn a_server_that_is_not_found_or_not_trusted_ends_the_run_at_once() {
    let ground = Ground::new();
    let proxy = Proxy::sound(&ground.server);
    let script = script(&ground.fixture);
    let address = proxy.server.address();
    for (base, says) in [
        ("http://midcourse.invalid/v1".to_owned(), "no connection"),
        ("http://127.0.0.1:1/v1".to_owned(), "no connection"),
        (format!("https://{address}/v1"), "no encrypted connection"),
    ] {
        let model = format!("{base}#{script}");
        let more = ["--tokenizer", &script, "--timeout", "2"];
        let output = Output::of(&mut eval(&ground.fixture, &model, "none", &more));
        assert_eq!(output.code, 4, "{base}: {output:?}");
        assert!(output.stderr.contains(&format!("{base}: {says}")), "{base}: {output:?}");
        assert!(!ground.fixture.path("none").exists(), "{base}");
    }
}
