//! How the values of items become a figure.

use serde::{Deserialize, Serialize};

/// What the weighted mean of the items' values becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Itself, a share in [0, 1].
    #[default]
    Share,
    /// Itself, a number of any size, such as bits a byte.
    Linear,
    /// e to it: of perplexities, whose items have nats.
    Exp,
}

impl Scale {
    /// Whether figures are shares, and their differences told in points.
    pub fn is_share(&self) -> bool {
        *self == Self::Share
    }

    /// The figure of a mean.
    pub fn of(self, mean: f64) -> f64 {
        match self {
            Self::Share | Self::Linear => mean,
            Self::Exp => mean.exp(),
        }
    }

    /// How fast the figure changes with the mean.
    pub(crate) fn slope(self, mean: f64) -> f64 {
        match self {
            Self::Share | Self::Linear => 1.0,
            Self::Exp => mean.exp(),
        }
    }
}
