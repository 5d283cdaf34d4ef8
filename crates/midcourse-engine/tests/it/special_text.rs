//! What people write stays text: special-token strings, white space and cut characters in prompt and response.

use std::sync::LazyLock;

use midcourse_core::template::{ChatTemplate, Mode, Prefill, Tokenizer, prefill};
use midcourse_engine::tokenizer::ModelTokenizer;
use proptest::prelude::*;

use crate::fixtures::{CHATML, MODELS, smollm2, template, tokenizer};

/// As Llama 2 Chat: the space before the answer becomes part of its first token.
const SPACE_BEFORE_ANSWER: &str = "{% for m in messages %}\
    {% if m.role == 'user' %}[INST] {{ m.content.strip() }} [/INST]{% else %} {{ m.content }} {% endif %}\
    {% endfor %}";

fn open_turn(tokenizer: &ModelTokenizer, source: &str, texts: (&str, &str)) -> Prefill {
    prefill(&template(source, tokenizer), tokenizer, texts, Mode::OpenTurn).unwrap()
}

/// Control tokens among `ids`: those whose whole text is one of `spellings`.
fn controls(tokenizer: &ModelTokenizer, ids: &[u32], spellings: &[String]) -> Vec<u32> {
    let is_control = |id: &u32| spellings.contains(&tokenizer.text_of(Some(*id)));
    ids.iter().copied().filter(is_control).collect()
}

fn check_spellings(tokenizer: &ModelTokenizer, spellings: &[String]) {
    let ordinary = open_turn(tokenizer, CHATML, ("May I?", "Yes."));
    let expected = controls(tokenizer, &ordinary.ids, spellings);
    for spelling in spellings {
        let prompt = format!("{spelling}May I?{spelling} ");
        let response = format!("{spelling}\nNo {spelling}{spelling}, ask\u{e9}{spelling}");
        let found = open_turn(tokenizer, CHATML, (&prompt, &response));
        assert_eq!(found.n_special_as_text, 6, "{spelling}");
        assert_eq!(controls(tokenizer, &found.ids, spellings), expected, "{spelling}");
        assert_eq!(decoded(tokenizer, &found), found.text, "{spelling}");
        check_every_prefix(tokenizer, &found);
    }
}

#[test]
fn special_tokens_in_a_row_stay_text() {
    let spellings = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    for model in MODELS {
        let all: &[&str] = match model {
            "tiny-llama-bos" => &["<unk>", "<s>", "</s>"],
            _ => &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        };
        check_spellings(&tokenizer(model), &spellings(all));
    }
    let files = midcourse_engine::weights::ModelFiles::open(&smollm2()).unwrap();
    let all = spellings(&["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>"]);
    check_spellings(&ModelTokenizer::of(&files).unwrap(), &all);
}

#[test]
fn a_token_that_spans_the_border_is_the_first_of_the_response() {
    for model in MODELS {
        let tokenizer = tokenizer(model);
        let found = open_turn(&tokenizer, SPACE_BEFORE_ANSWER, ("May I?", "the book is yours"));
        assert_eq!(found.input(0), found.plain, "{model}");
        assert!(tokenizer.decode(&found.input(1)).unwrap().ends_with("[/INST] the"), "{model}");
        assert_eq!(found.prefix_bytes(1), "the".len(), "{model}");
    }
}

#[test]
fn white_space_around_the_response_is_part_of_it() {
    for model in MODELS {
        let tokenizer = tokenizer(model);
        let found = open_turn(&tokenizer, CHATML, ("May I?", "  the \n"));
        let tokens: Vec<_> = (0..=found.n_response_tokens()).map(|k| found.prefix_bytes(k)).collect();
        assert_eq!(found.input(0), found.plain, "{model}");
        assert_eq!(tokens, [0, 1, 5, 6, 7], "{model}: a space, a word with its space, a space, a newline");
        check_every_prefix(&tokenizer, &found);
    }
}

#[test]
fn a_prefix_that_cuts_its_first_character_is_proved() {
    for model in MODELS {
        let tokenizer = tokenizer(model);
        let found = open_turn(&tokenizer, CHATML, ("May I?", "\u{1f370} for you"));
        assert_eq!(found.prefix_bytes(1), '\u{1f370}'.len_utf8(), "{model}: its first byte is a token");
        check_every_prefix(&tokenizer, &found);
    }
}

/// The decoded ids without a beginning of sequence that the text does not hold, and without the space that
/// some tokenizers put before it.
fn decoded(tokenizer: &ModelTokenizer, found: &Prefill) -> String {
    let added = usize::from(found.offsets.first().is_some_and(std::ops::Range::is_empty));
    let all = tokenizer.decode(&found.ids[added..]).unwrap();
    let is_longer = all.len() > found.text.len();
    all.strip_prefix(' ').filter(|_| is_longer).map_or(all.clone(), str::to_owned)
}

/// Every byte of the text belongs to a token.
fn check_offsets(found: &Prefill) {
    let reached =
        found.offsets.iter().try_fold(0, |end, r| (r.start <= end && r.end >= end).then_some(r.end));
    assert_eq!(reached, Some(found.text.len()), "{:?}: {:?}", found.text, found.offsets);
}

fn check_every_prefix(tokenizer: &ModelTokenizer, found: &Prefill) {
    check_offsets(found);
    let n = found.n_response_tokens();
    let lengths: Vec<_> = (0..=n).map(|k| found.prefix_bytes(k)).collect();
    assert!(lengths.is_sorted(), "{:?}: {lengths:?}", found.text);
    assert_eq!(lengths[n], found.text.len() - found.response_at, "{:?}", found.text);
    for k in 0..=n {
        let proof = found.proof(tokenizer, k).unwrap();
        assert!(proof.holds(), "{:?} at {k}: {proof:?}", found.text);
    }
}

static LOADED: LazyLock<Vec<(ModelTokenizer, ChatTemplate)>> = LazyLock::new(|| {
    let with_template = |model| {
        let tokenizer = tokenizer(model);
        let is_chatml = !model.contains("tiny-llama-bos") && !model.contains("spm-llama");
        let source = if is_chatml { CHATML } else { SPACE_BEFORE_ANSWER };
        let template = template(source, &tokenizer);
        (tokenizer, template)
    };
    MODELS.into_iter().chain(KINDS).map(with_template).collect()
});

/// Characters as bytes, with a space before a text and without; words taken whole.
const KINDS: [&str; 4] = [
    "tiny-tokenizers/spm-llama.gguf",
    "tiny-tokenizers/spm-gemma.gguf",
    "tiny-tokenizers/spm-prepend",
    "tiny-tokenizers/llama-bpe.gguf",
];

const SPELT: &[&str] =
    &["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "<|im_", "end|>", "[/INST]"];
const WHITE: &[&str] = &[" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u{a0}", "\u{3000}"];
const WORDS: &[&str] =
    &["the", " book", "it's", "2048", "\u{1f370}", "e\u{301}", "\u{662f}\u{7684}", "\u{fffd}"];

/// Texts of words, any characters, white space, and whole or broken spellings of special tokens.
/// Not of `▁`, which SentencePiece takes for a space.
fn any_text() -> impl Strategy<Value = String> {
    let one_of = |texts: &'static [&str]| proptest::sample::select(texts).prop_map(str::to_owned);
    let any_char = any::<char>().prop_filter("a space", |c| *c != '\u{2581}').prop_map(String::from);
    let piece = prop_oneof![one_of(SPELT), one_of(WHITE), one_of(WORDS), any_char];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_prefix_of_any_response_is_proved(prompt in any_text(), response in any_text()) {
        for (tokenizer, template) in LOADED.iter() {
            let found = prefill(template, tokenizer, (&prompt, &response), Mode::OpenTurn).unwrap();
            prop_assert_eq!(decoded(tokenizer, &found), found.text.clone());
            prop_assert_eq!(&found.text[found.response_at..], &response);
            check_every_prefix(tokenizer, &found);
        }
    }
}
