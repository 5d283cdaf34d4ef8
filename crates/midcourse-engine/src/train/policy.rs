//! The model under training: a frozen decoder, an adapter, and the two passes over a batch of trees.

use candle_core::{Device, Tensor};

use super::head::{Head, Keeping, Logits};
use super::layer::{AdapterUse, Around, Kept, Layer};
use super::layout::{Batch, Layout};
use super::lora::{Gradients, Lora};
use super::norm::RmsNorm;
use super::real::{Real, lend};
use super::rows::{gather, rows};
use crate::Result;
use crate::model::ModelConfig;

/// Bytes of activations above which a pass forms them again, layer by layer, instead of keeping them.
const KEPT_BYTES: usize = 3 << 29;

/// Whether a pass keeps what its gradient needs, or keeps the input of every layer and forms the rest again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recompute {
    /// By the size of the batch.
    #[default]
    Auto,
    /// Less memory, a third more arithmetic.
    On,
    /// Everything is kept.
    Off,
}

/// A frozen decoder with an adapter.
#[derive(Debug)]
pub struct Policy<T = f32> {
    pub(super) config: ModelConfig,
    /// (V, D)
    pub(super) embedding: Tensor,
    pub(super) layers: Vec<Layer<T>>,
    pub(super) norm: RmsNorm<T>,
    pub(super) head: Head,
    pub(super) lora: Lora<T>,
}

/// A pass forward, ready to go back.
#[derive(Debug)]
pub struct Pass<T = f32> {
    layout: Layout,
    layers: Vec<Memory>,
    /// The residual stream after the last layer: (T, D).
    last: Tensor,
    /// The same, normed, where tokens are scored: (scored rows, D).
    hidden: Tensor,
    logits: Logits<T>,
    logps: Vec<Vec<f64>>,
}

/// What is kept of a layer.
#[derive(Debug)]
enum Memory {
    Everything(Box<Kept>),
    Input(Tensor),
}

impl<T: Real> Pass<T> {
    /// The natural-log probability of everything that was asked for, tree by tree.
    pub fn logps(&self) -> &[Vec<f64>] {
        &self.logps
    }

    /// Tokens that were computed.
    pub fn n_tokens(&self) -> usize {
        self.layout.n_rows()
    }
}

impl<T: Real> Policy<T> {
    /// What the decoder is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The adapter.
    pub fn adapter(&self) -> &Lora<T> {
        &self.lora
    }

    /// Changes the adapter.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change(&mut self, change: impl FnOnce(&mut Lora<T>) -> Result<()>) -> Result<()> {
        change(&mut self.lora)?;
        self.layers.iter_mut().try_for_each(|layer| layer.refresh(&self.lora))
    }

    /// Log-probabilities without a way back.
    ///
    /// # Errors
    /// When a conversation does not fit the context, or a token is not in the vocabulary.
    pub fn score(&self, batch: &Batch<'_>, adapters: AdapterUse) -> Result<Vec<Vec<f64>>> {
        let layout = Layout::new(batch, &self.config)?;
        let mut x = self.embed(&layout)?;
        for layer in &self.layers {
            x = layer.forward(&x, self.around(&layout, adapters))?.0;
        }
        let hidden = self.hidden(&x, &layout)?;
        Ok(self.head.forward::<T>(&hidden, (&layout, &self.config), Keeping::Dropped)?.0)
    }

    /// The same with a way back.
    ///
    /// # Errors
    /// As [`Policy::score`].
    pub fn forward(&self, batch: &Batch<'_>, recompute: Recompute) -> Result<Pass<T>> {
        let layout = Layout::new(batch, &self.config)?;
        let keeping = self.keeping(&layout, recompute);
        let mut x = self.embed(&layout)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (y, kept) = layer.forward(&x, self.around(&layout, AdapterUse::On))?;
            layers.push(match keeping {
                Keeping::Kept => Memory::Everything(Box::new(kept)),
                Keeping::Dropped => Memory::Input(x),
            });
            x = y;
        }
        let hidden = self.hidden(&x, &layout)?;
        let (logps, logits) = self.head.forward::<T>(&hidden, (&layout, &self.config), keeping)?;
        Ok(Pass { layout, layers, last: x, hidden, logits, logps })
    }

    /// Adds the gradients of the adapter to `into`, given what the loss changes by with every log-probability.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn backward(&self, pass: Pass<T>, gradient: &[Vec<f64>], into: &mut Gradients<T>) -> Result<()> {
        let Pass { layout, layers, last, hidden, logits, .. } = pass;
        let d_hidden = self.head.backward::<T>((&hidden, &logits), gradient, (&layout, &self.config))?;
        drop(logits);
        let mut dx = self.spread(&last, &d_hidden, &layout)?;
        let around = self.around(&layout, AdapterUse::On);
        for (layer, memory) in self.layers.iter().zip(layers).rev() {
            let kept = match memory {
                Memory::Everything(kept) => kept,
                Memory::Input(x) => Box::new(layer.forward(&x, around)?.1),
            };
            dx = layer.backward(&dx, &kept, (around, into))?;
        }
        Ok(())
    }

    fn around<'a>(&'a self, layout: &'a Layout, adapters: AdapterUse) -> Around<'a> {
        Around { config: &self.config, layout, adapters }
    }

    fn keeping(&self, layout: &Layout, recompute: Recompute) -> Keeping {
        let kept = match recompute {
            Recompute::On => false,
            Recompute::Off => true,
            Recompute::Auto => self.kept_bytes(layout) <= KEPT_BYTES,
        };
        if kept { Keeping::Kept } else { Keeping::Dropped }
    }

    /// Bytes that a pass keeps when it keeps everything.
    fn kept_bytes(&self, layout: &Layout) -> usize {
        let config = &self.config;
        let wide: usize = config.layer_shapes().iter().map(|(out, n_in)| out + n_in).sum();
        let row = wide + 2 * config.width + (config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
        let weights =
            |stretch: &super::layout::Stretch| stretch.rows.len() * stretch.context.len() * config.n_heads;
        let attention: usize = layout.stretches.iter().map(weights).sum();
        let layers = config.layers.len() * (row * layout.n_rows() + attention);
        (layers + layout.scoring.len() * config.vocab) * size_of::<T>()
    }

    /// # Shapes
    /// Result (T, D).
    fn embed(&self, layout: &Layout) -> Result<Tensor> {
        let width = self.config.width;
        let scale = T::from_f32(self.config.embedding_scale);
        lend::<T, _>(&self.embedding, |table| {
            rows::<T>(layout.n_rows(), width, |row, out| {
                let embedding = &table[layout.tokens[row] as usize * width..][..width];
                out.iter_mut().zip(embedding).for_each(|(out, &x)| *out = scale * x);
            })
        })?
    }

    /// # Shapes
    /// `x` (T, D), result (scored rows, D).
    fn hidden(&self, x: &Tensor, layout: &Layout) -> Result<Tensor> {
        self.norm.forward(&gather::<T>(x, &layout.scoring)?)
    }

    /// The gradient of [`Policy::hidden`]: 0 where nothing is scored.
    fn spread(&self, last: &Tensor, d_hidden: &Tensor, layout: &Layout) -> Result<Tensor> {
        let width = self.config.width;
        let scored = self.norm.backward(&gather::<T>(last, &layout.scoring)?, d_hidden, None)?;
        let mut out = vec![T::zero(); layout.n_rows() * width];
        lend::<T, _>(&scored, |scored| {
            for (&row, values) in layout.scoring.iter().zip(scored.chunks_exact(width)) {
                out[row * width..][..width].copy_from_slice(values);
            }
        })?;
        Ok(Tensor::from_vec(out, (layout.n_rows(), width), &Device::Cpu)?)
    }
}
