//! Many requests at servers that fail, refuse, die and come back: each is answered or given back once, and a run
//! ends when it should.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use midcourse_core::engine::BoxError;
use midcourse_engine::Error;
use midcourse_engine::remote::{
    Address, Client, Connection, Dispatcher, Fault, Patience, Reply, Request, Route, Source, Tally,
};
use serde_json::{Value, json};

use crate::exchanges::client;
use crate::fault_server::{self, FaultServer, Step, head, json as json_reply, reply};

/// Asks a server to repeat numbers, and writes down what comes.
#[derive(Default)]
struct Numbers {
    /// Numbers that are not asked for yet, the next one last.
    left: Vec<usize>,
    /// What came back, by number.
    done: BTreeMap<usize, Vec<Result<usize, Fault>>>,
    /// Sent with every number.
    prompt: Vec<usize>,
    /// Asked for and not given back.
    n_open: usize,
    most_open: usize,
    n_troubles: usize,
    stop: Arc<AtomicBool>,
    /// An error to return at this many answers.
    fails_at: Option<usize>,
}

impl Numbers {
    fn up_to(n: usize) -> Self {
        Self { left: (0..n).rev().collect(), ..Self::default() }
    }

    /// Checks that every number came back once, and gives how many were answered, each rightly.
    fn n_right(&self, n: usize) -> usize {
        assert_eq!((self.left.len() + self.done.len(), self.n_open), (n, 0), "none is lost");
        let once = self.done.iter().map(|(number, answers)| {
            assert_eq!(answers.len(), 1, "{number} came back more than once");
            answers[0].as_ref().is_ok_and(|answer| {
                assert_eq!(answer, number);
                true
            })
        });
        once.map(usize::from).sum()
    }

    fn faults(&self) -> Vec<&Fault> {
        self.done.values().flatten().filter_map(|answer| answer.as_ref().err()).collect()
    }
}

impl Source for Numbers {
    type Job = usize;
    type Answer = usize;

    fn next(&mut self) -> Option<(usize, Request)> {
        let number = self.left.pop()?;
        self.n_open += 1;
        self.most_open = self.most_open.max(self.n_open);
        let body = json!({"number": number, "prompt": self.prompt});
        Some((number, Request::post(Route::Api("/completions"), &body)))
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn done(&mut self, number: usize, answer: Result<usize, Fault>) -> Result<(), BoxError> {
        self.n_open -= 1;
        self.done.entry(number).or_default().push(answer);
        match self.fails_at {
            Some(n) if self.done.len() >= n => Err("the disk is full".into()),
            _ => Ok(()),
        }
    }

    fn trouble(&mut self, _: &Address, _: &Fault) {
        self.n_troubles += 1;
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that a dispatcher calls")]
fn read(_: &usize, reply: &Reply) -> Result<usize, Fault> {
    let json = reply.json()?;
    let number =
        json["number"].as_u64().ok_or_else(|| Fault::Strange { problem: "expected a number".into() });
    number.map(|number| number as usize)
}

fn patience() -> Patience {
    Patience {
        without_answer: Duration::from_secs(10),
        grace: Duration::from_millis(300),
        ..Patience::default()
    }
}

fn dispatcher(servers: &[&FaultServer], max_open: usize) -> Dispatcher {
    Dispatcher::new(servers.iter().map(|server| client(&server.base())).collect(), max_open, patience(), 7)
}

/// Repeats what it was asked.
fn echo(request: &fault_server::Request) -> Vec<Step> {
    json_reply(std::str::from_utf8(&request.body).unwrap())
}

/// How many kinds of fault [`spoilt`] knows.
const N_KINDS: usize = 16;

/// A fault instead of an answer.
fn spoilt(kind: usize, request: &fault_server::Request) -> Vec<Step> {
    let half = || {
        let mut bytes = head("200 OK", &[("Content-Length", "90")]);
        bytes.extend_from_slice(&request.body);
        Step::Send(bytes)
    };
    match kind {
        // Refusals for being too many are rare: they slow the rest down.
        0 if request.n.is_multiple_of(8) => reply("429 Too Many Requests", &[], b""),
        0 => reply("408 Request Timeout", &[], b""),
        1 => reply("500 Internal Server Error", &[], b"oops"),
        2 => reply("502 Bad Gateway", &[("Content-Type", "text/html")], b"<html>"),
        3 => reply("503 Service Unavailable", &[], b""),
        4 => reply("504 Gateway Timeout", &[], b""),
        5 => vec![half(), Step::Reset],
        6 => vec![half(), Step::HalfClose],
        7 => vec![half(), Step::Close],
        8 => vec![Step::Close],
        9 => vec![half(), Step::Wait(Duration::from_secs(2))],
        10 => reply("200 OK", &[("Content-Type", "text/html")], b"<html>"),
        11 => json_reply("{\"number\":"),
        12 => json_reply("{\"error\":\"no room\"}"),
        13 => json_reply("{\"number\":null}"),
        14 => reply("200 OK", &[], b"\xff"),
        _ => vec![Step::Send(b"garbage\r\n\r\n".to_vec()), Step::Close],
    }
}

#[test]
fn in_a_storm_of_faults_every_request_is_answered_once() {
    // Every number meets one of the kinds or none, then another or none: all pairs of them, half of them none.
    const SIDE: usize = 2 * N_KINDS;
    const N: usize = SIDE * SIDE;
    let tries: Mutex<BTreeMap<u64, usize>> = Mutex::default();
    let server = FaultServer::start(move |request| {
        let number = serde_json::from_slice::<Value>(&request.body).unwrap()["number"].as_u64().unwrap();
        let mut tries = tries.lock().unwrap();
        let n_tries = tries.entry(number).or_default();
        *n_tries += 1;
        let kind = match *n_tries {
            // Kinds and none take turns.
            1 => number as usize * 7 % SIDE,
            2 => (number as usize / SIDE + number as usize) % SIDE,
            _ => N_KINDS,
        };
        drop(tries);
        if kind < N_KINDS { spoilt(kind, request) } else { echo(request) }
    });
    let mut numbers = Numbers::up_to(N);
    let tally = dispatcher(&[&server], 64).run(&mut numbers, read).unwrap();
    assert_eq!(numbers.n_right(N), N);
    let n_faults = SIDE * N_KINDS + N_KINDS * N_KINDS;
    assert!(tally.n_retried + tally.n_busy >= n_faults, "{tally:?}");
    assert_eq!(server.n_requests(), N + tally.n_retried + tally.n_busy);
    assert!(numbers.most_open <= 64, "{} requests were open", numbers.most_open);
}

#[test]
fn a_server_that_is_killed_and_started_again_does_not_end_the_run() {
    let slow = |request: &fault_server::Request| {
        thread::sleep(Duration::from_millis(20));
        echo(request)
    };
    let server = FaultServer::start(slow);
    let address = server.address();
    let dispatcher = dispatcher(&[&server], 8);
    let restarting = thread::spawn(move || {
        while server.n_requests() < 100 {
            thread::sleep(Duration::from_millis(5));
        }
        server.kill();
        thread::sleep(Duration::from_millis(1500));
        FaultServer::start_at(address, slow)
    });
    let mut numbers = Numbers::up_to(300);
    dispatcher.run(&mut numbers, read).unwrap();
    assert_eq!(numbers.n_right(300), 300);
    assert!(numbers.n_troubles >= 1, "the source is told");
    assert!(restarting.join().unwrap().n_requests() >= 190);
}

#[test]
fn with_one_replica_dead_the_others_go_on() {
    let (dying, living) = (FaultServer::start(echo), FaultServer::start(echo));
    let dispatcher = dispatcher(&[&dying, &living], 8);
    let killing = thread::spawn(move || {
        while dying.n_requests() < 50 {
            thread::sleep(Duration::from_millis(1));
        }
        dying.kill();
        dying.n_requests()
    });
    let mut numbers = Numbers::up_to(2000);
    dispatcher.run(&mut numbers, read).unwrap();
    assert_eq!(numbers.n_right(2000), 2000);
    assert!(killing.join().unwrap() + living.n_requests() >= 2000);
    assert!(living.n_requests() > 500, "both replicas were used");
}

/// The error that a run of 50 requests ends in.
fn error_of(server: &FaultServer, patience: Patience) -> (Error, Numbers) {
    let dispatcher = Dispatcher::new(vec![client(&server.base())], 8, patience, 7);
    let mut numbers = Numbers::up_to(50);
    let error = dispatcher.run(&mut numbers, read).unwrap_err();
    (*error.downcast().unwrap(), numbers)
}

#[test]
fn what_no_request_can_change_ends_the_run_at_once() {
    for (steps, part) in [
        (reply("401 Unauthorized", &[], b"{\"error\":\"no key\"}"), "refuses (401): no key"),
        (reply("404 Not Found", &[], b"{\"error\":\"no model\"}"), "refuses (404): no model"),
        (reply("301 Moved Permanently", &[("Location", "http://b.invalid/v1")], b""), "http://b.invalid/v1"),
        (reply("429 Too Many Requests", &[("Retry-After", "3600")], b"quota"), "asks to wait 3600 s"),
        (reply("503 Service Unavailable", &[("Retry-After", "99999999999999999999")], b""), "asks to wait"),
        (reply("200 OK", &[("Content-Type", "text/html")], b"log in"), "a page of HTML"),
    ] {
        let began = Instant::now();
        let server = FaultServer::always(steps);
        let (error, numbers) = error_of(&server, patience());
        assert!(matches!(error, Error::Endpoint { .. }), "{error:?}");
        assert!(error.to_string().contains(part) && error.to_string().contains(&server.base()), "{error}");
        assert_eq!(numbers.n_right(50), 0);
        assert!(numbers.faults().iter().all(|fault| **fault == Fault::Stopped), "{:?}", numbers.faults());
        assert!(began.elapsed() < Duration::from_secs(4), "{part}: {:?}", began.elapsed());
    }
}

#[test]
fn a_server_that_only_fails_ends_the_run_in_time() {
    for steps in [
        reply("500 Internal Server Error", &[], b"oops"),
        reply("429 Too Many Requests", &[], b""),
        vec![Step::Close],
        json_reply("{}"),
    ] {
        let began = Instant::now();
        let without_answer = Duration::from_secs(2);
        let (error, numbers) = error_of(
            &FaultServer::always(steps),
            Patience { without_answer, at_start: without_answer, ..patience() },
        );
        assert!(matches!(error, Error::Endpoint { .. }), "{error:?}");
        assert_eq!(numbers.n_right(50), 0);
        assert!(began.elapsed() < Duration::from_secs(8), "{error}: {:?}", began.elapsed());
    }
}

#[test]
fn a_server_that_never_was_there_ends_the_run_soon() {
    let server = FaultServer::start(echo);
    server.kill();
    let began = Instant::now();
    let (error, numbers) = error_of(&server, Patience { at_start: Duration::from_secs(1), ..patience() });
    assert!(error.to_string().contains("no connection"), "{error}");
    assert_eq!(numbers.n_right(50), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_request_that_is_refused_for_itself_is_given_back_and_the_rest_goes_on() {
    let server = FaultServer::start(|request| match serde_json::from_slice::<Value>(&request.body) {
        Ok(body) if body["number"].as_u64().is_some_and(|n| n % 10 == 3) => {
            reply("400 Bad Request", &[], b"{\"error\":{\"message\":\"too long\"}}")
        }
        _ => echo(request),
    });
    let mut numbers = Numbers::up_to(100);
    let tally = dispatcher(&[&server], 8).run(&mut numbers, read).unwrap();
    assert_eq!((numbers.n_right(100), tally.n_given_up), (90, 10));
    let refused = Fault::Refused { status: 400, message: "too long".into() };
    assert!(numbers.faults().iter().all(|fault| **fault == refused));
    assert_eq!(server.n_requests(), 100, "a refusal is not asked for again");
}

#[test]
fn a_wait_that_is_asked_for_is_kept() {
    let busy = reply("429 Too Many Requests", &[("Retry-After", "1")], b"");
    let server = FaultServer::start(move |request| if request.n == 0 { busy.clone() } else { echo(request) });
    let mut numbers = Numbers::up_to(1);
    let began = Instant::now();
    let tally = dispatcher(&[&server], 8).run(&mut numbers, read).unwrap();
    assert_eq!(tally, Tally { n_answered: 1, n_busy: 1, ..Tally::default() });
    let wait = began.elapsed();
    assert!(wait >= Duration::from_secs(1) && wait < Duration::from_millis(2500), "{wait:?}");
}

#[test]
fn a_run_that_is_stopped_returns_soon_from_waits_and_from_silent_servers() {
    let silent = Connection::default();
    for (steps, bound) in [
        (reply("429 Too Many Requests", &[("Retry-After", "60")], b""), 600),
        (reply("500 Internal Server Error", &[], b""), 600),
        (vec![Step::Wait(Duration::from_secs(30))], 2000),
    ] {
        let server = FaultServer::always(steps);
        let client = Client::new(server.base().parse().unwrap(), None, &silent);
        let dispatcher = Dispatcher::new(vec![client], 8, patience(), 7);
        let mut numbers = Numbers::up_to(50);
        let stop = Arc::clone(&numbers.stop);
        let stopping = thread::spawn(move || {
            thread::sleep(Duration::from_millis(400));
            stop.store(true, Ordering::SeqCst);
            Instant::now()
        });
        dispatcher.run(&mut numbers, read).unwrap();
        let took = stopping.join().unwrap().elapsed();
        assert!(took < Duration::from_millis(bound), "{took:?}");
        assert_eq!(numbers.n_right(50), 0);
        assert!(numbers.faults().iter().all(|fault| **fault == Fault::Stopped));
    }
}

#[test]
fn what_is_answered_while_a_run_stops_is_taken() {
    let server = FaultServer::start(|request| {
        thread::sleep(Duration::from_millis(150));
        echo(request)
    });
    let mut numbers = Numbers::up_to(50);
    let stop = Arc::clone(&numbers.stop);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(80));
        stop.store(true, Ordering::SeqCst);
    });
    dispatcher(&[&server], 8).run(&mut numbers, read).unwrap();
    assert_eq!(numbers.n_right(50), 4, "the first four were in flight");
}

#[test]
fn an_error_of_the_source_ends_the_run_and_nothing_is_told_after_it() {
    let server = FaultServer::start(echo);
    let mut numbers = Numbers { fails_at: Some(10), ..Numbers::up_to(100) };
    let error = dispatcher(&[&server], 8).run(&mut numbers, read).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
    assert_eq!(numbers.done.len(), 10);
}

#[test]
#[should_panic(expected = "a defect")]
fn a_defect_in_reading_is_not_swallowed() {
    let server = FaultServer::start(echo);
    let read = |_: &usize, _: &Reply| -> Result<usize, Fault> { panic!("a defect") };
    let _ = dispatcher(&[&server], 8).run(&mut Numbers::up_to(10), read);
}

#[test]
fn probing_tries_a_few_times() {
    let failing = reply("503 Service Unavailable", &[], b"loading");
    let server =
        FaultServer::start(move |request| if request.n < 2 { failing.clone() } else { json_reply("{}") });
    let dispatcher = dispatcher(&[&server], 8);
    let get = Request::get(Route::Api("/models"));
    assert_eq!(dispatcher.ask(0, &get).unwrap().status, 200);
    assert_eq!(server.n_requests(), 3);
}

/// Answers in 100 to 300 ms when one of its slots is free, refuses otherwise.
fn with_slots(slots: &Arc<AtomicUsize>) -> FaultServer {
    let (slots, n_busy) = (Arc::clone(slots), AtomicUsize::new(0));
    FaultServer::forgetful(move |request| {
        if n_busy.fetch_add(1, Ordering::SeqCst) >= slots.load(Ordering::SeqCst) {
            n_busy.fetch_sub(1, Ordering::SeqCst);
            return reply("429 Too Many Requests", &[], b"");
        }
        let millis = 100 + (request.n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 201;
        thread::sleep(Duration::from_millis(millis));
        n_busy.fetch_sub(1, Ordering::SeqCst);
        echo(request)
    })
}

/// Numbers without end, until a time; counts answers by the second.
struct Endless {
    began: Instant,
    until: Duration,
    n: usize,
    n_by_second: Vec<usize>,
}

impl Source for Endless {
    type Job = usize;
    type Answer = usize;

    fn next(&mut self) -> Option<(usize, Request)> {
        let is_over = self.began.elapsed() >= self.until;
        self.n += 1;
        let body = json!({"number": self.n});
        (!is_over).then(|| (self.n, Request::post(Route::Api("/completions"), &body)))
    }

    fn stopping(&self) -> bool {
        false
    }

    fn done(&mut self, _: usize, answer: Result<usize, Fault>) -> Result<(), BoxError> {
        answer?;
        let second = self.began.elapsed().as_secs() as usize;
        self.n_by_second.resize(self.n_by_second.len().max(second + 1), 0);
        self.n_by_second[second] += 1;
        Ok(())
    }
}

/// Other programs take the processor now and then: of three tries one must do.
#[test]
fn the_capacity_of_a_real_server_is_found_and_kept() {
    let mut tries = Vec::new();
    while tries.len() < 3 {
        let (share, busy) = kept_capacity();
        if share >= 0.9 && busy < 0.02 {
            return;
        }
        tries.push((share, busy));
    }
    panic!("shares of the best rate, and of requests that were refused: {tries:.3?}");
}

/// Which share of the best rate a server of 50 slots was kept at from second 5 to 15, and which share of the requests it
/// refused.
fn kept_capacity() -> (f64, f64) {
    const SECS: usize = 15;
    const N_SLOTS: usize = 50;
    let server = with_slots(&Arc::new(AtomicUsize::new(N_SLOTS)));
    let until = Duration::from_secs(SECS as u64);
    let mut numbers = Endless { began: Instant::now(), until, n: 0, n_by_second: Vec::new() };
    let client = Client::new(server.base().parse().unwrap(), None, &Connection::default());
    let tally = Dispatcher::new(vec![client], 256, Patience::default(), 7).run(&mut numbers, read).unwrap();
    let best = N_SLOTS as f64 / 0.2;
    let share = numbers.n_by_second[5..SECS].iter().sum::<usize>() as f64 / (SECS - 5) as f64 / best;
    let busy = tally.n_busy as f64 / (tally.n_busy + tally.n_answered) as f64;
    (share, busy)
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
#[cfg(target_os = "linux")]
fn twenty_thousand_requests_take_little_memory() {
    const ALONE: &str = "MIDCOURSE_TEST_ALONE";
    const NAME: &str = "dispatching::twenty_thousand_requests_take_little_memory";
    // In a process of its own: other tests hold models.
    if std::env::var_os(ALONE).is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", NAME, "--nocapture"]).env(ALONE, "1").output().unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    // A prompt of 2,000 tokens out, twenty short paths back.
    let text = "The chores are done when the floor is dry. ".repeat(200);
    let server = FaultServer::forgetful(move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        json_reply(&json!({"number": body["number"], "choices": text}).to_string())
    });
    let mut numbers = Numbers { prompt: vec![7; 2000], ..Numbers::up_to(20_000) };
    let began = Instant::now();
    let client = Client::new(server.base().parse().unwrap(), None, &Connection::default());
    Dispatcher::new(vec![client], 64, Patience::default(), 7).run(&mut numbers, read).unwrap();
    assert_eq!(numbers.n_right(20_000), 20_000);
    let peak = peak_memory();
    println!("20,000 requests: {:.0} MB at most, {:.1} s", peak as f64 / 1e6, began.elapsed().as_secs_f64());
    assert!(server.n_connections() <= 64, "connections are reused");
    assert!(peak < 300_000_000, "{peak} bytes");
}
