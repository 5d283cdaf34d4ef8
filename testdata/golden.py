"""Makes the tiny models and the goldens that midcourse's engine is held against.

    python testdata/golden.py [--smollm2 FILE.gguf] [--out DIR]

`cargo xtask golden` runs it in a virtual environment with the versions of perf/peers/requirements.txt. It makes
the models of families.py too. References are transformers and torch in float32 on this machine's CPU,
log-probabilities in float64 from their logits. Writers are not their own witnesses: the GGUF files are read back
by transformers and compared with the safetensors they were made of, and ids are made a second time by naive_bpe.py.
"""

import argparse
import hashlib
import json
import os
from itertools import takewhile
from pathlib import Path

import regex
import torch
import transformers
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import conversations
import jinja_snippets
import families
import naive_bpe
import templates
import tiny_models
import tiny_tokenizers

SMOLLM2 = "midcourse/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MADE_WITH = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32, natural log"


def main():
    here = Path(__file__).parent
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    smollm2 = os.environ.get("MIDCOURSE_SMOLLM2") or cache / SMOLLM2
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smollm2", type=Path, default=Path(smollm2), help="the GGUF of SmolLM2-135M-Instruct")
    parser.add_argument("--out", type=Path, default=here, help="where to write")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    tiny_models.write_all(args.out)
    tiny_tokenizers.write_all(args.out)
    (args.out / "golden").mkdir(exist_ok=True)
    (args.out / "templates").mkdir(exist_ok=True)
    templates.write_all(args.out)
    jinja_snippets.write_all(args.out)
    write(args.out / "golden" / "tiny.json", tiny_golden(args.out))
    write(args.out / "golden" / "smollm2.json", smollm2_golden(args.smollm2))
    families.write_all(args.out)


def tiny_golden(out):
    """Every tiny model on the same conversations."""
    words = AutoTokenizer.from_pretrained(out / "tiny-llama")
    words_bos = AutoTokenizer.from_pretrained(out / "tiny-llama-bos")
    model, model_bos = load_dir(out / "tiny-llama"), load_dir(out / "tiny-llama-bos")
    from_gguf, from_q4 = load_gguf(out / "tiny-llama.gguf"), load_gguf(out / "tiny-llama-q4.gguf")
    check_gguf(model, from_gguf, from_q4)
    models = {
        "tiny-llama": (model, words, False),
        "tiny-llama-bos": (model_bos, words_bos, True),
        "tiny-llama.gguf": (from_gguf, words, False),
        "tiny-llama-q4.gguf": (from_q4, words, True),
    }
    return {"made_with": MADE_WITH, "models": [model_golden(name, *parts) for name, parts in models.items()]}


def model_golden(name, model, tokenizer, adds_bos):
    answers = [golden(model, tokenizer, adds_bos, *pair) for pair in conversations.TINY]
    assert n_bos(tokenizer, answers) == int(adds_bos), name
    return {"path": name, "n_bos": int(adds_bos), "conversations": answers}


def n_bos(tokenizer, answers):
    """How often the BOS stands at the start, the same in all answers."""
    starts = (takewhile(lambda id: id == tokenizer.bos_token_id, answer["ids"]) for answer in answers)
    (count,) = {len(list(start)) for start in starts}
    return count


def golden(model, tokenizer, adds_bos, prompt, response):
    """What a correct engine gives for one conversation with the assistant's turn left open."""
    question = [{"role": "user", "content": prompt}]
    answered = question + [{"role": "assistant", "content": response}]
    rendered = tokenizer.apply_chat_template(answered, tokenize=False, continue_final_message=True)
    opened = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    assert rendered.endswith(response)
    ids = ids_of(tokenizer, adds_bos, rendered)
    return {
        "prompt": prompt,
        "response": response,
        "rendered": rendered,
        "ids": ids,
        "logps": [round(logp, 6) for logp in logps(model, ids).tolist()],
        "question": {"rendered": opened, "ids": ids_of(tokenizer, adds_bos, opened)},
    }


def ids_of(tokenizer, adds_bos, rendered):
    """Ids of a rendered text, its BOS added where the tokenizer adds one and the template wrote none."""
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert ids == second_opinion(tokenizer, rendered), rendered
    if adds_bos and ids[0] != tokenizer.bos_token_id:
        return [tokenizer.bos_token_id, *ids]
    return ids


def second_opinion(tokenizer, text):
    """The same ids by naive_bpe.py."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    splits = [naive_bpe.DIGITS, naive_bpe.GPT_2] if "Digits" in str(backend["pre_tokenizer"]) else [naive_bpe.GPT_2]
    control = [token["content"] for token in backend["added_tokens"]]
    return naive_bpe.encode(text, backend["model"], splits, control)


def logps(model, ids):
    """Log-probability of token i + 1 given tokens 0..=i, for every i."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].double()
    given = torch.tensor(ids[1:])
    return logits[:-1].log_softmax(-1).gather(1, given[:, None])[:, 0]


def load_dir(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def load_gguf(path):
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()


def check_gguf(model, from_gguf, from_q4):
    """The float32 file is the same model; the quantised one is near it, yet visibly another."""
    ids = torch.arange(1, 200)[None]
    with torch.inference_mode():
        logits, same, near = (m(ids).logits for m in (model, from_gguf, from_q4))
    assert (logits - same).abs().max() < 1e-4
    correlation = torch.corrcoef(torch.stack([logits.flatten(), near.flatten()]))[0, 1]
    assert 0.8 < correlation < 0.999, correlation


def smollm2_golden(path):
    """SmolLM2: conversations with log-probabilities, and texts that try the tokenizer."""
    tokenizer = smollm2_tokenizer(path)
    model = load_gguf(path)
    texts = [{"text": text, "ids": ids_of(tokenizer, False, text)} for text in conversations.TOKENIZER_TEXTS]
    answers = [golden(model, tokenizer, False, *pair) for pair in conversations.SMOLLM2]
    return {
        "model": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "made_with": MADE_WITH,
        "n_bos": n_bos(tokenizer, answers),
        "conversations": answers,
        "texts": texts,
    }


def smollm2_tokenizer(path):
    """From the GGUF's vocabulary and merges; transformers' own conversion takes `smollm` for plain GPT-2."""
    fields = GGUFReader(path).fields

    def read(name):
        return fields[f"tokenizer.{name}"].contents()

    tokens, kinds = read("ggml.tokens"), read("ggml.token_type")
    vocab = {token: id for id, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in read("ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = tiny_models.smollm_pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds) if kind == tiny_models.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    named = {f"{name}_token": tokens[read(f"ggml.{name}_token_id")] for name in ("bos", "eos")}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=read("chat_template"),
        extra_special_tokens=control,
        **named,
    )


def write(path, value):
    """JSON with one line for every list of numbers, so that a difference can be read."""
    numbers = r"\[[-\d.,e\s]+\]"
    text = regex.sub(numbers, lambda m: json.dumps(json.loads(m[0])), json.dumps(value, indent=1))
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
