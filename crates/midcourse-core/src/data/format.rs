//! Which formats there are and how a file tells its own: by what it is written in and by its columns.
//!
//! Names of files decide nothing; they only choose between two messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::row::{Read, Row};
use super::text::plain;
use super::{Responses, conversation};
use crate::error::{FileProblem, RowProblem};

/// Whose columns a data file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// PKU-SafeRLHF, with harm categories or without: two responses, each safe or not.
    #[serde(rename = "pku-saferlhf")]
    PkuSafeRlhf,
    /// BeaverTails: one response, safe or not.
    #[serde(rename = "beavertails")]
    BeaverTails,
    /// The behaviours of JailbreakBench.
    #[serde(rename = "jailbreakbench")]
    JailbreakBench,
    /// The harmful behaviours of AdvBench.
    #[serde(rename = "advbench")]
    AdvBench,
    /// Lists of messages, as chat data has them; the last answer is the response.
    Conversations,
    /// Midcourse's own rows.
    #[serde(rename = "midcourse")]
    Own,
}

impl Format {
    /// All formats, those with more telling columns first.
    const ALL: [Self; 6] = [
        Self::PkuSafeRlhf,
        Self::BeaverTails,
        Self::JailbreakBench,
        Self::AdvBench,
        Self::Conversations,
        Self::Own,
    ];

    /// The name that users know the format by.
    pub fn name(self) -> &'static str {
        match self {
            Self::PkuSafeRlhf => "PKU-SafeRLHF",
            Self::BeaverTails => "BeaverTails",
            Self::JailbreakBench => "JailbreakBench",
            Self::AdvBench => "AdvBench",
            Self::Conversations => "conversation",
            Self::Own => "midcourse",
        }
    }

    /// The licence under which the data of this format is published, as the hub calls it; none where the format
    /// says nothing of where rows come from.
    pub fn license(self) -> Option<&'static str> {
        match self {
            Self::PkuSafeRlhf | Self::BeaverTails => Some("cc-by-nc-4.0"),
            Self::JailbreakBench | Self::AdvBench => Some("mit"),
            Self::Conversations | Self::Own => None,
        }
    }

    /// The columns that tell the format.
    ///
    /// `is_safe` alone makes a row one of BeaverTails: as an unknown extra column of an own row it would be
    /// ignored, and safe responses taken for harmful ones.
    fn columns(self, responses: Responses) -> &'static [&'static str] {
        let all: &[_] = match self {
            Self::PkuSafeRlhf => {
                &["prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"]
            }
            Self::BeaverTails => &["prompt", "response", "is_safe"],
            Self::JailbreakBench => &["goal", "behavior", "target"],
            Self::AdvBench => &["goal", "target"],
            Self::Conversations => &["messages"],
            Self::Own => &["prompt", "response"],
        };
        let may_lack_last = matches!(self, Self::JailbreakBench | Self::AdvBench | Self::Own);
        let n_needed = all.len() - usize::from(may_lack_last && responses == Responses::Optional);
        &all[..n_needed]
    }

    /// The format that a row is of.
    pub(super) fn of(row: &Row, responses: Responses) -> Read<Self> {
        match (Self::detect(&row.columns(), responses), conversation::field(row)) {
            (Err(_) | Ok(Self::Own), Some(_)) => Ok(Self::Conversations),
            (found, _) => found,
        }
    }

    /// The format that has these columns.
    pub(super) fn detect<'a>(
        columns: &(impl Iterator<Item = &'a str> + Clone),
        responses: Responses,
    ) -> Read<Self> {
        let has = |name: &&str| columns.clone().any(|column| column == *name);
        let found = Self::ALL.into_iter().find(|format| format.columns(responses).iter().all(has));
        found.ok_or_else(|| unknown(columns, responses))
    }

    /// Whether a row is of this format and no other.
    pub(super) fn check(self, row: &Row, responses: Responses) -> Read<()> {
        let found = match self {
            Self::Conversations => Self::of(row, responses),
            // There a list in the place of a prompt is a wrong type.
            _ => Self::detect(&row.columns(), responses),
        };
        let missing = self.columns(responses).iter().find(|field| !row.fields.contains_key(**field));
        if let Some(field) = missing.filter(|_| found.as_ref().ok() != Some(&self)) {
            return Err(RowProblem::Missing { field, format: self.name() });
        }
        match found? {
            found if found == self => Ok(()),
            found => Err(RowProblem::OtherFormat { found: found.name(), format: self.name() }),
        }
    }
}

/// Whether some format reads a column of this name. What else a row has only shows in messages.
pub fn is_column(name: &str) -> bool {
    const BESIDE: [&str; 4] = ["response", "category", "safe_response", "source"];
    const OF_RESPONSES: [&str; 2] = ["_harm_category", "_source"];
    let tells = |format: Format| format.columns(Responses::Required).contains(&name);
    let of_response = |i: &str| {
        let rest = name.strip_prefix("response_").and_then(|name| name.strip_prefix(i));
        rest.is_some_and(|rest| OF_RESPONSES.contains(&rest))
    };
    Format::ALL.into_iter().any(tells) || BESIDE.contains(&name) || ["0", "1"].into_iter().any(of_response)
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most columns that a message lists.
const MAX_LISTED: usize = 12;

fn unknown<'a>(columns: &(impl Iterator<Item = &'a str> + Clone), responses: Responses) -> RowProblem {
    let mut found: Vec<String> = columns.clone().take(MAX_LISTED).map(|name| plain(name.trim())).collect();
    match columns.clone().count() {
        0 => found.push("(none)".to_owned()),
        n if n > MAX_LISTED => found.push(format!("and {} more", n - MAX_LISTED)),
        _ => {}
    }
    let known = Format::ALL.map(|format| format!("{format} ({})", format.columns(responses).join(", ")));
    RowProblem::UnknownColumns { found: found.join(", "), known: known.join("; ") }
}

/// How rows are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Container {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// Parquet tables.
    Parquet,
}

impl Container {
    /// Tells by the first character that is not blank; none where there is none.
    pub(super) fn of(text: &str) -> Result<Option<Self>, FileProblem> {
        match text.trim_start().chars().next() {
            None => Ok(None),
            Some('{') => Ok(Some(Self::Jsonl)),
            Some('[') => Err(FileProblem::JsonArray),
            Some(_) => Ok(Some(Self::Csv)),
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Jsonl => "JSONL",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        })
    }
}
