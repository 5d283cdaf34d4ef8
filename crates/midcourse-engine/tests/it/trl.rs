//! Losses, rewards, log-probabilities and twenty steps of training against those of TRL's `DPOTrainer`, pair by pair
//! there and by the tree here.
//!
//! Source: `testdata/trl_goldens.py`, which says with what the references were made.

use std::path::PathBuf;

use midcourse_core::data::{PairReader, PlainPair};
use midcourse_core::synth::Ranking;
use midcourse_core::train::{
    Example, LearningRate, Loss, Objective, ObjectiveSettings, Prepared, Preparing, Schedule, Terms, Trie,
};
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::train::{
    AdamW, AdamWOptions, AdapterUse, Batch, Gradients, LoraOptions, Policy, Recompute, Targets, Trainable,
};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::fixtures::testdata;

/// Bound on losses, rewards and log-probabilities of single pairs.
const SINGLE: f64 = 1e-4;
/// Bound over twenty steps.
const STEPS: f64 = 1e-3;

fn golden(name: &str) -> PathBuf {
    testdata("golden/trl").join(name)
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

/// The tiny model with the adapter of a golden.
fn trainable(adapter: &str) -> Trainable {
    let lora = LoraOptions { rank: 4, alpha: 8.0, targets: Targets::All, seed: 0 };
    let mut trainable =
        Trainable::load(&testdata("tiny-llama"), "tiny", (&TemplateChoice::default(), &lora)).unwrap();
    let bytes = std::fs::read(golden(adapter).join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let values = file.tensor(name).unwrap().data().chunks_exact(4);
        values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    trainable
        .policy
        .change(|lora| {
            let given: Vec<Vec<f32>> = lora.tensors().map(|tensor| values(&tensor.name)).collect();
            lora.set(&given)
        })
        .unwrap();
    trainable
}

fn pairs() -> Vec<PlainPair> {
    let mut reader = PairReader::default();
    reader.text("pairs.jsonl", &std::fs::read(golden("pairs.jsonl")).unwrap()).unwrap();
    reader.finish("pairs.jsonl").unwrap()
}

/// The one tree of some pairs.
fn example(pairs: &[PlainPair], Trainable { template, tokenizer, .. }: &Trainable) -> Example {
    let mut prepared = Prepared::default();
    Preparing { template, tokenizer, max_tokens: 1024 }.pairs(pairs, &mut prepared).unwrap();
    assert_eq!((prepared.examples.len(), prepared.dropped.len(), prepared.n_mismatched), (1, 0, 0));
    prepared.examples.remove(0)
}

/// The loss of an example, and its gradients where they are wanted.
fn loss(policy: &Policy, (example, terms): (&Example, &Terms), into: Option<&mut Gradients>) -> Loss {
    let batch = Batch { tries: vec![(&example.trie, terms.scored())] };
    let reference = policy.score(&batch, AdapterUse::Off).unwrap();
    let pass = policy.forward(&batch, Recompute::Auto).unwrap();
    let loss = terms.loss(&pass.logps()[0], &reference[0]);
    if let Some(into) = into {
        let slopes = loss.gradient.iter().map(|slope| slope / loss.weight).collect();
        policy.backward(pass, &[slopes], into).unwrap();
    }
    loss
}

/// A figure of a golden against ours.
fn check(golden: &Value, key: &str, found: f64, bound: f64) {
    let expected = golden[key].as_f64().unwrap_or_else(|| panic!("{key} in {golden}"));
    let off = (found - expected).abs() / expected.abs().max(1.0);
    assert!(off < bound, "{key}: {found} is not {expected} of {golden}");
}

/// What TRL logs of a step.
fn check_loss(golden: &Value, loss: &Loss, bound: f64) {
    let measured = &loss.measured;
    for (key, mean) in [
        ("rewards/chosen", measured.rewards_chosen),
        ("rewards/rejected", measured.rewards_rejected),
        ("logps/chosen", measured.logps_chosen),
        ("logps/rejected", measured.logps_rejected),
    ] {
        check(golden, key, mean.get().unwrap(), bound);
    }
}

fn settings(objective: Objective) -> ObjectiveSettings {
    ObjectiveSettings { objective, beta: 0.1, anchor: 0.0, anchor_tokens: 4 }
}

#[test]
fn sixty_four_pairs_cost_what_they_cost_in_trl() {
    let trainable = trainable("adapter");
    let golden = read("pairs.json");
    let golden = golden["pairs"].as_array().unwrap();
    let pairs = pairs();
    assert_eq!((pairs.len(), golden.len()), (64, 64));
    for (pair, golden) in pairs.chunks(1).zip(golden) {
        let example = example(pair, &trainable);
        for objective in [Objective::DpoFull, Objective::Ipo] {
            let terms = Terms::of(&example, &settings(objective));
            let loss = loss(&trainable.policy, (&example, &terms), None);
            check(golden, &format!("loss/{}", objective.name()), loss.value, SINGLE);
            if objective == Objective::DpoFull {
                check_loss(golden, &loss, SINGLE);
            }
        }
    }
}

#[test]
fn twenty_steps_go_where_trl_goes() {
    for objective in [Objective::DpoFull, Objective::Ipo] {
        let mut trainable = trainable("initial");
        let golden = read(&format!("trajectory-{}.json", objective.name()));
        let steps = golden["steps"].as_array().unwrap();
        let rates = LearningRate::new(1e-3, Schedule::Cosine, 0.05, steps.len()).unwrap();
        let pairs = pairs();
        let mut optimizer = AdamW::new(trainable.policy.adapter(), AdamWOptions::default());
        for (i, step) in steps.iter().enumerate() {
            let example = example(&pairs[15 * (i % 4)..15 * (i % 4 + 1)], &trainable);
            let terms = Terms::of(&example, &settings(objective));
            let mut gradients = Gradients::zeros(trainable.policy.adapter());
            let loss = loss(&trainable.policy, (&example, &terms), Some(&mut gradients));
            check(step, "loss", loss.value / loss.weight, STEPS);
            check_loss(step, &loss, STEPS);
            check(step, "grad_norm", gradients.norm(), STEPS);
            check(step, "learning_rate", rates.at(i), 1e-9);
            gradients.scale((1.0 / (gradients.norm() + 1e-6)).min(1.0));
            let step = |lora: &mut _| {
                optimizer.step(lora, &gradients, rates.at(i));
                Ok(())
            };
            trainable.policy.change(step).unwrap();
        }
        for tensor in trainable.policy.adapter().tensors() {
            let norm = tensor.values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            check(&golden["norms_after"], &tensor.name, norm, STEPS);
        }
    }
}

/// The decisions of `fork`, as a script reads them off the tokens of the answers.
#[test]
fn decisions_of_fork_are_those_of_the_witness() {
    let trainable = trainable("adapter");
    let rankings = std::fs::read_to_string(golden("rankings.jsonl")).unwrap();
    let golden = read("forks.json");
    let mut n_decisions = 0;
    for (line, golden) in rankings.lines().zip(golden["rankings"].as_array().unwrap()) {
        let ranking: Ranking = serde_json::from_str(line).unwrap();
        let (template, tokenizer) = (&trainable.template, &trainable.tokenizer);
        let mut prepared = Prepared::default();
        Preparing { template, tokenizer, max_tokens: 1024 }.ranking(&ranking, &mut prepared).unwrap();
        let example = &prepared.examples[0];
        let terms = Terms::of(example, &settings(Objective::Fork));
        let loss = loss(&trainable.policy, (example, &terms), None);
        let decisions = golden["decisions"].as_array().unwrap();
        let number = |decision: &Value, key: &str| decision[key].as_f64().unwrap();
        let expected: f64 = decisions.iter().map(|d| number(d, "weight") * number(d, "loss")).sum();
        assert!((loss.value - expected).abs() < SINGLE * expected, "{} is not {expected}", loss.value);
        check(golden, "n_pairs", loss.weight, 1e-12);
        n_decisions += decisions.len();
    }
    assert!(n_decisions >= 20, "{n_decisions}");
}

/// A decision by itself: pairs it stands for, and the tokens after the prompt that it compares in two answers.
struct Apart {
    weight: f64,
    sides: [(usize, std::ops::Range<usize>); 2],
}

/// Every pair of a ranking on whole answers.
fn pairs_apart(example: &Example) -> Vec<Apart> {
    let whole = |answer: usize| (answer, 0..example.answers[answer].nodes.len());
    let apart =
        |&(chosen, rejected): &(usize, usize)| Apart { weight: 1.0, sides: [whole(chosen), whole(rejected)] };
    example.pairs.iter().map(apart).collect()
}

/// The decisions of a ranking as the witness reads them.
fn decisions_apart(golden: &Value) -> Vec<Apart> {
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let span = |decision: &Value, key: &str| number(&decision[key][0])..number(&decision[key][1]);
    let apart = |decision: &Value| Apart {
        weight: decision["weight"].as_f64().unwrap(),
        sides: [
            (number(&decision["first"][0]), span(decision, "chosen_span")),
            (number(&decision["first"][1]), span(decision, "rejected_span")),
        ],
    };
    golden["decisions"].as_array().unwrap().iter().map(apart).collect()
}

/// Adds the gradient of decisions, each from two conversations in passes of their own: DPO's loss written out.
fn add_apart(policy: &Policy, example: &Example, decisions: &[Apart], into: &mut Gradients) {
    for Apart { weight, sides } in decisions {
        let branches = sides.clone().map(|(answer, span)| {
            let mut path = vec![*example.answers[answer].nodes.last().unwrap()];
            while let Some(parent) = example.trie.parent(path[path.len() - 1]) {
                path.push(parent);
            }
            let tokens: Vec<_> = path.iter().rev().map(|&node| example.trie.token(node)).collect();
            let asked: Vec<usize> = span.map(|at| example.n_prompt + at).collect();
            (Trie::new(&[tokens]).0, asked)
        });
        let passes = branches.each_ref().map(|(trie, asked)| {
            let batch = Batch { tries: vec![(trie, asked.as_slice())] };
            let reference: f64 = policy.score(&batch, AdapterUse::Off).unwrap()[0].iter().sum();
            let pass = policy.forward(&batch, Recompute::Auto).unwrap();
            let ratio = pass.logps()[0].iter().sum::<f64>() - reference;
            (pass, ratio, asked.len())
        });
        let [(chosen, better, n_chosen), (rejected, worse, n_rejected)] = passes;
        let slope = -0.1 * weight / (1.0 + (0.1 * (better - worse)).exp());
        policy.backward(chosen, &[vec![slope; n_chosen]], into).unwrap();
        policy.backward(rejected, &[vec![-slope; n_rejected]], into).unwrap();
    }
}

/// The gradient of a ranking's tree against fifteen pairs, and against five decisions, that share nothing.
#[test]
fn a_ranking_pulls_as_its_pairs_and_decisions_do_apart() {
    let trainable = trainable("adapter");
    let rankings = std::fs::read_to_string(golden("rankings.jsonl")).unwrap();
    let golden = read("forks.json");
    let mut n_compared = [0, 0];
    for (line, golden) in rankings.lines().zip(golden["rankings"].as_array().unwrap()) {
        let ranking: Ranking = serde_json::from_str(line).unwrap();
        let (template, tokenizer) = (&trainable.template, &trainable.tokenizer);
        let mut prepared = Prepared::default();
        Preparing { template, tokenizer, max_tokens: 1024 }.ranking(&ranking, &mut prepared).unwrap();
        let example = &prepared.examples[0];
        let both = [(Objective::DpoFull, pairs_apart(example)), (Objective::Fork, decisions_apart(golden))];
        for (n, (objective, decisions)) in n_compared.iter_mut().zip(both) {
            let terms = Terms::of(example, &settings(objective));
            let mut together = Gradients::zeros(trainable.policy.adapter());
            let loss = loss(&trainable.policy, (example, &terms), Some(&mut together));
            together.scale(loss.weight);
            let mut apart = Gradients::zeros(trainable.policy.adapter());
            add_apart(&trainable.policy, example, &decisions, &mut apart);
            let most = apart.values.iter().flatten().fold(0.0, |most: f32, x| most.max(x.abs()));
            let pairs = together.values.iter().flatten().zip(apart.values.iter().flatten());
            let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / most;
            assert!(off < 1e-4, "{} differs by {off}", objective.name());
            *n += decisions.len();
        }
    }
    assert!(n_compared[0] >= 60 && n_compared[1] >= 20, "{n_compared:?}");
}
