"""What lm-evaluation-harness makes of the rows of testdata/bench with the tiny models, for midcourse to be held against.

    python testdata/lm_eval_goldens.py [--out DIR]

Needs the packages of perf/peers/lm_eval.txt; nothing is fetched. The tasks are those of the installed version, unchanged.
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Behind the packages: a script there is called as one of them.
sys.path.append(str(HERE.parent / "perf" / "peers"))

import lm_eval
import lm_eval_rows

# Every task without shots, and some with: contexts of shots are longer than the tiny context, so that they are cut.
SHOTS = {
    "mmlu": 1, "hellaswag": 0, "arc_easy": 0, "arc_challenge": 0, "piqa": 0, "winogrande": 1, "boolq": 0,
    "openbookqa": 0, "truthfulqa_mc1": 0, "truthfulqa_mc2": 0, "gsm8k": 2, "nq_open": 1, "ceval": 1, "lambada": 0,
    "perplexity": 0,
}  # fmt: skip
MORE = {"mmlu": 5, "hellaswag": 2}
MODELS = ["tiny-llama", "tiny-llama-bos"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "golden" / "lm_eval")
    args = parser.parse_args()
    data = HERE / "bench"
    lm_eval_rows.prepare(data)
    from lm_eval.models.huggingface import HFLM

    args.out.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        model = HFLM(pretrained=str(HERE / name), dtype="float32", device="cpu", batch_size=1)
        runs = [golden(model, data, task, n_shots) for shots in [SHOTS, MORE] for task, n_shots in shots.items()]
        made_with = f"lm-eval {lm_eval.__version__}"
        text = json.dumps({"made_with": made_with, "runs": runs}, ensure_ascii=False, indent=1)
        (args.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def golden(model, data, task, n_shots):
    items, results = lm_eval_rows.evaluate(model, data, task, n_shots)
    figures = dict(results["results"])
    if task in ["mmlu", "ceval"]:
        figures[task] = lm_eval_rows.group(results["results"])
    plain = lambda value: None if value == "N/A" else value
    figures = {
        name: {key: plain(value) for key, value in of.items() if "," in key and "perplexity_stderr" not in key}
        for name, of in figures.items()
    }
    return {"task": task, "shots": n_shots, "items": items, "figures": figures}


if __name__ == "__main__":
    main()
