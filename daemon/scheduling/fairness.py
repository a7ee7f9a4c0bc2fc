"""Fairness among users: start-time fair queueing by the seconds of a device that each one uses.

A request's tag is its user's place in virtual time: behind what the user has asked for before, but
never before what the queue has come to. Whoever has asked for little is served soon, whatever
others have piled up; who comes back after a pause has saved up nothing.
"""


class FairShares:
    """Tags by user. Seconds of virtual time."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        self._finish_s: dict[str, float] = {}
        self._owed_s: dict[str, float] = {}

    def tag(self, user: str | None, seconds: float) -> float:
        """Return the tag of a request that will take so many seconds of a device.

        Requests without a user aren't anybody's: they are in the order of their age.
        """
        if user is None:
            return self._virtual_s
        start_s = max(self._virtual_s, self._finish_s.get(user, 0.0))
        self._finish_s[user] = start_s + seconds
        return start_s

    def charge(self, user: str | None, seconds: float) -> None:
        """Charge what a user's request has caused beside its run: a load."""
        if user is not None:
            self._finish_s[user] = max(self._virtual_s, self._finish_s.get(user, 0.0)) + seconds
            self.owe(user, seconds)

    def owe(self, user: str | None, seconds: float) -> None:
        """Note seconds that the order of the table, which was made before, knows nothing of."""
        if user is not None and (user in self._owed_s or len(self._owed_s) < _MANY):
            self._owed_s[user] = self._owed_s.get(user, 0.0) + seconds

    def take_owed(self) -> dict[str, float]:
        """Return what users owe the table's order since this was last asked, seconds by user."""
        owed, self._owed_s = self._owed_s, {}
        return owed

    def started(self, tag: float) -> None:
        """Let virtual time come to the tag of a request that starts; forget who is behind it."""
        if tag > self._virtual_s:
            self._virtual_s = tag
            if len(self._finish_s) > _MANY:
                self._finish_s = {u: s for u, s in self._finish_s.items() if s > tag}


_MANY = 1024
"""Users that are remembered before those that have nothing outstanding are forgotten; more than
these are told nothing to owe, if nobody asks."""
