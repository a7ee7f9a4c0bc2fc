"""Who waits for a model hears when it begins to load."""

import asyncio

from admission_host import Host, host, settled
from virtual_gpu import CHAT, VIDEO, request


async def asked(gpu: Host, name: str, model: str, heard: list[str]) -> None:
    async with gpu.admissions.admit(request(name, model), lambda: heard.append(name)) as engine:
        await engine.run(name, "handler", {}, lambda step: None)


async def test_those_who_wait_hear_that_their_model_loads() -> None:
    """Also who comes while it does; who finds it there hears nothing."""
    heard: list[str] = []
    async with host(CHAT) as gpu:
        first = asyncio.create_task(asked(gpu, "first", "chat", heard))
        await settled()
        second = asyncio.create_task(asked(gpu, "second", "chat", heard))
        await settled()
        assert set(heard) == {"first", "second"}
        engine = await gpu.loaded()
        heard.clear()
        engine.may_end.set()
        await asyncio.gather(first, second)

        await asked(gpu, "third", "chat", heard)

        assert heard == []


async def test_those_who_wait_for_another_model_hear_nothing() -> None:
    """They wait for room, not for a load."""
    heard: list[str] = []
    async with host(CHAT, VIDEO) as gpu:
        runs = [asyncio.create_task(asked(gpu, "film", "video", heard))]
        await settled()
        film = await gpu.loaded()
        heard.clear()
        runs += [asyncio.create_task(asked(gpu, name, "video", heard)) for name in ("next", "last")]
        await settled()
        runs.append(asyncio.create_task(asked(gpu, "talk", "chat", heard)))
        await settled()
        [loading] = [engine for engine in gpu.engines if engine is not film]

        assert set(heard) == {"talk"}
        film.may_end.set()
        loading.may_load.set()
        loading.may_end.set()
        await asyncio.gather(*runs)
