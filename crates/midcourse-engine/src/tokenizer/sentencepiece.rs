//! SentencePiece's BPE: pieces with scores instead of an ordered list of merges.
//!
//! Of all neighbours that together are a piece, SentencePiece joins those of the highest score first. So the
//! merges are every way to put a piece together of two others, in the order of scores. A space is `▁`; a
//! character that is no piece becomes its bytes.
//!
//! A text that stands at the start or behind a control token begins with a `▁` of its own where the model was
//! trained so (`prefix_space`), as in the code released with Llama 2 and in llama.cpp. Pieces defined by the
//! user are found before anything is joined. Not for Unigram models.
//!
//! Source: Kudo and Richardson, *SentencePiece* (EMNLP 2018), and `bpe_model.cc` in its repository.

use std::collections::HashMap;

use midcourse_core::engine::TokenId;
use midcourse_core::template::TokenizeError;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::utils::Sequence as Normalizers;
use tokenizers::normalizers::{NormalizerWrapper, Prepend};
use tokenizers::{AddedToken, DecoderWrapper};

use super::library;

/// A space as pieces hold it.
const SPACE: &str = "\u{2581}";
/// Bound on the work of finding the merges, in squared bytes of the pieces. Vocabularies of 262,144 pieces need
/// a tenth of it.
const MAX_WORK: usize = 1 << 28;

/// A piece of the vocabulary; its place is its id.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: Kind,
}

/// What a piece is, in SentencePiece and in GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    pub(super) fn of(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// What stands beside the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whether a text begins with a space of its own.
    pub prefix_space: bool,
}

/// The tokenizer of `pieces`.
pub(super) fn build(pieces: &[Piece], settings: Settings) -> Result<tokenizers::Tokenizer, TokenizeError> {
    let vocab: Vocab = pieces.iter().enumerate().map(|(id, p)| (spelling(p), id as TokenId)).collect();
    if vocab.len() != pieces.len() {
        let problem = format!("expected {} different pieces, found {}", pieces.len(), vocab.len());
        return Err(TokenizeError(problem));
    }
    let merges = merges(pieces)?;
    let unknown = pieces.iter().find(|piece| piece.kind == Kind::Unknown).map(|piece| piece.text.clone());
    library(|| {
        let mut bpe = BPE::builder().vocab_and_merges(vocab, merges).byte_fallback(true).fuse_unk(true);
        if let Some(unknown) = unknown {
            bpe = bpe.unk_token(unknown);
        }
        let mut tokenizer = tokenizers::Tokenizer::new(bpe.build()?);
        let spaces = NormalizerWrapper::Replace(Replace::new(" ", SPACE)?);
        let prefix = settings.prefix_space.then(|| NormalizerWrapper::Prepend(Prepend::new(SPACE.into())));
        tokenizer.with_normalizer(Some(Normalizers::new(prefix.into_iter().chain([spaces]).collect())))?;
        tokenizer.with_decoder(Some(Decoders::new(vec![
            DecoderWrapper::Replace(Replace::new(SPACE, " ")?),
            DecoderWrapper::ByteFallback(ByteFallback::new()),
            DecoderWrapper::Fuse(Fuse::new()),
        ])));
        let added =
            pieces.iter().filter(|piece| !matches!(piece.kind, Kind::Normal | Kind::Byte | Kind::Unused));
        let special = |piece: &Piece| piece.kind != Kind::UserDefined;
        tokenizer.add_tokens(added.map(|p| AddedToken::from(spelling(p), special(p)).normalized(false)))?;
        Ok(tokenizer)
    })
}

/// A piece as it is found in a text: those of the user before spaces become `▁`.
fn spelling(piece: &Piece) -> String {
    match piece.kind {
        Kind::UserDefined => piece.text.replace(SPACE, " "),
        _ => piece.text.clone(),
    }
}

/// Every way to put a piece together of two others, best first.
///
/// Equal scores are taken in the order of ids. SentencePiece takes the leftmost place, which a list of merges
/// cannot say; trained vocabularies have no equal scores.
fn merges(pieces: &[Piece]) -> Result<Merges, TokenizeError> {
    let joined: Vec<&Piece> = pieces.iter().filter(|piece| piece.kind == Kind::Normal).collect();
    let work: usize = joined.iter().map(|piece| piece.text.len().saturating_mul(piece.text.len())).sum();
    if work > MAX_WORK {
        return Err(TokenizeError("the pieces are too long to be those of a vocabulary".into()));
    }
    let ids: HashMap<&str, usize> = joined.iter().enumerate().map(|(id, p)| (p.text.as_str(), id)).collect();
    let mut order: Vec<usize> = (0..joined.len()).collect();
    order.sort_by(|a, b| joined[*b].score.total_cmp(&joined[*a].score));
    let parts = |at: usize| {
        let text = joined[at].text.as_str();
        let ways = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let mut ways: Vec<_> =
            ways.filter_map(|(left, right)| Some((ids.get(left)?, ids.get(right)?, left, right))).collect();
        ways.sort_by_key(|(left, right, ..)| (*left, *right));
        ways.into_iter().map(|(_, _, left, right)| (left.to_owned(), right.to_owned())).collect::<Vec<_>>()
    };
    Ok(order.into_iter().flat_map(parts).collect())
}
