//! The decoder: embeddings, blocks of attention and gated unit, norm, head.
//!
//! It runs over rows: tokens that are new to their trees, several trees at once. Products are candle's; q, k
//! and v are one product, and so are gate and up. A single row is never multiplied alone: candle's product of
//! one row sums in another order, and a path's bits must not depend on its company.

use candle_core::{Device, Tensor};

use super::attention::{Attention, Rotary};
use super::config::{ModelConfig, TiedHead};
use super::kernels::{add, gated_silu, rms_norm};
use crate::Result;
use crate::tree::TokenTree;
use crate::weights::Weights;

/// A token to compute: which tree, and which of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Index of the tree in the slice given to [`Decoder::forward`]; rows of a tree stand together.
    pub tree: usize,
    /// The node of the tree.
    pub node: usize,
}

/// A decoder with its weights in f32.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub config: ModelConfig,
    /// (V, D)
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// (V, D)
    head: Tensor,
    rotary: Rotary,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    /// (D, (H + 2·kv heads)·`head_dim`): the columns of q, then k, then v
    qkv: Tensor,
    /// (H·`head_dim`, D)
    output: Tensor,
    mlp_norm: Vec<f32>,
    /// (D, 2F): the columns of gate, then up
    gate_up: Tensor,
    /// (F, D)
    down: Tensor,
}

impl Decoder {
    /// Takes the weights of a model, fusing projections that read the same input.
    pub(crate) fn load(config: ModelConfig, weights: &mut Weights) -> Result<Self> {
        let embedding = weights.take("model.embed_tokens.weight", &[config.vocab, config.width])?;
        let layers = (0..config.n_layers).map(|i| Layer::load(&config, weights, i));
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let norm = weights.take("model.norm.weight", &[config.width])?.to_vec1()?;
        let head = match config.tied_head {
            TiedHead::Tied => embedding.clone(),
            TiedHead::Separate => weights.take("lm_head.weight", &[config.vocab, config.width])?,
        };
        let rotary = Rotary::new(config.head_dim, config.rope_base);
        Ok(Self { config, embedding, layers, norm, head, rotary })
    }

    /// Computes rows that are new to their trees and keeps their keys and values there.
    ///
    /// A row's parent must be computed already or stand before it in `rows`.
    ///
    /// # Shapes
    /// Result (T, D): the normed hidden state of every row, ready for [`Decoder::logits`].
    pub(crate) fn forward(&self, rows: &[Row], trees: &mut [&mut TokenTree]) -> Result<Tensor> {
        let tokens: Vec<u32> = rows.iter().map(|row| trees[row.tree].token(row.node)).collect();
        let tokens = Tensor::from_vec(tokens, rows.len(), &Device::Cpu)?;
        let mut x = self.embedding.index_select(&tokens, 0)?; // (T, D)
        let eps = self.config.norm_eps as f32;
        let attention = Attention::new(&self.config, &self.rotary, rows, trees);
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = rms_norm(&x, &layer.attention_norm, eps)?; // (T, D)
            let qkv = project(&normed, &layer.qkv)?; // (T, (H + 2·kv heads)·head_dim)
            let attended = attention.forward(index, &qkv, trees)?; // (T, H·head_dim)
            x = add(&x, &project(&attended, &layer.output)?)?;
            let normed = rms_norm(&x, &layer.mlp_norm, eps)?; // (T, D)
            let gated = gated_silu(&project(&normed, &layer.gate_up)?)?; // (T, F)
            x = add(&x, &project(&gated, &layer.down)?)?;
        }
        rms_norm(&x, &self.norm, eps)
    }

    /// # Shapes
    /// `hidden` (T, D) as [`Decoder::forward`] gives it, result (T, V).
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        project(hidden, &self.head.t()?)
    }
}

impl Layer {
    fn load(config: &ModelConfig, weights: &mut Weights, index: usize) -> Result<Self> {
        let (width, mlp_width) = (config.width, config.mlp_width);
        let attended = config.n_heads * config.head_dim;
        let kv_width = config.n_kv_heads * config.head_dim;
        let mut take =
            |name: &str, shape: &[usize]| weights.take(&format!("model.layers.{index}.{name}.weight"), shape);
        let q = take("self_attn.q_proj", &[attended, width])?;
        let k = take("self_attn.k_proj", &[kv_width, width])?;
        let v = take("self_attn.v_proj", &[kv_width, width])?;
        let gate = take("mlp.gate_proj", &[mlp_width, width])?;
        let up = take("mlp.up_proj", &[mlp_width, width])?;
        Ok(Self {
            attention_norm: take("input_layernorm", &[width])?.to_vec1()?,
            qkv: transposed(&Tensor::cat(&[q, k, v], 0)?)?,
            output: transposed(&take("self_attn.o_proj", &[width, attended])?)?,
            mlp_norm: take("post_attention_layernorm", &[width])?.to_vec1()?,
            gate_up: transposed(&Tensor::cat(&[gate, up], 0)?)?,
            down: transposed(&take("mlp.down_proj", &[width, mlp_width])?)?,
        })
    }
}

/// Weights as the product reads them fastest.
///
/// # Shapes
/// (out, in) to (in, out).
fn transposed(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.t()?.contiguous()?)
}

/// `x · weight`, never of a single row: that would be summed in another order than the same row in company.
///
/// # Shapes
/// `x` (T, K), `weight` (K, N), result (T, N).
fn project(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if x.dim(0)? == 1 {
        return Ok(Tensor::cat(&[x, x], 0)?.matmul(weight)?.narrow(0, 0, 1)?);
    }
    Ok(x.matmul(weight)?)
}
