//! The answers to one prompt as a tree, and which of them are preferred to which.
//!
//! Here are shapes only: what is asked of the tree's tokens is [`Terms`](super::Terms)' business, and how text becomes
//! an example is [`Preparing`](super::Preparing)'s.

use super::Trie;
use crate::chat::Message;
use crate::engine::TokenId;
use crate::eval::Set;
use crate::synth::AnswerKind;

/// A prompt and its answers: what one ranking, or the pairs with one prompt, make.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The sample's id.
    pub id: String,
    /// Of a ranking: whether turning back or carrying on is right. None of plain pairs.
    pub set: Option<Set>,
    /// The conversation that is answered; a prompt that is plain text stands as the user's.
    pub prompt: Vec<Message>,
    /// The conversations, answers closed.
    pub trie: Trie,
    /// Tokens of the prompt that every conversation begins with.
    pub n_prompt: usize,
    /// At least two, each in a pair.
    pub answers: Vec<Scored>,
    /// The chosen and the rejected answer of every pair, as indices of `answers`; at least one.
    pub pairs: Vec<(usize, usize)>,
}

/// An answer in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    /// What it does with the prompt; none of plain pairs.
    pub kind: Option<AnswerKind>,
    /// Its nodes after the prompt, the end of its turn and what the template writes after it included. A token with
    /// nothing before it has no probability and is not among them.
    pub nodes: Vec<usize>,
    /// Its tokens after the prompt.
    pub n_tokens: usize,
    /// Of a correction: how many of `nodes` stand before it leaves the ranking's response. None where it does not leave
    /// it, where the ranking has no response, and of other answers.
    pub turn: Option<usize>,
}

/// A whole conversation in tokens, on its way into a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversation {
    pub(super) kind: Option<AnswerKind>,
    pub(super) tokens: Vec<TokenId>,
    /// Of a correction: tokens that it shares with the response from the start.
    pub(super) shared: Option<usize>,
}

impl Example {
    /// Puts conversations into a tree; `prompt_tokens` are those of the prompt with the answer about to begin.
    ///
    /// The answers begin where the first conversation leaves the prompt's tokens. As in TRL this may be before the end
    /// of the prompt, where a template or a tokenizer writes it otherwise when an answer follows.
    pub(super) fn grow(&mut self, prompt_tokens: &[TokenId], conversations: Vec<Conversation>) {
        let in_prompt = |conversation: &Conversation| n_shared(prompt_tokens, &conversation.tokens);
        self.n_prompt = conversations.iter().map(in_prompt).min().unwrap_or(0);
        let (tokens, rest): (Vec<_>, Vec<_>) = conversations
            .into_iter()
            .map(|Conversation { kind, tokens, shared }| (tokens, (kind, shared)))
            .unzip();
        let (trie, paths) = Trie::new(&tokens);
        // A first token cannot be scored.
        let first = self.n_prompt.max(1);
        let answer = |(path, (kind, shared)): (Vec<usize>, (Option<AnswerKind>, Option<usize>))| Scored {
            kind,
            n_tokens: path.len() - self.n_prompt,
            turn: shared.filter(|&n| n < path.len()).map(|n| n.saturating_sub(first)),
            nodes: path.get(first..).unwrap_or_default().to_vec(),
        };
        self.answers = paths.into_iter().zip(rest).map(answer).collect();
        self.trie = trie;
    }

    /// How many of their nodes two answers share: where they part.
    pub fn parting(&self, (a, b): (usize, usize)) -> usize {
        n_shared(&self.answers[a].nodes, &self.answers[b].nodes)
    }

    /// Whether the tree forks after a node, for every node.
    pub fn forks(&self) -> Vec<bool> {
        let mut n_children = vec![0; self.trie.len()];
        for parent in (0..self.trie.len()).filter_map(|node| self.trie.parent(node)) {
            n_children[parent] += 1;
        }
        n_children.into_iter().map(|n: usize| n > 1).collect()
    }

    /// Distinct tokens: those that are computed.
    pub fn n_tokens(&self) -> usize {
        self.trie.len()
    }

    /// Tokens of all pairs, both conversations of each as a whole: those that a trainer of pairs computes.
    pub fn n_pair_tokens(&self) -> usize {
        let n_tokens = |answer: usize| self.n_prompt + self.answers[answer].n_tokens;
        self.pairs.iter().map(|&(chosen, rejected)| n_tokens(chosen) + n_tokens(rejected)).sum()
    }
}

/// Elements that two sequences have in common from the start.
pub(super) fn n_shared<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
