//! The decoder: embeddings, blocks of attention and gated unit, norm, head.
//!
//! It runs over rows: tokens that are new to their trees, several trees at once. Products are candle's; q, k
//! and v are one product, and so are gate and up. What differs between families is data of the configuration.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::attention::Attention;
use super::config::{ModelConfig, TiedHead};
use super::kernels::{add, gated, rms_norm, soft_cap};
use super::linear::{Keep, Linear};
use super::loader::{Loader, Norms, Projection};
use crate::Result;
use crate::tree::TokenTree;
use crate::weights::{Adapter, Dtype, ModelFiles, RawTensor, Slot};

/// A token to compute: which tree, and which of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Index of the tree in the slice given to [`Decoder::forward`]; rows of a tree stand together.
    pub tree: usize,
    /// The node of the tree.
    pub node: usize,
}

/// A decoder with its weights.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub config: ModelConfig,
    /// (V, D)
    embedding: Arc<Linear>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// (V, D); the embedding itself when they are tied
    head: Arc<Linear>,
}

#[derive(Debug)]
struct Layer {
    norms: Norms,
    /// ((H + 2·kv heads)·`head_dim`, D): the rows of q, then k, then v
    qkv: Linear,
    /// (D, H·`head_dim`)
    output: Linear,
    /// (2F, D): the rows of gate, then up
    gate_up: Linear,
    /// (D, F)
    down: Linear,
}

impl Layer {
    fn load(loader: &mut Loader<'_>, index: usize, keep: &Keep) -> Result<Self> {
        Ok(Self {
            norms: loader.norms(index)?,
            qkv: fuse(loader.qkv(index)?, keep)?,
            output: fuse(vec![loader.output(index)?], keep)?,
            gate_up: fuse(loader.gate_up(index)?, keep)?,
            down: fuse(vec![loader.down(index)?], keep)?,
        })
    }
}

fn fuse(parts: Vec<Projection>, keep: &Keep) -> Result<Linear> {
    let (weights, biases): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let biases = biases.iter().flatten().map(RawTensor::to_f32).collect::<Result<Vec<_>>>()?.concat();
    Linear::new(&weights, (!biases.is_empty()).then_some(biases), keep)
}

impl Decoder {
    /// Takes the weights of a model, fusing projections that read the same input.
    pub(crate) fn load(
        config: ModelConfig,
        files: &ModelFiles,
        dtype: Dtype,
        adapter: Option<&Adapter>,
    ) -> Result<Self> {
        let keep = Keep::new(dtype);
        let adapter = adapter.map(|adapter| files.merging(adapter, &config)).transpose()?;
        let mut loader = Loader::new(files, &config, adapter)?;
        // An embedding that is no head is only looked up: it need not be laid out for products.
        let looked_up = matches!((config.tied_head, dtype), (TiedHead::Separate, Dtype::F32));
        let form = Keep::new(if looked_up { Dtype::Stored } else { dtype });
        let embedding = Arc::new(Linear::new(&[loader.table(Slot::Embedding)?], None, &form)?);
        // The largest matrices first: what it takes to lay one out comes on top of what is there already.
        let head = match config.tied_head {
            TiedHead::Tied => embedding.clone(),
            TiedHead::Separate => Arc::new(Linear::new(&[loader.table(Slot::Head)?], None, &keep)?),
        };
        let layers = (0..config.layers.len()).map(|index| Layer::load(&mut loader, index, &keep));
        let layers = layers.collect::<Result<_>>()?;
        let norm = loader.norm(Slot::Norm, config.width)?;
        loader.finish()?;
        Ok(Self { config, embedding, layers, norm, head })
    }

    /// Computes rows that are new to their trees and keeps their keys and values there.
    ///
    /// A row's parent must be computed already or stand before it in `rows`.
    ///
    /// # Shapes
    /// Result (T, D): the normed hidden state of every row, ready for [`Decoder::logits`].
    pub(crate) fn forward(&self, rows: &[Row], trees: &mut [&mut TokenTree]) -> Result<Tensor> {
        let mut x = self.embed(rows, trees)?; // (T, D)
        let eps = self.config.norm_eps as f32;
        let attention = Attention::new(&self.config, rows, trees);
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = rms_norm(&x, &layer.norms.before_attention, eps)?; // (T, D)
            let qkv = layer.qkv.forward(&normed)?; // (T, (H + 2·kv heads)·head_dim)
            let attended = attention.forward(index, &qkv, layer.norms.heads.as_ref(), trees)?; // (T, H·head_dim)
            x = self.residual(&x, &layer.output.forward(&attended)?, layer.norms.after_attention.as_ref())?;
            let normed = rms_norm(&x, &layer.norms.before_mlp, eps)?; // (T, D)
            let gated = gated(&layer.gate_up.forward(&normed)?, self.config.activation)?; // (T, F)
            x = self.residual(&x, &layer.down.forward(&gated)?, layer.norms.after_mlp.as_ref())?;
        }
        rms_norm(&x, &self.norm, eps)
    }

    /// # Shapes
    /// `hidden` (T, D) as [`Decoder::forward`] gives it, result (T, V).
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = self.head.forward(hidden)?;
        match self.config.logit_cap {
            Some(cap) => soft_cap(&logits, cap),
            None => Ok(logits),
        }
    }

    /// # Shapes
    /// Result (T, D).
    fn embed(&self, rows: &[Row], trees: &[&mut TokenTree]) -> Result<Tensor> {
        let width = self.config.width;
        let mut x = vec![0f32; rows.len() * width];
        for (row, x) in rows.iter().zip(x.chunks_exact_mut(width)) {
            self.embedding.row(trees[row.tree].token(row.node) as usize, x)?;
            for value in x {
                *value *= self.config.embedding_scale;
            }
        }
        Ok(Tensor::from_vec(x, (rows.len(), width), &Device::Cpu)?)
    }

    /// `x + y`, `y` normed where a norm stands after it.
    fn residual(&self, x: &Tensor, y: &Tensor, norm: Option<&Vec<f32>>) -> Result<Tensor> {
        match norm {
            Some(norm) => add(x, &rms_norm(y, norm, self.config.norm_eps as f32)?),
            None => add(x, y),
        }
    }
}
