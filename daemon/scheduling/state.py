"""All that the scheduler knows, changed only through here.

A policy reads it and asks as often as it likes; only the scheduler calls what changes it, and only
`moves` what moves weights. Each change is checked by the ledgers and by the residency table, so
that no policy can break them.
"""

import copy
from collections.abc import Mapping

from daemon.scheduling.facts import Facts, Run
from daemon.scheduling.lanes import Lane, Waiting
from daemon.scheduling.residency import PRESENT, Placement, Residency
from daemon.values import AdmissionRequest

__all__ = ["Run", "State"]


class State(Facts):
    """The facts and their changes."""

    def copy(self) -> "State":
        """Return the same state, for a look ahead; expectations are fixed."""
        shared: tuple[object, ...] = tuple(self.models.values())
        shared += tuple(
            quality for each in self.models.values() for quality in each.qualities.values()
        )
        shared += tuple(ledger.device for ledger in self.ledgers.values())
        memo: dict[int, object] = {id(each): each for each in shared}
        memo[id(self.durations)] = self.durations.fixed()
        memo[id(self.estimates)] = self.estimates.fixed()
        return copy.deepcopy(self, memo)

    def changed(self, device: int) -> None:
        """Note that a device isn't as it was."""
        self.changes += 1
        self.versions[device] += 1

    def reshaped(self, device: int) -> None:
        """Note that more of a device has changed than that a run began or ended."""
        self.changed(device)
        here = self.placements_on[device]
        self.warm_on[device] = [each for each in here if each.residency is not Residency.COLD]
        for name, places in self.placements_of.items():
            self.present_of[name] = [each for each in places if each.residency in PRESENT]
        self.shapes[device] += 1
        self.shape += 1

    def _work_changed(self, lane: Lane) -> None:
        """Note that a class has got work, or has none any more: every device may be affected."""
        for device in self.versions:
            self.changed(device)
        if not lane.backlog and self.present(lane.model.name):
            self.shape += 1

    def count_unclaimed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Take how many jobs of each class, (model, quality), the table holds unclaimed."""
        self.changes += 1
        for (model, quality, interactive, exclusive), lane in self._lanes.items():
            if exclusive or interactive:
                continue  # the table's jobs are neither
            had_work = lane.backlog > 0
            lane.unclaimed = counts.get((model, quality), 0)
            if had_work != (lane.backlog > 0):
                self._work_changed(lane)

    def submit(self, request: AdmissionRequest, now: float) -> None:
        """Let a request wait in its lane; raises KeyError for a class that isn't served."""
        key = request.model, request.quality, request.interactive, request.exclusive
        lane = self._lanes.get(key)
        if lane is None:
            model = self.models[request.model]
            lane = self._add_lane(
                model,
                model.qualities[request.quality],
                interactive=request.interactive,
                exclusive=True,
            )
        share_s = self.durations.run_s(lane.key) / lane.quality.concurrency
        tag = self.shares.tag(request.user, share_s) if self._fair else 0.0
        had_work = lane.backlog > 0
        self.waiting[request.id] = lane.add(request, now, tag)
        lane.unclaimed = max(0, lane.unclaimed - 1)
        self.changes += 1
        if not had_work:
            self._work_changed(lane)
        self.waiting_of[request.model] += 1
        self.arrivals[request.model].arrived(now)

    def leave(self, request_id: str) -> Waiting:
        """Take a waiting request out, for whatever reason; raises KeyError if it doesn't wait."""
        waiting = self.waiting.pop(request_id)
        waiting.lane.remove(waiting)
        self.waiting_of[waiting.request.model] -= 1
        self.changes += 1
        if not waiting.lane.backlog:
            self._work_changed(waiting.lane)
        return waiting

    def start(self, request_id: str, device: int, now: float) -> Run:
        """Turn a waiting request into a run with a reservation."""
        lane, request = self.waiting[request_id].lane, self.waiting[request_id].request
        model = request.model
        placement, ledger = self.placements[model, device], self.ledgers[device]
        # Whoever has the device for himself holds all that the model's budget allows.
        promised = (
            max(0, ledger.room_of(model)) if lane.exclusive else self.estimates.reservation(request)
        )
        if not self._may_enter(placement, lane):
            raise AssertionError(f"{request_id} can't start: no slot of {model} on {device}")
        waiting = self.leave(request_id)
        ledger.reserve(request_id, model, promised)
        self.changed(device)
        self.shares.started(waiting.tag)
        run = Run(
            request, lane, placement, placement.load_number, now, promised, waiting.waits(now)
        )
        self._enter(placement, run, now)
        lane.run_started()
        self.runs[request_id] = run
        if lane.exclusive:
            self.exclusive[device] = request_id
            self.reshaped(device)
        return run

    def _enter(self, placement: Placement, run: Run, now: float) -> None:
        """Count a run in its engine, and note who overlaps whom."""
        reserved = self.ledgers[placement.device].reserved_by(placement.model.name)
        if placement.runs:
            run.shared = True
            for other in placement.ends_s:
                self.runs[other].shared = True
            placement.most_reserved = max(placement.most_reserved, reserved)
        else:
            placement.most_reserved = reserved
        placement.runs += 1
        placement.served += 1
        quality = run.lane.quality.name
        placement.runs_by_quality[quality] = placement.runs_by_quality.get(quality, 0) + 1
        placement.ends_s[run.request.id] = now + self.durations.run_s(run.lane.key)

    def expect_end(self, request_id: str, at_s: float) -> None:
        """Take when a run is expected to end, by its own pace."""
        run = self.runs.get(request_id)
        if run is not None and request_id in run.placement.ends_s:
            run.placement.ends_s[request_id] = at_s

    def end(self, request_id: str, now: float) -> Run:
        """Forget a run; raises KeyError if there is none.

        1. Its engine lives: the reservation is free.
        2. Its engine is being reaped: the bytes are free only when that is done.
        3. Its engine is gone: the bytes were freed then.
        """
        run = self.runs.pop(request_id)
        run.lane.run_ended(now)
        placement = run.placement
        self.changed(placement.device)
        if self.exclusive.get(placement.device) == request_id:
            del self.exclusive[placement.device]
            self.reshaped(placement.device)
        if placement.load_number != run.load_number:
            return run  # 3, and a successor was loaded
        if placement.residency is Residency.RESIDENT:  # 1
            self.ledgers[placement.device].release(request_id, placement.model.name)
        if placement.residency in {Residency.RESIDENT, Residency.EVICTING}:  # 1, 2
            placement.runs -= 1
            del placement.ends_s[request_id]
            placement.runs_by_quality[run.lane.quality.name] -= 1
            placement.idle_since_s = now
            if not placement.runs:
                placement.unweighed, placement.weighing = 0, False
            if not any(each.runs for each in self.warm_on[placement.device]):
                self.shape += 1
        return run
