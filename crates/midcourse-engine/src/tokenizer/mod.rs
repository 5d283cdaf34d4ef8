//! Tokenizers of models: `tokenizer.json`, or the one inside a GGUF file, both through the tokenizers crate.
//!
//! Special-token strings become control tokens only where the template wrote them. Inside somebody's text they
//! are text: the text is then encoded piece by piece between the template's own control tokens, by a twin
//! tokenizer that knows none.

mod gguf;

use std::ops::Range;
use std::path::Path;

use midcourse_core::engine::TokenId;
use midcourse_core::template::{ChatTemplate, Encoding, SpecialTokens, TokenizeError, Tokenizer};

use crate::contain::contain;
use crate::weights::ModelFiles;
use crate::weights::safetensors::read_json;
use crate::{Error, Result};

/// A model's tokenizer.
#[derive(Debug)]
pub struct ModelTokenizer {
    /// Reads special-token strings as control tokens.
    inner: tokenizers::Tokenizer,
    /// The same, but reads them as text.
    plain: tokenizers::Tokenizer,
    /// Texts of the special tokens, longest first.
    controls: Vec<(String, TokenId)>,
    special: SpecialTokens,
}

impl ModelTokenizer {
    /// The tokenizer of opened model files.
    pub fn of(files: &ModelFiles) -> Result<Self> {
        match files {
            ModelFiles::Gguf(file) => gguf::read(file),
            ModelFiles::Safetensors(dir) => Self::from_dir(&dir.path, &dir.config),
        }
    }

    fn new(mut inner: tokenizers::Tokenizer, special: SpecialTokens) -> Self {
        // The BOS is added where texts are rendered; what is left to a post-processor is to trim offsets, which
        // would leave white space to no token.
        inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let mut plain = inner.clone();
        plain.set_encode_special_tokens(true);
        let added = inner.get_added_tokens_decoder();
        let mut controls: Vec<_> =
            added.iter().filter(|(_, t)| t.special).map(|(id, t)| (t.content.clone(), *id)).collect();
        controls.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(&b.0)));
        Self { inner, plain, controls, special }
    }

    fn from_dir(dir: &Path, config: &serde_json::Value) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let inner = library(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(|e| broken(&path, &e))?;
        let vocab = config.get("vocab_size").and_then(serde_json::Value::as_u64).unwrap_or(u64::MAX);
        if let Some((text, id)) = inner.get_vocab(true).into_iter().find(|(_, id)| u64::from(*id) >= vocab) {
            let problem = format!("expected ids below {vocab}, found {id} for {text:?}");
            return Err(Error::Config { path, field: "vocab".into(), problem });
        }
        let settings = dir.join("tokenizer_config.json");
        let settings = if settings.exists() { read_json(&settings)? } else { serde_json::Value::Null };
        let special = special_of_dir(&inner, dir, &settings, config)?;
        Ok(Self::new(inner, special))
    }

    /// The text of a special token, empty when there is none.
    pub fn text_of(&self, id: Option<TokenId>) -> String {
        id.and_then(|id| self.inner.id_to_token(id)).unwrap_or_default()
    }

    /// Text of the token that ends a sequence, for templates that write it.
    pub fn eos_text(&self) -> String {
        self.text_of(self.special.end_of_turn.first().copied())
    }

    /// Text of the token that begins a sequence, for templates that write it.
    pub fn bos_text(&self) -> String {
        self.text_of(self.special.bos)
    }

    /// Takes the control token that `template` writes right after an answer as an end of turn.
    pub fn learn_end_of_turn(&mut self, template: &ChatTemplate) {
        let Some(after) = template.after_answer() else { return };
        let after = after.trim_start();
        let end = self.controls.iter().find(|(text, _)| after.starts_with(text.as_str()));
        if let Some((_, id)) = end
            && !self.special.end_of_turn.contains(id)
        {
            self.special.end_of_turn.push(*id);
        }
    }

    /// The control tokens of `text` that lie outside `plain`, in order.
    fn controls_outside(&self, text: &str, plain: &[Range<usize>]) -> Vec<(Range<usize>, TokenId)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < text.len() {
            if let Some(range) = plain.iter().find(|range| range.contains(&at)) {
                at = range.end;
            } else if let Some((content, id)) = self
                .controls
                .iter()
                .find(|(content, _)| text.as_bytes()[at..].starts_with(content.as_bytes()))
            {
                found.push((at..at + content.len(), *id));
                at += content.len();
            } else {
                at += 1;
            }
        }
        found
    }

    /// Encodes piece by piece, control tokens given by their places.
    fn encode_between(
        &self,
        text: &str,
        controls: &[(Range<usize>, TokenId)],
    ) -> std::result::Result<Encoding, TokenizeError> {
        let mut all = Encoding::default();
        let mut from = 0;
        let end = (text.len()..text.len(), None);
        for (range, id) in controls.iter().map(|(r, id)| (r.clone(), Some(*id))).chain([end]) {
            let piece = encode_whole(&self.plain, &text[from..range.start])?;
            all.ids.extend(piece.ids);
            all.offsets.extend(piece.offsets.into_iter().map(|r| r.start + from..r.end + from));
            from = range.end;
            if let Some(id) = id {
                all.ids.push(id);
                all.offsets.push(range);
            }
        }
        Ok(all)
    }
}

impl Tokenizer for ModelTokenizer {
    fn encode(&self, text: &str, plain: &[Range<usize>]) -> std::result::Result<Encoding, TokenizeError> {
        if plain.iter().all(|range| self.count_special(&text[range.clone()]) == 0) {
            return encode_whole(&self.inner, text);
        }
        self.encode_between(text, &self.controls_outside(text, plain))
    }

    fn decode(&self, ids: &[TokenId]) -> std::result::Result<String, TokenizeError> {
        library(|| self.inner.decode(ids, false))
    }

    fn count_special(&self, text: &str) -> usize {
        let mut rest = text;
        let mut n = 0;
        while let Some(at) = self.controls.iter().filter_map(|(c, _)| Some(rest.find(c)? + c.len())).min() {
            n += 1;
            rest = &rest[at..];
        }
        n
    }

    fn special(&self) -> &SpecialTokens {
        &self.special
    }
}

/// Makes a call of the tokenizers library.
fn library<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, TokenizeError> {
    contain(|| call().map_err(|e| e.to_string())).and_then(|result| result).map_err(TokenizeError)
}

fn broken(path: &Path, error: &TokenizeError) -> Error {
    Error::ModelFile {
        path: path.to_owned(),
        problem: format!("expected a tokenizer of the tokenizers library: {}", error.0),
        hint: "a SentencePiece tokenizer.model must be converted to tokenizer.json first".into(),
    }
}

fn encode_whole(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
) -> std::result::Result<Encoding, TokenizeError> {
    let encoding = library(|| tokenizer.encode(text, false))?;
    let offsets = encoding.get_offsets().iter().map(|&(from, to)| from..to).collect();
    Ok(Encoding { ids: encoding.get_ids().to_vec(), offsets })
}

/// Special tokens as `tokenizer_config.json`, `config.json` and `generation_config.json` give them.
fn special_of_dir(
    inner: &tokenizers::Tokenizer,
    dir: &Path,
    settings: &serde_json::Value,
    config: &serde_json::Value,
) -> Result<SpecialTokens> {
    let named = |field: &str| {
        let value = settings.get(field)?;
        let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
        inner.token_to_id(text)
    };
    let mut end_of_turn: Vec<TokenId> = named("eos_token").into_iter().collect();
    let generation = dir.join("generation_config.json");
    if generation.exists() {
        end_of_turn.extend(ends(&generation, &read_json(&generation)?)?);
    }
    end_of_turn.extend(ends(&dir.join("config.json"), config)?);
    let mut seen = Vec::new();
    end_of_turn.retain(|id| {
        !seen.contains(id) && {
            seen.push(*id);
            true
        }
    });
    let empty = library(|| inner.encode("", true)).map_err(|e| broken(&dir.join("tokenizer.json"), &e))?;
    let first = empty.get_ids().first().copied();
    let bos = named("bos_token").or(first);
    Ok(SpecialTokens { bos, adds_bos: first.is_some() && first == bos, end_of_turn })
}

/// The field `eos_token_id`: missing, an id or several.
fn ends(path: &Path, json: &serde_json::Value) -> Result<Vec<TokenId>> {
    let Some(value) = json.get("eos_token_id").filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let id = |id: &serde_json::Value| id.as_u64().and_then(|id| TokenId::try_from(id).ok());
    list.iter().map(id).collect::<Option<_>>().ok_or_else(|| Error::Config {
        path: path.to_owned(),
        field: "eos_token_id".into(),
        problem: format!("expected a token id or a list of them, found {value}"),
    })
}
