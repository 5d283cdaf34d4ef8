//! What training promises: the numbers of the engine, gradients that finite differences confirm, a tree worth its
//! paths.

use std::path::PathBuf;

use midcourse_core::engine::TokenId;
use midcourse_core::train::Trie;

use super::*;
use crate::chat_template::TemplateChoice;
use crate::local::{LoadOptions, LocalModel};
use crate::sampling::PathRng;

/// Every family, with what sets it apart: biases, normed heads, norms around, caps, windows, fused matrices.
fn models() -> Vec<String> {
    let directories = std::fs::read_dir(path("families")).unwrap().map(|entry| entry.unwrap().path());
    let directories = directories.filter(|path| path.is_dir());
    let name = |path: PathBuf| format!("families/{}", path.file_name().unwrap().to_str().unwrap());
    let mut names: Vec<String> = directories.map(name).collect();
    names.sort();
    assert!(names.len() >= 18, "{names:?}");
    names.extend(["tiny-llama".into(), "tiny-llama-q4.gguf".into()]);
    names
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn lora() -> LoraOptions {
    LoraOptions { rank: 3, alpha: 6.0, targets: Targets::All, seed: 5 }
}

fn policy<T: Real>(name: &str) -> Policy<T> {
    Trainable::load(&path(name), name, (&TemplateChoice::default(), &lora())).unwrap().policy
}

/// The same with an adapter that changes something.
fn trained<T: Real>(name: &str) -> Policy<T> {
    let mut policy = policy(name);
    let mut rng = PathRng::new(11);
    let fill = |lora: &mut Lora<T>| {
        lora.values_mut()
            .for_each(|values| values.iter_mut().for_each(|x| *x = T::of(0.2 * (rng.uniform() - 0.5))));
        Ok(())
    };
    policy.change(fill).unwrap();
    policy
}

/// Conversations that share starts, like the answers to one prompt.
fn conversations(vocab: usize, seed: u32) -> Vec<Vec<TokenId>> {
    let mut rng = PathRng::new(seed);
    let mut draw =
        |n: usize| -> Vec<TokenId> { (0..n).map(|_| (rng.uniform() * vocab as f64) as TokenId).collect() };
    let trunk = draw(14);
    [(14, 0), (4, 5), (7, 6), (9, 3), (12, 4)].map(|(at, n)| [&trunk[..at], &draw(n)].concat()).to_vec()
}

/// Everything but first tokens.
fn all(trie: &Trie) -> Vec<usize> {
    (0..trie.len()).filter(|&node| trie.parent(node).is_some()).collect()
}

fn batch(tries: &[(Trie, Vec<usize>)]) -> Batch<'_> {
    Batch { tries: tries.iter().map(|(trie, asked)| (trie, asked.as_slice())).collect() }
}

fn forest(vocab: usize, seeds: std::ops::Range<u32>) -> Vec<(Trie, Vec<usize>)> {
    let plant = |seed| {
        let trie = Trie::new(&conversations(vocab, seed)).0;
        let asked = all(&trie);
        (trie, asked)
    };
    seeds.map(plant).collect()
}

/// Some smooth loss of log-probabilities: its gradient.
fn slopes(logps: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let slope = |(i, logp): (usize, &f64)| (0.3 * logp).sin() + 0.1 * (i % 5) as f64;
    logps.iter().map(|of| of.iter().enumerate().map(slope).collect()).collect()
}

/// Some smooth loss of log-probabilities.
fn loss(logps: &[Vec<f64>]) -> f64 {
    let term = |(i, logp): (usize, &f64)| -(0.3 * logp).cos() / 0.3 + 0.1 * (i % 5) as f64 * logp;
    logps.iter().flat_map(|of| of.iter().enumerate().map(term)).sum()
}

fn gradients<T: Real>(policy: &Policy<T>, batch: &Batch<'_>, recompute: Recompute) -> Gradients<T> {
    let pass = policy.forward(batch, recompute).unwrap();
    let slopes = slopes(pass.logps());
    let mut gradients = Gradients::zeros(policy.adapter());
    policy.backward(pass, &slopes, &mut gradients).unwrap();
    gradients
}

/// The largest difference by the largest value.
fn relative<T: Real>(found: &[Vec<T>], expected: &[Vec<T>]) -> f64 {
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let most = expected.iter().flatten().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
    pairs.map(|(a, b)| (a.to_f64() - b.to_f64()).abs()).fold(0.0, f64::max) / most
}

#[test]
fn without_an_adapter_and_before_its_first_step_the_numbers_are_the_engines() {
    for name in &models() {
        let engine = LocalModel::load(&path(name), name, &LoadOptions::default()).unwrap().engine;
        let policy: Policy<f32> = policy(name);
        for tokens in conversations(policy.config().vocab, 3) {
            let (trie, _) = Trie::new(std::slice::from_ref(&tokens));
            let asked = all(&trie);
            let batch = Batch { tries: vec![(&trie, &asked)] };
            let off = policy.score(&batch, AdapterUse::Off).unwrap();
            let on = policy.score(&batch, AdapterUse::On).unwrap();
            let expected = engine.logps(&tokens).unwrap();
            for ((off, on), expected) in off[0].iter().zip(&on[0]).zip(&expected) {
                assert!((off - expected).abs() < 1e-4, "{name}: {off} is not {expected}");
                assert!((on - off).abs() < 1e-5, "{name}: {on} is not {off}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for name in &models() {
        let mut policy: Policy<f64> = trained(name);
        let forest = forest(policy.config().vocab, 1..2);
        let batch = batch(&forest);
        let gradients = gradients(&policy, &batch, Recompute::Off);
        let mut rng = PathRng::new(17);
        let most = gradients.values.iter().flatten().fold(0.0, |most: f64, x| most.max(x.abs()));
        // Every third matrix: of every projection, A in one layer and B in another.
        for (matrix, expected) in gradients.values.iter().enumerate().step_by(3) {
            let at = (rng.uniform() * expected.len() as f64) as usize;
            let mut moved = |by: f64| {
                let nudge = |lora: &mut Lora<f64>| {
                    lora.values_mut().nth(matrix).unwrap()[at] += by;
                    Ok(())
                };
                policy.change(nudge).unwrap();
                loss(&policy.score(&batch, AdapterUse::On).unwrap())
            };
            let step = 1e-5;
            let (above, below) = (moved(step), moved(-2.0 * step));
            moved(step);
            let found = (above - below) / (2.0 * step);
            let off = (found - expected[at]).abs() / most.min(expected[at].abs().max(1e-2 * most));
            assert!(off < 1e-5, "{name}, matrix {matrix}: {} by differences is {found}", expected[at]);
        }
    }
}

#[test]
fn a_tree_is_worth_its_paths_one_by_one() {
    for name in &models() {
        let policy: Policy<f32> = trained(name);
        let paths = conversations(policy.config().vocab, 7);
        let (trie, nodes) = Trie::new(&paths);
        let asked = all(&trie);
        let whole = policy.forward(&Batch { tries: vec![(&trie, &asked)] }, Recompute::Off).unwrap();
        let place = |node: usize| asked.binary_search(&node).unwrap();
        // The gradient of the sum over paths: a shared token counts once for every path.
        let mut slope = vec![0.0; asked.len()];
        let mut apart = Gradients::zeros(policy.adapter());
        for (tokens, nodes) in paths.iter().zip(&nodes) {
            let (alone, _) = Trie::new(std::slice::from_ref(tokens));
            let alone_asked = all(&alone);
            let pass =
                policy.forward(&Batch { tries: vec![(&alone, &alone_asked)] }, Recompute::Off).unwrap();
            for (&node, logp) in nodes[1..].iter().zip(&pass.logps()[0]) {
                assert!((whole.logps()[0][place(node)] - logp).abs() < 1e-4, "{name}");
            }
            let slopes: Vec<f64> = (1..nodes.len()).map(|depth| (depth as f64).cos()).collect();
            nodes[1..].iter().zip(&slopes).for_each(|(&node, s)| slope[place(node)] += s);
            policy.backward(pass, &[slopes], &mut apart).unwrap();
        }
        let mut together = Gradients::zeros(policy.adapter());
        policy.backward(whole, &[slope], &mut together).unwrap();
        let off = relative(&together.values, &apart.values);
        assert!(off < 1e-4, "{name}: gradients differ by {off}");
    }
}

#[test]
fn one_pass_of_eight_trees_is_eight_passes_of_one() {
    let policy: Policy<f32> = trained("tiny-llama");
    let forest = forest(policy.config().vocab, 20..28);
    let together = gradients(&policy, &batch(&forest), Recompute::Off);
    let mut apart = Gradients::zeros(policy.adapter());
    for tree in forest.chunks(1) {
        let pass = policy.forward(&batch(tree), Recompute::Off).unwrap();
        let slopes = slopes(pass.logps());
        policy.backward(pass, &slopes, &mut apart).unwrap();
    }
    let off = relative(&together.values, &apart.values);
    assert!(off < 1e-5, "gradients differ by {off}");
}

#[test]
fn recomputing_changes_no_bit() {
    for name in &models() {
        let policy: Policy<f32> = trained(name);
        let forest = forest(policy.config().vocab, 30..32);
        let kept = gradients(&policy, &batch(&forest), Recompute::Off);
        let again = gradients(&policy, &batch(&forest), Recompute::On);
        assert_eq!(kept.values, again.values, "{name}");
    }
}

#[test]
fn an_adapter_takes_only_its_targets_and_names_others() {
    let load = |targets: &[&str]| {
        let targets = Targets::Named(targets.iter().map(|&name| name.into()).collect());
        let options = LoraOptions { targets, ..lora() };
        Trainable::<f32>::load(&path("tiny-llama"), "tiny", (&TemplateChoice::default(), &options))
    };
    let policy = load(&["q", "down_proj"]).unwrap().policy;
    assert_eq!(policy.adapter().target_modules(), ["down_proj", "q_proj"]);
    let first = policy.adapter().tensors().next().unwrap();
    assert_eq!(first.name, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
    let error = load(&["q", "c_attn"]).unwrap_err();
    assert!(error.to_string().contains("an adapter on c_attn"), "{error}");
}
