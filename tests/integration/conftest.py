"""Engines and small real models for the integration tests."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sdxl_file import tiny_pipeline
from untaught import untaught_wan

from daemon.engines.limits import EngineLimits
from daemon.engines.process import EngineProcess
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
    missing = pytest.fail if os.environ.get("CI") else pytest.skip
    if find_spec("torch") is None:
        missing("the model libraries aren't installed")
    try:
        gguf_file()
    except MissingWheelError as error:
        missing(str(error))
    return prepare(cache_folder(), lambda line: print(line, file=sys.stderr))  # noqa: T201 -- it takes a while


@pytest.fixture(scope="session")
def plain_sdxl(demo_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SDXL that has learned nothing, of a fixed layout, whatever the demo's is."""
    folder = tmp_path_factory.mktemp("plain-sdxl")
    tiny_pipeline(demo_models["sdxl"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plain_wan(demo_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan that has learned nothing, of a fixed layout."""
    folder = tmp_path_factory.mktemp("plain-wan")
    untaught_wan(demo_models["wan"]).save_pretrained(folder)
    return folder


class _Engines:
    """Makes engines that aren't started yet, and ends them all."""

    def __init__(self) -> None:
        self._made: list[EngineProcess] = []

    def make(
        self,
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
        engine = EngineProcess(description, environment, log, limits or EngineLimits(240, 60))
        self._made.append(engine)
        return engine

    async def stop(self) -> None:
        await asyncio.gather(*(engine.stop() for engine in self._made))


@pytest.fixture
async def new_engine() -> AsyncIterator[NewEngine]:
    """Makes engines for one test."""
    engines = _Engines()
    yield engines.make
    await engines.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_new_engine() -> AsyncIterator[NewEngine]:
    """Makes engines for all tests of a module, which then share one loop."""
    engines = _Engines()
    yield engines.make
    await engines.stop()


@pytest.fixture
async def start_engine(new_engine: NewEngine) -> StartEngine:
    """Makes engines and loads their models."""

    async def start(*args: Any, **kwargs: Any) -> EngineProcess:
        engine = new_engine(*args, **kwargs)
        await engine.load()
        return engine

    return start
