"""Programs that others wrote read the GGUF files back and must give the same logits: transformers, llama.cpp.

Neither reads everything. transformers knows no scaling of rotary embeddings, no caps and no head width in most
GGUF files: there it is given the configuration and reads the weights alone. llama.cpp (`pip install --no-deps
xllamacpp==2026.10.11549`) reads all of them, but runs Phi-3 without its window.
"""

import copy
import tempfile
from pathlib import Path

import torch
from gguf import GGMLQuantizationType, GGUFReader
from transformers import AutoModelForCausalLM

import family_gguf
import family_models

TOLERANCE = 1e-4
# llama.cpp looks GELU up in a table of half precision.
GELU_TOLERANCE = 1e-2


def check_transformers(family, file, texts):
    """Logits of the file at every position, by transformers' own reader."""
    if not family.transformers_reads:
        return
    config = copy.deepcopy(file.model.config) if family.transformers_reads == "weights" else None
    options = {"config": config} if config else {}
    found = []
    for ids in texts:
        read = AutoModelForCausalLM.from_pretrained(
            file.path.parent,
            gguf_file=file.path.name,
            dtype=torch.float32,
            attn_implementation="eager",
            **options,
        )
        want = family_models.logits(family_models.reload(file.model), ids)
        found.append(family_models.distance(want, family_models.logits(read.eval(), ids)))
    print(f"    {file.path.name}: transformers ({family.transformers_reads}) within {max(found):.1e}")
    assert max(found) < TOLERANCE, file.path.name


def check_llama_cpp(family, file, tokenizer, texts):
    """Log-probabilities of the file's float32 twin at every tenth position, by llama.cpp."""
    if file.kind not in (GGMLQuantizationType.F32, GGMLQuantizationType.BF16):
        return
    config = copy.deepcopy(file.model.config)
    for name, value in family.llama_cpp.items():
        setattr(config, name, value)
    found = []
    with tempfile.TemporaryDirectory() as directory:
        twin = Path(directory) / file.path.name
        family_gguf.write(twin, family, file.model, tokenizer, GGMLQuantizationType.F32)
        # The longest first: it takes the long rotary factors, and so does the file until its border is moved.
        for ids in sorted(texts, key=len, reverse=True):
            choose_factors(twin, config, len(ids))
            want = family_models.logits(family_models.reconfigured(file.model, config), ids).log_softmax(-1)
            found.append(llama_cpp_distance(twin, ids, want, tokenizer.token_to_id("a")))
    print(f"    {file.path.name}: llama.cpp within {max(found):.1e}")
    assert max(found) < (GELU_TOLERANCE if family.gguf in family_gguf.GEMMA else TOLERANCE), file.path.name


def choose_factors(path, config, n_tokens):
    """llama.cpp chooses a long rotary embedding by its context of 256 or more: move the border beyond it."""
    if config.rope_parameters.get("rope_type") == "longrope" and n_tokens <= config.original_max_position_embeddings:
        field = GGUFReader(path, "r+").fields["phi3.rope.scaling.original_context_length"]
        field.parts[field.data[0]][0] = 100_000


def llama_cpp_distance(path, ids, want, plain_token):
    """The largest difference in log-probability from `want` (tokens, vocabulary)."""
    server = llama_cpp_server(path)
    found = []
    for n_tokens in {*range(10, len(ids), 10), len(ids)}:
        request = {"prompt": ids[:n_tokens], "n_predict": 1, "n_probs": want.shape[1], "cache_prompt": False}
        # Probabilities are those before the bias; half a character or an end would come without any.
        request["logit_bias"] = [[plain_token, 100.0]]
        answer = server.handle_completions(request)
        given = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        assert len(given) == want.shape[1], answer
        logps = torch.zeros(want.shape[1])
        logps[[token["id"] for token in given]] = torch.tensor([token["logprob"] for token in given])
        found.append(family_models.distance(want[n_tokens - 1], logps))
    return max(found)


def llama_cpp_server(path):
    """llama.cpp on one thread; its fast attention would round queries, keys and values to half precision."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 256, 1, 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.warmup, params.verbosity = False, -1
    return xllamacpp.Server(params)
