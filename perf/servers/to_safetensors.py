"""Writes a GGUF model of the Llama family as a directory of safetensors in f32, for servers that read no GGUF.

usage: to_safetensors.py MODEL.gguf DIR
"""

import json
import pathlib
import sys

from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    path, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tied = model.config.tie_word_embeddings
    weights = {
        name: tensor.contiguous().clone()
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    # transformers itself refuses to save what it has read from GGUF.
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config.update(architectures=[type(model).__name__], torch_dtype="float32")
    (out / "config.json").write_text(json.dumps(config, default=str, indent=1), encoding="utf-8")
    tokenizer.save_pretrained(out)


main()
