//! The decoder: embeddings, blocks of attention and gated unit, norm, head.
//!
//! It runs over rows: tokens that are new to their trees, several trees at once. Products are candle's; q, k
//! and v are one product, and so are gate and up. What differs between families is data of the configuration.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::attention::{Attention, QkNorm};
use super::config::{BlockNorms, ModelConfig, TiedHead};
use super::kernels::{add, gated, rms_norm, soft_cap};
use super::linear::{Keep, Linear};
use crate::Result;
use crate::tree::TokenTree;
use crate::weights::{Adapter, Dtype, Merging, ModelFiles, Part, RawTensor, Slot, Weights};

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
    norm_before_attention: Vec<f32>,
    /// ((H + 2·kv heads)·`head_dim`, D): the rows of q, then k, then v
    qkv: Linear,
    qk_norm: Option<QkNorm>,
    /// (D, H·`head_dim`)
    output: Linear,
    norm_after_attention: Option<Vec<f32>>,
    norm_before_mlp: Vec<f32>,
    /// (2F, D): the rows of gate, then up
    gate_up: Linear,
    /// (D, F)
    down: Linear,
    norm_after_mlp: Option<Vec<f32>>,
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
        let weights = files.weights(&config)?;
        let adapter = adapter.map(|adapter| files.merging(adapter, &config)).transpose()?;
        let mut loader = Loader { config: &config, weights, keep: keep.clone(), adapter };
        // An embedding that is no head is only looked up: it need not be laid out for products.
        let looked_up = matches!((config.tied_head, dtype), (TiedHead::Separate, Dtype::F32));
        let form = Keep::new(if looked_up { Dtype::Stored } else { dtype });
        let embedding = Arc::new(loader.table(Slot::Embedding, &form)?);
        // The largest matrices first: what it takes to lay one out comes on top of what is there already.
        let head = match config.tied_head {
            TiedHead::Tied => embedding.clone(),
            TiedHead::Separate => Arc::new(loader.table(Slot::Head, &keep)?),
        };
        let layers = (0..config.layers.len()).map(|layer| loader.layer(layer)).collect::<Result<_>>()?;
        let norm = loader.norm(Slot::Norm, config.width)?;
        loader.weights.finish()?;
        loader.adapter.map_or(Ok(()), Merging::finish)?;
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
            let normed = rms_norm(&x, &layer.norm_before_attention, eps)?; // (T, D)
            let qkv = layer.qkv.forward(&normed)?; // (T, (H + 2·kv heads)·head_dim)
            let attended = attention.forward(index, &qkv, layer.qk_norm.as_ref(), trees)?; // (T, H·head_dim)
            x = self.residual(&x, &layer.output.forward(&attended)?, layer.norm_after_attention.as_ref())?;
            let normed = rms_norm(&x, &layer.norm_before_mlp, eps)?; // (T, D)
            let gated = gated(&layer.gate_up.forward(&normed)?, self.config.activation)?; // (T, F)
            x = self.residual(&x, &layer.down.forward(&gated)?, layer.norm_after_mlp.as_ref())?;
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

/// Takes weights from files and lays them out as the decoder reads them.
struct Loader<'a> {
    config: &'a ModelConfig,
    weights: Weights<'a>,
    keep: Keep,
    adapter: Option<Merging<'a>>,
}

/// A projection's weights and bias.
type Projection = (RawTensor, Option<RawTensor>);

impl Loader<'_> {
    /// Embedding or head: a row for every token.
    fn table(&mut self, slot: Slot, keep: &Keep) -> Result<Linear> {
        let table = self.weights.matrix(slot, [self.config.vocab, self.config.width])?;
        Linear::new(&[table], None, keep)
    }

    fn norm(&mut self, slot: Slot, n: usize) -> Result<Vec<f32>> {
        let mut norm = self.weights.vector(slot, n)?;
        for weight in &mut norm {
            *weight += self.config.norm_offset;
        }
        Ok(norm)
    }

    fn layer(&mut self, index: usize) -> Result<Layer> {
        let config = self.config;
        let (width, head_dim) = (config.width, config.head_dim);
        let around = config.family.norms != BlockNorms::Before;
        let slot = |part| Slot::Block(index, part);
        let after = |loader: &mut Self, part| around.then(|| loader.norm(slot(part), width)).transpose();
        let qk_norm = |loader: &mut Self| -> Result<QkNorm> {
            let mut norm = |part| loader.norm(slot(part), head_dim);
            Ok(QkNorm { query: norm(Part::QNorm)?, key: norm(Part::KNorm)? })
        };
        Ok(Layer {
            norm_before_attention: self.norm(slot(Part::NormBeforeAttention), width)?,
            qkv: self.qkv(index)?,
            qk_norm: config.qk_norm.then(|| qk_norm(self)).transpose()?,
            output: self.linear(
                slot(Part::Output),
                [width, config.n_heads * head_dim],
                config.biases.output,
            )?,
            norm_after_attention: after(self, Part::NormAfterAttention)?,
            norm_before_mlp: self.norm(slot(Part::NormBeforeMlp), width)?,
            gate_up: self.gate_up(index)?,
            down: self.linear(slot(Part::Down), [width, config.mlp_width], config.biases.mlp)?,
            norm_after_mlp: after(self, Part::NormAfterMlp)?,
        })
    }

    /// A matrix of a layer, with what the adapter adds to it.
    fn matrix(&mut self, slot: Slot, shape: [usize; 2]) -> Result<RawTensor> {
        let stored = self.weights.matrix(slot, shape)?;
        match &mut self.adapter {
            Some(adapter) => adapter.merge(slot, stored),
            None => Ok(stored),
        }
    }

    fn linear(&mut self, slot: Slot, shape: [usize; 2], biased: bool) -> Result<Linear> {
        let weights = self.matrix(slot, shape)?;
        let bias = biased.then(|| self.weights.bias(slot, shape[0])).transpose()?;
        self.fuse(vec![(weights, bias)])
    }

    fn qkv(&mut self, index: usize) -> Result<Linear> {
        let (heads, kv_heads) = (self.config.n_heads, self.config.n_kv_heads);
        let sizes = [heads, kv_heads, kv_heads].map(|n| n * self.config.head_dim);
        let mut parts = if self.config.fused.qkv {
            self.fused(Slot::Block(index, Part::Qkv), &sizes, self.config.biases.qkv)?
        } else {
            let slots = [Part::Q, Part::K, Part::V].map(|part| Slot::Block(index, part));
            self.separate(&slots, &sizes, self.config.biases.qkv)?
        };
        if self.config.interleaved {
            let dims = self.config.rotaries[0].dims;
            let part_pairs = |tensor: RawTensor| tensor.part_pairs(self.config.head_dim, dims);
            let (values, turned) = (parts.split_off(2), parts);
            let turned =
                turned.into_iter().map(|(weights, bias)| (part_pairs(weights), bias.map(part_pairs)));
            parts = turned.chain(values).collect();
        }
        self.fuse(parts)
    }

    fn gate_up(&mut self, index: usize) -> Result<Linear> {
        let sizes = [self.config.mlp_width; 2];
        let parts = if self.config.fused.gate_up {
            self.fused(Slot::Block(index, Part::GateUp), &sizes, self.config.biases.mlp)?
        } else {
            let slots = [Part::Gate, Part::Up].map(|part| Slot::Block(index, part));
            self.separate(&slots, &sizes, self.config.biases.mlp)?
        };
        self.fuse(parts)
    }

    /// Projections that the file keeps in one matrix.
    fn fused(&mut self, slot: Slot, sizes: &[usize], biased: bool) -> Result<Vec<Projection>> {
        let n_out = sizes.iter().sum();
        let weights = self.matrix(slot, [n_out, self.config.width])?;
        let bias = biased.then(|| self.weights.bias(slot, n_out)).transpose()?;
        let ends = sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        let part = |(end, size): (usize, &usize)| {
            let rows = |tensor: &RawTensor| tensor.rows(end - size, end);
            (rows(&weights), bias.as_ref().map(rows))
        };
        Ok(ends.zip(sizes).map(part).collect())
    }

    /// Projections that the file keeps apart.
    fn separate(&mut self, slots: &[Slot], sizes: &[usize], biased: bool) -> Result<Vec<Projection>> {
        let part = |(&slot, &size): (&Slot, &usize)| {
            let weights = self.matrix(slot, [size, self.config.width])?;
            let bias = biased.then(|| self.weights.bias(slot, size)).transpose()?;
            Ok((weights, bias))
        };
        slots.iter().zip(sizes).map(part).collect()
    }

    fn fuse(&self, parts: Vec<Projection>) -> Result<Linear> {
        let (weights, biases): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let biases = biases.iter().flatten().map(RawTensor::to_f32).collect::<Result<Vec<_>>>()?.concat();
        Linear::new(&weights, (!biases.is_empty()).then_some(biases), &self.keep)
    }
}
