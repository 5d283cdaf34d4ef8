"""The flow of the scripts released with the paper, by transformers at its best, timed.

Every (prompt, prefix length) is two calls of `generate` for ten paths each, and every path's prompt and prefix
are prefilled again, as the released scripts do it. "At its best": all cores, float32, a key-value cache, fused
attention, and no time counted for loading. The prefixes are the ones that midcourse measures (tokens of the
open turn), so that both do the same work. No path stops early: a path that ends its turn goes on, so that the
count of tokens is known.

One round is 8 of the work's 64 cells: every prompt once and every length once, so that a round's mean context
is that of the whole work. All 8 rounds are the whole work.

Prints one JSON object; `cpu_share` near 1 says that no other program took the processor. Does not judge, and does
not keep what it samples.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

N_PROMPTS = 8
PREFIX_LENGTHS = range(10, 81, 10)
PATHS = 20
BATCH = 10
NEW_TOKENS = 32


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", type=Path, required=True, help="a GGUF file")
    arguments.add_argument("--data", type=Path, required=True, help="rows with prompt and response, JSONL")
    arguments.add_argument("--round", type=int, required=True, choices=range(len(PREFIX_LENGTHS)))
    arguments = arguments.parse_args()
    model, tokenizer = load(arguments.model)
    prompts = [encode(tokenizer, row) for row in read_rows(arguments.data)]
    cells = [
        rendered + response[: PREFIX_LENGTHS[(at + arguments.round) % len(PREFIX_LENGTHS)]]
        for at, (rendered, response) in enumerate(prompts)
    ]
    torch.manual_seed(arguments.round)
    sample(model, cells[0])  # Warm-up.
    started, started_cpu = time.perf_counter(), time.process_time()
    for cell in cells:
        for _ in range(PATHS // BATCH):
            sample(model, cell)
    wall_secs, cpu_secs = time.perf_counter() - started, time.process_time() - started_cpu
    n_sampled = len(cells) * PATHS * NEW_TOKENS
    measured = {
        "sampled_tokens_per_sec": n_sampled / wall_secs,
        "n_tokens_sampled": n_sampled,
        "n_tokens_prefilled": PATHS * sum(map(len, cells)),
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


def read_rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for _, line in zip(range(N_PROMPTS), lines)]


def encode(tokenizer, row: dict) -> tuple[list[int], list[int]]:
    """The rendered prompt with its assistant turn open, and the response, in tokens."""
    messages = [{"role": "user", "content": row["prompt"]}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    n_rendered = len(tokenizer(rendered, add_special_tokens=False).input_ids)
    tokens = tokenizer(rendered + row["response"], add_special_tokens=False).input_ids
    if len(tokens) < n_rendered + max(PREFIX_LENGTHS):
        raise SystemExit(f"expected responses of {max(PREFIX_LENGTHS)} tokens or more, found a shorter one")
    return tokens[:n_rendered], tokens[n_rendered:]


@torch.inference_mode()
def sample(model, tokens: list[int]) -> None:
    """Grows one batch of paths from the same tokens."""
    batch = torch.tensor([tokens] * BATCH)  # (B, T)
    grown = model.generate(
        batch,
        attention_mask=torch.ones_like(batch),
        do_sample=True,
        temperature=0.8,
        top_p=0.7,
        top_k=0,
        max_new_tokens=NEW_TOKENS,
        use_cache=True,
    )
    assert grown.shape == (BATCH, len(tokens) + NEW_TOKENS), grown.shape


if __name__ == "__main__":
    main()
