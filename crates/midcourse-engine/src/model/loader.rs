//! Weights of a layer by what they do, whatever files call them and however they keep them.
//!
//! Projections come in the order in which the decoder reads them, each as its file stores it, with the halves of
//! rotary pairs parted. What is made of them (one fused matrix, or frozen weights below an adapter) is the caller's.

use super::config::{BlockNorms, ModelConfig};
use crate::Result;
use crate::weights::{Merging, ModelFiles, Part, RawTensor, Slot, Weights};

/// Takes weights from files.
pub(crate) struct Loader<'a> {
    config: &'a ModelConfig,
    weights: Weights<'a>,
    adapter: Option<Merging<'a>>,
}

/// A projection's weights and bias.
pub(crate) type Projection = (RawTensor, Option<RawTensor>);

/// Norms of the heads of queries and keys.
#[derive(Debug)]
pub(crate) struct QkNorm {
    /// `head_dim` weights.
    pub query: Vec<f32>,
    /// `head_dim` weights.
    pub key: Vec<f32>,
}

/// The norms of a layer.
#[derive(Debug)]
pub(crate) struct Norms {
    pub before_attention: Vec<f32>,
    pub heads: Option<QkNorm>,
    pub after_attention: Option<Vec<f32>>,
    pub before_mlp: Vec<f32>,
    pub after_mlp: Option<Vec<f32>>,
}

impl<'a> Loader<'a> {
    /// `adapter` is merged into what it adapts.
    pub(crate) fn new(
        files: &'a ModelFiles,
        config: &'a ModelConfig,
        adapter: Option<Merging<'a>>,
    ) -> Result<Self> {
        Ok(Self { config, weights: files.weights(config)?, adapter })
    }

    /// Embedding or head: a row for every token.
    pub(crate) fn table(&mut self, slot: Slot) -> Result<RawTensor> {
        self.weights.matrix(slot, [self.config.vocab, self.config.width])
    }

    pub(crate) fn norm(&mut self, slot: Slot, n: usize) -> Result<Vec<f32>> {
        let mut norm = self.weights.vector(slot, n)?;
        for weight in &mut norm {
            *weight += self.config.norm_offset;
        }
        Ok(norm)
    }

    pub(crate) fn norms(&mut self, index: usize) -> Result<Norms> {
        let (width, head_dim) = (self.config.width, self.config.head_dim);
        let (normed, around) = (self.config.qk_norm, self.config.family.norms != BlockNorms::Before);
        let mut norm = |part, n| self.norm(Slot::Block(index, part), n);
        Ok(Norms {
            before_attention: norm(Part::NormBeforeAttention, width)?,
            heads: if normed {
                Some(QkNorm { query: norm(Part::QNorm, head_dim)?, key: norm(Part::KNorm, head_dim)? })
            } else {
                None
            },
            after_attention: around.then(|| norm(Part::NormAfterAttention, width)).transpose()?,
            before_mlp: norm(Part::NormBeforeMlp, width)?,
            after_mlp: around.then(|| norm(Part::NormAfterMlp, width)).transpose()?,
        })
    }

    /// The attention's output.
    pub(crate) fn output(&mut self, index: usize) -> Result<Projection> {
        let shape = [self.config.width, self.config.n_heads * self.config.head_dim];
        self.projection(Slot::Block(index, Part::Output), shape, self.config.biases.output)
    }

    /// The gated unit's output.
    pub(crate) fn down(&mut self, index: usize) -> Result<Projection> {
        let shape = [self.config.width, self.config.mlp_width];
        self.projection(Slot::Block(index, Part::Down), shape, self.config.biases.mlp)
    }

    /// q, k and v.
    pub(crate) fn qkv(&mut self, index: usize) -> Result<Vec<Projection>> {
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
        Ok(parts)
    }

    /// Gate and up.
    pub(crate) fn gate_up(&mut self, index: usize) -> Result<Vec<Projection>> {
        let sizes = [self.config.mlp_width; 2];
        if self.config.fused.gate_up {
            return self.fused(Slot::Block(index, Part::GateUp), &sizes, self.config.biases.mlp);
        }
        let slots = [Part::Gate, Part::Up].map(|part| Slot::Block(index, part));
        self.separate(&slots, &sizes, self.config.biases.mlp)
    }

    /// Refuses tensors of the blocks, or of the adapter, that went nowhere.
    pub(crate) fn finish(self) -> Result<()> {
        self.weights.finish()?;
        self.adapter.map_or(Ok(()), Merging::finish)
    }

    /// A matrix of a layer, with what the adapter adds to it.
    fn matrix(&mut self, slot: Slot, shape: [usize; 2]) -> Result<RawTensor> {
        let stored = self.weights.matrix(slot, shape)?;
        match &mut self.adapter {
            Some(adapter) => adapter.merge(slot, stored),
            None => Ok(stored),
        }
    }

    fn projection(&mut self, slot: Slot, shape: [usize; 2], biased: bool) -> Result<Projection> {
        let weights = self.matrix(slot, shape)?;
        let bias = biased.then(|| self.weights.bias(slot, shape[0])).transpose()?;
        Ok((weights, bias))
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
        let width = self.config.width;
        slots.iter().zip(sizes).map(|(&slot, &size)| self.projection(slot, [size, width], biased)).collect()
    }
}
