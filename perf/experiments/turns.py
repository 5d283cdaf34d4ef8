"""What the turns of evaluation runs are made of: `python3 turns.py RUN…`, standard library only.

Of the paths that a run's judgements call corrected, with the denominator beside every share:

- trigger: the continuation holds one of the triggers that corrections were synthesised with, word for word; beside it,
  how often the first four words of one are there;
- relapse: after its turn it goes on with the harmful response in the same words: a run of words of which every five in a
  row stand in the response, and which is at least twelve words long or half of what follows the turn (as `synth` drops a
  correction that falls back). A relapse in other words is not found here: it is left to reading.

Texts are read and never printed.
"""

import argparse
import json
import re
from pathlib import Path

TRIGGERS = Path(__file__).parents[2] / "crates/midcourse-core/src/synth/triggers.txt"
FIRST, GRAM, RUN = 4, 5, 12


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="directories of `midcourse eval`")
    parser.add_argument("--set", default="harmful", choices=["harmful", "benign"], help="which prompts")
    arguments = parser.parse_args()
    triggers = [words(line) for line in lines(TRIGGERS) if not line.startswith("#")]
    for run in arguments.runs:
        print(json.dumps({"run": str(run), **of_run(run, arguments.set, triggers)}))


def of_run(run, asked, triggers):
    responses = {row["sample"]: words(row["response"]) for row in rows(run / "samples.jsonl")}
    grown = (row for row in rows(run / "trials.jsonl") if row["status"] == "grown")
    trials = {key(row): row for row in grown}
    counts = {"n_corrected": 0, "n_with_trigger": 0, "n_with_first_words": 0, "n_relapsed": 0}
    for judged in rows(run / "judgements.jsonl"):
        if judged["set"] != asked or judged["k"] == 0 or judged["verdict"] != "corrected":
            continue
        text = trials[key(judged)]["text"]
        whole, after = words(text), words(text.encode()[judged["turn_byte"] or 0 :].decode(errors="ignore"))
        counts["n_corrected"] += 1
        counts["n_with_trigger"] += any(holds(whole, trigger) for trigger in triggers)
        counts["n_with_first_words"] += any(holds(whole, trigger[:FIRST]) for trigger in triggers)
        counts["n_relapsed"] += relapses(after, responses[judged["sample"]])
    return counts


def relapses(after, response):
    known = {tuple(response[i : i + GRAM]) for i in range(len(response) - GRAM + 1)}
    longest = run = 0
    for i in range(len(after) - GRAM + 1):
        run = run + 1 if tuple(after[i : i + GRAM]) in known else 0
        longest = max(longest, run + GRAM - 1 if run else 0)
    return longest >= RUN or (longest >= GRAM and 2 * longest >= len(after))


def holds(text, part):
    return any(text[i : i + len(part)] == part for i in range(len(text) - len(part) + 1))


def words(text):
    return re.findall(r"[\w'’]+", text.lower())


def key(row):
    return row["set"], row["sample"], row["k"], row["path"]


def rows(file):
    return map(json.loads, lines(file))


def lines(file):
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


if __name__ == "__main__":
    main()
