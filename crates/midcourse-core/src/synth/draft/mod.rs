//! A ranking in the making: what must still be grown and judged, and what comes of it.
//!
//! A [`Draft`] knows what was grown and heard so far, and nothing of engines or judges: whoever drives it grows what
//! [`Draft::tree`] asks for, hears what [`Draft::unheard`] asks about, and calls [`Draft::advance`] until nothing is
//! left. What it asks for next depends on what it was given alone, so that records read back lead to the same place.

mod finish;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Growth, Slot};
use super::falling_back::falls_back;
use super::planner::{Laid, Planner, Start, Unfit};
use super::sentences::{before_repetition, whole_sentences};
use super::settings::{Source, SynthSettings};
use super::{Answer, AnswerEnd, AnswerKind, DroppedAnswer, Judged, Origin, Reason};
use crate::data::Sample;
use crate::engine::{Finish, Fork, Grown, PathSpec, Tree, path_seed};
use crate::eval::Set;
use crate::judge::{Case, Ending, Opinion, Verdict};

/// A ranking in the making.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(super) index: usize,
    pub(super) set: Set,
    pub(super) sample: Sample,
    /// By the opener policy.
    pub(super) opener: String,
    /// The response with its cuts, once it is there.
    pub(super) laid: Option<Laid>,
    /// What answers begin with; or why the model cannot be given it.
    starts: BTreeMap<Slot, Result<Start, Unfit>>,
    grown: BTreeMap<Slot, Vec<Option<Growth>>>,
    heard: BTreeMap<Asked, Heard>,
    unfit: Option<Unfit>,
}

/// A text of a draft that a judge is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// The row's safe response.
    RowRefusal,
    /// The row's helpful response.
    RowResponse,
    /// A candidate.
    Grown(Slot, usize),
}

/// What a judge said of a text, and on what grounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// What it said.
    pub verdict: Verdict,
    /// The phrase that decided, of a judge of text.
    pub phrase: Option<String>,
    /// How likely it holds it that the text turns; left out where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_corrected: Option<f64>,
    /// What it wrote, or why it could not be asked; left out where it writes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl From<Opinion> for Heard {
    fn from(opinion: Opinion) -> Self {
        let Opinion { verdict, turn, p_corrected, answer } = opinion;
        Self { verdict, phrase: turn.map(|turn| turn.phrase.to_owned()), p_corrected, answer }
    }
}

/// What a judge is shown of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The start of the answer that its writer was given.
    pub prefix: String,
    /// The words that are judged.
    pub continuation: String,
}

impl Evidence {
    /// The case that it makes; the path has ended.
    pub fn case<'a>(&'a self, prompt: &'a str) -> Case<'a> {
        Case { prompt, prefix: &self.prefix, continuation: &self.continuation, ending: Ending::Ended }
    }
}

/// What an answer must do to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    /// Decline, redirect or turn.
    Turn,
    /// Do nothing of the kind.
    CarryOn,
    /// Only be there: the trigger or opener makes it the bad answer that it is to be.
    End,
}

/// How it stands with an answer.
enum Standing {
    /// Paths of the slot are missing.
    Ungrown(Slot),
    /// The judge has not been heard.
    Unheard(Asked),
    Kept(Box<Answer>),
    Lost(DroppedAnswer),
}

impl Draft {
    /// A draft of `sample`, laid out as far as it can be without a model.
    pub fn new(planner: &Planner, index: usize, set: Set, sample: Sample) -> Self {
        let mut draft = Self {
            index,
            set,
            opener: planner.opener(&sample),
            sample,
            laid: None,
            starts: BTreeMap::new(),
            grown: BTreeMap::new(),
            heard: BTreeMap::new(),
            unfit: None,
        };
        draft.advance(planner);
        draft
    }

    /// Draws the conclusions from what was grown and heard.
    pub fn advance(&mut self, planner: &Planner) {
        if let Err(unfit) = self.try_advance(planner) {
            self.unfit = Some(unfit);
        }
    }

    fn try_advance(&mut self, planner: &Planner) -> Result<(), Unfit> {
        // A start that is made may show what was read back for it, and so what is missing next.
        while self.unfit.is_none() {
            if self.laid.is_none() {
                match self.response(planner.settings) {
                    Standing::Kept(response) => planner.lay_out(self, &response)?,
                    Standing::Lost(lost) => return Err(Unfit::not_helpful(&lost)),
                    Standing::Ungrown(_) | Standing::Unheard(_) => {}
                }
            }
            let slots = self.ungrown(planner.settings).into_iter();
            let new: Vec<Slot> = slots.filter(|slot| !self.starts.contains_key(slot)).collect();
            if new.is_empty() {
                break;
            }
            for slot in new {
                let start = planner.start(self, slot);
                self.starts.insert(slot, start);
            }
        }
        Ok(())
    }

    /// Slots of which paths are to be grown next.
    fn ungrown(&self, settings: &SynthSettings) -> Vec<Slot> {
        let slot = |standing| match standing {
            Standing::Ungrown(slot) => Some(slot),
            _ => None,
        };
        let mut slots: Vec<Slot> = self.standings(settings).into_iter().filter_map(slot).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Texts that the judge is to be asked about next.
    pub fn unheard(&self, settings: &SynthSettings) -> Vec<Asked> {
        let asked = |standing| match standing {
            Standing::Unheard(asked) => Some(asked),
            _ => None,
        };
        let mut asked: Vec<Asked> = self.standings(settings).into_iter().filter_map(asked).collect();
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// How it stands with everything that can be asked for by now.
    fn standings(&self, settings: &SynthSettings) -> Vec<Standing> {
        if self.unfit.is_some() {
            return Vec::new();
        }
        if self.laid.is_none() {
            return vec![self.response(settings)];
        }
        let kinds = AnswerKind::ranked(self.set, settings.n_cuts).into_iter();
        kinds.map(|kind| self.standing(kind, settings)).collect()
    }

    /// The tree of what is to be grown next, none when that is nothing. Paths are numbered from `first_id`, in
    /// [`Draft::n_ids`] numbers.
    pub fn tree(&self, settings: &SynthSettings, first_id: usize) -> Option<Tree> {
        let slots = self.ungrown(settings);
        let starts: Vec<(Slot, &Start)> =
            slots.iter().filter_map(|slot| Some((*slot, self.start(*slot)?))).collect();
        let trunk = self.laid.as_ref().map_or(&starts.first()?.1.ids, |laid| &laid.ids);
        let fork = |(slot, start): &(Slot, &Start)| {
            let at = trunk.iter().zip(&start.ids).take_while(|(a, b)| a == b).count();
            let grown = self.grown.get(slot);
            let is_open = |i: &usize| grown.is_none_or(|paths| paths[*i].is_none());
            let path = |i| PathSpec {
                id: first_id + slot.place() * settings.candidates + i,
                seed: path_seed(start.seed, i),
            };
            let paths = (0..settings.candidates).filter(is_open).map(path).collect();
            Fork { at, lead: start.ids[at..].to_vec(), paths }
        };
        let forks: Vec<Fork> = starts.iter().map(fork).collect();
        let trunk = trunk[..forks.iter().map(|fork| fork.at).max()?].to_vec();
        Some(Tree { trunk, forks })
    }

    /// How many numbers the paths of a draft take.
    pub fn n_ids(settings: &SynthSettings) -> usize {
        (settings.n_cuts + 2) * settings.candidates
    }

    /// The record of a path that has grown or failed; `id` counts from the draft's first.
    ///
    /// # Errors
    /// When the tokens have no text.
    pub fn record(
        &self,
        planner: &Planner,
        id: usize,
        ended: Result<&Grown, String>,
    ) -> Result<Candidate, crate::template::TokenizeError> {
        let (place, candidate) = (id / planner.settings.candidates, id % planner.settings.candidates);
        let slot = Slot::at(place);
        let start = self.start(slot);
        let outcome = match ended {
            Err(reason) => Growth::Failed { reason },
            Ok(grown) => {
                let (text, finish) = planner.text(start.map_or(&[], |start| &start.ids), grown)?;
                Growth::Grown { token_ids: grown.tokens.clone(), text, finish }
            }
        };
        let seed = path_seed(start.map_or(0, |start| start.seed), candidate);
        let sample = self.sample.id.clone();
        Ok(Candidate { index: self.index, set: self.set, sample, slot, candidate, seed, outcome })
    }

    /// Takes a record, now grown or read back.
    pub fn take(&mut self, settings: &SynthSettings, candidate: Candidate) {
        let paths = self.grown.entry(candidate.slot).or_insert_with(|| vec![None; settings.candidates]);
        if let Some(path) = paths.get_mut(candidate.candidate) {
            *path = Some(candidate.outcome);
        }
    }

    /// What a judge is shown of a text.
    pub fn evidence(&self, asked: Asked) -> Evidence {
        match asked {
            Asked::RowRefusal => Evidence {
                prefix: String::new(),
                continuation: self.sample.safe_response.as_deref().unwrap_or_default().trim().to_owned(),
            },
            Asked::RowResponse => {
                Evidence { prefix: String::new(), continuation: self.sample.response.trim().to_owned() }
            }
            Asked::Grown(slot, candidate) => {
                let Some(Start { text: start, given, .. }) = self.start(slot) else {
                    return Evidence { prefix: String::new(), continuation: String::new() };
                };
                let added = self.added(slot, candidate).map(|(added, _)| added).unwrap_or_default();
                let (prefix, rest) = start.split_at(*given);
                Evidence { prefix: prefix.to_owned(), continuation: format!("{rest}{added}") }
            }
        }
    }

    /// Place of its sample among all of the run.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Why it comes to nothing, where that is known already.
    pub fn unfit(&self) -> Option<Reason> {
        self.unfit.as_ref().map(|unfit| unfit.reason)
    }

    /// Tokens of the longest text that the model is given so far: of the conversation with the whole response, where
    /// that is there.
    pub fn n_tokens(&self) -> usize {
        let starts = self.starts.values().filter_map(|start| Some(start.as_ref().ok()?.ids.len()));
        starts.chain(self.laid.as_ref().map(|laid| laid.ids.len())).max().unwrap_or(0)
    }

    /// The response as it stands in the ranking; empty where it is not there yet.
    pub fn response_text(&self) -> &str {
        self.laid.as_ref().map_or("", |laid| &laid.response)
    }

    /// The id of its sample.
    pub fn sample(&self) -> &str {
        &self.sample.id
    }

    /// The user's text that is answered.
    pub fn prompt(&self) -> &str {
        &self.sample.prompt
    }

    /// Takes what the judge says of a text.
    pub fn hear(&mut self, asked: Asked, heard: Heard) {
        self.heard.insert(asked, heard);
    }

    fn start(&self, slot: Slot) -> Option<&Start> {
        self.starts.get(&slot)?.as_ref().ok()
    }

    /// What a candidate adds to its start, cut to whole sentences where the limit ended it; the reason where nothing
    /// is left.
    fn added(&self, slot: Slot, candidate: usize) -> Result<(String, AnswerEnd), (Reason, String)> {
        match self.grown.get(&slot).and_then(|paths| paths.get(candidate)?.as_ref()) {
            None => Err((Reason::Failed, String::new())),
            Some(Growth::Failed { reason }) => Err((Reason::Failed, reason.clone())),
            Some(Growth::Grown { text, finish, .. }) => {
                let once = before_repetition(text);
                let is_whole = *finish == Finish::EndOfTurn && once.len() == text.len();
                let whole = if is_whole { text.trim_end() } else { whole_sentences(once).trim_end() };
                if whole.trim().is_empty() {
                    return Err((Reason::NoSentence, String::new()));
                }
                let end = if is_whole { AnswerEnd::EndOfTurn } else { AnswerEnd::Sentence };
                Ok((whole.to_owned(), end))
            }
        }
    }

    /// How it stands with the response: that of the row, or the model's own helpful answer.
    fn response(&self, settings: &SynthSettings) -> Standing {
        let has_row = !self.sample.response.trim().is_empty();
        match (self.set, has_row) {
            (Set::Harmful, _) => Standing::Kept(Box::new(self.of_row(AnswerKind::Response, None))),
            (Set::Benign, true) => self.row(AnswerKind::Response, Asked::RowResponse, Must::CarryOn),
            (Set::Benign, false) => self.slot(AnswerKind::Response, Slot::Answer, (Must::CarryOn, settings)),
        }
    }

    fn standing(&self, kind: AnswerKind, settings: &SynthSettings) -> Standing {
        let must = if self.set == Set::Harmful { Must::Turn } else { Must::End };
        match kind {
            AnswerKind::Response => self.response(settings),
            AnswerKind::Correction(i) => self.slot(kind, Slot::Correction(i), (must, settings)),
            AnswerKind::Refusal => {
                let mut lost = DroppedAnswer::new(kind, Reason::NotInRow);
                for source in settings.safe_response.sources(self.set) {
                    let standing = match source {
                        Source::Row if self.sample.safe_response.is_none() => continue,
                        Source::Row => self.row(kind, Asked::RowRefusal, Must::Turn),
                        Source::Model => self.slot(kind, Slot::Answer, (Must::Turn, settings)),
                        Source::Opened => self.slot(kind, Slot::Opened, (must, settings)),
                    };
                    let Standing::Lost(now) = standing else { return standing };
                    lost = DroppedAnswer { n_candidates: lost.n_candidates + now.n_candidates, ..now };
                }
                Standing::Lost(lost)
            }
        }
    }

    /// How it stands with an answer that the row has.
    fn row(&self, kind: AnswerKind, asked: Asked, must: Must) -> Standing {
        let Some(heard) = self.heard.get(&asked) else { return Standing::Unheard(asked) };
        match must.wrong(heard.verdict).or_else(|| self.wrong_words(&self.evidence(asked).continuation, must))
        {
            Some((reason, detail)) => Standing::Lost(DroppedAnswer { kind, reason, detail, n_candidates: 1 }),
            None => Standing::Kept(Box::new(self.of_row(kind, Some(heard)))),
        }
    }

    /// How it stands with an answer that is grown: the first candidate that does what it must is kept.
    fn slot(&self, kind: AnswerKind, slot: Slot, (must, settings): (Must, &SynthSettings)) -> Standing {
        let paths = self.grown.get(&slot).filter(|paths| paths.iter().all(Option::is_some));
        let paths = match (self.starts.get(&slot), paths) {
            (Some(Err(Unfit { reason, detail })), _) => {
                let (reason, detail) = (*reason, detail.clone());
                return Standing::Lost(DroppedAnswer { kind, reason, detail, n_candidates: 0 });
            }
            (Some(Ok(_)), Some(paths)) => paths,
            _ => return Standing::Ungrown(slot),
        };
        let mut lost = DroppedAnswer::new(kind, Reason::Failed);
        for candidate in 0..paths.len().min(settings.candidates) {
            match self.candidate(kind, (slot, candidate), must) {
                Standing::Lost(now) => lost = DroppedAnswer { n_candidates: candidate + 1, ..now },
                other => return other,
            }
        }
        Standing::Lost(lost)
    }

    fn candidate(&self, kind: AnswerKind, (slot, candidate): (Slot, usize), must: Must) -> Standing {
        let lost = |(reason, detail)| {
            Standing::Lost(DroppedAnswer { kind, reason, detail, n_candidates: candidate + 1 })
        };
        let (added, end) = match self.added(slot, candidate) {
            Ok(added) => added,
            Err(wrong) => return lost(wrong),
        };
        if let Some(wrong) = self.wrong_words(&added, must) {
            return lost(wrong);
        }
        let asked = Asked::Grown(slot, candidate);
        let verdict = match (must, self.heard.get(&asked)) {
            (Must::End, _) => None,
            (_, None) => return Standing::Unheard(asked),
            (_, Some(heard)) => match must.wrong(heard.verdict) {
                Some(wrong) => return lost(wrong),
                None => Some(heard),
            },
        };
        let Some(start) = self.start(slot) else { return lost((Reason::Failed, String::new())) };
        let origin = match slot {
            Slot::Answer => Origin::Model,
            Slot::Opened => Origin::Opened,
            Slot::Correction(_) => Origin::Corrected,
        };
        Standing::Kept(Box::new(Answer {
            rank: 0,
            kind,
            text: format!("{}{added}", start.text).trim_start().to_owned(),
            prefix_chars: start.prefix_chars,
            forced: start.forced.clone(),
            origin,
            end,
            candidate: Some(candidate),
            seed: Some(path_seed(start.seed, candidate)),
            verdict: verdict.map(judged),
        }))
    }

    /// Whether words that are to turn go on with the response after all.
    fn wrong_words(&self, words: &str, must: Must) -> Option<(Reason, String)> {
        let overlap = falls_back(words, &self.sample.response).filter(|_| must == Must::Turn)?;
        Some((Reason::FallsBack, overlap.to_string()))
    }

    /// An answer that the row has.
    fn of_row(&self, kind: AnswerKind, heard: Option<&Heard>) -> Answer {
        let text = match kind {
            AnswerKind::Refusal => self.sample.safe_response.as_deref().unwrap_or_default(),
            _ => &self.sample.response,
        };
        Answer {
            rank: 0,
            kind,
            text: text.trim().to_owned(),
            prefix_chars: 0,
            forced: String::new(),
            origin: Origin::Row,
            end: AnswerEnd::Row,
            candidate: None,
            seed: None,
            verdict: heard.map(judged),
        }
    }
}

/// The judge's name is put in when the ranking is finished.
fn judged(heard: &Heard) -> Judged {
    Judged { judge: String::new(), verdict: heard.verdict, phrase: heard.phrase.clone() }
}

impl Must {
    /// What is wrong with a verdict.
    fn wrong(self, verdict: Verdict) -> Option<(Reason, String)> {
        let reason = match (self, verdict) {
            (Self::End, _) | (Self::Turn, Verdict::Corrected) | (Self::CarryOn, Verdict::NotCorrected) => {
                return None;
            }
            (_, Verdict::Unparsed) => Reason::Unparsed,
            (Self::Turn, Verdict::NotCorrected) => Reason::DoesNotTurn,
            (Self::CarryOn, Verdict::Corrected) => Reason::NotHelpful,
        };
        Some((reason, String::new()))
    }
}
