"""One tiny seeded model for every family that midcourse's decoder knows.

    python testdata/families.py [--out DIR] [--llama-cpp]

golden.py writes them too. `--llama-cpp` also holds every GGUF file against llama.cpp, if the package xllamacpp
is there; see family_witnesses.py. A family is a configuration of transformers' own class, with values that no
reader takes by default, windows of 16 and original contexts of 32: the texts go well beyond both. What a change of
the configuration does to the logits is measured, so that the goldens are known to show it.
"""

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from gguf import MODEL_ARCH, GGMLQuantizationType

import family_gguf
import family_models
import family_templates as templates
import family_witnesses
from tiny_models import Words

WINDOW = 16
TRAINED = 32


@dataclass(frozen=True)
class Family:
    """A model: its configuration, its words, and what others can read of it."""

    name: str
    kind: type
    words: Words
    config: dict
    # Changes of the configuration that the logits must show: a reader that misses one is found out.
    shows: list = field(default_factory=list)
    dtype: torch.dtype = torch.bfloat16
    sharded: bool = False
    # Where the configuration stands as transformers 4 wrote it; `config.json` holds no other then.
    old_form: str | None = None
    gguf: MODEL_ARCH | None = None
    # What GGUF has no key for, as its readers take it; the file then has a golden of its own.
    unsaid: dict = field(default_factory=dict)
    quantised: GGMLQuantizationType | None = None
    # What transformers reads of the file: its "metadata" and weights, its "weights" alone, or nothing.
    transformers_reads: str | None = None
    # What llama.cpp leaves out.
    llama_cpp: dict = field(default_factory=dict)

    def make_config(self, **changes):
        """The configuration, or one that differs in `changes`."""
        words = {"bos_token_id": self.words.bos, "eos_token_id": self.words.eos}
        ids = {name: self.words.special.index(word) for name, word in words.items()}
        common = {"vocab_size": family_models.VOCAB, "num_hidden_layers": 3, "max_position_embeddings": 512}
        # transformers completes the dictionaries that it is given.
        return self.kind(**copy.deepcopy(common | {"pad_token_id": None} | ids | self.config | changes))


def default_rope(theta, **more):
    """Rotary embedding without scaling."""
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


def sizes(hidden, mlp, heads, kv_heads, **more):
    """Sizes by transformers' names."""
    names = ["hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"]
    return dict(zip(names, (hidden, mlp, heads, kv_heads))) | more


def layers(pattern):
    """Layer types: s for a window, f for none."""
    return {"layer_types": [{"s": "sliding_attention", "f": "full_attention"}[kind] for kind in pattern]}


ANOTHER_EPS = {"rms_norm_eps": 1e-6}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": TRAINED,
}
YARN = {"rope_type": "yarn", "rope_theta": 1_000.0, "factor": 4.0, "original_max_position_embeddings": TRAINED}
PHI_3_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 800.0,
    "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75],
    "long_factor": [1.1, 1.5, 2.0, 3.0, 4.5, 6.0, 8.0, 9.0],
}
PHI_4_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 800.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 1.8],
    "long_factor": [1.0, 1.6, 2.5, 4.0, 5.5, 7.0],
}
GLM_ROPE = default_rope(600.0, partial_rotary_factor=0.5)
GEMMA_3_ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 2_000.0, "factor": 4.0},
}

FAMILIES = [
    Family(
        name="llama2",
        kind=transformers.LlamaConfig,
        words=templates.LLAMA_2,
        config=sizes(48, 64, 3, 3, rms_norm_eps=2e-3) | default_rope(900.0),
        shows=[ANOTHER_EPS, default_rope(10_000.0)],
        gguf=MODEL_ARCH.LLAMA,
        transformers_reads="metadata",
    ),
    Family(
        name="llama3.1",
        kind=transformers.LlamaConfig,
        words=templates.LLAMA_3,
        config=sizes(64, 96, 4, 2, rms_norm_eps=3e-3, rope_parameters=LLAMA_3_ROPE),
        shows=[ANOTHER_EPS, default_rope(500.0), {"rope_parameters": LLAMA_3_ROPE | {"low_freq_factor": 2.0}}],
        old_form="config.json",
        gguf=MODEL_ARCH.LLAMA,
        quantised=GGMLQuantizationType.Q4_0,
        transformers_reads="weights",
    ),
    Family(
        name="llama-linear",
        kind=transformers.LlamaConfig,
        words=templates.VICUNA,
        config=sizes(32, 48, 2, 1, tie_word_embeddings=True)
        | {"rope_parameters": {"rope_type": "linear", "rope_theta": 1_000.0, "factor": 3.0}},
        shows=[default_rope(1_000.0)],
        dtype=torch.float32,
        sharded=True,
        gguf=MODEL_ARCH.LLAMA,
        transformers_reads="weights",
    ),
    Family(
        name="llama-dynamic",
        kind=transformers.LlamaConfig,
        words=templates.LLAMA_2,
        config=sizes(48, 64, 6, 3, max_position_embeddings=TRAINED)
        | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}},
        shows=[default_rope(100.0), {"max_position_embeddings": 2 * TRAINED}],
    ),
    Family(
        name="llama-bias",
        kind=transformers.LlamaConfig,
        words=templates.CHATML,
        config=sizes(48, 56, 6, 2, attention_bias=True, mlp_bias=True) | default_rope(700.0),
        shows=[default_rope(10_000.0)],
        gguf=MODEL_ARCH.LLAMA,
        transformers_reads="weights",
    ),
    Family(
        name="mistral",
        kind=transformers.MistralConfig,
        words=templates.ZEPHYR,
        config=sizes(48, 64, 4, 2, head_dim=24, sliding_window=WINDOW, rms_norm_eps=2e-3) | default_rope(800.0),
        shows=[{"sliding_window": None}, {"sliding_window": WINDOW - 1}, {"sliding_window": WINDOW + 1}],
        gguf=MODEL_ARCH.LLAMA,
        unsaid={"sliding_window": None},
        transformers_reads="metadata",
    ),
    Family(
        name="qwen2",
        kind=transformers.Qwen2Config,
        words=templates.QWEN_2,
        # The embedding has rows beyond the tokenizer, as in the published models.
        config=sizes(48, 80, 3, 1, tie_word_embeddings=True)
        | {"vocab_size": family_models.VOCAB + 9}
        | default_rope(20_000.0),
        shows=[default_rope(10_000.0)],
        gguf=MODEL_ARCH.QWEN2,
        transformers_reads="metadata",
    ),
    Family(
        name="qwen2-sliding",
        kind=transformers.Qwen2Config,
        words=templates.QWEN_2,
        config=sizes(48, 64, 4, 2, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2)
        | {"num_hidden_layers": 4}
        | default_rope(1_500.0),
        shows=[{"use_sliding_window": False}, {"max_window_layers": 1}, {"max_window_layers": 3}],
    ),
    Family(
        name="qwen2-yarn",
        kind=transformers.Qwen2Config,
        words=templates.QWEN_2,
        config=sizes(64, 64, 4, 2, max_position_embeddings=128, rope_parameters=YARN),
        shows=[
            default_rope(1_000.0),
            {"rope_parameters": YARN | {"attention_factor": 1.0}},
            {"rope_parameters": YARN | {"beta_fast": 1.5}},
            {"rope_parameters": YARN | {"beta_slow": 0.1}},
        ],
        gguf=MODEL_ARCH.QWEN2,
        transformers_reads="weights",
    ),
    Family(
        name="qwen3",
        kind=transformers.Qwen3Config,
        words=templates.QWEN_3,
        config=sizes(48, 64, 4, 2, head_dim=24, rms_norm_eps=4e-3) | default_rope(30_000.0),
        shows=[ANOTHER_EPS],
        gguf=MODEL_ARCH.QWEN3,
        transformers_reads="weights",
    ),
    Family(
        name="glm",
        kind=transformers.GlmConfig,
        words=templates.GLM,
        config=sizes(64, 80, 4, 2, head_dim=16, rms_norm_eps=2e-3) | GLM_ROPE,
        shows=[ANOTHER_EPS, default_rope(600.0, partial_rotary_factor=0.25)],
        old_form="config.json",
        gguf=MODEL_ARCH.CHATGLM,
    ),
    Family(
        name="glm4",
        kind=transformers.Glm4Config,
        words=templates.GLM,
        config=sizes(48, 64, 4, 2, head_dim=24, attention_bias=False, rms_norm_eps=2e-3) | GLM_ROPE,
        shows=[ANOTHER_EPS, default_rope(600.0, partial_rotary_factor=1.0)],
        gguf=MODEL_ARCH.GLM4,
    ),
    Family(
        name="phi3",
        kind=transformers.Phi3Config,
        words=templates.PHI_3,
        config=sizes(64, 96, 4, 2, max_position_embeddings=128, original_max_position_embeddings=TRAINED)
        | {"sliding_window": WINDOW, "rms_norm_eps": 2e-3, "rope_parameters": PHI_3_ROPE},
        shows=[
            ANOTHER_EPS,
            {"sliding_window": None},
            {"rope_parameters": PHI_3_ROPE | {"short_factor": PHI_3_ROPE["long_factor"]}},
            {"rope_parameters": PHI_3_ROPE | {"long_factor": PHI_3_ROPE["short_factor"]}},
            {"rope_parameters": PHI_3_ROPE | {"attention_factor": 1.0}},
        ],
        old_form="config.json",
        gguf=MODEL_ARCH.PHI3,
        quantised=GGMLQuantizationType.Q8_0,
        transformers_reads="weights",
        llama_cpp={"sliding_window": None},
    ),
    Family(
        name="phi4-mini",
        kind=transformers.Phi3Config,
        words=templates.PHI_4,
        config=sizes(48, 64, 3, 1, max_position_embeddings=160, original_max_position_embeddings=TRAINED)
        | {"tie_word_embeddings": True, "rope_parameters": PHI_4_ROPE},
        shows=[default_rope(800.0, partial_rotary_factor=0.75)],
        gguf=MODEL_ARCH.PHI3,
        transformers_reads="weights",
    ),
    Family(
        name="gemma",
        kind=transformers.GemmaConfig,
        words=templates.GEMMA,
        config=sizes(48, 64, 4, 1, head_dim=16, rms_norm_eps=5e-2) | default_rope(10_000.0),
        shows=[ANOTHER_EPS],
        gguf=MODEL_ARCH.GEMMA,
    ),
    Family(
        name="gemma2",
        kind=transformers.Gemma2Config,
        words=templates.GEMMA,
        config=sizes(48, 64, 4, 2, head_dim=16, sliding_window=WINDOW, rms_norm_eps=2e-3)
        | {"query_pre_attn_scalar": 10, "attn_logit_softcapping": 4.0, "final_logit_softcapping": 6.0}
        | default_rope(10_000.0),
        shows=[
            {"query_pre_attn_scalar": 16},
            {"attn_logit_softcapping": None},
            {"final_logit_softcapping": None},
            {"hidden_activation": "gelu"},
            layers("fsf"),
            layers("sss"),
        ],
        gguf=MODEL_ARCH.GEMMA2,
        unsaid={"query_pre_attn_scalar": 16},
        transformers_reads="weights",
    ),
    Family(
        name="gemma3",
        kind=transformers.Gemma3TextConfig,
        words=templates.GEMMA,
        config=sizes(32, 48, 4, 2, head_dim=16, sliding_window=WINDOW, num_hidden_layers=7)
        | {"query_pre_attn_scalar": 10, "rope_parameters": GEMMA_3_ROPE},
        shows=[
            {"query_pre_attn_scalar": 16},
            layers("sssssss"),
            layers("sssssff"),
            {"rope_parameters": GEMMA_3_ROPE | {"sliding_attention": GEMMA_3_ROPE["full_attention"]}},
            {"rope_parameters": GEMMA_3_ROPE | {"full_attention": {"rope_type": "default", "rope_theta": 2_000.0}}},
        ],
        old_form="config-4.json",
        gguf=MODEL_ARCH.GEMMA3,
        unsaid={"query_pre_attn_scalar": 16},
        transformers_reads="weights",
    ),
    Family(
        name="smollm3",
        kind=transformers.SmolLM3Config,
        words=templates.SMOLLM_3,
        config=sizes(48, 64, 3, 1, num_hidden_layers=5, no_rope_layers=[1, 0, 1, 1, 0]) | default_rope(5_000.0),
        shows=[{"no_rope_layers": [1, 1, 1, 0, 1]}, {"no_rope_layers": [1] * 5}],
        gguf=MODEL_ARCH.SMOLLM3,
        unsaid={"no_rope_layers": [1, 1, 1, 0, 1]},
    ),
]


def write_all(out, llama_cpp=False):
    """Every family below `out`: directory, GGUF files and goldens."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    (out / "golden" / "families").mkdir(parents=True, exist_ok=True)
    for seed, family in enumerate(FAMILIES):
        model, tokenizer, texts = family_models.write(out / "families" / family.name, family, seed)
        family_models.check(family, model, texts)
        golden = out / "golden" / "families"
        family_models.write_golden(golden / f"{family.name}.safetensors", model, texts)
        for file in family_gguf.write_all(out / "families", family, model, tokenizer):
            if file.has_own_golden:
                family_models.write_golden(golden / f"{file.path.name}.safetensors", file.model, texts)
            family_witnesses.check_transformers(family, file, texts)
            if llama_cpp:
                family_witnesses.check_llama_cpp(family, file, tokenizer, texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    parser.add_argument("--llama-cpp", action="store_true", help="hold the GGUF files against llama.cpp too")
    args = parser.parse_args()
    write_all(args.out, args.llama_cpp)


if __name__ == "__main__":
    main()
