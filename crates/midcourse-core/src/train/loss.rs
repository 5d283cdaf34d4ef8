//! What a tree costs, and what is measured on the way: sums with what they are divided by.
//!
//! Nothing here knows an objective; see [`Terms`](super::Terms).

/// The loss of one example.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loss {
    /// Sum over the pairs of the example, of `recovery` over what is imitated. A step's loss is the sum of its
    /// examples' values over the sum of their weights.
    pub value: f64,
    /// How many pairs, or how much that is imitated.
    pub weight: f64,
    /// Derivative of `value` by the policy's log-probability of every scored node, in their order.
    pub gradient: Vec<f64>,
    /// What the log shows.
    pub measured: Measured,
}

/// What the log shows of examples; names are those of TRL.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measured {
    /// β (π − ρ) of what is chosen of a pair.
    pub rewards_chosen: Mean,
    /// β (π − ρ) of what is rejected.
    pub rewards_rejected: Mean,
    /// The first less the second.
    pub rewards_margins: Mean,
    /// Whether the first is greater.
    pub rewards_accuracies: Mean,
    /// π of what is chosen of a pair; of `recovery`, of what is imitated.
    pub logps_chosen: Mean,
    /// π of what is rejected.
    pub logps_rejected: Mean,
    /// The anchor before its weight: mean negative log-likelihood of a token at the start of a chosen branch.
    pub anchor: Mean,
    /// Probability of the first token of a correction where it leaves the response.
    pub first_turn_probability: Mean,
}

impl Measured {
    /// Adds what was measured of another example.
    pub fn add(&mut self, other: &Self) {
        self.rewards_chosen.join(other.rewards_chosen);
        self.rewards_rejected.join(other.rewards_rejected);
        self.rewards_margins.join(other.rewards_margins);
        self.rewards_accuracies.join(other.rewards_accuracies);
        self.logps_chosen.join(other.logps_chosen);
        self.logps_rejected.join(other.logps_rejected);
        self.anchor.join(other.anchor);
        self.first_turn_probability.join(other.first_turn_probability);
    }
}

/// A weighted mean in the making.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    /// Adds a value that counts `weight` times.
    pub fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    /// Adds the values of another.
    pub fn join(&mut self, other: Self) {
        self.sum += other.sum;
        self.weight += other.weight;
    }

    /// The mean; none of nothing.
    pub fn get(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// ln σ(x), exact for large |x| of either sign.
pub(super) fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// σ(x).
pub(super) fn sigmoid(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against mpmath: `log(1 / (1 + exp(-x)))` at 50 digits.
    #[test]
    fn log_sigmoid_is_exact_far_out() {
        let expected = [
            (-800.0, -800.0),
            (-30.0, -30.000_000_000_000_092),
            (-1.0, -1.313_261_687_518_222_8),
            (0.0, -std::f64::consts::LN_2),
            (2.5, -0.078_889_734_292_549_62),
            (40.0, -4.248_354_255_291_589e-18),
        ];
        for (x, log) in expected {
            assert!((log_sigmoid(x) - log).abs() <= 1e-15 * log.abs(), "{x}");
            assert!((sigmoid(x) - log.exp()).abs() <= 1e-15, "{x}");
        }
    }

    #[test]
    fn a_mean_of_nothing_is_none() {
        let mut mean = Mean::default();
        assert_eq!(mean.get(), None);
        mean.add(2.0, 3.0);
        mean.join(Mean { sum: 2.0, weight: 1.0 });
        assert_eq!(mean.get(), Some(2.0));
    }
}
