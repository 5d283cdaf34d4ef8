//! What the gate does about refusals, faults and replicas, step by step.

use std::collections::VecDeque;

use super::*;

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

/// Admits as many as there is room for.
fn admit_all(gate: &mut Gate, now: f64) -> Vec<Pass> {
    std::iter::from_fn(|| gate.admit(secs(now))).collect()
}

fn settle_all(gate: &mut Gate, passes: Vec<Pass>, outcome: Outcome, now: f64) {
    for pass in passes {
        gate.settle(pass, outcome, secs(now));
    }
}

fn limits(gate: &Gate) -> Vec<usize> {
    gate.limits().collect()
}

/// A gate whose limit has grown to 64, and the answers that it took.
fn grown() -> (Gate, usize) {
    let mut gate = Gate::new(1, 64, 7);
    let (mut passes, mut n_answers) = (VecDeque::new(), 0);
    while limits(&gate) != [64] {
        passes.extend(admit_all(&mut gate, 0.0));
        gate.settle(passes.pop_front().unwrap(), Outcome::Served, Duration::ZERO);
        n_answers += 1;
    }
    settle_all(&mut gate, passes.into(), Outcome::Unused, 0.0);
    (gate, n_answers)
}

#[test]
fn before_a_refusal_the_limit_grows_with_every_answer_up_to_the_maximum() {
    let (mut gate, n_answers) = grown();
    // From 4 to 64, and the first answer came when the limit was not in use.
    assert_eq!(n_answers, 61);
    let passes = admit_all(&mut gate, 5.0);
    settle_all(&mut gate, passes, Outcome::Served, 5.0);
    assert_eq!(limits(&gate), [64]);
}

#[test]
fn a_limit_that_is_not_used_does_not_grow() {
    let mut gate = Gate::new(1, 64, 7);
    for at in 0..100 {
        let pass = gate.admit(secs(f64::from(at))).unwrap();
        gate.settle(pass, Outcome::Served, secs(f64::from(at)));
    }
    assert_eq!(limits(&gate), [4]);
}

#[test]
fn faults_leave_the_limit_alone() {
    let (mut gate, _) = grown();
    let passes = admit_all(&mut gate, 5.0);
    settle_all(&mut gate, passes, Outcome::Failed(None), 5.0);
    let now = gate.wakes_at(secs(5.0)).unwrap().as_secs_f64();
    let trial = admit_all(&mut gate, now);
    assert_eq!(trial.len(), 1, "a replica that failed time after time is tried with one request");
    settle_all(&mut gate, trial, Outcome::Served, now);
    assert_eq!(limits(&gate), [64]);
}

#[test]
fn refusals_of_one_round_trip_leave_what_the_server_took() {
    let (mut gate, _) = grown();
    let mut passes = admit_all(&mut gate, 5.0);
    let refused = passes.split_off(50);
    settle_all(&mut gate, refused, Outcome::Busy(None), 5.0);
    assert_eq!(limits(&gate), [50]);
    settle_all(&mut gate, passes, Outcome::Served, 5.2);
    assert_eq!(admit_all(&mut gate, 5.2).len(), 50);
}

#[test]
fn refusals_with_no_answer_between_shrink_the_limit_once_a_round_trip() {
    let (mut gate, _) = grown();
    let mut served = admit_all(&mut gate, 5.0);
    gate.settle(served.pop().unwrap(), Outcome::Busy(None), secs(5.0));
    assert_eq!(limits(&gate), [63]);
    gate.settle(served.pop().unwrap(), Outcome::Unused, secs(5.0));
    let pass = gate.admit(secs(5.0)).unwrap();
    gate.settle(pass, Outcome::Busy(None), secs(5.0));
    assert_eq!(limits(&gate), [44], "0.7 of 63");
}

#[test]
fn a_wait_that_is_asked_for_rests_that_replica_only() {
    let mut gate = Gate::new(2, 64, 7);
    let pass = gate.admit(Duration::ZERO).unwrap();
    let (busy, other) = (pass.replica, 1 - pass.replica);
    gate.settle(pass, Outcome::Busy(Some(secs(30.0))), Duration::ZERO);
    let passes = admit_all(&mut gate, 29.9);
    assert!(!passes.is_empty() && passes.iter().all(|pass| pass.replica == other));
    assert_eq!(gate.wakes_at(secs(29.9)), Some(secs(30.0)));
    assert!(admit_all(&mut gate, 30.0).iter().any(|pass| pass.replica == busy));
}

#[test]
fn requests_go_where_most_room_is_and_a_dead_replica_is_tried_now_and_then() {
    let mut gate = Gate::new(3, 64, 7);
    let passes = admit_all(&mut gate, 0.0);
    let n_at = |passes: &[Pass], at| passes.iter().filter(|pass| pass.replica == at).count();
    assert_eq!([0, 1, 2].map(|at| n_at(&passes, at)), [4, 4, 4]);
    let mut n_tries = 0;
    for pass in passes {
        let outcome = if pass.replica == 1 { Outcome::Absent } else { Outcome::Served };
        gate.settle(pass, outcome, Duration::ZERO);
    }
    for tenth in 0..600 {
        let now = f64::from(tenth) / 10.0;
        for pass in admit_all(&mut gate, now) {
            let is_dead = pass.replica == 1;
            n_tries += u32::from(is_dead);
            gate.settle(pass, if is_dead { Outcome::Absent } else { Outcome::Served }, secs(now));
        }
    }
    // Waits are below 0.5, 1, 2, 4, 8, 16, 20, 20 … s: at least seven tries in a minute, and drawn ones a few more.
    assert!((7..30).contains(&n_tries), "{n_tries}");
}

#[test]
fn all_replicas_together_stay_below_the_maximum() {
    let mut gate = Gate::new(3, 5, 7);
    assert_eq!(admit_all(&mut gate, 0.0).len(), 5);
}

#[test]
fn a_server_that_refuses_everything_is_asked_ever_less() {
    let mut gate = Gate::new(1, 64, 7);
    let n_asked = (0..60_000).map(|ms| {
        let now = f64::from(ms) / 1000.0;
        let passes = admit_all(&mut gate, now);
        let n = passes.len();
        settle_all(&mut gate, passes, Outcome::Busy(None), now);
        n
    });
    let n_asked: usize = n_asked.sum();
    assert!(n_asked < 40, "{n_asked} requests in a minute");
    assert_eq!(limits(&gate), [1]);
}
