//! `--dry-run`: what a run would ask for, and what it would cost at most. Nothing is sampled and no server asked.

use midcourse_core::eval::{EvalSettings, PlannedFork, PlannedSample, Prefixes};
use midcourse_core::judge::interview::AtMost;
use midcourse_core::judge::{Case, Ending};
use serde::Serialize;

use crate::endpoint::Prices;
use crate::judges::KnownJudge;
use crate::pages::whole_characters;

/// Bytes of a token, where no tokenizer is at hand to count; of English text with usual vocabularies.
pub(crate) const BYTES_PER_TOKEN: usize = 4;

/// The last line.
pub(crate) const NOTHING_ASKED: &str = "nothing was sampled and no server was asked";

/// Counts of a run that has not begun.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DryRun {
    pub n_samples: usize,
    /// Prefixes from which paths grow.
    pub n_prefixes: usize,
    pub n_paths: usize,
    /// Prefixes that are longer than their response.
    pub n_skipped: usize,
    /// Prefixes that the model cannot be given.
    pub n_failed: usize,
    /// Where an endpoint is asked.
    pub requests: Option<Requests>,
    /// Tokens that are given: of an endpoint once a request, else once a sample.
    pub n_tokens_given: usize,
    /// Whether they are estimated from bytes, because no tokenizer is at hand.
    pub estimated: bool,
    /// Tokens that are sampled, at most.
    pub n_tokens_sampled_at_most: usize,
    /// What both cost, at most.
    pub cost_at_most: Option<f64>,
    /// Where a model judges.
    pub judging: Option<Judging>,
}

/// What judging would ask for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Judging {
    pub judge: String,
    /// Cases to be judged.
    pub n_judgements: usize,
    /// Those of them that were judged before; null where the texts are not there yet.
    pub n_known: Option<usize>,
    /// Where a server is asked: every answer may be asked about once more.
    pub n_requests_at_most: Option<usize>,
    /// Tokens that the server is given at most, estimated from bytes.
    pub n_tokens_given_at_most: Option<usize>,
    /// Tokens that it samples at most.
    pub n_tokens_sampled_at_most: Option<usize>,
    /// What both cost, at most.
    pub cost_at_most: Option<f64>,
}

impl Judging {
    /// What is foretold of so many cases and those known; of a judge behind a server with the most it can take.
    pub(crate) fn new(
        judge: String,
        (n_judgements, n_known): (usize, Option<usize>),
        at_most: Option<(AtMost, Option<Prices>)>,
    ) -> Self {
        let given = |most: AtMost| most.n_bytes_given.div_ceil(BYTES_PER_TOKEN);
        let cost = |(most, prices): (AtMost, Option<Prices>)| Some(prices?.cost(given(most), most.n_sampled));
        let most = at_most.map(|(most, _)| most);
        Self {
            judge,
            n_judgements,
            n_known,
            n_requests_at_most: most.map(|most| most.n_questions),
            n_tokens_given_at_most: most.map(given),
            n_tokens_sampled_at_most: most.map(|most| most.n_sampled),
            cost_at_most: at_most.and_then(cost),
        }
    }

    /// What judging the paths of a plan would ask for; none of judges of text. Continuations that are not there yet
    /// are taken to be as long as they may get.
    pub(crate) fn of(judge: &KnownJudge, planned: &[PlannedSample], settings: &EvalSettings) -> Option<Self> {
        if !judge.is_model() {
            return None;
        }
        let continuation = "x".repeat(settings.sampling.max_new_tokens * BYTES_PER_TOKEN);
        let forks = planned.iter().flat_map(|sample| sample.forks.iter().map(move |fork| (sample, &fork.1)));
        let cases = forks.filter_map(|(sample, prefixes)| {
            let Prefixes::Planned(fork) = prefixes else { return None };
            let prefix = whole_characters(&sample.response, fork.prefix_bytes);
            Some(Case { prompt: &sample.prompt, prefix, continuation: &continuation, ending: Ending::Ended })
        });
        let cases: Vec<Case> = cases.collect();
        let at_most = judge.at_server().map(|(prompt, prices)| {
            let of = |case: &Case| AtMost::of(prompt, case).times(settings.paths);
            (cases.iter().map(of).fold(AtMost::default(), |a, b| a + b), prices)
        });
        let n_judgements = cases.len() * settings.paths;
        Some(Self::new(judge.identity.id.clone(), (n_judgements, None), at_most))
    }

    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("judgements      {} by {}", self.n_judgements, self.judge)];
        lines.extend(self.n_known.map(|n| format!("                {n} of them are known already")));
        lines.extend(self.n_requests_at_most.map(|n| {
            format!("requests        at most {n}, with one more for every answer that is not understood")
        }));
        lines.extend(self.n_tokens_given_at_most.map(|n| format!("tokens given    at most about {n}")));
        lines.extend(self.n_tokens_sampled_at_most.map(|n| format!("tokens sampled  at most {n}")));
        lines.extend(self.cost_at_most.map(|cost| format!("cost            at most about {cost:.4}")));
        lines.join("\n")
    }
}

/// Requests to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Requests {
    /// Where the server takes several paths in one.
    pub least: usize,
    /// Where it takes one at a time.
    pub most: usize,
}

/// Whether an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    Here,
    AtEndpoint,
}

impl DryRun {
    /// Counts a plan; `counts_tokens` is false where bytes stand for tokens.
    pub(crate) fn of(
        planned: &[PlannedSample],
        settings: &EvalSettings,
        asked: Where,
        counts_tokens: bool,
        prices: Option<Prices>,
    ) -> Self {
        let prefixes =
            || planned.iter().flat_map(|sample| sample.forks.iter().map(move |fork| (sample, &fork.1)));
        let count = |wanted: fn(&Prefixes) -> bool| prefixes().filter(|(_, prefix)| wanted(prefix)).count();
        let n_prefixes = count(|prefix| matches!(prefix, Prefixes::Planned(_)));
        let n_paths = n_prefixes * settings.paths;
        let given = |(sample, prefix): (&PlannedSample, &Prefixes)| match prefix {
            Prefixes::Planned(fork) => n_given(sample, fork),
            _ => 0,
        };
        let tokens = match asked {
            Where::AtEndpoint => prefixes().map(given).sum::<usize>(),
            Where::Here => planned.iter().map(|sample| sample.trunk.len()).sum(),
        };
        let n_tokens_given = if counts_tokens { tokens } else { tokens.div_ceil(BYTES_PER_TOKEN) };
        let n_tokens_sampled_at_most = n_paths * settings.sampling.max_new_tokens;
        let requests = Requests { least: n_prefixes, most: n_paths };
        Self {
            n_samples: planned.len(),
            n_prefixes,
            n_paths,
            n_skipped: count(|prefix| matches!(prefix, Prefixes::Skipped(_))),
            n_failed: count(|prefix| matches!(prefix, Prefixes::Failed(_))),
            requests: (asked == Where::AtEndpoint).then_some(requests),
            n_tokens_given,
            estimated: !counts_tokens,
            n_tokens_sampled_at_most,
            cost_at_most: prices.map(|prices| prices.cost(n_tokens_given, n_tokens_sampled_at_most)),
            judging: None,
        }
    }

    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let about = if self.estimated { "about " } else { "" };
        let mut lines = vec![
            format!("samples         {}", self.n_samples),
            format!("prefixes        {}", self.n_prefixes),
            format!("paths           {}", self.n_paths),
        ];
        let apart = [
            (self.n_skipped, "skipped: the response is shorter"),
            (self.n_failed, "failed: the model cannot be given them"),
        ];
        lines.extend(
            apart
                .iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, why)| format!("                {n} prefixes {why}")),
        );
        if let Some(Requests { least, most }) = self.requests {
            lines.push(format!(
                "requests        {least}, or up to {most} where the server grows one path a request"
            ));
        }
        lines.push(format!("tokens given    {about}{}", self.n_tokens_given));
        lines.push(format!("tokens sampled  at most {}", self.n_tokens_sampled_at_most));
        if let Some(cost) = self.cost_at_most {
            lines.push(format!("cost            at most {cost:.4}, with one request a prefix"));
        }
        lines.extend(self.judging.as_ref().map(Judging::text));
        lines.push(NOTHING_ASKED.into());
        lines.join("\n")
    }
}

fn n_given(sample: &PlannedSample, fork: &PlannedFork) -> usize {
    sample.input(fork).len()
}
