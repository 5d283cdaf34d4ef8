//! A sign of trouble that a falling loss hides: chosen answers become less likely than they were.
//!
//! A preference is also won when both sides fall, the rejected one faster. Over the last ten steps the log-probability of
//! what is chosen is compared with the reference's on the same answers; when it lies a fifth lower, that is said once.
//! Per answer both are known: a reward is β (π − ρ), so ρ is π less the reward divided by β.
//!
//! Source: Pal et al. 2024 (arXiv 2402.13228) describe the effect; the numbers 10 and 20 % are our own.

use std::collections::VecDeque;

/// Steps that are looked at together.
const N_STEPS: usize = 10;
/// Share of the reference's log-probability that may be lost.
const MAX_FALL: f64 = 0.2;

/// The last steps.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    beta: f64,
    /// Means over the chosen answers of a step, before training and now.
    steps: VecDeque<(f64, f64)>,
}

impl Watch {
    pub(crate) fn new(beta: f64) -> Self {
        Self { beta, steps: VecDeque::with_capacity(N_STEPS) }
    }

    /// Takes the means of a step: log-probability and reward of what is chosen. Says something when there is something
    /// to say.
    pub(crate) fn see(&mut self, logp: Option<f64>, reward: Option<f64>) -> Option<String> {
        let (Some(now), Some(reward)) = (logp, reward) else { return None };
        if self.steps.len() == N_STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back((now - reward / self.beta, now));
        let sum = |of: fn(&(f64, f64)) -> f64| self.steps.iter().map(of).sum::<f64>();
        let (before, now) = (sum(|step| step.0), sum(|step| step.1));
        let is_lower = self.steps.len() == N_STEPS && before - now > MAX_FALL * before.abs();
        is_lower.then(|| {
            format!(
                "over the last {N_STEPS} steps chosen answers are less likely than before training (log-probability {:.1} \
                 on average, before {:.1}); a larger --beta or --anchor, or a lower --learning-rate, holds them",
                now / N_STEPS as f64,
                before / N_STEPS as f64
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_is_said_after_ten_steps_and_a_rise_never() {
        // 50 before training: 61 now is 22 % lower, 59 is 18 %.
        let see = |now: f64| {
            let mut watch = Watch::new(0.1);
            (0..12).map(|_| watch.see(Some(now), Some(0.1 * (now + 50.0))).is_some()).collect::<Vec<_>>()
        };
        let said = see(-61.0);
        assert!(said[..9].iter().all(|said| !said) && said[9..].iter().all(|said| *said));
        assert!(see(-59.0).iter().chain(&see(-20.0)).all(|said| !said));
        let mut watch = Watch::new(0.1);
        assert!((0..20).all(|_| watch.see(Some(-99.0), None).is_none()));
        for _ in 0..9 {
            assert_eq!(watch.see(Some(-80.0), Some(-3.0)), None);
        }
        let text = watch.see(Some(-80.0), Some(-3.0)).unwrap();
        assert!(text.contains("-80.0 on average, before -50.0"), "{text}");
    }
}
