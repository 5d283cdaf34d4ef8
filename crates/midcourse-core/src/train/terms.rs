//! An example under an objective: which log-probabilities are needed, and what they cost.
//!
//! The loss is a function of sums over *spans* of nodes: whole answers or branches. Each sum is formed once, however
//! many pairs it is in, and so is its share of the gradient.
//!
//! What is imitated by `recovery`: of a harmful ranking the refusal and every correction from where it leaves the
//! response, which is unscored before; of a harmless one the response; of plain pairs the branches chosen. Each counts
//! the same, by its mean over tokens.
//!
//! The anchor, with any objective: the mean over the distinct chosen branches of the tree of the mean negative
//! log-likelihood of their first tokens. Of a tree it counts as its pairs do, so that a step's loss is the mean over its
//! pairs plus `anchor` times a mean over its trees, weighted by their pairs.

use std::collections::BTreeMap;

use super::loss::{log_sigmoid, sigmoid};
use super::{Example, Loss, Objective, ObjectiveSettings};
use crate::eval::Set;
use crate::synth::AnswerKind;

/// What an objective asks of an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    settings: ObjectiveSettings,
    scored: Vec<usize>,
    spans: Vec<Span>,
    decisions: Vec<Decision>,
    /// Spans, of `recovery`.
    imitated: Vec<usize>,
    /// Spans.
    anchored: Vec<usize>,
    /// Places in `scored`.
    first_turns: Vec<usize>,
}

/// Nodes whose log-probabilities are summed.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    /// Places in `scored`.
    places: Vec<usize>,
    /// What the sum is divided by for a mean, at least 1.
    n_tokens: f64,
}

/// What an objective compares, each a run of nodes along a branch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compared {
    /// What is chosen, over what, and for how many pairs it stands.
    pub(super) decisions: Vec<(Vec<usize>, Vec<usize>, f64)>,
    pub(super) imitated: Vec<Vec<usize>>,
    /// Beginnings of chosen branches.
    pub(super) anchored: Vec<Vec<usize>>,
}

/// One span over another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Decision {
    chosen: usize,
    rejected: usize,
    /// Pairs that it stands for.
    n_pairs: f64,
}

impl Terms {
    /// What the objective asks of the example.
    pub fn of(example: &Example, settings: &ObjectiveSettings) -> Self {
        let mut choosing = Choosing::of(example);
        let branches = choosing.branches();
        let (decisions, imitated) = match settings.objective {
            Objective::Fork => (branches.clone(), Vec::new()),
            Objective::DpoFull | Objective::Ipo => (choosing.answers(), Vec::new()),
            Objective::Recovery => (Vec::new(), choosing.imitated(&branches)),
        };
        let anchored = choosing.beginnings(&branches, settings.anchor_tokens);
        // Branches that nothing asks for are not scored.
        let used = decisions.iter().flat_map(|decision| [decision.chosen, decision.rejected]);
        let used: Vec<usize> = used.chain(imitated.iter().copied()).chain(anchored.iter().copied()).collect();
        let first_turns = first_turns(example);
        let mut scored: Vec<usize> = used.iter().flat_map(|&span| choosing.spans[span].0).copied().collect();
        scored.extend(&first_turns);
        scored.sort_unstable();
        scored.dedup();
        let place = |node: &usize| scored.binary_search(node).ok();
        let span = |(at, (nodes, n_tokens)): (usize, &(&[usize], usize))| Span {
            places: if used.contains(&at) { nodes.iter().filter_map(place).collect() } else { Vec::new() },
            n_tokens: (*n_tokens).max(1) as f64,
        };
        let spans = choosing.spans.iter().enumerate().map(span).collect();
        let first_turns = first_turns.iter().filter_map(place).collect();
        Self { settings: *settings, spans, decisions, imitated, anchored, first_turns, scored }
    }

    /// The nodes whose log-probabilities are needed, in the order of the tree, each once; no first tokens.
    pub fn scored(&self) -> &[usize] {
        &self.scored
    }

    /// What the example counts in a step: its pairs, of `recovery` what is imitated. Where this is 0 there is nothing to
    /// learn of it.
    pub fn weight(&self) -> f64 {
        match self.settings.objective {
            Objective::Recovery => self.imitated.len() as f64,
            _ => self.decisions.iter().map(|decision| decision.n_pairs).sum(),
        }
    }

    /// What is compared, in nodes.
    pub(super) fn compared(&self) -> Compared {
        let nodes = |&span: &usize| -> Vec<usize> {
            self.spans[span].places.iter().map(|&place| self.scored[place]).collect()
        };
        let decision =
            |decision: &Decision| (nodes(&decision.chosen), nodes(&decision.rejected), decision.n_pairs);
        Compared {
            decisions: self.decisions.iter().map(decision).collect(),
            imitated: self.imitated.iter().map(nodes).collect(),
            anchored: self.anchored.iter().map(nodes).collect(),
        }
    }

    /// The loss, from the log-probabilities of [`scored`](Self::scored) under policy and reference.
    ///
    /// The reference is not read by `recovery` and may be empty there.
    ///
    /// # Panics
    /// When a slice is shorter than `scored`.
    pub fn loss(&self, policy: &[f64], reference: &[f64]) -> Loss {
        let mut loss = Loss { weight: self.weight(), ..Loss::default() };
        let sums: Vec<f64> = self.spans.iter().map(|span| span.sum(policy)).collect();
        let mut slopes = vec![0.0; self.spans.len()];
        if self.settings.objective.needs_reference() {
            let of_span = |(span, sum): (&Span, &f64)| sum - span.sum(reference);
            let ratios: Vec<f64> = self.spans.iter().zip(&sums).map(of_span).collect();
            self.compare((&sums, &ratios), &mut slopes, &mut loss);
        }
        self.imitate(&sums, &mut slopes, &mut loss);
        self.hold(&sums, &mut slopes, &mut loss);
        for &place in &self.first_turns {
            loss.measured.first_turn_probability.add(policy[place].exp(), 1.0);
        }
        loss.gradient = vec![0.0; self.scored.len()];
        for (span, slope) in self.spans.iter().zip(slopes) {
            for &place in &span.places {
                loss.gradient[place] += slope;
            }
        }
        loss
    }

    /// Adds the decisions; `slopes` are derivatives by the spans' sums.
    fn compare(&self, (sums, ratios): (&[f64], &[f64]), slopes: &mut [f64], loss: &mut Loss) {
        let beta = self.settings.beta;
        for &Decision { chosen, rejected, n_pairs } in &self.decisions {
            let scale = |span: usize| match self.settings.objective {
                Objective::Ipo => 1.0 / self.spans[span].n_tokens,
                _ => 1.0,
            };
            let difference = ratios[chosen] * scale(chosen) - ratios[rejected] * scale(rejected);
            let (value, slope) = match self.settings.objective {
                Objective::Ipo => {
                    let miss = difference - 0.5 / beta;
                    (miss * miss, 2.0 * miss)
                }
                _ => (-log_sigmoid(beta * difference), -beta * sigmoid(-beta * difference)),
            };
            loss.value += n_pairs * value;
            slopes[chosen] += n_pairs * slope * scale(chosen);
            slopes[rejected] -= n_pairs * slope * scale(rejected);
            let measured = &mut loss.measured;
            let (better, worse) = (beta * ratios[chosen], beta * ratios[rejected]);
            measured.rewards_chosen.add(better, n_pairs);
            measured.rewards_rejected.add(worse, n_pairs);
            measured.rewards_margins.add(better - worse, n_pairs);
            measured.rewards_accuracies.add(f64::from(u8::from(better > worse)), n_pairs);
            measured.logps_chosen.add(sums[chosen], n_pairs);
            measured.logps_rejected.add(sums[rejected], n_pairs);
        }
    }

    /// Adds what is imitated.
    fn imitate(&self, sums: &[f64], slopes: &mut [f64], loss: &mut Loss) {
        for &span in &self.imitated {
            let n_tokens = self.spans[span].n_tokens;
            loss.value -= sums[span] / n_tokens;
            slopes[span] -= 1.0 / n_tokens;
            loss.measured.logps_chosen.add(sums[span], 1.0);
        }
    }

    /// Adds the anchor.
    fn hold(&self, sums: &[f64], slopes: &mut [f64], loss: &mut Loss) {
        let mut mean = super::Mean::default();
        let share = self.settings.anchor * loss.weight / self.anchored.len().max(1) as f64;
        for &span in &self.anchored {
            let n_tokens = self.spans[span].n_tokens;
            mean.add(-sums[span] / n_tokens, 1.0);
            slopes[span] -= share / n_tokens;
        }
        if let Some(mean) = mean.get() {
            loss.value += self.settings.anchor * loss.weight * mean;
            loss.measured.anchor.add(mean, loss.weight);
        }
    }
}

impl Span {
    fn sum(&self, logps: &[f64]) -> f64 {
        self.places.iter().map(|&place| logps[place]).sum()
    }
}

/// The first node of every correction's turn.
fn first_turns(example: &Example) -> Vec<usize> {
    example.answers.iter().filter_map(|answer| answer.nodes.get(answer.turn?).copied()).collect()
}

/// Spans in the choosing, each of them once.
struct Choosing<'e> {
    example: &'e Example,
    forks: Vec<bool>,
    /// The nodes of each, and by how many tokens a mean over it is formed.
    spans: Vec<(&'e [usize], usize)>,
    places: BTreeMap<(&'e [usize], usize), usize>,
}

impl<'e> Choosing<'e> {
    fn of(example: &'e Example) -> Self {
        Self { example, forks: example.forks(), spans: Vec::new(), places: BTreeMap::new() }
    }

    fn span(&mut self, nodes: &'e [usize], n_tokens: usize) -> usize {
        let place = *self.places.entry((nodes, n_tokens)).or_insert(self.spans.len());
        if place == self.spans.len() {
            self.spans.push((nodes, n_tokens));
        }
        place
    }

    /// Every pair on its whole answers.
    fn answers(&mut self) -> Vec<Decision> {
        let mut pairs = Vec::with_capacity(self.example.pairs.len());
        for &(chosen, rejected) in &self.example.pairs {
            pairs.push((self.answer(chosen), self.answer(rejected)));
        }
        decisions(pairs)
    }

    /// Every pair on the two branches that leave the node where it parts.
    ///
    /// Where one answer ends there and the other goes on, the branch of the first is empty: what it has more or less
    /// than its reference is 0, as it is in the sum over whole answers.
    fn branches(&mut self) -> Vec<Decision> {
        let mut pairs = Vec::with_capacity(self.example.pairs.len());
        for &(chosen, rejected) in &self.example.pairs {
            let from = self.example.parting((chosen, rejected));
            pairs.push((self.branch(chosen, from), self.branch(rejected, from)));
        }
        decisions(pairs)
    }

    /// A whole answer.
    fn answer(&mut self, at: usize) -> usize {
        let answer = &self.example.answers[at];
        self.span(&answer.nodes, answer.n_tokens)
    }

    /// An answer from a node to the next fork or its end.
    fn branch(&mut self, answer: usize, from: usize) -> usize {
        let nodes = &self.example.answers[answer].nodes[from..];
        let n_nodes = nodes.iter().position(|&node| self.forks[node]).map_or(nodes.len(), |last| last + 1);
        self.span(&nodes[..n_nodes], n_nodes)
    }

    /// The first tokens of the distinct chosen branches.
    fn beginnings(&mut self, branches: &[Decision], n_tokens: usize) -> Vec<usize> {
        let chosen: Vec<&'e [usize]> = distinct_chosen(branches).map(|span| self.spans[span].0).collect();
        let mut beginnings = Vec::new();
        for branch in chosen.into_iter().filter(|branch| !branch.is_empty()) {
            let nodes = &branch[..branch.len().min(n_tokens)];
            beginnings.push(self.span(nodes, nodes.len()));
        }
        beginnings
    }

    /// What `recovery` imitates.
    fn imitated(&mut self, branches: &[Decision]) -> Vec<usize> {
        let Some(set) = self.example.set else {
            let is_some = |span: &usize| !self.spans[*span].0.is_empty();
            return distinct_chosen(branches).filter(is_some).collect();
        };
        let mut imitated = Vec::new();
        for answer in &self.example.answers {
            let from = match (set, answer.kind) {
                (Set::Harmful, Some(AnswerKind::Refusal)) | (Set::Benign, Some(AnswerKind::Response)) => {
                    Some(0)
                }
                (Set::Harmful, Some(AnswerKind::Correction(_))) => answer.turn,
                _ => None,
            };
            if let Some(nodes) = from.and_then(|from| answer.nodes.get(from..)) {
                imitated.push(self.span(nodes, nodes.len()));
            }
        }
        imitated
    }
}

/// Equal pairs of spans as one, in the order in which they come.
fn decisions(pairs: Vec<(usize, usize)>) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = Vec::new();
    let mut places = BTreeMap::new();
    for (chosen, rejected) in pairs {
        let place = *places.entry((chosen, rejected)).or_insert(decisions.len());
        if place == decisions.len() {
            decisions.push(Decision { chosen, rejected, n_pairs: 0.0 });
        }
        decisions[place].n_pairs += 1.0;
    }
    decisions
}

/// The chosen spans, each once, in the order in which they come.
fn distinct_chosen(decisions: &[Decision]) -> impl Iterator<Item = usize> {
    let mut seen = std::collections::BTreeSet::new();
    decisions.iter().map(|decision| decision.chosen).filter(move |&span| seen.insert(span))
}
