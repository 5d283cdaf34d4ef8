//! Whole conversations as a tree of tokens, each distinct token once: the batch that training computes.
//!
//! The same picture as an evaluation's trunk and forks ([`crate::engine::Tree`]), with the paths given: tokens that
//! conversations share from their start are one node. Nodes stand depth first, so that a run of tokens without a fork
//! is a run of indices.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::engine::TokenId;

/// Conversations that share what they begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trie {
    /// Depth first: parents stand before their children, a first child right behind its parent.
    nodes: Vec<Node>,
}

/// A token and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    token: TokenId,
    parent: Option<usize>,
    depth: usize,
}

/// A run of nodes without a fork between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Neighbouring nodes, each the parent of the next.
    pub nodes: Range<usize>,
    /// The segment whose last node is the parent of the first of these.
    pub parent: Option<usize>,
}

impl Trie {
    /// The tree of `conversations`, and for each of them its nodes from the first token to the last.
    pub fn new(conversations: &[Vec<TokenId>]) -> (Self, Vec<Vec<usize>>) {
        let mut growing = Growing::default();
        let paths: Vec<Vec<usize>> = conversations.iter().map(|tokens| growing.add(tokens)).collect();
        let (nodes, places) = growing.depth_first();
        let placed = |path: &Vec<usize>| path.iter().map(|&node| places[node]).collect();
        (Self { nodes }, paths.iter().map(placed).collect())
    }

    /// Distinct tokens.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The token at a node.
    pub fn token(&self, node: usize) -> TokenId {
        self.nodes[node].token
    }

    /// The node before it; none for a first token.
    pub fn parent(&self, node: usize) -> Option<usize> {
        self.nodes[node].parent
    }

    /// Its position in every conversation that it belongs to, from 0.
    pub fn depth(&self, node: usize) -> usize {
        self.nodes[node].depth
    }

    /// The tree as runs without forks, parents before children.
    pub fn segments(&self) -> Vec<Segment> {
        let mut n_children = vec![0; self.nodes.len()];
        for parent in self.nodes.iter().filter_map(|node| node.parent) {
            n_children[parent] += 1;
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut segment_of = Vec::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            let follows = node.parent.is_some_and(|parent| parent + 1 == at && n_children[parent] == 1);
            if let (true, Some(last)) = (follows, segments.last_mut()) {
                last.nodes.end = at + 1;
            } else {
                segments.push(Segment { nodes: at..at + 1, parent: node.parent.map(|p| segment_of[p]) });
            }
            segment_of.push(segments.len() - 1);
        }
        segments
    }
}

/// A tree in the making, its nodes in the order in which they came.
#[derive(Default)]
struct Growing {
    nodes: Vec<Node>,
    children: BTreeMap<(Option<usize>, TokenId), usize>,
}

impl Growing {
    fn add(&mut self, tokens: &[TokenId]) -> Vec<usize> {
        let mut parent = None;
        let mut path = Vec::with_capacity(tokens.len());
        for (depth, &token) in tokens.iter().enumerate() {
            let next = self.nodes.len();
            let node = *self.children.entry((parent, token)).or_insert(next);
            if node == next {
                self.nodes.push(Node { token, parent, depth });
            }
            path.push(node);
            parent = Some(node);
        }
        path
    }

    /// The nodes depth first, and for every node its place among them.
    fn depth_first(&self) -> (Vec<Node>, Vec<usize>) {
        let mut children = vec![Vec::new(); self.nodes.len()];
        let mut waiting = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            match node.parent {
                Some(parent) => children[parent].push(at),
                None => waiting.push(at),
            }
        }
        let mut places = vec![0; self.nodes.len()];
        let mut nodes = Vec::with_capacity(self.nodes.len());
        while let Some(at) = waiting.pop() {
            let node = self.nodes[at];
            places[at] = nodes.len();
            nodes.push(Node { parent: node.parent.map(|parent| places[parent]), ..node });
            waiting.append(&mut children[at]);
        }
        (nodes, places)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_shared_is_one_node_and_runs_are_segments() {
        let (trie, paths) = Trie::new(&[vec![1, 2, 3, 4], vec![1, 2, 5], vec![1, 2, 3, 6], vec![1, 2]]);
        assert_eq!(paths, [vec![0, 1, 2, 3], vec![0, 1, 5], vec![0, 1, 2, 4], vec![0, 1]]);
        let segment = |nodes, parent| Segment { nodes, parent };
        let expected = [
            segment(0..2, None),
            segment(2..3, Some(0)),
            segment(3..4, Some(1)),
            segment(4..5, Some(1)),
            segment(5..6, Some(0)),
        ];
        assert_eq!(trie.segments(), expected);
        assert_eq!((trie.parent(4), trie.depth(4), trie.token(5)), (Some(2), 3, 5));
    }

    proptest! {
        #[test]
        fn every_conversation_is_its_path(conversations in prop::collection::vec(prop::collection::vec(0u32..3, 1..9), 1..7)) {
            let (trie, paths) = Trie::new(&conversations);
            for (tokens, path) in conversations.iter().zip(&paths) {
                prop_assert_eq!(&path.iter().map(|&node| trie.token(node)).collect::<Vec<_>>(), tokens);
                let parents: Vec<_> = path.iter().map(|&node| trie.parent(node)).collect();
                let before: Vec<_> = [None].into_iter().chain(path.iter().map(|&node| Some(node))).take(path.len()).collect();
                prop_assert_eq!(parents, before);
            }
            let mut distinct: Vec<&[u32]> = conversations.iter().flat_map(|c| (1..=c.len()).map(move |n| &c[..n])).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(trie.len(), distinct.len());
            let covered: Vec<usize> = trie.segments().into_iter().flat_map(|segment| segment.nodes).collect();
            prop_assert_eq!(covered, (0..trie.len()).collect::<Vec<_>>());
        }
    }
}
