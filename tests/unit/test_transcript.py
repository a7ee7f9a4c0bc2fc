"""The bounds of an answer that is kept."""

import pytest

from daemon import transcript as module
from daemon.transcript import Transcript, units


def told(transcript: Transcript, number: int = 0, had: int = 0) -> list[tuple[int, int, str]]:
    return [(each.number, each.offset, each.text) for each in transcript.since(number, had)]


def test_offsets_count_as_javascript_does() -> None:
    """A character outside the first plane counts twice, a lone surrogate once."""
    transcript = Transcript()
    for number, text in enumerate(("ä", "\N{GRINNING FACE}", "\ud83d", "z"), 1):
        transcript.tell(number, text, given=number)

    assert [offset for _, offset, _ in told(transcript)] == [0, 1, 3, 4]


def test_only_text_that_nobody_was_given_grows() -> None:
    """A piece that somebody has stays as it is, so that he can say where he is."""
    transcript = Transcript()
    transcript.tell(1, "a", given=0)
    transcript.tell(2, "b", given=0)
    transcript.tell(3, "c", given=2)
    transcript.tell(5, "d", given=2)

    assert told(transcript) == [(2, 0, "ab"), (5, 2, "cd")]
    assert told(transcript, 2) == [(5, 2, "cd")]


def test_too_many_pieces_become_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost; who was in the middle gets the rest, or an overlap that its offset shows."""
    monkeypatch.setattr(module, "MAX_PIECES", 10)
    transcript = Transcript()
    for number in range(1, 101):
        transcript.tell(number, f"{number % 10}", given=number)

    pieces = told(transcript)
    assert len(pieces) <= 10
    assert "".join(text for *_, text in pieces) == "1234567890" * 10
    assert transcript.lost_before == 0
    assert told(transcript, 100) == []
    assert "".join(text for *_, text in told(transcript, 3, had=3)) == ("1234567890" * 10)[3:]
    assert told(transcript, 3, had=3)[0][1] == 3
    number, offset, text = told(transcript, 3)[0]
    assert ("1234567890" * 10)[offset:].startswith(text)


@pytest.mark.parametrize("given", [0, 10**9])
def test_too_much_text_loses_its_beginning(monkeypatch: pytest.MonkeyPatch, given: int) -> None:
    """Whether or not somebody reads along: what is left has its place, and the loss shows."""
    monkeypatch.setattr(module, "MAX_TEXT", 1000)
    transcript = Transcript()
    words = [f"{number:03}\N{GRINNING FACE}" for number in range(1000)]
    for number, word in enumerate(words, 1):
        transcript.tell(number, word, given=given)

    whole = "".join(words).encode("utf-16-le")
    pieces = told(transcript)
    kept = "".join(text for *_, text in pieces)
    assert 200 <= units(kept) <= 1000
    assert whole.endswith(kept.encode("utf-16-le"))
    assert pieces[0][1] == transcript.begins_at == (len(whole) // 2) - units(kept)
    assert transcript.lost_before > 0


def test_a_single_part_stays_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing older to drop; the next part takes its place."""
    monkeypatch.setattr(module, "MAX_TEXT", 10)
    transcript = Transcript()
    transcript.tell(1, "x" * 100, given=0)
    assert told(transcript) == [(1, 0, "x" * 100)]
    transcript.tell(2, "y", given=0)
    assert told(transcript) == [(2, 100, "y")]
