"""Tiny seeded models of the Llama architecture, written as the tools of the field write them.

Nothing here is learned: weights are drawn with a fixed seed, wide enough that every part of the decoder
(rotary order, grouped heads, norms, the gate) shows in the logits. Tokenizers are byte-level BPE trained on
the sentences below. Running the script again writes the same bytes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SENTENCES = [
    "The garden behind the house was quiet in the morning, and the cat slept on the warm stones.",
    "She put the kettle on, opened the window, and read the letter again.",
    "How do I win the game when the other player is better than I am?",
    "You should tell your sister that the cake was eaten, and help her to bake another.",
    "The train to the coast leaves at ten and comes back in the evening.",
    "I think that it is better to ask first, and then to take the book from the shelf.",
    "They walked along the river, counted the boats, and talked about the weather.",
    "Please write the answer in your own words; the teacher will read it.",
    "2024/05/2024 (2024), 2024/06/2024 (2024): the seats were free in 2024, at 20:24 and at 20:24.",
]

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# As Llama 2 Chat: it writes the beginning of sequence itself, trims the prompt, and puts a space before the
# answer, so that the answer's first token begins one byte before the answer. Jinja has to drop its indents.
LLAMA_2 = """\
{{- bos_token }}
{%- for message in messages %}
    {% if message['role'] == 'user' %}
{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}
    {%- else %}
        {# The answer is not trimmed, so that it can go on. #}
{{ ' ' + message['content'] + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}
"""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, by transformers' names."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool
    rope_theta: float
    rms_norm_eps: float
    num_hidden_layers: int = 2
    max_position_embeddings: int = 512


@dataclass(frozen=True)
class Words:
    """What a tokenizer and its template are made of."""

    special: list
    bos: str
    eos: str
    template: str


# Rotary heads of a power of two, a head of its own, a vocabulary that no block size divides.
TINY = Shape(331, 64, 96, 4, 2, 16, False, 5_000.0, 1e-5)
TINY_WORDS = Words(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|endoftext|>", "<|im_end|>", CHATML)

# Heads of 24 (a multiple of 8 and not of 16), together wider than the residual stream; a tied head.
TINY_BOS = Shape(307, 48, 64, 4, 2, 24, True, 20_000.0, 1e-6)
TINY_BOS_WORDS = Words(["<unk>", "<s>", "</s>"], "<s>", "</s>", LLAMA_2)


def draw_weights(shape, seed):
    """Weights by transformers' names, already rounded to bfloat16."""
    rng = np.random.default_rng(seed)
    heads, kv_heads = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    width, mlp = shape.hidden_size, shape.intermediate_size

    def draw(*size):
        values = rng.standard_normal(size) * (1.5 / np.sqrt(size[-1]))
        return torch.from_numpy(values).to(torch.bfloat16).float()

    def norm():
        return torch.from_numpy(rng.uniform(0.5, 1.5, width)).to(torch.bfloat16).float()

    weights = {"model.embed_tokens.weight": draw(shape.vocab_size, width)}
    for layer in range(shape.num_hidden_layers):
        sizes = {
            "self_attn.q_proj": (heads, width),
            "self_attn.k_proj": (kv_heads, width),
            "self_attn.v_proj": (kv_heads, width),
            "self_attn.o_proj": (width, heads),
            "mlp.gate_proj": (mlp, width),
            "mlp.up_proj": (mlp, width),
            "mlp.down_proj": (width, mlp),
        }
        weights |= {f"model.layers.{layer}.{name}.weight": draw(*size) for name, size in sizes.items()}
        for name in ["input_layernorm", "post_attention_layernorm"]:
            weights[f"model.layers.{layer}.{name}.weight"] = norm()
    weights["model.norm.weight"] = norm()
    if not shape.tie_word_embeddings:
        weights["lm_head.weight"] = draw(shape.vocab_size, width)
    return weights


def train_tokenizer(shape, words):
    """A byte-level BPE of exactly the shape's vocabulary, on GPT-2's split, so that it has whole numbers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocab_size,
        special_tokens=words.special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    assert tokenizer.get_vocab_size() == shape.vocab_size, tokenizer.get_vocab_size()
    assert tokenizer.token_to_id("2024"), "a split into digits would not show"
    return tokenizer


def smollm_pre_tokenizer():
    """Digits one by one, then GPT-2's split."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def write_tiny_llama(out):
    """One bfloat16 file, the template in `tokenizer_config.json`, the base in `rope_parameters`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(TINY, TINY_WORDS)
    tokenizer.pre_tokenizer = smollm_pre_tokenizer()
    tokenizer.save(str(out / "tokenizer.json"))
    weights = draw_weights(TINY, seed=7)
    save_file({k: v.to(torch.bfloat16) for k, v in weights.items()}, out / "model.safetensors", {"format": "pt"})
    config = config_of(TINY, TINY_WORDS) | {"dtype": "bfloat16"}
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": config.pop("rope_theta")}
    write_json(out / "config.json", config)
    write_json(out / "tokenizer_config.json", tokenizer_config(TINY_WORDS) | {"chat_template": CHATML})
    return weights, tokenizer


def write_tiny_llama_bos(out):
    """Two float32 shards with an index, the template in a file of its own, the base in `rope_theta`.

    Its tokenizer is put together like that of Llama 3: the post-processor trims offsets and adds the
    beginning of sequence.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(TINY_BOS, TINY_BOS_WORDS)
    bos = ("<s>", tokenizer.token_to_id("<s>"))
    adds_bos = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [bos])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), adds_bos])
    tokenizer.save(str(out / "tokenizer.json"))
    write_shards(out, draw_weights(TINY_BOS, seed=11))
    write_json(out / "config.json", config_of(TINY_BOS, TINY_BOS_WORDS) | {"dtype": "float32"})
    write_json(out / "tokenizer_config.json", tokenizer_config(TINY_BOS_WORDS))
    (out / "chat_template.jinja").write_text(LLAMA_2)


def write_shards(out, weights):
    """Splits after the first layer, as a size limit would."""
    second = {name for name in weights if "layers.1." in name or name == "model.norm.weight"}
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    weight_map = {name: files[name in second] for name in weights}
    for file in files:
        save_file({n: w for n, w in weights.items() if weight_map[n] == file}, out / file, {"format": "pt"})
    total = sum(w.numel() * w.element_size() for w in weights.values())
    write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def config_of(shape, words):
    """The fields of `config.json`."""
    ids = {f"{name}_token_id": words.special.index(token) for name, token in [("bos", words.bos), ("eos", words.eos)]}
    fixed = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
    return fixed | {"attention_bias": False, "mlp_bias": False} | vars(shape) | ids


def tokenizer_config(words):
    """The fields of `tokenizer_config.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": words.bos,
        "eos_token": words.eos,
        "clean_up_tokenization_spaces": False,
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_gguf(path, weights, tokenizer, quantised):
    """`tiny-llama` as GGUF: in float32, or the matrices in blocks of 32 (then it also asks for a BOS)."""
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny-llama")
    writer.add_block_count(TINY.num_hidden_layers)
    writer.add_context_length(TINY.max_position_embeddings)
    writer.add_embedding_length(TINY.hidden_size)
    writer.add_feed_forward_length(TINY.intermediate_size)
    writer.add_head_count(TINY.num_attention_heads)
    writer.add_head_count_kv(TINY.num_key_value_heads)
    writer.add_rope_dimension_count(TINY.head_dim)
    writer.add_rope_freq_base(TINY.rope_theta)
    writer.add_layer_norm_rms_eps(TINY.rms_norm_eps)
    writer.add_vocab_size(TINY.vocab_size)
    add_tokenizer(writer, tokenizer, adds_bos=quantised)
    for name, weight in weights.items():
        add_tensor(writer, name, weight.numpy(), quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer, tokenizer, adds_bos):
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    special = TINY_WORDS.special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if t in special else TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(special.index(TINY_WORDS.bos))
    writer.add_eos_token_id(special.index(TINY_WORDS.eos))
    writer.add_add_bos_token(adds_bos)
    writer.add_chat_template(CHATML)


GGUF_NAMES = [
    ("model.layers.", "blk."),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("post_attention_layernorm", "ffn_norm"),
    ("input_layernorm", "attn_norm"),
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
]


def add_tensor(writer, name, weight, quantised):
    """Adds a tensor under its GGUF name: norms in float32, embedding and head in Q8_0, the rest in Q4_0."""
    if "q_proj" in name:
        weight = permute(weight, TINY.num_attention_heads)
    if "k_proj" in name:
        weight = permute(weight, TINY.num_key_value_heads)
    for old, new in GGUF_NAMES:
        name = name.replace(old, new)
    if not quantised or weight.ndim == 1:
        writer.add_tensor(name, weight)
        return
    kind = GGMLQuantizationType.Q4_0 if name.startswith("blk.") else GGMLQuantizationType.Q8_0
    writer.add_tensor(name, quantize(weight, kind), raw_dtype=kind)


def permute(weight, n_heads):
    """Interleaves the halves of every head, as `LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    halves = weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def write_all(out: Path):
    """Every tiny model below `out`."""
    weights, tokenizer = write_tiny_llama(out / "tiny-llama")
    write_tiny_llama_bos(out / "tiny-llama-bos")
    write_gguf(out / "tiny-llama.gguf", weights, tokenizer, quantised=False)
    write_gguf(out / "tiny-llama-q4.gguf", weights, tokenizer, quantised=True)
