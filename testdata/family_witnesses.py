"""Programs that others wrote read the GGUF files back and must give the same logits: transformers, llama.cpp.

Neither reads everything. transformers knows no scaling of rotary embeddings, no caps and no head width in most
GGUF files: there it is given the configuration and reads the weights alone. llama.cpp (by `pip install
xllamacpp`, measured with 2026.10.11549) reads all of them, but runs Phi-3 without its window.
"""

import copy
import tempfile
from pathlib import Path

import torch
from gguf import GGMLQuantizationType
from transformers import AutoModelForCausalLM

import family_gguf
import family_models


def check_transformers(family, file, texts):
    """Logits of the file within 1e-4, by transformers' own reader."""
    if not family.transformers_reads:
        return
    config = copy.deepcopy(file.model.config) if family.transformers_reads == "weights" else None
    options = {"config": config} if config else {}
    found = []
    for ids in texts:
        read = AutoModelForCausalLM.from_pretrained(
            file.path.parent,
            gguf_file=file.path.name,
            dtype=torch.float32,
            attn_implementation="eager",
            **options,
        )
        want = family_models.logits(family_models.reload(file.model), ids)
        found.append(family_models.distance(want, family_models.logits(read.eval(), ids)))
    print(f"    {file.path.name}: transformers ({family.transformers_reads}) within {max(found):.1e}")
    assert max(found) < 1e-4, file.path.name
