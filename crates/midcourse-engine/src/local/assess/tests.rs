//! A bundle's texts have the likelihoods that they have one by one, to the bit in every batch, and what they share is
//! computed once.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use midcourse_core::engine::{Assess, Assessed, Assessment, BoxError, Branch, Bundle, TokenId, Usage};
use proptest::prelude::*;

use crate::local::{BatchLimits, LoadOptions, LocalEngine, LocalModel};
use crate::sampling::PathRng;

fn engine(name: &str, bytes: usize) -> LocalEngine {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
    let limits = BatchLimits { bytes, ..BatchLimits::default() };
    LocalModel::load(&path, name, &LoadOptions { limits, ..LoadOptions::default() }).unwrap().engine
}

/// Bundles in turn, and what was found.
#[derive(Default)]
struct Collector {
    bundles: VecDeque<Bundle>,
    found: BTreeMap<usize, Assessed>,
    n_takes: usize,
}

impl Assessment for Collector {
    fn next(&mut self) -> Option<Bundle> {
        self.bundles.pop_front()
    }

    fn stopping(&self) -> bool {
        false
    }

    fn take(&mut self, assessed: Vec<Assessed>) -> Result<(), BoxError> {
        self.n_takes += 1;
        for one in assessed {
            assert!(self.found.insert(one.id, one).is_none());
        }
        Ok(())
    }

    fn progress(&mut self, _so_far: Usage) {}
}

fn assess(engine: &LocalEngine, bundles: &[Bundle]) -> (Collector, Usage) {
    let mut collector = Collector { bundles: bundles.to_vec().into(), ..Collector::default() };
    let usage = engine.assess(&mut collector).unwrap();
    (collector, usage)
}

/// Random bundles: trunks of some tokens, branches that share beginnings.
fn bundles(rng: &mut PathRng, vocab: usize) -> Vec<Bundle> {
    let mut id = 0;
    let mut number = |most: usize| (rng.uniform() * most as f64) as usize;
    (0..3)
        .map(|_| {
            let trunk: Vec<TokenId> = (0..=number(30)).map(|_| number(vocab) as TokenId).collect();
            let branches = (0..=number(6)).map(|_| {
                // Few tokens, so that branches begin alike.
                let tokens: Vec<TokenId> = (0..=number(8)).map(|_| number(3) as TokenId).collect();
                let n = trunk.len() + tokens.len();
                id += 1;
                Branch { id: id - 1, from: 1 + number(n - 1), tokens }
            });
            let branches = branches.collect();
            Bundle { trunk, branches }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_bundle_equals_its_texts_one_by_one(seed in any::<u32>()) {
        for name in ["tiny-llama", "tiny-llama-bos"] {
            let engine = engine(name, 768 << 20);
            let bundles = bundles(&mut PathRng::new(seed), engine.config().vocab);
            let (collector, _) = assess(&engine, &bundles);
            for bundle in &bundles {
                for branch in &bundle.branches {
                    let text = [bundle.trunk.as_slice(), &branch.tokens].concat();
                    let alone: f64 = engine.logps(&text).unwrap()[branch.from - 1..].iter().sum();
                    let logits = engine.logits(&text).unwrap().to_vec2::<f32>().unwrap();
                    let is_first = |at: usize| logits[at - 1].iter().all(|logit| *logit <= logits[at - 1][text[at] as usize]);
                    let found = collector.found[&branch.id];
                    prop_assert!((found.logp - alone).abs() < 1e-3, "{} and {alone}", found.logp);
                    prop_assert_eq!(found.is_greedy, (branch.from..text.len()).all(is_first));
                }
            }
        }
    }

    #[test]
    fn passes_change_no_bit(seed in any::<u32>()) {
        let (large, small) = (engine("tiny-llama", 768 << 20), engine("tiny-llama", 1));
        let bundles = bundles(&mut PathRng::new(seed), large.config().vocab);
        let (one, all) = (assess(&large, &bundles).0, assess(&small, &bundles).0);
        prop_assert!(one.n_takes < all.n_takes);
        prop_assert_eq!(one.found, all.found);
    }
}

#[test]
fn what_texts_share_is_computed_once_and_last_tokens_never() {
    let engine = engine("tiny-llama", 768 << 20);
    let branch = |id: usize, tokens: &[TokenId]| Branch { id, tokens: tokens.to_vec(), from: 5 };
    let trunk = vec![1, 2, 3, 4, 5];
    // Four letters after one question: no row of their own.
    let letters = Bundle {
        trunk: trunk.clone(),
        branches: (0..4).map(|id| branch(id, &[7 + id as TokenId])).collect(),
    };
    assert_eq!(assess(&engine, std::slice::from_ref(&letters)).1.n_computed, 5);
    let texts = vec![branch(4, &[7, 8, 9]), branch(5, &[7, 8, 4]), branch(6, &[7, 3])];
    assert_eq!(assess(&engine, &[letters, Bundle { trunk, branches: texts }]).1.n_computed, 5 + 5 + 2);
}

#[test]
fn a_trunk_outlives_its_branches() {
    // No room for a second branch: the next ones grow on the same trunk.
    let engine = engine("tiny-llama", 1);
    let branches = (0..5).map(|id| Branch { id, tokens: vec![3, 4 + id as TokenId, 5], from: 20 }).collect();
    let (collector, usage) = assess(&engine, &[Bundle { trunk: (0..20).collect(), branches }]);
    assert_eq!((collector.found.len(), usage.n_computed), (5, 20 + 5 * 2));
}

#[test]
fn what_does_not_fit_or_is_no_token_is_refused() {
    let engine = engine("tiny-llama", 768 << 20);
    let context = engine.config().context;
    let refused = |trunk: Vec<TokenId>, tokens: Vec<TokenId>, from: usize| {
        let bundle = Bundle { trunk, branches: vec![Branch { id: 0, tokens, from }] };
        let mut collector = Collector { bundles: [bundle].into(), ..Collector::default() };
        engine.assess(&mut collector).unwrap_err().to_string()
    };
    assert!(refused(vec![1; context], vec![1, 1], 3).contains("context"));
    assert!(refused(vec![1], vec![1 << 20], 1).contains("token ids below"));
    refused(vec![1, 2], vec![3], 0);
    refused(vec![1, 2], vec![3], 3);
    // The last token is not read.
    let whole =
        Bundle { trunk: vec![1; context], branches: vec![Branch { id: 0, tokens: vec![1], from: context }] };
    assert_eq!(assess(&engine, &[whole]).0.found.len(), 1);
}
