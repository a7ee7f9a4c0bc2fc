"""Figures that an engine tells of itself, each within what can be true. A part of the protocol."""

from typing import Annotated

import msgspec

from handlers.base import Saving

MOST_BYTES = 2**50
"""More memory than any host has: whoever tells of it, or of less than none, can't be believed."""

Held = Annotated[int, msgspec.Meta(ge=0, le=MOST_BYTES)]
"""Bytes that the ledgers count with."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
ProcessorSeconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
"""Those of an engine's whole life, on however many cores."""

Counted = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""What is counted from an engine's start on, and compared with itself alone."""

Savings = Annotated[int, msgspec.Meta(ge=0, le=int(max(Saving)))]


class Activity(msgspec.Struct, frozen=True):
    """What all processes of the engine have done so far, together.

    `processor_s` are seconds of processors, `io_bytes` bytes read and written in any way,
    `faults` pages that had to be fetched from a disk.
    """

    processor_s: ProcessorSeconds
    io_bytes: Counted
    faults: Counted
