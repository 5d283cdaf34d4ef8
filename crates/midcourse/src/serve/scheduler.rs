//! Who grows when: a queue of jobs, and one thread that runs the engine.
//!
//! Jobs are served in the order in which they come. Those at the head that are sampled alike grow in one batch,
//! which new ones join as long as they stand at the head; one that is sampled otherwise waits until the batch has
//! grown, and all behind it wait too, so that nobody starves. What a path samples depends on its prompt and seed
//! alone, not on what grows beside it.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use midcourse_core::engine::{
    BoxError, Finish, Forest, Fork, Grown, Growth, PathSpec, Sampling, Scored, TokenId, Tree, Usage,
    path_seed,
};

use super::error::ApiError;
use super::text::completes_stop;
use crate::model::EmbeddedModel;
use crate::terminal::say;

/// What is asked of the engine.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub prompts: Vec<Arc<[TokenId]>>,
    /// Paths that grow from each prompt.
    pub n: usize,
    /// Seed of the first path of every prompt.
    pub seed: u32,
    /// Without new tokens, prompts are scored only.
    pub sampling: Sampling,
    /// Texts at which a path ends.
    pub stops: Vec<String>,
    pub scoring: Option<Scoring>,
    pub delivery: Delivery,
}

/// Which tokens are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scoring {
    pub of: Scope,
    /// Likeliest tokens in the place of each.
    pub n_likeliest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All but the very first.
    Everything,
    /// Those that were sampled.
    Sampled,
}

/// Whether every token is told when it is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Stream,
}

/// What happens to a job; `path` counts over all prompts.
#[derive(Debug)]
pub(super) enum Event {
    Token { path: usize, token: TokenId },
    Ended { path: usize, ended: Ended },
    Failed(ApiError),
}

/// A path that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub tokens: Vec<TokenId>,
    pub finish: Finish,
    /// As the job asks; an end of turn is scored too.
    pub scores: Vec<Scored>,
}

/// A job under way.
struct Running {
    job: Job,
    events: Sender<Event>,
    cancelled: AtomicBool,
}

/// What is told to whoever waits for a job; a job whose ticket is dropped stops.
pub(super) struct Ticket {
    pub events: Receiver<Event>,
    running: Arc<Running>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.running.cancelled.store(true, Ordering::Relaxed);
    }
}

/// The queue.
pub(super) struct Scheduler {
    /// Jobs with the number of the next prompt.
    queue: Mutex<VecDeque<(Arc<Running>, usize)>>,
    arrived: Condvar,
    max_queue: usize,
    stopping: AtomicBool,
}

impl Scheduler {
    pub(super) fn new(max_queue: usize) -> Self {
        Self { queue: Mutex::default(), arrived: Condvar::new(), max_queue, stopping: AtomicBool::new(false) }
    }

    /// Puts a job at the end of the queue.
    pub(super) fn submit(&self, job: Job) -> Result<Ticket, ApiError> {
        let mut queue = self.lock();
        if self.stopping.load(Ordering::Relaxed) {
            return Err(stopping());
        }
        if queue.len() >= self.max_queue {
            let message = format!("{} requests wait already; try again later", queue.len());
            let header = Some(("Retry-After", "1".to_owned()));
            return Err(ApiError { header, code: Some("queue_full"), ..ApiError::new(429, message) });
        }
        let (sender, events) = channel();
        let running = Arc::new(Running { job, events: sender, cancelled: AtomicBool::new(false) });
        queue.push_back((Arc::clone(&running), 0));
        self.arrived.notify_one();
        Ok(Ticket { events, running })
    }

    /// Takes no more, and tells those who wait.
    pub(super) fn stop(&self) {
        let mut queue = self.lock();
        self.stopping.store(true, Ordering::Relaxed);
        for (running, _) in queue.drain(..) {
            let _ = running.events.send(Event::Failed(stopping()));
        }
    }

    /// Runs the engine, for ever.
    pub(super) fn run(&self, model: &EmbeddedModel) {
        loop {
            let sampling = self.next_sampling();
            let mut batch = Batch { scheduler: self, model, sampling, paths: BTreeMap::new(), n_planted: 0 };
            let grown = catch_unwind(AssertUnwindSafe(|| model.engine.grow(&sampling, &mut batch)));
            let problem = match grown {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "internal error: the engine stopped; this is a defect of midcourse".into(),
            };
            say(&format!("error: {problem}"));
            batch.fail(&ApiError::internal(problem));
        }
    }

    /// Waits for a job and says how it is sampled.
    fn next_sampling(&self) -> Sampling {
        let mut queue = self.lock();
        loop {
            if let Some((running, _)) = queue.front() {
                return running.job.sampling;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next prompt at the head of the queue, if `wanted` takes it.
    fn take(&self, wanted: impl Fn(&Job) -> bool) -> Option<(Arc<Running>, usize)> {
        let mut queue = self.lock();
        loop {
            let (running, next) = queue.front_mut()?;
            if running.cancelled.load(Ordering::Relaxed) {
                queue.pop_front();
                continue;
            }
            if !wanted(&running.job) {
                return None;
            }
            let taken = (Arc::clone(running), *next);
            *next += 1;
            if *next == taken.0.job.prompts.len() {
                queue.pop_front();
            }
            return Some(taken);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Arc<Running>, usize)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopping() -> ApiError {
    ApiError::new(503, "the server is being stopped")
}

/// What grows together.
struct Batch<'a> {
    scheduler: &'a Scheduler,
    model: &'a EmbeddedModel,
    sampling: Sampling,
    /// By the ids that the engine knows.
    paths: BTreeMap<usize, Path>,
    n_planted: usize,
}

/// A path of a job.
struct Path {
    running: Arc<Running>,
    prompt: usize,
    /// Counted over all prompts.
    number: usize,
}

impl Path {
    fn prompt(&self) -> &[TokenId] {
        &self.running.job.prompts[self.prompt]
    }

    fn tell(&self, event: Event) {
        // Who has gone needs no answer.
        let _ = self.running.events.send(event);
    }
}

impl Batch<'_> {
    /// Plants the paths of a prompt.
    fn tree(&mut self, running: &Arc<Running>, prompt: usize) -> Tree {
        let job = &running.job;
        let first = self.n_planted;
        self.n_planted += job.n;
        for path in 0..job.n {
            let number = prompt * job.n + path;
            self.paths.insert(first + path, Path { running: Arc::clone(running), prompt, number });
        }
        let paths = (0..job.n).map(|path| PathSpec { id: first + path, seed: path_seed(job.seed, path) });
        let trunk = job.prompts[prompt].to_vec();
        Tree { forks: vec![Fork { at: trunk.len(), lead: Vec::new(), paths: paths.collect() }], trunk }
    }

    fn end(&self, path: &Path, tokens: Vec<TokenId>, finish: Finish) {
        if finish == Finish::Stopped && self.stopping() {
            return path.tell(Event::Failed(stopping()));
        }
        let event = match self.scores(path, &tokens, finish) {
            Ok(scores) => Event::Ended { path: path.number, ended: Ended { tokens, finish, scores } },
            Err(error) if error.is::<midcourse_engine::Error>() => Event::Failed(ApiError::internal(error)),
            // An engine without probabilities says so.
            Err(error) => Event::Failed(ApiError::field("logprobs", error)),
        };
        path.tell(event);
    }

    fn scores(&self, path: &Path, tokens: &[TokenId], finish: Finish) -> Result<Vec<Scored>, BoxError> {
        let Some(scoring) = path.running.job.scoring else { return Ok(Vec::new()) };
        let mut all = [path.prompt(), tokens].concat();
        if finish == Finish::EndOfTurn {
            all.extend(self.likeliest_end(&all)?);
        }
        let from = match scoring.of {
            Scope::Everything => 1,
            Scope::Sampled => path.prompt().len(),
        };
        self.model.engine.score(&all, from, scoring.n_likeliest)
    }

    /// Which token ended the turn: of several, the engine tells none, and it is taken for the likeliest.
    fn likeliest_end(&self, tokens: &[TokenId]) -> Result<Option<TokenId>, BoxError> {
        let ends = &self.model.tokenizer.special().end_of_turn;
        if let [only] = ends.as_slice() {
            return Ok(Some(*only));
        }
        let next = self.model.engine.next_tokens(tokens, self.model.engine.vocab())?;
        Ok(next.into_iter().map(|(id, _)| id).find(|id| ends.contains(id)))
    }

    fn fail(&mut self, error: &ApiError) {
        for path in std::mem::take(&mut self.paths).into_values() {
            path.tell(Event::Failed(error.clone()));
        }
    }
}

impl Forest for Batch<'_> {
    fn plant(&mut self) -> Option<Tree> {
        loop {
            let alike = |job: &Job| job.sampling.max_new_tokens == 0 || job.sampling == self.sampling;
            let (running, prompt) = self.scheduler.take(alike)?;
            if running.job.sampling.max_new_tokens > 0 {
                return Some(self.tree(&running, prompt));
            }
            for path in 0..running.job.n {
                let number = prompt * running.job.n + path;
                let path = Path { running: Arc::clone(&running), prompt, number };
                self.end(&path, Vec::new(), Finish::Length);
            }
            // Paths that grow go on between two scores.
            if !self.paths.is_empty() {
                return None;
            }
        }
    }

    fn stopping(&self) -> bool {
        self.scheduler.stopping.load(Ordering::Relaxed)
    }

    fn grown_by_one(&mut self, id: usize, tokens: &[TokenId]) -> Growth {
        let Some(path) = self.paths.get(&id) else { return Growth::Stop };
        if path.running.cancelled.load(Ordering::Relaxed) || self.stopping() {
            return Growth::Stop;
        }
        let job = &path.running.job;
        if let (Delivery::Stream, Some(&token)) = (job.delivery, tokens.last()) {
            path.tell(Event::Token { path: path.number, token });
        }
        match completes_stop(self.model.tokenizer.as_ref(), (path.prompt(), tokens), &job.stops) {
            Ok(false) => Growth::Continue,
            Ok(true) => Growth::Stop,
            Err(error) => {
                path.tell(Event::Failed(ApiError::internal(error)));
                Growth::Stop
            }
        }
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> Result<(), BoxError> {
        for Grown { id, tokens, finish } in paths {
            if let Some(path) = self.paths.remove(&id) {
                self.end(&path, tokens, finish);
            }
        }
        Ok(())
    }

    fn progress(&mut self, _so_far: Usage) {}
}
