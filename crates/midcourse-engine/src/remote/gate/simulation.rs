//! The gate before a simulated server: exact, without threads or a clock.
//!
//! The server has slots. A request that finds one is served in 100 to 300 ms, evenly drawn; one that finds none is
//! refused. Either way it travels 0.5 ms there and back. The source never runs dry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;

const TRAVEL_US: u64 = 500;
const MEAN_SERVICE_SECS: f64 = 0.2;

/// What a server may do with requests.
type Slots<'a> = dyn Fn(u64) -> usize + 'a;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(usize),
    Served(usize),
    Returns(usize, bool),
    Wakes,
}

/// What came of a simulation.
struct Report {
    /// Answers in every second.
    n_served: Vec<usize>,
    /// Refusals in every second.
    n_busy: Vec<usize>,
    limit: usize,
}

impl Report {
    fn busy_share(&self) -> f64 {
        let (served, busy): (usize, usize) = (self.n_served.iter().sum(), self.n_busy.iter().sum());
        busy as f64 / (served + busy) as f64
    }

    /// Share of the best rate of `slots` in the seconds of `range`.
    fn share(&self, slots: usize, range: std::ops::Range<usize>) -> f64 {
        let n = range.len() as f64;
        let served: usize = self.n_served[range].iter().sum();
        served as f64 / n / (slots as f64 / MEAN_SERVICE_SECS)
    }

    /// The first second from which on five seconds together reach 90 % of the best rate of `slots`.
    fn arrives_at(&self, slots: usize, from: usize) -> usize {
        (from..self.n_served.len() - 5).find(|at| self.share(slots, *at..at + 5) >= 0.9).unwrap_or(usize::MAX)
    }
}

struct Simulation<'a> {
    gate: Gate,
    slots: &'a Slots<'a>,
    retry_after: Option<Duration>,
    rng: ChaCha8Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    n_events: u64,
    passes: Vec<Option<Pass>>,
    n_busy_slots: usize,
    now: u64,
}

impl Simulation<'_> {
    fn schedule(&mut self, after_us: u64, event: Event) {
        self.n_events += 1;
        self.events.push(Reverse((self.now + after_us, self.n_events, event)));
    }

    fn fill(&mut self) {
        while let Some(pass) = self.gate.admit(Duration::from_micros(self.now)) {
            self.passes.push(Some(pass));
            // Threads start requests a little out of order.
            let jitter = u64::from(self.rng.next_u32() % 300);
            self.schedule(TRAVEL_US + jitter, Event::Arrives(self.passes.len() - 1));
        }
        if let Some(at) = self.gate.wakes_at(Duration::from_micros(self.now)) {
            self.schedule(at.as_micros() as u64 - self.now, Event::Wakes);
        }
    }

    fn arrive(&mut self, id: usize) {
        if self.n_busy_slots < (self.slots)(self.now / 1_000_000) {
            self.n_busy_slots += 1;
            let service = 100_000 + u64::from(self.rng.next_u32()) * 200_000 / u64::from(u32::MAX);
            self.schedule(service, Event::Served(id));
        } else {
            self.schedule(TRAVEL_US, Event::Returns(id, false));
        }
    }

    fn run(mut self, secs: usize) -> Report {
        let mut report = Report { n_served: vec![0; secs], n_busy: vec![0; secs], limit: 0 };
        self.fill();
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            let second = (at / 1_000_000) as usize;
            if second >= secs {
                break;
            }
            match event {
                Event::Arrives(id) => self.arrive(id),
                Event::Served(id) => {
                    self.n_busy_slots -= 1;
                    self.schedule(TRAVEL_US, Event::Returns(id, true));
                }
                Event::Returns(id, served) => {
                    let outcome = if served { Outcome::Served } else { Outcome::Busy(self.retry_after) };
                    let counts = if served { &mut report.n_served } else { &mut report.n_busy };
                    counts[second] += 1;
                    let pass = self.passes[id].take().unwrap();
                    self.gate.settle(pass, outcome, Duration::from_micros(at));
                    self.fill();
                }
                Event::Wakes => self.fill(),
            }
        }
        report.limit = self.gate.limits().sum();
        report
    }
}

fn simulate(slots: &Slots<'_>, max: usize, secs: usize, seed: u64) -> Report {
    let simulation = Simulation {
        gate: Gate::new(1, max, seed),
        slots,
        retry_after: None,
        rng: ChaCha8Rng::seed_from_u64(seed),
        events: BinaryHeap::new(),
        n_events: 0,
        passes: Vec::new(),
        n_busy_slots: 0,
        now: 0,
    };
    simulation.run(secs)
}

#[test]
fn the_limit_finds_the_capacity_and_stays() {
    for (slots, max) in [(5, 64), (5, 256), (50, 64), (50, 256), (200, 256), (3, 64)] {
        for seed in 0..20 {
            let report = simulate(&|_| slots, max, 60, seed);
            let (arrived, busy) = (report.arrives_at(slots, 0), report.busy_share());
            let stays = report.share(slots, 10..60);
            if seed == 0 {
                println!(
                    "{slots} slots, max {max}: at 90 % after {arrived} s, then {stays:.3}; {busy:.4} refused"
                );
            }
            assert!(arrived <= 5, "{slots} {max} {seed}: {arrived} s");
            assert!(stays >= 0.9, "{slots} {max} {seed}: {stays:.3}");
            assert!(busy < 0.02, "{slots} {max} {seed}: {busy:.4}");
        }
    }
}

#[test]
fn the_limit_follows_a_capacity_that_changes() {
    let slots = |second| if (60..120).contains(&second) { 20 } else { 50 };
    for seed in 0..20 {
        let report = simulate(&slots, 256, 180, seed);
        let (fallen, risen) = (report.arrives_at(20, 60) - 60, report.arrives_at(50, 120) - 120);
        let busy = report.busy_share();
        if seed == 0 {
            println!("50 to 20 after {fallen} s, 20 to 50 after {risen} s; {busy:.4} refused");
        }
        assert!(fallen <= 5, "{seed}: {fallen} s");
        assert!(risen <= 15, "{seed}: {risen} s");
        assert!(report.share(20, 65..120) >= 0.9, "{seed}: {:.3}", report.share(20, 65..120));
        assert!(report.share(50, 136..180) >= 0.9, "{seed}: {:.3}", report.share(50, 136..180));
        assert!(busy < 0.02, "{seed}: {busy:.4}");
    }
}
