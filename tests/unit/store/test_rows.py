"""What goes into the functions and comes out, for values that the databases never show."""

import math

import pytest

from daemon.store import rows


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
