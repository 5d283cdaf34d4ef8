"""A second witness for token ids: byte-level BPE written from its definition, slowly.

The goldens and midcourse both use the tokenizers library, so a fault of its set-up could hide in both. This
is GPT-2's algorithm (Sennrich et al. 2016 on bytes): split, spell bytes as letters, merge the earliest rule
first. `DIGITS` and `GPT_2` are the two splits that llama.cpp gives the pre-tokenizer `smollm`.
"""

import unicodedata

import regex

DIGITS = r"\p{N}"
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def byte_letters():
    """GPT-2's letter for every byte: itself when printable, else the next free one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(hidden)}


def encode(text, model, splits, control, whole_words=False):
    """Ids of `text`, by the `vocab` and `merges` of `model`; strings of `control` are tokens as they stand.

    `whole_words` takes a word of the vocabulary without merging, as tiktoken does.
    """
    vocab, ranks = model["vocab"], {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    letters = byte_letters()
    ids = []
    for part in isolate("|".join(map(regex.escape, control)), text):
        if part in control:
            ids.append(vocab[part])
            continue
        pieces = [part]
        for pattern in splits:
            pieces = [small for piece in pieces for small in isolate(pattern, piece)]
        for piece in pieces:
            spelled = [letters[byte] for byte in piece.encode()]
            is_whole = whole_words and "".join(spelled) in vocab
            ids += [vocab[token] for token in (["".join(spelled)] if is_whole else merge(spelled, ranks))]
    return ids


def composed(text):
    """`text` in Unicode's composed form."""
    return unicodedata.normalize("NFC", text)


def isolate(pattern, text):
    """Matches of `pattern` and what lies between them, in order."""
    return [piece for piece in regex.split(f"({pattern})", text) if piece]


def merge(tokens, ranks):
    """Applies the rule of the lowest rank until none applies."""
    while True:
        pairs = {pair: ranks[pair] for pair in zip(tokens, tokens[1:]) if pair in ranks}
        if not pairs:
            return tokens
        best = min(pairs, key=pairs.get)
        merged, at = [], 0
        while at < len(tokens):
            n = 2 if tuple(tokens[at : at + 2]) == best else 1
            merged.append("".join(tokens[at : at + n]))
            at += n
        tokens = merged
