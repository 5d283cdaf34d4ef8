//! Metadata of GGUF files: keys that are missing, of another type, or make no sense.

use super::gguf::PROBE;
use super::{Cases, INPUT, UNSUPPORTED};
use crate::tiny_gguf::{Gguf, Value};
use crate::tiny_model;

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    missing(&mut cases);
    wrong_types(&mut cases);
    senseless(&mut cases);
    unknown(&mut cases);
    wrong_lists(&mut cases);
    cases
}

fn add(cases: &mut Cases, what: &str, file: &Gguf, named: &[&str]) {
    cases.write("model.gguf", file.write().bytes);
    cases.add(what, &PROBE, INPUT, &[&["@/model.gguf: "], named].concat());
}

fn missing(cases: &mut Cases) {
    for key in [
        "general.architecture",
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges",
    ] {
        add(cases, &format!("no {key}"), &Gguf::tiny().without(key), &[key, "it is missing"]);
    }
}

fn wrong_types(cases: &mut Cases) {
    let texts = [
        "general.architecture",
        "llama.rope.scaling.type",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.chat_template",
    ];
    let numbers = [
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.attention.key_length",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
    ];
    let floats = ["llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base"];
    let lists = ["tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"];
    let mut wrong = |keys: &[&str], values: &[Value]| {
        for key in keys {
            for value in values {
                let file = Gguf::tiny().with(key, value.clone());
                add(cases, &format!("{key}: {value:?}"), &file, &[key, "expected"]);
            }
        }
    };
    wrong(&texts, &[Value::U32(7), Value::Texts(vec!["a".into()])]);
    wrong(&numbers, &[Value::text("8"), Value::F32(8.0), Value::I32(-1), Value::U64(1 << 32)]);
    wrong(&floats, &[Value::text("1"), Value::U32(1)]);
    wrong(&["tokenizer.ggml.add_bos_token"], &[Value::U32(1), Value::text("true")]);
    wrong(&lists, &[Value::text("a b"), Value::U32(1)]);
}

/// Numbers that no decoder has, or that do not go together.
fn senseless(cases: &mut Cases) {
    let mut number = |key: &str, n: u32, named: &str| {
        let file = Gguf::tiny().with(key, Value::U32(n));
        add(cases, &format!("{key} = {n}"), &file, &[named]);
    };
    for key in ["context_length", "embedding_length", "block_count", "feed_forward_length"] {
        let key = format!("llama.{key}");
        number(&key, 0, &format!("{key}: expected 1 to "));
        number(&key, u32::MAX, &format!("{key}: expected 1 to "));
    }
    for key in ["head_count", "head_count_kv", "key_length"] {
        let key = format!("llama.attention.{key}");
        number(&key, 0, &format!("{key}: expected 1 to "));
        number(&key, u32::MAX, &format!("{key}: expected 1 to "));
    }
    number("llama.attention.key_length", 3, "llama.attention.key_length: expected an even number");
    number("llama.attention.head_count_kv", 3, "llama.attention.head_count_kv: 2 query heads do not share 3");
    number("llama.attention.head_count", 4, "tensor blk.0.attn_q.weight: expected shape");
    number("llama.embedding_length", 16, "expected shape");
    number("llama.feed_forward_length", 17, "expected shape");
    number("llama.block_count", 2, "tensor blk.1.attn_norm.weight is missing");
    // Candle divides by it.
    number("general.alignment", 0, "expected a GGUF header, but at byte ");
    let n = tiny_model::vocabulary().len() as u32;
    for key in ["bos_token_id", "eos_token_id", "eot_token_id"] {
        let key = format!("tokenizer.ggml.{key}");
        number(&key, n, &format!("{key}: expected an id below {n}, found {n}"));
    }
    for (key, value) in [("llama.rope.freq_base", 0.0), ("llama.rope.freq_base", f32::NAN)] {
        add(
            cases,
            &format!("{key} = {value}"),
            &Gguf::tiny().with(key, Value::F32(value)),
            &[key, "expected"],
        );
    }
    let key = "llama.attention.layer_norm_rms_epsilon";
    for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        add(
            cases,
            &format!("{key} = {value}"),
            &Gguf::tiny().with(key, Value::F32(value)),
            &[key, "expected"],
        );
    }
}

/// What the file asks for is not there.
fn unknown(cases: &mut Cases) {
    for (key, value) in [
        ("general.architecture", "mamba"),
        ("general.architecture", "clip"),
        ("general.architecture", ""),
        ("general.architecture", "\u{1b}[31mllama"),
        ("llama.rope.scaling.type", "longrope"),
        ("llama.rope.scaling.type", "proportional"),
        ("tokenizer.ggml.model", "llama"),
        ("tokenizer.ggml.model", "bert"),
        ("tokenizer.ggml.pre", "deepseek-llm"),
        ("tokenizer.ggml.pre", ""),
    ] {
        let file = Gguf::tiny().with(key, Value::text(value));
        cases.write("model.gguf", file.write().bytes);
        cases.add(format!("{key} = {value}"), &PROBE, UNSUPPORTED, &["@/model.gguf: ", "is not supported"]);
    }
    for key in ["tokenizer.ggml.pre", "tokenizer.chat_template"] {
        cases.write("model.gguf", Gguf::tiny().without(key).write().bytes);
        cases.add(format!("no {key}"), &PROBE, UNSUPPORTED, &["@/model.gguf: ", "is not supported"]);
    }
}

/// Lists of the tokenizer that do not go together.
fn wrong_lists(cases: &mut Cases) {
    let texts = |texts: &[&str]| Value::Texts(texts.iter().map(|&text| text.to_owned()).collect());
    let many = |n: usize| Value::Texts((0..n).map(|id| format!("t{id}")).collect());
    let n = tiny_model::vocabulary().len();
    for (what, key, value, named) in [
        ("a merge of one part", "tokenizer.ggml.merges", texts(&["h e", "he"]), "entry 1 is not two parts"),
        ("a merge of unknown tokens", "tokenizer.ggml.merges", texts(&["x y"]), "out of vocabulary"),
        ("a merge of unknown parts", "tokenizer.ggml.merges", texts(&["xx yy"]), "out of vocabulary"),
        ("an empty merge", "tokenizer.ggml.merges", texts(&[""]), "entry 0 is not two parts"),
        ("numbers as merges", "tokenizer.ggml.merges", Value::Ints(vec![1, 2]), "entry 0 is "),
        ("numbers as tokens", "tokenizer.ggml.tokens", Value::Ints(vec![1, 2]), "entry 0 is "),
        ("texts as types", "tokenizer.ggml.token_type", texts(&["control"]), "entry 0 is "),
        ("types for some tokens", "tokenizer.ggml.token_type", Value::Ints(vec![1; 5]), "found 5"),
        ("no tokens", "tokenizer.ggml.tokens", texts(&[]), "found 0"),
        ("more tokens than rows", "tokenizer.ggml.tokens", many(n + 1), "tokenizer.ggml.tokens"),
        ("fewer tokens than rows", "tokenizer.ggml.tokens", many(n - 1), "tokenizer.ggml.tokens"),
    ] {
        add(cases, what, &Gguf::tiny().with(key, value), &[key, named]);
    }
}
