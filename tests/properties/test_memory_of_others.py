"""Other programs take and leave memory: work waits for it, moves settle, and then it goes on."""

from typing import NamedTuple

from histories import CLASSES
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_gpu import ALL, VirtualGpu, device, request

from daemon.scheduling.commands import LoadModel
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.values import AdmissionRequest


class Arrival(NamedTuple):
    """A request that comes."""

    at_s: float
    key: tuple[str, str]
    kind: str
    run_s: float

    def request(self, name: str) -> AdmissionRequest:
        """Return it as the scheduler gets it."""
        client, alone = self.kind == "client", self.kind == "alone"
        return request(name, *self.key, at=self.at_s, interactive=client, exclusive=alone)


class Taken(NamedTuple):
    """Others use so much from then on."""

    at_s: float
    gb: int
    on: int


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        st.floats(0, 300),
        st.sampled_from([each for each in CLASSES if each[0] != "noop"]),
        st.sampled_from(["row", "row", "client", "alone"]),
        st.floats(0.5, 20),
    ),
    min_size=1,
    max_size=40,
)
TAKEN = st.lists(
    st.builds(Taken, st.floats(0, 400), st.integers(0, 50), st.integers(0, 1)), max_size=12
)

CALM_S = 50_000.0
"""By then everything has ended that could begin."""


@settings(max_examples=150)
@given(
    arrivals=ARRIVALS,
    taken=TAKEN,
    sizes=st.sampled_from([(24,), (48,), (24, 13), (24, 24)]),
    host_gb=st.sampled_from([0, 64]),
    preload=st.sampled_from([(), ("sdxl", "chat", "wan")]),
)
def test_others_memory_moves_nothing_for_ever(
    arrivals: list[Arrival],
    taken: list[Taken],
    sizes: tuple[int, ...],
    host_gb: int,
    preload: tuple[str, ...],
) -> None:
    """A load serves a run or answers a change; who waits is told for what; all run in the end.

    That nothing is promised of what others use the virtual device counts by itself.
    """
    devices = [device(size, index) for index, size in enumerate(sizes)]
    gpu = VirtualGpu(ALL, devices, host_gb=host_gb)
    gpu.scheduler = Scheduler(
        ALL, devices, max_pass_over_s=60, preload=preload, host_bytes=host_gb * GIB
    )
    gpu.tick()
    for number, each in enumerate(arrivals):
        gpu.submit_at(each.at_s, each.request(f"{number}"), run_s=each.run_s)
    for change in taken:
        gpu.others_use_at(change.at_s, change.gb, min(change.on, len(sizes) - 1))
    gpu.advance(CALM_S)

    loads = sum(isinstance(command, LoadModel) for command in gpu.commands())
    assert loads <= len(gpu.started) + (1 + len(taken)) * len(ALL)
    moved = len(gpu.log)
    gpu.advance(2 * CALM_S)
    assert len(gpu.log) == moved, "it goes on moving what nobody can use"
    for lane in gpu.scheduler.snapshot(gpu.now).lanes:
        assert "other programs (" in lane.why
    for index in range(len(sizes)):
        gpu.others_use(0, index)
    gpu.finish()
    assert set(gpu.started) == set(gpu.submitted)
