"""Trains a LoRA adapter with TRL on the rows that `midcourse train --engine trl` wrote beside this script.

    accelerate launch --config_file accelerate.yaml train.py [--resume]

A row of data/*.jsonl is a decision: a chosen answer against a rejected one (against none for the objective `recovery`), in
text to read and in tokens to train on. Of each answer the tokens in its span are scored, counted from the end of the
prompt; nothing after the span is computed. Pairs of a prompt's answers that come to the same decision are one row, and
`weight` says how many they are. settings.json says which prompts make which step, so that a step here holds what a step of
midcourse's own engine holds.

The loss of a step, with p and r the log-probabilities of a span under the model with and without its adapter:

    sum over rows of [weight · preference + anchor · held] / sum over rows of weight
    preference = -ln sigmoid(beta · ((p_chosen - r_chosen) - (p_rejected - r_rejected)))        fork, dpo-full
               = (((p - r) / n)_chosen - ((p - r) / n)_rejected - 1 / (2 · beta))²              ipo, n tokens in the span
               = -p_chosen / n                                                                  recovery
    held       = sum over the row's anchors [from, to, w] of w · mean of -p over the tokens from..to of the chosen answer

It does not matter how many processes there are: what a process lacks to a whole batch is filled up with rows of no weight.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import PartialState
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer

HERE = Path(__file__).resolve().parent
ON_GPU = torch.cuda.is_available()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resume", metavar="DIR", help="go on from this checkpoint, say checkpoints/checkpoint-40")
    resume = parser.parse_args().resume
    settings = json.loads((HERE / "settings.json").read_text())
    trainer = build(settings, HERE)
    # What is held out was scored at the checkpoint already.
    trainer.args.eval_on_start &= resume is None
    trainer.train(resume_from_checkpoint=resume)
    # Every process takes part: with FSDP each of them has a share of the weights.
    trainer.save_model(HERE / "adapter")


def build(settings, directory):
    """The trainer, with everything that it trains on."""
    # Without a GPU accelerate finds the other processes only when it is told to look for them on the CPU.
    n_parallel = PartialState(cpu=not ON_GPU).num_processes * settings["rows_per_device"]
    train = in_steps(rows_of(directory / "data" / "train.jsonl"), settings["steps"], n_parallel)
    n_accumulated = train.rows_per_step // n_parallel
    held_out = rows_of(directory / "data" / "eval.jsonl")
    trees = [list(dict.fromkeys(held_out["tree"]))] if held_out else []
    held_out = in_steps(held_out, trees, n_parallel) if held_out else None
    dtype = torch.bfloat16 if in_bfloat16(settings) else torch.float32
    source = {"revision": settings["revision"]} if settings["revision"] else {}
    trainer = TreeTrainer(
        model=AutoModelForCausalLM.from_pretrained(settings["model"], dtype=dtype, **source),
        args=arguments(settings, directory, n_accumulated, held_out is not None),
        train_dataset=train.rows,
        eval_dataset=held_out and held_out.rows,
        processing_class=AutoTokenizer.from_pretrained(settings["model"], **source),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=settings["lora"]["rank"],
            lora_alpha=settings["lora"]["alpha"],
            lora_dropout=0.0,
            target_modules=settings["lora"]["target_modules"],
        ),
        callbacks=[WriteLog(directory / "log.jsonl")],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.data_collator = Collator(trainer.processing_class.pad_token_id, settings["objective"])
    trainer.objective, trainer.anchor = settings["objective"], settings["anchor"]
    n_held_out = len(held_out.rows) // settings["rows_per_device"] if held_out else 0
    trainer.n_batches = {"train": n_parallel * n_accumulated // settings["rows_per_device"], "eval": n_held_out}
    return trainer


def arguments(settings, directory, n_accumulated, has_held_out):
    """midcourse's settings in the words of transformers."""
    held_out = {
        "eval_strategy": "steps",
        "eval_steps": settings["save_every"],
        "eval_on_start": True,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }
    return DPOConfig(
        output_dir=str(directory / "checkpoints"),
        beta=settings["beta"],
        max_length=None,
        # What numpy takes.
        seed=settings["seed"] % 2**32,
        bf16=in_bfloat16(settings),
        use_cpu=not ON_GPU,
        gradient_checkpointing=ON_GPU if settings["gradient_checkpointing"] == "auto" else settings["gradient_checkpointing"],
        per_device_train_batch_size=settings["rows_per_device"],
        per_device_eval_batch_size=settings["rows_per_device"],
        gradient_accumulation_steps=n_accumulated,
        max_steps=len(settings["steps"]),
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        optim="adamw_torch",
        learning_rate=settings["learning_rate"],
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(settings["schedule"], settings["schedule"]),
        warmup_steps=settings["n_warmup_steps"],
        adam_beta1=settings["adam"]["beta1"],
        adam_beta2=settings["adam"]["beta2"],
        adam_epsilon=settings["adam"]["eps"],
        weight_decay=settings["weight_decay"],
        max_grad_norm=settings["clip"],
        logging_steps=1,
        save_strategy="steps",
        save_steps=settings["save_every"],
        save_total_limit=settings["keep_checkpoints"],
        report_to=[],
        disable_tqdm=True,
        **(held_out if has_held_out else {}),
    )


def in_bfloat16(settings):
    return settings["dtype"] == "bfloat16" or (settings["dtype"] == "auto" and ON_GPU)


class Steps:
    """Rows in the order of training, the same number in every step."""

    def __init__(self, rows, rows_per_step):
        self.rows = rows
        self.rows_per_step = rows_per_step


def rows_of(path):
    return load_dataset("json", data_files=str(path), split="train") if path.exists() else None


def in_steps(rows, steps, n_parallel):
    """Lays out the rows of the trees of every step, filled up to a number that n_parallel divides."""
    places = {}
    for place, tree in enumerate(rows["tree"]):
        places.setdefault(tree, []).append(place)
    chosen = [[place for tree in step for place in places.get(tree, [])] for step in steps]
    rows_per_step = math.ceil(max(map(len, chosen)) / n_parallel) * n_parallel
    weights = rows["weight"]
    # The shortest row is the cheapest to fill up with.
    lengths = [len(ids) for ids in rows["chosen_ids"]]
    filler = lengths.index(min(lengths))
    laid_out, share = [], []
    for step in chosen:
        n_fillers = rows_per_step - len(step)
        laid_out += step + [filler] * n_fillers
        total = sum(weights[place] for place in step)
        # A filler has no share in its step.
        share += [1 / total if total else 0.0] * len(step) + [0.0] * n_fillers
    return Steps(rows.select(laid_out).add_column("share", share), rows_per_step)


class Collator:
    """Rows as padded tensors: all chosen answers, then all rejected ones, each up to the end of its span."""

    def __init__(self, pad_token_id, objective):
        self.pad_token_id = pad_token_id
        self.sides = ("chosen",) if objective == "recovery" else ("chosen", "rejected")

    def __call__(self, rows):
        answers = [(row, side) for side in self.sides for row in rows]
        lengths = [len(row["prompt_ids"]) + row[f"{side}_span"][1] for row, side in answers]
        shape = (len(answers), max(lengths))
        batch = {key: torch.zeros(shape, dtype=torch.long) for key in ("attention_mask", "completion_mask")}
        batch["input_ids"] = torch.full(shape, self.pad_token_id)
        batch["anchors"] = torch.zeros((len(rows), max(lengths)))
        for at, ((row, side), length) in enumerate(zip(answers, lengths)):
            n_prompt = len(row["prompt_ids"])
            batch["input_ids"][at, :length] = torch.tensor(row["prompt_ids"] + row[f"{side}_ids"][: length - n_prompt])
            batch["attention_mask"][at, :length] = 1
            batch["completion_mask"][at, n_prompt + row[f"{side}_span"][0] : length] = 1
        for at, row in enumerate(rows):
            n_prompt = len(row["prompt_ids"])
            for start, end, weight in row["anchors"]:
                start, end = n_prompt + int(start), n_prompt + int(end)
                batch["anchors"][at, start:end] += row["share"] * weight / (end - start)
        # In float64, so that what everything agrees on is logged as 1.
        batch["weight"] = torch.tensor([row["share"] * row["weight"] for row in rows], dtype=torch.float64)
        return batch


class TreeTrainer(DPOTrainer):
    """DPOTrainer with rows that have tokens, spans and weights; model, reference and training loop are TRL's."""

    def _prepare_dataset(self, dataset, *_):
        return dataset

    def _compute_loss(self, model, inputs, return_outputs):
        # Weights and anchors are shares of the whole step already.
        weight, anchors = inputs["weight"], inputs["anchors"][:, 1:]
        spans = {key: inputs[key] for key in ("input_ids", "attention_mask", "completion_mask")}
        labels = spans["input_ids"].masked_fill(spans["completion_mask"] == 0, -100)
        scored = model(
            input_ids=spans["input_ids"],
            attention_mask=spans["attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        logps = scored.log_probs.float()
        sums = logps.sum(dim=1).chunk(1 if self.objective == "recovery" else 2)
        counts = spans["completion_mask"].sum(dim=1).chunk(len(sums))
        if self.objective == "recovery":
            preference = -sums[0] / counts[0].clamp(min=1)
        else:
            reference = self.compute_ref_log_probs(self.model, spans)
            ratios = [policy - frozen for policy, frozen in zip(sums, reference)]
            preference = self.preference(ratios, counts)
            self.note_rewards(sums, ratios, weight)
        held = -(logps[: len(weight)] * anchors).sum(dim=1)
        self.note({"anchor": held, "logps/chosen": weight * sums[0]})
        if self.mode == "train":
            self._total_train_tokens += self.accelerator.gather(spans["attention_mask"].sum()).sum().item()
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        # The trainer takes the mean over a step's batches, in all processes.
        loss = (weight * preference + self.anchor * held).sum() * self.n_batches[self.mode]
        return (loss, scored) if return_outputs else loss

    def preference(self, ratios, counts):
        """What the preference of every row costs."""
        if self.objective == "ipo":
            chosen, rejected = (ratio / count for ratio, count in zip(ratios, counts))
            return (chosen - rejected - 1 / (2 * self.beta)) ** 2
        return -F.logsigmoid(self.beta * (ratios[0] - ratios[1]))

    def note_rewards(self, sums, ratios, weight):
        """What TRL logs of a batch, each row by its weight."""
        chosen, rejected = (self.beta * ratio for ratio in ratios)
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "logps/rejected": sums[1],
        }
        self.note({key: weight * value for key, value in values.items()})

    def note(self, shares):
        """Notes what a batch adds to the means of its step; the log takes the mean over the batches of a process."""
        n_in_turn = self.n_batches[self.mode] / self.accelerator.num_processes
        for key, share in shares.items():
            total = self.accelerator.gather(share.detach().double().sum()).sum().item()
            self._metrics[self.mode][key].append(total * n_in_turn)

    @property
    def mode(self):
        return "train" if self.model.training else "eval"


class WriteLog(TrainerCallback):
    """What is logged, a line of JSON a step, for midcourse to read on."""

    def __init__(self, path):
        self.path = path

    def on_log(self, args, state, control, logs=None, **_):
        loss = (logs or {}).get("loss", (logs or {}).get("eval_loss"))
        if loss is not None and not math.isfinite(loss):
            raise RuntimeError(f"the loss of step {state.global_step} is {loss}; lower the learning rate")
        if state.is_world_process_zero and loss is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


if __name__ == "__main__":
    main()
