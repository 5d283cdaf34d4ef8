"""Holds the TRL export against `datasets` and TRL themselves.

    midcourse export pairs rankings.jsonl --format trl --out DIR
    midcourse export pairs rankings.jsonl --format trl --out FILE.jsonl
    python check_trl.py rankings.jsonl DIR FILE.jsonl MODEL

MODEL is a directory that transformers loads, for instance testdata/families/qwen2. Rows must be the pairs of the
rankings, TRL must hold them for conversational preferences, a step of DPOTrainer must run on them, and every answer
must end with the end of turn of the template.
"""

import sys
import tempfile

from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer
from trl.data_utils import is_conversational, maybe_apply_chat_template

from rankings import pairs, versions


def expected(rankings):
    for prompt, chosen, rejected, ranking in pairs(rankings):
        yield {
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": chosen["text"]}],
            "rejected": [{"role": "assistant", "content": rejected["text"]}],
            "sample_id": ranking["sample"],
            "chosen_rank": chosen["rank"],
            "rejected_rank": rejected["rank"],
            "chosen_prefix_chars": chosen["prefix_chars"],
            "rejected_prefix_chars": rejected["prefix_chars"],
            "set": ranking["set"],
        }


def main(rankings, directory, jsonl, model):
    versions("datasets", "pyarrow", "trl", "transformers", "torch")
    cache = tempfile.mkdtemp()
    splits = load_dataset(directory, cache_dir=cache)
    lines = load_dataset("json", data_files=jsonl, split="train", cache_dir=cache)
    rows = list(expected(rankings))
    by_prompt = lambda row: (row["sample_id"], row["chosen_rank"], row["rejected_rank"])
    read = sorted((row for split in splits.values() for row in split), key=by_prompt)
    assert read == sorted(rows, key=by_prompt), "the data set holds other pairs than the rankings"
    assert list(lines) == rows, "the lines hold other pairs than the rankings, or another order"
    prompts = [{str(row["prompt"]) for row in split} for split in splits.values()]
    assert len(prompts) == 1 or not prompts[0] & prompts[1], "a prompt is in both splits"
    train = splits["train"]
    assert train.features == lines.features, (train.features, lines.features)
    print(f"{ {name: len(split) for name, split in splits.items()} } rows, features {train.features}")

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    assert all(is_conversational(row) for split in splits.values() for row in split)
    rendered = maybe_apply_chat_template(train[0], tokenizer)
    print("rendered:", {key: rendered[key] for key in ("prompt", "chosen", "rejected")})
    arguments = DPOConfig(
        output_dir=tempfile.mkdtemp(), max_steps=1, per_device_train_batch_size=4, use_cpu=True, report_to=[], bf16=False,
        logging_steps=1,
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model), args=arguments, train_dataset=train, processing_class=tokenizer
    )
    prepared = trainer.train_dataset
    assert len(prepared) == len(train), "TRL dropped rows"
    for row in prepared:
        for key in ("chosen", "rejected"):
            text = tokenizer.decode(row["prompt_ids"] + row[f"{key}_ids"])
            whole = tokenizer.apply_chat_template(row["prompt"] + row[key], tokenize=False)
            assert text == whole, (text, whole)
            assert tokenizer.eos_token in tokenizer.decode(row[f"{key}_ids"]), "an answer is not closed"
    trainer.train()
    print("logged:", trainer.state.log_history[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
