//! What is recorded of a prompt: its ranked answers, or why it has none.

use serde::{Deserialize, Serialize};

use crate::chat::Message;
use crate::eval::Set;
use crate::judge::Verdict;

/// The answers to one prompt, best first: a line of `rankings.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranking {
    /// Place of the sample among all of the run, those of the harmless file after those of the harmful one.
    pub index: usize,
    /// Harmful: turning back is right. Benign: a contrast ranking, in which carrying on is.
    pub set: Set,
    /// The sample's id.
    pub sample: String,
    /// The conversation that is answered, a user's message last.
    pub prompt: Vec<Message>,
    /// The row's category.
    pub category: Option<String>,
    /// Where the row comes from.
    pub source: Option<String>,
    /// Text that the answers begin with by the opener policy; empty for none.
    pub opener: String,
    /// Where the response was cut, strictly increasing. Correction i leaves it at cut i.
    pub cuts: Vec<Cut>,
    /// The answers, best first; at least two.
    pub answers: Vec<Answer>,
    /// Ranks that were lost.
    pub dropped: Vec<DroppedAnswer>,
}

/// A place where a response was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Tokens of the response (its opener included) before the cut, as the model that answered counts them.
    pub tokens: usize,
    /// Characters of the response (its opener included) before the cut.
    pub chars: usize,
}

/// One ranked answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// 0 is the best; ranks that were lost leave gaps.
    pub rank: usize,
    /// What kind of answer it is.
    pub kind: AnswerKind,
    /// The whole answer, its end of turn not written out. It always ends: at the end of a sentence at least.
    pub text: String,
    /// Characters at the start of `text` that its writer was given of the response, opener included; 0 for none. With
    /// the released opener policy the whole response stands without the opener.
    pub prefix_chars: usize,
    /// Text that was given after those: the trigger of a correction, the opener of a refusal; empty for none.
    pub forced: String,
    /// Whose words they are.
    pub origin: Origin,
    /// Where it ends.
    pub end: AnswerEnd,
    /// Which of the candidates it is, of an answer that was grown.
    pub candidate: Option<usize>,
    /// Its seed, of an answer that was grown.
    pub seed: Option<u32>,
    /// What the judge said of it, where it was asked.
    pub verdict: Option<Judged>,
}

/// What a judge said of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The judge's name.
    pub judge: String,
    /// What it said of the words of the answer that follow `prefix_chars`, a trigger among them.
    pub verdict: Verdict,
    /// The phrase that decided, of a judge of text.
    pub phrase: Option<String>,
}

/// The kinds of answer, by what they do with the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AnswerKind {
    /// Declines or redirects from the start: the safe response `SR`, in a contrast ranking the refusal `R`.
    Refusal,
    /// Carries the response on to cut i, counted from 1, and turns: `SYN_i`.
    Correction(usize),
    /// The whole response: the full harmful response `FHR`, in a contrast ranking the helpful response `H`.
    Response,
}

impl AnswerKind {
    /// Every kind of a ranking with so many cuts, best first.
    pub fn ranked(set: Set, n_cuts: usize) -> Vec<Self> {
        let corrections = (1..=n_cuts).map(Self::Correction);
        let mut kinds: Vec<Self> = [Self::Refusal].into_iter().chain(corrections).collect();
        kinds.push(Self::Response);
        if set == Set::Benign {
            kinds.reverse();
        }
        kinds
    }

    /// The paper's name for it (`SR`, `SYN_1`, …, `FHR`), and ours in a contrast ranking (`H`, …, `R`).
    pub fn paper_name(self, set: Set) -> String {
        match (self, set) {
            (Self::Refusal, Set::Harmful) => "SR".into(),
            (Self::Refusal, Set::Benign) => "R".into(),
            (Self::Correction(i), _) => format!("SYN_{i}"),
            (Self::Response, Set::Harmful) => "FHR".into(),
            (Self::Response, Set::Benign) => "H".into(),
        }
    }
}

impl From<AnswerKind> for String {
    fn from(kind: AnswerKind) -> Self {
        match kind {
            AnswerKind::Refusal => "refusal".into(),
            AnswerKind::Correction(i) => format!("correction_{i}"),
            AnswerKind::Response => "response".into(),
        }
    }
}

impl TryFrom<String> for AnswerKind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match (name.as_str(), name.strip_prefix("correction_").and_then(|i| i.parse().ok())) {
            ("refusal", _) => Ok(Self::Refusal),
            ("response", _) => Ok(Self::Response),
            (_, Some(i)) if i > 0 => Ok(Self::Correction(i)),
            _ => Err(format!("expected refusal, correction_1, … or response, found {name:?}")),
        }
    }
}

/// Whose words an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The row's.
    Row,
    /// The model's own, nothing forced but the opener policy's text.
    Model,
    /// The model's after a refusal opener.
    Opened,
    /// The model's after a part of the response and a trigger.
    Corrected,
}

/// Where an answer ends. In every case the turn ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerEnd {
    /// Where the row's text does.
    Row,
    /// Where the model ended its turn.
    EndOfTurn,
    /// After its last whole sentence, where the limit of new tokens was reached or the model began to repeat itself.
    Sentence,
}

/// Why something is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Of a prompt: it stands in a file of `--exclude`, exactly or nearly.
    Excluded,
    /// Of a prompt: an earlier one is nearly the same.
    NearDuplicate,
    /// Of a prompt: its response has too few clauses for the cuts.
    TooShort,
    /// Of a prompt or an answer: it does not fit into the context of the model.
    TooLong,
    /// Of a prompt or an answer: the model cannot be given the text before it.
    Unprovable,
    /// Of a prompt: its helpful response turns, or the model gave none.
    NotHelpful,
    /// Of a prompt: too few answers are left to compare, or a rank was lost and all were required.
    TooFewAnswers,
    /// Of an answer: the row has none and nothing else may stand in.
    NotInRow,
    /// Of an answer: it does not refuse or turn.
    DoesNotTurn,
    /// Of an answer: the judge could not say whether it turns.
    Unparsed,
    /// Of an answer: after its turn it goes on with the response.
    FallsBack,
    /// Of an answer: no sentence of it was whole when the limit of new tokens was reached.
    NoSentence,
    /// Of an answer: it says the same as another of its ranking.
    Duplicate,
    /// Of an answer: the engine could not grow it.
    Failed,
}

impl Reason {
    /// Whether a prompt is left out on purpose by it: such a prompt is in no denominator.
    pub fn is_choice(self) -> bool {
        matches!(self, Self::Excluded | Self::NearDuplicate)
    }

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::NearDuplicate => "near_duplicate",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Unprovable => "unprovable",
            Self::NotHelpful => "not_helpful",
            Self::TooFewAnswers => "too_few_answers",
            Self::NotInRow => "not_in_row",
            Self::DoesNotTurn => "does_not_turn",
            Self::Unparsed => "unparsed",
            Self::FallsBack => "falls_back",
            Self::NoSentence => "no_sentence",
            Self::Duplicate => "duplicate",
            Self::Failed => "failed",
        }
    }
}

/// A rank that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedAnswer {
    /// Which answer.
    pub kind: AnswerKind,
    /// Why its last candidate was not taken.
    pub reason: Reason,
    /// More, in words; empty for nothing.
    pub detail: String,
    /// Candidates that were tried.
    pub n_candidates: usize,
}

/// A prompt without a ranking: a line of `dropped.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Place of the sample among all of the run.
    pub index: usize,
    /// Which data.
    pub set: Set,
    /// The sample's id.
    pub sample: String,
    /// Why.
    pub reason: Reason,
    /// More, in words; empty for nothing.
    pub detail: String,
    /// Answers that were lost before the prompt was.
    pub dropped: Vec<DroppedAnswer>,
}
