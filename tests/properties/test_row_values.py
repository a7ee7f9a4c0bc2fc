"""Whatever a request or a result holds, the functions of the database get it and give it back."""

import json
import math
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from daemon.jobs import Completed, ErrorCode, Finish, Released, Retry
from daemon.store import rows

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_LIKE)
def test_whatever_is_cleaned_can_be_stored(value: Any) -> None:
    """Valid JSON in valid UTF-8 without NUL; what was fit for it is as it was."""
    cleaned = rows.clean(value)
    text = json.dumps(cleaned, allow_nan=False, ensure_ascii=False)

    assert "\\u0000" not in json.dumps(cleaned).replace("\\\\", "")
    assert json.loads(text.encode()) == cleaned
    assert rows.clean(cleaned) == cleaned


class Opaque:
    """What no JSON writer knows."""

    def __str__(self) -> str:
        return "opaque"


RESULTS = st.dictionaries(st.text(), JSON_LIKE | st.builds(Opaque) | st.sets(st.integers()))


@given(RESULTS, st.dictionaries(st.text(), st.floats()), st.text())
def test_quick_text_says_what_the_careful_entries_say(
    result: dict[str, Any], timings: dict[str, float], error: str
) -> None:
    """Whatever a batch holds, both stores send the same to the database."""
    finishes = [
        Finish(UUID(int=1), Completed(result), timings),
        Finish(UUID(int=2), Retry(error, ErrorCode.NETWORK_ERROR, math.inf)),
        Finish(UUID(int=3), Released(error)),
    ]

    text = rows.finish_text(finishes)

    assert "\\u0000" not in text.replace("\\\\", "")
    assert json.loads(text.encode()) == json.loads(json.dumps(rows.finish_entries(finishes)))


@given(JSON_LIKE)
def test_request_is_read_as_it_was_written(value: Any) -> None:
    """Both readers say the same of whatever the database may hold."""
    text = json.dumps(rows.clean(value))

    assert rows._request_of(text) == json.loads(text)
