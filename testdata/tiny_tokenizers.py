"""Tiny tokenizers of every kind, and the ids that others find with them.

Every kind is trained on the sentences of tiny_models.py and a few more, and written as models carry it: the
metadata of a GGUF file, `tokenizer.json`, or SentencePiece's `tokenizer.model`. References are SentencePiece
itself for its own models, transformers for `tokenizer.json`, and for byte-level BPE the tokenizers library and
naive_bpe.py, which must agree.
"""

import io
import json
import struct
import tempfile

import sentencepiece
from gguf import GGUFWriter, TokenType
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

import naive_bpe
import tiny_models

SENTENCES = tiny_models.SENTENCES + [
    "It's HIS book, isn't it? We'll see; they'd said THEY'RE HERE, and I'm sure you've READ IT'S title.",
    "for (int i = 0; i < 10; i++) {\n    total += items[i].price;\n}\n\nreturn total; // done\n",
    "CamelCase names like MyClassName, getHTTPResponse and XMLParser, café, naïve, Ærø, ΑΒΓ αβγ, ПРИВЕТ привет.",
    "日本語の文と中文的句子，还有 한국어 문장。 مرحبا بالعالم ไทย",
    "a  b   c    d     e\t\tf\r\ng\n\nh\n\n\ni",
]

TEXTS = [
    "",
    " ",
    "  ",
    "a",
    " a",
    "  a",
    "a ",
    "a  ",
    "the book",
    " The Book  of  books",
    "It's, isn't, we'll, they'd, I'm, you've, they're",
    "IT'S, ISN'T, WE'LL, THEY'D, I'M, YOU'VE, THEY'RE",
    "'s 't 're 've 'm 'll 'd 'S 'T '\u017f",
    "don\u2019t won\u2019t",
    "1 12 123 1234 12345 123456 1234567",
    "2024-05-17 20:24, 3.14159, 1,000,000, \u0663\u0664\u0665\u0666, \u00b2\u00b3 \u00bd \u2167",
    "a1b22c333d4444",
    "CamelCase MyClassName getHTTPResponse XMLParser iPhone",
    "caf\u00e9 na\u00efve \u00c6r\u00f8",
    "cafe\u0301 nai\u0308ve A\u030a\u0301",
    "\u212b \u2126 \ufb01 \u1e9b\u0323 \u0958",
    "\u1100\u1161\u11a8 \uac01",
    "\u65e5\u672c\u8a9e\u306e\u6587\u3068\u4e2d\u6587\u7684\u53e5\u5b50\uff0c\u8fd8\u6709",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\u3002",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u0e44\u0e17\u0e22 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0928\u092e\u0938\u094d\u0924\u0947",
    "\u041f\u0420\u0418\u0412\u0415\u0422 \u043f\u0440\u0438\u0432\u0435\u0442, \u0391\u0392\u0393 \u03b1\u03b2\u03b3",
    "\U0001f370 cake",
    "\U0001f370\U0001f370\U0001f370",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
    "\U0001f44d\U0001f3fd \u2764\ufe0f \U0001f1eb\U0001f1f7",
    "\n",
    "\n\n",
    "\n\n\n\n\n",
    " \n \n",
    "a\nb\n\nc\n\n\nd",
    "a\r\nb\r\n\r\nc\r",
    "a \n b\t\n\tc",
    "\t\ttabs\tand  \t spaces \t",
    "   three before",
    "three after   ",
    "a" + " " * 15 + "b" + " " * 16 + "c" + " " * 40 + "d",
    "\u00a0no\u00a0break\u3000ideographic\u2003em",
    "for (int i = 0; i < 10; i++) {\n    total += items[i].price;\n}\n",
    "def f(x):\n\treturn x**2  # square\n\n\nprint(f(3))\n",
    "if (a != b && c == d || !e) { x ->y; /* z */ }",
    "https://example.org/a/b.html?c=d&e=f#g",
    "path/to/file.txt C:\\temp\\x",
    "...!!!???---===***///\\\\\\",
    "....\n\n//\n/",
    "\"quoted\" 'single' `code` \u00abguillemets\u00bb \u201ccurly\u201d",
    "<s> </s> <unk> <pad>",
    "<|im_start|> <|im_end|> <|endoftext|> <|im_",
    "<0x0A> <0xFF> <0xZZ>",
    "[INST] hi [/INST] <start_of_turn>user",
    "\ue000\uf8ff\U000f0000 private",
    "\ufffd\ufeff\u200b\u200e\u2028",
    "\u0000\u0001\u007f\u0085",
    "a\u0301\u0302\u0303 \u0301",
    "x" * 70,
    "ab" * 40,
    "====" * 9 + "===",
    "The quick brown fox jumps over the lazy dog. " * 3,
]


def write_all(out):
    """Every tiny tokenizer below `out`, and what others make of the texts."""
    files = out / "tiny-tokenizers"
    files.mkdir(parents=True, exist_ok=True)
    kinds = [*byte_level(files), *sentence_piece(files), *unigram(files)]
    check_that_kinds_differ(kinds)
    golden = {"texts": TEXTS, "tokenizers": kinds}
    lines = json.dumps(golden, indent=1).replace("\n     ", " ").replace("\n    ]", " ]")
    (out / "golden").mkdir(exist_ok=True)
    (out / "golden" / "tokenizers.json").write_text(lines + "\n")


def check_that_kinds_differ(kinds):
    """No kind passes for another one: each has ids of its own, but for the two names that mean the same."""
    same = {("tiny-tokenizers/llama-bpe.gguf", "tiny-tokenizers/chatglm-bpe.gguf")}
    for at, one in enumerate(kinds):
        for other in kinds[at + 1 :]:
            pair = one["path"], other["path"]
            same_reference = one["reference"] == other["reference"] == "sentencepiece"
            assert pair in same or same_reference or one["ids"] != other["ids"], pair


# --- byte-level BPE -------------------------------------------------------------------------------------------

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PUNCTUATION = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + PUNCTUATION
QWEN_2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + PUNCTUATION
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*%s"
SLASHED = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = CASED % ("", "") + r"|\p{N}" + SLASHED
GPT_4O = CASED % (CONTRACTIONS + "?", CONTRACTIONS + "?") + r"|\p{N}{1,3}" + SLASHED

# Name in GGUF, splits, whether whole words are taken without merging, whether text is composed first.
BYTE_LEVEL = [
    ("gpt-2", [naive_bpe.GPT_2], False, False),
    ("smollm", [naive_bpe.DIGITS, naive_bpe.GPT_2], False, False),
    ("llama-bpe", [LLAMA_3], True, False),
    ("chatglm-bpe", [LLAMA_3], True, False),
    ("dbrx", [LLAMA_3], False, False),
    ("qwen2", [QWEN_2], False, True),
    ("tekken", [TEKKEN], True, False),
    ("gpt-4o", [GPT_4O], False, False),
]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<think>", "</think>"]


def byte_level(out):
    """A GGUF file for every pre-tokenizer."""
    for name, splits, whole_words, composes in BYTE_LEVEL:
        tokenizer = byte_level_tokenizer(splits, whole_words, composes)
        path = out / f"{name}.gguf"
        write_byte_level(path, tokenizer, name)
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        model = json.loads(tokenizer.to_str())["model"]
        for text, expected in zip(TEXTS, ids):
            second = second_opinion(text, model, splits, whole_words, composes)
            assert second == expected, (name, text, second, expected)
        yield {"path": f"tiny-tokenizers/{path.name}", "reference": "tokenizers and naive_bpe.py", "ids": ids}


def second_opinion(text, model, splits, whole_words, composes):
    if composes:
        text = naive_bpe.composed(text)
    return naive_bpe.encode(text, model, splits, CONTROL + USER_DEFINED, whole_words)


def byte_level_tokenizer(splits, whole_words, composes):
    tokenizer = Tokenizer(models.BPE())
    split = [pre_tokenizers.Split(Regex(split), behavior="isolated") for split in splits]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    # A word that no merges lead to shows whether whole words are taken as they are.
    merges = [tuple(pair) for pair in model["merges"] if "".join(pair) != "\u0120the"]
    assert len(merges) == len(model["merges"]) - 1
    vocab = model["vocab"] | {text: len(model["vocab"]) + at for at, text in enumerate(USER_DEFINED)}
    tokenizer.model = models.BPE(vocab=vocab, merges=merges, ignore_merges=whole_words)
    if composes:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in USER_DEFINED])
    return tokenizer


def write_byte_level(path, tokenizer, name):
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    kinds = dict.fromkeys(CONTROL, TokenType.CONTROL) | dict.fromkeys(USER_DEFINED, TokenType.USER_DEFINED)
    writer.add_token_types([kinds.get(token, TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


# --- SentencePiece --------------------------------------------------------------------------------------------

# Name, whether a text begins with a space of its own, pieces defined by the user.
SENTENCE_PIECE = [
    ("spm-llama", True, []),
    ("spm-gemma", False, ["\u2581" * n for n in range(2, 17)] + ["\n\n", "\n\n\n", "<start_of_turn>", "<table>"]),
]


def sentence_piece(out):
    """SentencePiece's BPE as GGUF and as tokenizer.model; the first also as both forms of tokenizer.json."""
    for name, prefix_space, user_defined in SENTENCE_PIECE:
        proto = train(
            model_type="bpe",
            vocab_size=620,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            add_dummy_prefix=prefix_space,
            user_defined_symbols=user_defined,
        )
        write_sentence_piece(out / f"{name}.gguf", proto, prefix_space)
        directory(out / name)
        (out / name / "tokenizer.model").write_bytes(proto.SerializeToString())
        write_json(out / name / "tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"})
        reference = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
        ids = [reference.encode(text) for text in TEXTS]
        for path in [f"{name}.gguf", name]:
            yield {
                "path": f"tiny-tokenizers/{path}",
                "reference": "sentencepiece",
                "ids": ids,
                "chats": [chat(reference, *pair) for pair in CHATS],
            }
        if prefix_space:
            yield from tokenizer_json(out, proto)


CHATS = [("May I?", "Yes, the book is yours."), ("Is </s> a token?", "<s> is </s>\U0001f370."), (" two  spaces", "  x \n")]


def chat(reference, prompt, response):
    """The ids of a chat in the form of Llama 2: every text is encoded by itself, what is in it stays text."""
    ids = [1, *reference.encode(f"[INST] {prompt} [/INST]{response}"), 2, 1, *reference.encode("[INST] ok"), 2]
    return {"prompt": prompt, "response": response, "ids": ids}


def train(**options):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=written,
        hard_vocab_limit=False,
        character_coverage=0.98,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(written.getvalue())
    return proto


def write_sentence_piece(path, proto, prefix_space):
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    # Converters spell the spaces of pieces defined by the user as spaces.
    user_defined = TokenType.USER_DEFINED
    spell = lambda piece: piece.piece.replace("\u2581", " ") if piece.type == user_defined else piece.piece
    writer.add_token_list([spell(piece) for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([piece.type for piece in proto.pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(prefix_space)
    finish(writer)


def tokenizer_json(out, proto):
    """The same pieces in both forms that models carry: a normalizer that prepends, and Metaspace."""
    vocab = {piece.piece: at for at, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == 1}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab, merges=generate_merges(vocab, scores), unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    control = [AddedToken(token, special=True, normalized=False) for token in ["<unk>", "<s>", "</s>"]]
    rstripped = AddedToken("<|end|>", special=True, normalized=False, rstrip=True)
    word = AddedToken("kettle", special=False, normalized=True, single_word=True)
    tokenizer.add_special_tokens(control)
    lstripped = AddedToken("<|call|>", special=True, normalized=False, lstrip=True)
    tokenizer.add_tokens([rstripped, lstripped, word])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    decode = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    space = normalizers.Replace(" ", "\u2581")
    forms = {
        "spm-prepend": (normalizers.Sequence([normalizers.Prepend("\u2581"), space]), None),
        "spm-first": (None, pre_tokenizers.Metaspace("\u2581", prepend_scheme="first", split=False)),
        "spm-always": (None, pre_tokenizers.Metaspace("\u2581", prepend_scheme="always", split=True)),
    }
    for name, (tokenizer.normalizer, tokenizer.pre_tokenizer) in forms.items():
        tokenizer.decoder = decoders.Sequence([*decode, decoders.Strip(" ", 1, 0)])
        directory(out / name)
        tokenizer.save(str(out / name / "tokenizer.json"), pretty=False)
        # A token that only tokenizer_config.json names.
        extra = {"content": "<|extra|>", "special": True, "normalized": False}
        extra |= dict.fromkeys(["lstrip", "rstrip", "single_word"], False)
        added = {"added_tokens_decoder": {str(tokenizer.get_vocab_size()): extra}}
        write_json(out / name / "tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"} | added)
        yield by_transformers(out, name)


def by_transformers(out, name):
    fast = PreTrainedTokenizerFast.from_pretrained(out / name)
    return {
        "path": f"tiny-tokenizers/{name}",
        "reference": "transformers",
        "ids": [fast(text, add_special_tokens=False)["input_ids"] for text in TEXTS],
        "marked": [{"text": t, "ids": fast(t, add_special_tokens=False)["input_ids"]} for t in MARKED],
    }


# Texts with control tokens in them, which are found in them when nobody wrote them.
MARKED = [
    "<s>[INST] hi [/INST] yes</s><s>[INST] ok",
    "a<|end|>  \n b<|end|>c <|end|>",
    "kettle kettles, the kettle<s>kettle",
    "  a \n <|call|>  b<|end|> <|call|> c",
    "a<|extra|> b <|extra|>",
    "</s> </s>  <s>",
]


# --- Unigram --------------------------------------------------------------------------------------------------


def unigram(out):
    """SentencePiece's Unigram with its own normalisation, as tokenizer.json."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        # A ligature, a full-width letter, a composed accent, a space of another width.
        rules.write("FB01\t66 69\nFF21\t41\n65 301\tE9\n3000\t20\n")
        rules.flush()
        proto = train(
            model_type="unigram",
            vocab_size=400,
            byte_fallback=True,
            normalization_rule_tsv=rules.name,
            remove_extra_whitespaces=False,
            add_dummy_prefix=True,
        )
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme="always")
    space = decoders.Metaspace("\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), space])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ["<unk>", "<s>", "</s>"]])
    directory(out / "unigram")
    tokenizer.save(str(out / "unigram" / "tokenizer.json"), pretty=False)
    write_json(out / "unigram" / "tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"})
    yield by_transformers(out, "unigram")


# --- files ----------------------------------------------------------------------------------------------------


def directory(path):
    """A model directory without weights: an empty safetensors file, and a configuration without sizes."""
    path.mkdir(exist_ok=True)
    (path / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    write_json(path / "config.json", {"model_type": "llama"})


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")
