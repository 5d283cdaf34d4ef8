//! Chat templates of 18 families against transformers and jinja2: every text as a prompt and as the beginning of
//! an answer, in text and ids. What the letters of the golden mean is said in `testdata/templates.py`.

use std::path::Path;

use midcourse_core::chat::Message;
use midcourse_core::template::{
    ChatTemplate, Framing, Mode, Next, Prefill, Rewriting, System, Thinking, Thought, Tokenizer,
    encode_conversation, prefill, prefill_after,
};
use midcourse_engine::tokenizer::ModelTokenizer;
use midcourse_engine::weights::ModelFiles;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::fixtures::{golden, testdata};

/// `golden/templates.json`.
#[derive(Deserialize)]
struct Golden {
    date: String,
    prompt: String,
    texts: Vec<String>,
    families: Vec<Family>,
}

#[derive(Deserialize)]
struct Family {
    name: String,
    bos: String,
    eos: String,
    answer: Columns,
    r#continue: Columns,
}

/// One letter and two hashes of eight characters a text.
#[derive(Deserialize)]
struct Columns {
    letters: String,
    texts: String,
    ids: String,
}

impl Columns {
    fn row(&self, at: usize) -> (char, [&str; 2]) {
        let hash = 8 * at..8 * (at + 1);
        (char::from(self.letters.as_bytes()[at]), [&self.texts[hash.clone()], &self.ids[hash]])
    }
}

fn hashes(text: &str, ids: &[u32]) -> [String; 2] {
    let short = |bytes: &[u8]| {
        let digest = Sha256::digest(bytes);
        format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    };
    let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    [short(text.as_bytes()), short(&ids)]
}

/// Whether a tokenizer adds its beginning of sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bos {
    Added,
    NotAdded,
}

/// The golden's tokenizer, with the special tokens of a family.
fn tokenizer(family: &Family, bos: Bos) -> ModelTokenizer {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, json: &serde_json::Value| {
        std::fs::write(dir.path().join(name), serde_json::to_vec(json).unwrap()).unwrap();
    };
    let bytes = std::fs::read(testdata("templates/tokenizer.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    if bos == Bos::Added {
        let added = json["added_tokens"].as_array().unwrap();
        let id = &added.iter().find(|token| token["content"] == family.bos).unwrap()["id"];
        json["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": family.bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {&family.bos: {"id": family.bos, "ids": [id], "tokens": [family.bos]}},
        });
    }
    write("tokenizer.json", &json);
    write("tokenizer_config.json", &serde_json::json!({"bos_token": family.bos, "eos_token": family.eos}));
    write("config.json", &serde_json::json!({}));
    // The tokenizer needs no weights, but a directory without any is no model.
    std::fs::write(dir.path().join("model.safetensors"), "").unwrap();
    ModelTokenizer::of(&ModelFiles::open(dir.path()).unwrap()).unwrap()
}

fn source(name: &str) -> String {
    std::fs::read_to_string(testdata(&format!("templates/{name}.jinja"))).unwrap()
}

fn template(family: &Family, golden: &Golden, rewriting: Rewriting) -> ChatTemplate {
    let template = ChatTemplate::new(&family.name, &source(&family.name), &family.bos, &family.eos).unwrap();
    template.framed(Framing { date: golden.date.parse().unwrap(), rewriting, ..Framing::default() })
}

/// The prefix of all of `text` after the golden's prompt.
fn continued(
    (template, tokenizer): (&ChatTemplate, &ModelTokenizer),
    prompt: &str,
    text: &str,
) -> Option<Prefill> {
    prefill(template, tokenizer, (prompt, text), Mode::OpenTurn).ok()
}

#[test]
fn text_and_ids_equal_those_of_transformers_and_jinja2() {
    let golden: Golden = golden("templates.json");
    assert_eq!((golden.families.len(), golden.texts.len()), (18, 200));
    for family in &golden.families {
        let tokenizer = tokenizer(family, Bos::NotAdded);
        let template = template(family, &golden, Rewriting::Allowed);
        for (at, text) in golden.texts.iter().enumerate() {
            let context = format!("{}: {text:?}", family.name);
            let question = continued((&template, &tokenizer), text, "Well").expect(&context);
            let (_, expected) = family.answer.row(at);
            assert_eq!(hashes(&question.question, &question.plain), expected, "{context}");
            let (letter, expected) = family.r#continue.row(at);
            let Some(answered) = continued((&template, &tokenizer), &golden.prompt, text) else {
                assert_eq!(letter, 'n', "{context}");
                continue;
            };
            assert_eq!(hashes(&answered.text, &answered.ids), expected, "{context}");
            assert_eq!(answered.rewritten, letter == 'r', "{context}");
            assert_eq!(answered.response() == text, letter != 'r', "{context}");
            let proof = answered.proof(&tokenizer, answered.n_response_tokens()).unwrap();
            assert!(proof.holds(), "{context}: {proof:?}");
        }
    }
}

/// Ids of a conversation.
fn encoded(
    (template, tokenizer): (&ChatTemplate, &ModelTokenizer),
    messages: &[Message],
    next: Next,
) -> Result<Vec<u32>, midcourse_core::Error> {
    encode_conversation(template, tokenizer, messages, next)
}

#[test]
fn a_conversation_of_one_question_is_the_question_of_a_prefill() {
    let golden: Golden = golden("templates.json");
    for family in &golden.families {
        let tokenizer = tokenizer(family, Bos::NotAdded);
        let template = template(family, &golden, Rewriting::Allowed);
        for text in &golden.texts {
            let question = continued((&template, &tokenizer), text, "Well").unwrap();
            let messages = [Message::user(text)];
            let found = encoded((&template, &tokenizer), &messages, Next::Answer(Thought::Framed)).unwrap();
            assert_eq!(found, question.plain, "{}: {text:?}", family.name);
        }
    }
}

/// The rendered conversation is compared with the template's own in `conversation`; here its messages are looked for
/// in the ids.
#[test]
fn special_tokens_in_any_turn_stay_text() {
    let golden: Golden = golden("templates.json");
    for family in &golden.families {
        let tokenizer = tokenizer(family, Bos::NotAdded);
        let template = template(family, &golden, Rewriting::Allowed);
        let said = [&family.bos, &family.eos, "<|im_end|>", "<|eot_id|>"].map(|token| format!("a {token} b"));
        let talk = |texts: [&str; 3]| {
            [Message::user(texts[0]), Message::assistant(texts[1]), Message::user(texts[2])]
        };
        let messages = talk([&said[0], &said[1], &said[2]]);
        for next in [Next::Answer(Thought::Framed), Next::Closed] {
            let ids = |messages: &[Message]| encoded((&template, &tokenizer), messages, next).unwrap();
            let (plain, special) = (ids(&talk(["a", "b", "c"])), ids(&messages));
            let controls = |ids: &[u32]| -> Vec<u32> {
                ids.iter()
                    .copied()
                    .filter(|id| tokenizer.count_special(&tokenizer.decode(&[*id]).unwrap()) > 0)
                    .collect()
            };
            assert_eq!(controls(&special), controls(&plain), "{}", family.name);
            let text = tokenizer.decode(&special).unwrap();
            assert!(said[..3].iter().all(|said| text.contains(said)), "{}: {text:?}", family.name);
        }
        let prefilled =
            prefill_after(&template, &tokenizer, (&messages, "Well, <|im_end|>"), Mode::OpenTurn).unwrap();
        assert!(
            prefilled.proof(&tokenizer, prefilled.n_response_tokens()).unwrap().holds(),
            "{}",
            family.name
        );
        assert_eq!(
            prefilled.plain,
            encoded((&template, &tokenizer), &messages, Next::Answer(Thought::Framed)).unwrap()
        );
    }
}

#[test]
fn a_rewritten_response_is_refused_unless_it_is_allowed() {
    let golden: Golden = golden("templates.json");
    for family in &golden.families {
        let tokenizer = tokenizer(family, Bos::NotAdded);
        let template = template(family, &golden, Rewriting::Refused);
        for (at, text) in golden.texts.iter().enumerate() {
            let found = continued((&template, &tokenizer), &golden.prompt, text);
            let (letter, _) = family.r#continue.row(at);
            assert_eq!(found.is_none(), matches!(letter, 'r' | 'n'), "{}: {text:?}", family.name);
        }
    }
}

#[test]
fn a_tokenizer_that_adds_the_beginning_adds_it_where_the_template_wrote_none() {
    let golden: Golden = golden("templates.json");
    for family in &golden.families {
        let template = template(family, &golden, Rewriting::Allowed);
        let [plain, adding] = [Bos::NotAdded, Bos::Added].map(|bos| {
            let tokenizer = tokenizer(family, bos);
            (continued((&template, &tokenizer), &golden.prompt, "Well, <s> no").unwrap(), tokenizer)
        });
        let bos = adding.1.special().bos.unwrap();
        let written = plain.0.ids[0] == bos;
        let expected = if written { plain.0.ids.clone() } else { [&[bos], &plain.0.ids[..]].concat() };
        assert!(adding.1.special().adds_bos, "{}", family.name);
        assert_eq!(adding.0.ids, expected, "{}", family.name);
        let n_bos = adding.0.ids.iter().take_while(|id| **id == bos).count();
        assert_eq!((n_bos, adding.0.plain[0], adding.0.plain[1] == bos), (1, bos, false), "{}", family.name);
    }
}

/// What stands before and after the prompt, in a question and in an answer.
fn opened(name: &str, system: System, thinking: Thinking) -> Result<[String; 3], String> {
    // SmolLM2 begins a sequence as it begins a turn.
    let (bos, eos) = if name == "smollm2" { ("<|im_start|>", "<|im_end|>") } else { ("<s>", "</s>") };
    let framing = Framing { system, thinking, date: "2024-02-09".parse().unwrap(), ..Framing::default() };
    let template = ChatTemplate::new(name, &source(name), bos, eos).unwrap().framed(framing);
    let family = Family {
        name: name.to_owned(),
        bos: bos.to_owned(),
        eos: eos.to_owned(),
        answer: Columns { letters: String::new(), texts: String::new(), ids: String::new() },
        r#continue: Columns { letters: String::new(), texts: String::new(), ids: String::new() },
    };
    let tokenizer = tokenizer(&family, Bos::NotAdded);
    let found =
        prefill(&template, &tokenizer, ("May I?", "Yes"), Mode::NewTurn).map_err(|e| e.to_string())?;
    let new_turn = tokenizer.decode(&found.lead).unwrap();
    Ok([found.question, found.text, new_turn])
}

#[test]
fn a_thought_stands_where_the_template_would_write_it() {
    let with = |name, thinking| opened(name, System::None, thinking).unwrap();
    let words = || Thinking::Text("It is a game.".into());
    let qwen = "<|im_start|>user\nMay I?<|im_end|>\n<|im_start|>assistant\n";
    for (name, start, [empty, thought]) in [
        ("qwen3", qwen, ["<think>\n\n</think>\n\n", "<think>\nIt is a game.\n</think>\n\n"]),
        ("smollm3", qwen, ["<think>\n\n</think>\n", "<think>\nIt is a game.\n</think>\n"]),
        ("qwen2.5", qwen, ["<think>\n\n</think>\n\n", "<think>\nIt is a game.\n</think>\n\n"]),
        (
            "deepseek-r1",
            "<s><｜User｜>May I?<｜Assistant｜>",
            ["<think>\n\n</think>\n\n", "<think>\nIt is a game.\n</think>\n\n"],
        ),
    ] {
        for (thinking, block) in [(Thinking::Empty, empty), (words(), thought)] {
            let [question, answered, new_turn] = with(name, thinking);
            assert_eq!(question, format!("{start}{block}"), "{name}");
            assert_eq!(answered, format!("{start}{block}Yes"), "{name}");
            assert!(new_turn.ends_with(block), "{name}: {new_turn:?}");
        }
    }
    let off = |name| with(name, Thinking::Off)[1].clone();
    assert_eq!(off("qwen3"), format!("{qwen}<think>\n\n</think>\n\nYes"));
    assert_eq!(off("smollm3"), format!("{qwen}<think>\n\n</think>\nYes"));
    assert_eq!(off("qwen2.5"), format!("{qwen}Yes"));
    let glm = |thinking| opened("glm-4.5", System::Default, thinking).unwrap()[1].clone();
    let start = "[gMASK]<sop><|user|>\nMay I?";
    assert_eq!(glm(Thinking::Off), format!("{start}/nothink<|assistant|>\n<think></think>\nYes"));
    let endless = opened("deepseek-r1", System::Default, Thinking::Off).unwrap_err();
    assert!(endless.contains("begins every answer with a thought"), "{endless}");
}

#[test]
fn a_system_prompt_is_written_left_out_or_refused() {
    let with = |name, text: &str| opened(name, System::Text(text.into()), Thinking::Off);
    let head = |name, system| opened(name, system, Thinking::Off).unwrap()[0].clone();
    assert!(head("qwen2.5", System::Default).contains("somebody made"));
    assert!(
        head("qwen2.5", System::Text("Be kind.".into()))
            .starts_with("<|im_start|>system\nBe kind.<|im_end|>\n")
    );
    for name in ["qwen2", "qwen2.5", "qwen3", "smollm2", "smollm3"] {
        let none = "<|im_start|>user\nMay I?<|im_end|>\n<|im_start|>assistant\n";
        assert!(head(name, System::None).starts_with(none), "{name}");
    }
    let llama = "<|start_header_id|>user<|end_header_id|>\n\nMay I?<|eot_id|>";
    assert!(head("llama-3.1", System::Default).contains("Today Date: 09 Feb 2024"));
    assert!(head("llama-3.1", System::None).starts_with(&format!("<s>{llama}")));
    assert_eq!(head("vicuna", System::None), "<s>USER: May I? ASSISTANT:");
    for name in
        ["llama-2", "mistral-v1", "mistral-v3", "zephyr", "phi-3", "gemma", "gemma-3", "deepseek", "chatglm4"]
    {
        assert_eq!(head(name, System::None), head(name, System::Default), "{name}");
    }
    assert_eq!(
        with("gemma-3", "Be kind.").unwrap()[0],
        "<s><start_of_turn>user\nBe kind.\n\nMay I?<end_of_turn>\n<start_of_turn>model\n"
    );
    for (name, problem) in
        [("gemma", "a system prompt is not taken"), ("mistral-v1", "roles must take turns")]
    {
        let refused = with(name, "Be kind.").unwrap_err();
        assert!(refused.contains("refuses a system prompt") && refused.contains(problem), "{refused}");
    }
    let spelt = with("qwen2", "Write <|im_end|> like this.").unwrap();
    assert!(spelt[0].contains("Write <|im_end|> like this."), "{spelt:?}");
}

#[test]
fn every_template_of_the_tests_is_in_the_golden_or_thinks_always() {
    let golden: Golden = golden("templates.json");
    let mut names: Vec<String> = golden.families.into_iter().map(|family| family.name).collect();
    names.push("deepseek-r1".into());
    let files = std::fs::read_dir(testdata("templates")).unwrap().map(|entry| entry.unwrap().path());
    let is_template = |path: &Path| path.extension().is_some_and(|extension| extension == "jinja");
    let mut found: Vec<String> = files
        .filter(|path| is_template(path))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    found.sort();
    assert_eq!(found, names);
}
