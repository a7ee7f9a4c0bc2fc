"""Claims keep to their devices: whatever loads meanwhile, nobody's model comes and goes for it."""

from virtual_gpu import ALL, GIB, device, request

from daemon.jobs import ErrorCode
from daemon.scheduling.claims import ClaimBook
from daemon.scheduling.commands import LoadModel, OffloadModel, StartRun
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded, Offloaded


def scheduler() -> Scheduler:
    """Two devices on which engines have just died: their bytes come back later."""
    one = Scheduler(ALL, [device(22, 0), device(24, 1)], max_pass_over_s=60, host_bytes=64 * GIB)
    held = {("video", 0): 19.2, ("wan", 1): 2.8, ("sdxl", 1): 6.6}
    one.adopt([(*place, Loaded(int(gb * GIB), 0.0)) for place, gb in held.items()], 0)
    for place in held:
        one.engine_lost(*place, 0)
    return one


def test_two_claims_do_not_change_places_for_ever() -> None:
    """Both wait for bytes that are coming; a third model loads beside one of them, and works."""
    one = scheduler()
    one.submit(request("w", "wan", "high", interactive=True, at=1), 0)
    one.submit(request("v", "video", "high", interactive=True, at=2), 0)
    commands = one.submit(request("c", "chat", at=3), 0)

    loads = 0
    while commands and not any(isinstance(each, StartRun) for each in commands):
        told, commands = commands, []
        for each in told:
            match each:
                case LoadModel(model, index):
                    loads += 1
                    weights = Loaded(one.state.estimates.weights(model), 0.0, offloads=True)
                    commands += one.load_done(model, index, weights, 0)
                case OffloadModel(model, index):
                    moved = Offloaded(0, one.state.host.held_by(model, index), 0.0)
                    commands += one.offload_done(model, index, moved, 0)
        assert loads < 5, "it goes on moving what nobody can use"

    assert loads >= 1


def test_a_model_that_was_put_away_unserved_serves_after_its_next_load() -> None:
    """Once it may make way for work that is worth more; a second time it was loaded in vain."""
    one = Scheduler(ALL, [device(24)], max_pass_over_s=60, host_bytes=64 * GIB)
    held = {"video": 12, "sdxl": 6.6}
    sizes = {name: Loaded(int(gb * GIB), 0.0, offloads=True) for name, gb in held.items()}
    one.adopt([(name, 0, size) for name, size in sizes.items()], 0)
    few = [request(f"s{n}", "sdxl", at=n, priority=-100) for n in range(3)]
    worthy = [request(f"v{n}", "video", "high", at=n, priority=100) for n in range(3)]

    assert one.submit_all([*few, *worthy], 0) == [OffloadModel("sdxl", 0)]
    for each in worthy:
        one.withdraw(each.id, 0)
    moved = Offloaded(int(0.4 * GIB), int(6.6 * GIB), 0.0)
    assert one.offload_done("sdxl", 0, moved, 0) == [LoadModel("sdxl", 0)]
    assert one.submit_all(worthy, 0) == []

    assert StartRun("s0", "sdxl", 0) in one.load_done("sdxl", 0, sizes["sdxl"], 0)


def test_nobody_makes_room_for_a_copy_whose_loads_have_just_failed() -> None:
    """What would be put away for it would be gone for nothing."""
    one = Scheduler(ALL, [device(24, 0), device(24, 1)], max_pass_over_s=60)
    one.adopt([("sdxl", 0, Loaded(int(6.6 * GIB), 0.0)), ("video", 1, Loaded(12 * GIB, 0.0))], 0)
    state, book = one.state, ClaimBook()
    lane = state.lane("sdxl", "high")
    claim = book.best(state, lane, (), 1, copy=True)
    assert claim is not None
    assert claim.placement.device == 1

    state.back_offs["sdxl"].failed(ErrorCode.MODEL_LOAD_FAILED, "no such file", 1)

    assert book.best(state, lane, (), 1, copy=True) is None
