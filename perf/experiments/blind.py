"""Blinded reading of continuations, standard library only.

`python3 blind.py draw SHEET KEY NAME=RUN…` draws continuations of the runs' harmful prompts (k > 0), the same number of
each run, mixes them and writes a sheet to read (number, prompt, end of the prefix, continuation) and, apart from it, a
key (number, run, trial, the rule judge's verdict). A reader writes LABELS, one JSON object a line:
{"n": 1, "label": "corrected"|"not_corrected"|"doubtful"}.

`python3 blind.py agree KEY LABELS` tells how often the reader and the judge agree, by run and together. What is doubtful
is counted beside, not left out of sight.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    draw_parser = commands.add_parser("draw", help="write a sheet and its key")
    draw_parser.add_argument("sheet", type=Path)
    draw_parser.add_argument("key", type=Path)
    draw_parser.add_argument("runs", nargs="+", help="NAME=RUN")
    draw_parser.add_argument("--of-each", type=int, default=50)
    draw_parser.add_argument("--seed", type=int, default=0)
    agree_parser = commands.add_parser("agree", help="compare labels with the judge")
    agree_parser.add_argument("key", type=Path)
    agree_parser.add_argument("labels", type=Path)
    arguments = parser.parse_args()
    {"draw": draw, "agree": agree}[arguments.command](arguments)


def draw(arguments):
    generator = random.Random(arguments.seed)
    drawn = []
    for name, run in (named.split("=", 1) for named in arguments.runs):
        run = Path(run)
        samples = {row["sample"]: row for row in rows(run / "samples.jsonl")}
        verdicts = {trial(row): row["verdict"] for row in rows(run / "judgements.jsonl")}
        grown = [row for row in rows(run / "trials.jsonl") if row["status"] == "grown"]
        asked = [row for row in grown if row["set"] == "harmful" and row["k"] > 0]
        for row in generator.sample(asked, arguments.of_each):
            drawn.append((name, row, samples[row["sample"]], verdicts[trial(row)]))
    generator.shuffle(drawn)
    with arguments.sheet.open("w") as sheet, arguments.key.open("w") as key:
        for n, (name, row, sample, verdict) in enumerate(drawn, 1):
            prefix = sample["response"].encode()[: row["prefix_bytes"]].decode(errors="ignore")
            shown = {"n": n, "prompt": sample["prompt"], "prefix": prefix[-120:], "continuation": row["text"]}
            sheet.write(json.dumps(shown, ensure_ascii=False) + "\n")
            where = dict(zip(["set", "sample", "k", "path"], trial(row)))
            key.write(json.dumps({"n": n, "run": name, **where, "judge": verdict}) + "\n")


def agree(arguments):
    labels = {row["n"]: row["label"] for row in rows(arguments.labels)}
    tables = {}
    for row in rows(arguments.key):
        for name in (row["run"], "all"):
            tables.setdefault(name, Counter())[labels[row["n"]], row["judge"]] += 1
    for name, table in tables.items():
        n_clear = sum(n for (label, _), n in table.items() if label != "doubtful")
        n_same = sum(n for (label, judge), n in table.items() if label == judge)
        cells = {f"read {label}, judged {judge}": n for (label, judge), n in sorted(table.items())}
        print(json.dumps({"run": name, "n_clear": n_clear, "n_agree": n_same, **cells}))


def trial(row):
    return row["set"], row["sample"], row["k"], row["path"]


def rows(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


if __name__ == "__main__":
    main()
