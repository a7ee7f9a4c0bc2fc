"""Charges: told with the next call, kept while the database is away, and only for rows' users."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from daemon.charging import MOST_USERS, Charging
from daemon.values import StoreRejectedError, StoreUnavailableError

ALICE, BOB = UUID(int=0xA), UUID(int=0xB)


@dataclass
class Table:
    """What a database was told; `errors` are raised first."""

    errors: list[Exception] = field(default_factory=list)
    told: list[dict[UUID, float]] = field(default_factory=list)

    async def charge(self, seconds: Mapping[UUID, float]) -> None:
        """Take charges."""
        self.told.append(dict(seconds))
        if self.errors:
            raise self.errors.pop(0)


def charging(table: Table, *charges: Mapping[str, float]) -> Charging:
    """Return one that takes these charges, one set a time, and then none."""
    left = list(charges)
    return Charging(lambda: left.pop(0) if left else {}, table.charge)


async def test_charges_are_told_once_and_nothing_is_told_of_nothing() -> None:
    """No call a look, only one for each that has something to tell."""
    table = Table()
    one = charging(table, {}, {str(ALICE): 8.0, str(BOB): 2.0})
    for _ in range(4):
        await one.tell()

    assert table.told == [{ALICE: 8.0, BOB: 2.0}]


async def test_charges_of_an_outage_are_told_after_it() -> None:
    """Added up by user."""
    table = Table(errors=[StoreUnavailableError("away"), StoreUnavailableError("away")])
    one = charging(table, {str(ALICE): 8.0}, {str(ALICE): 1.0}, {str(BOB): 2.0})
    for _ in range(4):
        await one.tell()

    assert table.told[1:] == [{ALICE: 9.0}, {ALICE: 9.0, BOB: 2.0}]


async def test_refused_charges_are_let_go() -> None:
    """They cost a place in the queue at most: no reason to ask for ever."""
    table = Table(errors=[StoreRejectedError("no such function")])
    one = charging(table, {str(ALICE): 8.0}, {str(BOB): 1.0})
    for _ in range(3):
        await one.tell()

    assert table.told == [{ALICE: 8.0}, {BOB: 1.0}]


async def test_callers_over_http_have_no_place_in_the_table() -> None:
    """Their names are anything; the table knows users by UUID."""
    table = Table()
    await charging(table, {"edge-function": 8.0, "": 1.0, str(BOB): 2.0}).tell()

    assert table.told == [{BOB: 2.0}]


async def test_an_outage_keeps_a_bounded_number_of_users() -> None:
    """Those who came first."""
    table = Table(errors=[StoreUnavailableError("away")])
    many = {str(UUID(int=number)): 1.0 for number in range(MOST_USERS + 5)}
    await charging(table, many).tell()

    assert len(table.told[0]) == MOST_USERS
