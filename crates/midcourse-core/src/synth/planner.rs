//! What a model is given to grow the answers of one sample: texts, tokens, cuts and seeds.
//!
//! Every start of an answer is the rendered conversation with the assistant's turn open, tokenised as a whole; how
//! much of it the answers share is read off the tokens. So a trigger is in the model's input as it would be in a
//! conversation, whatever the tokenizer does at its border.

use sha2::{Digest, Sha256};

use super::candidate::Slot;
use super::cuts::cuts;
use super::draft::Draft;
use super::settings::{OpenerPolicy, SynthSettings};
use super::triggers::joined;
use super::{Answer, Cut, DroppedAnswer, Origin, Reason};
use crate::data::Sample;
use crate::engine::{Finish, Grown, SEED_MASK, TokenId};
use crate::template::{ChatTemplate, Mode, Prefill, Sent, TokenizeError, Tokenizer, prefill_after};

/// Lays samples out for one model.
#[derive(Clone, Copy)]
pub struct Planner<'a> {
    /// The run's settings.
    pub settings: &'a SynthSettings,
    /// The model's template.
    pub template: &'a ChatTemplate,
    /// The model's tokenizer.
    pub tokenizer: &'a (dyn Tokenizer + Sync),
    /// Tokens of context that the engine can take.
    pub context: usize,
}

/// The start of an answer that a model is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// The assistant's turn so far.
    pub(super) text: String,
    /// The trigger or refusal opener at its end.
    pub(super) forced: String,
    /// Characters at its beginning that are those of the response and its opener.
    pub(super) prefix_chars: usize,
    /// Bytes at its beginning that no judge is asked about: the opener, and what stands before a cut.
    pub(super) given: usize,
    /// The model's input.
    pub(super) ids: Vec<TokenId>,
    /// Seed of the first path.
    pub(super) seed: u32,
}

/// A response that was laid out.
#[derive(Debug, Clone)]
pub(super) struct Laid {
    /// The whole response as it stands in the ranking.
    pub(super) response: String,
    /// The conversation with the response in tokens: the trunk.
    pub(super) ids: Vec<TokenId>,
    pub(super) cuts: Vec<Cut>,
    /// What stands before every cut, the opener included.
    prefixes: Vec<String>,
}

/// Why a sample has no ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Unfit {
    /// Of a harmless prompt whose response is lost.
    pub(super) fn not_helpful(lost: &DroppedAnswer) -> Self {
        let detail = match lost.reason {
            Reason::NotHelpful => lost.detail.clone(),
            reason => format!("{}: {}", reason.name(), lost.detail).trim_end_matches(": ").to_owned(),
        };
        Self { reason: Reason::NotHelpful, detail }
    }
}

/// An answer with its opener; in the released way only corrections have one.
pub(super) fn opened(opener: &str, answer: &str, policy: &OpenerPolicy) -> String {
    if *policy == OpenerPolicy::Released { answer.to_owned() } else { joined(opener, answer) }
}

impl Planner<'_> {
    /// The opener of a sample by the policy.
    pub(super) fn opener(&self, sample: &Sample) -> String {
        self.settings.opener.choose(self.chance(&sample.id, "opener"))
    }

    /// A number that depends on run, sample and purpose.
    fn chance(&self, sample: &str, purpose: &str) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.settings.seed.to_le_bytes());
        hash.update(sample);
        hash.update(purpose);
        hash.finalize().iter().take(8).fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    /// Cuts a response and makes it the trunk.
    pub(super) fn lay_out(&self, draft: &mut Draft, response: &Answer) -> Result<(), Unfit> {
        // A response that the model gave has its opener already.
        let opener = if response.origin == Origin::Row { "" } else { draft.opener.as_str() };
        let bare = response.text.strip_prefix(opener).unwrap_or(&response.text).trim_start();
        let with_opener = joined(&draft.opener, bare);
        let rendered = self.prefill(draft, &with_opener)?;
        if rendered.ids.len() > self.context {
            return Err(self.too_long(rendered.ids.len()));
        }
        let written = rendered.response();
        let opener_bytes = written.strip_suffix(bare).map_or(0, str::len);
        let ends =
            rendered.offsets[rendered.prefix_start..].iter().map(|token| token.end - rendered.response_at);
        let ends: Vec<usize> = ends.collect();
        let token_ends: Vec<usize> = ends.iter().filter_map(|end| end.checked_sub(opener_bytes)).collect();
        let found = cuts(&written[opener_bytes..], &token_ends, self.settings.n_cuts, self.settings.cut_rule);
        let found = found
            .map_err(|too_few| Unfit { reason: Reason::TooShort, detail: too_few.to_string() })?
            .into_iter()
            .map(|cut| opener_bytes + cut);
        let prefixes: Vec<String> = found.map(|cut| written[..cut].to_owned()).collect();
        let cut = |prefix: &String| Cut {
            tokens: ends.iter().take_while(|end| **end <= prefix.len()).count(),
            chars: prefix.chars().count(),
        };
        let cuts = prefixes.iter().map(cut).collect();
        let is_bare = self.settings.opener == OpenerPolicy::Released;
        let response = if is_bare { written[opener_bytes..].to_owned() } else { written.to_owned() };
        draft.laid = Some(Laid { response, ids: rendered.ids, cuts, prefixes });
        Ok(())
    }

    /// The start of a slot.
    pub(super) fn start(&self, draft: &Draft, slot: Slot) -> Result<Start, Unfit> {
        let purpose = String::from(slot);
        let chance = self.chance(&draft.sample.id, &format!("{purpose} text"));
        let (before, forced) = match slot {
            Slot::Answer => (opened(&draft.opener, "", &self.settings.opener), ""),
            Slot::Opened => {
                (opened(&draft.opener, "", &self.settings.opener), self.settings.refusals.pick(chance))
            }
            Slot::Correction(i) => {
                let prefix = draft.laid.as_ref().and_then(|laid| laid.prefixes.get(i - 1));
                let prefix = prefix.map_or("", String::as_str);
                (prefix.to_owned(), self.settings.triggers.choose(chance, prefix))
            }
        };
        let text = joined(&before, forced).trim_end().to_owned();
        let rendered = self.prefill(draft, &text)?;
        let ids = if text.is_empty() { rendered.plain } else { rendered.ids };
        let n_needed = ids.len() + self.settings.sampling.max_new_tokens;
        if n_needed > self.context {
            return Err(self.too_long(n_needed));
        }
        if let Sent::Impossible(detail) = self.tokenizer.sent(&ids) {
            return Err(Unfit { reason: Reason::Unprovable, detail });
        }
        let prefix_chars = if let Slot::Correction(_) = slot { before.chars().count() } else { 0 };
        let seed = self.chance(&draft.sample.id, &purpose) as u32 & SEED_MASK;
        let given = before.len().min(text.len());
        Ok(Start { text, forced: forced.to_owned(), prefix_chars, given, ids, seed })
    }

    fn too_long(&self, n_needed: usize) -> Unfit {
        let detail = format!("needs {n_needed} tokens of context, the model has {}", self.context);
        Unfit { reason: Reason::TooLong, detail }
    }

    /// The text of a path up to the first special token that the model wrote inside its turn: a trainer would read the
    /// token's text as the token. What is cut off there has not ended by itself.
    pub(super) fn text(&self, before: &[TokenId], grown: &Grown) -> Result<(String, Finish), TokenizeError> {
        let text = self.tokenizer.decode_after(before, &grown.tokens)?;
        if self.tokenizer.count_special(&text) == 0 {
            return Ok((text, grown.finish));
        }
        let mut kept = String::new();
        for n in 1..=grown.tokens.len() {
            let longer = self.tokenizer.decode_after(before, &grown.tokens[..n])?;
            if self.tokenizer.count_special(&longer) > 0 {
                break;
            }
            kept = longer;
        }
        Ok((kept, Finish::Stopped))
    }

    /// The conversation with an open answer in tokens, proved to be one.
    fn prefill(&self, draft: &Draft, text: &str) -> Result<Prefill, Unfit> {
        let unfit = |detail: String| Unfit { reason: Reason::Unprovable, detail };
        let messages = draft.sample.messages();
        let rendered = prefill_after(self.template, self.tokenizer, (&messages, text), Mode::OpenTurn)
            .map_err(|error| unfit(error.to_string()))?;
        if text.is_empty() {
            return Ok(rendered);
        }
        let proof = rendered.proof(self.tokenizer, rendered.n_response_tokens());
        match proof.map_err(|error| unfit(error.to_string()))? {
            proof if proof.holds() => Ok(rendered),
            proof => Err(unfit(format!("the model would not see the text that it is given: {proof:?}"))),
        }
    }
}
