"""What PEFT computes with the adapter that midcourse wrote for tiny-llama.

    UPDATE_EXPECT=1 cargo test -p midcourse-engine the_adapter_of_the_tiny_model
    python testdata/exports.py [--out DIR]

The first command writes `tiny-llama-adapter/`, the second its golden. Made with peft 0.21.2 beside the versions of
perf/peers/requirements.txt, once; golden.py does not run it. PEFT keeps the adapter beside the weights, so that
merging is not its own witness.
"""

import argparse
from pathlib import Path

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import family_models

TEXTS = [
    "How do I win at a board game?",
    "Bread is a slow thing to make and a quick thing to eat.",
    "The baker mixes flour, water, salt and a little yeast in the evening and goes to bed.",
]
COLUMNS = 32


def main():
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=here, help="where to write")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(here / "tiny-llama")
    base = load(here / "tiny-llama")
    columns = torch.linspace(0, base.config.vocab_size - 1, COLUMNS).round().long()
    golden = {"columns": columns}
    plain = [family_models.logits(base, tokenizer(text).input_ids) for text in TEXTS]
    model = PeftModel.from_pretrained(base, here / "tiny-llama-adapter").eval()
    for text, (words, before) in enumerate(zip(TEXTS, plain)):
        ids = tokenizer(words).input_ids
        values = family_models.logits(model, ids)
        golden[f"ids.{text}"] = torch.tensor(ids)
        golden[f"logits.{text}"] = values[:, columns].contiguous()
        golden[f"logsumexp.{text}"] = values.logsumexp(-1)
        changed = (values - before).abs().max().item()
        assert changed > 0.1, f"the adapter changes logits by {changed} only"
    save_file(golden, out / "golden" / "tiny-llama-adapter.safetensors")


def load(path):
    """The model without an adapter."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


if __name__ == "__main__":
    print(f"peft {peft.__version__}")
    main()
