"""What holds whatever happens: histories of random events, and waits that have a bound."""

import pickle
import random

import pytest
from histories import CLASSES, Histories
from history_world import BOUND_S
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from virtual_gpu import ALL, VIDEO, VirtualGpu, device, model, request

from daemon.scheduling.forecast import forecast_of
from daemon.values import AdmissionRequest

HISTORIES = settings(
    max_examples=2000,
    # The same ones each time; benchmarks/histories.py looks for others.
    derandomize=True,
    stateful_step_count=40,
    deadline=None,
    # Shrinking takes minutes; the failing steps are shown as they are, with their commands.
    phases=[Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
Histories.TestCase.settings = HISTORIES
TestHistories = Histories.TestCase


class Foretold(Histories):
    """Histories in which somebody asks when everything will end."""

    @rule()
    def foretell(self) -> None:
        """The look ahead changes nothing, and whatever runs has an end."""
        scheduler, now = self.world.scheduler, self.world.now
        before = pickle.dumps(scheduler)
        forecast = forecast_of(scheduler, now)

        assert pickle.dumps(scheduler) == before
        assert set(scheduler.state.runs) <= set(forecast.ends_s)
        assert all(end_s > now for end_s in forecast.ends_s.values())
        assert all(start_s >= now for start_s in forecast.starts_s.values())


Foretold.TestCase.settings = settings(HISTORIES, max_examples=150)
TestForetold = Foretold.TestCase


Arrival = tuple[float, tuple[str, str], str, float]
ARRIVALS = st.lists(
    st.tuples(
        st.floats(0, 300),
        st.sampled_from([each for each in CLASSES if each[0] != "noop"]),
        st.sampled_from(["row", "row", "client", "alone"]),
        st.floats(0.5, 20),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(ARRIVALS, st.sampled_from([(24,), (21,), (24, 13)]), st.sampled_from([0, 64]))
def test_nobody_is_passed_over_for_ever(
    arrivals: list[Arrival], sizes: tuple[int, ...], host_gb: int
) -> None:
    """Each lane gets a run within the bound, and the turns of those that were overdue before it.

    A turn is a drain (at most one run), an unload and a load.
    """
    devices = [device(size, index) for index, size in enumerate(sizes)]
    gpu = VirtualGpu(ALL, devices, host_gb=host_gb)
    for number, (at, pick, kind, run_s) in enumerate(arrivals):
        each = request(
            f"{number}", *pick, at=at, interactive=kind == "client", exclusive=kind == "alone"
        )
        gpu.submit_at(at, each, run_s=run_s)
    gpu.finish()

    assert set(gpu.started) == set(gpu.submitted)
    turn_s = 20 + gpu.unload_s + gpu.load_s
    lanes = {_lane_of(each) for each in gpu.submitted.values()}
    longest = max(_passed_over(gpu, lane) for lane in lanes)
    assert longest <= BOUND_S + len(lanes) * turn_s


LaneKey = tuple[str, str, bool, bool]


def _lane_of(each: AdmissionRequest) -> LaneKey:
    return each.model, each.quality, each.interactive, each.exclusive


def _passed_over(gpu: VirtualGpu, lane: LaneKey) -> float:
    """Return the longest time in which somebody of the lane waited and nobody of it ran."""
    names = [name for name, each in gpu.submitted.items() if _lane_of(each) == lane]
    changes = [(gpu.submitted[name].created_s, 1, 0) for name in names]
    changes += [(gpu.started[name], -1, 1) for name in names]
    changes += [(gpu.ended[name], 0, -1) for name in names]
    longest, since, waiting, running = 0.0, None, 0, 0
    for at, more_waiting, more_running in sorted(changes, key=lambda change: change[0]):
        if since is not None:
            longest = max(longest, at - since)
        waiting, running = waiting + more_waiting, running + more_running
        passed_over = waiting > 0 and running == 0
        since = (since if since is not None else at) if passed_over else None
    return longest


@pytest.mark.parametrize("seed", range(3))
def test_two_exclusive_models_keep_the_bound_sharply(seed: int) -> None:
    """With one rival the longest wait is the bound, one drain, one unload and one load."""
    choose = random.Random(seed)
    other = model("other", 20, 12, 2, fast=(20, 2))
    gpu = VirtualGpu([VIDEO, other], [device(24)])
    for number in range(300):
        name = choose.choice(["video", "other"])
        at = choose.uniform(0, 600)
        each = request(f"{number}", name, at=at)
        gpu.submit_at(at, each, run_s=choose.uniform(1, 15))
    gpu.finish()

    for name in ("video", "other"):
        assert _passed_over(gpu, (name, "fast", False, False)) <= BOUND_S + 15 + 1 + 10
