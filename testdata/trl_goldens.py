"""What TRL's DPOTrainer makes of 64 pairs on the tiny Llama, and of 20 training steps.

    python testdata/trl_goldens.py [--out DIR]

Made with trl 1.16.0, peft 0.21.2 and datasets 5.2.0 beside the versions of perf/peers/requirements.txt; golden.py does not
run it. Losses, rewards and log-probabilities come out of TRL's own methods, in float32 on the CPU. What is added in
`forks.json`, which TRL has no objective for, is computed in float64 from the formulas at its functions. The reference is the
model without its adapter, everywhere.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import datasets
import peft
import torch
import transformers
import trl
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

import trl_rankings

HERE = Path(__file__).parent
MODEL = HERE / "tiny-llama"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "task_type": "CAUSAL_LM"}
BETA = 0.1
N_STEPS = 20
PAIRS_PER_STEP = 15
ANCHOR_TOKENS = 4
MADE_WITH = {
    "trl": trl.__version__,
    "peft": peft.__version__,
    "transformers": transformers.__version__,
    "torch": torch.__version__.split("+")[0],
    "dtype": "float32",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "golden" / "trl", help="where to write")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    rankings = trl_rankings.rankings()
    pairs = [pair for ranking in rankings for pair in trl_rankings.pairs(ranking)]
    write_lines(out / "rankings.jsonl", rankings)
    write_lines(out / "pairs.jsonl", pairs)
    for name, std_of_b in [("adapter", 0.02), ("initial", 0.0)]:
        write_adapter(out / name, std_of_b)
    scored = {loss: score(pairs, loss, out / "adapter") for loss in ("sigmoid", "ipo")}
    write(out / "pairs.json", pair_golden(scored))
    for loss, name in [("sigmoid", "dpo-full"), ("ipo", "ipo")]:
        write(out / f"trajectory-{name}.json", trajectory(pairs, loss, out / "initial"))
    write(out / "forks.json", fork_golden(rankings, out / "adapter"))


def trainer(pairs, loss, adapter, **settings):
    """TRL's trainer with the weights of an adapter; a trainer that is given an adapter takes it for the reference."""
    arguments = DPOConfig(
        output_dir=tempfile.mkdtemp(),
        loss_type=[loss],
        beta=BETA,
        max_length=None,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to=[],
        disable_tqdm=True,
        **settings,
    )
    made = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(pairs),
        processing_class=AutoTokenizer.from_pretrained(MODEL),
        peft_config=LoraConfig(**LORA),
    )
    result = peft.set_peft_model_state_dict(made.model, load_file(adapter / "adapter_model.safetensors"))
    assert not result.unexpected_keys, result
    return made


def score(pairs, loss, adapter):
    """Every pair by itself, so that nothing is padded: TRL's loss and what TRL logs of it."""
    made = trainer(pairs, loss, adapter)
    made.model.eval()
    scored = []
    for row in made.train_dataset:
        inputs = made.data_collator([row])
        made._metrics["eval"].clear()
        with torch.no_grad():
            value = made.compute_loss(made.model, inputs).item()
            reference = [logps.item() for logps in made.compute_ref_log_probs(made.model, inputs)]
        logged = {key: values[0] for key, values in made._metrics["eval"].items()}
        scored.append((row, value, reference, logged))
    return scored


def pair_golden(scored):
    """The pairs in the order of pairs.jsonl; log-probabilities are sums over an answer's tokens, closing ones included."""
    golden = []
    for (row, dpo, reference, logged), (_, ipo, _, _) in zip(scored["sigmoid"], scored["ipo"]):
        golden.append(
            {
                "n_prompt_tokens": len(row["prompt_ids"]),
                "n_chosen_tokens": len(row["chosen_ids"]),
                "n_rejected_tokens": len(row["rejected_ids"]),
                "logps/chosen": logged["logps/chosen"],
                "logps/rejected": logged["logps/rejected"],
                "ref_logps/chosen": reference[0],
                "ref_logps/rejected": reference[1],
                "rewards/chosen": logged["rewards/chosen"],
                "rewards/rejected": logged["rewards/rejected"],
                "loss/dpo-full": dpo,
                "loss/ipo": ipo,
            }
        )
    return {
        "made_with": MADE_WITH,
        "what": "TRL's DPOTrainer on every row of pairs.jsonl by itself: policy = tiny-llama with adapter/, reference = "
        "tiny-llama; loss/dpo-full is loss_type sigmoid, loss/ipo loss_type ipo",
        "beta": BETA,
        "pairs": rounded(golden),
    }


def trajectory(pairs, loss, initial):
    """TRL's own training loop on the first 60 pairs in their order, a ranking a step, four rankings in turn."""
    n_pairs = 4 * PAIRS_PER_STEP
    made = trainer(
        pairs[:n_pairs],
        loss,
        initial,
        per_device_train_batch_size=PAIRS_PER_STEP,
        num_train_epochs=N_STEPS * PAIRS_PER_STEP // n_pairs,
        train_sampling_strategy="sequential",
        learning_rate=1e-3,
        weight_decay=0.0,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
    )
    made.train()
    keys = ["loss", "grad_norm", "learning_rate", "rewards/chosen", "rewards/rejected", "rewards/margins"]
    keys += ["rewards/accuracies", "logps/chosen", "logps/rejected"]
    logged = [{key: float(entry[key]) for key in keys} for entry in made.state.log_history if "loss" in entry]
    assert len(logged) == N_STEPS and made.args.get_warmup_steps(N_STEPS) == 1
    made.save_model(made.args.output_dir)
    after = load_file(Path(made.args.output_dir) / "adapter_model.safetensors")
    norms = {name: tensor.norm().item() for name, tensor in sorted(after.items())}
    return {
        "made_with": MADE_WITH,
        "what": f"DPOTrainer, loss_type {loss}: step i (from 0) trains on rows 15·(i mod 4) to 15·(i mod 4) + 14 of "
        "pairs.jsonl, from the adapter initial/. What is logged of a step was computed before its update; grad_norm is "
        "the norm before clipping, learning_rate the one of the update.",
        "settings": {
            "beta": BETA,
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "warmup": 0.05,
            "n_warmup_steps": 1,
            "clip": 1.0,
            "weight_decay": 0.0,
            "adam": {"beta1": made.args.adam_beta1, "beta2": made.args.adam_beta2, "epsilon": made.args.adam_epsilon},
            "lora": {"rank": LORA["r"], "alpha": LORA["lora_alpha"], "dropout": 0.0},
        },
        "steps": rounded(logged),
        "norms_after": rounded(norms),
    }


def fork_golden(rankings, adapter):
    """Every ranking as the decisions of `fork`, scored by transformers and peft without TRL's trainer."""
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64)
    model = peft.PeftModel.from_pretrained(base, adapter, autocast_adapter_dtype=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    return {
        "made_with": MADE_WITH | {"dtype": "float64"},
        "what": "rankings.jsonl by the objective fork. A span is [from, to) in tokens of the answer: from where the two "
        "answers part to where any answer leaves next. loss = sum(weight · -ln sigmoid(beta · margin)) over "
        "sum(weight); anchor = mean over the distinct chosen branches of the mean negative log-likelihood of their "
        "first anchor_tokens tokens. `first` names the first pair that comes to this decision.",
        "beta": BETA,
        "anchor_tokens": ANCHOR_TOKENS,
        "rankings": [fork_of(ranking, model, tokenizer) for ranking in rankings],
    }


def fork_of(ranking, model, tokenizer):
    answers = [encoded(tokenizer, ranking["prompt"], answer["text"]) for answer in ranking["answers"]]
    prompt = answers[0][0]
    texts = [ids for _, ids in answers]
    policy = [logps(model, prompt, ids) for ids in texts]
    with model.disable_adapter():
        reference = [logps(model, prompt, ids) for ids in texts]
    decisions = {}
    for better in range(len(texts)):
        for worse in range(better + 1, len(texts)):
            spans = branch(texts, better, worse), branch(texts, worse, better)
            key = tuple(tuple(texts[at][: span[1]]) for at, span in zip((better, worse), spans))
            decision = decisions.setdefault(key, {"first": [better, worse], "spans": spans, "weight": 0})
            decision["weight"] += 1
    sides = ("chosen", "rejected")
    listed = []
    for decision in decisions.values():
        entry = {"first": decision["first"], "weight": decision["weight"]}
        for side, at, (start, end) in zip(sides, decision["first"], decision["spans"]):
            entry[f"{side}_span"] = [start, end]
            entry[f"logps/{side}"] = policy[at][start:end].sum().item()
            entry[f"ref_logps/{side}"] = reference[at][start:end].sum().item()
        margin = sum(
            sign * (entry[f"logps/{side}"] - entry[f"ref_logps/{side}"]) for sign, side in zip((1, -1), sides)
        )
        entry["loss"] = math.log1p(math.exp(-BETA * margin))
        listed.append(entry)
    n_pairs = sum(entry["weight"] for entry in listed)
    chosen = {
        tuple(texts[entry["first"][0]][: entry["chosen_span"][1]]): (entry["first"][0], entry["chosen_span"])
        for entry in listed
    }
    heads = [-policy[at][start : min(end, start + ANCHOR_TOKENS)].mean().item() for at, (start, end) in chosen.values()]
    return {
        "n_prompt_tokens": len(prompt),
        "n_answer_tokens": [len(ids) for ids in texts],
        "n_pairs": n_pairs,
        "decisions": rounded(listed),
        "loss": round(sum(entry["weight"] * entry["loss"] for entry in listed) / n_pairs, 6),
        "n_chosen_branches": len(heads),
        "anchor": round(sum(heads) / len(heads), 6),
    }


def branch(texts, of, against):
    """The tokens of an answer from where it parts from another to where any answer leaves it next."""
    ids = texts[of]
    start = shared(ids, texts[against])
    leaves = (shared(ids, other) for at, other in enumerate(texts) if at != of)
    return [start, min((at for at in leaves if at > start), default=len(ids))]


def shared(one, other):
    return next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def encoded(tokenizer, prompt, text):
    """Ids of the opened prompt, and of the closed answer after it."""

    def ids(messages, **more):
        return tokenizer(tokenizer.apply_chat_template(messages, tokenize=False, **more), add_special_tokens=False).input_ids

    opened = ids(prompt, add_generation_prompt=True)
    whole = ids(prompt + [{"role": "assistant", "content": text}])
    assert whole[: len(opened)] == opened
    return opened, whole[len(opened) :]


def logps(model, prompt, ids):
    """Log-probability of every token of an answer."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]


def write_adapter(path, std_of_b):
    """An adapter as PEFT writes it, drawn with a seed: A as PEFT would, B zero or nearly."""
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), LoraConfig(**LORA))
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_A" in name:
                bound = 1 / math.sqrt(weight.shape[1])
                weight.copy_((torch.rand(weight.shape, generator=generator) * 2 - 1) * bound)
            elif "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * std_of_b)
    model.save_pretrained(path)
    (path / "README.md").unlink(missing_ok=True)
    # Written again, since PEFT's order of tensors follows a hash.
    tensors = load_file(path / "adapter_model.safetensors")
    save_file(dict(sorted(tensors.items())), path / "adapter_model.safetensors", metadata={"format": "pt"})
    config = json.loads((path / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": "tiny-llama", "target_modules": sorted(config["target_modules"])}
    (path / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def rounded(value):
    """Floats with six places behind the point, which is finer than float32 holds sums of log-probabilities."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 9 if abs(value) < 0.01 else 6) if isinstance(value, float) else value


def write(path, value):
    """JSON with a line for every row of a list."""
    lines = []
    for key, entry in value.items():
        if isinstance(entry, list):
            rows = ",\n".join("  " + json.dumps(row) for row in entry)
            lines.append(f' "{key}": [\n{rows}\n ]')
        else:
            lines.append(f' "{key}": {json.dumps(entry, ensure_ascii=False)}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows))


if __name__ == "__main__":
    main()
