"""Holds adapters and exports against PEFT, transformers and llama.cpp, teacher-forced on the same tokens.

    python check.py peft   --model DIR   --adapter DIR
    python check.py merged --model M     --adapter DIR --merged DIR|FILE.gguf
    python check.py gguf   --model M.gguf --adapter DIR --gguf-adapter FILE.gguf

Ours is `midcourse serve --model M --adapter DIR`, which merges as it loads (--midcourse names the binary). `peft` is
PEFT with the adapter beside the weights; `merged` is transformers or llama.cpp with a model of `midcourse export
merged`; `gguf` is llama.cpp with M as it is and a file of `midcourse export adapter` beside it. Prints a line of JSON:
the largest difference in log-probability, of the forced token and of the likeliest one, and how often the likeliest
token is the same. llama.cpp is asked for its thousand likeliest tokens; a forced token that is not among them is not
compared (`n_forced` are). Exit code 1 when --within or --same-top is missed.
"""

import argparse
import json
import subprocess
import urllib.request
from pathlib import Path

N_PROBS = 1000
TEXT = Path(__file__).parent.parent / "text.txt"


class Ours:
    """midcourse with model and adapter, behind its server."""

    def __init__(self, args):
        command = [args.midcourse, "serve", "--port", "0", "--model", args.model, "--adapter", args.adapter]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        address = self.process.stdout.readline().strip()
        assert address, "midcourse serve did not start"
        self.address, self.name = address.split("#", 1)

    def close(self):
        self.process.terminate()
        self.process.wait()

    def asked(self, **body):
        body = {"model": self.name, "temperature": 0, "return_token_ids": True} | body
        request = urllib.request.Request(
            f"{self.address}/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return json.load(urllib.request.urlopen(request))["choices"]

    def ids(self, text):
        return self.asked(prompt=text, max_tokens=1)[0]["prompt_token_ids"]

    def scores(self, ids):
        """Of every token but the first its log-probability, and that of the likeliest in its place."""
        found = self.asked(prompt=ids, echo=True, logprobs=1, max_tokens=0)[0]["logprobs"]
        likeliest = [max(tops.values()) for tops in found["top_logprobs"][1:]]
        return found["token_logprobs"][1:], likeliest

    def likeliest(self, ids):
        """The likeliest token in the place of every one but the first; none where it ends the turn."""
        choices = self.asked(prompt=[ids[:at] for at in range(1, len(ids))], max_tokens=1)
        return [choice["token_ids"][0] if choice["token_ids"] else None for choice in choices]


def ids_of(ours, args):
    """The first tokens of the text, by the model's own tokenizer. A token of English has some characters, and of the
    tiny models one or two."""
    for n_chars in range(args.positions, 8 * args.positions, args.positions // 2 or 1):
        ids = ours.ids(args.text.read_text()[:n_chars])
        if len(ids) > args.positions:
            return ids[: args.positions + 1]
    raise SystemExit(f"{args.text}: expected more than {args.positions} tokens")


def by_transformers(path, ids, adapter=None):
    """Log-probabilities (positions, vocabulary)."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    path = Path(path)
    where = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
    model = transformers.AutoModelForCausalLM.from_pretrained(
        where[0], dtype=torch.float32, attn_implementation="eager", **where[1]
    )
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    with torch.inference_mode():
        return model.eval()(torch.tensor([ids[:-1]])).logits[0].double().log_softmax(-1)


def by_llama_cpp(path, ids, n_vocab, adapter=None):
    """The same, by one request a position. Its fast attention would round keys and values to half precision."""
    import torch
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_gpu_layers = len(ids) + 8, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.warmup, params.verbosity = False, -1
    if adapter:
        info = xllamacpp.CommonAdapterLoraInfo()
        info.path, info.scale = str(adapter), 1.0
        params.lora_adapters = [info]
    server = xllamacpp.Server(params)
    n_probs = min(n_vocab, N_PROBS)
    logps = torch.full((len(ids) - 1, n_vocab), -torch.inf, dtype=torch.float64)
    for at in range(1, len(ids)):
        # Probabilities are those before the bias; an end or half a character would come without any.
        request = {"prompt": ids[:at], "n_predict": 1, "n_probs": n_probs, "logit_bias": [[ids[1], 100.0]]}
        given = server.handle_completions(request)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        assert len(given) == n_probs, f"llama.cpp tells {len(given)} of {n_probs} probabilities"
        logps[at - 1, [token["id"] for token in given]] = torch.tensor(
            [token["logprob"] for token in given], dtype=torch.float64
        )
    return logps


def theirs(args, ids, n_vocab):
    if args.check == "peft":
        return by_transformers(args.model, ids, args.adapter)
    if args.check == "gguf":
        return by_llama_cpp(args.model, ids, n_vocab, args.gguf_adapter)
    if Path(args.merged).is_dir():
        return by_transformers(args.merged, ids)
    return by_llama_cpp(args.merged, ids, n_vocab)


def vocabulary(args):
    """Rows of the embedding, which llama.cpp has to be asked for."""
    path = args.merged if args.check == "merged" else args.model
    if not path.endswith(".gguf"):
        return None
    from gguf import GGUFReader

    embedding = next(tensor for tensor in GGUFReader(path).tensors if tensor.name == "token_embd.weight")
    return int(embedding.shape[1])


def compared(args):
    ours = Ours(args)
    try:
        ids = ids_of(ours, args)
        forced, best = ours.scores(ids)
        tops = ours.likeliest(ids)
    finally:
        ours.close()
    logps = theirs(args, ids, vocabulary(args))
    both = [(row[id].item(), logp) for row, id, logp in zip(logps, ids[1:], forced, strict=True)]
    both = [(theirs, ours) for theirs, ours in both if theirs > -float("inf")]
    n_same = sum(top == int(row.argmax()) for top, row in zip(tops, logps, strict=True))
    return {
        "check": args.check,
        "model": args.model,
        "n_positions": len(forced),
        "n_forced": len(both),
        "max_difference_forced": max(abs(theirs - ours) for theirs, ours in both),
        "max_difference_likeliest": max(abs(row.max().item() - logp) for row, logp in zip(logps, best)),
        "same_top": n_same / len(tops),
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("check", choices=["peft", "merged", "gguf"])
    parser.add_argument("--model", required=True, help="the base: a directory or a GGUF file")
    parser.add_argument("--adapter", required=True, help="the adapter's directory")
    parser.add_argument("--merged", help="what `midcourse export merged` wrote")
    parser.add_argument("--gguf-adapter", help="what `midcourse export adapter` wrote")
    parser.add_argument("--midcourse", default="midcourse", help="the binary")
    parser.add_argument("--text", type=Path, default=TEXT, help="the text whose tokens are forced")
    parser.add_argument("--positions", type=int, default=200)
    parser.add_argument("--within", type=float, help="the largest difference allowed")
    parser.add_argument("--same-top", type=float, help="the smallest share of likeliest tokens that agree")
    args = parser.parse_args()
    missing = {"merged": "merged", "gguf": "gguf_adapter"}.get(args.check)
    if missing and not getattr(args, missing):
        parser.error(f"{args.check} needs --{missing.replace('_', '-')}")
    return args


def main():
    args = arguments()
    found = compared(args)
    print(json.dumps(found))
    most = max(found["max_difference_forced"], found["max_difference_likeliest"])
    is_off = args.within is not None and not most <= args.within
    return int(is_off or (args.same_top is not None and found["same_top"] < args.same_top))


if __name__ == "__main__":
    raise SystemExit(main())
