"""One step of TRL's DPOTrainer on the fifteen pairs of one ranking, timed.

"At its best": all cores, float32, fused attention, LoRA by PEFT with the settings of `midcourse train`, five pairs a
batch (more are padded more), the reference by switching the adapter off, no evaluation, nothing written, and no time
counted for loading, for preparing the rows, or for a first step on another ranking. The step holds the reference's pass,
the policy's forward and backward pass and the optimiser, as TRL does them.

Prints one JSON object; `cpu_share` near 1 says that no other program took the processor.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

BATCH = 5
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Clock(TrainerCallback):
    """Seconds of every step, by the wall and of the processor."""

    def __init__(self):
        self.steps = []

    def on_step_begin(self, *_args, **_kwargs):
        self.began = time.perf_counter(), time.process_time()

    def on_step_end(self, *_args, **_kwargs):
        wall, cpu = self.began
        self.steps.append((time.perf_counter() - wall, time.process_time() - cpu))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", type=Path, required=True, help="a GGUF file")
    arguments.add_argument("--data", type=Path, required=True, help="rankings, JSONL")
    arguments.add_argument("--ranking", type=int, required=True, help="the line of the ranking, from 0")
    arguments.add_argument("--checkpointing", choices=["off", "on"], required=True)
    arguments = arguments.parse_args()
    where = {"pretrained_model_name_or_path": arguments.model.parent, "gguf_file": arguments.model.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, attn_implementation="sdpa")
    # Its weights are float32 now, which a trainer would not know of a model that comes from blocks.
    model.is_quantized = False
    tokenizer = AutoTokenizer.from_pretrained(**where)
    rows = pairs(arguments.data, arguments.ranking)
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        trainer = DPOTrainer(
            model=model,
            args=settings(out, arguments.checkpointing == "on", len(rows) // BATCH),
            # The first step warms up, with as many rows of the same length.
            train_dataset=Dataset.from_list(rows + rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, task_type="CAUSAL_LM"),
            callbacks=[clock],
        )
        trainer.train()
    wall, cpu = clock.steps[1]
    n_tokens = sum(len(row["prompt_ids"]) * 2 + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in prepared(trainer))
    print(json.dumps({"secs_per_ranking": wall, "n_pairs": len(rows), "n_tokens_pairs": n_tokens, "cpu_share": cpu / (wall * torch.get_num_threads())}))


def settings(out: str, checkpointing: bool, n_batches: int) -> DPOConfig:
    return DPOConfig(
        output_dir=out,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=n_batches,
        activation_checkpointing=checkpointing,
        max_steps=2,
        max_length=None,
        learning_rate=1e-4,
        beta=0.1,
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )


def prepared(trainer: DPOTrainer):
    """The rows of one step, as the trainer tokenised them."""
    rows = trainer.train_dataset
    return [rows[at] for at in range(len(rows) // 2)]


def pairs(path: Path, at: int) -> list[dict]:
    """Every better answer over every worse one, as `midcourse export` writes them."""
    with path.open(encoding="utf-8") as lines:
        ranking = json.loads(next(line for number, line in enumerate(lines) if number == at))
    answers = [[{"role": "assistant", "content": answer["text"]}] for answer in ranking["answers"]]
    better = [(chosen, rejected) for i, chosen in enumerate(answers) for rejected in answers[i + 1 :]]
    return [{"prompt": ranking["prompt"], "chosen": chosen, "rejected": rejected} for chosen, rejected in better]


if __name__ == "__main__":
    main()
