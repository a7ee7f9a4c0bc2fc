"""Stores that are watched: each call is told once, with what it took and how it ended."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripted import MemoryArtifacts, ScriptedStore, a_job

from daemon.jobs import ErrorCode, JobError
from daemon.observed import ObservedStore
from daemon.observed_artifacts import ObservedArtifacts
from daemon.telemetry.metrics import Metrics
from daemon.values import ArtifactFile, StoreRejectedError, StoreUnavailableError, SweepResult

FILE = ArtifactFile("image", "image/png", "png", b"picture")


@dataclass
class Ticks:
    """A clock that goes on by a second whenever it is looked at."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@dataclass
class Seen:
    """What became of calls."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, *call: Any) -> None:
        self.calls.append(call)

    def called(self, call: str, seconds: float, *, ok: bool) -> None:
        self.calls.append((call, seconds, ok))

    def saved(self, kind: str, n_bytes: int) -> None:
        self.calls.append((kind, n_bytes))


async def test_a_call_of_the_database_is_told_with_its_end() -> None:
    """Answered, refused, or without an answer; and the last of them is the database's health."""
    seen, store = Seen(), ScriptedStore()
    store.sweeps = [
        SweepResult(0, 0, None),
        StoreUnavailableError("away"),
        StoreRejectedError("no"),
    ]
    watched = ObservedStore(store, seen, clock=Ticks())

    await watched.sweep(None)  # type: ignore[arg-type]  # the script doesn't look
    assert not watched.health.failing
    for error in (StoreUnavailableError, StoreRejectedError):
        with pytest.raises(error):
            await watched.sweep(None)  # type: ignore[arg-type]

    assert seen.calls == [
        ("sweep", 1.0, None),
        ("sweep", 1.0, "unavailable"),
        ("sweep", 1.0, "rejected"),
    ]
    assert watched.health.failing
    assert (watched.health.calls, watched.health.errors) == (3, 2)
    assert watched.health.last_error == "no"


async def broken_off(call: Callable[[], Any]) -> None:
    waiting = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_call_that_is_broken_off_says_nothing() -> None:
    """Whoever called had no more patience: neither an answer nor a failure."""

    class Silent(ScriptedStore, MemoryArtifacts):
        async def check_schema(self) -> None:
            await asyncio.Event().wait()

        async def remove(self, _: Any) -> None:
            await asyncio.Event().wait()

    seen = Seen()
    store, artifacts = ObservedStore(Silent(), seen), ObservedArtifacts(Silent(), seen)

    await broken_off(store.check_schema)
    await broken_off(lambda: artifacts.remove([]))

    assert seen.calls == []
    assert store.health.last_ok is None
    assert not store.health.failing


async def test_a_call_of_the_artifact_store_is_told_with_its_end() -> None:
    """What was stored is told too, and nothing where it wasn't."""
    seen, files = Seen(), MemoryArtifacts()
    watched = ObservedArtifacts(files, seen, clock=Ticks())

    artifact = await watched.save(a_job(), 0, FILE)
    await watched.remove([artifact])
    assert await watched.check() == []
    files.failing = JobError(ErrorCode.NETWORK_ERROR, "away")
    with pytest.raises(JobError):
        await watched.save(a_job(), 0, FILE)

    assert files.files == {}
    assert seen.calls == [
        ("save", 1.0, True),
        ("image", len(FILE.data)),
        ("remove", 1.0, True),
        ("check", 1.0, True),
        ("save", 1.0, False),
    ]


async def test_calls_reach_the_metrics() -> None:
    """As a latency by call and outcome, and as bytes by kind of file."""
    metrics, files = Metrics(), MemoryArtifacts()
    watched = ObservedArtifacts(files, metrics.artifacts, clock=Ticks())

    await watched.save(a_job(), 0, FILE)

    sample = metrics.registry.get_sample_value
    saved = {"call": "save", "outcome": "ok"}
    assert sample("ourvidz_artifact_call_seconds_sum", saved) == 1.0
    assert sample("ourvidz_artifact_call_seconds_count", {**saved, "outcome": "failed"}) == 0
    assert sample("ourvidz_artifact_saved_bytes_total", {"kind": "image"}) == len(FILE.data)
