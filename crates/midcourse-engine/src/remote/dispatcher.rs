//! Many requests at once, each answered or given up once.
//!
//! Requests are pulled as there is room, so that no more than the gate's maximum are in memory. Threads make the
//! blocking exchanges; everything else, the caller's methods included, happens on the caller's thread, in the order
//! in which requests end.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use midcourse_core::engine::BoxError;

use super::address::Address;
use super::backoff::Backoff;
use super::client::{Client, Reply, Request};
use super::fault::{Deadline, Fault, Remedy};
use super::gate::{Gate, Outcome, Pass};
use crate::Error;

/// Time after which it is looked again whether the run should stop.
const GLANCE: Duration = Duration::from_millis(100);
/// A wait that is told to the source, and is too long for probing.
const LONG: Duration = Duration::from_secs(5);
/// Requests given up in a row, with none answered between them, that end a run.
const N_GIVEN_UP: usize = 3;

/// Where requests come from and where answers go.
pub trait Source {
    /// What the caller wants back with the answer.
    type Job: Send;
    /// What is read of a reply.
    type Answer: Send;

    /// The next request, or none for now: it is asked again after every answer.
    fn next(&mut self) -> Option<(Self::Job, Request)>;

    /// Whether no more should be sent.
    fn stopping(&self) -> bool;

    /// Takes a job back, once: with its answer, with the fault for which it was given up, or with
    /// [`Fault::Stopped`] when the run ends without an answer. An error ends the run.
    fn done(&mut self, job: Self::Job, answer: Result<Self::Answer, Fault>) -> Result<(), BoxError>;

    /// Called at the first fault after an answer, for displays: what comes now may take longer. A refusal for being
    /// too many is told only when the server asks to wait for 5 s or more.
    fn trouble(&mut self, _at: &Address, _fault: &Fault) {}
}

/// When to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Times that a request is sent to a server that fails with it: 6. Those that found no server, or one that
    /// answers nobody (502, 503), do not count.
    pub n_tries: u32,
    /// Time without any answer, from the first fault on, that ends the run: 120 s, so that a server may be
    /// started anew.
    pub without_answer: Duration,
    /// The same before anything has come from any server: 5 s.
    pub at_start: Duration,
    /// A longer wait that a server asks for ends the run: 120 s.
    pub longest_wait: Duration,
    /// What requests in flight have to end in when the run stops: 2 s.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            n_tries: 6,
            without_answer: secs(120),
            at_start: secs(5),
            longest_wait: secs(120),
            grace: secs(2),
        }
    }
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were answered.
    pub n_answered: usize,
    /// Requests that were given up.
    pub n_given_up: usize,
    /// Exchanges that ended in a fault and were tried again, those refused for being too many aside.
    pub n_retried: usize,
    /// Exchanges that were refused for being too many (429).
    pub n_busy: usize,
}

/// Sends requests to the replicas of a server.
#[derive(Debug)]
pub struct Dispatcher {
    clients: Vec<Client>,
    max_open: usize,
    patience: Patience,
    seed: u64,
    /// The environment variable of the key, for hints.
    key: Option<&'static str>,
}

impl Dispatcher {
    /// A dispatcher over replicas, at least one, with at most `max_open` requests in flight. `seed` draws waits.
    pub fn new(clients: Vec<Client>, max_open: usize, patience: Patience, seed: u64) -> Self {
        Self { clients, max_open, patience, seed, key: None }
    }

    /// The same; when the key is refused, its environment variable is named.
    #[must_use]
    pub fn with_key(self, variable: &'static str) -> Self {
        Self { key: Some(variable), ..self }
    }

    /// The replicas.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Asks one replica once, for probing: a few tries, and refusals come back as replies.
    ///
    /// # Errors
    /// The last fault; at once where the server asks to wait for longer than 5 s.
    pub fn ask(&self, replica: usize, request: &Request) -> Result<Reply, Fault> {
        const N_TRIES: u32 = 3;
        let mut backoff = Backoff::new(self.seed);
        let mut n = 1;
        loop {
            let fault = match self.clients[replica].send(request) {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            let wait = fault.retry_after().unwrap_or(backoff.after(n));
            if n == N_TRIES || fault.remedy() == Remedy::Hopeless || wait > LONG {
                return Err(fault);
            }
            thread::sleep(wait);
            n += 1;
        }
    }

    /// Sends every request of `source`; ends when none is open and none comes.
    ///
    /// `read` makes an answer of a reply, on the thread that received it. A fault that it returns is treated as one
    /// of the exchange.
    ///
    /// # Errors
    /// What the source returned, or [`Error::Endpoint`] when the server does not serve any more.
    pub fn run<S: Source>(
        &self,
        source: &mut S,
        read: impl Fn(&S::Job, &Reply) -> Result<S::Answer, Fault> + Sync,
    ) -> Result<Tally, BoxError> {
        let (queue, work) = channel();
        let (results, ended) = channel();
        let (work, read) = (&Mutex::new(work), &read);
        thread::scope(|scope| {
            let spawn = || {
                let results = results.clone();
                let serve = move || serve(&self.clients, work, &results, read);
                thread::Builder::new().name("exchange".into()).spawn_scoped(scope, serve).map(|_| ())
            };
            spawn()?;
            Run::new(self, source, Workers { queue, n: 1, spawn: &spawn }).until_done(&ended)
        })
    }

    /// The error of a fault that ends a run.
    pub fn error(&self, replica: usize, fault: &Fault) -> Error {
        let asked = fault.retry_after().map(|asked| format!("; it asks to wait {} s", asked.as_secs()));
        Error::Endpoint {
            problem: format!("{}: {fault}{}", self.clients[replica].address(), asked.unwrap_or_default()),
            hint: match (fault, self.key) {
                (Fault::Refused { status: 401 | 403, .. }, Some(key)) => format!("check the key in {key}"),
                _ => fault.hint().into(),
            },
        }
    }
}

/// A request that has not been answered.
struct Open<J> {
    job: J,
    request: Request,
    /// Tries that failed for what may pass, and those of them that speak against the request.
    n_later: u32,
    n_failed: u32,
    /// Tries that failed for what will hardly pass.
    n_doubtful: u32,
    /// Answers to all requests when it was first sent, or failed last for what may pass.
    n_answered: usize,
}

/// What a worker gets.
struct Work<J> {
    open: Open<J>,
    pass: Pass,
}

/// What a worker gives back.
struct Ended<J, A> {
    work: Work<J>,
    answer: thread::Result<Result<A, Fault>>,
}

/// A worker: exchanges until no more work comes.
fn serve<J, A>(
    clients: &[Client],
    work: &Mutex<Receiver<Work<J>>>,
    results: &Sender<Ended<J, A>>,
    read: &(impl Fn(&J, &Reply) -> Result<A, Fault> + Sync),
) {
    loop {
        let Ok(work) = work.lock().unwrap_or_else(PoisonError::into_inner).recv() else { return };
        let exchange = || {
            let reply = clients[work.pass.replica].send(&work.open.request)?;
            read(&work.open.job, &reply)
        };
        // A defect in reading is not to leave the caller waiting.
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(exchange));
        if results.send(Ended { work, answer }).is_err() {
            return;
        }
    }
}

/// Threads, as many as requests have been in flight at once.
struct Workers<'a, J> {
    queue: Sender<Work<J>>,
    n: usize,
    spawn: &'a dyn Fn() -> std::io::Result<()>,
}

impl<J> Workers<'_, J> {
    /// Hands over work when `n_open` requests are in flight with it. Where the system gives no more threads, the
    /// work waits for one.
    fn take(&mut self, work: Work<J>, n_open: usize) {
        if self.n < n_open && (self.spawn)().is_ok() {
            self.n += 1;
        }
        // Workers take work for as long as this end is there, so it is not lost.
        let _ = self.queue.send(work);
    }
}

/// One call of [`Dispatcher::run`]. Times count from its beginning.
struct Run<'a, S: Source> {
    dispatcher: &'a Dispatcher,
    source: &'a mut S,
    workers: Workers<'a, S::Job>,
    gate: Gate,
    backoff: Backoff,
    began: Instant,
    /// Requests that are to be sent again, and when.
    waiting: Vec<(Duration, Open<S::Job>)>,
    /// Whether the source had no request the last time, and has got no answer since.
    is_dry: bool,
    /// The first fault since the last answer, later by what servers asked to wait.
    trouble: Option<Duration>,
    /// Whether the source was told of it.
    is_told: bool,
    n_given_up_in_row: usize,
    tally: Tally,
    end: Option<End>,
}

/// Why nothing more is sent.
struct End {
    /// What the run ends with; none if it was stopped.
    error: Option<BoxError>,
    /// Until when requests in flight may end.
    grace: Duration,
    /// Whether the source takes jobs back.
    takes: bool,
}

impl<'a, S: Source> Run<'a, S> {
    fn new(dispatcher: &'a Dispatcher, source: &'a mut S, workers: Workers<'a, S::Job>) -> Self {
        Self {
            dispatcher,
            source,
            workers,
            gate: Gate::new(dispatcher.clients.len(), dispatcher.max_open, dispatcher.seed),
            backoff: Backoff::new(!dispatcher.seed),
            began: Instant::now(),
            waiting: Vec::new(),
            is_dry: false,
            trouble: None,
            is_told: false,
            n_given_up_in_row: 0,
            tally: Tally::default(),
            end: None,
        }
    }

    fn until_done(mut self, ended: &Receiver<Ended<S::Job, S::Answer>>) -> Result<Tally, BoxError> {
        loop {
            if self.end.is_none() && self.source.stopping() {
                self.finish(None);
            }
            if self.end.is_none() {
                self.fill();
            }
            let is_over = self.end.is_some() || (self.is_dry && self.waiting.is_empty());
            if is_over && self.gate.n_open() == 0 {
                break;
            }
            match ended.recv_timeout(self.pause()) {
                Ok(ended) => self.settle(ended),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if self.end.as_ref().is_some_and(|end| self.now() >= end.grace) {
                self.close();
            }
        }
        match self.end.and_then(|end| end.error) {
            Some(error) => Err(error),
            None => Ok(self.tally),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Until the next time that something is to be done, if no request ends before.
    fn pause(&self) -> Duration {
        let now = self.now();
        let due = self.waiting.iter().map(|(due, _)| *due).filter(|due| *due > now).min();
        let grace = self.end.as_ref().map(|end| end.grace).filter(|grace| *grace > now);
        let times = [due, self.gate.wakes_at(now), grace];
        times.into_iter().flatten().map(|time| time.saturating_sub(now)).fold(GLANCE, Duration::min)
    }

    /// Sends requests for as long as there is room: those that failed before first.
    fn fill(&mut self) {
        while let Some(pass) = self.gate.admit(self.now()) {
            let Some(open) = self.due().or_else(|| self.pull()) else {
                self.gate.settle(pass, Outcome::Unused, self.now());
                return;
            };
            self.workers.take(Work { open, pass }, self.gate.n_open());
        }
    }

    /// The request that has waited longest for its next try.
    fn due(&mut self) -> Option<Open<S::Job>> {
        let now = self.now();
        let due = self.waiting.iter().enumerate().filter(|(_, (due, _))| *due <= now);
        let (at, _) = due.min_by_key(|(_, (due, _))| *due)?;
        Some(self.waiting.swap_remove(at).1)
    }

    /// A new request, unless as many are open as may be in flight.
    fn pull(&mut self) -> Option<Open<S::Job>> {
        if self.is_dry || self.waiting.len() + self.gate.n_open() > self.gate.max() {
            return None;
        }
        let next = self.source.next();
        self.is_dry = next.is_none();
        next.map(|(job, request)| Open {
            job,
            request,
            n_later: 0,
            n_failed: 0,
            n_doubtful: 0,
            n_answered: self.tally.n_answered,
        })
    }
}

/// When requests end.
impl<S: Source> Run<'_, S> {
    fn settle(&mut self, ended: Ended<S::Job, S::Answer>) {
        let Work { open, pass } = ended.work;
        let answer = ended.answer.unwrap_or_else(|panic| {
            self.close();
            std::panic::resume_unwind(panic)
        });
        let (replica, now) = (pass.replica, self.now());
        self.gate.settle(pass, answer.as_ref().map_or_else(outcome, |_| Outcome::Served), now);
        match answer {
            Ok(answer) => {
                (self.trouble, self.is_told, self.n_given_up_in_row) = (None, false, 0);
                self.tally.n_answered += 1;
                self.give(open.job, Ok(answer));
            }
            Err(fault) if self.end.is_some() => {
                let says_nothing = fault.remedy() != Remedy::Hopeless || fault.is_of_endpoint();
                self.give(open.job, Err(if says_nothing { Fault::Stopped } else { fault }));
            }
            Err(fault) => self.failed(replica, open, fault),
        }
    }

    /// A request failed: it is tried again, given up, or ends the run.
    fn failed(&mut self, replica: usize, mut open: Open<S::Job>, fault: Fault) {
        let (now, patience) = (self.now(), &self.dispatcher.patience);
        let is_moment =
            fault.remedy() == Remedy::Slower && fault.retry_after().is_none_or(|asked| asked < LONG);
        if !is_moment && !std::mem::replace(&mut self.is_told, true) {
            self.source.trouble(self.dispatcher.clients[replica].address(), &fault);
        }
        let trouble = *self.trouble.get_or_insert(now);
        if let Some(asked) = fault.retry_after() {
            self.trouble = Some(trouble.max(now.saturating_add(asked.min(patience.longest_wait))));
        }
        let has_begun = self.dispatcher.clients.iter().any(Client::has_answered);
        let allowed = if has_begun { patience.without_answer } else { patience.at_start };
        let is_too_long = fault.retry_after().is_some_and(|asked| asked > patience.longest_wait);
        if is_too_long || now.saturating_sub(trouble) > allowed {
            return self.end_by(replica, open.job, &fault);
        }
        let wait = self.wait(&mut open, &fault);
        match wait {
            Some(wait) => {
                let is_busy = fault.remedy() == Remedy::Slower;
                *(if is_busy { &mut self.tally.n_busy } else { &mut self.tally.n_retried }) += 1;
                self.waiting.push((now + wait, open));
            }
            None if fault.is_of_endpoint() => self.end_by(replica, open.job, &fault),
            None => self.give_up(replica, open.job, fault),
        }
    }

    /// How long a request waits for its next try; none when it has had enough.
    fn wait(&mut self, open: &mut Open<S::Job>, fault: &Fault) -> Option<Duration> {
        match (fault.remedy(), fault) {
            // It was not served, so the gate decides: there is no room, or a replica rests and others do not.
            (Remedy::Slower, _) | (_, Fault::Unreachable { .. } | Fault::Late(Deadline::Connect)) => {
                Some(Duration::ZERO)
            }
            (Remedy::Later, _) => {
                let is_out = fault.is_absence() && !self.answers_others(open);
                open.n_later += 1;
                open.n_failed += u32::from(!is_out);
                open.n_answered = self.tally.n_answered;
                let goes_on = open.n_failed < self.dispatcher.patience.n_tries;
                goes_on.then(|| self.backoff.after(open.n_later))
            }
            (Remedy::Doubtful { n_tries }, _) => {
                open.n_doubtful += 1;
                (open.n_doubtful < n_tries).then(|| self.backoff.after(open.n_doubtful))
            }
            (Remedy::Hopeless, _) => None,
        }
    }

    /// Whether other requests were answered while this one failed.
    fn answers_others(&self, open: &Open<S::Job>) -> bool {
        self.tally.n_answered > open.n_answered
    }

    /// Gives a request back for good; several in a row end the run, unless each was refused for itself.
    fn give_up(&mut self, replica: usize, job: S::Job, fault: Fault) {
        self.tally.n_given_up += 1;
        self.n_given_up_in_row += usize::from(fault.remedy() != Remedy::Hopeless);
        let is_enough = self.n_given_up_in_row >= N_GIVEN_UP;
        let error = is_enough.then(|| self.dispatcher.error(replica, &fault));
        self.give(job, Err(fault));
        if let Some(error) = error {
            self.finish(Some(error.into()));
        }
    }

    /// Ends the run by a fault that says nothing of the request that met it.
    fn end_by(&mut self, replica: usize, job: S::Job, fault: &Fault) {
        let error = self.dispatcher.error(replica, fault);
        self.finish(Some(error.into()));
        self.give(job, Err(Fault::Stopped));
    }

    fn give(&mut self, job: S::Job, answer: Result<S::Answer, Fault>) {
        self.is_dry = false;
        if self.end.as_ref().is_some_and(|end| !end.takes) {
            return;
        }
        if let Err(error) = self.source.done(job, answer) {
            // A source that failed is not told more; what it did not take is not recorded.
            self.end = Some(End { error: Some(error), grace: self.now(), takes: false });
            self.waiting.clear();
        }
    }

    /// Sends no more; what waits goes back.
    fn finish(&mut self, error: Option<BoxError>) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(End { error, grace: self.now() + self.dispatcher.patience.grace, takes: true });
        for (_, open) in std::mem::take(&mut self.waiting) {
            self.give(open.job, Err(Fault::Stopped));
        }
    }

    /// Ends requests in flight.
    fn close(&self) {
        self.dispatcher.clients.iter().for_each(Client::close);
    }
}

/// What a fault says of the server's capacity. One that sends garbage serves as many as it takes.
fn outcome(fault: &Fault) -> Outcome {
    match (fault.remedy(), fault) {
        (Remedy::Slower, _) => Outcome::Busy(fault.retry_after()),
        (_, Fault::Unreachable { .. } | Fault::Late(Deadline::Connect)) => Outcome::Absent,
        (Remedy::Later, _) => Outcome::Failed(fault.retry_after()),
        _ => Outcome::Served,
    }
}
