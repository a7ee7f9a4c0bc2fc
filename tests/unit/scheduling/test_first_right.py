"""First right: who is passed over for too long, or has a client waiting, gets the device."""

from virtual_gpu import VirtualGpu, device, model, moves, request, warm


def test_whoever_is_passed_over_for_too_long_gets_the_device() -> None:
    """After the bound the loaded model drains, goes, and the other loads."""
    gpu = warm("video")
    gpu.submit(request("v", "video"), run_s=7)
    gpu.submit(request("s1", "sdxl", "high"), run_s=5)
    for number in range(200):
        gpu.submit(request(f"v{number}", "video"), run_s=7)
    gpu.advance(1100)

    # It loads beside the runs; after the bound the last one ends (1063) and video goes (1064).
    assert gpu.started["s1"] == 1064
    assert moves(gpu)[:2] == ["+sdxl", "-video"]
    assert len([at for name, at in gpu.started.items() if name[0] == "v" and at < 1070]) == 9


def test_one_loaded_model_after_the_other_gets_its_turn() -> None:
    """Two models that exclude one another change places about once a bound, not once a job."""
    gpu = VirtualGpu()
    for number in range(100):
        gpu.submit(request(f"v{number}", "video", at=number), run_s=5)
        gpu.submit(request(f"s{number}", "sdxl", "high", at=number), run_s=5)
    gpu.finish()

    # 1,000 s of work in turns of about 60 s.
    assert len(gpu.ended) == 200
    assert 10 <= len(moves(gpu)) / 2 <= 22


def test_a_quality_that_is_starved_by_another_gets_its_turn() -> None:
    """High needs the model for itself; a stream of fast ones must pause for it."""
    gpu = warm("sdxl")
    for number in range(100):
        gpu.submit_at(1000 + number * 2, request(f"f{number}", "sdxl", at=number), run_s=5)
    gpu.submit_at(1001, request("h", "sdxl", "high"), run_s=5)
    gpu.finish()

    assert 1061 <= gpu.started["h"] <= 1061 + 5


def test_rows_are_not_starved_by_clients() -> None:
    """Batch work gets a slot after the bound although clients never stop."""
    gpu = warm("video")
    gpu.submit(request("client-first", "video", interactive=True))
    gpu.submit(request("row", "video"))
    for number in range(100):
        gpu.submit(request(f"client{number}", "video", interactive=True))
    gpu.finish()

    assert 1060 <= gpu.started["row"] <= 1065


def test_a_client_does_not_wait_for_the_rows_of_another_model() -> None:
    """Batch runs drain at once for an interactive request, not only after the bound."""
    gpu = warm("video")
    for number in range(10):
        gpu.submit(request(f"v{number}", "video"), run_s=20)
    gpu.submit(request("client", "sdxl", "high", interactive=True))
    gpu.advance(1100)

    # Loaded beside the run that ends at 1020; video is gone at 1021.
    assert gpu.started["client"] == 1000 + 20 + 1


def test_models_in_nobodys_way_go_on_while_another_drains() -> None:
    """Chat fits beside the claim and keeps running; sdxl drains."""
    gpu = warm("sdxl", "chat")
    gpu.submit(request("s0", "sdxl"), run_s=100)
    gpu.submit(request("c0", "chat"), run_s=300)
    gpu.submit(request("v", "video", at=1000), run_s=5)
    gpu.advance(1070)
    gpu.submit(request("s1", "sdxl"))
    gpu.submit(request("c1", "chat"))

    assert "c1" in gpu.started
    assert "s1" not in gpu.started
    gpu.finish()
    assert gpu.started["v"] == 1100 + 1


def test_a_claim_keeps_the_bytes_that_it_will_need() -> None:
    """Runs of models that stay may not eat what the claim waits for."""
    big = model("big", 20, 2, 8, fast=(20, 9))  # 2 GB per run
    other = model("other", 10, 2, 1, fast=(10, 1))  # needs 8 GB for its run
    gpu = VirtualGpu([big, other], [device(21)])
    gpu.submit(request("o0", "other"), run_s=1)
    gpu.advance(20)
    for number in range(300):
        gpu.submit(request(f"b{number}", "big"), run_s=4 + number % 3)
    gpu.advance(40)
    gpu.submit(request("o1", "other", at=40), run_s=1)
    gpu.advance(130)

    assert 100 <= gpu.started["o1"] <= 107
    assert moves(gpu) == ["+other", "+big"]


def test_a_queue_for_busy_slots_keeps_nobody_else_off_the_device() -> None:
    """The next video run takes the bytes of the one before; chat beside it goes on."""
    gpu = warm("chat", "video")
    for number in range(3):
        gpu.submit(request(f"v{number}", "video", interactive=True), run_s=50)
    gpu.submit(request("c", "chat"))

    assert gpu.started["c"] == 1000
