//! `midcourse models show`: what a model is, from the headers of its files.
//!
//! The weights are neither read nor fetched, so that it takes no longer for a large model than for a small one.

use std::path::Path;

use anyhow::Result;
use midcourse_core::engine::TokenId;
use midcourse_core::report::strip_controls;
use midcourse_core::template::{ChatTemplate, Mode, Tokenizer, prefill};
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::local::ModelHeader;
use midcourse_engine::model::ModelConfig;
use midcourse_engine::scripted::Scripted;
use midcourse_engine::weights::Dtype;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::hub::Extent;
use crate::input::hex;
use crate::model::{Located, ModelName, locate};
use crate::terminal::print;

/// The conversation on which the prefill is proved: the words hold nothing that a template could mind.
const SAMPLE: (&str, &str) = (
    "How do I win at a board game?",
    "Learn the openings well. Then play with people who are better than you.",
);
/// Lines of a template that are shown.
const N_LINES: usize = 3;

#[derive(Serialize)]
struct Shown {
    name: String,
    /// The commit, of a hub's model.
    commit: Option<String>,
    path: String,
    /// Sizes; none of a script.
    decoder: Option<DecoderFacts>,
    template: TemplateFacts,
    bos: Option<Token>,
    /// Whether the tokenizer puts the BOS before every text by itself.
    adds_bos: bool,
    /// Tokens that end a turn or the text.
    ends_of_turn: Vec<Token>,
    prefill: Vec<PrefillFacts>,
    files: Vec<FileFacts>,
}

#[derive(Serialize)]
struct DecoderFacts {
    family: String,
    n_parameters: usize,
    n_layers: usize,
    context: usize,
    vocab: usize,
    memory: Memory,
}

/// What the weights take in memory, and the keys and values of 1,000 tokens. In bytes.
#[derive(Serialize)]
struct Memory {
    f32: u64,
    bf16: u64,
    /// As the file stores them; none when it holds no quantised blocks.
    quantized: Option<u64>,
    keys_and_values_per_1000_tokens: usize,
}

#[derive(Serialize)]
struct TemplateFacts {
    origin: String,
    sha256: String,
    first_lines: Vec<String>,
}

#[derive(Serialize)]
struct Token {
    id: TokenId,
    text: String,
}

#[derive(Serialize)]
struct PrefillFacts {
    mode: &'static str,
    /// Prefixes of the sample conversation that were decoded again and compared.
    n_checked: usize,
    /// Prefixes with which the model's input ends, byte for byte, in an open turn.
    n_proved: usize,
    /// Why the conversation cannot be rendered.
    problem: Option<String>,
}

#[derive(Serialize)]
struct FileFacts {
    name: String,
    bytes: u64,
}

/// Runs the command.
pub(super) fn run(name: &str, json: bool) -> Result<u8> {
    let parsed = ModelName::parse(name)?;
    let located = locate(name, &parsed, Extent::Header)?;
    let shown = match parsed {
        ModelName::Script(script) => of_script(name, &script, &located)?,
        _ => of_model(name, &located)?,
    };
    print(&if json { serde_json::to_string_pretty(&shown)? } else { shown.text() });
    Ok(0)
}

fn of_script(name: &str, script: &Path, located: &Located) -> Result<Shown> {
    let engine = Scripted::read(script)?;
    let template = engine.template()?;
    let files = [script.to_owned()];
    Ok(Shown::new(name, located, (&template, engine.tokenizer()), &files))
}

fn of_model(name: &str, located: &Located) -> Result<Shown> {
    let header = ModelHeader::read(&located.path, name, &TemplateChoice::Own)?;
    let files = header.files.paths();
    let text = (&header.template, &header.tokenizer as &dyn Tokenizer);
    let mut shown = Shown::new(name, located, text, &files);
    let quantized = header.files.is_quantized().then(|| header.files.stored_bytes()).transpose()?;
    shown.decoder = Some(decoder_facts(&header.config, quantized));
    Ok(shown)
}

/// Sizes and memory of a decoder whose quantised blocks, if it has any, take `quantized` bytes.
fn decoder_facts(config: &ModelConfig, quantized: Option<u64>) -> DecoderFacts {
    DecoderFacts {
        family: config.family.name.into(),
        n_parameters: config.n_params(),
        n_layers: config.layers.len(),
        context: config.context,
        vocab: config.vocab,
        memory: Memory {
            f32: config.weight_bytes(Dtype::F32, 0),
            bf16: config.weight_bytes(Dtype::Bf16, 0),
            quantized,
            keys_and_values_per_1000_tokens: 1000 * config.kv_bytes_per_token(),
        },
    }
}

impl Shown {
    fn new(
        name: &str,
        located: &Located,
        (template, tokenizer): (&ChatTemplate, &dyn Tokenizer),
        files: &[std::path::PathBuf],
    ) -> Self {
        let token = |&id: &TokenId| Token { id, text: tokenizer.decode(&[id]).unwrap_or_default() };
        let special = tokenizer.special();
        let source = template.source();
        let file = |path: &std::path::PathBuf| FileFacts {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: std::fs::metadata(path).map_or(0, |file| file.len()),
        };
        Self {
            name: name.to_owned(),
            commit: located.commit.clone(),
            path: located.path.display().to_string(),
            decoder: None,
            template: TemplateFacts {
                origin: template.origin().to_owned(),
                sha256: hex(&Sha256::digest(source)),
                first_lines: source.lines().take(N_LINES).map(str::to_owned).collect(),
            },
            bos: special.bos.as_ref().map(token),
            adds_bos: special.adds_bos,
            ends_of_turn: special.end_of_turn.iter().map(token).collect(),
            prefill: [Mode::OpenTurn, Mode::NewTurn].map(|mode| prove(template, tokenizer, mode)).into(),
            files: files.iter().map(file).collect(),
        }
    }
}

/// Renders the sample conversation and checks every prefix of its response.
fn prove(template: &ChatTemplate, tokenizer: &dyn Tokenizer, mode: Mode) -> PrefillFacts {
    let proved = || -> Result<(usize, usize)> {
        let rendered = prefill(template, tokenizer, SAMPLE, mode)?;
        let n = rendered.n_response_tokens();
        let proofs = (1..=n).map(|k| rendered.proof(tokenizer, k)).collect::<Result<Vec<_>, _>>()?;
        Ok((n, proofs.iter().filter(|proof| proof.holds()).count()))
    };
    let (n_checked, n_proved, problem) = match proved() {
        Ok((n_checked, n_proved)) => (n_checked, n_proved, None),
        Err(error) => (0, 0, Some(format!("{error:#}"))),
    };
    PrefillFacts { mode: mode.name(), n_checked, n_proved, problem }
}

impl PrefillFacts {
    fn text(&self) -> String {
        let PrefillFacts { mode, n_checked, n_proved, problem } = self;
        match problem {
            Some(problem) => format!("{mode}: not possible: {problem}"),
            None if *mode == Mode::NewTurn.name() && *n_proved == 0 => {
                format!("{mode}: closes the turn after the prefix and opens another, as it is meant to")
            }
            None if n_proved == n_checked => format!("{mode}: proved, {n_proved} of {n_checked} prefixes"),
            None => format!("{mode}: NOT proved, {n_proved} of {n_checked} prefixes"),
        }
    }
}

/// The text for people.
impl Shown {
    fn text(&self) -> String {
        let mut rows = vec![("model", self.name.clone())];
        rows.extend(self.commit.iter().map(|commit| ("commit", commit.clone())));
        rows.push(("path", self.path.clone()));
        rows.extend(self.decoder.iter().flat_map(DecoderFacts::rows));
        rows.push(("template", format!("{}, SHA-256 {}", self.template.origin, self.template.sha256)));
        rows.extend(self.template.first_lines.iter().map(|line| ("", shortened(line))));
        rows.push(("BOS", self.bos_text()));
        let ends: Vec<String> = self.ends_of_turn.iter().map(Token::label).collect();
        rows.push(("ends of turn", if ends.is_empty() { "none".into() } else { ends.join(", ") }));
        rows.extend(labelled("prefill", self.prefill.iter().map(PrefillFacts::text)));
        rows.extend(labelled(
            "files",
            self.files.iter().map(|file| format!("{} ({})", file.name, size(file.bytes))),
        ));
        let line = |(label, text): &(&str, String)| format!("{label:<14}{}", strip_controls(text));
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn bos_text(&self) -> String {
        let whose = if self.adds_bos {
            "put first by the tokenizer"
        } else {
            "put first only where the template does"
        };
        self.bos.as_ref().map_or_else(|| "none".into(), |bos| format!("{}, {whose}", bos.label()))
    }
}

impl DecoderFacts {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let Memory { f32, bf16, quantized, keys_and_values_per_1000_tokens } = &self.memory;
        let mut memory = vec![format!("f32 {}", size(*f32)), format!("bf16 {}", size(*bf16))];
        memory.extend(quantized.map(|bytes| format!("quantised {}", size(bytes))));
        vec![
            ("family", format!("{}, {} layers, vocabulary {}", self.family, self.n_layers, self.vocab)),
            ("parameters", format!("{:.1} million", self.n_parameters as f64 / 1e6)),
            ("memory", memory.join(" · ")),
            (
                "",
                format!(
                    "{} of keys and values per 1,000 tokens",
                    size(*keys_and_values_per_1000_tokens as u64)
                ),
            ),
            ("context", format!("{} tokens", self.context)),
        ]
    }
}

impl Token {
    fn label(&self) -> String {
        format!("{} ({})", self.text, self.id)
    }
}

/// Rows of which the first has the label.
fn labelled(label: &'static str, texts: impl Iterator<Item = String>) -> Vec<(&'static str, String)> {
    texts.enumerate().map(|(at, text)| (if at == 0 { label } else { "" }, text)).collect()
}

/// A line of a template, not longer than a line of a terminal.
fn shortened(line: &str) -> String {
    const MOST: usize = 80;
    let start: String = line.chars().take(MOST).collect();
    if start.len() < line.len() { format!("{start} …") } else { start }
}

/// Bytes in MB, small ones in kB.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
