//! How many requests may be in flight, and to which replica the next one goes.
//!
//! A server's capacity is not known beforehand and changes. Each replica has a *limit*, found as TCP finds a path's
//! capacity: it doubles a round trip until the first refusal (429), which tells the *ceiling*; then it rests there
//! and feels upwards, one request at first, after quiet times that grow. After a refusal there is room for what is
//! still in flight; a second refusal with no answer between them means that the room has shrunk, and the limit falls
//! to 0.7 of itself. One round trip does so once: requests admitted before the limit fell are no reason to go on.
//!
//! Faults (5xx, timeouts, resets) say nothing of capacity and leave the limit alone. A replica that cannot be
//! reached, or fails time after time, is left alone for a while and then tried with one request.
//!
//! No clock and no generator of its own: time is passed in, waits are drawn by the caller's [`Backoff`].
//!
//! # Source
//! Slow start and its epochs: Jacobson 1988, RFC 5681; growth that slows towards the last ceiling and speeds up
//! beyond it: Ha, Rhee and Xu 2008 (CUBIC).

use std::time::Duration;

use super::backoff::Backoff;

/// Where the limit of a replica begins.
const FIRST_LIMIT: f64 = 4.0;
/// What is left of a limit whose refusals go on.
const SHRINK: f64 = 0.7;
/// The first quiet time at the ceiling before one more is tried; it doubles up to [`LONGEST_QUIET`].
const FIRST_QUIET: Duration = Duration::from_secs(2);
const LONGEST_QUIET: Duration = Duration::from_secs(10);
/// Faults in a row that make a replica rest although it can be reached: by chance alone, hardly ever.
const N_FAULTS: u32 = 8;

/// The limit of requests in flight over all replicas.
#[derive(Debug)]
pub struct Gate {
    replicas: Vec<Replica>,
    /// Of all replicas together.
    max: usize,
    backoff: Backoff,
}

/// The right to send one request; it has to be given back with [`Gate::settle`].
#[derive(Debug)]
#[must_use]
pub struct Pass {
    /// Index of the replica that the request goes to.
    pub replica: usize,
    /// In flight there when it was admitted, itself included.
    n_open: usize,
    epoch: u64,
}

/// How a request ended, as far as the gate is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server served it, whatever it answered.
    Served,
    /// The server has more to do than it takes, and asks to be left alone for that long.
    Busy(Option<Duration>),
    /// The server could not serve it, and asks to be left alone for that long.
    Failed(Option<Duration>),
    /// There is no server.
    Absent,
    /// The request was not sent.
    Unused,
}

#[derive(Debug)]
struct Replica {
    limit: f64,
    /// The limit to grow to without fear; none before the first refusal.
    ceiling: Option<f64>,
    n_open: usize,
    /// Rises when the limit falls or the replica rests: what was admitted before tells nothing new.
    epoch: u64,
    /// Falls of the limit since the last answer.
    n_falls: u32,
    /// Whether nothing was answered since the limit fell: refusals of that round trip still tell of the room.
    is_round: bool,
    /// Faults since the last answer, those of one epoch in part.
    n_faults: u32,
    /// Rests since the last answer.
    n_rests: u32,
    /// Not used before.
    rests_until: Duration,
    /// How far the ceiling is raised next: 1 at first, doubled while nothing is refused.
    step: usize,
    quiet: Duration,
    /// When the ceiling may be raised.
    raise_at: Duration,
    /// Answers at full use since the ceiling was raised.
    n_full: usize,
}

impl Gate {
    /// A gate before `n_replicas` replicas that lets at most `max` requests through at once, both at least 1.
    pub fn new(n_replicas: usize, max: usize, seed: u64) -> Self {
        let max = max.max(1);
        let replicas = (0..n_replicas.max(1)).map(|_| Replica::new(max)).collect();
        Self { replicas, max, backoff: Backoff::new(seed) }
    }

    /// Lets a request through to the replica with most room for its size; none if there is no room now.
    pub fn admit(&mut self, now: Duration) -> Option<Pass> {
        if self.n_open() >= self.max {
            return None;
        }
        let rooms = self.replicas.iter().map(|replica| replica.room(now)).enumerate();
        // Of equals the larger one, and the first of those: what a lone request shares with the last one is known
        // there. A replica that is tried after a rest is empty, so it is not forgotten.
        let share = |at: usize, room: usize| room as f64 / self.replicas[at].capacity() as f64;
        let (at, _) = rooms.filter(|(_, room)| *room > 0).max_by(|(a, room_a), (b, room_b)| {
            share(*a, *room_a).total_cmp(&share(*b, *room_b)).then(room_a.cmp(room_b)).then(b.cmp(a))
        })?;
        let replica = &mut self.replicas[at];
        replica.n_open += 1;
        Some(Pass { replica: at, n_open: replica.n_open, epoch: replica.epoch })
    }

    #[expect(clippy::needless_pass_by_value, reason = "a pass is given back once")]
    /// Takes back a pass, with how its request ended.
    pub fn settle(&mut self, pass: Pass, outcome: Outcome, now: Duration) {
        let replica = &mut self.replicas[pass.replica];
        replica.n_open -= 1;
        let is_news = pass.epoch == replica.epoch;
        match outcome {
            Outcome::Unused => {}
            Outcome::Served => replica.served(&pass, now, self.max as f64),
            Outcome::Busy(asked) => {
                if is_news {
                    replica.fall(&pass, now);
                } else if replica.is_round {
                    // Of the same round trip: what is left in flight is what the server took.
                    replica.lower(replica.n_open as f64);
                }
                if is_news && replica.limit < 2.0 && replica.n_falls > 1 {
                    replica.rest(now + self.backoff.after(replica.n_falls - 1));
                }
                replica.rest(now.saturating_add(asked.unwrap_or_default()));
            }
            Outcome::Failed(_) | Outcome::Absent => {
                let asked = if let Outcome::Failed(asked) = outcome { asked } else { None };
                replica.n_faults += 1;
                if is_news && (outcome == Outcome::Absent || replica.n_faults >= N_FAULTS) {
                    replica.n_rests += 1;
                    replica.epoch += 1;
                    replica.rest(now + self.backoff.after(replica.n_rests));
                }
                replica.rest(now.saturating_add(asked.unwrap_or_default()));
            }
        }
    }

    /// When a replica that rests now can be used again: the earliest one.
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        self.replicas.iter().map(|replica| replica.rests_until).filter(|until| *until > now).min()
    }

    /// Requests in flight.
    pub fn n_open(&self) -> usize {
        self.replicas.iter().map(|replica| replica.n_open).sum()
    }

    /// The most that may be in flight.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Requests that each replica may hold now.
    pub fn limits(&self) -> impl Iterator<Item = usize> {
        self.replicas.iter().map(Replica::capacity)
    }
}

impl Replica {
    fn new(max: usize) -> Self {
        Self {
            limit: FIRST_LIMIT.min(max as f64),
            ceiling: None,
            n_open: 0,
            epoch: 0,
            n_falls: 0,
            is_round: false,
            n_faults: 0,
            n_rests: 0,
            rests_until: Duration::ZERO,
            step: 1,
            quiet: FIRST_QUIET,
            raise_at: Duration::ZERO,
            n_full: 0,
        }
    }

    /// Whole requests that may be in flight; one when the replica has rested and not answered since.
    fn capacity(&self) -> usize {
        if self.n_rests > 0 { 1 } else { self.limit as usize }
    }

    fn room(&self, now: Duration) -> usize {
        if now < self.rests_until { 0 } else { self.capacity().saturating_sub(self.n_open) }
    }

    fn rest(&mut self, until: Duration) {
        self.rests_until = self.rests_until.max(until);
    }

    /// An answer: the limit grows, if it was in use.
    fn served(&mut self, pass: &Pass, now: Duration, max: f64) {
        (self.n_faults, self.n_rests, self.is_round) = (0, 0, false);
        if pass.epoch != self.epoch || (pass.n_open as f64) < self.limit / 2.0 {
            return;
        }
        self.n_falls = 0;
        let Some(ceiling) = self.ceiling else {
            self.limit = (self.limit + 1.0).min(max);
            return;
        };
        if self.limit < ceiling {
            // A quarter of what is missing, and at least 1, in a round trip.
            let growth = ((ceiling - self.limit) / 4.0).max(1.0);
            self.limit = (self.limit + growth / self.limit).min(ceiling);
            return;
        }
        self.n_full += usize::from(pass.n_open >= self.capacity());
        if ceiling < max && now >= self.raise_at && self.n_full >= self.capacity() {
            // Nothing was refused for a round trip at the ceiling: it is higher.
            self.ceiling = Some((ceiling + self.step as f64).min(max));
            self.limit = (self.limit + self.step as f64).min(max);
            (self.step, self.n_full) = (self.step * 2, 0);
        }
    }

    /// Lowers limit and ceiling to what the server has room for.
    fn lower(&mut self, room: f64) {
        self.limit = self.limit.floor().min(room).max(1.0);
        self.ceiling = Some(self.limit);
    }

    /// A refusal: the limit falls.
    fn fall(&mut self, pass: &Pass, now: Duration) {
        self.epoch += 1;
        self.n_falls += 1;
        self.is_round = self.n_falls == 1;
        if self.is_round {
            // There is room for those before it, and for what is in flight still: requests overtake each other.
            self.lower(self.n_open.max(pass.n_open - 1) as f64);
        } else {
            // Refused again with no answer between: there is much less room.
            self.ceiling = Some(self.limit);
            self.limit = (self.limit * SHRINK).floor().max(1.0);
        }
        // A quiet time is doubled when it ended in a ceiling that could not be raised even once.
        self.quiet = if self.step == 2 { (self.quiet * 2).min(LONGEST_QUIET) } else { FIRST_QUIET };
        self.raise_at = now + self.quiet;
        (self.step, self.n_full) = (1, 0);
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
