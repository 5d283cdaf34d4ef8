//! Syntheses that are killed at any moment and resumed: nothing is lost, nothing is repeated, the end is the same.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{assert_same, fixture, jsonl, prompt, row, run, synth};
use crate::endpoint::proxy::{self, MAX_NEW_TOKENS, Proxy, Spoil};
use crate::fault_server::{self, Step};
use crate::fixtures::{self, Fixture, MIDCOURSE};
use crate::kill::moments;
use crate::serve::server::{Server, tiny_llama};

/// A synthesis that is killed so many times, at moments up to half of its length.
struct Killing<'a> {
    fixture: &'a Fixture,
    n_kills: usize,
    longest: Duration,
    /// The synthesis that was left alone.
    whole: &'a str,
    /// Options of a new synthesis.
    options: &'a [&'a str],
}

impl Killing<'_> {
    /// Kills and resumes as often as is asked; a run that comes to its end before is compared, and another begun.
    /// After every session `look` is shown what was recorded before it.
    fn kill(&self, look: &mut dyn FnMut(&BTreeSet<String>)) {
        let (mut moments, mut n_left, mut run) = (moments(self.longest / 2), self.n_kills, 0);
        let mut most_kills = 0;
        while n_left > 0 {
            run += 1;
            let out = format!("killed-{run}");
            let (mut recorded, n_before) = (BTreeSet::new(), n_left);
            loop {
                let mut session = self.start(&out);
                let is_killed = n_left > 0 && !ends_within(&mut session, moments.next().unwrap());
                if is_killed {
                    session.kill().unwrap();
                }
                let status = session.wait().unwrap();
                look(&recorded);
                if !is_killed {
                    assert!(status.success(), "{out}: {status}");
                    break;
                }
                n_left -= 1;
                let now = candidates(&self.fixture.path(&out));
                assert!(now.is_superset(&recorded), "{out}: a recorded path was lost");
                recorded = now;
            }
            assert_same(self.fixture, &out, self.whole);
            most_kills = most_kills.max(n_before - n_left);
        }
        assert!(most_kills > 1, "no run was killed twice");
    }

    fn start(&self, out: &str) -> Child {
        let is_begun = self.fixture.path(out).join("run.toml").exists();
        let options = if is_begun { &["--resume"] } else { self.options };
        let mut command = fixtures::command(MIDCOURSE);
        command.args(synth(self.fixture, out, options)).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

pub(crate) fn ends_within(session: &mut Child, moment: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < moment {
        if session.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1).min(moment.saturating_sub(started.elapsed())));
    }
    session.try_wait().unwrap().is_some()
}

/// Whole lines of every file of candidates, joined or not.
fn candidates(out: &Path) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for dir in [out.to_owned(), out.join("parts"), out.join("parts.joined")] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with("candidates.jsonl") {
                let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
                lines.extend(
                    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned),
                );
            }
        }
    }
    lines
}

/// Runs to the end and says how long that took.
fn timed(fixture: &Fixture, out: &str, options: &[&str]) -> Duration {
    let started = Instant::now();
    run(fixture, out, options);
    started.elapsed()
}

/// Rows of two windows, most of them too short to be grown.
fn long_fixture() -> Fixture {
    let fixture = fixture();
    let row = |i: usize| match i {
        0..12 | 1030..1042 => row(i),
        _ => json!({"prompt": prompt(i), "response": "Hide it."}),
    };
    fixture.write("data.jsonl", jsonl((0..1042).map(row)));
    fixture
}

#[test]
fn a_killed_run_of_two_windows_equals_an_uninterrupted_one() {
    let fixture = long_fixture();
    let longest = timed(&fixture, "whole", &[]);
    Killing { fixture: &fixture, n_kills: 25, longest, whole: "whole", options: &[] }.kill(&mut |_| {});
}

#[test]
fn a_killed_run_of_sampled_candidates_equals_an_uninterrupted_one() {
    let fixture = fixture();
    let tiny = tiny_llama().display().to_string();
    let options = ["--model", &tiny, "--candidates", "3", "--max-new-tokens", "32", "--batch-paths", "4"];
    let longest = timed(&fixture, "whole", &options);
    Killing { fixture: &fixture, n_kills: 15, longest, whole: "whole", options: &options }.kill(&mut |_| {});
}

/// A server that takes its time.
const SLOW: Spoil = |exchange| {
    let (_, _, body) = exchange.answer();
    let answer = fault_server::json(&String::from_utf8(body).unwrap());
    [vec![Step::Wait(Duration::from_millis(15))], answer].concat()
};

#[test]
fn killed_at_50_moments_a_run_at_a_server_asks_for_nothing_twice_and_ends_the_same() {
    let fixture = fixture();
    let script = proxy::script(&fixture);
    let most = MAX_NEW_TOKENS.to_string();
    let sampled = ["--max-new-tokens", &most, "--candidates", "2", "--triggers"];
    let triggers = fixture.write("triggers.txt", "Besides,\nand besides,\n").display().to_string();
    let common = [&sampled[..], &[&triggers]].concat();
    run(&fixture, "embedded", &[&["--model", &script], &common[..]].concat());
    let server = Server::start(&script, &[], &[]);
    let proxy = Proxy::start(&server, |_| Some(SLOW));
    let model = format!("{}#{script}", proxy.server.base());
    let served = ["--model", &model, "--tokenizer", &script, "--concurrency", "2"];
    let options = [&served[..], &common[..]].concat();
    let longest = timed(&fixture, "whole", &options);
    assert_same(&fixture, "whole", "embedded");
    proxy.server.requests();
    let mut n_resumed = 0;
    let killing = Killing { fixture: &fixture, n_kills: 50, longest, whole: "whole", options: &options };
    killing.kill(&mut |recorded| {
        let seed = |line: &String| serde_json::from_str::<Value>(line).unwrap()["seed"].as_u64().unwrap();
        let recorded: BTreeSet<u64> = recorded.iter().map(seed).collect();
        for body in proxy.server.requests().iter().filter_map(proxy::asked) {
            let (first, n) = (body["seed"].as_u64().unwrap(), body["n"].as_u64().unwrap_or(1));
            assert!((first..first + n).all(|seed| !recorded.contains(&seed)), "asked for again: {body}");
            n_resumed += usize::from(!recorded.is_empty());
        }
    });
    assert!(n_resumed > 20, "only {n_resumed} requests of resumed runs");
}

#[test]
fn a_run_that_died_while_it_was_finished_is_finished() {
    let fixture = fixture();
    run(&fixture, "whole", &[]);
    run(&fixture, "died", &[]);
    let at = |name: &str| fixture.path("died").join(name);
    // Windows that are joined but not gone; half a file under the name of one in the making; half a data set.
    std::fs::create_dir_all(at("parts.joined")).unwrap();
    fixture.write("died/parts.joined/00000.candidates.jsonl", "{\"half");
    fixture.write("died/summary.json.new", "{\"half");
    fixture.write("died/report.html.new", "<!doc");
    std::fs::rename(at("data"), at("data.new")).unwrap();
    for name in ["summary.json", "README.md", "report.html", "report.md"] {
        std::fs::remove_file(at(name)).unwrap();
    }
    let before = fixture.read("died/candidates.jsonl");
    run(&fixture, "died", &["--resume"]);
    assert_same(&fixture, "died", "whole");
    assert_eq!(fixture.read("died/candidates.jsonl"), before);
    let sessions = super::json_of(&fixture, "died/manifest.json")["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "nothing was grown again");
}

#[test]
fn a_torn_record_is_cut_off_said_and_made_again() {
    let fixture = fixture();
    run(&fixture, "whole", &[]);
    for (n_lines, torn) in [(0, "{"), (3, "{\"index\":0,\"set\":\"har"), (7, "\u{1F3B2}")] {
        let out = format!("torn-{n_lines}");
        run(&fixture, &out, &[]);
        let grown = fixture.read(&format!("{out}/candidates.jsonl"));
        let kept: String = grown.split_inclusive('\n').take(n_lines).collect();
        for name in ["rankings.jsonl", "dropped.jsonl", "candidates.jsonl", "judgements.jsonl"] {
            std::fs::remove_file(fixture.path(&out).join(name)).unwrap();
        }
        std::fs::create_dir(fixture.path(&out).join("parts")).unwrap();
        fixture.write(
            &format!("{out}/parts/00000.candidates.jsonl"),
            [kept.as_bytes(), &torn.as_bytes()[..1]].concat(),
        );
        let output = run(&fixture, &out, &["--resume"]);
        assert!(output.stderr.contains("00000.candidates.jsonl: cut off"), "{}", output.stderr);
        assert_same(&fixture, &out, "whole");
    }
}
