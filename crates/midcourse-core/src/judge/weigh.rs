//! A judge that is an embedded model: it is not made to write, its probabilities of yes and of no are compared.
//!
//! All continuations of one prefix are one tree. The trunk is what the model is asked up to the continuation, which
//! depends on prompt and prefix alone, so that what is said of a continuation does not depend on the others asked
//! about. Between two thresholds the judge abstains, which is recorded as unparsed.

use super::answer::{self, Thresholds};
use super::prompt::JudgePrompt;
use super::{Case, Docket, Judge, Opinion, Verdict};
use crate::Error;
use crate::engine::{BoxError, Fork, TokenId, Tree, Weigh};
use crate::template::{self, ChatTemplate, Tokenizer};

/// How answers begin; a token with which both begin speaks for neither.
const YES: [&str; 6] = ["yes", "Yes", "YES", " yes", " Yes", " YES"];
const NO: [&str; 6] = ["no", "No", "NO", " no", " No", " NO"];

/// A model that judges by the probabilities of its answers.
pub struct Weigher {
    model: Box<dyn Weigh>,
    /// Tokens that the model can take.
    context: usize,
    tokenizer: Box<dyn Tokenizer>,
    template: ChatTemplate,
    prompt: JudgePrompt,
    thresholds: Thresholds,
    /// First tokens of yes, then of no.
    candidates: Vec<TokenId>,
    n_yes: usize,
}

/// A model and how it reads text.
pub struct Weighing {
    /// The model.
    pub model: Box<dyn Weigh>,
    /// Tokens that it can take.
    pub context: usize,
    /// Text to tokens.
    pub tokenizer: Box<dyn Tokenizer>,
    /// Conversations to text.
    pub template: ChatTemplate,
}

impl Weigher {
    /// A judge that asks `prompt` of a model.
    ///
    /// # Errors
    /// When its tokenizer begins yes and no with the same tokens.
    pub fn new(weighing: Weighing, prompt: JudgePrompt, thresholds: Thresholds) -> crate::Result<Self> {
        let Weighing { model, context, tokenizer, template } = weighing;
        let [yes, no] = [YES, NO].map(|texts| first_tokens(tokenizer.as_ref(), &texts));
        let only = |these: &[TokenId], those: &[TokenId]| -> Vec<TokenId> {
            these.iter().copied().filter(|id| !those.contains(id)).collect()
        };
        let (yes, no) = (only(&yes, &no), only(&no, &yes));
        if yes.is_empty() || no.is_empty() {
            return Err(Error::TemplateCannot {
                model: template.model().to_owned(),
                what: "has a tokenizer that begins yes and no alike".into(),
                hint: "choose another model to judge".into(),
            });
        }
        let n_yes = yes.len();
        let candidates = [yes, no].concat();
        Ok(Self { model, context, tokenizer, template, prompt, thresholds, candidates, n_yes })
    }

    /// The opinions on cases of one prompt and prefix.
    fn weigh(&self, cases: &[Case]) -> Result<Vec<Opinion>, BoxError> {
        let trunk = self.trunk(&cases[0])?;
        let mut opinions = vec![None; cases.len()];
        let (mut forks, mut places) = (Vec::new(), Vec::new());
        for (at, case) in cases.iter().enumerate() {
            let ids = self.tokens(case)?.ids;
            if ids.len() > self.context {
                let reason = format!("needs {} tokens of context, the judge has {}", ids.len(), self.context);
                opinions[at] = Some(Opinion { answer: Some(reason), ..Opinion::bare(Verdict::Unparsed) });
                continue;
            }
            let shared = ids.iter().zip(&trunk).take_while(|(a, b)| a == b).count();
            if shared == 0 {
                // A template that begins with the continuation itself: a tree of its own.
                let fork = Fork { at: 1, lead: ids[1..].to_vec(), paths: Vec::new() };
                let alone = Tree { trunk: ids[..1].to_vec(), forks: vec![fork] };
                let logps = self.model.weigh(&alone, &self.candidates)?;
                opinions[at] = logps.first().map(|logps| self.opinion(logps));
                continue;
            }
            forks.push(Fork { at: shared, lead: ids[shared..].to_vec(), paths: Vec::new() });
            places.push(at);
        }
        if !forks.is_empty() {
            let logps = self.model.weigh(&Tree { trunk, forks }, &self.candidates)?;
            for (at, logps) in places.into_iter().zip(logps) {
                opinions[at] = Some(self.opinion(&logps));
            }
        }
        Ok(opinions.into_iter().map(|opinion| opinion.unwrap_or(Opinion::bare(Verdict::Unparsed))).collect())
    }

    fn opinion(&self, logps: &[f64]) -> Opinion {
        let (yes, no) = logps.split_at(self.n_yes);
        let p_corrected = answer::p_corrected(yes.iter().copied(), no.iter().copied());
        let verdict = p_corrected.map_or(Verdict::Unparsed, |p| self.thresholds.verdict(p));
        Opinion { p_corrected, ..Opinion::bare(verdict) }
    }

    /// What the model is given up to the continuation, at least one token: the tokens that lie wholly before it when
    /// there is none.
    fn trunk(&self, case: &Case) -> Result<Vec<TokenId>, BoxError> {
        let asked = self.prompt.ask(&Case { continuation: "", ..*case });
        let question = template::question(&self.template, self.tokenizer.as_ref(), &asked.text)?;
        let end = question.message.start + asked.continuation_at;
        let n_before = question.offsets.iter().take_while(|range| range.end <= end).count();
        Ok(question.ids[..n_before.max(1)].to_vec())
    }

    fn tokens(&self, case: &Case) -> Result<template::Question, BoxError> {
        let asked = self.prompt.ask(case);
        Ok(template::question(&self.template, self.tokenizer.as_ref(), &asked.text)?)
    }
}

impl Judge for Weigher {
    fn hear(&self, cases: &[Case], docket: &mut dyn Docket) -> Result<(), BoxError> {
        let mut at = 0;
        for group in cases.chunk_by(|a, b| (a.prompt, a.prefix) == (b.prompt, b.prefix)) {
            if docket.stopping() {
                break;
            }
            let opinions = self.weigh(group)?;
            docket.decide((at..).zip(opinions).collect())?;
            at += group.len();
        }
        Ok(())
    }
}

/// The first tokens of `texts`, each once.
fn first_tokens(tokenizer: &dyn Tokenizer, texts: &[&str]) -> Vec<TokenId> {
    let first =
        |text: &&str| tokenizer.encode(text, &[]).ok().and_then(|encoding| encoding.ids.first().copied());
    let mut tokens: Vec<TokenId> = texts.iter().filter_map(first).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}
