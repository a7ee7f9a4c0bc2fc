"""Tokenizers for tiny pipelines, made without a hub: every text can be written in them."""

from typing import Any

_END = "<|endoftext|>"
CLIP_LENGTH = 77


def clip_tokenizer() -> Any:
    """Return a CLIP tokenizer of bytes: no merges, so that each character is a token."""
    from transformers import CLIPTokenizer

    letters = _byte_letters()
    symbols = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", _END]
    # The text encoder finds the text's end by the highest id.
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=CLIP_LENGTH)


def t5_tokenizer() -> Any:
    """Return a T5 tokenizer of single characters."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    characters = [(chr(code), -3.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=[*special, *characters], extra_ids=0)


def _byte_letters() -> list[str]:
    """Return the printable letters by which GPT-2 and CLIP write the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(other))]
