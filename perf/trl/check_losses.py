"""Holds the losses of the hand-over to TRL against goldens and plain formulas.

    python perf/trl/check_losses.py
    accelerate launch --config_file OUT/trl/accelerate.yaml perf/trl/check_losses.py

The rankings, pairs and the adapter of testdata/golden/trl are laid out as `midcourse train --engine trl` lays them out, a
ranking a step, and trained on by its script with a learning rate of zero. What is logged of a step must be what the goldens
say: TRL's own losses for dpo-full and ipo, the formulas in float64 for fork and its anchor, with log-probabilities of
transformers for recovery. Versions are in crates/midcourse/src/train/trl/requirements.txt.
"""

import json
import sys
import tempfile
from pathlib import Path

import datasets
import peft
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "crates/midcourse/src/train/trl"), str(ROOT / "testdata")]
import train  # noqa: E402
import trl_rankings  # noqa: E402

GOLDEN = ROOT / "testdata/golden/trl"
MODEL = ROOT / "testdata/tiny-llama"
ANCHOR = 0.5
# Sums of log-probabilities in float32 differ by 1e-4, and beta is 0.1.
TOLERANCE = 5e-5


def main():
    PartialState(cpu=True)
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    forks = json.loads((GOLDEN / "forks.json").read_text())
    pairs = json.loads((GOLDEN / "pairs.json").read_text())["pairs"]
    trees = [Tree(at, ranking, forks["rankings"][at]) for at, ranking in enumerate(trl_rankings.rankings())]
    first = 0
    for tree in trees:
        tree.pairs = pairs[first : first + tree.fork["n_pairs"]]
        first += tree.fork["n_pairs"]
    worst = 0.0
    for objective in ("dpo-full", "ipo", "fork", "recovery"):
        logged = losses(objective, [row for tree in trees for row in tree.rows(objective, forks["anchor_tokens"])])
        expected = [tree.expected(objective) for tree in trees]
        differences = [abs(found - wanted) / max(1, abs(wanted)) for found, wanted in zip(logged, expected, strict=True)]
        worst = max(worst, *differences)
        if PartialState().is_main_process:
            print(f"{objective:9} {PartialState().num_processes} processes, largest difference {max(differences):.1e}")
    assert worst < TOLERANCE, worst


class Tree:
    """A golden ranking, in tokens."""

    def __init__(self, at, ranking, fork):
        self.at, self.ranking, self.fork = at, ranking, fork
        tokenizer = AutoTokenizer.from_pretrained(MODEL)

        def ids(messages, **more):
            text = tokenizer.apply_chat_template(messages, tokenize=False, **more)
            return tokenizer(text, add_special_tokens=False).input_ids

        self.prompt = ids(ranking["prompt"], add_generation_prompt=True)
        said = [ranking["prompt"] + [{"role": "assistant", "content": a["text"]}] for a in ranking["answers"]]
        self.answers = [ids(messages)[len(self.prompt) :] for messages in said]

    def rows(self, objective, anchor_tokens):
        if objective == "fork":
            return self.decisions(anchor_tokens)
        if objective == "recovery":
            return [self.row((0, [0, len(self.answers[0])], 1), (0, [0, 0]))]
        n_answers = len(self.answers)
        whole = [(at, [0, len(ids)]) for at, ids in enumerate(self.answers)]
        both = [(one, other) for one in range(n_answers) for other in range(one + 1, n_answers)]
        return [self.row((*whole[one], 1), whole[other]) for one, other in both]

    def decisions(self, anchor_tokens):
        rows = []
        for decision in self.fork["decisions"]:
            chosen, rejected = decision["first"]
            start, end = decision["chosen_span"]
            weight = self.fork["n_pairs"] / self.fork["n_chosen_branches"]
            side = (chosen, decision["chosen_span"], decision["weight"])
            row = self.row(side, (rejected, decision["rejected_span"]))
            rows.append(row | {"anchors": [[start, min(end, start + anchor_tokens), weight]]})
        return rows

    def row(self, chosen, rejected):
        return {
            "tree": self.at,
            "prompt_ids": self.prompt,
            "chosen_ids": self.answers[chosen[0]],
            "rejected_ids": self.answers[rejected[0]],
            "chosen_span": chosen[1],
            "rejected_span": rejected[1],
            "weight": float(chosen[2]),
            "anchors": [],
        }

    def expected(self, objective):
        if objective == "fork":
            return self.fork["loss"] + ANCHOR * self.fork["anchor"]
        if objective == "recovery":
            return best_answer(self)
        values = [pair[f"loss/{objective}"] for pair in self.pairs]
        return sum(values) / len(values)


def best_answer(tree):
    """Mean negative log-likelihood of the best answer, by transformers and peft alone."""
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64)
    model = peft.PeftModel.from_pretrained(base, GOLDEN / "adapter", autocast_adapter_dtype=False).eval()
    ids = torch.tensor([tree.prompt + tree.answers[0]])
    with torch.inference_mode():
        logits = model(ids).logits[0, len(tree.prompt) - 1 : -1]
    return -logits.log_softmax(-1).gather(1, ids[0, len(tree.prompt) :, None]).mean().item()


def losses(objective, rows):
    """What the script logs of every step."""
    n_trees = rows[-1]["tree"] + 1
    directory = [tempfile.mkdtemp() if PartialState().is_main_process else None]
    directory = Path(broadcast_object_list(directory)[0])
    if PartialState().is_main_process:
        (directory / "data").mkdir()
        (directory / "data/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    PartialState().wait_for_everyone()
    trainer = train.build(
        {
            "model": str(MODEL),
            "revision": None,
            "objective": objective,
            "beta": 0.1,
            "anchor": ANCHOR if objective == "fork" else 0.0,
            "learning_rate": 0.0,
            "schedule": "constant",
            "n_warmup_steps": 0,
            "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
            "weight_decay": 0.0,
            "clip": 1.0,
            "seed": 0,
            "save_every": 1000,
            "rows_per_device": 4,
            "dtype": "float32",
            "gradient_checkpointing": False,
            "lora": {"rank": 4, "alpha": 8, "target_modules": sorted(load_modules())},
            "steps": [[tree] for tree in range(n_trees)],
        },
        directory,
    )
    result = peft.set_peft_model_state_dict(trainer.model, load_file(GOLDEN / "adapter/adapter_model.safetensors"))
    assert not result.unexpected_keys, result
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def load_modules():
    return json.loads((GOLDEN / "adapter/adapter_config.json").read_text())["target_modules"]


if __name__ == "__main__":
    main()
