//! Tokenizers of every kind against those who made them.
//!
//! Source: `testdata/tiny_tokenizers.py`, which also says who found which ids.

use std::ops::Range;
use std::path::Path;

use midcourse_core::template::Tokenizer;
use midcourse_engine::tokenizer::ModelTokenizer;
use serde::Deserialize;

use crate::fixtures::{golden, tokenizer};

/// `golden/tokenizers.json`.
#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    tokenizers: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    path: String,
    reference: String,
    /// For every text.
    ids: Vec<Vec<u32>>,
    /// Texts with control tokens in them.
    #[serde(default)]
    marked: Vec<Marked>,
    /// Two turns of Llama 2's template, the second about something else.
    #[serde(default)]
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Marked {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Chat {
    prompt: String,
    response: String,
    ids: Vec<u32>,
}

fn kinds() -> (Vec<String>, Vec<(Kind, ModelTokenizer)>) {
    let Golden { texts, tokenizers } = golden("tokenizers.json");
    let loaded = tokenizers.into_iter().map(|kind| {
        let loaded = tokenizer(&kind.path);
        (kind, loaded)
    });
    (texts, loaded.collect())
}

impl Kind {
    /// What the reference takes for somebody's text: SentencePiece finds no control tokens in any.
    fn plain(&self, text: &str) -> Vec<Range<usize>> {
        (self.reference == "sentencepiece").then_some(0..text.len()).into_iter().collect()
    }
}

/// Whether a text comes back as it was, from ids of this kind: not when it is normalised, nor where Unigram takes
/// the spelling of a byte for the byte, as in transformers.
fn comes_back(kind: &Kind, text: &str) -> bool {
    let changes = ["\u{fb01}", "\u{ff21}", "\u{301}", "\u{3000}", "<0x"];
    match kind.path.as_str() {
        "tiny-tokenizers/qwen2.gguf" => text.is_ascii(),
        "tiny-tokenizers/unigram" => !changes.iter().any(|change| text.contains(change)),
        _ => true,
    }
}

/// What the ids of a text say. Ours keep the space that SentencePiece puts before it; the decoders of
/// `tokenizer.json` take one away, which Metaspace puts only before a text that does not begin with one.
fn said(kind: &Kind, text: &str) -> String {
    let puts_none_before_a_space =
        ["spm-first", "spm-always", "unigram"].iter().any(|name| kind.path.contains(name));
    match text.strip_prefix(' ') {
        Some(rest) if puts_none_before_a_space => rest.to_owned(),
        _ if kind.path.contains("spm-llama") && !text.is_empty() => format!(" {text}"),
        _ => text.to_owned(),
    }
}

#[test]
fn ids_are_those_of_the_reference() {
    let (texts, kinds) = kinds();
    assert_eq!((texts.len(), kinds.len()), (64, 16));
    for (kind, tokenizer) in &kinds {
        for (text, ids) in texts.iter().zip(&kind.ids) {
            let found = tokenizer.encode(text, &kind.plain(text)).unwrap();
            assert_eq!(&found.ids, ids, "{}: {text:?}", kind.path);
        }
    }
}

#[test]
fn ids_become_the_text_again() {
    let (texts, kinds) = kinds();
    for (kind, tokenizer) in &kinds {
        for text in texts.iter().filter(|text| comes_back(kind, text)) {
            let somebodys = 0..text.len();
            let ids = tokenizer.encode(text, &[somebodys]).unwrap().ids;
            assert_eq!(tokenizer.decode(&ids).unwrap(), said(kind, text), "{}: {text:?}", kind.path);
        }
    }
}

#[test]
fn control_tokens_of_the_template_are_found_as_the_reference_finds_them() {
    let (_, kinds) = kinds();
    let mut n = 0;
    for (kind, tokenizer) in &kinds {
        for marked in &kind.marked {
            let found = tokenizer.encode(&marked.text, &[]).unwrap().ids;
            assert_eq!(found, marked.ids, "{}: {:?}", kind.path, marked.text);
            n += 1;
        }
    }
    assert_eq!(n, 24);
}

#[test]
fn a_row_is_encoded_as_sentencepiece_encodes_text() {
    let (_, kinds) = kinds();
    let mut n = 0;
    for (kind, tokenizer) in &kinds {
        for chat in &kind.chats {
            let head = "<s>[INST] ";
            let middle = [head, &chat.prompt, " [/INST]"].concat();
            let response_at = middle.len()..middle.len() + chat.response.len();
            let text = [&middle, &chat.response, "</s><s>[INST] ok</s>"].concat();
            let rows = [head.len()..head.len() + chat.prompt.len(), response_at];
            let found = tokenizer.encode(&text, &rows).unwrap();
            assert_eq!(found.ids, chat.ids, "{}: {text:?}", kind.path);
            n += 1;
        }
    }
    assert_eq!(n, 12);
}

#[test]
fn a_control_token_lies_wholly_in_what_the_template_wrote() {
    let (_, kinds) = kinds();
    for (kind, tokenizer) in &kinds {
        let control = tokenizer.eos_text();
        let id = *tokenizer.special().end_of_turn.first().unwrap();
        let text = ["x", &control, &control, "y"].concat();
        let count = |row: Option<Range<usize>>| {
            let rows: Vec<_> = row.into_iter().collect();
            tokenizer.encode(&text, &rows).unwrap().ids.iter().filter(|found| **found == id).count()
        };
        let second = 1 + control.len();
        assert_eq!(count(None), 2, "{}", kind.path);
        assert_eq!(count(Some(second + 2..text.len())), 1, "{}: it ends in the row", kind.path);
        assert_eq!(count(Some(0..2)), 1, "{}: it begins in the row", kind.path);
        assert_eq!(count(Some(second - 1..second + 1)), 0, "{}: the row is between two", kind.path);
        assert_eq!(count(Some(second..second)), 2, "{}: an empty row", kind.path);
        assert_eq!(count(Some(0..text.len())), 0, "{}: all of it is the row", kind.path);
    }
}

#[test]
fn white_space_of_a_row_is_no_part_of_a_control_token() {
    let tokenizer = tokenizer("tiny-tokenizers/spm-prepend");
    let text = "a<|end|>\n  b";
    let row = 10..text.len();
    let found = tokenizer.encode(text, &[row]).unwrap();
    assert!(
        tokenizer.decode(&found.ids).unwrap().ends_with("<|end|>  b"),
        "one space is the tokenizer's own"
    );
    assert_eq!(found.offsets[1], 1..10, "the line break and a space are the template's");
    let whole = tokenizer.encode(text, &[]).unwrap();
    assert_eq!(whole.offsets[1], 1..11, "nobody's row");
    let text = "a  <|call|>b";
    let row = 0..2;
    let found = tokenizer.encode(text, &[row]).unwrap();
    assert_eq!(found.offsets[found.offsets.len() - 2], 2..11, "the first space is the row's");
}

#[test]
fn a_continuation_keeps_its_space_and_cut_characters_come_whole() {
    let (_, kinds) = kinds();
    for (kind, tokenizer) in &kinds {
        for text in ["the book of  books ", "so \u{1f370}\u{1f370}\u{1f370} x", "a\n b", "\u{1f370}\u{1f469}"]
        {
            let ids = tokenizer.encode(text, &[]).unwrap().ids;
            let whole = tokenizer.decode(&ids).unwrap();
            for at in 1..=ids.len() {
                let before = tokenizer.decode(&ids[..at]).unwrap();
                let after = tokenizer.decode_after(&ids[..at], &ids[at..]).unwrap();
                // A cut character is the continuation's.
                let joined = [before.trim_end_matches('\u{fffd}'), &after].concat();
                assert_eq!(joined, whole, "{} at {at}", kind.path);
            }
        }
    }
}

#[test]
fn a_beginning_of_sequence_is_added_where_the_kind_adds_one() {
    let adds = |path: &str| {
        tokenizer(&Path::new("tiny-tokenizers").join(path).display().to_string()).special().adds_bos
    };
    for path in
        ["llama-bpe.gguf", "tekken.gguf", "spm-llama.gguf", "spm-gemma.gguf", "spm-llama", "spm-prepend"]
    {
        assert!(adds(path), "{path}");
    }
    for path in ["gpt-2.gguf", "smollm.gguf", "qwen2.gguf", "chatglm-bpe.gguf", "gpt-4o.gguf", "unigram"] {
        assert!(!adds(path), "{path}");
    }
}
