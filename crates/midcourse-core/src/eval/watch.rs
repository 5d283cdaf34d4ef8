//! Watching paths grow: tokens become text, text becomes a verdict.

use super::{EvalSettings, JudgedPath, Judgement, Outcome, PathKey, PlannedSample, Trial};
use crate::engine::{Finish, Grown, Growth, TokenId};
use crate::judge::rule::RuleJudge;
use crate::judge::{Ending, Opinion, Verdict};
use crate::template::{TokenizeError, Tokenizer};

/// Turns grown paths into records, with the rule judge where it is the one that judges.
pub struct Observer<'a> {
    /// The run's settings.
    pub settings: &'a EvalSettings,
    /// The run's plan.
    pub plan: &'a [PlannedSample],
    /// The model's tokenizer.
    pub tokenizer: &'a dyn Tokenizer,
    /// The judge; none where another one judges when all paths have grown.
    pub judge: Option<&'a RuleJudge>,
}

/// The two records of a grown path.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// What was sampled.
    pub trial: Trial,
    /// What the judge says of it, where one is asked at once.
    pub judgement: Option<Judgement>,
}

impl Observer<'_> {
    /// Whether a path needs to grow on; a turn once found stands, so the verdict cannot change.
    pub fn growth(&self, id: usize, tokens: &[TokenId]) -> Result<Growth, TokenizeError> {
        let Some(judge) = self.judge.filter(|_| self.settings.early_stop == super::EarlyStop::On) else {
            return Ok(Growth::Continue);
        };
        let text = self.text(PathKey::of(id, self.settings), tokens)?;
        let turned = judge.find_turn(&text, Ending::Open).is_some();
        Ok(if turned { Growth::Stop } else { Growth::Continue })
    }

    /// The records of a path that has ended.
    pub fn observe(&self, grown: &Grown) -> Result<Observed, TokenizeError> {
        let key = PathKey::of(grown.id, self.settings);
        let sample = &self.plan[key.sample];
        let text = self.text(key, &grown.tokens)?;
        let fork = sample.planned(key.length);
        let k = self.settings.prefix_lengths[key.length];
        let judgement = self.judge.map(|judge| {
            let ending = if grown.finish == Finish::Stopped { Ending::Open } else { Ending::Ended };
            let turn = judge.find_turn(&text, ending);
            let counted = turn.filter(|_| self.tokenizer.counts_tokens());
            let turn_token =
                counted.map(|turn| self.tokens_before(key, &grown.tokens, turn.at)).transpose()?;
            let verdict = if turn.is_some() { Verdict::Corrected } else { Verdict::NotCorrected };
            let path = JudgedPath { set: sample.set, sample: sample.id.clone(), k, path: key.path };
            let opinion = Opinion { turn, ..Opinion::bare(verdict) };
            Ok(Judgement::new(path, RuleJudge::NAME, opinion, turn_token))
        });
        let outcome = Outcome::Grown {
            path: key.path,
            seed: fork.map_or(0, |fork| fork.path_seed(key.path)),
            prefix_bytes: fork.map_or(0, |fork| fork.prefix_bytes),
            token_ids: grown.tokens.clone(),
            text,
            finish: grown.finish,
            stopped_early: grown.finish == Finish::Stopped,
        };
        let trial = Trial { set: sample.set, sample: sample.id.clone(), k, outcome };
        Ok(Observed { trial, judgement: judgement.transpose()? })
    }

    /// Sampled tokens that lie wholly before byte `at` of the continuation.
    fn tokens_before(&self, key: PathKey, tokens: &[TokenId], at: usize) -> Result<usize, TokenizeError> {
        for n in 1..=tokens.len() {
            if self.text(key, &tokens[..n])?.len() > at {
                return Ok(n - 1);
            }
        }
        Ok(tokens.len())
    }

    fn text(&self, key: PathKey, tokens: &[TokenId]) -> Result<String, TokenizeError> {
        let sample = &self.plan[key.sample];
        let before = sample.planned(key.length).map(|fork| sample.input(fork)).unwrap_or_default();
        self.tokenizer.decode_after(&before, tokens)
    }
}
