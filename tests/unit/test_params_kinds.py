"""What each kind of request asks for: chat in its forms, pictures, films."""

from typing import Any

import pytest

from handlers.params import InvalidRequest, Limits, resolve


def chat(request: Any, handler: str = "chat", **more: Any) -> Any:
    return resolve(handler, handler, "chat", "fast", request, **more).request


def spoken(request: Any, **more: Any) -> Any:
    return [(message.role, message.content) for message in chat(request, **more).messages]


def refusal(handler: str, request: Any, model: str = "chat", **more: Any) -> Any:
    with pytest.raises(InvalidRequest) as caught:
        resolve(handler, "any", model, "fast", request, **more)
    return str(caught.value)


def test_messages_are_passed_on_as_they_are() -> None:
    """Nothing is added, trimmed or dropped; foreign fields of a message are left out."""
    messages = [
        {"role": "system", "content": " be kind "},
        {"role": "user", "content": "", "created_at": "2025-07-30T10:00:00Z"},
    ]

    assert spoken({"messages": messages}) == [("system", " be kind "), ("user", "")]


def test_the_message_form_joins_system_history_and_message() -> None:
    """In that order, whether the history names the speaker by sender or by role."""
    request = {
        "message": "and now?",
        "system_prompt": "be kind",
        "conversation_history": [
            {"sender": "user", "content": "hello", "created_at": "2025-07-30T10:00:00Z"},
            {"role": "assistant", "content": "hi"},
        ],
    }

    expected = [
        ("system", "be kind"), ("user", "hello"), ("assistant", "hi"), ("user", "and now?"),
    ]  # fmt: skip
    assert expected == spoken(request)


def test_an_empty_system_prompt_is_no_system_message() -> None:
    """It means that the caller wants none."""
    assert spoken({"message": "m", "system_prompt": ""}) == [("user", "m")]


def test_a_trailing_history_entry_that_repeats_the_message_is_sent_once() -> None:
    """Frontends save the message before they ask; an assistant's same words are no repetition."""
    history = [{"sender": "user", "content": "m"}]
    said = [{"sender": "assistant", "content": "m"}]

    assert spoken({"message": "m", "conversation_history": history}) == [("user", "m")]
    assert spoken({"message": "m", "conversation_history": said}) == [
        ("assistant", "m"),
        ("user", "m"),
    ]


def test_a_prompt_is_one_message() -> None:
    """For enhance and generate, also from the old column."""
    assert spoken({"prompt": "p"}, handler="enhance") == [("user", "p")]
    assert spoken(None, handler="generate", original_prompt="o") == [("user", "o")]


def test_chat_defaults() -> None:
    """As `worker-api.md` shows them; enhance is shorter."""
    request = chat({"message": "m", "seed": 1})

    assert (
        request.max_tokens, request.temperature, request.top_p, request.seed,
    ) == (512, 0.7, 0.9, 1)  # fmt: skip
    assert chat({"prompt": "p"}, handler="enhance").max_tokens == 200
    assert request.stop == []
    assert chat({"prompt": "p", "stop": ["\n", "END"]}).stop == ["\n", "END"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({}, "messages is missing: give messages, message or prompt"),
        ({"messages": "x"}, 'messages must be a list of messages, not "x"'),
        ({"messages": [3]}, "messages[0] must be an object, not 3"),
        ({"messages": [{"role": "user"}]}, "messages[0].content is missing"),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            'messages[0].role must be system, user or assistant, not "tool"',
        ),
        (
            {"messages": [{"role": "user", "content": "a\0"}]},
            "messages[0].content holds a NUL character",
        ),
        (
            {"message": "m", "conversation_history": [{"sender": "ai", "content": "x"}]},
            'conversation_history[0].sender must be system, user or assistant, not "ai"',
        ),
        (
            {"message": "m", "conversation_history": [{"content": "x"}]},
            "conversation_history[0].sender is missing",
        ),
        (
            {"message": "m", "messages": [{"role": "user", "content": "x"}]},
            "messages and message were both given: give one of them",
        ),
        (
            {"system_prompt": "s", "messages": [{"role": "user", "content": "x"}]},
            "messages and system_prompt were both given: put the system prompt into messages",
        ),
        ({"message": "m", "top_p": 0}, "top_p must be a number above 0, up to 1, not 0"),
        ({"message": "m", "temperature": 2.1}, "temperature must be a number from 0 to 2, not 2.1"),
        (
            {"message": "m", "max_tokens": 4097},
            "max_tokens must be a whole number from 1 to 4096, not 4097",
        ),
        (
            {"message": "m", "stop": "x"},
            'stop must be a list of at most 4 texts of 1 to 100 characters, not "x"',
        ),
        (
            {"message": "m", "stop": [1, 2, 3, 4, 5]},
            "stop must be a list of at most 4 texts of 1 to 100 characters, not [1, 2, 3, 4, 5]",
        ),
        (
            {"message": "m", "stop": ["a", ""]},
            'stop[1] must be a list of at most 4 texts of 1 to 100 characters, not ""',
        ),
    ],
)
def test_chat_refusals(request_: Any, sentence: str) -> None:
    """One clear sentence each."""
    assert sentence == refusal("chat", request_)


def test_a_system_prompt_that_is_among_the_messages_is_no_contradiction() -> None:
    """Edge functions send both; nothing is lost by using the messages."""
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}]

    assert spoken({"messages": messages, "system_prompt": "s"}) == [("system", "s"), ("user", "x")]


def test_all_messages_together_are_limited() -> None:
    """The sum counts, not each one."""
    messages = [{"role": "user", "content": "x" * 60}] * 2

    assert (
        refusal("chat", {"messages": messages}, limits=Limits(chat_chars=100))
        == "the messages are 120 characters long, and at most 100 are allowed"
    )


def test_image_defaults_by_quality() -> None:
    """High quality takes twice the steps."""
    fast = resolve("image", "any", "sdxl", "fast", {"prompt": "p"}).request
    high = resolve("image", "any", "sdxl", "high", {"prompt": "p"}).request

    assert (fast.width, fast.height, fast.steps, fast.num_images) == (1024, 1024, 20, 1)
    assert high.steps == 40


@pytest.mark.parametrize(
    ("model", "field", "value", "sentence"),
    [
        ("sdxl", "width", 100, "width must be a multiple of 8 from 64 to 2048 for sdxl, not 100"),
        ("sdxl", "height", 56, "height must be a multiple of 8 from 64 to 2048, not 56"),
        ("wan", "width", 72, "width must be a multiple of 16 from 64 to 2048 for wan, not 72"),
        ("sdxl", "width", 1, "width must be a multiple of 8 from 64 to 2048, not 1"),
        ("sdxl", "height", "512", 'height must be a multiple of 8 from 64 to 2048, not "512"'),
        ("sdxl", "num_images", 0, "num_images must be a whole number from 1 to 6, not 0"),
        ("sdxl", "num_images", 7, "num_images must be a whole number from 1 to 6, not 7"),
        ("sdxl", "steps", 10**6, "steps must be a whole number from 1 to 150, not 1000000"),
        (
            "sdxl",
            "guidance_scale",
            1e9,
            "guidance_scale must be a number from 0 to 30, not 1000000000.0",
        ),
        ("sdxl", "guidance_scale", -1, "guidance_scale must be a number from 0 to 30, not -1"),
    ],
)
def test_image_refusals(model: str, field: str, value: Any, sentence: str) -> None:
    """Sizes fit the model's own grid."""
    assert sentence == refusal("image", {"prompt": "p", field: value}, model)


@pytest.mark.parametrize(
    ("duration", "fps", "frames"), [(5, 24, 121), (1, 8, 9), (0.1, 8, 5), (3.3, 10, 33)]
)
def test_a_film_has_four_n_plus_one_frames(duration: Any, fps: Any, frames: Any) -> None:
    """The nearest number that the model can make."""
    request = {"prompt": "p", "duration": duration, "fps": fps}

    assert frames == resolve("video", "any", "video", "fast", request).request.frames


def test_too_long_a_film_is_refused_with_its_frames() -> None:
    """Memory grows with the frames."""
    assert (
        refusal("video", {"prompt": "p", "duration": 60}, "video")
        == "duration 60 s at 24 fps makes 1441 frames, and at most 241 of 512x512 are allowed"
    )


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("fps", 0, "fps must be a whole number from 1 to 60, not 0"),
        ("fps", 23.976, "fps must be a whole number from 1 to 60, not 23.976"),
        (
            "duration",
            10**9,
            "duration must be a number of seconds above 0, up to 60, not 1000000000",
        ),
        ("duration", -1, "duration must be a number of seconds above 0, up to 60, not -1"),
        (
            "duration",
            float("inf"),
            "duration must be a number of seconds above 0, up to 60, not Infinity",
        ),
        ("duration", "5", 'duration must be a number of seconds above 0, up to 60, not "5"'),
    ],
)
def test_film_refusals(field: str, value: Any, sentence: str) -> None:
    """One clear sentence each."""
    assert sentence == refusal("video", {"prompt": "p", field: value}, "video")


def test_too_many_pixels_are_refused() -> None:
    """Two thousand by two thousand in 10 s is more than any device holds."""
    request = {"prompt": "p", "width": 2048, "height": 2048, "duration": 10}

    assert refusal("video", request, "video") == (
        "duration 10 s at 24 fps makes 241 frames, and at most 59 of 2048x2048 are allowed"
    )


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        ({"width": 1280, "height": 720, "steps": 50}, True),
        ({"width": 832, "height": 480, "duration": 10, "steps": 50}, True),
        ({"width": 2048, "height": 1152, "duration": 4, "steps": 150}, False),
    ],
)
def test_nobody_gets_a_whole_day(request_: dict[str, Any], allowed: bool) -> None:
    """Every value is within its bounds; their product is the time."""
    request = {"prompt": "p", **request_}
    if allowed:
        assert resolve("video", "any", "video", "fast", request)
        return

    assert refusal("video", request, "video") == (
        "width 2048, height 1152, frames 97, steps 150 multiply to 34,327,756,800, and at most "
        "6,000,000,000 are allowed: ask for less of one"
    )


def test_every_picture_alone_is_allowed() -> None:
    """The most of everything is less than the bound for films."""
    most = {"width": 2048, "height": 2048, "steps": 150, "num_images": 6}

    assert resolve("image", "any", "sdxl", "fast", {"prompt": "p", **most})
    with pytest.raises(InvalidRequest, match="images 6, steps 150 multiply to"):
        resolve(
            "image", "any", "sdxl", "fast", {"prompt": "p", **most}, limits=Limits(pixel_steps=10)
        )


def test_defaults_fill_what_a_request_leaves_open() -> None:
    """Also where it says null; the worker's own come last."""
    defaults = {"steps": 4, "guidance_scale": 1.5, "width": 512}

    def resolved(request: dict[str, Any]) -> Any:
        return resolve("image", "any", "sdxl", "high", request, defaults=defaults).request

    found = resolved({"prompt": "p", "steps": None, "width": 768})
    assert (found.steps, found.guidance_scale, found.width, found.height) == (4, 1.5, 768, 1024)
    assert resolved({"prompt": "p", "steps": 9}).steps == 9
