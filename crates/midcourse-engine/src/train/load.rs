//! From a model's files to a policy: every projection frozen, an adapter beside those that are asked for.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use midcourse_core::template::ChatTemplate;

use super::attention::Attention;
use super::head::Head;
use super::layer::Layer;
use super::lora::{Lora, LoraOptions, Targets};
use super::norm::RmsNorm;
use super::policy::Policy;
use super::projection::{Beside, Projection};
use super::real::Real;
use crate::chat_template::TemplateChoice;
use crate::local::ModelHeader;
use crate::model::config::TiedHead;
use crate::model::{Loader, ModelConfig, Projection as Stored};
use crate::tokenizer::ModelTokenizer;
use crate::weights::{AdapterLayout, ModelFiles, Part, RawTensor, Slot};
use crate::{Error, Result};

/// A model to be trained, with everything it needs to read conversations.
#[derive(Debug)]
pub struct Trainable<T = f32> {
    /// Frozen weights and adapter.
    pub policy: Policy<T>,
    /// Text to tokens.
    pub tokenizer: ModelTokenizer,
    /// Conversations to text.
    pub template: ChatTemplate,
    /// The files it was read from.
    pub files: Vec<PathBuf>,
}

impl<T: Real> Trainable<T> {
    /// Loads the model at `path`, a GGUF file or a directory with `config.json`, and begins an adapter beside it.
    ///
    /// # Errors
    /// When a file is missing, damaged or of another architecture, or when a target is no projection of the model.
    pub fn load(path: &Path, name: &str, (template, lora): (&TemplateChoice, &LoraOptions)) -> Result<Self> {
        let ModelHeader { mut config, tokenizer, template, files } = ModelHeader::read(path, name, template)?;
        if config.tied_head == TiedHead::Tied && files.weights(&config)?.has_head_of_its_own()? {
            config.tied_head = TiedHead::Separate;
        }
        let policy = Policy::load(config, &files, lora)?;
        Ok(Self { policy, tokenizer, template, files: files.paths() })
    }
}

impl<T: Real> Policy<T> {
    fn load(config: ModelConfig, files: &ModelFiles, options: &LoraOptions) -> Result<Self> {
        let mut loader = Loader::new(files, &config, None)?;
        let embedding = table::<T>(&loader.table(Slot::Embedding)?)?;
        let head = match config.tied_head {
            TiedHead::Tied => embedding.clone(),
            TiedHead::Separate => table::<T>(&loader.table(Slot::Head)?)?,
        };
        let layout = files.adapter_layout(&config)?;
        let mut adapting =
            Adapting { config: &config, options, layout, lora: Lora::new(options), met: Vec::new() };
        let layers = (0..config.layers.len()).map(|index| adapting.layer(&mut loader, index));
        let layers = layers.collect::<Result<_>>()?;
        adapting.finish(&files.paths()[0])?;
        let lora = adapting.lora;
        let norm = RmsNorm::new(&loader.norm(Slot::Norm, config.width)?, config.norm_eps);
        loader.finish()?;
        Ok(Self { config, embedding, layers, norm, head: Head { weights: head }, lora })
    }
}

/// # Shapes
/// Result (V, D).
fn table<T: Real>(stored: &RawTensor) -> Result<Tensor> {
    let shape = (stored.n_rows(), stored.width());
    let values: Vec<T> = stored.to_f32()?.into_iter().map(T::from_f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Puts adapters beside projections as these are loaded.
struct Adapting<'a, T> {
    config: &'a ModelConfig,
    options: &'a LoraOptions,
    layout: AdapterLayout<'a>,
    lora: Lora<T>,
    /// Short names of the projections that could be adapted.
    met: Vec<&'static str>,
}

impl<T: Real> Adapting<'_, T> {
    fn layer(&mut self, loader: &mut Loader<'_>, index: usize) -> Result<Layer<T>> {
        let eps = self.config.norm_eps;
        let norm = |weights: &[f32]| RmsNorm::new(weights, eps);
        let norms = loader.norms(index)?;
        let heads = norms.heads.map(|heads| (norm(&heads.query), norm(&heads.key)));
        let (qkv, gate_up) = (self.config.fused.qkv, self.config.fused.gate_up);
        let qkv: &[Part] = if qkv { &[Part::Qkv] } else { &[Part::Q, Part::K, Part::V] };
        let gate_up: &[Part] = if gate_up { &[Part::GateUp] } else { &[Part::Gate, Part::Up] };
        Ok(Layer {
            before_attention: norm(&norms.before_attention),
            qkv: self.projection(&loader.qkv(index)?, (index, qkv))?,
            attention: Attention { index, norms: heads },
            output: self.projection(&[loader.output(index)?], (index, &[Part::Output]))?,
            after_attention: norms.after_attention.as_deref().map(norm),
            before_mlp: norm(&norms.before_mlp),
            gate_up: self.projection(&loader.gate_up(index)?, (index, gate_up))?,
            down: self.projection(&[loader.down(index)?], (index, &[Part::Down]))?,
            after_mlp: norms.after_mlp.as_deref().map(norm),
        })
    }

    /// Projections that read the same input as one, with an adapter beside each that checkpoints keep apart.
    fn projection(&mut self, stored: &[Stored], (layer, kept): (usize, &[Part])) -> Result<Projection<T>> {
        let n_in = stored[0].0.width();
        let sizes: Vec<usize> = stored.iter().map(|(weights, _)| weights.n_rows()).collect();
        let n_out: usize = sizes.iter().sum();
        let weights =
            stored.iter().map(|(weights, _)| weights.to_f32()).collect::<Result<Vec<_>>>()?.concat();
        let biases = stored.iter().filter_map(|(_, bias)| bias.as_ref());
        let bias = biases.map(RawTensor::to_f32).collect::<Result<Vec<_>>>()?.concat();
        let mut first = 0;
        let mut adapters = Vec::new();
        for (i, &part) in kept.iter().enumerate() {
            // A matrix that checkpoints keep as one is adapted as one.
            let n_rows = if kept.len() == 1 { n_out } else { sizes[i] };
            let rows = first..first + n_rows;
            first = rows.end;
            if self.is_target(part) {
                let slot = Slot::Block(layer, part);
                let name = (slot, self.layout.projection(slot));
                adapters
                    .push(Beside { adapter: self.lora.put(name, [n_rows, n_in], self.options.seed), rows });
            }
        }
        let bias = (!bias.is_empty()).then_some(bias.as_slice());
        Projection::new(&weights, bias, n_in, (adapters, &self.lora))
    }

    fn is_target(&mut self, part: Part) -> bool {
        let name = part.projection_name();
        if !self.met.contains(&name) {
            self.met.push(name);
        }
        match &self.options.targets {
            Targets::All => true,
            Targets::Named(names) => {
                names.iter().any(|named| named == name || format!("{named}_proj") == name)
            }
        }
    }

    /// Refuses targets that the model does not have.
    fn finish(&self, path: &Path) -> Result<()> {
        let Targets::Named(names) = &self.options.targets else { return Ok(()) };
        let is_met =
            |named: &&String| self.met.iter().any(|met| met == named || format!("{named}_proj") == **met);
        match names.iter().find(|named| !is_met(named)) {
            None => Ok(()),
            Some(named) => Err(Error::Unsupported {
                path: path.to_owned(),
                what: format!("an adapter on {named}"),
                hint: format!("the projections of this model are {}", self.met.join(", ")),
            }),
        }
    }
}
