//! One block of the decoder, forward and backward.

use candle_core::Tensor;

use super::attention::{Attended, Attention};
use super::gate;
use super::layout::Layout;
use super::lora::{Gradients, Lora};
use super::norm::RmsNorm;
use super::projection::{Input, Projection};
use super::real::Real;
use super::rows::add;
use crate::Result;
use crate::model::ModelConfig;

/// Whether adapters take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterUse {
    /// The policy.
    On,
    /// The reference.
    Off,
}

/// A block with frozen weights and adapters beside them.
#[derive(Debug)]
pub(super) struct Layer<T> {
    pub before_attention: RmsNorm<T>,
    pub qkv: Projection<T>,
    pub attention: Attention<T>,
    pub output: Projection<T>,
    pub after_attention: Option<RmsNorm<T>>,
    pub before_mlp: RmsNorm<T>,
    pub gate_up: Projection<T>,
    pub down: Projection<T>,
    pub after_mlp: Option<RmsNorm<T>>,
}

/// What a block keeps for its gradient.
#[derive(Debug)]
pub(super) struct Kept {
    /// (T, D)
    x: Tensor,
    qkv: Input,
    attended: Attended,
    output: Input,
    /// What the attention adds, before a norm that stands after it.
    attention_out: Option<Tensor>,
    /// (T, D): the residual stream between attention and gated unit.
    middle: Tensor,
    gate_up_input: Input,
    /// (T, 2F)
    gate_up: Tensor,
    down: Input,
    /// What the gated unit adds, before a norm that stands after it.
    mlp_out: Option<Tensor>,
}

/// What all blocks of a pass share.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub config: &'a ModelConfig,
    pub layout: &'a Layout,
    pub adapters: AdapterUse,
}

impl<T: Real> Layer<T> {
    /// # Shapes
    /// `x` (T, D), result (T, D).
    pub(super) fn forward(&self, x: &Tensor, around: Around<'_>) -> Result<(Tensor, Kept)> {
        let project = |projection: &Projection<T>, x: &Tensor| match around.adapters {
            AdapterUse::On => projection.forward(x),
            AdapterUse::Off => projection.forward_frozen(x),
        };
        let (qkv, qkv_input) = project(&self.qkv, &self.before_attention.forward(x)?)?;
        let (out, attended) = self.attention.forward(&qkv, around.config, around.layout)?;
        let (out, output) = project(&self.output, &out)?;
        let (middle, attention_out) = residual(x, out, self.after_attention.as_ref())?;
        let (gate_up, gate_up_input) = project(&self.gate_up, &self.before_mlp.forward(&middle)?)?;
        let (out, down) = project(&self.down, &gate::forward::<T>(&gate_up, around.config.activation)?)?;
        let (y, mlp_out) = residual(&middle, out, self.after_mlp.as_ref())?;
        let x = x.clone();
        let kept = Kept {
            x,
            qkv: qkv_input,
            attended,
            output,
            attention_out,
            middle,
            gate_up_input,
            gate_up,
            down,
            mlp_out,
        };
        Ok((y, kept))
    }

    /// The gradient for the block's input; those of the adapters are added to `into`.
    ///
    /// # Shapes
    /// `dy` (T, D), result (T, D).
    pub(super) fn backward(
        &self,
        dy: &Tensor,
        kept: &Kept,
        (around, into): (Around<'_>, &mut Gradients<T>),
    ) -> Result<Tensor> {
        let d_out = through(dy, kept.mlp_out.as_ref(), self.after_mlp.as_ref())?;
        let d_gated = self.down.backward(&d_out, &kept.down, into)?;
        let d_gate_up = gate::backward::<T>(&kept.gate_up, &d_gated, around.config.activation)?;
        let d_normed = self.gate_up.backward(&d_gate_up, &kept.gate_up_input, into)?;
        let d_middle = self.before_mlp.backward(&kept.middle, &d_normed, Some(dy))?;
        let d_out = through(&d_middle, kept.attention_out.as_ref(), self.after_attention.as_ref())?;
        let d_attended = self.output.backward(&d_out, &kept.output, into)?;
        let d_qkv = self.attention.backward(&d_attended, &kept.attended, around.config, around.layout)?;
        let d_normed = self.qkv.backward(&d_qkv, &kept.qkv, into)?;
        self.before_attention.backward(&kept.x, &d_normed, Some(&d_middle))
    }

    /// Takes over what the adapters have become.
    pub(super) fn refresh(&mut self, lora: &Lora<T>) -> Result<()> {
        [&mut self.qkv, &mut self.output, &mut self.gate_up, &mut self.down]
            .into_iter()
            .try_for_each(|projection| projection.refresh(lora))
    }
}

/// `x + y`, `y` normed where a norm stands after it, and then `y` to keep.
fn residual<T: Real>(x: &Tensor, y: Tensor, norm: Option<&RmsNorm<T>>) -> Result<(Tensor, Option<Tensor>)> {
    match norm {
        Some(norm) => Ok((add::<T>(x, &norm.forward(&y)?)?, Some(y))),
        None => Ok((add::<T>(x, &y)?, None)),
    }
}

/// The gradient before a norm that may stand after a part of the block.
fn through<T: Real>(dy: &Tensor, y: Option<&Tensor>, norm: Option<&RmsNorm<T>>) -> Result<Tensor> {
    match (y, norm) {
        (Some(y), Some(norm)) => norm.backward(y, dy, None),
        _ => Ok(dy.clone()),
    }
}
