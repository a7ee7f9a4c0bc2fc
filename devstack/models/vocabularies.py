"""Tokenizers for tiny pipelines, made without a hub: every text can be written in them.

Words that the pipelines were trained on are one token each, all else is spelled.
"""

import itertools
from typing import Any

_END = "<|endoftext|>"
_WORD_END = "</w>"
CLIP_LENGTH = 77

WORDS = (
    *("a", "an", "on", "the", "at", "in", "to", "and", "is", "of", "background"),
    *("red", "orange", "yellow", "green", "blue", "purple", "black", "white"),
    *("circle", "square", "triangle", "star"),
    *("left", "right", "top", "bottom", "middle", "center", "centre"),
    *("moves", "stands", "still", "up", "down"),
)


def clip_tokenizer() -> Any:
    """Return a CLIP tokenizer of bytes and of `WORDS`."""
    from transformers import CLIPTokenizer

    letters = _byte_letters()
    symbols = [*letters, *(f"{letter}{_WORD_END}" for letter in letters)]
    merges = _merges(WORDS)
    symbols += [first + second for first, second in merges]
    # The text encoder finds the text's end by the highest id.
    symbols += ["<|startoftext|>", _END]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_LENGTH)


def t5_tokenizer() -> Any:
    """Return a T5 tokenizer of single characters and of `WORDS`."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words = [(f"▁{word}", -2.5) for word in WORDS]
    characters = [(chr(code), -3.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=[*special, *words, *characters], extra_ids=0)


def _merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the pairs by which letters become these words, in the order of byte pair encoding.

    The pair that is seen most goes first, so no word is split by another one's pairs.
    """
    spelled = [[*word[:-1], word[-1] + _WORD_END] for word in words]
    merges = []
    while pairs := sorted(
        (first, second) for word in spelled for first, second in itertools.pairwise(word)
    ):
        best = max(pairs, key=pairs.count)
        merges.append(best)
        spelled = [_merged(word, best) for word in spelled]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    """Return a word's symbols with this pair made one wherever it occurs."""
    merged: list[str] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def _byte_letters() -> list[str]:
    """Return the printable letters by which GPT-2 and CLIP write the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(other))]
