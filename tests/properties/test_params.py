"""Requests of any JSON: resolved, or refused in words."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from handlers.params import InvalidRequest, resolve

KINDS = ["chat", "enhance", "generate", "image", "video"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
NAMES = st.sampled_from([
    "prompt", "enhanced_prompt", "negative_prompt", "messages", "message", "system_prompt",
    "conversation_history", "max_tokens", "temperature", "top_p", "stop", "seed", "width", "height",
    "steps", "guidance_scale", "num_images", "duration", "fps", "fake",
])  # fmt: skip


@given(st.sampled_from(KINDS), JSON | st.dictionaries(NAMES, JSON, max_size=6))
def test_any_json_is_resolved_or_refused_in_words(handler: str, request: Any) -> None:
    """No request raises anything else, and every refusal can be written to a row."""
    try:
        resolved = resolve(handler, "any", "wan", "high", request)
    except InvalidRequest as error:
        sentence = str(error)
        assert 0 < len(sentence.encode()) < 400
        assert "\0" not in sentence
    else:
        assert json.dumps(resolved.params, allow_nan=False)
