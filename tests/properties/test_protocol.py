"""The frames between daemon and engine: whole in any cutting, and refused where they are wrong."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.engines.figures import Activity
from daemon.engines.protocol import (
    Cancel,
    Done,
    Fatal,
    File,
    FrameReader,
    FromDaemon,
    FromEngine,
    Hello,
    Load,
    Loaded,
    LoadFailed,
    Ping,
    Pong,
    ProtocolError,
    Run,
    RunCancelled,
    RunFailed,
    Shutdown,
    Step,
    encode,
    reader_of_daemon,
    reader_of_engine,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.dictionaries(st.text(), JSON, max_size=3)
FILES = st.lists(st.builds(File, st.text(), st.text(), st.text(), st.binary()), max_size=3)
SECONDS = st.floats(0, 1e9)
ACTIVITIES = st.builds(Activity, st.floats(0, 1e12), st.integers(0, 2**62), st.integers(0, 2**62))

FROM_ENGINE = st.one_of(
    st.builds(Hello),
    st.builds(Loaded, st.integers(0, 2**40), SECONDS),
    st.builds(LoadFailed, st.text(), st.text()),
    st.builds(Step, st.text(), st.text(), st.floats(0, 1), st.none() | st.integers(0, 999)),
    st.builds(
        Done, st.text(), FIELDS, FILES, st.none() | st.integers(0, 2**40), st.just({"a": 0.5})
    ),
    st.builds(RunFailed, st.text(), st.text(), st.text()),
    st.builds(RunCancelled, st.text()),
    st.builds(Fatal, st.text()),
    st.builds(Pong, st.integers(0, 2**40), st.integers(0, 2**40), st.none() | ACTIVITIES),
)
FROM_DAEMON = st.one_of(
    st.builds(
        Load, st.text(), st.text(), st.text(), st.text(), st.text(), st.text(), st.integers(1, 9),
        FIELDS,
    ),
    st.builds(Run, st.text(), st.text(), FIELDS),
    st.builds(Cancel, st.text()),
    st.builds(Shutdown),
    st.builds(Ping, st.integers(0, 2**40)),
)  # fmt: skip


def read_in_pieces(
    reader: FrameReader[FromEngine] | FrameReader[FromDaemon], data: bytes, cuts: list[int]
) -> list[FromEngine | FromDaemon]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    return [message for piece in pieces for message in reader.feed(piece)]


@given(st.lists(FROM_ENGINE, max_size=4), st.lists(st.integers(0), max_size=5))
def test_engine_messages_survive_any_cutting(messages: Any, cuts: Any) -> None:
    """Whatever the pieces in which bytes arrive, the same messages come out in the same order."""
    reader = reader_of_engine()

    read = read_in_pieces(reader, b"".join(map(encode, messages)), cuts)

    assert messages == read
    reader.end()


@given(st.lists(FROM_DAEMON, max_size=4), st.lists(st.integers(0), max_size=5))
def test_daemon_messages_survive_any_cutting(messages: Any, cuts: Any) -> None:
    """The same in the other direction."""
    reader = reader_of_daemon()

    read = read_in_pieces(reader, b"".join(map(encode, messages)), cuts)

    assert messages == read
    reader.end()


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_or_nothing(data: Any) -> None:
    """Bytes that no engine sent never raise anything but `ProtocolError`."""
    reader = reader_of_engine(max_bytes=100)

    try:
        for message in reader.feed(data):
            assert isinstance(message, msgspec.Struct)
        reader.end()
    except ProtocolError:
        pass


@given(FROM_ENGINE, st.data())
def test_a_stream_that_ends_inside_a_frame_is_told(message: Any, data: Any) -> None:
    """A frame cut off by the end of the stream is an error, not a message."""
    frame = encode(message)
    reader = reader_of_engine()
    assert list(reader.feed(frame[: data.draw(st.integers(1, len(frame) - 1))])) == []

    with pytest.raises(ProtocolError, match="into a frame"):
        reader.end()


def test_an_oversize_frame_is_refused_by_its_length_alone() -> None:
    """The reader refuses before it has taken the body into memory."""
    reader = reader_of_engine(max_bytes=10)

    with pytest.raises(ProtocolError, match="a frame of 11 bytes is longer than 10"):
        list(reader.feed((11).to_bytes(4, "big")))


def test_an_oversize_message_is_not_sent() -> None:
    """The sender refuses too, with the message's kind and size."""
    message = Done("run", {}, [File("image", "image/png", "png", bytes(100))], None, {})

    with pytest.raises(ProtocolError, match=r"a Done of 226 bytes is longer than 50"):
        encode(message, max_bytes=50)


def test_what_msgpack_cannot_hold_is_a_protocol_error() -> None:
    """A handler's mistake in its result is told as one, and doesn't end the engine's loop."""
    with pytest.raises(ProtocolError, match="a Done can't be sent"):
        encode(Done("run", {"x": object()}, [], None, {}))


def test_a_message_of_the_other_side_is_refused() -> None:
    """Each side reads only what the other one may say."""
    with pytest.raises(ProtocolError, match="isn't a message"):
        list(reader_of_engine().feed(encode(Shutdown())))
