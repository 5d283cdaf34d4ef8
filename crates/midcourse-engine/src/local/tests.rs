//! What the tree promises, on a tiny seeded model: the same numbers as one path at a time, the same bits in
//! every batch, every distinct token once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use midcourse_core::engine::{Finish, Fork, Grown, Growth, PathSpec, Score, Tree, Weigh};
use proptest::prelude::*;

use super::*;
use crate::sampling::PathRng;
use crate::tree::Novelty;

/// Of two tiny models: four heads of 16, and heads of 24, which are no whole vectors.
fn engine(name: &str, limits: BatchLimits) -> LocalEngine {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
    LocalModel::load(&path, name, &LoadOptions { limits, ..LoadOptions::default() }).unwrap().engine
}

fn tokens(rng: &mut PathRng, n: usize, engine: &LocalEngine) -> Vec<TokenId> {
    (0..n).map(|_| (rng.uniform() * engine.config().vocab as f64) as TokenId).collect()
}

/// A random tree computed in random batches: for every node, its conversation and its logits.
fn computed(engine: &LocalEngine, rng: &mut PathRng, n_trunk: usize) -> Vec<(Vec<TokenId>, Vec<f32>)> {
    let n_grown = 24;
    let mut trees: Vec<_> = (0..2)
        .map(|_| engine.plant(&tokens(rng, n_trunk, engine), (n_grown, n_trunk + n_grown)).unwrap())
        .collect();
    let mut paths: Vec<BTreeMap<usize, Vec<TokenId>>> = trees
        .iter()
        .map(|tree| (0..n_trunk).map(|node| (node, (0..=node).map(|i| tree.token(i)).collect())).collect())
        .collect();
    let mut pending: Vec<Row> =
        (0..2).flat_map(|tree| (0..n_trunk).map(move |node| Row { tree, node })).collect();
    let mut found = Vec::new();
    for _ in 0..4 {
        let mut refs: Vec<&mut TokenTree> = trees.iter_mut().collect();
        let hidden = engine.decoder.forward(&pending, &mut refs).unwrap();
        let logits = engine.decoder.logits(&hidden).unwrap().to_vec2::<f32>().unwrap();
        found.extend(pending.iter().zip(logits).map(|(row, l)| (paths[row.tree][&row.node].clone(), l)));
        pending.clear();
        for (index, tree) in trees.iter_mut().enumerate() {
            for token in tokens(rng, n_grown / 4, engine) {
                let parent = (rng.uniform() * paths[index].len() as f64) as usize;
                let (node, novelty) = tree.child(parent, token);
                if novelty == Novelty::New {
                    let path = [paths[index][&parent].clone(), vec![token]].concat();
                    paths[index].insert(node, path);
                    pending.push(Row { tree: index, node });
                }
            }
        }
        if pending.is_empty() {
            break;
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_tree_equals_one_path_at_a_time(seed in any::<u32>(), n_trunk in 1usize..40) {
        for name in ["tiny-llama", "tiny-llama-bos"] {
            let engine = engine(name, BatchLimits::default());
            for (path, logits) in computed(&engine, &mut PathRng::new(seed), n_trunk) {
                let alone = engine.logits(&path).unwrap().to_vec2::<f32>().unwrap();
                for (a, b) in alone[path.len() - 1].iter().zip(&logits) {
                    prop_assert!((a - b).abs() < 1e-4, "{a} and {b} after {} tokens", path.len());
                }
            }
        }
    }
}

/// Collects paths; plants trees in the given order.
#[derive(Default)]
struct Collector {
    trees: Vec<Tree>,
    grown: BTreeMap<usize, Grown>,
    /// Paths that stop at their second token.
    stop_second: bool,
    /// Says so after this many harvested paths.
    stop_after: Option<usize>,
}

impl Forest for Collector {
    fn plant(&mut self) -> Option<Tree> {
        if self.stopping() { None } else { self.trees.pop() }
    }

    fn stopping(&self) -> bool {
        self.stop_after.is_some_and(|n| self.grown.len() >= n)
    }

    fn grown_by_one(&mut self, _id: usize, tokens: &[TokenId]) -> Growth {
        if self.stop_second && tokens.len() == 2 { Growth::Stop } else { Growth::Continue }
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> std::result::Result<(), BoxError> {
        self.grown.extend(paths.into_iter().map(|path| (path.id, path)));
        Ok(())
    }

    fn progress(&mut self, _so_far: Usage) {}
}

const SAMPLING: Sampling = Sampling { temperature: 0.8, top_p: 0.7, max_new_tokens: 9 };

/// Three trees of three forks, one of them with a lead.
fn trees(engine: &LocalEngine) -> Vec<Tree> {
    let mut rng = PathRng::new(11);
    (0..3)
        .map(|tree| {
            let trunk = tokens(&mut rng, 20 + tree, engine);
            let fork = |(i, at): (usize, usize)| Fork {
                at,
                lead: if i == 1 { vec![5, 6, 7] } else { Vec::new() },
                paths: (0..6)
                    .map(|path| PathSpec {
                        id: (tree * 3 + i) * 6 + path,
                        seed: (tree * 31 + i * 7 + path) as u32,
                    })
                    .collect(),
            };
            let forks = [8, 14, trunk.len()].into_iter().enumerate().map(fork).collect();
            Tree { trunk, forks }
        })
        .collect()
}

fn grow(limits: BatchLimits, reversed: bool, n_threads: usize) -> (BTreeMap<usize, Grown>, Usage) {
    let engine = engine("tiny-llama", limits);
    let mut trees = trees(&engine);
    if reversed {
        trees.reverse();
    }
    let mut forest = Collector { trees, ..Collector::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    let usage = pool.install(|| engine.grow(&SAMPLING, &mut forest).unwrap());
    (forest.grown, usage)
}

#[test]
fn the_batch_changes_nothing() {
    let whole = BatchLimits::default();
    let (paths, usage) = grow(whole, false, 2);
    assert_eq!(paths.len(), 54);
    for (limits, reversed, n_threads) in [
        (BatchLimits { paths: 1, ..whole }, false, 2),
        (BatchLimits { paths: 7, ..whole }, true, 1),
        (whole, true, 3),
    ] {
        let (others, other_usage) = grow(limits, reversed, n_threads);
        assert!(paths == others, "{limits:?}, reversed {reversed}, {n_threads} threads");
        assert_eq!(usage, other_usage);
    }
}

/// A tree that does not fit grows in parts: the same paths, with shares of the trunk computed again.
#[test]
fn a_tree_in_parts_grows_the_same_paths() {
    let (paths, usage) = grow(BatchLimits::default(), false, 2);
    let per_token = {
        let config = engine("tiny-llama", BatchLimits::default()).config().clone();
        config.kv_bytes_per_token() + config.width * 4
    };
    let mut computed = vec![usage.n_computed];
    for n_tokens in [120, 60, 0] {
        let limits = BatchLimits { bytes: n_tokens * per_token, ..BatchLimits::default() };
        let (others, other_usage) = grow(limits, false, 2);
        assert!(paths == others, "{n_tokens} tokens at once");
        assert_eq!(usage.n_sampled, other_usage.n_sampled);
        computed.push(other_usage.n_computed);
    }
    assert!(computed.windows(2).all(|pair| pair[0] < pair[1]), "{computed:?}");
}

/// Tokens that stand on the trunk are summed in another order than those that grow: a path that follows the trunk
/// finds the same tokens there in every part.
#[test]
fn parts_hold_what_their_paths_can_follow() {
    for n_tokens in [120, 60, 0] {
        let engine = engine("tiny-llama", BatchLimits::default());
        let per_token = engine.config().kv_bytes_per_token() + engine.config().width * 4;
        let limits = BatchLimits { bytes: n_tokens * per_token, ..engine.limits };
        let engine = LocalEngine { limits, ..engine };
        for tree in trees(&engine) {
            let parts = grow::Grove::new(&engine, SAMPLING).parts(tree.clone());
            assert!(parts.len() > 1, "{n_tokens} tokens at once");
            for part in &parts {
                let n_trunk = part.tree.trunk.len();
                assert_eq!(part.tree.trunk, tree.trunk[..n_trunk]);
                for fork in &part.tree.forks {
                    let last = fork.at + fork.lead.len() + SAMPLING.max_new_tokens - 1;
                    assert!(n_trunk >= last.min(tree.trunk.len()), "{n_trunk} tokens for {fork:?}");
                }
            }
            let paths = |forks: &[Fork]| -> Vec<PathSpec> {
                forks.iter().flat_map(|fork| fork.paths.iter().copied()).collect()
            };
            let grown: Vec<_> = parts.iter().flat_map(|part| paths(&part.tree.forks)).collect();
            assert_eq!(grown, paths(&tree.forks));
        }
    }
}

/// All conversations of a tree as the prefixes that need computing; a last token is only drawn.
fn distinct(trees: &[Tree], grown: &BTreeMap<usize, Grown>) -> usize {
    let mut n = 0;
    for tree in trees {
        let mut nodes: BTreeSet<Vec<TokenId>> =
            (1..=tree.trunk.len()).map(|i| tree.trunk[..i].to_vec()).collect();
        for fork in &tree.forks {
            for path in &fork.paths {
                let Grown { tokens, finish, .. } = &grown[&path.id];
                let n_computed = if *finish == Finish::EndOfTurn { tokens.len() } else { tokens.len() - 1 };
                let whole = [&tree.trunk[..fork.at], &fork.lead, &tokens[..n_computed]].concat();
                nodes.extend((1..=whole.len()).map(|i| whole[..i].to_vec()));
            }
        }
        n += nodes.len();
    }
    n
}

#[test]
fn each_distinct_token_is_computed_once() {
    let engine = engine("tiny-llama", BatchLimits::default());
    for (temperature, stop_second) in [(0.8, false), (0.0, false), (0.8, true)] {
        let mut forest = Collector { trees: trees(&engine), stop_second, ..Collector::default() };
        let usage = engine.grow(&Sampling { temperature, ..SAMPLING }, &mut forest).unwrap();
        assert_eq!(usage.n_computed, distinct(&trees(&engine), &forest.grown));
        let n_drawn: usize = forest
            .grown
            .values()
            .map(|path| path.tokens.len() + usize::from(path.finish == Finish::EndOfTurn))
            .sum();
        assert_eq!(usage.n_sampled, n_drawn);
    }
}

#[test]
fn a_path_that_follows_the_trunk_costs_nothing() {
    let engine = engine("tiny-llama", BatchLimits::default());
    let greedy = Sampling { temperature: 0.0, top_p: 1.0, max_new_tokens: 6 };
    let path = |id| PathSpec { id, seed: id as u32 };
    let fork = |at| Fork { at, lead: Vec::new(), paths: vec![path(0), path(1)] };
    let start = tokens(&mut PathRng::new(3), 12, &engine);
    let first = Tree { trunk: start.clone(), forks: vec![fork(12)] };
    let mut forest = Collector { trees: vec![first], ..Collector::default() };
    engine.grow(&greedy, &mut forest).unwrap();
    let trunk = [start, forest.grown[&0].tokens.clone()].concat();
    let n_trunk = trunk.len();
    let mut again = Collector { trees: vec![Tree { trunk, forks: vec![fork(12)] }], ..Collector::default() };
    let usage = engine.grow(&greedy, &mut again).unwrap();
    assert_eq!(forest.grown, again.grown);
    assert_eq!(usage.n_computed, n_trunk);
}

#[test]
fn stopping_finishes_what_grows_and_begins_nothing() {
    let engine = engine("tiny-llama", BatchLimits { paths: 4, ..BatchLimits::default() });
    let mut forest = Collector { trees: trees(&engine), stop_after: Some(1), ..Collector::default() };
    engine.grow(&SAMPLING, &mut forest).unwrap();
    assert!((1..=8).contains(&forest.grown.len()), "{}", forest.grown.len());
    let whole = grow(BatchLimits::default(), false, 2).0;
    assert!(forest.grown.iter().all(|(id, path)| whole[id] == *path));
}

/// Plants one tree whenever it is asked, but never twice in a round.
struct Later {
    inner: Collector,
    waits: bool,
}

impl Forest for Later {
    fn plant(&mut self) -> Option<Tree> {
        self.waits = !self.waits;
        if self.waits { self.inner.plant() } else { None }
    }

    fn stopping(&self) -> bool {
        false
    }

    fn grown_by_one(&mut self, id: usize, tokens: &[TokenId]) -> Growth {
        self.inner.grown_by_one(id, tokens)
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> std::result::Result<(), BoxError> {
        self.inner.harvest(paths)
    }

    fn progress(&mut self, _so_far: Usage) {}
}

#[test]
fn a_tree_that_comes_later_grows_as_one_that_was_there() {
    let engine = engine("tiny-llama", BatchLimits::default());
    let inner = Collector { trees: trees(&engine), ..Collector::default() };
    let mut forest = Later { inner, waits: false };
    engine.grow(&SAMPLING, &mut forest).unwrap();
    assert_eq!(forest.inner.grown, grow(BatchLimits::default(), false, 2).0);
}

#[test]
fn scores_are_the_log_probabilities_whatever_the_number_of_rows() {
    let engine = engine("tiny-llama", BatchLimits::default());
    for n in [2, grow::LOGIT_ROWS, grow::LOGIT_ROWS + 1, 2 * grow::LOGIT_ROWS + 40] {
        let tokens = tokens(&mut PathRng::new(n as u32), n, &engine);
        let logps = engine.logps(&tokens).unwrap();
        for from in [1, n / 2 + 1] {
            let scored = engine.score(&tokens, from.min(n), 3).unwrap();
            let found: Vec<_> = scored.iter().map(|scored| (scored.token, scored.logprob)).collect();
            let expected: Vec<_> = (from.min(n)..n).map(|at| (tokens[at], logps[at - 1])).collect();
            assert_eq!(found, expected, "{n} tokens from {from}");
            for (at, scored) in scored.iter().enumerate() {
                let next = engine.next_tokens(&tokens[..from.min(n) + at], 3).unwrap();
                let ids = |all: &[(TokenId, f64)]| all.iter().map(|(id, _)| *id).collect::<Vec<_>>();
                assert_eq!(ids(&scored.likeliest), ids(&next), "token {at} of {n}");
            }
        }
    }
    assert!(engine.score(&[1, 2], 1, 0).unwrap()[0].likeliest.is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let engine = engine("tiny-llama", BatchLimits::default());
    let context = engine.context();
    let long = vec![1; context + 1];
    assert!(matches!(engine.logps(&long), Err(Error::TooLong { .. })));
    let foreign = engine.config().vocab as TokenId;
    assert!(matches!(engine.logps(&[1, foreign]), Err(Error::ForeignToken { .. })));
    let fork = Fork { at: 2, lead: vec![foreign], paths: vec![PathSpec { id: 0, seed: 0 }] };
    let mut forest =
        Collector { trees: vec![Tree { trunk: vec![1, 2], forks: vec![fork] }], ..Collector::default() };
    assert!(engine.grow(&SAMPLING, &mut forest).is_err());
}

/// A trunk of 30 tokens and leads of several lengths that leave it early and late; two of them begin alike.
fn leads(engine: &LocalEngine) -> Tree {
    let mut rng = PathRng::new(5);
    let trunk = tokens(&mut rng, 30, engine);
    let long = tokens(&mut rng, 12, engine);
    let mut fork = |at, lead: &[TokenId], n_more| {
        let lead = [lead, &tokens(&mut rng, n_more, engine)].concat();
        Fork { at, lead, paths: Vec::new() }
    };
    let forks = vec![
        fork(30, &[], 0),
        fork(30, &[], 7),
        fork(29, &long, 3),
        fork(29, &long[..9], 2),
        fork(4, &[], 20),
    ];
    Tree { trunk, forks }
}

#[test]
fn weighing_equals_one_lead_at_a_time() {
    let engine = engine("tiny-llama", BatchLimits::default());
    let tree = leads(&engine);
    let candidates: Vec<TokenId> = vec![3, 70, 9, 3];
    let weighed = engine.weigh(&tree, &candidates).unwrap();
    for (fork, found) in tree.forks.iter().zip(&weighed) {
        let alone = [&tree.trunk[..fork.at], &fork.lead].concat();
        let logits = engine.logits(&alone).unwrap().to_vec2::<f32>().unwrap();
        let expected = log_softmax(&logits[alone.len() - 1], alone.len()).unwrap();
        let expected: Vec<f64> = candidates.iter().map(|&id| expected[id as usize]).collect();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} and {expected}");
        }
    }
}

#[test]
fn what_is_weighed_does_not_depend_on_company_or_budget() {
    let whole = engine("tiny-llama", BatchLimits::default());
    let tree = leads(&whole);
    let together = whole.weigh(&tree, &[1, 2]).unwrap();
    let tight = engine("tiny-llama", BatchLimits { bytes: 1, ..BatchLimits::default() });
    assert_eq!(tight.weigh(&tree, &[1, 2]).unwrap(), together);
    let mut reversed = tree.clone();
    reversed.forks.reverse();
    let mut again = whole.weigh(&reversed, &[1, 2]).unwrap();
    again.reverse();
    assert_eq!(again, together);
}

#[test]
fn what_cannot_be_weighed_is_refused() {
    let engine = engine("tiny-llama", BatchLimits::default());
    let tree = |at, lead: Vec<TokenId>| Tree {
        trunk: vec![1, 2],
        forks: vec![Fork { at, lead, paths: Vec::new() }],
    };
    assert!(engine.weigh(&tree(0, Vec::new()), &[1]).is_err());
    assert!(engine.weigh(&tree(3, Vec::new()), &[1]).is_err());
    assert!(engine.weigh(&tree(2, vec![1_000_000]), &[1]).is_err());
    assert!(engine.weigh(&tree(2, Vec::new()), &[1_000_000]).is_err());
    assert!(engine.weigh(&tree(2, vec![1; engine.context()]), &[1]).is_err());
}
