"""Writes a family's model as GGUF, with the keys, names and layouts of llama.cpp's convert_hf_to_gguf.py.

Tensor names are those of the gguf package. What the layouts differ in: queries and keys of the Llama kind are
interleaved head by head; Gemma's norms have their one added; ChatGLM's queries, keys and values are one matrix;
rotary factors are tensors.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import dequantize, quantize
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import family_models
import tiny_models

INTERLEAVED = {MODEL_ARCH.LLAMA, MODEL_ARCH.SMOLLM3}
GEMMA = {MODEL_ARCH.GEMMA, MODEL_ARCH.GEMMA2, MODEL_ARCH.GEMMA3}
FILE_TYPES = {
    GGMLQuantizationType.F32: gguf.LlamaFileType.ALL_F32,
    GGMLQuantizationType.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    GGMLQuantizationType.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
    GGMLQuantizationType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}


@dataclass(frozen=True)
class File:
    """A GGUF file and the model that a reader must find in it."""

    path: Path
    kind: GGMLQuantizationType
    model: PreTrainedModel
    has_own_golden: bool


def write_all(out, family, model, tokenizer):
    """The family's files: its own type, and blocks where the family has them."""
    if family.gguf is None:
        return []
    said = copy.deepcopy(model.config)
    for name, value in family.unsaid.items():
        setattr(said, name, value)
    kind = GGMLQuantizationType.F32 if family.dtype == torch.float32 else GGMLQuantizationType.BF16
    plain = File(out / f"{family.name}.gguf", kind, family_models.reconfigured(model, said), bool(family.unsaid))
    files = [plain]
    if family.quantised:
        path = out / f"{family.name}-{family.quantised.name.lower()}.gguf"
        files.append(File(path, family.quantised, dequantised(plain.model, family.quantised), True))
    for file in files:
        write(file.path, family, model, tokenizer, file.kind)
    return files


def dequantised(model, kind):
    """The model that blocks of `kind` hold: blocks lie within rows, so that the order of rows is free."""
    other = family_models.reload(model)
    with torch.no_grad():
        for name, weight in family_models.weights_of(other).items():
            if weight.ndim == 2:
                blocks = block_kind(name, kind)
                weight.copy_(torch.from_numpy(dequantize(quantize(weight.numpy(), blocks), blocks)))
    return other


def block_kind(name, kind):
    """Embedding and head keep eight bits beside matrices of four."""
    is_outer = "embed" in name or name.startswith(("lm_head", "output", "token_embd"))
    return GGMLQuantizationType.Q8_0 if is_outer and kind == GGMLQuantizationType.Q4_0 else kind


def write(path, family, model, tokenizer, kind):
    """One file, matrices in `kind`, all else in float32."""
    writer = GGUFWriter(path, gguf.MODEL_ARCH_NAMES[family.gguf])
    writer.add_name(f"tiny-{family.name}")
    writer.add_file_type(FILE_TYPES[kind])
    add_sizes(writer, family.gguf, model.config)
    add_rotary(writer, family.gguf, model.config)
    add_tokenizer(writer, family.words, tokenizer, model.config.vocab_size)
    for name, weight in tensors(family.gguf, model).items():
        if weight.ndim == 1 or kind == GGMLQuantizationType.F32:
            writer.add_tensor(name, weight)
        else:
            blocks = block_kind(name, kind)
            writer.add_tensor(name, quantize(weight, blocks), raw_dtype=blocks)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_sizes(writer, arch, config):
    """Sizes, windows and caps."""
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if arch in INTERLEAVED:
        writer.add_vocab_size(config.vocab_size)
    if getattr(config, "head_dim", None) and arch != MODEL_ARCH.CHATGLM:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if arch in {MODEL_ARCH.GEMMA2, MODEL_ARCH.GEMMA3, MODEL_ARCH.PHI3}:
        writer.add_sliding_window(config.sliding_window or 0)
    if arch == MODEL_ARCH.GEMMA2:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def add_rotary(writer, arch, config):
    """Base, rotated width and scaling; Gemma 1 and 2 take the base of 10,000 as known."""
    rope = full_rope(config)
    if arch not in {MODEL_ARCH.GEMMA, MODEL_ARCH.GEMMA2}:
        writer.add_rope_freq_base(rope["rope_theta"])
    if arch in INTERLEAVED | {MODEL_ARCH.CHATGLM, MODEL_ARCH.GLM4, MODEL_ARCH.PHI3}:
        writer.add_rope_dimension_count(int(head_dim(config) * rope.get("partial_rotary_factor", 1.0)))
    if arch == MODEL_ARCH.GEMMA3:
        writer.add_rope_freq_base_swa(config.rope_parameters["sliding_attention"]["rope_theta"])
    if arch == MODEL_ARCH.PHI3:
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
        _, attention_factor = ROPE_INIT_FUNCTIONS["longrope"](config)
        writer.add_rope_scaling_attn_factors(attention_factor)
    if rope["rope_type"] in {"linear", "yarn"}:
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def full_rope(config):
    """Rotary parameters of the layers without a window."""
    return config.rope_parameters.get("full_attention", config.rope_parameters)


def head_dim(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def add_tokenizer(writer, words, tokenizer, n_rows):
    """The tiny byte-level tokenizer; rows of the embedding beyond it are unused tokens."""
    vocab = tokenizer.get_vocab()
    tokens = sorted(vocab, key=vocab.get)
    kinds = [TokenType.CONTROL if token in words.special else TokenType.NORMAL for token in tokens]
    padding = [f"[PAD{row}]" for row in range(len(tokens), n_rows)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens + padding)
    writer.add_token_types(kinds + [TokenType.UNUSED] * len(padding))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(vocab[words.bos])
    writer.add_eos_token_id(vocab[words.eos])
    writer.add_add_bos_token(False)
    writer.add_chat_template(words.template)


def tensors(arch, model):
    """Tensors by their GGUF names, as float32 arrays."""
    config = model.config
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    weights = {name: weight.numpy() for name, weight in family_models.weights_of(model).items()}
    if arch == MODEL_ARCH.CHATGLM:
        weights = fuse_qkv(weights)
    renamed = {}
    for name, weight in weights.items():
        stem, suffix = name.rsplit(".", 1)
        renamed[f"{names.get_name(stem) or stem}.{suffix}"] = laid_out(arch, config, name, weight)
    return renamed | rotary_factors(arch, config)


def laid_out(arch, config, name, weight):
    """A weight in the layout of its architecture."""
    if arch in GEMMA and name.endswith("norm.weight"):
        return weight + np.float32(1.0)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if arch in INTERLEAVED and heads:
        columns = weight.reshape(weight.shape[0], -1)
        return tiny_models.permute(columns, heads).reshape(weight.shape)
    return weight


def fuse_qkv(weights):
    """Queries, keys and values in one, under the fused GGUF name."""
    fused = {}
    for name, weight in weights.items():
        if ".q_proj." in name:
            parts = [weights[name.replace("q_proj", kind)] for kind in ("q_proj", "k_proj", "v_proj")]
            layer, suffix = name.split(".")[2], name.rsplit(".", 1)[1]
            fused[f"blk.{layer}.attn_qkv.{suffix}"] = np.concatenate(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            fused[name] = weight
    return fused


def rotary_factors(arch, config):
    """Divisors of the rotary frequencies, where they are neither one nor all the same."""
    rope = full_rope(config)
    if arch == MODEL_ARCH.LLAMA and rope["rope_type"] == "llama3":
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config)
        width = head_dim(config)
        plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, width, 2).float() / width)
        return {"rope_freqs.weight": (plain / scaled).numpy()}
    if rope["rope_type"] == "longrope":
        kinds = ("long", "short")
        return {f"rope_factors_{kind}.weight": np.array(rope[f"{kind}_factor"], np.float32) for kind in kinds}
    return {}
