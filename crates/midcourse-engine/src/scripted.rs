//! The scripted engine: plays continuations from a file, for tests, documentation and dry runs.
//!
//! A script is JSONL of `{"match": TEXT, "continuations": [TEXT, …]}`. A path whose conversation contains
//! `match` (the first row that fits wins) draws one of the continuations with its own seed, word by word. The
//! tokens are bytes, with three control tokens; nothing is computed. What it samples depends on tree and seed
//! alone, as with any engine. Asked how likely a token is, it counts the continuations that begin with it; asked how
//! likely a text is, those that begin with its scored part, and one more of two that nobody has written.

use std::ops::Range;
use std::path::Path;

use midcourse_core::engine::{
    Assess, Assessed, Assessment, BoxError, Branch, Bundle, Continue, Finish, Forest, Fork, Grown, Growth,
    PathSpec, Sampling, Score, Scored, TokenId, Tree, Usage, Weigh,
};
use midcourse_core::template::{ChatTemplate, Encoding, SpecialTokens, TokenizeError, Tokenizer};
use serde::Deserialize;

use crate::sampling::PathRng;
use crate::{Error, Result};

/// The control tokens, after the 256 bytes.
const CONTROLS: [&str; 3] = ["<|start|>", "<|end|>", "<|bos|>"];
const END: TokenId = 257;
const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m.role + '\\n' + m.content + \
    '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% endif %}";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    r#match: String,
    continuations: Vec<String>,
}

/// An engine that plays a script.
#[derive(Debug, Clone)]
pub struct Scripted {
    lines: Vec<Line>,
    tokenizer: ByteTokenizer,
}

/// Bytes of the longest script.
const MAX_BYTES: u64 = 256 << 20;

impl Scripted {
    /// Reads a script.
    pub fn read(path: &Path) -> Result<Self> {
        let text = crate::files::read_to_string(path, MAX_BYTES);
        let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let broken = |problem: String| Error::Script { path: path.to_owned(), problem };
        let mut lines: Vec<Line> = Vec::new();
        for (at, line) in text.split('\n').enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: Line =
                serde_json::from_str(line).map_err(|e| broken(format!("line {}: {e}", at + 1)))?;
            if line.continuations.is_empty() {
                return Err(broken(format!("line {}: field continuations: expected at least one", at + 1)));
            }
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(broken("expected at least one line, found none".into()));
        }
        Ok(Self { lines, tokenizer: ByteTokenizer::default() })
    }

    /// The tokenizer of every script.
    pub fn tokenizer(&self) -> &ByteTokenizer {
        &self.tokenizer
    }

    /// The chat template of every script.
    pub fn template(&self) -> midcourse_core::Result<ChatTemplate> {
        let template = ChatTemplate::new("scripted", TEMPLATE, CONTROLS[2], CONTROLS[1])?;
        Ok(template.from_origin("that of every script"))
    }

    /// The continuations of a conversation; none when no row fits.
    fn continuations(&self, tree: &Tree, fork: &Fork) -> &[String] {
        let before = [&tree.trunk[..fork.at], &fork.lead].concat();
        let before = ByteTokenizer::text(&before);
        let line = self.lines.iter().find(|line| before.contains(&line.r#match));
        line.map_or(&[], |line| &line.continuations)
    }

    /// What a path says: its text in tokens, ended by the end of turn.
    fn line(&self, tree: &Tree, fork: &Fork, path: PathSpec) -> Vec<TokenId> {
        let continuations = self.continuations(tree, fork);
        let n = continuations.len();
        let chosen = (PathRng::new(path.seed).uniform() * n as f64) as usize;
        let text = continuations.get(chosen.min(n.saturating_sub(1))).map_or("", String::as_str);
        text.bytes().map(TokenId::from).chain([END]).collect()
    }
}

impl Weigh for Scripted {
    fn weigh(&self, tree: &Tree, candidates: &[TokenId]) -> std::result::Result<Vec<Vec<f64>>, BoxError> {
        let weigh = |fork: &Fork| {
            let continuations = self.continuations(tree, fork);
            let begins =
                |id: TokenId| move |text: &&String| text.bytes().next().map_or(END, TokenId::from) == id;
            let share = |&id: &TokenId| {
                continuations.iter().filter(begins(id)).count() as f64 / continuations.len().max(1) as f64
            };
            candidates.iter().map(|id| share(id).ln()).collect()
        };
        Ok(tree.forks.iter().map(weigh).collect())
    }
}

impl Continue for Scripted {
    fn grow(&self, sampling: &Sampling, forest: &mut dyn Forest) -> std::result::Result<Usage, BoxError> {
        let mut usage = Usage::default();
        while let Some(tree) = forest.plant() {
            let mut harvest = Vec::new();
            for fork in &tree.forks {
                for &path in &fork.paths {
                    let line = self.line(&tree, fork, path);
                    let grown = play(path.id, &line, sampling, forest);
                    usage.n_sampled += grown.tokens.len() + usize::from(grown.finish == Finish::EndOfTurn);
                    harvest.push(grown);
                }
            }
            forest.progress(usage);
            forest.harvest(harvest)?;
        }
        Ok(usage)
    }

    fn context(&self) -> usize {
        1 << 20
    }

    fn next_tokens(
        &self,
        tokens: &[TokenId],
        _n: usize,
    ) -> std::result::Result<Vec<(TokenId, f64)>, BoxError> {
        let tree = Tree { trunk: tokens.to_vec(), forks: Vec::new() };
        let fork = Fork { at: tokens.len(), lead: Vec::new(), paths: Vec::new() };
        Ok(vec![(self.line(&tree, &fork, PathSpec { id: 0, seed: 0 })[0], 0.0)])
    }
}

impl Score for Scripted {
    fn vocab(&self) -> usize {
        256 + CONTROLS.len()
    }

    fn score(&self, _: &[TokenId], _: usize, _: usize) -> std::result::Result<Vec<Scored>, BoxError> {
        Err("a script has no probabilities".into())
    }
}

impl Assess for Scripted {
    fn assess(&self, assessment: &mut dyn Assessment) -> std::result::Result<Usage, BoxError> {
        while !assessment.stopping()
            && let Some(bundle) = assessment.next()
        {
            let found = bundle.branches.iter().map(|branch| self.found(&bundle, branch)).collect();
            assessment.take(found)?;
        }
        Ok(Usage::default())
    }
}

impl Scripted {
    fn found(&self, bundle: &Bundle, branch: &Branch) -> Assessed {
        let text = [bundle.trunk.as_slice(), &branch.tokens].concat();
        let (before, scored) = text.split_at(branch.from.min(text.len()));
        let fork = Fork { at: before.len(), lead: Vec::new(), paths: Vec::new() };
        let continuations = self.continuations(&Tree { trunk: before.to_vec(), forks: Vec::new() }, &fork);
        let scored = ByteTokenizer::text(scored);
        let n = continuations.iter().filter(|text| text.starts_with(&scored)).count();
        let share = (n + 1) as f64 / (continuations.len() + 2) as f64;
        Assessed { id: branch.id, logp: share.ln(), is_greedy: 2 * n > continuations.len() }
    }
}

fn play(id: usize, line: &[TokenId], sampling: &Sampling, forest: &mut dyn Forest) -> Grown {
    let mut tokens = Vec::new();
    for &token in line {
        if token == END {
            return Grown { id, tokens, finish: Finish::EndOfTurn };
        }
        tokens.push(token);
        if forest.grown_by_one(id, &tokens) == Growth::Stop {
            return Grown { id, tokens, finish: Finish::Stopped };
        }
        if tokens.len() >= sampling.max_new_tokens {
            break;
        }
    }
    Grown { id, tokens, finish: Finish::Length }
}

/// A tokenizer of bytes and three control tokens.
#[derive(Debug, Clone)]
pub struct ByteTokenizer {
    special: SpecialTokens,
}

impl Default for ByteTokenizer {
    fn default() -> Self {
        Self { special: SpecialTokens { bos: Some(258), adds_bos: true, end_of_turn: vec![END] } }
    }
}

impl ByteTokenizer {
    fn text(ids: &[TokenId]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| bytes_of(id)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn bytes_of(id: TokenId) -> Vec<u8> {
    match u8::try_from(id) {
        Ok(byte) => vec![byte],
        Err(_) => CONTROLS.get(id as usize - 256).map_or(Vec::new(), |c| c.as_bytes().to_vec()),
    }
}

impl Tokenizer for ByteTokenizer {
    fn encode(&self, text: &str, plain: &[Range<usize>]) -> std::result::Result<Encoding, TokenizeError> {
        let mut encoding = Encoding::default();
        let mut at = 0;
        while at < text.len() {
            let rest = &text.as_bytes()[at..];
            let outside = !plain.iter().any(|range| range.contains(&at));
            let control = CONTROLS.iter().position(|c| outside && rest.starts_with(c.as_bytes()));
            let (id, length) =
                control.map_or((TokenId::from(rest[0]), 1), |c| (256 + c as TokenId, CONTROLS[c].len()));
            encoding.ids.push(id);
            encoding.offsets.push(at..at + length);
            at += length;
        }
        Ok(encoding)
    }

    fn decode(&self, ids: &[TokenId]) -> std::result::Result<String, TokenizeError> {
        Ok(Self::text(ids))
    }

    fn count_special(&self, text: &str) -> usize {
        CONTROLS.iter().map(|control| text.matches(control).count()).sum()
    }

    fn special(&self) -> &SpecialTokens {
        &self.special
    }
}
