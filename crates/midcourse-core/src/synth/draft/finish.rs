//! From a draft to its ranking, or to the reason why there is none.

use super::super::planner::{Unfit, opened};
use super::super::settings::{Completeness, SynthSettings};
use super::super::{Answer, AnswerKind, Dropped, DroppedAnswer, Origin, Ranking, Reason};
use super::{Draft, Standing};

impl Draft {
    /// The ranking, or why there is none; `judge` is the name of who was heard.
    pub fn finish(self, settings: &SynthSettings, judge: &str) -> Result<Ranking, Dropped> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut dropped = Vec::new();
        let kinds = AnswerKind::ranked(self.set, settings.n_cuts);
        let laid = self.laid.as_ref().filter(|_| self.unfit.is_none());
        for (rank, kind) in kinds.into_iter().enumerate().filter(|_| laid.is_some()) {
            match self.ranked(kind, settings) {
                Standing::Kept(answer) if answers.iter().any(|other| other.text == answer.text) => {
                    dropped.push(DroppedAnswer {
                        n_candidates: 1,
                        ..DroppedAnswer::new(kind, Reason::Duplicate)
                    });
                }
                Standing::Kept(mut answer) => {
                    answer.rank = rank;
                    if let Some(verdict) = &mut answer.verdict {
                        judge.clone_into(&mut verdict.judge);
                    }
                    answers.push(*answer);
                }
                Standing::Lost(lost) => dropped.push(lost),
                Standing::Ungrown(_) | Standing::Unheard(_) => {
                    dropped.push(DroppedAnswer::new(kind, Reason::Failed));
                }
            }
        }
        let must_be_whole = settings.completeness == Completeness::All && !dropped.is_empty();
        let unfit = self.unfit.or_else(|| {
            let detail = format!("{} of {} answers are left", answers.len(), settings.n_answers());
            let too_few = answers.len() < 2 || must_be_whole;
            too_few.then_some(Unfit { reason: Reason::TooFewAnswers, detail })
        });
        let (index, set, sample) = (self.index, self.set, self.sample);
        if let Some(Unfit { reason, detail }) = unfit {
            return Err(Dropped { index, set, sample: sample.id, reason, detail, dropped });
        }
        Ok(Ranking {
            index,
            set,
            prompt: sample.messages(),
            sample: sample.id,
            category: sample.category,
            source: sample.source,
            opener: self.opener,
            cuts: self.laid.map(|laid| laid.cuts).unwrap_or_default(),
            answers,
            dropped,
        })
    }

    /// An answer as it stands in the ranking: the response with its opener.
    fn ranked(&self, kind: AnswerKind, settings: &SynthSettings) -> Standing {
        match (self.standing(kind, settings), &self.laid) {
            (Standing::Kept(answer), Some(laid)) if kind == AnswerKind::Response => {
                Standing::Kept(Box::new(Answer { text: laid.response.clone(), ..*answer }))
            }
            (Standing::Kept(answer), _) if kind == AnswerKind::Refusal && answer.origin == Origin::Row => {
                let text = opened(&self.opener, &answer.text, &settings.opener);
                Standing::Kept(Box::new(Answer { text, ..*answer }))
            }
            (standing, _) => standing,
        }
    }
}

impl DroppedAnswer {
    pub(super) fn new(kind: AnswerKind, reason: Reason) -> Self {
        Self { kind, reason, detail: String::new(), n_candidates: 0 }
    }
}
