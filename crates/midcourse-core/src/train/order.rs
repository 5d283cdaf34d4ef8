//! Which examples are trained on, and in which order.
//!
//! Everything is decided by hashes of the seed and of what an example is: the same data give the same steps on every
//! machine, and a resumed run goes on where it stopped. Prompts are held out whole, by the words that
//! [`data::Split`](crate::data::Split) goes by. Harmful and contrast rankings are mixed evenly, so that every step
//! holds about the same share of each.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::Example;
use crate::data::chance;
use crate::eval::Set;
use crate::{Error, Result};

/// How examples are divided and ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderSettings {
    /// Of every choice.
    pub seed: u64,
    /// How often every example is seen.
    pub epochs: usize,
    /// Examples of a step.
    pub prompts_per_step: usize,
    /// Share of contrast rankings among the rankings that are trained on, from 0 (none) to 1 (no others).
    pub contrast_share: f64,
    /// Share of prompts that are held out, from 0 to less than 1.
    pub eval_fraction: f64,
}

/// Who is trained on; places among the examples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Division {
    /// Trained on, in the order of the data.
    pub trained: Vec<usize>,
    /// Held out, to watch the loss on.
    pub held_out: Vec<usize>,
    /// Left out, so that the share of contrast rankings is the one asked for.
    pub left_out: Vec<usize>,
    /// Whether there is a share to keep.
    pub mix: Mix,
}

/// Whether harmful and contrast rankings can be mixed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mix {
    /// There are both.
    #[default]
    Both,
    /// There are rankings of this set only: all are taken, whatever share was asked for.
    Only(Set),
    /// There are plain pairs only, which do not say what they are.
    Unknown,
}

/// Prompts that a set must have for one of them to be held out whatever their hashes say.
const MIN_TO_HOLD_OUT: usize = 4;

impl Division {
    /// Divides examples.
    ///
    /// Of each set the share of its prompts is held out that was asked for, rounded: at least one of four and more, and
    /// never all. Where this holds out nothing and there are two prompts, one is.
    ///
    /// # Errors
    /// [`Error::Setting`] when a number makes no sense, or the share of contrast leaves nothing to train on.
    pub fn new(examples: &[Example], settings: &OrderSettings) -> Result<Self> {
        settings.check()?;
        let held_out = held_out(examples, settings);
        let (held_out, trained) = (0..examples.len()).partition(|&at| held_out[at]);
        let mut division = Self { mix: mix(examples), ..Self::default() };
        division.refuse_nothing(settings.contrast_share)?;
        division.trained = division.mixed(examples, trained, settings);
        division.held_out = division.mixed(examples, held_out, settings);
        division.left_out.sort_unstable();
        Ok(division)
    }

    /// The examples of every step, epoch after epoch; the last step of an epoch may hold fewer.
    pub fn steps(&self, examples: &[Example], settings: &OrderSettings) -> Vec<Vec<usize>> {
        let epoch = |epoch: usize| self.epoch(examples, epoch, settings.seed);
        let chunks = |order: Vec<usize>| -> Vec<Vec<usize>> {
            order.chunks(settings.prompts_per_step.max(1)).map(<[usize]>::to_vec).collect()
        };
        (0..settings.epochs).map(epoch).flat_map(chunks).collect()
    }

    /// What is trained on in the order of an epoch, counted from 0.
    fn epoch(&self, examples: &[Example], epoch: usize, seed: u64) -> Vec<usize> {
        let mut of_set: BTreeMap<Option<Set>, Vec<usize>> = BTreeMap::new();
        for &at in &self.trained {
            of_set.entry(examples[at].set).or_default().push(at);
        }
        let purpose = format!("epoch {epoch}");
        let mut placed = Vec::with_capacity(self.trained.len());
        for (set, mut members) in of_set {
            shuffle(&mut members, examples, (seed, &purpose));
            let n = members.len() as f64;
            placed.extend(members.into_iter().enumerate().map(|(i, at)| ((i as f64 + 0.5) / n, set, at)));
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        placed.into_iter().map(|(_, _, at)| at).collect()
    }

    fn refuse_nothing(&self, share: f64) -> Result<()> {
        let (what, hint) = match self.mix {
            Mix::Only(Set::Harmful) if share >= 1.0 => {
                ("contrast rankings only, and there are none", "give --data with harmless prompts too")
            }
            Mix::Only(Set::Benign) if share <= 0.0 => {
                ("no contrast rankings, and there are no others", "give --data with harmful prompts too")
            }
            _ => return Ok(()),
        };
        let problem = format!("{share} trains on {what}");
        Err(Error::Setting { field: "--contrast-share", problem, hint: format!("{hint}, or another share") })
    }

    /// Leaves out of the set that is too many what the share asks for.
    fn mixed(&mut self, examples: &[Example], members: Vec<usize>, settings: &OrderSettings) -> Vec<usize> {
        let share = settings.contrast_share;
        if self.mix != Mix::Both {
            return members;
        }
        let n_of = |set| members.iter().filter(|&&at| examples[at].set == Some(set)).count();
        let n_kept = kept((n_of(Set::Harmful), n_of(Set::Benign)), share);
        let mut order = members.clone();
        shuffle(&mut order, examples, (settings.seed, "contrast"));
        let mut left = n_kept;
        let mut is_kept = |at: usize| {
            let left = match examples[at].set {
                Some(Set::Harmful) => &mut left.0,
                Some(Set::Benign) => &mut left.1,
                None => return true,
            };
            let is_kept = *left > 0;
            *left = left.saturating_sub(1);
            is_kept
        };
        let (mut kept, left_out): (Vec<_>, Vec<_>) = order.into_iter().partition(|&at| is_kept(at));
        self.left_out.extend(left_out);
        kept.sort_unstable();
        kept
    }
}

impl OrderSettings {
    fn check(&self) -> Result<()> {
        let wrong =
            |field, problem, hint: &str| Err(Error::Setting { field, problem, hint: hint.to_owned() });
        if !(0.0..=1.0).contains(&self.contrast_share) {
            let problem = format!("expected a share from 0 to 1, found {}", self.contrast_share);
            return wrong(
                "--contrast-share",
                problem,
                "0.5 mixes as many contrast rankings in as there are others",
            );
        }
        if !(0.0..1.0).contains(&self.eval_fraction) {
            let problem = format!("expected a share from 0 to less than 1, found {}", self.eval_fraction);
            return wrong("--eval-fraction", problem, "0.1 holds about every tenth prompt out");
        }
        for (field, n) in [("--epochs", self.epochs), ("--prompts-per-step", self.prompts_per_step)] {
            if n == 0 {
                return wrong(field, "expected at least 1, found 0".to_owned(), "1 is the least");
            }
        }
        Ok(())
    }
}

/// How many of so many harmful and harmless ones keep the share of the latter; of what there is, at least one where the
/// share allows it.
fn kept((n_harmful, n_benign): (usize, usize), share: f64) -> (usize, usize) {
    if share <= 0.0 {
        return (n_harmful, 0);
    }
    if share >= 1.0 {
        return (0, n_benign);
    }
    // Of a side that is not there the other is taken whole.
    let most = |n: usize, of: usize, odds: f64| match of {
        0 => n,
        // A hair is added, so that a ratio that comes out whole is not rounded down.
        _ => ((of as f64 * odds + 1e-9) as usize).max(1).min(n),
    };
    let odds = share / (1.0 - share);
    (most(n_harmful, n_benign, 1.0 / odds), most(n_benign, n_harmful, odds))
}

fn mix(examples: &[Example]) -> Mix {
    let has = |set| examples.iter().any(|example| example.set == Some(set));
    match (has(Set::Harmful), has(Set::Benign)) {
        (true, true) => Mix::Both,
        (true, false) => Mix::Only(Set::Harmful),
        (false, true) => Mix::Only(Set::Benign),
        (false, false) => Mix::Unknown,
    }
}

/// Whether each example is held out.
fn held_out(examples: &[Example], settings: &OrderSettings) -> Vec<bool> {
    // What differs in no word has the same chance, and goes the same way.
    let chances: Vec<u64> =
        examples.iter().map(|example| chance(settings.seed, &example.prompt).to_bits()).collect();
    let mut of_set: BTreeMap<Option<Set>, Vec<u64>> = BTreeMap::new();
    for (example, &chance) in examples.iter().zip(&chances) {
        of_set.entry(example.set).or_default().push(chance);
    }
    let mut held: Vec<u64> = Vec::new();
    for prompts in of_set.values_mut() {
        distinct(prompts);
        held.extend(&prompts[..n_held_out(prompts.len(), settings.eval_fraction)]);
    }
    let mut all = chances.clone();
    distinct(&mut all);
    if held.is_empty() && settings.eval_fraction > 0.0 && all.len() > 1 {
        held.push(all[0]);
    }
    chances.iter().map(|chance| held.contains(chance)).collect()
}

/// Bits of numbers that are not negative, in the order of the numbers.
fn distinct(chances: &mut Vec<u64>) {
    chances.sort_unstable();
    chances.dedup();
}

fn n_held_out(n: usize, fraction: f64) -> usize {
    let least = usize::from(fraction > 0.0 && n >= MIN_TO_HOLD_OUT);
    ((n as f64 * fraction).round() as usize).max(least).min(n.saturating_sub(1))
}

/// Orders examples by a hash of seed, purpose and id.
fn shuffle(members: &mut [usize], examples: &[Example], (seed, purpose): (u64, &str)) {
    members.sort_by_cached_key(|&at| {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update((purpose.len() as u64).to_le_bytes());
        hash.update(purpose);
        hash.update(&examples[at].id);
        // Equal ids stand in the order of the data.
        (hash.finalize().to_vec(), at)
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chat::Message;
    use crate::train::fixture;

    const SETTINGS: OrderSettings =
        OrderSettings { seed: 0, epochs: 2, prompts_per_step: 4, contrast_share: 0.5, eval_fraction: 0.1 };

    fn example(set: Option<Set>, at: usize, prompt: &str) -> Example {
        let bare = fixture::example(set, &[(None, vec![1]), (None, vec![2])]);
        Example { id: format!("{at}"), prompt: vec![Message::user(prompt)], ..bare }
    }

    fn examples(n_harmful: usize, n_benign: usize) -> Vec<Example> {
        let of = |set, from: usize, n: usize| {
            (from..from + n).map(move |at| example(Some(set), at, &format!("May I peek {at} times?")))
        };
        of(Set::Harmful, 0, n_harmful).chain(of(Set::Benign, n_harmful, n_benign)).collect()
    }

    fn n_benign(examples: &[Example], members: &[usize]) -> usize {
        members.iter().filter(|&&at| examples[at].set == Some(Set::Benign)).count()
    }

    #[test]
    fn a_prompt_is_wholly_on_one_side() {
        let mut all = examples(10, 10);
        all.extend(
            (0..20).map(|at| example(Some(Set::Harmful), 100 + at, &format!("MAY I peek, {at} times"))),
        );
        let division =
            Division::new(&all, &OrderSettings { eval_fraction: 0.3, contrast_share: 0.33, ..SETTINGS })
                .unwrap();
        let words = |at: &usize| chance(0, &all[*at].prompt).to_bits();
        let held: Vec<u64> = division.held_out.iter().map(words).collect();
        assert!(!held.is_empty() && division.trained.iter().all(|at| !held.contains(&words(at))));
    }

    #[test]
    fn both_sets_are_held_out_where_there_are_enough() {
        for seed in 0..20 {
            let settings = OrderSettings { seed, eval_fraction: 0.01, ..SETTINGS };
            let all = examples(4, 4);
            let held_out = Division::new(&all, &settings).unwrap().held_out;
            assert_eq!((held_out.len(), n_benign(&all, &held_out)), (2, 1));
        }
        let held_out = |n, eval_fraction| {
            Division::new(&examples(n, 0), &OrderSettings { eval_fraction, ..SETTINGS })
                .unwrap()
                .held_out
                .len()
        };
        assert_eq!([held_out(1, 0.5), held_out(2, 0.1), held_out(3, 0.9), held_out(8, 0.0)], [0, 1, 2, 0]);
        assert_eq!(held_out(30, 0.1), 3);
    }

    #[test]
    fn the_share_of_contrast_is_kept_and_what_is_left_out_is_said() {
        let all = examples(30, 10);
        let shares = [(0.5, 10, 10), (0.0, 30, 0), (1.0, 0, 10), (0.25, 30, 10), (0.2, 30, 7), (0.8, 2, 10)];
        for (contrast_share, n_harmful, n_contrast) in shares {
            let settings = OrderSettings { contrast_share, eval_fraction: 0.0, ..SETTINGS };
            let Division { trained, left_out, mix, .. } = Division::new(&all, &settings).unwrap();
            assert_eq!((trained.len(), n_benign(&all, &trained)), (n_harmful + n_contrast, n_contrast));
            assert_eq!((trained.len() + left_out.len(), mix), (40, Mix::Both));
        }
    }

    #[test]
    fn a_set_alone_is_taken_whole_and_nothing_is_refused_by_name() {
        let of = |examples: &[Example], contrast_share| {
            Division::new(examples, &OrderSettings { contrast_share, eval_fraction: 0.0, ..SETTINGS })
        };
        let harmful = of(&examples(5, 0), 0.5).unwrap();
        assert_eq!((harmful.trained.len(), harmful.mix), (5, Mix::Only(Set::Harmful)));
        let plain: Vec<Example> = (0..5).map(|at| example(None, at, &format!("{at}"))).collect();
        assert_eq!(of(&plain, 1.0).unwrap().mix, Mix::Unknown);
        assert_eq!(of(&plain, 1.0).unwrap().trained.len(), 5);
        let refused = of(&examples(5, 0), 1.0).unwrap_err().to_string();
        assert_eq!(refused, "--contrast-share: 1 trains on contrast rankings only, and there are none");
        assert!(of(&examples(0, 5), 0.0).is_err() && of(&examples(0, 5), 1.0).is_ok());
        assert!(of(&examples(5, 5), 1.5).is_err() && of(&examples(5, 5), f64::NAN).is_err());
    }

    #[test]
    fn every_step_holds_about_the_share() {
        let all = examples(24, 24);
        let settings = OrderSettings { eval_fraction: 0.0, ..SETTINGS };
        let division = Division::new(&all, &settings).unwrap();
        let steps = division.steps(&all, &settings);
        assert_eq!(steps.len(), 2 * 12);
        assert!(steps.iter().all(|step| step.len() == 4 && n_benign(&all, step) == 2));
        assert_ne!(steps[..12], steps[12..]);
        let other = division.steps(&all, &OrderSettings { seed: 1, ..settings });
        assert_ne!(steps, other);
    }

    proptest! {
        #[test]
        fn everything_is_somewhere_once_and_every_epoch_sees_what_is_trained_on(
            (n_harmful, n_contrast, n_plain) in (0usize..20, 0usize..20, 0usize..5),
            (contrast_share, eval_fraction) in (0.05..0.95, 0.0..0.9),
            (seed, prompts_per_step) in (0u64..50, 1usize..7),
        ) {
            let mut all = examples(n_harmful, n_contrast);
            all.extend((0..n_plain).map(|at| example(None, 200 + at, &format!("Plain {at}"))));
            let settings = OrderSettings { seed, epochs: 2, prompts_per_step, contrast_share, eval_fraction };
            let division = Division::new(&all, &settings).unwrap();
            prop_assert_eq!(&division, &Division::new(&all, &settings).unwrap());
            let Division { trained, held_out, left_out, .. } = &division;
            let mut somewhere = [trained.clone(), held_out.clone(), left_out.clone()].concat();
            somewhere.sort_unstable();
            prop_assert_eq!(somewhere, (0..all.len()).collect::<Vec<_>>());
            prop_assert!(!trained.is_empty() || all.is_empty());
            prop_assert!(eval_fraction == 0.0 || all.len() < 2 || !held_out.is_empty());
            let steps = division.steps(&all, &settings);
            let n_steps = trained.len().div_ceil(prompts_per_step);
            prop_assert_eq!(steps.len(), 2 * n_steps);
            for epoch in steps.chunks(n_steps.max(1)) {
                let mut seen = epoch.concat();
                seen.sort_unstable();
                prop_assert_eq!(&seen, trained);
            }
        }
    }
}
