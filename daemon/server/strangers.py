"""Addresses that show wrong keys must wait, longer with each further one. Pure.

    wrong keys      0 … 10        then 1, 2, 4 … 300 s without a look at what is shown
    quiet           15 minutes    all is forgotten
    a right key     at any time   the address never waits: one wrong client behind a gateway must
                                  not lock out the others behind it

Both tables are bounded; the address that was seen longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

FREE = 10
"""Wrong keys that cost nothing: somebody has set a wrong variable."""

LONGEST_S = 300.0
FORGET_S = 900.0
MOST = 10_000
"""Addresses that are remembered, in each table."""

_IPV6_PREFIX = 64
"""One customer has as many IPv6 addresses as he likes, within such a network."""


class Strangers:
    """Counts wrong keys by address. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._right: OrderedDict[str, None] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return how many seconds the address must wait before its keys are looked at; 0: none."""
        source = _source(address)
        if source in self._right or source not in self._wrong:
            return 0.0
        count, last = self._wrong[source]
        return max(0.0, last + _pause(count) - self._clock())

    def wrong(self, address: str) -> None:
        """Note that the address has shown a wrong key."""
        now, source = self._clock(), _source(address)
        count, last = self._wrong.pop(source, (0, now))
        if now - last > FORGET_S:
            count = 0
        self._wrong[source] = (count + 1, now)
        if len(self._wrong) > self._most:
            self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """Note that the address has shown a right key."""
        source = _source(address)
        self._wrong.pop(source, None)
        self._right[source] = None
        self._right.move_to_end(source)
        if len(self._right) > self._most:
            self._right.popitem(last=False)

    def __len__(self) -> int:
        return len(self._wrong) + len(self._right)


def _pause(count: int) -> float:
    if count <= FREE:
        return 0.0
    # The bound on the exponent keeps a patient guesser from overflowing a float.
    return min(LONGEST_S, 2.0 ** min(count - FREE - 1, 20))


def _source(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed.packed, _IPV6_PREFIX), strict=False))
    return address
