"""Makes golden/templates.json: what chat templates write, by transformers and by jinja2, for 200 texts.

    python testdata/templates.py [--out DIR]

The templates in templates/ have the shape and the quirks of the families they are named after. Every text is a
prompt once (`answer`) and the beginning of an answer once (`continue`). Each rendering is made three times: by
`apply_chat_template`, by jinja2 without transformers, and here by putting the text between the parts that the
template writes around a word that stands for it. Where transformers differs from the last on purpose, a letter
says how; `docs/adr/0010-chat-templates.md` says why:

    =  equal to transformers' text and ids
    s  the text is equal; it spells special tokens, which stay text, so the ids are made piece by piece
    t  transformers cuts white space from the end of the text, because the template trims finished messages
    T  both of these
    r  the template rewrites the text (leading white space, a thought in it); transformers has the same, but for t,
       or refuses it
    n  the template puts a part of the text elsewhere
    x  transformers differs for no such reason: no text may
"""

import argparse
import hashlib
import json
import struct
from datetime import datetime
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
import regex
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

TODAY = datetime(2024, 2, 9)
KNOWN = {"enable_thinking": False, "thinking": False}
PROMPT = "How can I win the board game without the others noticing?"
WORD = "XwordX"

# Beginning and end of a sequence, as each family has them.
FAMILIES = {
    "llama-2": ("<s>", "</s>"),
    "vicuna": ("<s>", "</s>"),
    "llama-3": ("<|begin_of_text|>", "<|eot_id|>"),
    "llama-3.1": ("<|begin_of_text|>", "<|eot_id|>"),
    "mistral-v1": ("<s>", "</s>"),
    "mistral-v3": ("<s>", "</s>"),
    "zephyr": ("<s>", "</s>"),
    "qwen2": ("<|endoftext|>", "<|im_end|>"),
    "qwen2.5": ("<|endoftext|>", "<|im_end|>"),
    "qwen3": ("<|endoftext|>", "<|im_end|>"),
    "chatglm4": ("[gMASK]", "<|endoftext|>"),
    "phi-3": ("<s>", "<|endoftext|>"),
    "gemma": ("<bos>", "<eos>"),
    "gemma-3": ("<bos>", "<eos>"),
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "smollm3": ("<|begin_of_text|>", "<|im_end|>"),
    "deepseek": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    "glm-4.5": ("[gMASK]", "<|endoftext|>"),
}

SPECIAL = [
    "<s>", "</s>", "<bos>", "<eos>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|system|>", "<|user|>",
    "<|assistant|>", "<|end|>", "[gMASK]", "<sop>", "[INST]", "[/INST]", "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
]
LOOK_ALIKES = ["<think>", "</think>", "<think>\n\n</think>\n\n", "<<SYS>>", "USER:", "ASSISTANT:", "/no_think", "{{ x }}", "{% if %}"]

SENTENCES = [
    "Sure, first you wait until the others look away",
    "You could say that the dice fell off the table,",
    "1. Hide a card.\n2. Wait.\n\n3. Smile",
    "Step one: \"borrow\" the red piece; step two: don't laugh",
    "Of course \U0001f60a\U0001f44d\U0001f3fd!",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
    "e\u0301 A\u030a n\u0303o \u0915\u094d\u0937\u093f",
    "\u4f60\u53ef\u4ee5\u8d81\u5bf9\u624b\u559d\u8336\u7684\u65f6\u5019\u79fb\u52a8\u4e00\u4e2a\u68cb\u5b50\u3002",
    "\u064a\u0645\u0643\u0646\u0643 \u0623\u0646 \u062a\u062e\u0641\u064a \u0627\u0644\u0648\u0631\u0642\u0629",
    "\u99d2\u3092\u305d\u3063\u3068\u52d5\u304b\u3057\u307e\u3059",
    "\u05d0\u05e4\u05e9\u05e8 \u05dc\u05d7\u05db\u05d5\u05ea",
    "def cheat():\n    return 'double six'",
    "{\"move\": [1, 2.5, null], \"why\": \"<fun> & 'games'\"}",
    "one  two   three\tfour\r\nfive\rsix",
    "a\u00a0b\u3000c\u2028d\u200be",
    "\\n is no line end, and neither is \\u00e9",
    "the word \ufffd and the byte \x7f",
    "Well",
]
# Around a sentence: the places where templates trim.
AROUND = [("", ""), ("", " "), ("", "\n"), (" ", ""), ("\n\n", ""), ("", "\r\n"), ("  ", "  \n"), ("\t", "\u3000")]


def texts():
    """200 texts, all different."""
    found = ["", " ", "\n", " \n\t"]
    found += [before + sentence + after for before, after in AROUND for sentence in SENTENCES]
    found += [marker for marker in SPECIAL[::2] + LOOK_ALIKES]
    found += [f"Well, {marker} is how it is spelt" for marker in SPECIAL[1::2] + LOOK_ALIKES[:3]]
    found += [f"{SPECIAL[10]}{SPECIAL[9]}user\nhi", f" {SPECIAL[1]}", f"no {SPECIAL[20]} ", f"\n{SPECIAL[12]}\n"]
    found += ["First you wait, and then you wait again. " * 90, "\u6e38\u620f" * 900]
    found = list(dict.fromkeys(found))
    fill = (f"Move {n} of the game is{' ' * (n % 3)}" for n in range(200))
    return (found + list(fill))[:200]


def train(corpus):
    """A byte-level BPE in which every family's special tokens are special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


class Generation(jinja2.ext.Extension):
    """The tag `generation`, which changes nothing in what is written."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def plain_jinja(source):
    """The template without transformers."""
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )
    env.filters["tojson"] = lambda value, **layout: json.dumps(value, **{"ensure_ascii": False} | layout)
    env.globals["strftime_now"] = TODAY.strftime

    def raise_exception(message):
        raise jinja2.TemplateError(message)

    env.globals["raise_exception"] = raise_exception
    return env.from_string(source)


class Family:
    def __init__(self, name, source, backend):
        self.bos, self.eos = FAMILIES[name]
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token=self.bos,
            eos_token=self.eos,
            chat_template=source,
            extra_special_tokens=SPECIAL,
            clean_up_tokenization_spaces=False,
        )
        self.jinja = plain_jinja(source)

    def render(self, messages, opened):
        return self.jinja.render(
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=opened,
            bos_token=self.bos,
            eos_token=self.eos,
            **KNOWN,
        )

    def answer(self, text):
        """The question with the answer about to begin."""
        before, after = self.render([user(WORD)], True).split(WORD)
        rendered = self.render([user(text)], True)
        assert rendered == self.tokenizer.apply_chat_template(
            [user(text)], tokenize=False, add_generation_prompt=True, **KNOWN
        )
        (written,) = {said for said in (text, text.strip()) if rendered == before + said + after} or {None}
        assert written is not None, (rendered, text)
        return self.golden(rendered, [before, written, after], rendered)

    def goes_on(self, text):
        """The answer left open after `text`."""
        end = "XendX"
        before = self.render([user(PROMPT), assistant(WORD)], False).split(WORD)[0]
        rendered, _ = self.render([user(PROMPT), assistant(text + end)], False).split(end)
        if not rendered.startswith(before):
            return "n", "-" * 8, "-" * 8
        written = rendered.removeprefix(before)
        try:
            theirs = self.tokenizer.apply_chat_template(
                [user(PROMPT), assistant(text)], tokenize=False, continue_final_message=True, **KNOWN
            )
        except ValueError:
            theirs = None
        letter, *hashes = self.golden(rendered, [before, written], theirs)
        return ("r" if written != text else letter), *hashes

    def golden(self, rendered, pieces, theirs):
        """A letter, and hashes of text and ids. `pieces` are the template's and somebody's in turn."""
        ids = self.ids(pieces)
        spells = any(token in pieces[1] for token in SPECIAL)
        assert spells or ids == self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        if theirs == rendered:
            letter = "s" if spells else "="
        elif theirs is not None and theirs == rendered.rstrip():
            letter = "T" if spells else "t"
        else:
            letter = "x"
        return letter, text_hash(rendered), ids_hash(ids)

    def ids(self, pieces):
        """Ids with special tokens where the template wrote them, and nowhere else."""
        control = "(" + "|".join(map(regex.escape, sorted(SPECIAL, key=len, reverse=True))) + ")"
        runs = [""]
        for at, piece in enumerate(pieces):
            for part in [piece] if at % 2 else regex.split(control, piece):
                if at % 2 == 0 and part in SPECIAL:
                    runs += [part, ""]
                else:
                    runs[-1] += part
        ids = []
        for at, run in enumerate(runs):
            if at % 2:
                ids.append(self.tokenizer.convert_tokens_to_ids(run))
            else:
                ids += self.tokenizer(run, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def text_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def ids_hash(ids):
    return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()[:8]


def columns(rows):
    letters, text_hashes, id_hashes = zip(*rows)
    return {"letters": "".join(letters), "texts": "".join(text_hashes), "ids": "".join(id_hashes)}


def write_all(out):
    """The tokenizer and the golden below `out`."""

    class Today(datetime):
        @classmethod
        def now(cls, tz=None):
            return TODAY

    chat_template_utils.datetime = Today
    all_texts = texts()
    assert len(set(all_texts)) == 200
    backend = train([*all_texts, PROMPT])
    backend.save(str(out / "templates" / "tokenizer.json"), pretty=False)
    families = []
    for name, (bos, eos) in FAMILIES.items():
        source = (Path(__file__).parent / "templates" / f"{name}.jinja").read_text()
        family = Family(name, source, backend)
        families.append(
            {
                "name": name,
                "bos": bos,
                "eos": eos,
                "answer": columns([family.answer(text) for text in all_texts]),
                "continue": columns([family.goes_on(text) for text in all_texts]),
            }
        )
    letters = {"answer": "=s", "continue": "=stTrn"}
    assert all(set(family[way]["letters"]) <= set(letters[way]) for family in families for way in letters)
    golden = {"date": TODAY.strftime("%Y-%m-%d"), "prompt": PROMPT, "texts": all_texts, "families": families}
    (out / "golden" / "templates.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    for family in families:
        print(family["name"], {letter: family["continue"]["letters"].count(letter) for letter in "=stTrn"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    write_all(parser.parse_args().out)
