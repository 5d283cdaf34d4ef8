//! Examples to test with: rankings in bytes, and trees of any shape.

use super::example::Conversation;
use super::{Example, Prepared, Preparing, Trie};
use crate::chat::Message;
use crate::engine::TokenId;
use crate::eval::Set;
use crate::synth::fixture::Bytes;
use crate::synth::{AnswerKind, Ranking};
use crate::template::{ChatTemplate, SpecialTokens};

/// What writes conversations as `<u>…</s><a>…</s>`, in bytes.
pub(super) struct Writer {
    template: ChatTemplate,
    tokenizer: Bytes,
    pub(super) max_tokens: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        let template = "{% for m in messages %}{{ '<' + m.role[0] + '>' + m.content + '</s>' }}{% endfor %}\
            {% if add_generation_prompt %}<a>{% endif %}";
        Self::of(template)
    }

    pub(super) fn of(template: &str) -> Self {
        let template = ChatTemplate::new("bytes", template, "", "</s>").unwrap();
        let special = SpecialTokens { bos: None, adds_bos: false, end_of_turn: vec![2] };
        Self { template, tokenizer: Bytes(special), max_tokens: 4096 }
    }

    pub(super) fn preparing(&self) -> Preparing<'_> {
        let Self { template, tokenizer, max_tokens } = self;
        Preparing { template, tokenizer, max_tokens: *max_tokens }
    }

    pub(super) fn rankings(&self, rankings: &[Ranking]) -> Prepared {
        let mut prepared = Prepared::default();
        for ranking in rankings {
            self.preparing().ranking(ranking, &mut prepared).unwrap();
        }
        prepared
    }

    pub(super) fn example(&self, ranking: &Ranking) -> Example {
        let mut prepared = self.rankings(std::slice::from_ref(ranking));
        assert_eq!(prepared.dropped, []);
        prepared.examples.remove(0)
    }
}

/// The tree of a prompt of one token and these answers, the better ones first.
pub(super) fn example(set: Option<Set>, answers: &[(Option<AnswerKind>, Vec<TokenId>)]) -> Example {
    const PROMPT: TokenId = 1_000;
    let response = answers.iter().find(|(kind, _)| *kind == Some(AnswerKind::Response));
    let conversation = |(kind, tokens): &(Option<AnswerKind>, Vec<TokenId>)| Conversation {
        kind: *kind,
        tokens: [&[PROMPT], tokens.as_slice()].concat(),
        shared: response
            .filter(|_| matches!(kind, Some(AnswerKind::Correction(_))))
            .map(|(_, response)| 1 + super::example::n_shared(response, tokens)),
    };
    let better = |better: usize| (better + 1..answers.len()).map(move |worse| (better, worse));
    let differ = |pair: &(usize, usize)| answers[pair.0].1 != answers[pair.1].1;
    let mut example = Example {
        id: format!("{answers:?}"),
        set,
        prompt: vec![Message::user("May I peek?")],
        trie: Trie::new(&[]).0,
        n_prompt: 0,
        answers: Vec::new(),
        pairs: (0..answers.len()).flat_map(better).filter(differ).collect(),
    };
    example.grow(&[PROMPT], answers.iter().map(conversation).collect());
    example
}

/// A number in (0, 1) for a node, as any.
pub(super) fn noise(node: usize, seed: u64) -> f64 {
    let hash =
        (node as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Log-probabilities of nodes, any.
pub(super) fn logps(nodes: &[usize], seed: u64) -> Vec<f64> {
    nodes.iter().map(|&node| 3.0 * noise(node, seed).ln()).collect()
}
