//! Trainings that are killed or interrupted at any moment and resumed end as those that are not.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{assert_same, fixture, run, train};
use crate::fixtures::{self, Fixture, MIDCOURSE};
use crate::kill::moments;
use crate::synth::killed::ends_within;

const N_KILLS: usize = 20;
/// Long enough that most kills meet it at work.
const LONG: [&str; 4] = ["--epochs", "10", "--save-every", "3"];

fn start(fixture: &Fixture, out: &str) -> Child {
    let is_begun = fixture.path(out).join("run.toml").exists();
    let mut command = fixtures::command(MIDCOURSE);
    command.args(train(fixture, out, if is_begun { &["--resume"] } else { &LONG })).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_and_resumed_equals_uninterrupted() {
    let fixture = fixture();
    let started = Instant::now();
    run(&fixture, "whole", &LONG);
    let longest = started.elapsed();
    let mut moments = moments(longest);
    let (mut n_kills, mut n_runs) = (0, 0);
    while n_kills < N_KILLS {
        n_runs += 1;
        let out = format!("killed-{n_runs}");
        loop {
            let mut session = start(&fixture, &out);
            if n_kills == N_KILLS || ends_within(&mut session, moments.next().unwrap()) {
                assert!(session.wait().unwrap().success(), "{out}");
                break;
            }
            session.kill().unwrap();
            session.wait().unwrap();
            n_kills += 1;
        }
        assert_same(&fixture, &out, "whole");
    }
}

#[test]
fn signals_end_a_training_with_their_codes_and_a_checkpoint() {
    let fixture = fixture();
    run(&fixture, "whole", &LONG);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut session = start(&fixture, signal);
        let log = fixture.path(&format!("{signal}/train.jsonl"));
        while std::fs::metadata(&log).map_or(0, |file| file.len()) == 0 {
            assert!(session.try_wait().unwrap().is_none(), "it ended before it could be stopped");
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent = Command::new("kill").args(["-s", signal, &session.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(session.wait().unwrap().code(), Some(code));
        let n_steps = fixture.read(&format!("{signal}/train.jsonl")).lines().count();
        let place = format!("{signal}/checkpoints/step-{n_steps:06}/state.json");
        assert!(fixture.path(&place).exists(), "no checkpoint of step {n_steps}");
        run(&fixture, signal, &["--resume"]);
        assert_same(&fixture, signal, "whole");
    }
}
