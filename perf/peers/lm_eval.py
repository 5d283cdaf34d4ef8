"""lm-evaluation-harness with transformers on a task of `midcourse bench`, timed; and what it found, to compare.

"At its best": float32 on all cores, fused attention, several texts a batch, its own cache of one-token continuations.
Timed is what the model is asked, its tokenising included; loading, reading rows and adding up are not.

    python perf/peers/lm_eval.py --model FILE.gguf --data DIR --task hellaswag [--shots N] [--limit N] [--items FILE]

Prints one JSON object; `cpu_share` near 1 says that no other program took the processor. `--items` writes every item's
log-likelihoods, replies and values.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# This file is called as the package that it imports.
sys.path = [path for path in sys.path if Path(path or ".").resolve() != HERE.resolve()]
sys.path.append(str(HERE))

import torch
from lm_eval.models.huggingface import HFLM

import lm_eval_rows


class Timed(HFLM):
    """Counts the seconds of everything that the model is asked."""

    wall = cpu = 0.0

    def timed(self, ask, requests, **others):
        wall, cpu = time.perf_counter(), time.process_time()
        found = ask(requests, **others)
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return found

    def loglikelihood(self, requests, **others):
        return self.timed(super().loglikelihood, requests, **others)

    def loglikelihood_rolling(self, requests, **others):
        return self.timed(super().loglikelihood_rolling, requests, **others)

    def generate_until(self, requests, **others):
        return self.timed(super().generate_until, requests, **others)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a .gguf file or a directory")
    parser.add_argument("--data", type=Path, required=True, help="directory of rows, as for midcourse bench")
    parser.add_argument("--task", required=True)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--items", type=Path, help="where to write what was found of every item")
    args = parser.parse_args()
    lm_eval_rows.prepare(args.data)
    of_file = {"pretrained": str(args.model.parent), "gguf_file": args.model.name}
    where = of_file if args.model.suffix == ".gguf" else {"pretrained": str(args.model)}
    model = Timed(**where, dtype="float32", device="cpu", batch_size=args.batch_size)
    items, results = lm_eval_rows.evaluate(model, args.data, args.task, args.shots, args.limit)
    if args.items:
        figures = dict(results["results"])
        if args.task in ["mmlu", "ceval"]:
            figures[args.task] = lm_eval_rows.group(results["results"])
        found = {"items": items, "figures": figures}
        args.items.write_text(json.dumps(found, ensure_ascii=False, default=str), encoding="utf-8")
    n_threads = torch.get_num_threads()
    share = model.cpu / (model.wall * n_threads)
    print(json.dumps({"secs": model.wall, "n_items": len(items), "cpu_share": share, "n_threads": n_threads}))
    sys.stdout.flush()
    # Threads of libraries would keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
