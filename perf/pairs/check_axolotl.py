"""Holds the axolotl export against its schema and its strategy `chat_template.default` for DPO.

    midcourse export pairs rankings.jsonl --format axolotl --out DIR
    python check_axolotl.py rankings.jsonl DIR MODEL
"""

import os
import sys
import tempfile

from axolotl.prompt_strategies.dpo import load as load_strategy
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from datasets import load_dataset
from transformers import AutoTokenizer

from rankings import pairs, versions


def main(rankings, directory, model):
    versions("axolotl", "datasets", "transformers")
    settings = {
        "base_model": model,
        "rl": "dpo",
        "chat_template": "tokenizer_default",
        "learning_rate": 1e-5,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "datasets": [
            {"path": os.path.join(directory, f"{split}.jsonl"), "ds_type": "json", "split": "train", "type": "chat_template.default"}
            for split in ("train", "test")
            if os.path.exists(os.path.join(directory, f"{split}.jsonl"))
        ],
    }
    checked = DictDefault(AxolotlInputConfig(**settings).model_dump(exclude_none=True))
    tokenizer = AutoTokenizer.from_pretrained(model)
    cache = tempfile.mkdtemp()
    seen = []
    for index, data in enumerate(checked["datasets"]):
        rows = load_dataset("json", data_files=data["path"], split=data["split"], cache_dir=cache)
        strategy = load_strategy(data["type"], checked, dataset_idx=index)
        transform = strategy[0] if isinstance(strategy, tuple) else strategy
        for row in rows:
            rendered = transform(row, tokenizer=tokenizer)
            seen.append((rendered["prompt"], rendered["chosen"], rendered["rejected"]))
    expected = []
    for prompt, chosen, rejected, _ in pairs(rankings):
        opened = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        said = lambda answer: tokenizer.apply_chat_template(
            prompt + [{"role": "assistant", "content": answer["text"]}], tokenize=False
        )[len(opened) :].rstrip()
        expected.append((opened, said(chosen), said(rejected)))
    assert sorted(seen) == sorted(expected), "axolotl renders other pairs than the rankings hold"
    print(f"{len(seen)} rows; the first: {seen[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
