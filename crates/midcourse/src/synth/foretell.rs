//! `--dry-run`: what a synthesis would ask for at most. Nothing is sampled and no server asked.

use std::collections::BTreeMap;

use anyhow::Result;
use midcourse_core::judge::interview::AtMost;
use midcourse_core::judge::{Case, Ending};
use midcourse_core::synth::{Draft, Planner};
use serde::Serialize;

use super::outset::{Entry, Outset};
use super::{SynthPlan, options::Shard};
use crate::dry_run::{BYTES_PER_TOKEN, Judging, NOTHING_ASKED};
use crate::judges::KnownJudge;
use crate::model::{self, Loading, ModelName, Outline};

/// Counts of a synthesis that has not begun.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Foretold {
    pub n_prompts: usize,
    /// Prompts that will have no ranking, by reason.
    pub n_dropped: BTreeMap<&'static str, usize>,
    /// Pairs, if nothing is lost on the way.
    pub n_pairs_at_most: usize,
    pub n_paths_at_most: usize,
    /// Of a server that takes several paths in one.
    pub n_requests_at_most: Option<usize>,
    /// Tokens that are given: of an endpoint once a request, else once a prompt.
    pub n_tokens_given_at_most: usize,
    /// Whether they are estimated from bytes, because no tokenizer is at hand.
    pub estimated: bool,
    pub n_tokens_sampled_at_most: usize,
    /// What both cost, at most.
    pub cost_at_most: Option<f64>,
    /// Where a model judges.
    pub judging: Option<Judging>,
}

/// Counts what a plan would ask for.
pub(crate) fn foretell(
    (plan, judge): (&SynthPlan, &KnownJudge),
    outset: Outset,
    (commit, loading): (Option<&str>, &Loading),
) -> Result<Foretold> {
    let Outline { tokenizer, template, context } = model::outline(&plan.model, commit, loading)?;
    let template = template.framed(plan.settings.framing.clone());
    let settings = &plan.settings;
    let planner = Planner { settings, template: &template, tokenizer: tokenizer.as_ref(), context };
    let is_endpoint = matches!(ModelName::parse(&plan.model)?, ModelName::Endpoint(_));
    let mut foretold = Foretold { estimated: !tokenizer.counts_tokens(), ..Foretold::default() };
    let mut judged = AtMost::default();
    let shard = plan.shard.unwrap_or(Shard::WHOLE);
    let entries = outset.samples.into_iter().enumerate().filter(|(index, _)| shard.holds(*index));
    for (index, Entry { set, sample, dropped }) in entries {
        foretold.n_prompts += 1;
        let laid_out = || {
            let draft = Draft::new(&planner, index, set, sample);
            draft.unfit().map_or(Ok(draft), Err)
        };
        let draft = dropped.map_or_else(laid_out, |(reason, _)| Err(reason));
        match draft {
            Err(reason) => *foretold.n_dropped.entry(reason.name()).or_default() += 1,
            Ok(draft) => {
                foretold.add(&draft, &planner, is_endpoint);
                judged = judged + at_most(&draft, &planner, judge);
            }
        }
    }
    if foretold.estimated {
        foretold.n_tokens_given_at_most = foretold.n_tokens_given_at_most.div_ceil(BYTES_PER_TOKEN);
    }
    let (given, sampled) = (foretold.n_tokens_given_at_most, foretold.n_tokens_sampled_at_most);
    foretold.cost_at_most = plan.endpoint.prices.map(|prices| prices.cost(given, sampled));
    foretold.judging = judge.is_model().then(|| {
        let at_server = judge.at_server().map(|(_, prices)| (judged, prices));
        Judging::new(judge.identity.id.clone(), (foretold.n_paths_at_most, None), at_server)
    });
    Ok(foretold)
}

/// What judging the answers of a draft takes, taken to be as long as they may get.
fn at_most(draft: &Draft, planner: &Planner, judge: &KnownJudge) -> AtMost {
    let Some((prompt, _)) = judge.at_server() else { return AtMost::default() };
    let continuation = "x".repeat(planner.settings.sampling.max_new_tokens * BYTES_PER_TOKEN);
    let case = Case {
        prompt: draft.prompt(),
        prefix: draft.response_text(),
        continuation: &continuation,
        ending: Ending::Ended,
    };
    AtMost::of(prompt, &case).times(planner.settings.n_answers() * planner.settings.candidates)
}

impl Foretold {
    fn add(&mut self, draft: &Draft, planner: &Planner, is_endpoint: bool) {
        let settings = planner.settings;
        // A slot each for the model's own answer, the opened one and the corrections.
        let n_forks = settings.n_cuts + 2;
        // A response that is not there yet is as long as an answer may get.
        let unknown = if draft.response_text().is_empty() { settings.sampling.max_new_tokens } else { 0 };
        let n_response = draft.n_tokens() + unknown;
        // No text has more tokens than bytes.
        let texts = settings.triggers.texts().iter().chain(settings.refusals.texts());
        let n_lead = texts.map(String::len).max().unwrap_or(0);
        // A second round is given the prompt again.
        let here = 2 * n_response + n_forks * n_lead;
        let at_endpoint = n_forks * (n_response + n_lead);
        self.n_pairs_at_most += settings.n_pairs();
        self.n_paths_at_most += n_forks * settings.candidates;
        self.n_tokens_given_at_most += if is_endpoint { at_endpoint } else { here };
        self.n_tokens_sampled_at_most += n_forks * settings.candidates * settings.sampling.max_new_tokens;
        if is_endpoint {
            *self.n_requests_at_most.get_or_insert(0) += n_forks;
        }
    }

    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let about = if self.estimated { "about " } else { "" };
        let mut lines = vec![format!("prompts         {}", self.n_prompts)];
        let dropped = self.n_dropped.iter();
        lines.extend(dropped.map(|(reason, n)| format!("                {n} dropped: {reason}")));
        lines.push(format!("pairs           at most {}", self.n_pairs_at_most));
        lines.push(format!("paths           at most {}", self.n_paths_at_most));
        lines.extend(self.n_requests_at_most.map(|n| format!("requests        at most {n}")));
        lines.push(format!("tokens given    at most {about}{}", self.n_tokens_given_at_most));
        lines.push(format!("tokens sampled  at most {}", self.n_tokens_sampled_at_most));
        lines.extend(self.cost_at_most.map(|cost| format!("cost            at most {cost:.4}")));
        lines.extend(self.judging.as_ref().map(Judging::text));
        lines.push(NOTHING_ASKED.into());
        lines.join("\n")
    }
}
