"""What is said of an answer while it is written."""

import random

import pytest

from handlers.speech import Speech


def said(pieces: list[str], stops: list[str]) -> tuple[list[str], Speech]:
    speech = Speech(stops)
    told = [speech.add(piece) for piece in pieces if not speech.stopped]
    return [*told, speech.rest()], speech


def test_without_stop_strings_each_piece_is_said_at_once() -> None:
    """Nothing is held back."""
    told, speech = said(["Hel", "", "lo"], [])

    assert told == ["Hel", "", "lo", ""]
    assert (speech.text, speech.stopped) == ("Hello", False)


def test_the_answer_ends_before_a_stop_string_in_two_pieces() -> None:
    """The first half of it isn't said before it is known not to be one."""
    told, speech = said(["One. ", "ST", "OP", "never"], ["STOP"])

    assert told == ["On", "e.", " ", ""]
    assert speech.text == "One. "
    assert speech.stopped


def test_the_earliest_stop_string_counts() -> None:
    """Wherever it stands in the list, and within one piece."""
    told, speech = said(["a, b; c"], ["; c", ", "])

    assert ("".join(told), speech.text) == ("a", "a")


def test_what_only_began_like_a_stop_string_is_said_at_the_end() -> None:
    """The answer ended first."""
    told, speech = said(["It is ST"], ["STOP"])

    assert "".join(told) == speech.text == "It is ST"
    assert not speech.stopped


@pytest.mark.parametrize("seed", range(30))
def test_pieces_together_are_the_text_however_it_is_cut(seed: int) -> None:
    """And the text is what stands before the first stop string."""
    drawn = random.Random(seed)
    text = "".join(drawn.choice("ab") for _ in range(40))
    stops = ["".join(drawn.choice("ab") for _ in range(size)) for size in (4, 6)]
    pieces, rest = [], text
    while rest:
        cut = drawn.randint(0, 4)
        pieces.append(rest[:cut])
        rest = rest[cut:]

    told, speech = said(pieces, stops)

    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert "".join(told) == speech.text == text[: min(ends, default=len(text))]
