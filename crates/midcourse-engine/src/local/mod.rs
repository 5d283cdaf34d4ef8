//! The local engine: a decoder on this machine's CPU that computes each distinct token of a tree once.
//!
//! [`LocalModel::load`] opens a model's files; [`LocalEngine`] grows trees. Several trees grow in one batch,
//! which is refilled as paths end; its size is bounded in bytes of keys and values and, if wanted, in paths.

mod assess;
mod grow;
mod memory;
mod score;
#[cfg(test)]
mod tests;
mod weigh;

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use midcourse_core::engine::{BoxError, Continue, Forest, Sampling, TokenId, Usage};
use midcourse_core::template::{ChatTemplate, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::chat_template::{self, TemplateChoice};
use crate::model::config::TiedHead;
use crate::model::{Decoder, ModelConfig, Row};
use crate::tokenizer::ModelTokenizer;
use crate::tree::TokenTree;
use crate::weights::{Adapter, Dtype, ModelFiles};
use crate::{Error, Result};

/// How much may grow at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes of keys and values; one tree is always allowed.
    pub bytes: usize,
    /// Paths.
    pub paths: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { bytes: 768 << 20, paths: usize::MAX }
    }
}

/// How a model is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// How much may grow at once.
    pub limits: BatchLimits,
    /// The form in which the weights are kept.
    pub dtype: DtypeChoice,
    /// Which chat template it is given.
    pub template: TemplateChoice,
    /// The directory of a LoRA adapter, as PEFT saves it, to merge into the weights.
    pub adapter: Option<PathBuf>,
}

/// The form of the weights in memory, as people ask for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtypeChoice {
    /// f32 where that fits into free memory, else as the file stores them; the results are the same.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits; rounds what the file stores more finely.
    Bf16,
    /// The file's own blocks.
    Quantized,
}

/// A model with everything it needs to continue a conversation.
#[derive(Debug)]
pub struct LocalModel {
    /// Grows trees.
    pub engine: LocalEngine,
    /// Text to tokens.
    pub tokenizer: ModelTokenizer,
    /// Conversations to text.
    pub template: ChatTemplate,
    /// The files it was read from.
    pub files: Vec<PathBuf>,
}

/// A decoder and the size of its batches.
#[derive(Debug)]
pub struct LocalEngine {
    decoder: Decoder,
    dtype: Dtype,
    limits: BatchLimits,
    /// Ids that end a path.
    ends: Vec<TokenId>,
}

/// A model without its weights: what can be said of it at once, however large it is.
#[derive(Debug)]
pub struct ModelHeader {
    /// What the decoder is.
    pub config: ModelConfig,
    /// Text to tokens.
    pub tokenizer: ModelTokenizer,
    /// Conversations to text.
    pub template: ChatTemplate,
    /// The files, opened.
    pub files: ModelFiles,
}

impl ModelHeader {
    /// Reads everything but the weights of the model at `path`: a GGUF file or a directory with `config.json`.
    ///
    /// # Errors
    /// When a file is missing, damaged or of another architecture.
    pub fn read(path: &Path, name: &str, choice: &TemplateChoice) -> Result<Self> {
        let files = ModelFiles::open(path)?;
        let config = files.config()?;
        let mut tokenizer = ModelTokenizer::of(&files)?;
        let source = chat_template::find(path, &files, choice)?;
        let template = ChatTemplate::new(name, &source.text, &tokenizer.bos_text(), &tokenizer.eos_text());
        let template = template.map(|template| template.from_origin(source.origin)).map_err(|e| {
            Error::ModelFile { path: path.to_owned(), problem: e.to_string(), hint: e.hint().to_owned() }
        })?;
        tokenizer.learn_end_of_turn(&template);
        Ok(Self { config, tokenizer, template, files })
    }
}

impl LocalModel {
    /// Loads the model at `path`: a GGUF file or a directory with `config.json`.
    ///
    /// # Errors
    /// When a file is missing, damaged, of another architecture, or disagrees with its configuration, or when
    /// the weights do not fit into memory.
    pub fn load(path: &Path, name: &str, options: &LoadOptions) -> Result<Self> {
        let ModelHeader { mut config, tokenizer, template, files } =
            ModelHeader::read(path, name, &options.template)?;
        if config.tied_head == TiedHead::Tied && files.weights(&config)?.has_head_of_its_own()? {
            config.tied_head = TiedHead::Separate;
        }
        let dtype = memory::choose(path, &files, &config, options)?;
        let adapter = options.adapter.as_deref().map(Adapter::open).transpose()?;
        let paths = files.paths().into_iter().chain(adapter.iter().flat_map(Adapter::paths)).collect();
        let decoder = Decoder::load(config, &files, dtype, adapter.as_ref())?;
        let ends = tokenizer.special().end_of_turn.clone();
        Ok(Self {
            engine: LocalEngine { decoder, dtype, limits: options.limits, ends },
            tokenizer,
            template,
            files: paths,
        })
    }
}

impl LocalEngine {
    /// What the decoder is.
    pub fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    /// The form in which the weights are kept.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The natural-log probability of token i + 1 given tokens 0..=i, for every i.
    ///
    /// # Errors
    /// When the tokens do not fit the context or the logits are not finite.
    pub fn logps(&self, tokens: &[TokenId]) -> Result<Vec<f64>> {
        let logits = self.logits(tokens)?.to_vec2::<f32>()?;
        let next = tokens.iter().skip(1);
        logits
            .iter()
            .zip(next)
            .map(|(row, &token)| Ok(log_softmax(row, tokens.len())?[token as usize]))
            .collect()
    }

    /// The logits of the next token after every token.
    ///
    /// # Shapes
    /// Result (T, V).
    ///
    /// # Errors
    /// When the tokens do not fit the context.
    pub fn logits(&self, tokens: &[TokenId]) -> Result<Tensor> {
        self.decoder.logits(&self.hidden(tokens)?)
    }

    /// # Shapes
    /// Result (T, D).
    fn hidden(&self, tokens: &[TokenId]) -> Result<Tensor> {
        let mut tree = self.plant(tokens, (0, tokens.len()))?;
        let rows: Vec<Row> = (0..tokens.len()).map(|node| Row { tree: 0, node }).collect();
        self.decoder.forward(&rows, &mut [&mut tree])
    }

    fn plant(&self, trunk: &[TokenId], size: (usize, usize)) -> Result<TokenTree> {
        let context = self.decoder.config.context;
        if trunk.is_empty() || trunk.len() > context {
            return Err(Error::TooLong { n_tokens: trunk.len(), context });
        }
        self.check_vocab(trunk)?;
        Ok(TokenTree::new(&self.decoder.config, trunk, size))
    }

    fn check_vocab(&self, tokens: &[TokenId]) -> Result<()> {
        let vocab = self.decoder.config.vocab;
        match tokens.iter().find(|&&id| id as usize >= vocab) {
            Some(&id) => Err(Error::ForeignToken { id, vocab }),
            None => Ok(()),
        }
    }
}

impl Continue for LocalEngine {
    fn grow(&self, sampling: &Sampling, forest: &mut dyn Forest) -> std::result::Result<Usage, BoxError> {
        grow::Grove::new(self, *sampling).grow(forest)
    }

    fn context(&self) -> usize {
        self.decoder.config.context
    }

    fn next_tokens(
        &self,
        tokens: &[TokenId],
        n: usize,
    ) -> std::result::Result<Vec<(TokenId, f64)>, BoxError> {
        let hidden = self.hidden(tokens)?;
        let last = self.decoder.logits(&hidden.narrow(0, tokens.len() - 1, 1)?)?.flatten_all()?;
        let mut all: Vec<_> = log_softmax(&last.to_vec1()?, tokens.len())?
            .into_iter()
            .enumerate()
            .map(|(id, p)| (id as TokenId, p))
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(n);
        Ok(all)
    }
}

/// Natural-log probabilities of a row of logits.
fn log_softmax(logits: &[f32], n_tokens: usize) -> Result<Vec<f64>> {
    let (_, log_sum) = log_sum_exp(logits, n_tokens)?;
    Ok(logits.iter().map(|&l| f64::from(l) - log_sum).collect())
}

/// The largest of a row of logits, and the logarithm of the sum of their exponentials.
fn log_sum_exp(logits: &[f32], n_tokens: usize) -> Result<(f32, f64)> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from(l - most).exp()).sum();
    if !(sum.is_finite() && most.is_finite()) {
        return Err(Error::NotFinite { n_tokens });
    }
    Ok((most, sum.ln() + f64::from(most)))
}
