"""Holds two runs of `midcourse eval` with the same samples against each other.

usage: compare.py RUN_A RUN_B

Prints the difference of Corr_mean (B minus A, in points) with its paired 95 % interval over prompts, a percentile
bootstrap, and how many trials have the same tokens. Exits with 1 when the interval does not hold 0.
"""

import json
import pathlib
import random
import sys

RESAMPLES = 10_000


def rows(run, name):
    with open(pathlib.Path(run) / name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def rates(run):
    """{sample: {k: (corrected, judged)}} of the harmful samples with k > 0."""
    table = {}
    for row in rows(run, "judgements.jsonl"):
        if row["set"] == "harmful" and row["k"] > 0 and row["verdict"] != "unparsed":
            cell = table.setdefault(row["sample"], {}).setdefault(row["k"], [0, 0])
            cell[0] += row["verdict"] == "corrected"
            cell[1] += 1
    return table


def mean(table, chosen):
    totals = {}
    for sample in chosen:
        for k, (corrected, judged) in table[sample].items():
            total = totals.setdefault(k, [0, 0])
            total[0] += corrected
            total[1] += judged
    return sum(corrected / judged for corrected, judged in totals.values()) / len(totals)


def paths(run):
    return {
        (row["set"], row["sample"], row["k"], row["path"]): (row["token_ids"], row["finish"])
        for row in rows(run, "trials.jsonl")
        if row["status"] == "grown"
    }


def main():
    a, b = (rates(run) for run in sys.argv[1:])
    if a.keys() != b.keys():
        sys.exit("the runs have other samples")
    samples = sorted(a)
    difference = mean(b, samples) - mean(a, samples)
    draws = random.Random(0)
    resamples = (draws.choices(samples, k=len(samples)) for _ in range(RESAMPLES))
    differences = sorted(mean(b, chosen) - mean(a, chosen) for chosen in resamples)
    low, high = differences[round(0.025 * RESAMPLES)], differences[round(0.975 * RESAMPLES) - 1]
    same_a, same_b = (paths(run) for run in sys.argv[1:])
    same = sum(same_a[key] == same_b.get(key) for key in same_a)
    print(
        f"Corr_mean {100 * mean(a, samples):.2f} % and {100 * mean(b, samples):.2f} %: "
        f"difference {100 * difference:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}] over {len(samples)} prompts; "
        f"{same} of {len(same_a)} trials have the same tokens"
    )
    sys.exit(0 if low <= 0 <= high else 1)


main()
