"""Proof that a rendered prompt holds exactly the given messages, computed for each request.

A template is a program: that it added nothing to the probes of `templates` doesn't prove it of
other messages. So each prompt is compared with a twin, the same conversation with a meaningless
word in place of each content:

    given    [system: "Be kind.", user: "Hello"]
    prompt   <|system|>Be kind.<|end|><|user|>Hello<|end|><|assistant|>
    twin     <|system|>qzaqz<|end|><|user|>qzbqz<|end|><|assistant|>
    frame    <|system|>     <|end|><|user|>     <|end|><|assistant|>

1. Each word stands in the twin exactly once, and but for system messages in the given order.
2. The frame, which is all the rest, is made of marks and roles alone.
3. The prompt is the frame with the given contents in those places, and nothing else.

By 3 nothing in the prompt depends on the contents, by 2 nothing else says anything, by 1 nothing is
missing. Blanks at the ends of a content may be trimmed; the message is then told as it stands in
the prompt. Frames are kept, since most conversations look alike. Pure.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from handlers.requests import Message
from handlers.templates import Conversation, words_beside_marks

_KEPT_FRAMES = 256
_WORD = re.compile(r"qz([a-z]+)qz")
_Shape = tuple[tuple[str, str | None], ...]
"""Each message's role, and its content if that is blank."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What of the messages stands in the prompt: each as it does, and whether that is all."""

    messages: tuple[Message, ...]
    holds: bool


@dataclass(frozen=True, slots=True)
class _Frame:
    gaps: tuple[str, ...]
    """What stands before, between and after the contents."""
    order: tuple[int, ...]
    """Which message's content stands in each place."""


class Faithfulness:
    """Proves prompts of one template.

    Args:
        render: renders a conversation with it; may raise.
    """

    def __init__(self, render: Callable[[Conversation], str]) -> None:
        self._render = render
        self._frame_of = lru_cache(_KEPT_FRAMES)(self._new_frame)

    def prove(self, messages: Sequence[Message], rendered: str) -> Proof:
        """Compare what was given with what was rendered."""
        given = tuple(messages)
        frame = self._frame_of(tuple((each.role, _blank(each.content)) for each in given))
        told = None if frame is None else _told(frame, given, rendered)
        return Proof(given, holds=False) if told is None else Proof(told, holds=True)

    def _new_frame(self, shape: _Shape) -> _Frame | None:
        twin = [
            {"role": role, "content": _word(number) if blank is None else blank}
            for number, (role, blank) in enumerate(shape)
        ]
        try:
            rendered = self._render(twin)
        except Exception:  # noqa: BLE001 -- a template may raise anything: it is a program
            return None
        pieces = _WORD.split(rendered)
        frame = _Frame(tuple(pieces[::2]), tuple(map(_number, pieces[1::2])))
        silent = not any(words for gap in frame.gaps for words in words_beside_marks(gap))
        return frame if silent and _is_whole(frame.order, shape) else None


def _told(frame: _Frame, given: tuple[Message, ...], rendered: str) -> tuple[Message, ...] | None:
    """Return the messages as they stand in the prompt; None: it isn't the frame around them."""
    told = list(given)
    at = len(frame.gaps[0])
    if not rendered.startswith(frame.gaps[0]):
        return None
    for number, gap in zip(frame.order, frame.gaps[1:], strict=True):
        content = given[number].content
        for variant in (content, content.strip(), content.lstrip(), content.rstrip()):
            if rendered.startswith(variant + gap, at):
                told[number] = Message(given[number].role, variant)
                at += len(variant) + len(gap)
                break
        else:
            return None
    return tuple(told) if at == len(rendered) else None


def _word(number: int) -> str:
    """Return a word that means nothing, of letters alone: templates trim and look for marks."""
    letters = ""
    while True:
        number, rest = divmod(number, 26)
        letters = chr(ord("a") + rest) + letters
        if number == 0:
            return f"qz{letters}qz"


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("a")
    return number


def _is_whole(order: Sequence[int], shape: _Shape) -> bool:
    """Say whether each content is there once, in the given order but for system messages."""
    told = [number for number, (_, blank) in enumerate(shape) if blank is None]
    dialogue = [number for number in order if shape[number][0] != "system"]
    return sorted(order) == told and dialogue == sorted(dialogue)


def _blank(content: str) -> str | None:
    """Return a content of blanks alone, which no word can stand for."""
    return None if content.strip() else content
