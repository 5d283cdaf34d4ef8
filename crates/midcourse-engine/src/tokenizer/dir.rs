//! The tokenizer of a directory: `tokenizer.json`, or else SentencePiece's `tokenizer.model`, with what
//! `tokenizer_config.json` says of it.

use std::path::Path;

use midcourse_core::engine::TokenId;
use midcourse_core::template::{SpecialTokens, TokenizeError};
use serde::Deserialize;
use serde_json::Value;
use tokenizers::{AddedToken, Encoding, PostProcessor, Token, Tokenizer};

use super::proto::{self, Refusal};
use super::steps::check_growth;
use super::{ModelTokenizer, library, sentencepiece};
use crate::weights::safetensors::read_json;
use crate::{Error, Result};

/// The largest tokenizer file that is read, and the most values that a `tokenizer.json` may hold: the library
/// takes some hundred bytes for each. The largest of the field have 33 MB and 1.9 million.
const MAX_BYTES: u64 = 48 << 20;
const MAX_VALUES: usize = 2_200_000;
/// How to come by a `tokenizer.json`.
const CONVERT: &str = "transformers writes one: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)";

/// A tokenizer, and what its own file says of beginning and end.
struct Found {
    inner: Tokenizer,
    /// The token that the tokenizer puts before a text.
    first: Option<TokenId>,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
}

/// What a `tokenizer.json` does to texts, read before the library reads it.
#[derive(Deserialize)]
struct Steps {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    decoder: Value,
}

impl Steps {
    fn check(&self) -> std::result::Result<(), (String, String)> {
        let fields = [("normalizer", &self.normalizer), ("decoder", &self.decoder)];
        let check = |(name, step)| check_growth(step).map_err(|problem| (String::from(name), problem));
        fields.into_iter().try_for_each(check)
    }
}

pub(super) fn read(dir: &Path, config: &Value) -> Result<ModelTokenizer> {
    let json = dir.join("tokenizer.json");
    let model = dir.join("tokenizer.model");
    let (path, mut found) = if json.exists() {
        (&json, read_tokenizer_json(&json)?)
    } else if model.exists() {
        (&model, read_tokenizer_model(&model)?)
    } else {
        return Err(neither(dir));
    };
    let settings = dir.join("tokenizer_config.json");
    let settings = if settings.exists() { read_json(&settings)? } else { Value::Null };
    add_configured(&mut found.inner, dir, &settings)?;
    let vocab = config.get("vocab_size").and_then(Value::as_u64).unwrap_or(u64::MAX);
    check_ids(&found.inner, vocab).map_err(|problem| Error::Config {
        path: path.clone(),
        field: "vocab".into(),
        problem,
    })?;
    let special = special_tokens(&found, dir, &settings, config)?;
    ModelTokenizer::new(found.inner, special).map_err(|e| broken(path, &e.0))
}

/// Every id stands for one text, and the model has a row for it.
fn check_ids(inner: &Tokenizer, vocab: u64) -> std::result::Result<(), String> {
    let mut ids: Vec<(TokenId, String)> =
        inner.get_vocab(true).into_iter().map(|(text, id)| (id, text)).collect();
    ids.sort_unstable();
    if let Some((id, text)) = ids.iter().find(|(id, _)| u64::from(*id) >= vocab) {
        return Err(format!("expected ids below {vocab}, found {id} for {text:?}"));
    }
    let twice = ids.windows(2).find(|pair| pair[0].0 == pair[1].0);
    twice.map_or(Ok(()), |pair| {
        let [(id, one), (_, other)] = pair else { return Ok(()) };
        Err(format!("expected one text for an id, found {one:?} and {other:?} for {id}"))
    })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let unread = |source| Error::Read { path: path.to_owned(), source };
    crate::files::read(path, MAX_BYTES).map_err(unread)
}

fn read_tokenizer_json(path: &Path) -> Result<Found> {
    let bytes = read_bytes(path)?;
    let n_values = bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if n_values > MAX_VALUES {
        return Err(broken(path, &format!("it has about {n_values} values, more than {MAX_VALUES}")));
    }
    let steps: Steps = serde_json::from_slice(&bytes).map_err(|e| broken(path, &e.to_string()))?;
    steps.check().map_err(|(field, problem)| Error::Config { path: path.to_owned(), field, problem })?;
    let inner = library(|| Tokenizer::from_bytes(&bytes)).map_err(|e| broken(path, &e.0))?;
    let first = first_of_processor(&inner).map_err(|e| broken(path, &e.0))?;
    Ok(Found { inner, first, bos: first, eos: None })
}

fn read_tokenizer_model(path: &Path) -> Result<Found> {
    let model = proto::read(&read_bytes(path)?).map_err(|refusal| match refusal {
        Refusal::Broken(problem) => Error::ModelFile {
            path: path.to_owned(),
            problem: format!("expected a model of SentencePiece: {problem}"),
            hint: format!("a file for tiktoken needs a tokenizer.json beside it; {CONVERT}"),
        },
        Refusal::Unsupported(what) => Error::Unsupported {
            path: path.to_owned(),
            what,
            hint: format!("use a tokenizer.json; {CONVERT}"),
        },
    })?;
    let inner = sentencepiece::build(&model.pieces, model.settings).map_err(|e| broken(path, &e.0))?;
    Ok(Found { inner, first: model.bos, bos: model.bos, eos: model.eos })
}

fn neither(dir: &Path) -> Error {
    let there = |name: &&str| dir.join(name).exists();
    let others = ["tekken.json", "qwen.tiktoken", "tiktoken.model", "vocab.json"].into_iter().find(there);
    let found = others.unwrap_or("neither");
    Error::ModelFile {
        path: dir.to_owned(),
        problem: format!("expected a tokenizer.json or a tokenizer.model, found {found}"),
        hint: CONVERT.into(),
    }
}

fn broken(path: &Path, problem: &str) -> Error {
    Error::ModelFile {
        path: path.to_owned(),
        problem: format!("expected a tokenizer of the tokenizers library: {problem}"),
        hint: "the file is cut short or damaged; download it again".into(),
    }
}

/// Adds what `tokenizer_config.json` says of added tokens, as transformers does: its word counts.
fn add_configured(inner: &mut Tokenizer, dir: &Path, settings: &Value) -> Result<()> {
    let path = dir.join("tokenizer_config.json");
    let Some(configured) = settings.get("added_tokens_decoder").and_then(Value::as_object) else {
        return Ok(());
    };
    let wrong = |id: &str, problem: String| Error::Config {
        path: path.clone(),
        field: format!("added_tokens_decoder.{id}"),
        problem,
    };
    let mut tokens = Vec::new();
    for (id, token) in configured {
        let number: TokenId = id.parse().map_err(|_| wrong(id, "expected a token id as the name".into()))?;
        let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
        let content = token.get("content").and_then(Value::as_str);
        let content = content.ok_or_else(|| wrong(id, "expected a field content with a text".into()))?;
        let added = AddedToken::from(content, flag("special"))
            .normalized(flag("normalized"))
            .lstrip(flag("lstrip"))
            .rstrip(flag("rstrip"))
            .single_word(flag("single_word"));
        tokens.push((number, added));
    }
    tokens.sort_unstable_by_key(|(id, _)| *id);
    library(|| inner.add_tokens(tokens.iter().map(|(_, token)| token.clone())))
        .map_err(|e| broken(&path, &e.0))?;
    for (id, token) in tokens {
        let found = inner.token_to_id(&token.content);
        if found != Some(id) {
            let found = found.map_or("none".into(), |found| found.to_string());
            let problem = format!("tokenizer.json has the id {found} for {:?}", token.content);
            return Err(wrong(&id.to_string(), problem));
        }
    }
    Ok(())
}

/// Special tokens as `tokenizer_config.json`, `config.json`, `generation_config.json` and the tokenizer's own
/// file give them.
fn special_tokens(found: &Found, dir: &Path, settings: &Value, config: &Value) -> Result<SpecialTokens> {
    let named = |field: &str| {
        let value = settings.get(field)?;
        let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
        found.inner.token_to_id(text)
    };
    let mut ends: Vec<TokenId> = named("eos_token").or(found.eos).into_iter().collect();
    let generation = dir.join("generation_config.json");
    if generation.exists() {
        ends.extend(ends_of(&generation, &read_json(&generation)?)?);
    }
    ends.extend(ends_of(&dir.join("config.json"), config)?);
    let mut end_of_turn = Vec::new();
    for id in ends {
        if !end_of_turn.contains(&id) {
            end_of_turn.push(id);
        }
    }
    let bos = named("bos_token").or(found.bos);
    // transformers lets this flag overrule the post-processor.
    let adds_bos = settings.get("add_bos_token").and_then(Value::as_bool);
    let adds_bos = adds_bos.unwrap_or(found.first == bos) && bos.is_some();
    Ok(SpecialTokens { bos, adds_bos, end_of_turn })
}

/// The token that the post-processor puts before a text, and not behind it.
fn first_of_processor(inner: &Tokenizer) -> std::result::Result<Option<TokenId>, TokenizeError> {
    const TEXT: TokenId = TokenId::MAX;
    let Some(processor) = inner.get_post_processor() else { return Ok(None) };
    library(|| {
        let text = Encoding::from_tokens(vec![Token::new(TEXT, "a".into(), (0, 1))], 0);
        let processed = processor.process(text, None, true)?;
        Ok(processed.get_ids().first().copied().filter(|first| *first != TEXT))
    })
}

/// The field `eos_token_id`: missing, an id or several.
fn ends_of(path: &Path, json: &Value) -> Result<Vec<TokenId>> {
    let Some(value) = json.get("eos_token_id").filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let id = |id: &Value| id.as_u64().and_then(|id| TokenId::try_from(id).ok());
    list.iter().map(id).collect::<Option<_>>().ok_or_else(|| Error::Config {
        path: path.to_owned(),
        field: "eos_token_id".into(),
        problem: format!("expected a token id or a list of them, found {value}"),
    })
}
