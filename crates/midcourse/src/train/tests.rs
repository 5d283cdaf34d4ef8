//! The loop with a learner of two numbers: what it asks for, and that it goes on where it stopped.
//!
//! The learner's log-probabilities are its first number by the token, its gradient is computed by hand. Like the real
//! one it has a memory besides its weights, so that a checkpoint which forgets it is found out.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use midcourse_core::chat::Message;
use midcourse_core::eval::Set;
use midcourse_core::synth::AnswerKind;
use midcourse_core::train::{
    Division, Example, LearningRate, Objective, ObjectiveSettings, OrderSettings, Schedule, Scored, Terms,
    Trie,
};
use midcourse_engine::train::AdapterUse;

use super::adapter::{AdapterDir, Exported};
use super::checkpoint::{Checkpoints, State};
use super::course::{Course, Item, packs};
use super::learner::{Asked, Learner, PerNode, Weights};
use super::log::Log;
use super::reference::{self, Cache};
use super::run::{EVAL_LOG, Ended, Files, TRAIN_LOG, Training, read_evals, read_steps};
use super::settings::StepSettings;
use super::tensorboard::EventFile;
use super::watch::Watch;
use crate::progress::Steps;
use crate::run_dir::{Opening, RunDir};
use crate::signals::Signals;
use crate::storage::StorageError;

/// Learns one number, with a momentum.
struct Toy {
    number: f64,
    momentum: f64,
    gathered: f64,
    /// Passes of any kind, and the most tokens in one.
    n_passes: Cell<usize>,
    most_tokens: Cell<usize>,
    /// A step that it cannot take.
    breaks_at: Option<usize>,
    n_steps: usize,
}

impl Toy {
    fn new() -> Self {
        Self {
            number: 0.0,
            momentum: 0.0,
            gathered: 0.0,
            n_passes: Cell::new(0),
            most_tokens: Cell::new(0),
            breaks_at: None,
            n_steps: 0,
        }
    }

    /// What the number does to the log-probability of a token: those of turns rise by it where turning is right.
    fn slope(token: u32) -> f64 {
        match token % 20 {
            5..=7 | 11..=14 => 1.0,
            1..=4 | 15..=17 => -1.0,
            _ => 0.0,
        }
    }

    fn logps(&self, asked: &Asked<'_>, number: f64) -> PerNode {
        self.n_passes.set(self.n_passes.get() + 1);
        let n_tokens: usize = asked.iter().map(|(trie, _)| trie.len()).sum();
        self.most_tokens.set(self.most_tokens.get().max(n_tokens));
        let of = |trie: &Trie, node: &usize| -2.0 + 0.1 * number * Self::slope(trie.token(*node));
        asked.iter().map(|(trie, nodes)| nodes.iter().map(|node| of(trie, node)).collect()).collect()
    }
}

impl Learner for Toy {
    fn score(&self, asked: Asked<'_>, adapter: AdapterUse) -> Result<PerNode> {
        let number = if adapter == AdapterUse::On { self.number } else { 0.0 };
        Ok(self.logps(&asked, number))
    }

    fn gather(&mut self, asked: Asked<'_>, gradient: &mut dyn FnMut(&[Vec<f64>]) -> PerNode) -> Result<()> {
        let gradient = gradient(&self.logps(&asked, self.number));
        for ((trie, nodes), gradient) in asked.iter().zip(&gradient) {
            let slopes = nodes.iter().map(|&node| 0.1 * Self::slope(trie.token(node)));
            self.gathered += slopes.zip(gradient).map(|(slope, by)| slope * by).sum::<f64>();
        }
        Ok(())
    }

    fn norm(&self) -> f64 {
        if self.breaks_at == Some(self.n_steps) { f64::NAN } else { self.gathered.abs() }
    }

    fn step(&mut self, shortened: f64, learning_rate: f64) -> Result<()> {
        self.momentum = 0.9 * self.momentum + shortened * self.gathered;
        self.number -= learning_rate * self.momentum;
        self.gathered = 0.0;
        self.n_steps += 1;
        Ok(())
    }

    fn is_finite(&self) -> bool {
        self.number.is_finite()
    }

    fn weights(&self) -> Result<Weights> {
        let (adapter, optimizer) = (self.number.to_le_bytes().to_vec(), self.momentum.to_le_bytes().to_vec());
        Ok(Weights { adapter, optimizer })
    }

    fn restore(&mut self, weights: &Weights) -> Result<()> {
        let (Ok(number), Ok(momentum)) =
            (weights.adapter.as_slice().try_into(), weights.optimizer.as_slice().try_into())
        else {
            bail!("not eight bytes");
        };
        (self.number, self.momentum) = (f64::from_le_bytes(number), f64::from_le_bytes(momentum));
        Ok(())
    }

    fn export(&self) -> Result<Exported> {
        Ok(Exported { config: "{}".into(), weights: self.number.to_le_bytes().to_vec() })
    }
}

/// A prompt of three tokens, a response of five, a correction that leaves it after two, a refusal.
fn example(at: usize) -> Example {
    let set = if at.is_multiple_of(3) { Set::Benign } else { Set::Harmful };
    let first = at * 20 + if set == Set::Benign { 10 } else { 0 };
    let t = |n: usize| (first + n) as u32;
    let response = [t(1), t(2), t(3), t(4), 0];
    let answers = [
        (AnswerKind::Refusal, vec![t(5), t(6), 0]),
        (AnswerKind::Correction(1), vec![t(1), t(2), t(7), 0]),
        (AnswerKind::Response, response.to_vec()),
    ];
    let conversations: Vec<Vec<u32>> =
        answers.iter().map(|(_, tokens)| [&[0, 0, t(0)], &tokens[..]].concat()).collect();
    let (trie, paths) = Trie::new(&conversations);
    let scored = |((kind, _), path): (&(AnswerKind, Vec<u32>), &Vec<usize>)| Scored {
        kind: Some(*kind),
        nodes: path[3..].to_vec(),
        n_tokens: path.len() - 3,
        turn: matches!(kind, AnswerKind::Correction(_)).then_some(2),
    };
    let pairs = if set == Set::Harmful { vec![(0, 1), (0, 2), (1, 2)] } else { vec![(2, 1), (2, 0), (1, 0)] };
    Example {
        id: format!("{at}"),
        set: Some(set),
        prompt: vec![Message::user(format!("May I peek {at} times?"))],
        n_prompt: 3,
        answers: answers.iter().zip(&paths).map(scored).collect(),
        trie,
        pairs,
    }
}

const STEPS: StepSettings = StepSettings {
    learning_rate: 0.5,
    schedule: Schedule::Cosine,
    warmup: 0.1,
    epochs: 2,
    prompts_per_step: 3,
    max_tokens: 100,
    weight_decay: 0.0,
    clip: 0.5,
    batch_tokens: 25,
    save_every: 4,
};

fn course() -> Course {
    let settings = ObjectiveSettings { objective: Objective::Fork, beta: 0.5, anchor: 0.1, anchor_tokens: 2 };
    let examples: Vec<Example> = (0..40).map(example).collect();
    let order = OrderSettings {
        seed: 1,
        epochs: STEPS.epochs,
        prompts_per_step: STEPS.prompts_per_step,
        contrast_share: 0.5,
        eval_fraction: 0.2,
    };
    let division = Division::new(&examples, &order).unwrap();
    let steps = division.steps(&examples, &order);
    let learning_rate =
        LearningRate::new(STEPS.learning_rate, STEPS.schedule, STEPS.warmup, steps.len()).unwrap();
    let learner = Toy::new();
    let item = |example: Example| {
        let terms = Terms::of(&example, &settings);
        let reference =
            learner.score(vec![(&example.trie, terms.scored())], AdapterUse::Off).unwrap().remove(0);
        Item { example, terms, reference }
    };
    Course::new(
        examples.into_iter().map(item).collect(),
        steps,
        division.held_out,
        (learning_rate, STEPS.epochs),
    )
}

/// Opens the directory of a run that a session before has just left. A test beside this one that starts a program holds
/// every lock of this process for a moment, between fork and exec.
fn open(dir: &Path, opening: Opening) -> Result<RunDir> {
    for _ in 0..200 {
        match RunDir::open(dir, opening) {
            Err(StorageError::InUse { .. }) => std::thread::sleep(Duration::from_millis(10)),
            opened => return Ok(opened?),
        }
    }
    Ok(RunDir::open(dir, opening)?)
}

/// Trains in a directory from its last checkpoint, to the end or to a step at which it dies.
fn train(dir: &Path, course: &Course, toy: &mut Toy, n_steps: Option<usize>) -> Result<Ended> {
    let opening = if dir.join("run.toml").exists() { Opening::Resume } else { Opening::New };
    let run = open(dir, opening)?;
    run.write("run.toml", "")?;
    let checkpoints = Checkpoints::open(&run, 2)?;
    let mut state = State::start();
    if let Some((found, weights)) = checkpoints.newest()? {
        toy.restore(&weights)?;
        state = found;
    }
    let files = Files {
        dir: &run,
        checkpoints,
        adapter: AdapterDir::new(&run, "{}".into()),
        train_log: Log::open(&run, TRAIN_LOG, state.train_bytes)?,
        eval_log: Log::open(&run, EVAL_LOG, state.eval_bytes)?,
        events: EventFile::create(dir, None)?,
    };
    toy.n_steps = state.step;
    let signals = Signals::received(0);
    let mut training = Training {
        settings: &STEPS,
        course,
        learner: toy,
        files,
        progress: Steps::new(1, 0, usize::MAX),
        state,
        watch: Watch::new(0.5),
        signals: &signals,
    };
    match n_steps {
        None => training.run(),
        Some(n) => {
            training.begin()?;
            while training.state.step < n {
                training.advance()?;
            }
            Ok(Ended::Stopped)
        }
    }
}

/// Everything that must be the same.
fn made(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let last =
        fs::read_dir(dir.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut files =
        vec![dir.join(TRAIN_LOG), dir.join(EVAL_LOG), dir.join("adapter/adapter_model.safetensors")];
    files.extend(fs::read_dir(last).unwrap().map(|entry| entry.unwrap().path()));
    files
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn a_training_that_dies_at_any_step_ends_as_one_that_does_not() {
    let temp = tempfile::tempdir().unwrap();
    let course = course();
    let whole = temp.path().join("whole");
    assert_eq!(train(&whole, &course, &mut Toy::new(), None).unwrap(), Ended::Done);
    let n_steps = course.steps.len();
    assert!(n_steps > 8, "{n_steps}");
    for first in 0..n_steps {
        let dir = temp.path().join(format!("died-{first}"));
        for died in [first, (first + 3).min(n_steps)] {
            train(&dir, &course, &mut Toy::new(), Some(died)).unwrap();
        }
        assert_eq!(train(&dir, &course, &mut Toy::new(), None).unwrap(), Ended::Done);
        assert!(made(&dir) == made(&whole), "died after {first} steps");
    }
}

#[test]
fn steps_lower_the_held_out_loss_and_the_best_adapter_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let course = course();
    train(temp.path(), &course, &mut Toy::new(), None).unwrap();
    let run = open(temp.path(), Opening::Resume).unwrap();
    let (steps, evals) = (read_steps(&run).unwrap(), read_evals(&run).unwrap());
    assert_eq!(steps.len(), course.steps.len());
    assert_eq!(steps.iter().map(|r| r.step).collect::<Vec<_>>(), (1..=steps.len()).collect::<Vec<_>>());
    let due: Vec<usize> = (0..=steps.len()).filter(|step| step % 4 == 0 || *step == steps.len()).collect();
    assert_eq!(evals.iter().map(|r| r.step).collect::<Vec<_>>(), due);
    let losses: Vec<f64> = evals.iter().map(|r| r.eval_loss.unwrap()).collect();
    assert!(losses[losses.len() - 1] < losses[0] - 1e-3, "{losses:?}");
    let best = losses[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let (state, _) = Checkpoints::open(&run, 2).unwrap().newest().unwrap().unwrap();
    assert_eq!(state.best.unwrap().loss.to_bits(), (best as f32).to_bits());
    let kept = fs::read(temp.path().join("adapter/adapter_model.safetensors")).unwrap();
    let mut toy = Toy::new();
    toy.number = f64::from_le_bytes(kept.try_into().unwrap());
    let held_out = course.held_out();
    let mut sums = midcourse_core::train::Sums::default();
    for item in held_out {
        let logps = toy.score(vec![(&item.example.trie, item.terms.scored())], AdapterUse::On).unwrap();
        sums.add(&item.example, &item.terms.loss(&logps[0], &item.reference));
    }
    assert!((sums.loss().unwrap() - best).abs() < 1e-12);
}

#[test]
fn a_step_follows_the_mean_over_its_pairs_however_it_is_packed() {
    let course = course();
    let items = course.step(0);
    let weight: f64 = items.iter().map(|item| item.terms.weight()).sum();
    let loss = |number: f64| {
        let value = |item: &&Item| {
            let toy = Toy { number, ..Toy::new() };
            let logps = toy.score(vec![(&item.example.trie, item.terms.scored())], AdapterUse::On).unwrap();
            item.terms.loss(&logps[0], &item.reference).value
        };
        items.iter().map(value).sum::<f64>() / weight
    };
    let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
    let temp = tempfile::tempdir().unwrap();
    train(temp.path(), &course, &mut Toy::new(), Some(1)).unwrap();
    let run = open(temp.path(), Opening::Resume).unwrap();
    let first = &read_steps(&run).unwrap()[0];
    assert!((first.grad_norm - slope.abs()).abs() < 1e-7, "{} {slope}", first.grad_norm);
    assert!((first.loss.unwrap() - loss(0.0)).abs() < 1e-12);
}

#[test]
fn small_trees_go_together_and_a_large_one_alone() {
    let course = course();
    let items: Vec<&Item> = course.items[..6].iter().collect();
    let sizes = |most: usize| packs(&items, most).into_iter().map(<[_]>::len).collect::<Vec<_>>();
    assert_eq!(items.iter().map(|item| item.example.n_tokens()).collect::<Vec<_>>(), [13; 6]);
    assert_eq!(sizes(1), [1; 6]);
    assert_eq!(sizes(25), [1; 6]);
    assert_eq!(sizes(26), [2; 3]);
    assert_eq!(sizes(40), [3; 2]);
    assert_eq!(sizes(1000), [6]);
}

#[test]
fn a_number_that_is_none_stops_the_training_and_its_batch_is_saved() {
    let temp = tempfile::tempdir().unwrap();
    let course = course();
    let mut toy = Toy { breaks_at: Some(5), ..Toy::new() };
    let error = train(temp.path(), &course, &mut toy, None).unwrap_err();
    assert_eq!(crate::failure::exit_code(&error), 3);
    assert!(error.to_string().starts_with("step 6: the loss is not finite"), "{error}");
    let saved: serde_json::Value =
        serde_json::from_slice(&fs::read(temp.path().join("nan-batch.json")).unwrap()).unwrap();
    assert_eq!((&saved["step"], saved["examples"].as_array().unwrap().len()), (&6.into(), 3));
    assert_eq!(saved["grad_norm"], "NaN");
    assert_eq!(saved["examples"][0]["tokens"].as_array().unwrap().len(), 13);
    let run = open(temp.path(), Opening::Resume).unwrap();
    assert_eq!(Checkpoints::open(&run, 2).unwrap().newest().unwrap().unwrap().0.step, 4);
}

#[test]
fn a_signal_ends_a_training_with_a_checkpoint() {
    let temp = tempfile::tempdir().unwrap();
    let run = open(temp.path(), Opening::New).unwrap();
    let course = course();
    let mut toy = Toy::new();
    let signals = Signals::received(15);
    let files = Files {
        dir: &run,
        checkpoints: Checkpoints::open(&run, 2).unwrap(),
        adapter: AdapterDir::new(&run, "{}".into()),
        train_log: Log::open(&run, TRAIN_LOG, 0).unwrap(),
        eval_log: Log::open(&run, EVAL_LOG, 0).unwrap(),
        events: EventFile::create(temp.path(), None).unwrap(),
    };
    let mut training = Training {
        settings: &STEPS,
        course: &course,
        learner: &mut toy,
        files,
        progress: Steps::new(1, 0, usize::MAX),
        state: State::start(),
        watch: Watch::new(0.5),
        signals: &signals,
    };
    assert_eq!(training.run().unwrap(), Ended::Stopped);
    let (state, _) = Checkpoints::open(&run, 2).unwrap().newest().unwrap().unwrap();
    assert_eq!((state.step, state.eval_bytes > 0), (0, true));
}

#[test]
fn the_reference_is_computed_once_and_a_damaged_line_again() {
    let temp = tempfile::tempdir().unwrap();
    let examples: Vec<Example> = (0..4).map(example).collect();
    let examples: Vec<&Example> = examples.iter().collect();
    let signals = Signals::received(0);
    let compute = |base: &str| {
        let cache = Cache::open(temp.path(), base, &examples).unwrap();
        reference::compute(&examples, &Toy::new(), Some(cache), &signals).unwrap().unwrap()
    };
    let (first, counts) = compute("base");
    assert_eq!((counts.n_known, counts.n_computed), (0, 4));
    let (second, counts) = compute("base");
    assert_eq!((counts.n_known, counts.n_computed), (4, 0));
    assert_eq!(first, second);
    assert_eq!(compute("other base").1.n_computed, 4);
    let bytes =
        Toy::new().score(vec![(&examples[0].trie, &examples[0].answers[0].nodes)], AdapterUse::Off).unwrap();
    assert_eq!(first[0].of(&examples[0].answers[0].nodes), bytes[0]);
    // One digit of a number, and a torn end.
    let path = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().path());
    for path in path {
        let mut text = fs::read_to_string(&path).unwrap();
        let at = text.find("\"logps\":\"").unwrap() + 12;
        let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        text.replace_range(at..=at, other);
        fs::write(&path, &text[..text.len() - 9]).unwrap();
    }
    let (third, counts) = compute("base");
    assert_eq!((counts.n_known, counts.n_computed, third), (2, 2, first));
    assert_eq!(compute("base").1.n_known, 4);
}
