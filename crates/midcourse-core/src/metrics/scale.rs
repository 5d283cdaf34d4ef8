//! How the values of items become a figure.

use serde::{Deserialize, Serialize};

/// What the mean over items is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// A share in [0, 1].
    #[default]
    Share,
    /// A number of any size, such as bits a byte.
    Number,
    /// The logarithm of the figure, which is a perplexity: values of items are mean negative log-likelihoods.
    Perplexity,
}

impl Scale {
    /// Whether differences are told in points.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub fn is_share(&self) -> bool {
        *self == Self::Share
    }

    /// The figure that a mean over items makes.
    pub fn figure(self, mean: f64) -> f64 {
        match self {
            Self::Share | Self::Number => mean,
            Self::Perplexity => mean.exp(),
        }
    }

    /// How fast the figure changes with the mean.
    pub(super) fn slope(self, mean: f64) -> f64 {
        match self {
            Self::Share | Self::Number => 1.0,
            Self::Perplexity => mean.exp(),
        }
    }
}
