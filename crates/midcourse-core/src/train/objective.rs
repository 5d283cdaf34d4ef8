//! What training is for: which of a tree's tokens are compared with which, and how.
//!
//! With π and ρ the log-probabilities under policy and reference, c and r what is chosen and rejected of a pair, each
//! summed over its tokens, and d = (π(c) − ρ(c)) − (π(r) − ρ(r)):
//!
//! | objective | loss of a pair | scored of an answer | source |
//! | --- | --- | --- | --- |
//! | `dpo-full` | −ln σ(β d) | all of it | Rafailov et al. 2023, equation 7 |
//! | `ipo` | (d̄ − 1/(2β))², d̄ of means per token | all of it | Azar et al. 2024, equation 17; the means as in TRL |
//! | `fork` | −ln σ(β d) | the branch that leaves the node where the pair parts | our own |
//! | `recovery` | none: −π per token of what is imitated | see [`Terms`](super::Terms) | Qi et al. 2024 |
//!
//! A branch ends at the tree's next fork or with the answer. Pairs that part at the same node into the same branches are
//! one decision that counts as many: the 15 pairs of a ranking of six are five decisions that count 5, 4, 3, 2 and 1.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The two branches that leave the point where a pair's answers part.
    #[default]
    Fork,
    /// Whole answers: the paper's objective.
    DpoFull,
    /// Whole answers by their mean over tokens, with a squared loss.
    Ipo,
    /// Nothing: corrections are imitated, and on harmless prompts the response.
    Recovery,
}

impl Objective {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fork, Self::DpoFull, Self::Ipo, Self::Recovery];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::DpoFull => "dpo-full",
            Self::Ipo => "ipo",
            Self::Recovery => "recovery",
        }
    }

    /// Whether the loss needs the reference's log-probabilities.
    pub fn needs_reference(self) -> bool {
        self != Self::Recovery
    }
}

/// An objective and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveSettings {
    /// What is compared.
    pub objective: Objective,
    /// β: how strongly the policy is held to the reference; above 0.
    pub beta: f64,
    /// Weight of the anchor: the mean negative log-likelihood of how the chosen branches begin.
    pub anchor: f64,
    /// Tokens at the start of a chosen branch that the anchor looks at.
    pub anchor_tokens: usize,
}

impl Default for ObjectiveSettings {
    fn default() -> Self {
        Self { objective: Objective::Fork, beta: 0.1, anchor: 1.0, anchor_tokens: 16 }
    }
}

impl ObjectiveSettings {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] with the name that the setting has on the command line.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field, problem, hint: &str| Err(Error::Setting { field, problem, hint: hint.to_owned() });
        if !(self.beta.is_finite() && self.beta > 0.0) {
            let problem = format!("expected a number above 0, found {}", self.beta);
            return wrong(
                "--beta",
                problem,
                "0.1 is usual; smaller lets the policy go further from the reference",
            );
        }
        if !(self.anchor.is_finite() && self.anchor >= 0.0) {
            let problem = format!("expected a number, 0 or above, found {}", self.anchor);
            return wrong("--anchor", problem, "0 leaves the anchor out");
        }
        if self.anchor_tokens == 0 {
            let problem = "expected at least 1, found 0".to_owned();
            return wrong("--anchor-tokens", problem, "--anchor 0 leaves the anchor out");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        for objective in Objective::ALL {
            assert_eq!(serde_json::to_string(&objective).unwrap(), format!("\"{}\"", objective.name()));
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        let settings = ObjectiveSettings::default();
        assert!(settings.check().is_ok() && ObjectiveSettings { anchor: 0.0, ..settings }.check().is_ok());
        let refused = |settings: ObjectiveSettings| settings.check().unwrap_err().to_string();
        for beta in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            let found = refused(ObjectiveSettings { beta, ..settings });
            assert_eq!(found, format!("--beta: expected a number above 0, found {beta}"));
        }
        assert!(refused(ObjectiveSettings { anchor: -1.0, ..settings }).starts_with("--anchor: "));
        assert!(refused(ObjectiveSettings { anchor_tokens: 0, ..settings }).starts_with("--anchor-tokens: "));
    }
}
