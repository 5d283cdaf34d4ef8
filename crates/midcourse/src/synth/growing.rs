//! One window of drafts at the engine: trees out, grown paths in, each recorded before it counts.

use std::time::Instant;

use midcourse_core::engine::{BoxError, Forest, Grown, Growth, TokenId, Tree, Usage};
use midcourse_core::synth::{Draft, Planner};

use crate::progress::Progress;
use crate::run_dir::RecordFile;
use crate::session::Cost;
use crate::signals::Signals;

/// How far a session is, and what it has cost.
pub(super) struct Session<'a> {
    pub signals: &'a Signals,
    pub progress: Progress,
    /// Paths that the samples of the session can take at most, and those that have ended or will not be needed.
    pub n_paths: usize,
    pub n_ended: usize,
    usage: Usage,
    started: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(signals: &'a Signals, n_paths: usize, max_new_tokens: usize) -> Self {
        Self {
            signals,
            progress: Progress::new(n_paths * max_new_tokens),
            n_paths,
            n_ended: 0,
            usage: Usage::default(),
            started: Instant::now(),
        }
    }

    pub(super) fn add(&mut self, usage: Usage) {
        self.usage += usage;
    }

    pub(super) fn cost(&self) -> Cost {
        Cost {
            wall_secs: self.started.elapsed().as_secs_f64(),
            n_tokens_computed: self.usage.n_computed,
            n_tokens_sampled: self.usage.n_sampled,
            n_requests: self.usage.n_requests,
            n_tokens_prompt: self.usage.n_prompt,
        }
    }
}

/// The drafts of a window as trees.
pub(super) struct Window<'a, 'b> {
    pub planner: Planner<'a>,
    pub drafts: &'b mut [Draft],
    pub records: &'b mut RecordFile,
    pub session: &'b mut Session<'a>,
    /// The draft that is planted next.
    pub next: usize,
    pub tokens_of_growing: usize,
}

impl Window<'_, '_> {
    /// Records what became of a path, and lets its draft know.
    fn take(&mut self, ended: Vec<(usize, Result<&Grown, String>)>) -> Result<(), BoxError> {
        let n_ids = Draft::n_ids(self.planner.settings);
        let record = |(id, ended): (usize, Result<&Grown, String>)| {
            self.drafts[id / n_ids]
                .record(&self.planner, id % n_ids, ended)
                .map(|record| (id / n_ids, record))
        };
        let n_ended = ended.len();
        let records = ended.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
        self.records.append(&records.iter().map(|(_, record)| record).collect::<Vec<_>>())?;
        for (draft, record) in records {
            self.drafts[draft].take(self.planner.settings, record);
        }
        self.session.n_ended += n_ended;
        Ok(())
    }
}

impl Forest for Window<'_, '_> {
    fn plant(&mut self) -> Option<Tree> {
        while self.next < self.drafts.len() && !self.stopping() {
            let first_id = self.next * Draft::n_ids(self.planner.settings);
            let tree = self.drafts[self.next].tree(self.planner.settings, first_id);
            self.next += 1;
            if tree.is_some() {
                return tree;
            }
        }
        None
    }

    fn stopping(&self) -> bool {
        self.session.signals.stopping()
    }

    fn grown_by_one(&mut self, _id: usize, _tokens: &[TokenId]) -> Growth {
        self.tokens_of_growing += 1;
        Growth::Continue
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> Result<(), BoxError> {
        self.tokens_of_growing -= paths.iter().map(|path| path.tokens.len()).sum::<usize>();
        self.take(paths.iter().map(|path| (path.id, Ok(path))).collect())
    }

    fn failed(&mut self, id: usize, reason: String) -> Result<(), BoxError> {
        self.take(vec![(id, Err(reason))])
    }

    fn progress(&mut self, _so_far: Usage) {
        let session = &self.session;
        let most = self.planner.settings.sampling.max_new_tokens;
        let n_tokens = session.n_ended * most + self.tokens_of_growing;
        session.progress.show(n_tokens, session.n_ended, session.n_paths);
    }
}
