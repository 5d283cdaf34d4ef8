//! Which of two answers is the better one: logistic regression on the difference of their features.
//!
//! P(i better than j) = σ(w·xᵢ − w·xⱼ), with a penalty of ½|w|² on the weights. There is no constant: the order in
//! which a pair is written says nothing. The loss is convex and is minimised by L-BFGS.
//!
//! Source: R. A. Bradley and M. E. Terry, *Rank Analysis of Incomplete Block Designs*, Biometrika 39, 1952; J. Nocedal
//! and S. J. Wright, *Numerical Optimization*, 2nd ed. 2006, algorithms 7.4 and 3.1.

use std::collections::VecDeque;

/// The features of an answer: columns and values.
pub(super) type Row = Vec<(usize, f64)>;

/// Steps after which it is good enough.
const MAX_STEPS: usize = 60;
/// Steps whose curvature is remembered.
const MEMORY: usize = 6;
/// Halvings of a step before no better one is looked for.
const MAX_HALVINGS: usize = 30;
/// The largest slope of the loss in any direction at which it is at its minimum, a pair.
const FLAT: f64 = 1e-5;
/// Scores as near as this are the same: the classifier cannot tell the two answers apart.
const TIE: f64 = 1e-6;

/// Weights of the columns, learned from rankings (answers best first).
pub(super) fn fit(rankings: &[&[Row]]) -> Vec<f64> {
    let columns = rankings.iter().copied().flatten().flatten().map(|(column, _)| column + 1);
    let n_pairs: usize = rankings.iter().map(|answers| crate::synth::n_pairs(answers.len())).sum();
    let mut at = Point::new(rankings, vec![0.0; columns.max().unwrap_or(0)]);
    let mut steps = VecDeque::with_capacity(MEMORY + 1);
    for _ in 0..MAX_STEPS {
        if at.gradient.iter().all(|slope| slope.abs() <= FLAT * n_pairs as f64) {
            break;
        }
        let Some(next) = at.descended(rankings, &direction(&at.gradient, &steps)) else { break };
        steps.push_back(Step::between(&at, &next));
        if steps.len() > MEMORY {
            steps.pop_front();
        }
        at = next;
    }
    at.weights
}

/// Pairs of a ranking that the weights put in the right order; those they do not tell apart count half.
pub(super) fn n_right(answers: &[Row], weights: &[f64]) -> f64 {
    let scores = scores(answers, weights);
    let right = |margin: f64| match margin {
        margin if margin.abs() < TIE => 0.5,
        margin if margin > 0.0 => 1.0,
        _ => 0.0,
    };
    let pairs =
        scores.iter().enumerate().flat_map(|(i, better)| scores[i + 1..].iter().map(move |s| better - s));
    pairs.map(right).sum()
}

/// Weights with the loss they have and its gradient.
struct Point {
    weights: Vec<f64>,
    loss: f64,
    gradient: Vec<f64>,
}

impl Point {
    /// An answer stands in many pairs: their slopes are summed over its score before they go to its features.
    fn new(rankings: &[&[Row]], weights: Vec<f64>) -> Self {
        let mut loss = 0.5 * dot(&weights, &weights);
        let mut gradient = weights.clone();
        for answers in rankings {
            let (lost, slopes) = pair_losses(&scores(answers, &weights));
            loss += lost;
            for (row, slope) in answers.iter().zip(slopes) {
                for (column, value) in row {
                    gradient[*column] += slope * value;
                }
            }
        }
        Self { weights, loss, gradient }
    }

    /// The first point along a direction, of steps that are halved, with enough of the loss gone; none when there is none.
    fn descended(&self, rankings: &[&[Row]], direction: &[f64]) -> Option<Self> {
        const ENOUGH: f64 = 1e-4;
        let slope = dot(direction, &self.gradient);
        let steps = std::iter::successors(Some(1.0), |step| Some(0.5 * step)).take(MAX_HALVINGS);
        let mut tried = steps.map(|step| {
            let weights = self.weights.iter().zip(direction).map(|(weight, d)| weight + step * d);
            (step, Self::new(rankings, weights.collect()))
        });
        tried.find(|(step, next)| next.loss <= self.loss + ENOUGH * step * slope).map(|(_, next)| next)
    }
}

/// The loss of all pairs of a ranking with these scores, and its slope in each score.
fn pair_losses(scores: &[f64]) -> (f64, Vec<f64>) {
    let (mut loss, mut slopes) = (0.0, vec![0.0; scores.len()]);
    for i in 0..scores.len() {
        for j in i + 1..scores.len() {
            let margin = scores[i] - scores[j];
            // ln(1 + e^−m), without overflow.
            loss += (-margin.abs()).exp().ln_1p() + (-margin).max(0.0);
            let slope = 1.0 / (1.0 + margin.exp());
            slopes[i] -= slope;
            slopes[j] += slope;
        }
    }
    (loss, slopes)
}

/// How weights and gradient changed together.
struct Step {
    weights: Vec<f64>,
    gradient: Vec<f64>,
    /// Product of the two: above 0, as the loss is strictly convex.
    curvature: f64,
}

impl Step {
    fn between(from: &Point, to: &Point) -> Self {
        let difference = |from: &[f64], to: &[f64]| -> Vec<f64> {
            to.iter().zip(from).map(|(to, from)| to - from).collect()
        };
        let (weights, gradient) =
            (difference(&from.weights, &to.weights), difference(&from.gradient, &to.gradient));
        let curvature = dot(&weights, &gradient);
        Self { weights, gradient, curvature }
    }
}

/// Down the slope, as bent as the last steps found it.
fn direction(gradient: &[f64], steps: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let Some(last) = steps.back() else {
        let length = dot(gradient, gradient).sqrt();
        for d in &mut direction {
            *d /= length;
        }
        return direction;
    };
    let mut shares = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        let share = dot(&step.weights, &direction) / step.curvature;
        add(&mut direction, -share, &step.gradient);
        shares.push(share);
    }
    let scale = last.curvature / dot(&last.gradient, &last.gradient);
    for d in &mut direction {
        *d *= scale;
    }
    for (step, share) in steps.iter().zip(shares.iter().rev()) {
        let back = dot(&step.gradient, &direction) / step.curvature;
        add(&mut direction, share - back, &step.weights);
    }
    direction
}

fn scores(answers: &[Row], weights: &[f64]) -> Vec<f64> {
    // A column that was never learned from has no weight.
    let weight = |column: usize| weights.get(column).copied().unwrap_or(0.0);
    answers.iter().map(|row| row.iter().map(|(column, value)| value * weight(*column)).sum()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// With one feature that the better answer has in a pairs and the worse in b, the weight solves
    /// a·σ(−w) − b·σ(w) = w.
    #[test]
    fn a_single_weight_is_where_its_slope_is_nought() {
        let (has, has_not): (Row, Row) = (vec![(0, 1.0)], vec![]);
        let good = [has.clone(), has_not.clone()];
        let bad = [has_not, has];
        let rankings: Vec<&[Row]> =
            std::iter::repeat_n(&good[..], 30).chain(std::iter::repeat_n(&bad[..], 10)).collect();
        let w = fit(&rankings)[0];
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!((30.0 * sigma(-w) - 10.0 * sigma(w) - w).abs() < 40.0 * FLAT, "{w}");
        // By bisection.
        assert!((w - 0.9728).abs() < 1e-3, "{w}");
        assert!((n_right(&good, &[w]) - 1.0).abs() < 1e-12 && n_right(&bad, &[w]) < 1e-12);
        assert!((n_right(&good, &[0.0]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_learn_from_tells_nothing() {
        let weights = fit(&[]);
        assert!((n_right(&[vec![(3, 1.0)], vec![], vec![]], &weights) - 1.5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_gradient_is_the_slope_of_the_loss(
            rankings in prop::collection::vec(prop::collection::vec(prop::collection::vec((0..4_usize, -2.0..2.0), 0..4), 2..5), 1..6),
            weights in prop::collection::vec(-2.0..2.0, 4),
        ) {
            let rankings: Vec<&[Row]> = rankings.iter().map(Vec::as_slice).collect();
            let point = Point::new(&rankings, weights.clone());
            for column in 0..4 {
                let loss = |shift: f64| {
                    let mut weights: Vec<f64> = weights.clone();
                    weights[column] += shift;
                    Point::new(&rankings, weights).loss
                };
                // A central difference; its error is of order 1e-8 here.
                let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                prop_assert!((slope - point.gradient[column]).abs() < 1e-5, "{} {}", slope, point.gradient[column]);
            }
            let fitted = Point::new(&rankings, fit(&rankings));
            prop_assert!(fitted.loss <= point.loss + 1e-4);
        }
    }
}
