//! Which projections an adapter changes, as people name them.

use std::fmt;
use std::str::FromStr;

use midcourse_engine::train::Targets;
use serde::{Deserialize, Serialize};

/// Projections that an adapter can change, in the order in which they are named.
const PROJECTIONS: [&str; 7] = ["q", "k", "v", "o", "gate", "up", "down"];

/// The projections that an adapter changes, as people name them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum TargetsText {
    #[default]
    All,
    /// Some of [`PROJECTIONS`], each once and in their order.
    Named(Vec<String>),
}

impl TargetsText {
    /// Whether a projection is among them.
    pub(crate) fn holds(&self, projection: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == projection),
        }
    }
}

impl FromStr for TargetsText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let named: Vec<&str> = text.split(',').map(str::trim).collect();
        if let Some(strange) = named.iter().find(|name| !PROJECTIONS.contains(name)) {
            return Err(format!("expected all or some of {}, found {strange:?}", PROJECTIONS.join(",")));
        }
        let wanted = PROJECTIONS.into_iter().filter(|name| named.contains(name)).map(str::to_owned);
        Ok(Self::Named(wanted.collect()))
    }
}

impl TryFrom<String> for TargetsText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for TargetsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

impl From<TargetsText> for String {
    fn from(targets: TargetsText) -> Self {
        targets.to_string()
    }
}

impl From<TargetsText> for Targets {
    fn from(targets: TargetsText) -> Self {
        match targets {
            TargetsText::All => Self::All,
            TargetsText::Named(names) => Self::Named(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projections_stand_in_one_order_and_others_are_refused() {
        let read = |text: &str| text.parse::<TargetsText>();
        assert_eq!(read("down, q,down").unwrap().to_string(), "q,down");
        assert_eq!(read("all").unwrap(), TargetsText::All);
        assert!(read("q,head").unwrap_err().contains("found \"head\""));
        assert!(read("").is_err());
        assert!(
            read("up").unwrap().holds("up") && !read("up").unwrap().holds("q") && TargetsText::All.holds("q")
        );
    }
}
