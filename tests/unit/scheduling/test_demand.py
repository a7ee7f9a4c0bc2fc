"""Demand: how many jobs are asked for, and how a job is seen that waits for a busy class."""

from virtual_gpu import CHAT, NOOP, SDXL, VIDEO, WAN, VirtualGpu, device, request

from daemon.scheduling.models import ModelSpec, QualitySpec


def counts(gpu: VirtualGpu) -> dict[str, int]:
    return {"+".join(each.job_types): each.count for each in gpu.scheduler.demand(gpu.now)}


def test_at_start_one_job_of_each_model_is_asked_for() -> None:
    """Nothing is loaded: what is claimed first decides what loads."""
    assert counts(VirtualGpu()) == {
        "sdxl_fast+sdxl_high": 1,
        "wan_fast+wan_high": 1,
        "video_fast+video_high": 1,
        "chat_fast": 1,
        "noop_fast": 1,
    }


def test_a_model_that_loads_has_its_slots() -> None:
    """While it loads, its first jobs are claimed already, less those that wait."""
    gpu = VirtualGpu([WAN, CHAT])
    gpu.submit(request("a", "wan"))

    assert counts(gpu) == {"wan_fast": 3, "wan_high": 2, "chat_fast": 1}


def test_runs_and_waiting_requests_use_slots_up() -> None:
    """No more is asked for than can start; clients count too."""
    gpu = VirtualGpu([CHAT])
    gpu.submit(request("a", "chat"))
    gpu.advance(10)
    for number in range(4):
        gpu.submit(request(f"{number}", "chat", interactive=number % 2 == 0), run_s=100)
    assert counts(gpu) == {"chat_fast": 3}
    for number in range(4, 9):
        gpu.submit(request(f"{number}", "chat"), run_s=100)

    assert counts(gpu) == {}


def test_a_class_that_others_leave_no_slot_is_still_looked_for() -> None:
    """Fast runs fill the model; without one waiting high job the policy would never know."""
    gpu = VirtualGpu([SDXL])
    for number in range(2):
        gpu.submit(request(f"{number}", "sdxl"), run_s=100)
    gpu.advance(20)
    assert counts(gpu) == {"sdxl_high": 1}
    gpu.submit(request("h", "sdxl", "high"))

    assert counts(gpu) == {}


def test_another_model_is_looked_for_once() -> None:
    """One job that waits is enough to know that there is work."""
    gpu = VirtualGpu([VIDEO, SDXL])
    gpu.submit(request("v", "video"), run_s=100)
    gpu.advance(20)
    assert counts(gpu) == {"video_high": 1, "sdxl_fast+sdxl_high": 1}
    gpu.submit(request("s", "sdxl", "high"))

    # The model loads beside the run; video drains for it.
    assert counts(gpu) == {"video_fast+video_high": 1, "sdxl_fast": 1}


def test_a_model_that_drains_for_another_asks_for_nothing_but_a_look_ahead() -> None:
    """Its free slots aren't its own any more."""
    gpu = VirtualGpu([SDXL, VIDEO])
    gpu.submit(request("s", "sdxl"), run_s=200)
    gpu.advance(20)
    assert counts(gpu)["sdxl_fast"] == 1
    gpu.submit(request("v", "video", "high"))

    assert counts(gpu) == {"sdxl_fast+sdxl_high": 1, "video_fast": 1}


def test_clients_that_wait_for_the_model_leave_nothing_to_rows() -> None:
    """The next slots are theirs; one row is looked for."""
    gpu = VirtualGpu([VIDEO])
    for number in range(3):
        gpu.submit(request(f"{number}", "video", interactive=True), run_s=100)
    gpu.advance(20)

    assert counts(gpu) == {}


def test_a_draining_scheduler_asks_for_nothing() -> None:
    """What was submitted goes on."""
    gpu = VirtualGpu()
    gpu.submit(request("a", "chat"))
    gpu.scheduler.drain()
    gpu.finish()

    assert counts(gpu) == {}
    assert list(gpu.ended) == ["a"]
    gpu.scheduler.resume()
    assert counts(gpu)["chat_fast"] == 8


def test_classes_without_job_types_or_without_room_are_not_asked_for() -> None:
    """A quality that only clients use, and one that no device can hold."""
    quiet = ModelSpec("quiet", 0, 0, 4, {"fast": QualitySpec("fast", 0, 4)})
    gpu = VirtualGpu([quiet, VIDEO], [device(18)])

    assert counts(gpu) == {"video_fast": 1}


def test_two_devices_offer_twice_the_slots() -> None:
    """Every copy counts."""
    gpu = VirtualGpu([NOOP], [device(24), device(24, 1)])
    for number in range(513):
        gpu.submit(request(f"{number}", "noop"), run_s=1000)
    gpu.advance(30)
    for number in range(10):
        gpu.scheduler.run_ended(f"{number}", 30)

    assert counts(gpu) == {"noop_fast": 9}
