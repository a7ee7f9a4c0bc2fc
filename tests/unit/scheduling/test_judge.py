"""The judge: what was no stays no, until it may have become yes."""

import pytest
from virtual_gpu import SDXL, VIDEO, VirtualGpu, request

from daemon.scheduling import judge
from daemon.scheduling.claims import Claim, ClaimBook
from daemon.scheduling.judge import STANDS_S, Judge
from daemon.scheduling.state import State


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Claim]:
    """The claims that were judged; none is worth it."""
    claims: list[Claim] = []

    def is_worth(_state: State, claim: Claim, _rival: object) -> bool:
        claims.append(claim)
        return False

    monkeypatch.setattr(judge, "is_worth", is_worth)
    return claims


def test_a_no_is_asked_for_again_only_when_it_may_have_changed(asked: list[Claim]) -> None:
    """When weights have moved, the lane's own work has grown, or it has stood for long enough."""
    gpu = VirtualGpu([SDXL, VIDEO])
    gpu.submit(request("v", "video", "high"), run_s=1000)
    gpu.advance(20)
    gpu.submit(request("s", "sdxl", at=20))
    state, one = gpu.scheduler.state, Judge(ClaimBook())
    lane = state.lane("sdxl", "fast")
    asked.clear()
    counts = []
    for change in ("none", "shape", "none", "work", "none", "time"):
        if change == "shape":
            state.reshaped(0)
        if change == "work":
            state.submit(request("s2", "sdxl", at=20), 20)
        now = 20 + (STANDS_S if change == "time" else 0)
        assert one.worthwhile(state, lane, {}, now) is None
        counts.append(len(asked))

    assert counts == [1, 2, 2, 3, 3, 4]


def test_a_device_on_which_the_last_run_ends_is_judged_anew() -> None:
    """What was busy spared models that others wait for."""
    gpu = VirtualGpu([SDXL])
    gpu.submit(request("a", "sdxl"), run_s=5)
    gpu.submit(request("b", "sdxl"), run_s=9)
    gpu.advance(11)
    state = gpu.scheduler.state
    before = state.shape
    gpu.advance(16)
    assert state.shape == before
    gpu.advance(20)

    assert state.shape == before + 1
