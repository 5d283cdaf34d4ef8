"""Runs lm-evaluation-harness on rows of files, without a network.

The tasks are those of the installed version, unchanged; only where their rows come from is replaced: a data set that a
task asks the hub for is made of the files that `midcourse bench --data DIR` reads. Shots are the first rows, not drawn:
`midcourse bench` takes the first, so that all questions share them.
"""

import functools
import json
from pathlib import Path

import datasets

# midcourse's name: the tasks there, by the data set that they ask for; of tasks with subjects by the subject.
HUB = {
    "Rowan/hellaswag": "hellaswag",
    "allenai/ai2_arc ARC-Easy": "arc_easy",
    "allenai/ai2_arc ARC-Challenge": "arc_challenge",
    "baber/piqa": "piqa",
    "allenai/winogrande winogrande_xl": "winogrande",
    "aps/super_glue boolq": "boolq",
    "allenai/openbookqa main": "openbookqa",
    "truthfulqa/truthful_qa multiple_choice": "truthfulqa",
    "openai/gsm8k main": "gsm8k",
    "google-research-datasets/nq_open": "nq_open",
    "EleutherAI/lambada_openai default": "lambada",
    "rows/perplexity": "perplexity",
}
NAMES = {"lambada": "lambada_openai"}
# The Chinese names of the subjects of C-Eval, as far as the fixtures have them.
CEVAL = {"法学": "law", "逻辑学": "logic"}
SPLITS = ["train", "dev", "validation", "val", "test"]
PERPLEXITY = {
    "task": "perplexity",
    "dataset_path": "rows/perplexity",
    "output_type": "loglikelihood_rolling",
    "test_split": "test",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": metric} for metric in ["word_perplexity", "byte_perplexity", "bits_per_byte"]],
}


def rows(data, stem, split):
    path = Path(data) / f"{stem}.{split}.jsonl"
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.is_file() else None


def load_from(data):
    """What takes the place of datasets.load_dataset."""

    def load(path, name=None, **_):
        key = f"{path} {name}" if name else path
        stem, subject = HUB.get(key) or HUB.get(path), None
        if path in ["cais/mmlu", "hails/mmlu_no_train"]:
            stem, subject = "mmlu", name
        if path == "ceval/ceval-exam":
            stem, subject = "ceval", next(zh for zh, en in CEVAL.items() if en == name)
        splits = {}
        for split in SPLITS:
            there = rows(data, stem, split)
            if there and subject:
                there = [row for row in there if row["subject"] == subject]
            if there:
                splits[split] = datasets.Dataset.from_list(there)
        # Tasks name splits that they do not use here.
        any_split = next(iter(splits.values()))
        return datasets.DatasetDict({**{split: any_split for split in SPLITS}, **splits})

    return load


def prepare(data):
    """Lets the tasks find their rows in `data` and take the first rows as shots."""
    from lm_eval.api import samplers

    datasets.load_dataset = load_from(data)
    samplers.get_sampler = lambda _: samplers.FirstNSampler


def subjects(data, stem, split):
    return list(dict.fromkeys(row["subject"] for row in rows(data, stem, split)))


def asked(data, task):
    """The tasks to give to lm-evaluation-harness for a task of midcourse."""
    if task == "mmlu":
        return [f"mmlu_{subject}" for subject in subjects(data, "mmlu", "test")]
    if task == "ceval":
        return [f"ceval-valid_{CEVAL[subject]}" for subject in subjects(data, "ceval", "val")]
    return [PERPLEXITY] if task == "perplexity" else [NAMES.get(task, task)]


def group(results):
    """What lm-evaluation-harness makes of several tasks as one group whose size counts."""
    from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr

    tasks = list(results.values())
    sizes = [task["sample_len"] for task in tasks]
    figures = {}
    for key in [key for key in tasks[0] if "," in key and "_stderr," not in key]:
        metric, filtered = key.split(",")
        stderr = f"{metric}_stderr,{filtered}"
        figures[key] = aggregate_subtask_metrics([task[key] for task in tasks], sizes, True)
        figures[stderr] = float(pooled_sample_stderr([task[stderr] for task in tasks], sizes))
    return figures


@functools.cache
def manager():
    """Reads the index of all tasks once."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def evaluate(model, data, task, n_shots, limit=None):
    """Runs one task of midcourse; returns its items in the order of the rows, and its figures."""
    from lm_eval import simple_evaluate

    # Rolling windows and chosen shots read nothing else. The bootstrap of perplexities is not compared.
    results = simple_evaluate(
        model=model,
        tasks=asked(data, task),
        task_manager=manager(),
        num_fewshot=n_shots,
        limit=limit,
        log_samples=True,
        bootstrap_iters=100,
    )
    items = [item(sample) for samples in results["samples"].values() for sample in per_document(samples)]
    return items, results


def per_document(samples):
    """The samples of a task document by document, those of all filters together."""
    by_document = {}
    for sample in samples:
        by_document.setdefault(sample["doc_id"], []).append(sample)
    return [by_document[key] for key in sorted(by_document)]


def item(samples):
    """What was found of a document, filter by filter."""
    first = samples[0]
    out = {"resps": [one[0] if isinstance(one, list) else one for one in first["resps"]], "values": {}}
    for sample in samples:
        for metric in sample["metrics"]:
            name = f"{metric},{sample['filter']}"
            out["values"][name] = sample[metric]
        if sample["filter"] != "none":
            out.setdefault("filtered", {})[sample["filter"]] = sample["filtered_resps"][0]
    return out
