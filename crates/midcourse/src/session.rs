//! One session of sampling: trees to the engine, grown paths to the record files.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use midcourse_core::engine::{BoxError, Continue, Forest, Grown, Growth, TokenId, Tree, Usage};
use midcourse_core::eval::{EvalSettings, Observer, Outcome, PathKey, PlannedSample, Trial};
use midcourse_core::template::TokenizeError;

use crate::model::Model;
use crate::progress::Progress;
use crate::run_dir::RecordFile;
use crate::signals::Signals;

/// Where a session's records go.
pub(crate) struct Records {
    pub trials: RecordFile,
    /// None where nobody judges while paths grow.
    pub judgements: Option<RecordFile>,
}

/// What a session has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Cost {
    pub wall_secs: f64,
    pub n_tokens_computed: usize,
    pub n_tokens_sampled: usize,
    /// Requests that a server answered; 0 of an engine in this process.
    #[serde(default)]
    pub n_requests: usize,
    /// Tokens that a server was given, counted once a request.
    #[serde(default)]
    pub n_tokens_prompt: usize,
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            wall_secs: sum.wall_secs + cost.wall_secs,
            n_tokens_computed: sum.n_tokens_computed + cost.n_tokens_computed,
            n_tokens_sampled: sum.n_tokens_sampled + cost.n_tokens_sampled,
            n_requests: sum.n_requests + cost.n_requests,
            n_tokens_prompt: sum.n_tokens_prompt + cost.n_tokens_prompt,
        })
    }
}

/// A session under way.
pub(crate) struct Session<'a> {
    pub observer: Observer<'a>,
    pub signals: &'a Signals,
    pub records: Records,
    /// Numbers of the paths that are recorded already.
    pub done: BTreeSet<usize>,
    /// Called with the cost so far whenever records have been written.
    pub on_recorded: &'a mut dyn FnMut(Cost) -> Result<(), BoxError>,
}

impl Session<'_> {
    /// Samples every path of the plan that is not recorded yet.
    pub(crate) fn sample<E: Continue + ?Sized>(self, model: &Model<E>) -> Result<Cost> {
        let settings = self.observer.settings;
        let n_planned = n_planned(self.observer.plan, settings);
        let n_open = n_planned - self.done.len();
        let mut forest = EvalForest {
            session: self,
            next_sample: 0,
            progress: Progress::new(n_open * settings.sampling.max_new_tokens),
            started: Instant::now(),
            tokens_of_ended: 0,
            tokens_of_growing: 0,
            n_recorded: n_planned - n_open,
            n_planned,
            usage: Usage::default(),
            failure: None,
        };
        let grown = model.engine.grow(&settings.sampling, &mut forest);
        forest.progress.finish();
        if let Some(error) = forest.failure.take() {
            return Err(error.into());
        }
        forest.usage = grown.map_err(|error| into_anyhow(error, &model.identity.name))?;
        Ok(forest.cost())
    }
}

/// Paths that the plan wants grown.
fn n_planned(plan: &[PlannedSample], settings: &EvalSettings) -> usize {
    let forks = |sample: &PlannedSample| {
        (0..settings.prefix_lengths.len()).filter(|&length| sample.planned(length).is_some()).count()
    };
    plan.iter().map(forks).sum::<usize>() * settings.paths
}

/// Keeps the type of an error that an engine passed through, so that it finds its exit code; an error of the
/// engine itself names its model, and that of a server its address.
pub(crate) fn into_anyhow(error: BoxError, model: &str) -> anyhow::Error {
    match error.downcast::<midcourse_engine::Error>() {
        // These say themselves where the server is.
        Ok(error) if error.is_of_endpoint() => anyhow::Error::new(*error),
        Ok(error) => anyhow::Error::new(*error).context(model.to_owned()),
        Err(error) => match error.downcast::<crate::storage::StorageError>() {
            Ok(error) => anyhow::Error::new(*error),
            Err(error) => anyhow::Error::from_boxed(error),
        },
    }
}

struct EvalForest<'a> {
    session: Session<'a>,
    next_sample: usize,
    progress: Progress,
    started: Instant,
    /// Tokens that ended paths could have taken: the bar's share of them is done.
    tokens_of_ended: usize,
    tokens_of_growing: usize,
    n_recorded: usize,
    n_planned: usize,
    usage: Usage,
    failure: Option<TokenizeError>,
}

impl EvalForest<'_> {
    fn cost(&self) -> Cost {
        Cost {
            wall_secs: self.started.elapsed().as_secs_f64(),
            n_tokens_computed: self.usage.n_computed,
            n_tokens_sampled: self.usage.n_sampled,
            n_requests: self.usage.n_requests,
            n_tokens_prompt: self.usage.n_prompt,
        }
    }
}

impl Forest for EvalForest<'_> {
    fn plant(&mut self) -> Option<Tree> {
        let observer = &self.session.observer;
        while let Some(sample) = observer.plan.get(self.next_sample) {
            if self.stopping() {
                return None;
            }
            let index = self.next_sample;
            self.next_sample += 1;
            let wanted = |key: PathKey| !self.session.done.contains(&key.id(observer.settings));
            if let Some(tree) = sample.tree(index, observer.settings, wanted) {
                return Some(tree);
            }
        }
        None
    }

    fn stopping(&self) -> bool {
        self.failure.is_some() || self.session.signals.stopping()
    }

    fn grown_by_one(&mut self, id: usize, tokens: &[TokenId]) -> Growth {
        self.tokens_of_growing += 1;
        self.session.observer.growth(id, tokens).unwrap_or_else(|error| {
            self.failure = Some(error);
            Growth::Stop
        })
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> std::result::Result<(), BoxError> {
        let mut trials = Vec::with_capacity(paths.len());
        let mut judgements = Vec::with_capacity(paths.len());
        for path in &paths {
            let observed = self.session.observer.observe(path)?;
            trials.push(observed.trial);
            judgements.extend(observed.judgement);
            self.tokens_of_growing -= path.tokens.len();
            self.tokens_of_ended += self.session.observer.settings.sampling.max_new_tokens;
        }
        self.session.records.trials.append(&trials)?;
        if let Some(file) = self.session.records.judgements.as_mut().filter(|_| !judgements.is_empty()) {
            file.append(&judgements)?;
        }
        self.n_recorded += paths.len();
        let cost = self.cost();
        (self.session.on_recorded)(cost)
    }

    fn failed(&mut self, id: usize, reason: String) -> std::result::Result<(), BoxError> {
        let observer = &self.session.observer;
        let key = PathKey::of(id, observer.settings);
        let sample = &observer.plan[key.sample];
        let k = observer.settings.prefix_lengths[key.length];
        let outcome = Outcome::Failed { path: key.path, reason };
        let trial = Trial { set: sample.set, sample: sample.id.clone(), k, outcome };
        self.session.records.trials.append(&[trial])?;
        self.tokens_of_ended += observer.settings.sampling.max_new_tokens;
        self.n_recorded += 1;
        Ok(())
    }

    fn progress(&mut self, so_far: Usage) {
        self.usage = so_far;
        let n_tokens = self.tokens_of_ended + self.tokens_of_growing;
        self.progress.show(n_tokens, self.n_recorded, self.n_planned);
    }
}
