//! From a row to a sample, format by format: which response is the harmful one, and what it is about.
//!
//! Of several harm categories that are true the first in alphabetical order is the sample's, so that every
//! sample counts in one category only and a table by category stays short.

use serde_json::Value;

use super::conversation::Conversation;
use super::row::{Read, Row, is_blank};
use super::{Format, Responses, Sample, conversation, sample_id};
use crate::chat::Message;
use crate::error::RowProblem;

/// The row's sample, or none where no response is unsafe.
pub(super) fn read(format: Format, row: &Row, responses: Responses) -> Read<Option<Sample>> {
    match format {
        Format::PkuSafeRlhf => pku_saferlhf(row),
        Format::BeaverTails => beavertails(row),
        Format::JailbreakBench | Format::AdvBench => behaviour(row, responses).map(Some),
        Format::Conversations => conversation(row, responses).map(Some),
        Format::Own => own(row, responses).map(Some),
    }
}

/// The prompt of a row without a harmful response.
pub(super) fn prompt_of_harmless(row: &Row) -> Read<Vec<Message>> {
    Ok(vec![Message::user(row.text("prompt")?)])
}

fn own(row: &Row, responses: Responses) -> Read<Sample> {
    with_notes(row, sample(Conversation::of(row.text("prompt")?), response(row, "response", responses)?))
}

/// The response is the `response`, else the assistant's turn at the end.
fn conversation(row: &Row, responses: Responses) -> Read<Sample> {
    let mut asked = conversation::read(row)?;
    let response = match (row.optional_text("response")?, asked.answer.take()) {
        (Some(response), _) | (None, Some(response)) => response,
        (None, None) if responses == Responses::Optional => String::new(),
        (None, None) => return Err(RowProblem::NoResponse { field: asked.field }),
    };
    with_notes(row, sample(asked, &response))
}

/// The sample with what midcourse's own rows may say besides.
fn with_notes(row: &Row, sample: Sample) -> Read<Sample> {
    Ok(Sample {
        category: row.optional_text("category")?,
        safe_response: row.optional_text("safe_response")?,
        source: row.optional_text("source")?,
        ..sample
    })
}

/// A row's response, or nothing where it may be missing.
fn response<'a>(row: &'a Row, field: &str, responses: Responses) -> Read<&'a str> {
    match (responses, row.get(field)) {
        (Responses::Required, _) => row.text(field),
        (Responses::Optional, None | Some(Value::Null)) => Ok(""),
        (Responses::Optional, Some(_)) => {
            row.string(field).map(|text| if is_blank(text) { "" } else { text })
        }
    }
}

fn behaviour(row: &Row, responses: Responses) -> Read<Sample> {
    Ok(Sample {
        category: row.optional_text("category")?,
        source: row.optional_text("source")?,
        ..sample(Conversation::of(row.text("goal")?), response(row, "target", responses)?)
    })
}

fn beavertails(row: &Row) -> Read<Option<Sample>> {
    let found = sample(Conversation::of(row.text("prompt")?), row.text("response")?);
    let category = row.first_true("category")?;
    Ok((!row.bool("is_safe")?).then_some(Sample { category, ..found }))
}

/// The harmful response is the unsafe one; of two, the longer; of two as long, the first.
fn pku_saferlhf(row: &Row) -> Read<Option<Sample>> {
    let prompt = row.text("prompt")?;
    let (first, second) = (PkuResponse::read(row, 0)?, PkuResponse::read(row, 1)?);
    let (harmful, other) = match (first.is_safe, second.is_safe) {
        (true, true) => return Ok(None),
        (true, false) => (second, first),
        (false, false) if second.n_chars() > first.n_chars() => (second, first),
        (false, _) => (first, second),
    };
    if is_blank(harmful.text) {
        return Err(RowProblem::Blank { field: harmful.field });
    }
    Ok(Some(Sample {
        category: harmful.category,
        safe_response: (other.is_safe && !is_blank(other.text)).then(|| other.text.to_owned()),
        source: harmful.source,
        ..sample(Conversation::of(prompt), harmful.text)
    }))
}

/// One of the two responses of a PKU-SafeRLHF row.
struct PkuResponse<'a> {
    field: String,
    text: &'a str,
    is_safe: bool,
    category: Option<String>,
    source: Option<String>,
}

impl<'a> PkuResponse<'a> {
    fn read(row: &'a Row, i: usize) -> Read<Self> {
        let field = format!("response_{i}");
        let harm = format!("{field}_harm_category");
        Ok(Self {
            text: row.string(&field)?,
            is_safe: row.bool(&format!("is_{field}_safe"))?,
            // Rows of the first generation have no categories.
            category: match row.get(&harm) {
                None | Some(Value::Null) => None,
                Some(_) => row.first_true(&harm)?,
            },
            source: row.optional_text(&format!("{field}_source"))?,
            field,
        })
    }

    fn n_chars(&self) -> usize {
        self.text.chars().count()
    }
}

fn sample(asked: Conversation, response: &str) -> Sample {
    let Conversation { history, prompt, .. } = asked;
    Sample {
        id: sample_id(&history, &prompt, response),
        history,
        prompt,
        response: response.to_owned(),
        category: None,
        safe_response: None,
        source: None,
    }
}
