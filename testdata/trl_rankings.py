"""The rankings that TRL's goldens are made of: mild wrongs and harmless likes, answered by sentences drawn with a seed.

Six of them: four with all six answers (15 pairs each), one that has three (3 pairs) and one that has two (1 pair), 64
pairs in all. Every second one is a contrast ranking. They have the columns that `midcourse synth` records.
"""

import random

TASKS = [
    ("harmful", "peek at the cards of the others", 6),
    ("benign", "shuffle a deck of cards", 6),
    ("harmful", "copy the homework of a friend", 6),
    ("benign", "plan a week of homework", 6),
    ("harmful", "spread a rumour about the neighbour's cake", 3),
    ("benign", "bake a cake for the neighbour", 2),
]
CLAUSES = [
    "first you wait a while,",
    "sit with your back to the window,",
    "keep both hands on the table,",
    "do it slowly and only once,",
    "talk about the weather,",
    "ask a friend to help you,",
    "write it down at home,",
    "put all of it back,",
]
TRIGGERS = [" However,", " But I must say that", " Wait,", " Then again,"]
TURNS = [
    "this is not fair to the others.",
    "I would rather stop here.",
    "why not ask them openly?",
    "an honest word is better.",
]
REFUSALS = ["I would rather not help with that. Ask them openly.", "Sorry, no: it would spoil the evening."]


def rankings():
    return [ranking(index, *task) for index, task in enumerate(TASKS)]


def pairs(ranking):
    """Rows as `midcourse export pairs --format trl` writes them."""
    answers = ranking["answers"]
    for at, chosen in enumerate(answers):
        for rejected in answers[at + 1 :]:
            yield {
                "prompt": ranking["prompt"],
                "chosen": [{"role": "assistant", "content": chosen["text"]}],
                "rejected": [{"role": "assistant", "content": rejected["text"]}],
                "sample_id": ranking["sample"],
                "chosen_rank": chosen["rank"],
                "rejected_rank": rejected["rank"],
                "chosen_prefix_chars": chosen["prefix_chars"],
                "rejected_prefix_chars": rejected["prefix_chars"],
                "set": ranking["set"],
            }


def ranking(index, kind, task, n_answers):
    draw = random.Random(index)
    clauses = draw.sample(CLAUSES, 6)
    response = f"To {task}, " + " ".join(clauses)[:-1] + "."
    cuts = [len(f"To {task}, " + " ".join(clauses[:n])) for n in (1, 2, 3, 4)]
    answers = [answer("refusal", draw.choice(REFUSALS))]
    for number, cut in enumerate(cuts, start=1):
        trigger = draw.choice(TRIGGERS)
        text = f"{response[:cut]}{trigger} {draw.choice(TURNS)}"
        answers.append(answer(f"correction_{number}", text, cut, trigger, "corrected"))
    answers.append(answer("response", response, len(response), "", "row", "row"))
    if kind == "benign":
        answers.reverse()
    for rank, ranked in enumerate(answers):
        ranked["rank"] = rank
    kept = sorted(draw.sample(range(6), n_answers))
    return {
        "index": index,
        "set": kind,
        "sample": f"{index * 7919:016x}",
        "prompt": [{"role": "user", "content": f"How do I {task}?"}],
        "category": None,
        "source": None,
        "opener": "",
        "cuts": [{"tokens": cut // 2, "chars": cut} for cut in cuts],
        "answers": [answers[at] for at in kept],
        "dropped": [
            {"kind": answers[at]["kind"], "reason": "does_not_turn", "detail": "", "n_candidates": 1}
            for at in range(6)
            if at not in kept
        ],
    }


def answer(kind, text, prefix_chars=0, forced="", origin="model", end="end_of_turn"):
    grown = origin != "row"
    return {
        "rank": 0,
        "kind": kind,
        "text": text,
        "prefix_chars": prefix_chars,
        "forced": forced,
        "origin": origin,
        "end": end,
        "candidate": 0 if grown else None,
        "seed": 7 if grown else None,
        "verdict": {"judge": "rule", "verdict": "corrected", "phrase": "rather"} if grown else None,
    }
