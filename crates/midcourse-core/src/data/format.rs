//! Which formats there are and how a file tells its own: by what it is written in and by its columns.
//!
//! Names of files decide nothing; they only choose between two messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::row::{Read, Row};
use super::text::plain;
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
    /// Midcourse's own rows.
    #[serde(rename = "midcourse")]
    Own,
}

impl Format {
    /// All formats, those with more telling columns first.
    const ALL: [Self; 5] =
        [Self::PkuSafeRlhf, Self::BeaverTails, Self::JailbreakBench, Self::AdvBench, Self::Own];

    /// The name that users know the format by.
    pub fn name(self) -> &'static str {
        match self {
            Self::PkuSafeRlhf => "PKU-SafeRLHF",
            Self::BeaverTails => "BeaverTails",
            Self::JailbreakBench => "JailbreakBench",
            Self::AdvBench => "AdvBench",
            Self::Own => "midcourse",
        }
    }

    /// The columns that tell the format.
    ///
    /// `is_safe` alone makes a row one of BeaverTails: as an unknown extra column of an own row it would be
    /// ignored, and safe responses taken for harmful ones.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::PkuSafeRlhf => {
                &["prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"]
            }
            Self::BeaverTails => &["prompt", "response", "is_safe"],
            Self::JailbreakBench => &["goal", "target", "behavior"],
            Self::AdvBench => &["goal", "target"],
            Self::Own => &["prompt", "response"],
        }
    }

    /// The format that has these columns.
    pub(super) fn detect<'a>(columns: &(impl Iterator<Item = &'a str> + Clone)) -> Read<Self> {
        let has = |name: &&str| columns.clone().any(|column| column == *name);
        Self::ALL.into_iter().find(|format| format.columns().iter().all(has)).ok_or_else(|| unknown(columns))
    }

    /// Whether a row is of this format and no other.
    pub(super) fn check(self, row: &Row) -> Read<()> {
        let missing = self.columns().iter().find(|field| !row.fields.contains_key(**field));
        if let Some(field) = missing {
            return Err(RowProblem::Missing { field, format: self.name() });
        }
        match Self::detect(&row.columns())? {
            found if found == self => Ok(()),
            found => Err(RowProblem::OtherFormat { found: found.name(), format: self.name() }),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most columns that a message lists.
const MAX_LISTED: usize = 12;

fn unknown<'a>(columns: &(impl Iterator<Item = &'a str> + Clone)) -> RowProblem {
    let mut found: Vec<String> = columns.clone().take(MAX_LISTED).map(|name| plain(name.trim())).collect();
    match columns.clone().count() {
        0 => found.push("(none)".to_owned()),
        n if n > MAX_LISTED => found.push(format!("and {} more", n - MAX_LISTED)),
        _ => {}
    }
    let known = Format::ALL.map(|format| format!("{format} ({})", format.columns().join(", ")));
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
}

impl Container {
    /// Tells by the first character that is not blank.
    pub(super) fn of(text: &str) -> Result<Self, FileProblem> {
        match text.trim_start().chars().next() {
            None => Err(FileProblem::NoRows),
            Some('{') => Ok(Self::Jsonl),
            Some('[') => Err(FileProblem::JsonArray),
            Some(_) => Ok(Self::Csv),
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Jsonl => "JSONL",
            Self::Csv => "CSV",
        })
    }
}
