"""Draws a family's weights, writes its directory as transformers would, and computes its golden.

Weights are rounded to the directory's type as they are drawn, so that a model in memory and its files are the
same model. The reference is transformers in float32 with its plain ("eager") attention.
"""

import copy
import json
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import tiny_models

# Texts as stretches of the training sentences: shorter than the original contexts, longer, and much longer.
STRETCHES = [(0, 21), (30, 93), (100, 211)]
N_COLUMNS = 32
VOCAB = 311
# Ten times what an engine may differ.
SHOWN = 1e-3


def write(out, family, seed):
    """The model directory; returns the model in float32, its tokenizer and the texts as ids."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(out, family.words)
    model = draw_model(family.make_config(), family.dtype, seed)
    weights = {name: weight.to(family.dtype) for name, weight in weights_of(model).items()}
    if family.sharded:
        tiny_models.write_shards(out, weights)
    else:
        save_file(weights, out / "model.safetensors", {"format": "pt"})
    write_configs(out, family, model)
    texts = texts_of(tokenizer)
    check_directory(out, family, model, texts[-1])
    return model, tokenizer, texts


def write_tokenizer(out, words):
    """The tiny byte-level tokenizer with the family's own special tokens and template."""
    tokenizer = tiny_models.train_tokenizer(SimpleNamespace(vocab_size=VOCAB), words)
    tokenizer.pre_tokenizer = tiny_models.smollm_pre_tokenizer()
    tokenizer.save(str(out / "tokenizer.json"))
    config = tiny_models.tokenizer_config(words) | {"chat_template": words.template}
    tiny_models.write_json(out / "tokenizer_config.json", config)
    return tokenizer


def draw_model(config, dtype, seed):
    """A model in float32 with weights that `dtype` holds."""
    rng = np.random.default_rng(100 + seed)
    model = from_config(config)
    with torch.no_grad():
        for name, weight in sorted(weights_of(model).items()):
            drawn = draw(rng, name, tuple(weight.shape), zero_centred="gemma" in config.model_type)
            weight.copy_(torch.from_numpy(drawn).to(dtype).float())
    return model


def draw(rng, name, shape, zero_centred):
    """Wide enough that attention is far from uniform and logits have a deviation between one and three.

    `zero_centred` norms scale by one plus their weight.
    """
    if "norm" in name:
        # Norms of queries and keys alone decide how sharp attention is.
        low = 0.8 if name.endswith(("q_norm.weight", "k_norm.weight")) else 0.5
        return rng.uniform(low, 1.5, shape) - float(zero_centred)
    if name.endswith(".bias"):
        return 0.5 * rng.standard_normal(shape)
    gain = 1.5 if any(part in name for part in ("q_proj", "k_proj", "qkv_proj", "embed", "lm_head")) else 1.0
    return rng.standard_normal(shape) * (gain / np.sqrt(shape[-1]))


def weights_of(model):
    """Weights by name, a tied head left out."""
    tied = model.config.tie_word_embeddings
    return {name: weight for name, weight in model.state_dict().items() if not (tied and name == "lm_head.weight")}


def from_config(config):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    return model.eval()


def reconfigured(model, config):
    """The same weights under another configuration."""
    other = from_config(config)
    other.load_state_dict(model.state_dict())
    return other


def reload(model):
    """A model that has not run: rotary embeddings that adapt to lengths keep what they saw."""
    return reconfigured(model, copy.deepcopy(model.config))


def write_configs(out, family, model):
    """`config.json` as transformers 5 writes it, or as transformers 4 did."""
    stored = {"architectures": [type(model).__name__], "dtype": str(family.dtype).removeprefix("torch.")}
    new = json.loads(model.config.to_json_string()) | stored
    if family.old_form != "config.json":
        tiny_models.write_json(out / "config.json", new)
    if family.old_form:
        tiny_models.write_json(out / family.old_form, as_transformers_4(new))


def as_transformers_4(config):
    """The form before `rope_parameters`: base, scaling and the rotary share stand apart."""
    old = dict(config) | {"transformers_version": "4.57.1"}
    old["torch_dtype"] = old.pop("dtype")
    rope = dict(old.pop("rope_parameters"))
    if "full_attention" in rope:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        del old["_sliding_window_pattern"]
        old["sliding_window_pattern"] = 1 + old.pop("layer_types").index("full_attention")
        rope = dict(rope["full_attention"])
    old["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        old["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if config["model_type"] == "phi3":
        # Phi-3 says `type`, and the original context beside it.
        rope = {"type": rope["rope_type"], "short_factor": rope["short_factor"], "long_factor": rope["long_factor"]}
    old["rope_scaling"] = None if rope.get("rope_type") == "default" else rope
    return old


def check_directory(out, family, model, ids):
    """What was written is the model: transformers reads the files, in either form, and gives the same logits."""
    want = logits(reload(model), ids)
    read = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
    assert torch.equal(logits(read, ids), want), f"{family.name}: the directory is another model"
    if family.old_form:
        old = AutoConfig.from_pretrained(out / family.old_form)
        assert torch.equal(logits(reconfigured(model, old), ids), want), f"{family.name}: {family.old_form}"
    check_template(out)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    assert size < 300_000, f"{family.name}: {size} bytes"


def check_template(out):
    """The template leaves an answer open."""
    tokenizer = AutoTokenizer.from_pretrained(out)
    messages = [{"role": "user", "content": "Who won the game?"}, {"role": "assistant", "content": "It was"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert rendered.endswith("It was") and "Who won the game?" in rendered, rendered


def check(family, model, texts):
    """The logits are wide, well determined in float32, and show every part of the configuration."""
    want = [logits(reload(model), ids) for ids in texts]
    spread = want[-1].std().item()
    error = distance(want[-1], logits(reload(model).double(), texts[-1]))
    seen = []
    for change in family.shows:
        other = [logits(reconfigured(model, family.make_config(**change)), ids) for ids in texts]
        seen.append(max(map(distance, want, other)))
    print(f"{family.name}: logits {spread:.2f}, float32 error {error:.1e}, shows {[round(s, 3) for s in seen]}")
    assert 0.8 < spread < 4.0 and error < 3e-5, family.name
    assert all(difference > SHOWN for difference in seen), family.name


def distance(one, other):
    """The largest difference between two arrays of logits."""
    return (one - other).abs().max().item()


def texts_of(tokenizer):
    """Ids of three stretches of text."""
    ids = tokenizer.encode(" ".join(tiny_models.SENTENCES)).ids
    return [ids[start:end] for start, end in STRETCHES]


def logits(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


def write_golden(path, model, texts):
    """Logits at some columns and the log of the sum over all, at every position of the texts."""
    vocab = model.config.vocab_size
    columns = torch.linspace(0, vocab - 1, N_COLUMNS).round().long()
    golden = {"columns": columns}
    for i, ids in enumerate(texts):
        values = logits(reload(model), ids)
        golden[f"ids.{i}"] = torch.tensor(ids)
        golden[f"logits.{i}"] = values[:, columns].contiguous()
        golden[f"logsumexp.{i}"] = values.logsumexp(-1)
    save_file(golden, path)
