"""Engines and small real models for the integration tests."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daemon.engines.process import EngineLimits, EngineProcess
from daemon.engines.surroundings import engine_environment
from devstack.models.cache import cache_folder
from devstack.models.prepare import prepare
from devstack.models.smollm2 import MissingWheelError, gguf_file
from handlers.base import ModelSpec

NewEngine = Callable[..., EngineProcess]
StartEngine = Callable[..., Awaitable[EngineProcess]]


@pytest.fixture(scope="session")
def demo_models() -> dict[str, Path]:
    """Folders of small real models by name; made once per machine."""
    pytest.importorskip("torch", reason="the model libraries aren't installed")
    try:
        gguf_file()
    except MissingWheelError as error:
        pytest.skip(str(error))
    return prepare(cache_folder(), lambda line: print(line, file=sys.stderr))  # noqa: T201 -- it takes a while


async def _engines() -> AsyncIterator[NewEngine]:
    """Make engines that aren't started yet; each is gone when the scope ends."""
    made: list[EngineProcess] = []

    def make(
        model: str = "chat",
        path: str = "",
        runner: str = "fake",
        limits: EngineLimits | None = None,
        log: Callable[[str], None] = lambda line: None,
        **spec: Any,
    ) -> EngineProcess:
        environment = engine_environment(os.environ, omp_threads=2)
        description = ModelSpec(
            model, spec.pop("name", f"small {model}"), path, runner, **{"device": "cpu", **spec}
        )
        made.append(EngineProcess(description, environment, log, limits or EngineLimits(120, 30)))
        return made[-1]

    yield make
    await asyncio.gather(*(engine.stop() for engine in made))


new_engine = pytest_asyncio.fixture(_engines, name="new_engine")
"""Makes engines for one test."""

module_new_engine = pytest_asyncio.fixture(
    _engines, name="module_new_engine", scope="module", loop_scope="module"
)
"""Makes engines for all tests of a module, which share one loop."""


@pytest.fixture
async def start_engine(new_engine: NewEngine) -> StartEngine:
    """Makes engines and loads their models."""

    async def start(*args: Any, **kwargs: Any) -> EngineProcess:
        engine = new_engine(*args, **kwargs)
        await engine.load()
        return engine

    return start
