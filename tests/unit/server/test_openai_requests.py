"""What OpenAI's clients ask for, as a request of the worker's own."""

from typing import Any
from uuid import uuid4

import pytest

from daemon.server.openai_requests import image_request, quality_of, text_request
from handlers.checking import InvalidRequest

SAID = [{"role": "user", "content": "Hi"}]


def test_parts_are_joined_and_words_translated() -> None:
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    wanted = text_request({"messages": messages, "stop": "x", "temperature": 0, "model": "chat"})
    assert wanted == {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "ab"},
        ],
        "stop": ["x"],
        "temperature": 0,
    }


def test_the_newer_bound_counts() -> None:
    body = {"messages": SAID, "max_tokens": 5, "max_completion_tokens": 7}
    assert text_request(body)["max_tokens"] == 7


@pytest.mark.parametrize("name", ["tools", "logprobs", "audio", "logit_bias"])
def test_what_cannot_be_done_is_refused_unless_it_asks_for_nothing(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        text_request({"messages": SAID, name: [1]})
    assert name not in text_request({"messages": SAID, name: []})


def test_a_user_counts_where_it_is_one_of_the_platform() -> None:
    user = str(uuid4())
    assert text_request({"messages": SAID, "user": user})["user_id"] == user
    assert "user_id" not in text_request({"messages": SAID, "user": "somebody"})
    assert "user_id" not in text_request({"messages": SAID, "user": f"{user}\n"})


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, {}),
        ({"size": "auto"}, {}),
        ({"size": "640x512", "n": 3}, {"width": 640, "height": 512, "num_images": 3}),
        ({"seed": 0, "steps": 4, "negative_prompt": "y"},
         {"seed": 0, "steps": 4, "negative_prompt": "y"}),
    ],
)  # fmt: skip
def test_pictures(body: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert image_request({"prompt": "x", **body}) == {"prompt": "x", **wanted}


@pytest.mark.parametrize(
    ("word", "quality"),
    [("hd", "high"), ("high", "high"), ("auto", "fast"), ("standard", "fast"), (None, "fast")],
)
def test_qualities(word: str | None, quality: str) -> None:
    assert quality_of({} if word is None else {"quality": word}) == quality
