"""Holds the LLaMA-Factory export against its own loader, converter and tokenisation of preferences.

    midcourse export pairs rankings.jsonl --format llama-factory --out DIR
    DISABLE_VERSION_CHECK=1 python check_llama_factory.py rankings.jsonl DIR MODEL

Audio is not looked at: where torchaudio is missing, an empty module stands in for it.
"""

import json
import os
import sys
import tempfile
import types

import transformers
from transformers import AutoTokenizer

try:
    import torchaudio  # noqa: F401
except ImportError:
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")

from llamafactory.data.loader import _load_single_dataset, get_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, ModelArguments

from rankings import pairs, versions


def expected(rankings):
    for prompt, chosen, rejected, _ in pairs(rankings):
        system = prompt[0]["content"] if prompt[0]["role"] == "system" else ""
        yield system, [message for message in prompt if message["role"] != "system"], chosen["text"], rejected["text"]


def main(rankings, directory, model):
    versions("llamafactory", "datasets", "transformers", "torch")
    names = list(json.load(open(os.path.join(directory, "dataset_info.json"), encoding="utf-8")))
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    cache = tempfile.mkdtemp()
    arguments = transformers.TrainingArguments(output_dir=tempfile.mkdtemp(), use_cpu=True, report_to=[])
    arguments.predict_with_generate = False
    model_arguments = ModelArguments(model_name_or_path=model, cache_dir=cache)

    aligned = []
    data = DataArguments(dataset=",".join(names), dataset_dir=directory, template="chatml", cutoff_len=4096, overwrite_cache=True)
    for attribute in get_dataset_list(names, directory):
        aligned += list(_load_single_dataset(attribute, model_arguments, data, arguments))
    seen = [(row["_system"], row["_prompt"], *(answer["content"] for answer in row["_response"])) for row in aligned]
    rows = list(expected(rankings))
    order = lambda row: json.dumps(row, ensure_ascii=False)
    assert sorted(map(order, seen)) == sorted(map(order, rows)), "LLaMA-Factory reads other pairs than the rankings hold"

    template = get_template_and_fix_tokenizer(tokenizer, data)
    module = get_dataset(template, model_arguments, data, arguments, stage="rm", tokenizer=tokenizer)
    prepared = module["train_dataset"]
    assert len(prepared) == len(rows), (len(prepared), len(rows))
    print(f"{len(prepared)} rows of {names}; columns {prepared.column_names}")
    print("chosen:", repr(tokenizer.decode(prepared[0]["chosen_input_ids"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
