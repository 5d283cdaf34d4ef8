"""What every check compares with: the pairs of a rankings.jsonl, computed here and not by midcourse."""

import json


def pairs(path):
    """Every pair of every ranking: prompt, chosen and rejected answer, ranking."""
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            ranking = json.loads(line)
            answers = sorted(ranking["answers"], key=lambda answer: answer["rank"])
            for i, chosen in enumerate(answers):
                for rejected in answers[i + 1 :]:
                    yield ranking["prompt"], chosen, rejected, ranking


def versions(*packages):
    from importlib.metadata import version

    print(", ".join(f"{package} {version(package)}" for package in packages))
