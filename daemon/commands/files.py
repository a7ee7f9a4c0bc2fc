"""Result files: fetched by the address in the row, which needs no key, into a folder."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from daemon.commands.running import UserError

_TIMEOUT_S = 60.0


async def download(artifacts: list[Mapping[str, Any]], folder: Path, job_id: object) -> list[Path]:
    """Fetch the files into the folder, each named by its job, kind and number; return the paths.

    Raises:
        UserError: one can't be fetched or written; what was fetched before stays.
    """
    saved = []
    for number, artifact in enumerate(artifacts):
        kind = PurePosixPath(str(artifact.get("kind", "file"))).name
        ending = PurePosixPath(str(artifact["path"])).suffix
        target = folder / f"{job_id}-{number}-{kind}{ending}"
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            await _fetch(str(artifact.get("url") or ""), target)
        except OSError as error:
            raise UserError(f"{target} can't be written: {error.strerror}") from error
        saved.append(target)
    return saved


async def _fetch(url: str, target: Path) -> None:
    import httpx

    parts = urlsplit(url)
    if parts.scheme == "file":
        await asyncio.to_thread(shutil.copyfile, unquote(parts.path), target)
        return
    if parts.scheme not in {"http", "https"}:
        raise UserError(f"the row has no address for {target.name}")
    unfinished = target.with_suffix(f"{target.suffix}.part")
    try:
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=True) as client,
            client.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            with unfinished.open("wb") as out:
                async for piece in answer.aiter_bytes():
                    out.write(piece)
        unfinished.replace(target)
    except httpx.HTTPStatusError as error:
        # The address of a file in a private bucket holds its key.
        raise UserError(f"{target.name}: Storage answered {error.response.status_code}") from None
    except httpx.HTTPError as error:
        raise UserError(f"{target.name} can't be fetched: {type(error).__name__}") from None
    finally:
        unfinished.unlink(missing_ok=True)
