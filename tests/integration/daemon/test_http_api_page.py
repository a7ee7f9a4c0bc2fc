"""Every command of `docs/http-api.md` is run by a real curl, and answered as the page says."""

import asyncio
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from daemon_process import Daemon
from parts import needs_program
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

PAGE = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()
KEY = "the-key-of-the-page"


class Command(NamedTuple):
    """A command of the page, the status that it names, and the answer that is shown after it."""

    line: str
    status: int
    sample: Any


def commands() -> list[Command]:
    """Return all of them; a sample belongs to the command before it."""
    found = []
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for (kind, text), (next_kind, next_text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sh" and text.startswith("curl"):
            line, _, status = text.strip().rpartition(" # ")
            found.append(
                Command(line, int(status), json.loads(next_text) if next_kind == "json" else None)
            )
    return found


def shape(value: Any) -> Any:
    """Return a JSON value's types: numbers are one, and a list is that of its first item."""
    match value:
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            return [shape(value[0])] if value else []
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return type(value).__name__


def part(answer: Any, sample: Any) -> Any:
    """Return what of an answer the sample shows, so that a difference shows as one."""
    match answer, sample:
        case dict(), dict():
            return {name: part(answer.get(name, ...), sample[name]) for name in sample}
        case list(), [first, *_]:
            return [part(each, first) for each in answer]
        case list(), []:
            return []
        case None, int() | float():
            # A figure that a machine without a GPU can't give.
            return sample
        case _:
            return answer


async def run(line: str, folder: Path, **variables: str) -> tuple[int, str]:
    """Return the status that curl got, and the body."""
    (folder / ".curlrc").write_text('silent\nmax-time = 60\nwrite-out = "\\n%{http_code}"\n')
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    body, _, status = said.decode().rpartition("\n")
    return int(status), body


async def test_every_command_is_answered_as_the_page_says(
    daemon: StartDaemon, direct: Project, tmp_path: Path
) -> None:
    """Each by its status, and by the fields of the answer that is shown after it."""
    needs_program("curl")
    environment = {"WORKER_API_KEY": KEY, "OURVIDZ_SERVER__HOST": "127.0.0.1"}
    async with daemon(direct, **environment) as running:
        assert len(commands()) > 20
        job_id = await direct.insert("sdxl_image_fast")
        await direct.until(job_id, "completed")
        variables = {"WORKER_URL": running.url, "WORKER_API_KEY": KEY, "JOB_ID": str(job_id)}
        for command in commands():
            status, body = await run(command.line, tmp_path, **variables)

            assert status == command.status, (command.line, body)
            if command.sample is not None:
                shown = part(json.loads(body), command.sample)
                assert shape(shown) == shape(command.sample), command.line
