//! The key goes to the server that it belongs to, and into no file, message or other server.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::proxy::{Proxy, Spoil, eval_at, fixture, script};
use crate::fault_server::{self, FaultServer, Step, reply};
use crate::fixtures::{Fixture, Output};
use crate::serve::server::Server;

/// A key with signs that are written otherwise in URLs and in JSON.
const KEY: &str = "sk-sesame/open+42\"&=b";

/// In every way that it may be written; the server has only one of them from the client.
fn forms() -> Vec<String> {
    let percent = |keep: fn(u8) -> bool| -> String {
        KEY.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let json = serde_json::to_string(KEY).unwrap();
    let slashed = json.replace('/', "\\/");
    vec![
        KEY.to_owned(),
        percent(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        percent(|byte| byte.is_ascii_alphanumeric()).to_lowercase(),
        json.trim_matches('"').to_owned(),
        slashed[1..slashed.len() - 1].to_owned(),
        base64(KEY.as_bytes()),
        "sesame".to_owned(),
    ]
}

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits =
            three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        let sign = |at: usize| {
            if at > three.len() { '=' } else { char::from(SIGNS[(bits >> (18 - 6 * at)) as usize & 63]) }
        };
        (0..4).map(sign).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Looks for the key in all that a run has left.
fn assert_no_key(fixture: &Fixture, what: &str, output: &Output) {
    let mut texts =
        vec![("stdout".to_owned(), output.stdout.clone()), ("stderr".into(), output.stderr.clone())];
    for path in files(fixture.path(".").as_path()) {
        texts.push((
            path.display().to_string(),
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned(),
        ));
    }
    for (place, text) in texts {
        for form in forms() {
            assert!(!text.contains(&form), "{what}: {form} in {place}: {text}");
        }
    }
}

fn refused(status: &str, says: &str) -> Vec<Step> {
    let body = json!({"error": {"message": format!("no access with {says}, really")}}).to_string();
    reply(status, &[("Content-Type", "application/json")], body.as_bytes())
}

/// Answers of a run's requests that hold the key, each in another place.
const SPOILT: [(&str, i32, Spoil); 12] = [
    ("nothing", 0, |exchange| {
        let (_, _, body) = exchange.answer();
        fault_server::json(&String::from_utf8(body).unwrap())
    }),
    ("401", 4, |_| refused("401 Unauthorized", KEY)),
    ("403 percent-encoded", 4, |_| refused("403 Forbidden", &forms()[1])),
    ("400", 4, |_| refused("400 Bad Request", KEY)),
    ("500", 4, |_| refused("500 Internal Server Error", &format!("Bearer {KEY}"))),
    ("429", 4, |_| refused("429 Too Many Requests", KEY)),
    ("an error under 200", 4, |_| refused("200 OK", KEY)),
    ("a page", 4, |_| reply("200 OK", &[("Content-Type", "text/html")], KEY.as_bytes())),
    ("no JSON", 4, |_| reply("200 OK", &[("Content-Type", "application/json")], KEY.as_bytes())),
    ("a status line", 4, |_| vec![Step::Send(format!("HTTP/1.1 {KEY}\r\n\r\n").into_bytes()), Step::Close]),
    ("another model", 4, |exchange| {
        let mut json = exchange.json();
        json["model"] = KEY.into();
        fault_server::json(&json.to_string())
    }),
    ("an end of another kind", 4, |exchange| {
        let mut json = exchange.json();
        json["choices"][0]["finish_reason"] = KEY.into();
        fault_server::json(&json.to_string())
    }),
];

#[test]
fn the_key_stands_in_nothing_that_a_run_leaves() {
    let fixture = fixture();
    let server = Server::start(&script(&fixture), &[], &[("MIDCOURSE_API_KEY", KEY)]);
    for (what, code, spoil) in SPOILT {
        let proxy = Proxy::start(&server, move |n| (n >= 6).then_some(spoil));
        let mut run = eval_at(&fixture, &proxy.server, "run", &["--concurrency", "2"]);
        run.env("MIDCOURSE_API_KEY", KEY);
        let output = Output::of(&mut run);
        assert_eq!(output.code, code, "{what}: {output:?}");
        assert_no_key(&fixture, what, &output);
        assert!(fixture.path("run/manifest.json").exists(), "{what}");
        let keys =
            proxy.server.requests().into_iter().map(|request| request.headers["authorization"].clone());
        assert!(keys.into_iter().all(|key| key == format!("Bearer {KEY}")), "{what}");
        std::fs::remove_dir_all(fixture.path("run")).unwrap();
    }
}

#[test]
fn a_survey_that_fails_tells_no_key() {
    let answers = [
        ("401", 4, refused("401 Unauthorized", KEY)),
        ("a list without the model", 4, fault_server::json(&json!({"data": [{"id": KEY}]}).to_string())),
        (
            "an owner that is none",
            6,
            fault_server::json(&json!({"data": [{"id": "m", "owned_by": KEY}]}).to_string()),
        ),
        ("no JSON", 4, reply("200 OK", &[], KEY.as_bytes())),
    ];
    for (what, code, answer) in answers {
        let fixture = fixture();
        let server = FaultServer::always(answer);
        let mut run =
            super::proxy::eval(&fixture, &format!("{}#m", server.base()), "run", &["--unit", "words"]);
        let output = Output::of(run.env("MIDCOURSE_API_KEY", KEY));
        assert_eq!(output.code, code, "{what}: {output:?}");
        assert_no_key(&fixture, what, &output);
    }
}

#[test]
fn the_key_is_not_sent_where_a_server_points() {
    let other = FaultServer::always(fault_server::json("{}"));
    let to = format!("{}/models?key={KEY}", other.base());
    let redirecting = FaultServer::start(move |_| reply("302 Found", &[("Location", &to)], b""));
    let fixture = fixture();
    let mut run = eval_at(&fixture, &redirecting, "run", &[]);
    let output = Output::of(run.env("MIDCOURSE_API_KEY", KEY));
    assert_eq!(output.code, 4, "{output:?}");
    assert!(output.stderr.contains("sends elsewhere (302)"), "{output:?}");
    assert_no_key(&fixture, "a redirect", &output);
    assert_eq!(other.n_connections(), 0);
    assert_eq!(redirecting.requests()[0].headers["authorization"], format!("Bearer {KEY}"));
}

#[test]
fn a_wrong_key_is_refused_and_said() {
    let fixture = fixture();
    let server = Server::start(&script(&fixture), &[], &[("MIDCOURSE_API_KEY", KEY)]);
    let proxy = Proxy::sound(&server);
    for (key, says, code) in
        [("other", "refuses (401)", 4), ("", "refuses (401)", 4), ("sésame", "MIDCOURSE_API_KEY", 2)]
    {
        let mut run = eval_at(&fixture, &proxy.server, "run", &[]);
        let output = Output::of(run.env("MIDCOURSE_API_KEY", key));
        assert_eq!(output.code, code, "{key}: {output:?}");
        assert!(output.stderr.contains(says), "{key}: {output:?}");
        assert!(key.is_empty() || !output.stderr.contains(key), "{key}: {output:?}");
    }
}
