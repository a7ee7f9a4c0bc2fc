"""Takes what users wrote out of the log: no line, nor an exception's text, repeats a prompt.

The daemon doesn't log prompts by itself; but a library's error may quote what it choked on, whole
or in part. So whatever comes from elsewhere (errors, exceptions, libraries' lines, engines' output)
is compared with the texts of the jobs that are held, and of those that have just ended: any run of
15 characters that both have in common goes. Shorter prompts go where they stand as a word.

That is searched by blocks: a text's aligned blocks of 8 characters are a set, made when the first
such line comes, and a line's blocks at each of its places are another.
"""

import itertools
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Literal

Shown = Literal["false", "length", "full"]
"""What the log may show of a prompt."""

_BLOCK = 8
_RUN = 2 * _BLOCK - 1
"""So many characters in common always hold one whole aligned block."""

_SHORTEST = 4
"""Shorter prompts aren't looked for: every line has them."""

_LARGE = 65_536
"""Characters of a request above which its blocks aren't kept."""

_ENDED = 64
"""Jobs that have ended, whose late lines are still watched."""

_MOST_PLACES = 20_000
"""Places that are looked at in one line; hostile texts could make it millions."""

_DEEPEST = 8
_HARMLESS = re.compile(r"[0-9a-fA-F-]{32,36}|00-[0-9a-f-]{52}")
"""Ids in a request: lines need them."""

_PROMPT_NAMES = frozenset(
    {"prompt", "negative_prompt", "enhanced_prompt", "original_prompt", "message", "content",
     "system_prompt"}
)  # fmt: skip
"""Fields whose text is hidden however short it is."""

_HERE: ContextVar[Any] = ContextVar("request_body", default=None)


class _Job:
    """The texts of one request, in the spellings in which they turn up."""

    def __init__(self, sources: Sequence[Any]) -> None:
        self._sources = sources

    def add(self, text: str) -> None:
        """Take one more text."""
        self.__dict__.pop("texts", None)
        self.__dict__.pop("blocks", None)
        self._sources = (*self._sources, {"prompt": text})

    @cached_property
    def texts(self) -> list[str]:
        """All texts, the longest first."""
        found = {
            spelling
            for source in self._sources
            for text in _strings(source, "prompt", 0)
            for spelling in (text, json.dumps(text)[1:-1], repr(text)[1:-1])
        }
        return sorted(found, key=len, reverse=True)

    @cached_property
    def size(self) -> int:
        """Characters of all texts."""
        return sum(map(len, self.texts))

    @cached_property
    def blocks(self) -> frozenset[str]:
        """The aligned blocks of all texts."""
        return frozenset(itertools.chain.from_iterable(map(_aligned, self.texts)))


class Prompts:
    """The texts of jobs, and what the log may show of them. One for the process is enough."""

    def __init__(self, shown: Shown = "false") -> None:
        self.shown: Shown = shown
        self._held: dict[str, _Job] = {}
        self._ended: deque[_Job] = deque(maxlen=_ENDED)

    def hold(self, key: str, *sources: Any) -> None:
        """Watch over a job's texts from now on: all that its JSON holds."""
        self._held[key] = _Job(sources)

    def also(self, key: str, text: str) -> None:
        """Watch over one more text of a held job, such as its rewritten prompt."""
        if (job := self._held.get(key)) is not None:
            job.add(text)

    def ended(self, key: str) -> None:
        """Let a job go, after as many others as late lines may need."""
        if (job := self._held.pop(key, None)) is not None:
            self._ended.append(job)

    def here(self, body: Any) -> None:
        """Watch over a request's body in the lines of this task."""
        _HERE.set(body)

    def hide(self, text: str, key: str | None = None) -> str:
        """Return the text without prompts.

        Args:
            text: of a line.
            key: of the job that the line is about, whose texts are searched however long they are.
        """
        if self.shown == "full" or len(text) < _SHORTEST:
            return text
        jobs = [
            job
            for name, job in [*self._held.items(), *((None, job) for job in self._ended)]
            if key in {None, name} or job.size <= _LARGE
        ]
        if (body := _HERE.get()) is not None:
            jobs.append(_Job((body,)))
        if not jobs:
            return text
        return _Search(text, jobs).hidden(self.shown)

    def hide_value(self, value: Any, key: str | None = None) -> Any:
        """Return JSON data without prompts."""
        match value:
            case str():
                return self.hide(value, key)
            case dict():
                return {name: self.hide_value(item, key) for name, item in value.items()}
            case list():
                return [self.hide_value(item, key) for item in value]
            case _:
                return value


class _Search:
    """Finds what one line has in common with jobs' texts."""

    def __init__(self, text: str, jobs: Sequence[_Job]) -> None:
        self._text = text
        self._jobs = jobs
        self._found: list[tuple[int, int, int]] = []
        """From, to, and the length of the text that it is from."""
        self._places: dict[str, list[int]] = {}
        for at in range(len(text) - _BLOCK + 1):
            self._places.setdefault(text[at : at + _BLOCK], []).append(at)
        self._left = _MOST_PLACES

    def hidden(self, shown: Shown) -> str:
        """Return the line without them."""
        for job in self._jobs:
            blocks = job.blocks if job.size <= _LARGE else None
            hits = self._places.keys() if blocks is None else self._places.keys() & blocks
            for text in job.texts:
                if len(text) < _RUN:
                    self._find_whole(text)
                elif hits:
                    self._find_parts(text, hits)
        if self._left < 0:
            return "[hidden: it repeats parts of prompts]"
        return self._without(shown)

    def _find_whole(self, text: str) -> None:
        for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", self._text):
            self._found.append((*match.span(), len(text)))

    def _find_parts(self, text: str, hits: Any) -> None:
        for start, block in zip(itertools.count(0, _BLOCK), _aligned(text), strict=False):
            if block not in hits:
                continue
            covered = 0
            for at in list(self._places[block]):
                if at < covered:
                    continue  # it lies in what was just found
                self._left -= 1
                if self._left < 0:
                    return
                begin, end = self._extended(text, start, at)
                if end - begin >= _RUN:
                    covered = end
                    self._found.append((begin, end, len(text)))
                    self._places[block] = [p for p in self._places[block] if not begin <= p < end]

    def _extended(self, text: str, start: int, at: int) -> tuple[int, int]:
        """Return from where to where line and text agree around a common block."""
        line, begin, end = self._text, at, at + _BLOCK
        while begin > 0 and start > 0 and line[begin - 1] == text[start - 1]:
            begin, start = begin - 1, start - 1
        there = start + end - begin
        while end < len(line) and there < len(text) and line[end] == text[there]:
            end, there = end + 1, there + 1
        return begin, end

    def _without(self, shown: Shown) -> str:
        pieces, done = [], 0
        for begin, end, length in sorted(self._found, key=lambda found: (found[0], -found[1])):
            if end <= done:
                continue
            if begin >= done:
                word = "[prompt]" if shown == "false" else f"[prompt of {length} characters]"
                pieces += [self._text[done:begin], word]
            done = end
        return "".join((*pieces, self._text[done:]))


def _aligned(text: str) -> Iterator[str]:
    return (text[at : at + _BLOCK] for at in range(0, len(text) - _BLOCK + 1, _BLOCK))


def _strings(value: Any, name: str, depth: int) -> Iterator[str]:
    """Yield the texts of a request's JSON that may be a user's words."""
    match value:
        case str():
            least = _SHORTEST if name in _PROMPT_NAMES else _RUN
            text = value.strip()
            if len(text) >= least and not _HARMLESS.fullmatch(text):
                yield text
        case Mapping() if depth < _DEEPEST:
            for key, item in value.items():
                yield from _strings(item, str(key), depth + 1)
        case list() | tuple() if depth < _DEEPEST:
            for item in value:
                yield from _strings(item, name, depth + 1)


PROMPTS = Prompts()
"""Those of this process."""
