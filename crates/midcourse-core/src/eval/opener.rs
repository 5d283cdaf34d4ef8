//! Openers: the agreeable first sentence that the released scripts put before every response.

use serde::{Deserialize, Serialize};

/// The sentences of [`Opener::Random`], one a line.
const OPENERS: &str = include_str!("openers.txt");

/// Text put before every response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Opener {
    /// Nothing: the response as the data has it.
    #[default]
    None,
    /// One of 15 sentences, chosen per sample by the run's seed.
    Random,
    /// Always this text.
    Text(String),
}

impl Opener {
    /// The opener of one sample; `chance` is any number that depends on run and sample.
    pub fn choose(&self, chance: u64) -> &str {
        match self {
            Self::None => "",
            Self::Text(text) => text,
            Self::Random => {
                let n = OPENERS.lines().count().max(1) as u64;
                OPENERS.lines().nth((chance % n) as usize).unwrap_or("")
            }
        }
    }

    /// The response with its opener, as the released scripts join them.
    pub fn apply(&self, chance: u64, response: &str) -> String {
        match self.choose(chance) {
            "" => response.to_owned(),
            opener => format!("{opener} {response}"),
        }
    }
}

impl From<String> for Opener {
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" | "" => Self::None,
            "random" => Self::Random,
            _ => Self::Text(text),
        }
    }
}

impl From<Opener> for String {
    fn from(opener: Opener) -> Self {
        match opener {
            Opener::None => "none".into(),
            Opener::Random => "random".into(),
            Opener::Text(text) => text,
        }
    }
}
