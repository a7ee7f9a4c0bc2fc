"""What resolving shares for all kinds of requests: prompts, seeds, refusals, no accidents."""

import json
from typing import Any

import pytest

from handlers.params import InvalidRequest, Limits, resolve


def image(request: Any, **more: Any) -> Any:
    return resolve("image", "sdxl_image_fast", "sdxl", "fast", request, **more)


def refusal(request: Any, handler: str = "image", **more: Any) -> Any:
    with pytest.raises(InvalidRequest) as caught:
        resolve(handler, "any", "sdxl", "fast", request, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("request_", "kind"), [([], "a list"), ("x", "text"), (3, "a number"), (True, "true or false")]
)
def test_metadata_must_be_an_object(request_: Any, kind: Any) -> None:
    """Strangers write any JSON into metadata; only an object is a request."""
    assert f"metadata must be an object, not {kind}" == refusal(request_)


@pytest.mark.parametrize(
    ("metadata", "column", "used"),
    [
        ({"enhanced_prompt": "e", "prompt": "p"}, "o", "e"),
        ({"enhanced_prompt": " ", "prompt": "p"}, "o", "p"),
        ({"enhanced_prompt": None, "prompt": ""}, "o", "o"),
        (None, "o", "o"),
        ({"prompt": "  as written\n"}, None, "  as written\n"),
    ],
)
def test_the_first_prompt_that_is_not_blank_is_used_as_it_is(
    metadata: Any, column: Any, used: Any
) -> None:
    """Enhanced before given before the old column; nothing is trimmed."""
    assert used == image(metadata, original_prompt=column).request.prompt


def test_a_missing_prompt_names_the_places() -> None:
    """The author learns where a prompt is looked for."""
    assert refusal({"prompt": "\t"}) == (
        "prompt is missing: metadata.enhanced_prompt, metadata.prompt and original_prompt "
        "are all empty"
    )


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("prompt", 3, "prompt must be text, not 3"),
        ("prompt", "a\0b", "prompt holds a NUL character"),
        ("prompt", "\ud800", "prompt holds half of a character (a lone surrogate) at position 0"),
        ("negative_prompt", "\0", "negative_prompt holds a NUL character"),
        ("seed", -1, "seed must be a whole number from 0 to 9223372036854775807, not -1"),
        ("seed", 2**63, f"seed must be a whole number from 0 to {2**63 - 1}, not {2**63}"),
        ("seed", True, "seed must be a whole number from 0 to 9223372036854775807, not true"),
        ("steps", "20", 'steps must be a whole number from 1 to 150, not "20"'),
        ("steps", 0, "steps must be a whole number from 1 to 150, not 0"),
        ("steps", 20.0, "steps must be a whole number from 1 to 150, not 20.0"),
        ("guidance_scale", float("nan"), "guidance_scale must be a number from 0 to 30, not NaN"),
        ("width", "x" * 99, f'width must be a multiple of 8 from 64 to 2048, not "{"x" * 58}…'),
    ],
)
def test_a_refusal_names_field_value_and_what_is_allowed(
    field: str, value: Any, sentence: str
) -> None:
    """One clear sentence each; values are shown as JSON, shortened."""
    assert sentence == refusal({"prompt": "p", field: value})


def test_a_prompt_may_have_ten_thousand_characters() -> None:
    """The limit for rows; one more is refused with both figures."""
    assert image({"prompt": "x" * 10_000})

    assert (
        refusal({"prompt": "x" * 10_001})
        == "prompt is 10,001 characters long, and at most 10,000 are allowed"
    )


def test_a_random_seed_fits_into_javascript() -> None:
    """A seed that was drawn here can be sent back by a frontend without losing digits."""
    assert all(0 <= image({"prompt": "p"}).request.seed < 2**53 for _ in range(50))


def test_null_is_the_same_as_absent() -> None:
    """Frontends write null for what they leave open."""
    assert image({"prompt": "p", "width": None, "steps": None}).request.width == 1024


def test_params_are_plain_json() -> None:
    """What goes to the engine holds every resolved value, and survives JSON."""
    params = image({"prompt": "p", "seed": 7}).params

    assert params == json.loads(json.dumps(params))
    assert (params["seed"], params["steps"], params["prompt"]) == (7, 20, "p")


def test_fake_instructions_need_permission() -> None:
    """A row can't make a real worker crash itself."""
    request = {"prompt": "p", "fake": {"crash": 1}}

    assert image(request).request.fake == {}
    assert image(request, limits=Limits(allow_fake=True)).request.fake == {"crash": 1}


def test_another_prompt_keeps_all_else() -> None:
    """An enhanced prompt replaces the prompt alone."""
    resolved = image({"prompt": "p", "seed": 7})

    assert {**resolved.params, "prompt": "better"} == resolved.with_prompt("better").params
