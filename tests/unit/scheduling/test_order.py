"""Who of those that have their model runs first, and who of those that block one another goes."""

import pytest
from virtual_gpu import GIB, SHIPPED, device, request

from daemon.scheduling.commands import Command, StartRun, UnloadModel
from daemon.scheduling.scheduler import Scheduler
from daemon.values import AdmissionRequest, Loaded


def host(**held_gb: float) -> Scheduler:
    """A device of 24 GB with idle models."""
    one = Scheduler(SHIPPED, [device(24)], max_pass_over_s=900)
    one.adopt([(name, 0, Loaded(int(gb * GIB), 0.0)) for name, gb in held_gb.items()], 0)
    return one


def wanted(model: str, **counts: int) -> list[AdmissionRequest]:
    """So many requests of each quality."""
    return [
        request(f"{model}-{quality}-{number}", model, quality)
        for quality, count in counts.items()
        for number in range(count)
    ]


def starts(commands: list[Command]) -> list[str]:
    return [each.request_id for each in commands if isinstance(each, StartRun)]


PAIR = ["sdxl-fast-0", "sdxl-fast-1"]


@pytest.mark.parametrize(
    ("fast", "videos", "first"),
    [(1, 1, ["sdxl-high-0"]), (2, 1, PAIR), (1, 0, ["sdxl-fast-0"]), (2, 0, PAIR)],
)
def test_where_others_wait_for_the_device_full_slots_go_before_empty_ones(
    fast: int, videos: int, first: list[str]
) -> None:
    """One alone of two at once leaves half of the model unused; the other may come meanwhile."""
    one = host(sdxl=6.6)
    pictures = wanted("sdxl", fast=fast, high=1)

    assert starts(one.submit_all([*pictures, *wanted("video", high=videos)], 1)) == first


def test_another_models_half_empty_slots_are_no_reason_to_wait_for_a_long_run() -> None:
    """Of different models the shorter work goes first, whatever it fills."""
    one = host(wan=2.8, video=12)

    begun = starts(one.submit_all([*wanted("video", fast=1), *wanted("wan", fast=1)], 1))

    assert begun == ["wan-fast-0", "video-fast-0"]


@pytest.mark.parametrize(("pictures", "videos", "goes"), [(1, 6, "sdxl"), (4, 1, "video")])
def test_of_two_models_that_block_one_another_the_one_that_is_worth_less_goes(
    pictures: int, videos: int, goes: str
) -> None:
    """Both are there, and neither finds the bytes for a run beside the other's weights."""
    one = host(sdxl=6.6, wan=2.8, video=12)

    commands = one.submit_all([*wanted("sdxl", high=pictures), *wanted("video", high=videos)], 1)

    assert commands == [UnloadModel(goes, 0)]
