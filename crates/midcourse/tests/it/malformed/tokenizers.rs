//! `tokenizer.json` beside safetensors.

use serde_json::{Value, json};

use super::safetensors::PROBE;
use super::{Cases, INPUT};
use crate::tiny_safetensors::ModelDir;

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    let mut add = |what: &str, change: &dyn Fn(&mut Value), named: &[&str]| {
        let mut model = ModelDir::tiny();
        change(&mut model.tokenizer);
        model.write(&cases.dir());
        cases.add(what, &PROBE, INPUT, &[&["@/tokenizer.json: "], named].concat());
    };
    for (what, tokenizer) in [
        ("an empty object", json!({})),
        ("a list", json!([])),
        ("a text", json!("tokenizer")),
        ("no model", json!({"version": "1.0", "model": null})),
    ] {
        add(what, &|all| *all = tokenizer.clone(), &["expected a tokenizer of the tokenizers library: "]);
    }
    for (what, path, value) in [
        ("an unknown version", "/version", json!("9.0")),
        ("an unknown model", "/model/type", json!("Gossip")),
        ("a list as vocabulary", "/model/vocab", json!(["a"])),
        ("a negative id", "/model/vocab/a", json!(-1)),
        ("a text as id", "/model/vocab/a", json!("1")),
        ("an id of more than 32 bits", "/model/vocab/a", json!(1_u64 << 40)),
        ("a merge of unknown tokens", "/model/merges/0", json!("xx yy")),
        ("a merge of one part", "/model/merges/0", json!("he")),
        ("numbers as merges", "/model/merges", json!([1, 2])),
        ("an unknown pre-tokenizer", "/pre_tokenizer", json!({"type": "Gossip"})),
        ("a pattern that is none", "/pre_tokenizer", split("(")),
        ("an unknown decoder", "/decoder", json!({"type": "Gossip"})),
        ("an unknown normalizer", "/normalizer", json!({"type": "Gossip"})),
        ("an added token without text", "/added_tokens/0", json!({"id": 258, "special": true})),
        ("a text as added token", "/added_tokens/0", json!("<|bos|>")),
    ] {
        let change = |all: &mut Value| *all.pointer_mut(path).unwrap() = value.clone();
        add(what, &change, &["expected a tokenizer of the tokenizers library: "]);
    }
    let n = crate::tiny_model::vocabulary().len();
    let beyond = |all: &mut Value| all["model"]["vocab"]["a"] = json!(n);
    add(
        "an id beyond the vocabulary",
        &beyond,
        &[&format!("vocab: expected ids below {n}, found {n} for \"a\"")],
    );
    // The library panics on these.
    let precompiled = json!({"type": "Precompiled", "precompiled_charsmap": "gossip"});
    let normalizer = |all: &mut Value| all["normalizer"] = precompiled.clone();
    add("a broken table", &normalizer, &["expected a tokenizer of the tokenizers library: "]);
    let processor = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a", "type_id": 0}}],
        "pair": [], "special_tokens": {}});
    let processor = |all: &mut Value| all["post_processor"] = processor.clone();
    add("an unknown token in a template", &processor, &["expected a tokenizer of the tokenizers library: "]);
    cases
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}
