"""Prompts longer than a text encoder reads: in pieces, or cut and told so."""

from pathlib import Path
from typing import Any

import pytest
from small_models import bytes_of, drawn, loaded

from handlers.long_prompts import Reading, _ids

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def sdxl(plain_sdxl: Path) -> Any:
    return loaded("sdxl", plain_sdxl)


def words(model: Any, tokens: int, word: str = "red ") -> str:
    """Return a text of exactly so many tokens."""
    tokenizer = model._pipeline.tokenizer
    each = len(_ids(tokenizer, word))
    text = word * (tokens // each) + "! " * (tokens % each)
    assert len(_ids(tokenizer, text)) == tokens
    return text


@pytest.mark.parametrize("negative", ["blue", "", None])
def test_one_piece_is_what_the_pipeline_makes(sdxl: Any, negative: str | None) -> None:
    """To the bit, so that short prompts aren't another model's."""
    import torch

    reading = Reading(sdxl._pipeline, "a red circle", negative, 4)
    with torch.no_grad():
        whole, pieces = reading.encode("cpu"), reading.in_pieces("cpu")

    for one, other in zip(whole, pieces, strict=True):
        assert one is other or torch.equal(one, other)


def test_what_stands_behind_the_first_piece_is_seen(sdxl: Any) -> None:
    """CLIP alone would drop it without a word."""
    long = words(sdxl, 75)

    assert bytes_of(sdxl, prompt=long + "!") != bytes_of(sdxl, prompt=long + "?")
    assert drawn(sdxl, prompt=long + "!").fields["metadata"]["prompt_tokens"] == 76


def test_a_long_negative_prompt_is_seen_too(sdxl: Any) -> None:
    """The shorter of the two is filled up with empty pieces."""
    long = words(sdxl, 75)

    pictures = {bytes_of(sdxl, negative_prompt=text) for text in ("", long, long + "!", long + "?")}
    assert len(pictures) == 4


@pytest.mark.parametrize(("pieces", "tokens"), [(1, 75), (4, 300)])
def test_what_is_cut_is_told(plain_sdxl: Path, pieces: int, tokens: int) -> None:
    """One token more than is read."""
    model = loaded("sdxl", plain_sdxl, {"prompt_pieces": pieces})
    fits = drawn(model, prompt=words(model, tokens))
    more = drawn(model, prompt=words(model, tokens) + "!")

    noted = [
        (result.fields["metadata"]["prompt_tokens"], result.fields["metadata"]["prompt_truncated"])
        for result in (fits, more)
    ]
    assert noted == [(tokens, False), (tokens + 1, True)]
    assert fits.files == more.files


def test_without_guidance_the_negative_prompt_is_not_read(sdxl: Any) -> None:
    """So it isn't cut either."""
    long = words(sdxl, 301)
    noted = [
        drawn(sdxl, negative_prompt=long, guidance_scale=scale).fields["metadata"]
        for scale in (1, 2)
    ]

    assert [each["prompt_truncated"] for each in noted] == [False, True]


def test_ten_thousand_characters_draw_a_picture(sdxl: Any) -> None:
    """The most that a row may hold, also of letters that take many tokens each."""
    for text in ("red " * 2_500, "\N{FIRE}" * 10_000):
        metadata = drawn(sdxl, prompt=text).fields["metadata"]
        assert metadata["prompt_truncated"]
        assert metadata["prompt"] == text


def test_wan_reads_512_tokens(demo_models: dict[str, Path]) -> None:
    """As it was trained to; what is more is cut, and told."""
    model = loaded("wan", demo_models["wan"])
    tokenizer = model._pipeline.tokenizer
    short = drawn(model).fields["metadata"]
    # The last token that is read is the mark at the end.
    long = "a " * (511 // len(tokenizer("a", add_special_tokens=False).input_ids))
    fits, more = drawn(model, prompt=long), drawn(model, prompt=long + "a a a")

    assert not short["prompt_truncated"]
    assert not fits.fields["metadata"]["prompt_truncated"]
    assert fits.fields["metadata"]["prompt_tokens"] > 500
    assert more.fields["metadata"]["prompt_truncated"]
    assert len({bytes_of(model, prompt=text) for text in ("a", long, "a " * 300)}) == 3
