//! Runs against a server that are killed or interrupted, and resumed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::proxy::{
    N_PATHS, N_REQUESTS, Proxy, Spoil, eval, eval_at, fixture, recorded_seeds, records, script, serve,
};
use crate::fault_server::{self, Step};
use crate::fixtures::{Fixture, Output};

/// A server that takes its time.
const SLOW: Spoil = |exchange| {
    let (_, _, body) = exchange.answer();
    let answer = fault_server::json(&String::from_utf8(body).unwrap());
    [vec![Step::Wait(Duration::from_millis(60))], answer].concat()
};

fn start(fixture: &Fixture, proxy: &Proxy, more: &[&str]) -> Child {
    let more = [&["--concurrency", "2"], more].concat();
    let mut command = eval_at(fixture, &proxy.server, "run", &more);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_run_is_resumed_to_the_same_records() {
    let fixture = fixture();
    let server = serve(&fixture);
    Output::of(&mut eval(&fixture, &script(&fixture), "embedded", &[])).done();
    let proxy = Proxy::start(&server, |_| Some(SLOW));
    let mut n_recorded = 0;
    for wanted in [4, 12, 20] {
        let resume: &[&str] = if wanted == 4 { &[] } else { &["--resume"] };
        let mut run = start(&fixture, &proxy, resume);
        while proxy.n_asked() < wanted {
            assert!(run.try_wait().unwrap().is_none(), "the run ended before it could be killed");
            std::thread::sleep(Duration::from_millis(2));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        let text = fixture.read("run/trials.jsonl");
        let n = text.matches('\n').count();
        assert!(n >= n_recorded && n < N_REQUESTS * N_PATHS, "{n} records after {n_recorded}");
        n_recorded = n;
    }
    proxy.heal();
    Output::of(&mut eval_at(&fixture, &proxy.server, "run", &["--resume"])).done();
    assert_eq!(records(&fixture, "run"), records(&fixture, "embedded"));
    // Of each kill, no more is asked again than was in flight.
    assert!(proxy.n_asked() <= N_REQUESTS + 3 * 2, "{} requests", proxy.n_asked());
}

#[test]
fn signals_end_a_run_soon_and_nothing_that_was_answered_is_lost() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let fixture = fixture();
        let server = serve(&fixture);
        Output::of(&mut eval(&fixture, &script(&fixture), "embedded", &[])).done();
        let proxy = Proxy::start(&server, |_| Some(SLOW));
        let mut run = start(&fixture, &proxy, &[]);
        while proxy.n_asked() < 8 {
            assert!(run.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
            std::thread::sleep(Duration::from_millis(2));
        }
        let sent = Instant::now();
        assert!(Command::new("kill").args(["-s", signal, &run.id().to_string()]).status().unwrap().success());
        assert_eq!(run.wait().unwrap().code(), Some(code));
        assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
        // What is in flight may end; nothing new is sent.
        let n_asked = proxy.n_asked();
        assert!(n_asked < N_REQUESTS, "{n_asked} requests");
        assert_eq!(recorded_seeds(&fixture, "run").len(), n_asked * N_PATHS, "{signal}");
        Output::of(&mut eval_at(&fixture, &proxy.server, "run", &["--resume"])).done();
        assert_eq!(records(&fixture, "run"), records(&fixture, "embedded"));
        assert_eq!(proxy.n_asked(), N_REQUESTS, "{signal}");
    }
}

#[test]
fn a_signal_does_not_wait_for_a_server_that_says_nothing() {
    let fixture = fixture();
    let server = serve(&fixture);
    let proxy = Proxy::start(&server, |n| {
        (n >= 4).then_some((|_| vec![Step::Wait(Duration::from_secs(20))]) as Spoil)
    });
    let mut run = eval_at(&fixture, &proxy.server, "run", &["--concurrency", "2", "--timeout", "600"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while proxy.n_asked() < 6 {
        assert!(run.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = Instant::now();
    assert!(Command::new("kill").args(["-s", "INT", &run.id().to_string()]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert!(sent.elapsed() < Duration::from_secs(6), "{:?}", sent.elapsed());
    assert_eq!(recorded_seeds(&fixture, "run"), proxy.seeds());
}

#[test]
fn a_run_is_not_resumed_at_another_kind_of_server() {
    let fixture = fixture();
    let server = serve(&fixture);
    let proxy = Proxy::sound(&server);
    Output::of(&mut eval_at(&fixture, &proxy.server, "run", &[])).done();
    let other = ["--resume", "--prefill", "continue-final-message", "--unit", "tokens"];
    let output = Output::of(&mut eval_at(&fixture, &proxy.server, "run", &other));
    assert_eq!(output.code, 5, "{output:?}");
}
