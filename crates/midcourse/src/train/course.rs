//! The course of a training: trees with what an objective asks of them, in the order of the steps.

use anyhow::Result;
use midcourse_core::chat::Message;
use midcourse_core::eval::Set;
use midcourse_core::train::{Division, Dropped, Example, LearningRate, Prepared, Preparing, Terms};

use super::inputs::Preferences;
use super::manifest::{Counts, DropCount};
use super::settings::TrainSettings;
use crate::failure::Failure;
use crate::model::Base;

/// A tree, what the objective asks of it, and what the base says there.
#[derive(Debug)]
pub(crate) struct Item {
    pub example: Example,
    pub terms: Terms,
    /// Log-probabilities of the scored nodes before training; empty where nothing is compared with them.
    pub reference: Vec<f64>,
}

/// What is trained on, when, and how fast.
#[derive(Debug)]
pub(crate) struct Course {
    /// Every tree; steps and what is held out name them by their places.
    pub items: Vec<Item>,
    /// The trees of every step.
    pub steps: Vec<Vec<usize>>,
    pub held_out: Vec<usize>,
    pub learning_rate: LearningRate,
    n_epochs: usize,
}

/// A course, and what it was made of.
#[derive(Debug)]
pub(crate) struct LaidOut {
    pub course: Course,
    pub counts: Counts,
    pub dropped: Vec<Dropped>,
    /// The prompts that are trained on.
    pub prompts: Vec<Vec<Message>>,
}

impl Course {
    /// Writes every conversation in tokens and lays out every step.
    pub(crate) fn lay_out(
        preferences: &Preferences,
        settings: &TrainSettings,
        base: &Base,
    ) -> Result<LaidOut> {
        let max_tokens = settings.steps.max_tokens.min(base.config.context);
        let preparing =
            Preparing { template: &base.template, tokenizer: base.tokenizer.as_ref(), max_tokens };
        let mut prepared = Prepared::default();
        match preferences {
            Preferences::Rankings(rankings) => {
                rankings.iter().try_for_each(|ranking| preparing.ranking(ranking, &mut prepared))?;
            }
            Preferences::Pairs(pairs) => preparing.pairs(pairs, &mut prepared)?,
        }
        let mut counts = Counts {
            n_mismatched: prepared.n_mismatched,
            dropped: DropCount::of(&prepared),
            ..Counts::default()
        };
        let Prepared { examples, dropped, .. } = prepared;
        let (terms, examples): (Vec<Terms>, Vec<Example>) = examples
            .into_iter()
            .map(|example| (Terms::of(&example, &settings.objective), example))
            .filter(|(terms, _)| terms.weight() > 0.0 || count(&mut counts.n_without_terms))
            .unzip();
        if examples.is_empty() {
            return Err(nothing(&counts).into());
        }
        let order = settings.order();
        let division = Division::new(&examples, &order)?;
        let steps = division.steps(&examples, &order);
        if steps.is_empty() {
            return Err(nothing(&counts).into());
        }
        let trained: Vec<&Example> = division.trained.iter().map(|&at| &examples[at]).collect();
        counts.take(&trained, &division);
        let prompts = trained.iter().map(|example| example.prompt.clone()).collect();
        let item = |(example, terms)| Item { example, terms, reference: Vec::new() };
        let rates = &settings.steps;
        let learning_rate =
            LearningRate::new(rates.learning_rate, rates.schedule, rates.warmup, steps.len())?;
        let items = examples.into_iter().zip(terms).map(item).collect();
        let course = Self::new(items, steps, division.held_out, (learning_rate, rates.epochs));
        Ok(LaidOut { course, counts, dropped, prompts })
    }

    pub(super) fn new(
        items: Vec<Item>,
        steps: Vec<Vec<usize>>,
        held_out: Vec<usize>,
        (learning_rate, n_epochs): (LearningRate, usize),
    ) -> Self {
        Self { items, steps, held_out, learning_rate, n_epochs }
    }

    /// How often the data has been gone through after so many steps.
    pub(crate) fn epoch(&self, step: usize) -> f64 {
        step as f64 * self.n_epochs as f64 / self.steps.len().max(1) as f64
    }

    /// The trees of a step, counted from 0.
    pub(crate) fn step(&self, step: usize) -> Vec<&Item> {
        self.steps[step].iter().map(|&at| &self.items[at]).collect()
    }

    /// The trees that are held out.
    pub(crate) fn held_out(&self) -> Vec<&Item> {
        self.held_out.iter().map(|&at| &self.items[at]).collect()
    }

    /// Places of all trees that are trained on or held out, ascending.
    pub(crate) fn used(&self) -> Vec<usize> {
        let mut used: Vec<usize> = self.steps.iter().flatten().chain(&self.held_out).copied().collect();
        used.sort_unstable();
        used.dedup();
        used
    }
}

/// Counts, and says that what was counted is not kept.
fn count(n: &mut usize) -> bool {
    *n += 1;
    false
}

impl Counts {
    fn take(&mut self, trained: &[&Example], division: &Division) {
        self.n_train = trained.len();
        self.n_contrast = trained.iter().filter(|example| example.set == Some(Set::Benign)).count();
        self.n_held_out = division.held_out.len();
        self.n_left_out = division.left_out.len();
        self.n_pairs = trained.iter().map(|example| example.pairs.len()).sum();
        self.n_tokens_distinct = trained.iter().map(|example| example.n_tokens()).sum();
        self.n_tokens_pairs = trained.iter().map(|example| example.n_pair_tokens()).sum();
    }
}

fn nothing(counts: &Counts) -> Failure {
    let mut why: Vec<String> = counts.dropped.iter().map(DropCount::text).collect();
    if counts.n_without_terms > 0 {
        why.push(format!(
            "{} prompts without anything that the objective learns from",
            counts.n_without_terms
        ));
    }
    Failure::Input {
        problem: format!("nothing is left to train on: {}", why.join("; ")),
        hint: "raise --max-tokens for what is too long, or take other data".into(),
    }
}

/// Trees in passes: neighbours together as long as they have at most so many tokens, a larger one alone.
pub(crate) fn packs<'i, 'a>(items: &'i [&'a Item], most: usize) -> Vec<&'i [&'a Item]> {
    let mut packs = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let mut n_tokens = 0;
        let fits = |item: &&&Item| {
            n_tokens += item.example.n_tokens();
            n_tokens <= most
        };
        let n = rest.iter().take_while(fits).count().max(1);
        let (pack, after) = rest.split_at(n);
        packs.push(pack);
        rest = after;
    }
    packs
}
