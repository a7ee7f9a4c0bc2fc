"""What an engine writes, line by line, and no more of it than anybody could read. Pure.

A library that writes in a loop would otherwise keep the daemon busy with splitting and logging
lines: the rest of a flood is left out, and it is said how much that was. Its last lines are kept,
since they explain an end.
"""

from collections import deque
from collections.abc import Iterator

KEPT_LINES = 40
"""The last lines of an engine's output, kept to explain its death."""

BURST_BYTES = 2 * 2**20
"""May come at once: a long traceback, all that a large model says while it loads."""

BYTES_PER_S = 64 * 2**10
LINE_COSTS_BYTES = 100
"""What each line counts for beside its length: short ones are the most work."""

_LINE_BYTES = 8192


class Output:
    """The lines of one engine, from bytes cut anywhere."""

    def __init__(self, now: float) -> None:
        self._rest = b""
        self._allowed = float(BURST_BYTES)
        self._at_s = now
        self._left_out = 0
        self._unread = b""
        """The end of what was left out."""
        self._last: deque[str] = deque(maxlen=KEPT_LINES)

    def feed(self, data: bytes, now: float) -> Iterator[str]:
        """Take bytes that came at that moment; yield whole lines, over-long ones in pieces."""
        self._allowed = min(BURST_BYTES, self._allowed + (now - self._at_s) * BYTES_PER_S)
        self._at_s = now
        costs = len(data) + LINE_COSTS_BYTES * (data.count(b"\n") + data.count(b"\r"))
        if costs > self._allowed:
            self._left_out += len(data)
            self._unread = (self._unread + data)[-_LINE_BYTES:]
            return
        self._allowed -= costs
        yield from self._flood_over()
        # Progress bars redraw a line with a carriage return.
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        while len(rest) > _LINE_BYTES:
            lines.append(rest[:_LINE_BYTES])
            rest = rest[_LINE_BYTES:]
        self._rest = rest
        for line in lines:
            yield from self._taken(line)

    def end(self) -> Iterator[str]:
        """Yield what came after the last line's end."""
        yield from self._flood_over()
        rest, self._rest = self._rest, b""
        yield from self._taken(rest)

    @property
    def flooded(self) -> bool:
        """Whether more came than is passed on."""
        return self._left_out > 0

    @property
    def last_lines(self) -> list[str]:
        """The last lines that were written, those of a flood included."""
        return [*self._last, *self._unread_lines()][-KEPT_LINES:]

    def _flood_over(self) -> Iterator[str]:
        """Yield the line that was cut off by a flood, and what stands for the flood."""
        if not self._left_out:
            return
        rest, self._rest = self._rest, b""
        yield from self._taken(rest)
        words = f"({self._left_out:,} bytes of output left out)"
        self._last.extend([words, *self._unread_lines()])
        self._left_out, self._unread = 0, b""
        yield words

    def _unread_lines(self) -> list[str]:
        # The first one was cut.
        lines = self._unread.replace(b"\r", b"\n").split(b"\n")[1:]
        return [text for line in lines if (text := _text(line))]

    def _taken(self, line: bytes) -> Iterator[str]:
        if text := _text(line):
            self._last.append(text)
            yield text


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip()
