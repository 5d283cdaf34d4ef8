//! From replies to findings: what each is, what a judge says of it, and the record of both.
//!
//! A model that judges is asked whether a reply turns away. Of a harmless prompt that is refused it is asked once more,
//! whether the reply also answers in part; the rule judge tells that from the words that are left.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use midcourse_core::bench::safety::{Extent, Finding, Grounds, Item, Reply, TellsExtent};
use midcourse_core::bench::{ItemRecord, Kind};

use midcourse_core::engine::BoxError;
use midcourse_core::eval::{Outcome, PlannedSample, Trial};
use midcourse_core::judge::prompt::JudgePrompt;
use midcourse_core::judge::rule::RuleJudge;
use midcourse_core::judge::{Case, Ending, Opinion, Verdict};

use super::{Safety, Work};
use crate::judges::{JudgePlan, KnownJudge};
use crate::judging::Bench;
use crate::pages::whole_characters;
use crate::session::into_anyhow;

/// The replies of a task.
pub(super) struct Replies<'a> {
    task: &'a Safety,
    samples: BTreeMap<&'a str, &'a PlannedSample>,
    trials: BTreeMap<(&'a str, usize), &'a Trial>,
}

/// A reply that a judge is asked about.
struct Open<'a> {
    item: &'a Item,
    reply: Reply<'a>,
    goal: &'a str,
    prefix: &'a str,
}

/// What is known of an item before anybody judges.
enum Known<'a> {
    Finding(Finding, Option<Reply<'a>>),
    Open(Open<'a>),
}

impl<'a> Replies<'a> {
    pub(super) fn new(task: &'a Safety, plan: &'a [PlannedSample], trials: &'a [Trial]) -> Self {
        let samples = plan.iter().map(|sample| (sample.id.as_str(), sample)).collect();
        let trials = trials.iter().map(|trial| ((trial.sample.as_str(), trial.k), trial)).collect();
        Self { task, samples, trials }
    }

    /// Judges every reply that has no record yet.
    pub(super) fn judge(&self, work: &mut Work<'_>) -> Result<()> {
        let (mut known, mut open) = (Vec::new(), Vec::new());
        for item in self.task.items.iter().filter(|item| !work.is_done(&item.id)) {
            match self.know(item)? {
                Known::Finding(finding, reply) => {
                    known.push(self.record(item, &finding, reply.as_ref(), None));
                }
                Known::Open(reply) => open.push(reply),
            }
        }
        work.take(&known).map_err(|error| into_anyhow(error, self.task.probes.task.name()))?;
        let refused = self.judge_open(&open, work)?;
        if refused.is_empty() || work.stopping() { Ok(()) } else { self.judge_extents(&open, &refused, work) }
    }

    fn know(&self, item: &'a Item) -> Result<Known<'a>> {
        let probe = &self.task.probes.probes[item.probe];
        let Some(sample) = &probe.sample else { return Ok(Known::Finding(Finding::NotFound, None)) };
        let trial = self.trials.get(&(sample.id.as_str(), item.k));
        let (Some(trial), Some(planned)) = (trial, self.samples.get(sample.id.as_str())) else {
            return Err(anyhow!("no reply to item {} is recorded", item.id));
        };
        Ok(match &trial.outcome {
            Outcome::Skipped { reason } => Known::Finding(Finding::Skipped { reason: reason.clone() }, None),
            Outcome::Failed { reason, .. } => {
                Known::Finding(Finding::Failed { reason: reason.clone() }, None)
            }
            Outcome::Grown { text, prefix_bytes, .. } => {
                let reply = Reply::new(text, probe.cipher, &probe.goal);
                match reply.unjudged() {
                    Some(finding) => Known::Finding(finding, Some(reply)),
                    None => Known::Open(Open {
                        item,
                        reply,
                        goal: &probe.goal,
                        prefix: whole_characters(&planned.response, *prefix_bytes),
                    }),
                }
            }
        })
    }

    /// Asks whether replies turn away. Returns those that do and of which is still to be asked how far, with the opinions.
    fn judge_open(&self, open: &[Open<'_>], work: &mut Work<'_>) -> Result<Vec<(usize, Opinion)>> {
        let mut bench = Bench::new(&self.task.judge, &self.task.judge_plan, work.signals)?;
        let mut refused = Vec::new();
        let rule = self.task.judge_plan.is_rule().then(RuleJudge::new);
        let asks_further = self.asks_extents();
        bench.judge(&cases(open), &mut |opinions| {
            let mut records = Vec::new();
            for (at, opinion) in opinions {
                if asks_further && opinion.verdict == Verdict::Corrected {
                    refused.push((at, opinion));
                    continue;
                }
                let left =
                    |rule: &RuleJudge| rule.share_carried_on(open[at].reply.judged().unwrap_or_default());
                let extent = rule.as_ref().map(left).map(Extent::of_share);
                records.push(self.judged(&open[at], &opinion, extent));
            }
            work.take(&records)
        })?;
        bench.say_cost();
        refused.sort_by_key(|(at, _)| *at);
        Ok(refused)
    }

    /// Asks a model of refusals whether they answer in part.
    fn judge_extents(
        &self,
        open: &[Open<'_>],
        refused: &[(usize, Opinion)],
        work: &mut Work<'_>,
    ) -> Result<()> {
        let plan = JudgePlan { prompt: Some(JudgePrompt::IN_PART.into()), ..self.task.judge_plan.clone() };
        let judge: KnownJudge = plan.identify()?;
        let mut bench = Bench::new(&judge, &plan, work.signals)?;
        let all = cases(open);
        let asked: Vec<Case> = refused.iter().map(|(at, _)| all[*at]).collect();
        bench.judge(&asked, &mut |opinions| -> Result<(), BoxError> {
            let record = |(place, said): (usize, Opinion)| {
                let (at, opinion) = &refused[place];
                let extent = match said.verdict {
                    Verdict::Corrected => Some(Extent::Part),
                    Verdict::NotCorrected => Some(Extent::Whole),
                    Verdict::Unparsed => None,
                };
                self.judged(&open[*at], opinion, extent)
            };
            work.take(&opinions.into_iter().map(record).collect::<Vec<_>>())
        })?;
        bench.say_cost();
        Ok(())
    }

    fn is_of_refusals(&self) -> bool {
        self.task.probes.task.kind() == Kind::OverRefusal
    }

    /// Whether a judge is asked a second time. Who brings a prompt of their own is asked that one only.
    fn asks_extents(&self) -> bool {
        self.is_of_refusals() && self.task.judge.is_model() && self.task.judge_plan.asks_usual_prompt()
    }

    fn tells_extent(&self) -> TellsExtent {
        let tells = self.task.judge_plan.is_rule() || self.asks_extents();
        if tells { TellsExtent::Yes } else { TellsExtent::No }
    }

    fn judged(&self, open: &Open<'_>, opinion: &Opinion, extent: Option<Extent>) -> ItemRecord {
        let extent = extent.filter(|_| self.is_of_refusals());
        let finding = open.reply.finding(opinion.verdict, extent);
        self.record(open.item, &finding, Some(&open.reply), Some(opinion))
    }

    fn record(
        &self,
        item: &Item,
        finding: &Finding,
        reply: Option<&Reply<'_>>,
        opinion: Option<&Opinion>,
    ) -> ItemRecord {
        let turn = opinion.and_then(|opinion| opinion.turn);
        let grounds = Grounds {
            reading: reply.map(Reply::reading),
            phrase: turn.map(|turn| turn.phrase),
            p_refused: opinion.and_then(|opinion| opinion.p_corrected),
            tells_extent: self.tells_extent(),
        };
        self.task.probes.record(item, finding, grounds)
    }
}

/// What a judge is shown.
fn cases<'c>(open: &'c [Open<'_>]) -> Vec<Case<'c>> {
    let case = |open: &'c Open<'_>| Case {
        prompt: open.goal,
        prefix: open.prefix,
        continuation: open.reply.judged().unwrap_or_default(),
        ending: Ending::Ended,
    };
    open.iter().map(case).collect()
}
