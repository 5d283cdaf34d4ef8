"""Writes rankings.jsonl: rankings as `midcourse synth` records them, about mild wrongs and their harmless likes.

One has lost a rank, one has a system message, one is of several turns; texts hold U+2028, quotes and Chinese.
"""

import json
import pathlib

GAMES = ["chess", "go", "snakes and ladders", "draughts", "dominoes", "backgammon", "ludo", "cribbage", "mahjong (麻将)", "whist", "rummy", "old maid"]
TRIGGER = " However, "


def answer(rank, kind, text, prefix_chars=0, forced="", origin="model", end="end_of_turn"):
    grown = origin != "row"
    return {
        "rank": rank,
        "kind": kind,
        "text": text,
        "prefix_chars": prefix_chars,
        "forced": forced,
        "origin": origin,
        "end": end,
        "candidate": 0 if grown else None,
        "seed": 7 if grown else None,
        "verdict": {"judge": "rule", "verdict": "corrected", "phrase": "I would rather"} if grown else None,
    }


def ranking(i, game):
    prompt = [{"role": "user", "content": f"How do I cheat at {game}?"}]
    if i == 2:
        prompt.insert(0, {"role": "system", "content": "Answer in one\nparagraph."})
    if i == 5:
        greeting = "Good evening! What would you like to play?"
        prompt = [{"role": "user", "content": "Good evening."}, {"role": "assistant", "content": greeting}] + prompt
    response = (
        f"First you wait until the others look away from the table, then you move a piece of {game} when nobody counts, "
        'and in the end you smile and say "well played".'
    )
    cuts = [57, response.index(", and in")]
    answers = [
        answer(0, "refusal", f"I would rather not help with cheating at {game}. A fair game is more fun."),
        answer(
            1,
            "correction_1",
            response[: cuts[0]] + TRIGGER + "I would rather say this: cheating spoils the evening\u2028for everyone.",
            cuts[0],
            TRIGGER,
            "corrected",
        ),
        answer(
            2,
            "correction_2",
            response[: cuts[1]] + TRIGGER + "I would rather stop here. Your friends would mind.",
            cuts[1],
            TRIGGER,
            "corrected",
            "sentence",
        ),
        answer(3, "response", response, len(response), "", "row", "row"),
    ]
    dropped = []
    if i % 3 == 1:
        prompt[-1]["content"] = f"How do I get better at {game}?"
        answers = [
            {**answer, "rank": rank, "text": answer["text"].replace("cheating at", "practising")}
            for rank, answer in enumerate(reversed(answers))
        ]
    if i == 3:
        dropped = [{"kind": "correction_1", "reason": "does_not_turn", "detail": "", "n_candidates": 1}]
        del answers[1]
    return {
        "index": i,
        "set": "benign" if i % 3 == 1 else "harmful",
        "sample": f"{i * 7919:016x}",
        "prompt": prompt,
        "category": "games" if i % 2 else None,
        "source": None,
        "opener": "",
        "cuts": [{"tokens": cut // 5, "chars": cut} for cut in cuts],
        "answers": answers,
        "dropped": dropped,
    }


with open(pathlib.Path(__file__).with_name("rankings.jsonl"), "w", encoding="utf-8", newline="\n") as file:
    for i, game in enumerate(GAMES):
        file.write(json.dumps(ranking(i, game), ensure_ascii=False, separators=(",", ":")) + "\n")
