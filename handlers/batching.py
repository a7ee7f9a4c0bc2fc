"""Runs that compute the same shape at the same time share the denoiser's calls.

Each run keeps its own thread, pipeline, scheduler, seed, steps and end; only where it calls the
denoiser is its call put together with those of its mates, row by row, and the answer is cut up
again. A timestep belongs to a row: mates need not be at the same step, nor have equally many. So a
run joins at its next step and leaves at any, cancelled or done, and none waits for another's end.

Sums over a batch are rounded otherwise than those of one picture: what is drawn is the same to the
eye and not to the byte. Whether sharing is faster at all is found out for each shape (`worth`).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from handlers.calls import Call, cut, joined
from handlers.worth import Worth

_PATIENCE = 2.0
"""A mate is waited for so many times as long as the denoiser's longest call."""

_LEAST_WAIT_S = 0.05
"""What a mate may need between two calls: its scheduler's step, its report."""


_KINDS = 256
"""Of so many shapes it is remembered whether sharing is worth it: requests name sizes freely."""


@dataclass(eq=False, slots=True)
class Member:
    """One run in its steps.

    Attributes:
        key: the kind of its last call; None before the first.
        shared: whether any of its calls was computed with others'.
    """

    key: object = None
    shared: bool = False


@dataclass(eq=False, slots=True)
class _Waiting:
    call: Call
    member: Member
    taken: bool = False
    """Somebody computes it."""
    done: bool = False


class Batching:
    """The denoisers of one model, for all runs at once.

    Args:
        most: how many calls are computed together at most; with 1 none ever are.
        settle: waits until the device has computed what it was given, for honest timings.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        most: int,
        settle: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._settle = settle
        self._clock = clock
        self._changed = threading.Condition()
        self._members: set[Member] = set()
        self._waiting: dict[object, list[_Waiting]] = {}
        self._worth: dict[object, Worth] = {}
        self._computing = 0
        self._begun = 0
        """Counts computations, so that one can see whether another began during it."""

    @contextmanager
    def member(self) -> Iterator[Member]:
        """Take part for one run's steps."""
        member = Member()
        with self._changed:
            self._members.add(member)
        try:
            yield member
        finally:
            with self._changed:
                self._members.discard(member)
                self._changed.notify_all()

    def denoiser(self, module: Any, member: Member) -> Any:
        """Return what a run's pipeline calls in place of the module."""
        return module if self._most == 1 else _Shared(module, self, member)

    def compute(self, call: Call, member: Member) -> Any:
        """Compute a call, with its mates' where that is faster."""
        if call.key is None:
            return call.compute()
        with self._changed:
            member.key = call.key
            worth = self._worth_of(call.key)
            wanted = self._wanted(call.key, worth)
        if wanted:
            waiting = _Waiting(call, member)
            if batch := self._gathered(waiting, worth):
                self._compute_together(batch, worth)
            if call.answer is not None:
                return call.answer
        # Alone, or the batch failed: whoever is to blame hears of it in his own thread.
        return self._timed(worth, 1, call.compute)

    def _worth_of(self, key: object) -> Worth:
        if key not in self._worth and len(self._worth) >= _KINDS:
            del self._worth[next(iter(self._worth))]
        return self._worth.setdefault(key, Worth())

    def _gathered(self, own: _Waiting, worth: Worth) -> list[_Waiting]:
        """Wait for the mates; return the batch if this thread is to compute it, else nothing."""
        key = own.call.key
        with self._changed:
            waiting = self._waiting.setdefault(key, [])
            waiting.append(own)
            self._changed.notify_all()
            patience_s = _LEAST_WAIT_S + _PATIENCE * worth.expected_s()
            self._changed.wait_for(
                lambda: own.taken or self._complete(key) or not self._wanted(key, worth), patience_s
            )
            if own.taken:
                self._changed.wait_for(lambda: own.done)
                return []
            first = [each for each in waiting if each is not own][: self._most - 1]
            batch = [*first, own]
            for each in batch:
                waiting.remove(each)
                each.taken = True
            if not waiting:
                del self._waiting[key]
            self._changed.notify_all()
            return batch

    def _complete(self, key: object) -> bool:
        """Whether nobody is to come any more whose call could be shared."""
        return len(self._waiting.get(key, ())) >= min(self._mates(key), self._most)

    def _wanted(self, key: object, worth: Worth) -> bool:
        """Whether those who compute this kind now shall do it together."""
        return worth.wants(min(self._mates(key), self._most))

    def _mates(self, key: object) -> int:
        return sum(member.key == key for member in self._members)

    def _compute_together(self, batch: list[_Waiting], worth: Worth) -> None:
        calls = [each.call for each in batch]
        try:
            if worth.open(1):
                # One after the other, while nothing else is computed: to have what to compare with.
                for call in calls:
                    call.answer = self._timed(worth, 1, call.compute)
            elif worth.wants(len(batch)):
                answer = self._timed(worth, len(batch), lambda: joined(calls))
                for each, part in zip(batch, cut(answer, calls), strict=True):
                    each.call.answer = part
                    each.member.shared = True
        except Exception:  # noqa: BLE001 -- each tries again by itself, and meets its own error
            worth.refuse(len(batch))
        finally:
            with self._changed:
                for each in batch:
                    each.done = True
                self._changed.notify_all()

    def _timed(self, worth: Worth, number: int, compute: Callable[[], Any]) -> Any:
        """Compute; if it is news, note how long it took while nothing else was computed."""
        with self._changed:
            self._computing += 1
            self._begun += 1
            alone, begun = self._computing == 1, self._begun
        began_s = self._clock()
        try:
            answer = compute()
            if worth.open(number):
                self._settle()
        finally:
            with self._changed:
                self._computing -= 1
                alone = alone and begun == self._begun
        if alone:
            with self._changed:
                worth.note(number, self._clock() - began_s)
                # It may be known now that those who wait for others needn't.
                self._changed.notify_all()
        return answer


class _Shared:
    """A denoiser to its pipeline: everything but the call is the module's own."""

    def __init__(self, module: Any, batching: Batching, member: Member) -> None:
        self._module = module
        self._batching = batching
        self._member = member

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._batching.compute(Call(self._module, args, kwargs), self._member)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
