"""LoRA adapters of some tiny families, and what PEFT computes with them.

    python testdata/adapters.py [--out DIR]

Made with peft 0.21.2 beside the versions of perf/peers/requirements.txt, once; golden.py does not run it. The models
are those of families.py, which must be there. Every projection is adapted, with weights that are drawn for A and B,
and PEFT keeps the adapter beside the weights, so that merging is not its own witness. GGUF files of the same models
have the same numbers: their rows of q and k may stand in another order than the adapter's.
"""

import argparse
import json
from pathlib import Path

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import family_models

SEPARATE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "llama3.1": LoraConfig(r=4, lora_alpha=6, target_modules=SEPARATE),
    "qwen2": LoraConfig(r=3, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "phi3": LoraConfig(
        r=4, lora_alpha=3, use_rslora=True, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    ),
    "glm4": LoraConfig(
        r=2, lora_alpha=3, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"]
    ),
}


def main():
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=here, help="where to write")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    (out / "golden" / "adapters").mkdir(parents=True, exist_ok=True)
    for seed, (name, config) in enumerate(ADAPTERS.items()):
        config.task_type = "CAUSAL_LM"
        texts = load_file(here / "golden" / "families" / f"{name}.safetensors")
        model = get_peft_model(base(here, name), config)
        draw(model, seed)
        save(model, out / "adapters" / name, name)
        golden = {"columns": texts["columns"]}
        for text in range(3):
            ids = texts[f"ids.{text}"]
            # Read again for every text: rotary embeddings that adapt to lengths keep what they saw.
            model = PeftModel.from_pretrained(base(here, name), out / "adapters" / name).eval()
            values = family_models.logits(model, ids.tolist())
            golden[f"ids.{text}"] = ids
            golden[f"logits.{text}"] = values[:, texts["columns"]].contiguous()
            golden[f"logsumexp.{text}"] = values.logsumexp(-1)
            changed = (golden[f"logits.{text}"] - texts[f"logits.{text}"]).abs().max().item()
            assert changed > 0.1, f"{name}: the adapter changes logits by {changed} only"
        save_file(golden, out / "golden" / "adapters" / f"{name}.safetensors")


def base(here, name):
    """The model without an adapter."""
    path = here / "families" / name
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def draw(model, seed):
    """Weights that show: PEFT begins with a B of zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (weight for name, weight in model.named_parameters() if "lora_" in name):
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.15)


def save(model, out, name):
    """The two files that make an adapter; what PEFT says of paths is left out."""
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    config = json.loads((out / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": name, "target_modules": sorted(config["target_modules"])}
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    print(f"peft {peft.__version__}")
    main()
