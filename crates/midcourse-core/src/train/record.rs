//! What is recorded of training: a line a step, and a line whenever the held-out loss was measured.
//!
//! Keys are TRL's where TRL has them, so that tools which read its logs read ours. A figure without anything to be a
//! mean of is absent. Times are no part of it: a resumed run writes the same lines.
//!
//! `num_tokens` counts as TRL does: both conversations of every pair as a whole, from the start of the run.
//! `num_tokens_distinct` counts what was computed: every token of a tree once.

use serde::{Deserialize, Serialize};

use super::{Example, Loss, Mean, Measured};
use crate::eval::Set;

/// A line of `train.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimiser steps done, this one included.
    pub step: usize,
    /// Passes over the data done, this step included.
    pub epoch: f64,
    /// Mean over the step's pairs, the anchor included; of `recovery` over what is imitated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Mean reward of what is chosen of a pair.
    #[serde(rename = "rewards/chosen", default, skip_serializing_if = "Option::is_none")]
    pub rewards_chosen: Option<f64>,
    /// Mean reward of what is rejected.
    #[serde(rename = "rewards/rejected", default, skip_serializing_if = "Option::is_none")]
    pub rewards_rejected: Option<f64>,
    /// Mean of the first less the second.
    #[serde(rename = "rewards/margins", default, skip_serializing_if = "Option::is_none")]
    pub rewards_margins: Option<f64>,
    /// Share of pairs in which the first is greater.
    #[serde(rename = "rewards/accuracies", default, skip_serializing_if = "Option::is_none")]
    pub rewards_accuracies: Option<f64>,
    /// Mean log-probability of what is chosen of a pair; of `recovery`, of what is imitated.
    #[serde(rename = "logps/chosen", default, skip_serializing_if = "Option::is_none")]
    pub logps_chosen: Option<f64>,
    /// Mean log-probability of what is rejected.
    #[serde(rename = "logps/rejected", default, skip_serializing_if = "Option::is_none")]
    pub logps_rejected: Option<f64>,
    /// The anchor before its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<f64>,
    /// Mean probability of the first token of a turn at the cuts of harmful rankings.
    #[serde(rename = "first_turn_probability/harmful", default, skip_serializing_if = "Option::is_none")]
    pub first_turn_probability_harmful: Option<f64>,
    /// The same of contrast rankings, where no turn is wanted.
    #[serde(rename = "first_turn_probability/benign", default, skip_serializing_if = "Option::is_none")]
    pub first_turn_probability_benign: Option<f64>,
    /// Length of the gradient before it was clipped.
    pub grad_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Examples of the step.
    pub n_prompts: usize,
    /// Tokens of the pairs so far.
    pub num_tokens: usize,
    /// Tokens computed so far.
    pub num_tokens_distinct: usize,
}

/// A line of `eval.jsonl`: what is held out, at a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    /// Optimiser steps done; 0 before the first.
    pub step: usize,
    /// Passes over the data done.
    pub epoch: f64,
    /// As in a [`StepRecord`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(rename = "eval_rewards/chosen", default, skip_serializing_if = "Option::is_none")]
    pub eval_rewards_chosen: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(rename = "eval_rewards/rejected", default, skip_serializing_if = "Option::is_none")]
    pub eval_rewards_rejected: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(rename = "eval_rewards/margins", default, skip_serializing_if = "Option::is_none")]
    pub eval_rewards_margins: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(rename = "eval_rewards/accuracies", default, skip_serializing_if = "Option::is_none")]
    pub eval_rewards_accuracies: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(rename = "eval_logps/chosen", default, skip_serializing_if = "Option::is_none")]
    pub eval_logps_chosen: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(rename = "eval_logps/rejected", default, skip_serializing_if = "Option::is_none")]
    pub eval_logps_rejected: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_anchor: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(
        rename = "eval_first_turn_probability/harmful",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub eval_first_turn_probability_harmful: Option<f64>,
    /// As in a [`StepRecord`].
    #[serde(rename = "eval_first_turn_probability/benign", default, skip_serializing_if = "Option::is_none")]
    pub eval_first_turn_probability_benign: Option<f64>,
    /// Examples that are held out.
    pub eval_n_prompts: usize,
}

/// What the trainer knows of a step beside its losses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepFacts {
    /// Optimiser steps done, this one included.
    pub step: usize,
    /// Passes over the data done, this step included.
    pub epoch: f64,
    /// Length of the gradient before it was clipped.
    pub grad_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Tokens of pairs and distinct tokens of the steps before.
    pub n_tokens_before: (usize, usize),
}

/// Losses of examples on their way into a record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    value: f64,
    weight: f64,
    measured: Measured,
    first_turns: [Mean; 2],
    n_prompts: usize,
    n_pair_tokens: usize,
    n_tokens: usize,
}

impl Sums {
    /// Adds the loss of an example.
    pub fn add(&mut self, example: &Example, loss: &Loss) {
        self.value += loss.value;
        self.weight += loss.weight;
        self.measured.add(&loss.measured);
        match example.set {
            Some(Set::Harmful) => self.first_turns[0].join(loss.measured.first_turn_probability),
            Some(Set::Benign) => self.first_turns[1].join(loss.measured.first_turn_probability),
            None => (),
        }
        self.n_prompts += 1;
        self.n_pair_tokens += example.n_pair_tokens();
        self.n_tokens += example.n_tokens();
    }

    /// What the values are divided by: the sum of the weights.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The loss; none where nothing has a weight.
    pub fn loss(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.value / self.weight)
    }

    /// The line of a step.
    pub fn step(&self, facts: &StepFacts) -> StepRecord {
        let Measured { rewards_chosen, rewards_rejected, rewards_margins, rewards_accuracies, .. } =
            self.measured;
        let (n_pair_tokens, n_tokens) = facts.n_tokens_before;
        StepRecord {
            step: facts.step,
            epoch: facts.epoch,
            loss: self.loss(),
            rewards_chosen: rewards_chosen.get(),
            rewards_rejected: rewards_rejected.get(),
            rewards_margins: rewards_margins.get(),
            rewards_accuracies: rewards_accuracies.get(),
            logps_chosen: self.measured.logps_chosen.get(),
            logps_rejected: self.measured.logps_rejected.get(),
            anchor: self.measured.anchor.get(),
            first_turn_probability_harmful: self.first_turns[0].get(),
            first_turn_probability_benign: self.first_turns[1].get(),
            grad_norm: facts.grad_norm,
            learning_rate: facts.learning_rate,
            n_prompts: self.n_prompts,
            num_tokens: n_pair_tokens + self.n_pair_tokens,
            num_tokens_distinct: n_tokens + self.n_tokens,
        }
    }

    /// The line of what is held out, at a step.
    pub fn eval(&self, step: usize, epoch: f64) -> EvalRecord {
        let Measured { rewards_chosen, rewards_rejected, rewards_margins, rewards_accuracies, .. } =
            self.measured;
        EvalRecord {
            step,
            epoch,
            eval_loss: self.loss(),
            eval_rewards_chosen: rewards_chosen.get(),
            eval_rewards_rejected: rewards_rejected.get(),
            eval_rewards_margins: rewards_margins.get(),
            eval_rewards_accuracies: rewards_accuracies.get(),
            eval_logps_chosen: self.measured.logps_chosen.get(),
            eval_logps_rejected: self.measured.logps_rejected.get(),
            eval_anchor: self.measured.anchor.get(),
            eval_first_turn_probability_harmful: self.first_turns[0].get(),
            eval_first_turn_probability_benign: self.first_turns[1].get(),
            eval_n_prompts: self.n_prompts,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::synth::fixture::ranking;
    use crate::train::fixture::{Writer, logps};
    use crate::train::{Objective, ObjectiveSettings, Terms};

    fn sums(objective: Objective, sets: &[Set]) -> (Sums, Vec<(Example, Loss)>) {
        let settings = ObjectiveSettings { objective, ..ObjectiveSettings::default() };
        let mut sums = Sums::default();
        let mut added = Vec::new();
        for (seed, set) in sets.iter().enumerate() {
            let example = Writer::new().example(&ranking(seed, *set));
            let terms = Terms::of(&example, &settings);
            let loss = terms.loss(&logps(terms.scored(), 1), &logps(terms.scored(), 2));
            sums.add(&example, &loss);
            added.push((example, loss));
        }
        (sums, added)
    }

    const FACTS: StepFacts =
        StepFacts { step: 3, epoch: 0.5, grad_norm: 2.0, learning_rate: 1e-4, n_tokens_before: (100, 10) };

    fn keys(record: &impl Serialize) -> Vec<String> {
        let Value::Object(fields) = serde_json::to_value(record).unwrap() else { panic!("an object") };
        fields.keys().cloned().collect()
    }

    #[test]
    fn keys_are_those_of_trl_and_what_is_a_mean_of_nothing_is_absent() {
        let (both, _) = sums(Objective::Fork, &[Set::Harmful, Set::Benign]);
        let found = keys(&both.step(&FACTS));
        let trl = "loss rewards/chosen rewards/rejected rewards/margins rewards/accuracies logps/chosen \
            logps/rejected grad_norm learning_rate num_tokens";
        assert!(trl.split_whitespace().all(|key| found.iter().any(|found| found == key)), "{found:?}");
        let (harmful, _) = sums(Objective::Recovery, &[Set::Harmful]);
        let found = keys(&harmful.step(&FACTS));
        let absent = ["rewards/chosen", "rewards/margins", "logps/rejected", "first_turn_probability/benign"];
        assert!(absent.iter().all(|key| !found.iter().any(|found| found == key)), "{found:?}");
        assert!(found.iter().any(|key| key == "first_turn_probability/harmful"));
        let eval = keys(&both.eval(3, 0.5));
        let named = eval.iter().filter(|key| !["step", "epoch"].contains(&key.as_str()));
        assert!(named.clone().count() == 11 && named.clone().all(|key| key.starts_with("eval_")), "{eval:?}");
        assert_eq!(keys(&Sums::default().eval(0, 0.0)), ["step", "epoch", "eval_n_prompts"]);
    }

    #[test]
    fn a_steps_loss_is_the_mean_over_its_pairs_and_tokens_add_up() {
        let (sums, added) = sums(Objective::Fork, &[Set::Harmful, Set::Benign]);
        let record = sums.step(&FACTS);
        let value: f64 = added.iter().map(|(_, loss)| loss.value).sum();
        assert!((record.loss.unwrap() - value / 30.0).abs() < 1e-12);
        let margins = record.rewards_chosen.unwrap() - record.rewards_rejected.unwrap();
        assert!((record.rewards_margins.unwrap() - margins).abs() < 1e-12);
        let in_pairs = |example: &Example| {
            let whole = |answer: usize| example.answers[answer].n_tokens + example.n_prompt;
            example.pairs.iter().map(|&(a, b)| whole(a) + whole(b)).sum::<usize>()
        };
        assert_eq!(record.num_tokens, 100 + in_pairs(&added[0].0) + in_pairs(&added[1].0));
        assert_eq!(record.num_tokens_distinct, 10 + added[0].0.trie.len() + added[1].0.trie.len());
        let benign = added[1].1.measured.first_turn_probability.get();
        assert_eq!((record.n_prompts, record.first_turn_probability_benign), (2, benign));
    }

    #[test]
    fn a_record_is_read_again() {
        let (sums, _) = sums(Objective::DpoFull, &[Set::Harmful]);
        let (step, eval) = (sums.step(&FACTS), sums.eval(1, 0.25));
        let line = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::from_str::<StepRecord>(&line).unwrap(), step);
        let line = serde_json::to_string(&eval).unwrap();
        assert_eq!(serde_json::from_str::<EvalRecord>(&line).unwrap(), eval);
    }
}
