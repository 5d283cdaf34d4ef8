//! `tokenizer.json` and `tokenizer.model` beside safetensors.

use serde_json::{Value, json};

use super::safetensors::PROBE;
use super::{Cases, INPUT, UNSUPPORTED};
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
    add_hostile(&mut cases);
    add_patterns(&mut cases);
    add_configured(&mut cases);
    add_files(&mut cases);
    cases
}

/// Tokenizers that ask for time or memory without end.
fn add_hostile(cases: &mut Cases) {
    let mut add = |what: &str, path: &str, value: Value, named: &[&str]| {
        let mut model = ModelDir::tiny();
        *model.tokenizer.pointer_mut(path).unwrap() = value;
        model.write(&cases.dir());
        cases.add(what, &PROBE, INPUT, named);
    };
    let in_file = |problem: &str| format!("@/tokenizer.json: {problem}");
    let n = crate::tiny_model::vocabulary().len();
    let largest = in_file(&format!("vocab: expected ids below {n}, found 4294967295 for \"a\""));
    add("the largest id", "/model/vocab/a", json!(u32::MAX), &[&largest]);
    let twice = in_file("vocab: expected one text for an id, found \"a\" and \"b\" for ");
    add("two texts of one id", "/model/vocab/b", json!(crate::tiny_model::id("a")), &[&twice]);
    let merge = in_file("expected a tokenizer of the tokenizers library: ");
    add("a merge whose result is no token", "/model/merges/0", json!("h l"), &[&merge]);
    add("a merge into a control token", "/model/merges/0", json!("<| bos|>"), &[&merge]);
    let table = json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"});
    add("a table of nonsense", "/normalizer", table, &["tokenizer"]);
    let replace = |content: &str| json!({"type": "Replace", "pattern": {"String": "e"}, "content": content});
    let many: Vec<_> = (0..40).map(|_| replace("ee")).collect();
    for step in [
        replace(&"e".repeat(1 << 20)),
        json!({"type": "Prepend", "prepend": "e".repeat(1 << 20)}),
        json!({"type": "Sequence", "normalizers": many}),
    ] {
        let named = |field: &str| in_file(&format!("{field}: it makes a text more than 64 times as long"));
        add("a text that grows", "/normalizer", step.clone(), &[&named("normalizer")]);
        if step["type"] == "Replace" {
            add("a continuation that grows", "/decoder", step, &[&named("decoder")]);
        }
    }
    let token = |at: usize| {
        json!({"id": at, "content": format!("<|{at:100}|>"), "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false})
    };
    let tokens: Vec<_> = (0..11_000).map(token).collect();
    add("very many added tokens", "/added_tokens", json!(tokens), &[&in_file("vocab: expected ids below")]);
}

/// Patterns whose search never ends, in a response that shows it.
fn add_patterns(cases: &mut Cases) {
    let response = "a".repeat(60);
    let args = ["probe", "--model", "@", "--prompt", "Hello", "--response", &response, "--k", "2"];
    for pattern in [r"(?:a(?=a)|a)+(?=b)|.", r"(a*)*\1b|."] {
        let replace = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "e"});
        for (path, step) in [("/pre_tokenizer", split(pattern)), ("/normalizer", replace)] {
            let mut model = ModelDir::tiny();
            *model.tokenizer.pointer_mut(path).unwrap() = step;
            model.write(&cases.dir());
            let named = "tokenizer: the search for a pattern of the tokenizer takes too long";
            cases.add("a search without end", &args, INPUT, &[named]);
        }
    }
}

/// What `tokenizer_config.json` says of added tokens.
fn add_configured(cases: &mut Cases) {
    let n = crate::tiny_model::vocabulary().len();
    for (what, id, token, named) in [
        (
            "a name that is no id",
            "first",
            json!({"content": "x"}),
            "added_tokens_decoder.first: expected a token id",
        ),
        (
            "an added token of no text",
            "0",
            json!({"special": true}),
            "added_tokens_decoder.0: expected a field content",
        ),
        (
            "another id than the tokenizer's",
            "7",
            json!({"content": "<|bos|>"}),
            "added_tokens_decoder.7: tokenizer.json has the id",
        ),
        (
            "a new token of an old id",
            "7",
            json!({"content": "<|new|>"}),
            &format!("tokenizer.json has the id {n} for \"<|new|>\""),
        ),
    ] {
        let mut model = ModelDir::tiny();
        model.tokenizer_config["added_tokens_decoder"] = json!({id: token});
        model.write(&cases.dir());
        cases.add(what, &PROBE, INPUT, &["@/tokenizer_config.json: ", named]);
    }
}

/// Files as a whole.
fn add_files(cases: &mut Cases) {
    let mut add = |what: &str, files: &[(&str, &[u8])], code, named: &[&str]| {
        ModelDir::tiny().write(&cases.dir());
        std::fs::remove_file(cases.dir().join("tokenizer.json")).unwrap();
        for (name, bytes) in files {
            cases.write(name, bytes);
        }
        cases.add(what, &PROBE, code, named);
    };
    let json = ModelDir::tiny().tokenizer.to_string().into_bytes();
    let nested = [br#"{"version": "1.0", "normalizer": "#.to_vec(), b"[".repeat(100_000)].concat();
    let long = [br#"{"version": ""#.to_vec(), vec![b'x'; 49 << 20]].concat();
    let values = [br#"{"version": "1.0", "model": [1"#.to_vec(), b",1".repeat(2_200_001)].concat();
    for (what, bytes, named) in [
        ("half a tokenizer", &json[..json.len() / 2], "EOF while parsing"),
        ("nesting without end", &nested, "recursion limit exceeded"),
        ("millions of values", &values, "values, more than 2200000"),
    ] {
        let named = ["@/tokenizer.json: expected a tokenizer of the tokenizers library: ", named];
        add(what, &[("tokenizer.json", bytes)], INPUT, &named);
    }
    let named = ["@/tokenizer.json: expected at most 50331648 bytes, found more"];
    add("a file of 49 MB", &[("tokenizer.json", &long)], INPUT, &named);
    let neither = "@: expected a tokenizer.json or a tokenizer.model, found";
    for other in ["tekken.json", "qwen.tiktoken", "tiktoken.model", "vocab.json"] {
        let named = [&format!("{neither} {other}"), "save_pretrained"];
        add(&format!("{other} for a tokenizer"), &[(other, b"{}")], INPUT, &named.map(|text| text as &str));
    }
    let model = ("tokenizer.model", b"IQ== 0\nIg== 1\nIw== 2\n".as_slice());
    let named = ["@/tokenizer.model: expected a model of SentencePiece: ", "tiktoken needs a tokenizer.json"];
    add("a tokenizer.model for tiktoken", &[model], INPUT, &named);
    add("an empty tokenizer.model", &[("tokenizer.model", b"")], INPUT, &[named[0]]);
    let unigram = [&[10, 3, 10, 1, b'a'][..], &[18, 2, 24, 1]].concat();
    let named = ["@/tokenizer.model: a Unigram model is not supported", "save_pretrained"];
    add("a Unigram tokenizer.model", &[("tokenizer.model", &unigram)], UNSUPPORTED, &named);
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}
