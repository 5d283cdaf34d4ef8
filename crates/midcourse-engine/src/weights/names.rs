//! What GGUF and safetensors files call the tensors of a decoder.

use crate::model::BlockNorms;

/// A tensor's place in the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Embedding,
    /// A tensor of a layer.
    Block(usize, Part),
    Norm,
    Head,
}

/// A tensor's place in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    NormBeforeAttention,
    Q,
    K,
    V,
    Qkv,
    QNorm,
    KNorm,
    Output,
    NormAfterAttention,
    NormBeforeMlp,
    Gate,
    Up,
    GateUp,
    Down,
    NormAfterMlp,
}

impl Part {
    /// The last part of a projection's name in checkpoints, which adapters call their target.
    pub(crate) fn projection_name(self) -> &'static str {
        let name = safetensors(self, BlockNorms::Before);
        name.rsplit('.').next().unwrap_or(name)
    }
}

/// How a file names its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    Gguf,
    Safetensors {
        /// What stands before the names of the decoder proper.
        prefix: String,
        /// The name of the head's tensor, without `.weight`.
        head: String,
        norms: BlockNorms,
    },
}

impl Names {
    /// The name of the weight or bias at `slot`.
    pub(super) fn of(&self, slot: Slot, kind: &str) -> String {
        match (self, slot) {
            (Self::Gguf, Slot::Embedding) => format!("token_embd.{kind}"),
            (Self::Gguf, Slot::Block(layer, part)) => format!("blk.{layer}.{}.{kind}", gguf(part)),
            (Self::Gguf, Slot::Norm) => format!("output_norm.{kind}"),
            (Self::Gguf, Slot::Head) => format!("output.{kind}"),
            (Self::Safetensors { prefix, .. }, Slot::Embedding) => format!("{prefix}embed_tokens.{kind}"),
            (Self::Safetensors { prefix, norms, .. }, Slot::Block(layer, part)) => {
                format!("{prefix}layers.{layer}.{}.{kind}", safetensors(part, *norms))
            }
            (Self::Safetensors { prefix, .. }, Slot::Norm) => format!("{prefix}norm.{kind}"),
            (Self::Safetensors { head, .. }, Slot::Head) => format!("{head}.{kind}"),
        }
    }

    /// The same names with `prefix` before each.
    pub(super) fn behind(self, prefix: &str) -> Self {
        match self {
            Self::Gguf => Self::Gguf,
            Self::Safetensors { prefix: own, head, norms } => {
                Self::Safetensors { prefix: format!("{prefix}{own}"), head: format!("{prefix}{head}"), norms }
            }
        }
    }

    /// What the names of all tensors of the layers begin with.
    pub(super) fn blocks(&self) -> String {
        match self {
            Self::Gguf => "blk.".into(),
            Self::Safetensors { prefix, .. } => format!("{prefix}layers."),
        }
    }
}

fn gguf(part: Part) -> &'static str {
    match part {
        Part::NormBeforeAttention => "attn_norm",
        Part::Q => "attn_q",
        Part::K => "attn_k",
        Part::V => "attn_v",
        Part::Qkv => "attn_qkv",
        Part::QNorm => "attn_q_norm",
        Part::KNorm => "attn_k_norm",
        Part::Output => "attn_output",
        Part::NormAfterAttention => "post_attention_norm",
        Part::NormBeforeMlp => "ffn_norm",
        Part::Gate => "ffn_gate",
        Part::Up | Part::GateUp => "ffn_up",
        Part::Down => "ffn_down",
        Part::NormAfterMlp => "post_ffw_norm",
    }
}

fn safetensors(part: Part, norms: BlockNorms) -> &'static str {
    match (part, norms) {
        (Part::NormBeforeAttention, _) => "input_layernorm",
        (Part::Q, _) => "self_attn.q_proj",
        (Part::K, _) => "self_attn.k_proj",
        (Part::V, _) => "self_attn.v_proj",
        (Part::Qkv, _) => "self_attn.qkv_proj",
        (Part::QNorm, _) => "self_attn.q_norm",
        (Part::KNorm, _) => "self_attn.k_norm",
        (Part::Output, _) => "self_attn.o_proj",
        (Part::NormAfterAttention, BlockNorms::AroundGlm) => "post_self_attn_layernorm",
        (Part::NormBeforeMlp, BlockNorms::AroundGemma) => "pre_feedforward_layernorm",
        (Part::NormAfterAttention | Part::NormBeforeMlp, _) => "post_attention_layernorm",
        (Part::Gate, _) => "mlp.gate_proj",
        (Part::Up, _) => "mlp.up_proj",
        (Part::GateUp, _) => "mlp.gate_up_proj",
        (Part::Down, _) => "mlp.down_proj",
        (Part::NormAfterMlp, BlockNorms::AroundGlm) => "post_mlp_layernorm",
        (Part::NormAfterMlp, _) => "post_feedforward_layernorm",
    }
}
