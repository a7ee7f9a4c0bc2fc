"""What goes into the functions and comes out, for values that the databases never show."""

import json
import math
from typing import Any
from uuid import UUID

import pytest
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


def test_values_that_aren_t_json_become_text() -> None:
    """A path or an id in a result costs its type, not the job."""
    assert rows.clean({"id": rows.LeaseState.HELD, "at": ValueError("x"), 1: {2}}) == {
        "id": "held",
        "at": "x",
        "1": [2],
    }


@pytest.mark.parametrize(
    ("sqlstate", "unavailable"),
    [
        ("08006", True),
        ("57P01", True),
        ("53300", True),
        ("40001", True),
        ("40P01", True),
        ("57014", True),
        ("P0001", False),
        ("42501", False),
        ("23514", False),
        ("28P01", False),
        ("", False),
    ],
)
def test_sqlstates_are_outages_or_refusals(sqlstate: str, unavailable: bool) -> None:
    """Each that may cure itself is an outage; the rest needs somebody."""
    assert rows.is_unavailable(sqlstate) is unavailable


def test_missing_function_of_somebody_else_isn_t_our_schema() -> None:
    """Their broken trigger doesn't send an operator to the migrations."""
    assert rows.is_unmigrated("42883", "function public.claim_jobs(text) does not exist")
    assert rows.is_unmigrated("PGRST202", "Could not find the function public.claim_jobs")
    assert not rows.is_unmigrated("42883", "function notify_slack(uuid) does not exist")


def test_long_numbers_of_strangers_are_read() -> None:
    """Python refuses integers above 4,300 digits; a request with one is still a request."""
    request = rows._request_of('{"seed": ' + "9" * 5000 + ', "steps": 12}')

    assert request == {"seed": math.inf, "steps": 12}


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
