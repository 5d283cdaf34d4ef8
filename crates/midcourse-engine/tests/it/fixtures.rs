//! Where the models and goldens are, and what they are read into.

use std::path::{Path, PathBuf};

use midcourse_core::template::ChatTemplate;
use midcourse_engine::tokenizer::ModelTokenizer;
use midcourse_engine::weights::ModelFiles;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A tokenizer of every kind: from `tokenizer.json` and from GGUF, adding a beginning of sequence or not.
pub(crate) const MODELS: [&str; 4] =
    ["tiny-llama", "tiny-llama-bos", "tiny-llama.gguf", "tiny-llama-q4.gguf"];

pub(crate) const CHATML: &str = "{% for m in messages %}\
    {{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// `golden/tiny.json`.
#[derive(Deserialize)]
pub(crate) struct TinyGolden {
    pub models: Vec<TinyModel>,
}

#[derive(Deserialize)]
pub(crate) struct TinyModel {
    pub path: String,
    pub n_bos: usize,
    pub conversations: Vec<Conversation>,
}

/// `golden/smollm2.json`.
#[derive(Deserialize)]
pub(crate) struct Smollm2Golden {
    pub n_bos: usize,
    pub conversations: Vec<Conversation>,
    pub texts: Vec<TokenizedText>,
}

/// What transformers makes of a conversation whose answer goes on.
#[derive(Deserialize)]
pub(crate) struct Conversation {
    pub prompt: String,
    pub response: String,
    pub rendered: String,
    pub ids: Vec<u32>,
    /// Natural logarithm; that of token i + 1 given tokens 0..=i.
    pub logps: Vec<f64>,
    pub question: Question,
}

#[derive(Deserialize)]
pub(crate) struct Question {
    pub rendered: String,
    pub ids: Vec<u32>,
}

#[derive(Deserialize)]
pub(crate) struct TokenizedText {
    pub text: String,
    pub ids: Vec<u32>,
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

pub(crate) fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = testdata("golden").join(name);
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

pub(crate) fn tokenizer(model: &str) -> ModelTokenizer {
    ModelTokenizer::of(&ModelFiles::open(&testdata(model)).unwrap()).unwrap()
}

/// `source` as the template of the model that `tokenizer` belongs to.
pub(crate) fn template(source: &str, tokenizer: &ModelTokenizer) -> ChatTemplate {
    ChatTemplate::new("test", source, &tokenizer.bos_text(), &tokenizer.eos_text()).unwrap()
}

/// The GGUF of SmolLM2, which tests need and do not fetch.
pub(crate) fn smollm2() -> PathBuf {
    let cached = "midcourse/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = named("MIDCOURSE_SMOLLM2")
        .or_else(|| named("XDG_CACHE_HOME").map(|dir| dir.join(cached)))
        .or_else(|| named("HOME").map(|dir| dir.join(".cache").join(cached)))
        .unwrap_or_default();
    assert!(path.is_file(), "{} is not there: run `cargo xtask test`, which fetches it", path.display());
    path
}
