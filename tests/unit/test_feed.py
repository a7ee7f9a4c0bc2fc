"""What jobs show while they run: who gets which of it, and how often."""

import pytest
from feed_bench import FeedBench, shown

from daemon import transcript as transcript_module
from daemon.jobs import Cancelled, Completed
from daemon.journal import MAX_PREVIEW


@pytest.fixture
def bench() -> FeedBench:
    return FeedBench()


def test_a_reader_from_the_beginning_gets_everything_as_it_comes(bench: FeedBench) -> None:
    """Numbers count up from 1, and the end is the last."""
    run = bench.begin()
    follower = bench.follow(run)

    taken = shown(follower.take())
    bench.step(run, "Hel", current_step="generating_text", fraction=0.5)
    taken += shown(follower.take())
    bench.step(run, "lo", b"jpeg")
    taken += shown(follower.take())
    bench.end(run, Completed({"response": "Hello"}))
    taken += shown(follower.take())

    assert taken == [
        (1, "step", "waiting_for_gpu"),
        (2, "text", "Hel"),
        (3, "step", "generating_text"),
        (4, "text", "lo"),
        (5, "preview", b"jpeg"),
        (6, "step", "s"),
        (7, "end", "completed"),
    ]
    assert follower.over
    assert follower.take() == []


def test_a_step_says_what_the_row_says(bench: FeedBench) -> None:
    """Percent and expected end are the row's own."""
    run = bench.begin()
    run.ends_at = bench.time + 60
    bench.step(run, current_step="generating_image", fraction=0.255)

    [event] = bench.follow(run).take()

    assert event.data == {
        "current_step": "generating_image",
        "progress": 25,
        "step": 1,
        "steps": 8,
        "estimated_completion": event.data["estimated_completion"],
    }
    assert event.data["estimated_completion"].endswith("+00:00")


@pytest.mark.parametrize("seen", range(8))
def test_who_comes_back_gets_what_is_newer_and_no_text_twice(bench: FeedBench, seen: int) -> None:
    """Wherever the connection broke, the text of both halves is the answer."""
    run = bench.begin()
    first, taken = bench.follow(run), []
    for word in ("a", "b", "c"):
        bench.step(run, word)
        taken += first.take()
    bench.end(run, Completed({}))
    taken += first.take()
    had = [event for event in taken if event.number <= seen]

    rest = bench.follow(run, seen).take()

    texts = [event.data["text"] for event in had + rest if event.kind == "text"]
    assert "".join(texts) == "abc"
    assert [event.number for event in rest] == sorted({event.number for event in rest})
    assert all(event.number > seen for event in rest)
    assert rest[-1].kind == "end"


def test_a_slow_reader_gets_the_latest_step_and_preview_and_all_text(bench: FeedBench) -> None:
    """What came meanwhile is one event of each kind, beside a reader who took each."""
    run = bench.begin()
    slow, fast, heard = bench.follow(run), bench.follow(run), ""
    for number in range(100):
        bench.step(run, f"{number},", bytes([number]), current_step=f"step {number}")
        heard += "".join(event.data.get("text", "") for event in fast.take())

    taken = shown(slow.take())

    whole = "".join(f"{number}," for number in range(100))
    assert taken == [(299, "text", whole), (300, "preview", b"c"), (301, "step", "step 99")]
    assert heard == whole


def test_text_that_nobody_has_seen_is_kept_as_one_piece(bench: FeedBench) -> None:
    """Without readers a long answer is one event, however many pieces it came in."""
    run = bench.begin()
    for _ in range(5000):
        bench.step(run, "x")

    texts = [event for event in bench.follow(run).take() if event.kind == "text"]

    assert [(event.number, event.data["offset"]) for event in texts] == [(10000, 0)]
    assert len(texts[0].data["text"]) == 5000


def test_text_that_is_lost_leaves_a_gap(bench: FeedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for who hasn't had it: he is told where the text goes on."""
    monkeypatch.setattr(transcript_module, "MAX_TEXT", 4)
    run = bench.begin()
    quick, slow = bench.follow(run), bench.follow(run)
    heard = ""
    for word in ("a", "b", "c", "d", "e", "f"):
        bench.step(run, word)
        heard += "".join(event.data.get("text", "") for event in quick.take())

    taken = slow.take()
    assert heard == "abcdef"
    assert [event.kind for event in taken] == ["gap", "text", "step"]
    assert taken[0].data == {"kind": "text", "offset": taken[1].data["offset"]}
    assert taken[1].data["text"] == heard[taken[1].data["offset"] :]
    assert [event.number for event in taken] == sorted(event.number for event in taken)
    assert slow.take() == []


def test_a_restart_drops_text_and_preview(bench: FeedBench) -> None:
    """A run that begins anew after it ran out of memory says its text from the beginning."""
    run = bench.begin()
    before = bench.follow(run)
    bench.step(run, "wrong", b"old")
    before.take()
    bench.step(run, current_step="waiting_for_gpu")
    bench.step(run, "right")

    assert [entry[1:] for entry in shown(before.take())] == [
        ("restarted", "again"),
        ("text", "right"),
        ("step", "s"),
    ]
    late = bench.follow(run).take()
    assert "wrong" not in str(late)
    assert [event.data["offset"] for event in late if event.kind == "text"] == [0]


def test_a_preview_that_is_too_large_is_not_shown(bench: FeedBench) -> None:
    """The one before stays."""
    run = bench.begin()
    bench.step(run, preview=b"small")
    bench.step(run, preview=bytes(MAX_PREVIEW + 1))

    assert (2, "preview", b"small") in shown(bench.follow(run).take())


async def test_readers_are_woken_and_leave_nothing_behind(bench: FeedBench) -> None:
    """Each event wakes who waits; who has left isn't called."""
    run = bench.begin()
    with bench.follow(run) as follower, bench.follow(run):
        follower.take()
        assert not follower.changed.is_set()
        bench.step(run)
        await follower.changed.wait()
        follower.take()
        bench.end(run, Cancelled())
        await follower.changed.wait()

    assert bench.feed._journals[run.job.id].wakes == ()
