"""The flow of the scripts released with the paper for making preferences, by transformers at its best, timed.

Every answer of a prompt is one call of `generate`: the plain one, and one for each of four cuts, whose prompt, prefix
and trigger are prefilled again, as the released scripts do it. "At its best": all cores, float32, a key-value cache,
fused attention, and no time counted for loading. They decode by diverse beam search with two beams in two groups, of
which one is kept; transformers 5 has no groups any more, so this takes two plain beams, which are as many forward
passes. No answer stops early, so that the count of tokens is known; tokens of the kept beam are counted.

One round is one prompt of the eight, so all rounds are the whole work.

Prints one JSON object; `cpu_share` near 1 says that no other program took the processor. Does not judge, and does
not keep what it grows.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

N_PROMPTS = 8
CUTS = 4
BEAMS = 2
NEW_TOKENS = 128
TRIGGER = " but I have to stop here, because it would be wrong to"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", type=Path, required=True, help="a GGUF file")
    arguments.add_argument("--data", type=Path, required=True, help="rows with prompt and response, JSONL")
    arguments.add_argument("--round", type=int, required=True, choices=range(N_PROMPTS))
    arguments = arguments.parse_args()
    model, tokenizer = load(arguments.model)
    with arguments.data.open(encoding="utf-8") as lines:
        row = json.loads(next(line for at, line in enumerate(lines) if at == arguments.round))
    inputs = starts(tokenizer, row)
    grow(model, inputs[0], 8)  # Warm-up.
    started, started_cpu = time.perf_counter(), time.process_time()
    for tokens in inputs:
        grow(model, tokens, NEW_TOKENS)
    wall_secs, cpu_secs = time.perf_counter() - started, time.process_time() - started_cpu
    measured = {
        "sampled_tokens_per_sec": len(inputs) * NEW_TOKENS / wall_secs,
        "n_tokens_sampled": len(inputs) * NEW_TOKENS,
        "n_tokens_prefilled": BEAMS * sum(map(len, inputs)),
        "wall_secs": wall_secs,
        "cpu_share": cpu_secs / (wall_secs * torch.get_num_threads()),
    }
    print(json.dumps(measured))


def load(path: Path):
    """The model and its tokenizer, both from one GGUF file."""
    where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, attn_implementation="sdpa")
    model.generation_config.eos_token_id = None
    return model.eval(), AutoTokenizer.from_pretrained(**where)


def starts(tokenizer, row: dict) -> list[list[int]]:
    """What the model is given for every answer, in tokens: the bare prompt, and a prefix and the trigger a cut."""
    messages = [{"role": "user", "content": row["prompt"]}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    question, whole = encode(rendered), encode(rendered + row["response"])
    n_response = len(whole) - len(question)
    prefixes = [whole[: len(question) + n_response * cut // (CUTS + 1)] for cut in range(1, CUTS + 1)]
    return [question, *(prefix + encode(TRIGGER) for prefix in prefixes)]


@torch.inference_mode()
def grow(model, tokens: list[int], n_new: int) -> None:
    """Grows one answer."""
    batch = torch.tensor([tokens])  # (1, T)
    grown = model.generate(
        batch,
        attention_mask=torch.ones_like(batch),
        do_sample=False,
        num_beams=BEAMS,
        max_new_tokens=n_new,
        use_cache=True,
    )
    assert grown.shape == (1, len(tokens) + n_new), grown.shape


if __name__ == "__main__":
    main()
