"""`make demo`: do what a frontend does, and show it.

A user signs in, inserts a handful of jobs with the `supabase` client and the user's own token,
watches the rows change over Realtime, and downloads the results.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from realtime.types import RealtimePostgresChangesListenEvent
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from supabase import AsyncClient, acreate_client

OUTPUT = Path("demo-output")


def _drawn(
    job_type: str, prompt: str, seed: int, side: int = 64, **more: Any
) -> tuple[str, dict[str, Any]]:
    """Return a job for a square picture or film."""
    return job_type, {"prompt": prompt, "width": side, "height": side, "seed": seed, **more}


JOBS: list[tuple[str, dict[str, Any]]] = [
    (
        "chat",
        {
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "max_tokens": 32,
            "temperature": 0,
        },
    ),
    _drawn("sdxl_image_fast", "a red circle on the left, white background", 1, 128),
    _drawn("sdxl_image_high", "a yellow star at the top, blue background", 2, 128),
    _drawn("wan_image_fast", "a green triangle in the middle, black background", 3),
    _drawn(
        "video_fast", "a purple circle moves to the right, yellow background", 4, duration=1, fps=8
    ),
    _drawn("sdxl_image_fast", "a wrong size", 5, 65),
]
"""What is asked for; the last one is wrong on purpose, to show the error."""

FINISHED = ("completed", "failed", "cancelled")

COLUMNS = (
    TextColumn("{task.description:<16}"),
    BarColumn(),
    TextColumn("{task.percentage:>3.0f} %"),
    TextColumn("{task.fields[state]:<32}"),
    TimeElapsedColumn(),
)

console = Console(record=True)


@contextlib.asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Run `ourvidz-worker dev` with its log in `folder`; yield its URLs and keys."""
    log_path = folder / "worker.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "daemon", "--port", "0",
            "dev", "--json", "--stack-port", "0", "--data", str(folder / "stack"),
            stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        if process.stdout is None:
            raise AssertionError("started without a pipe")
        with console.status("starting the local stack and the worker (models come first)"):
            line = await process.stdout.readline()
        if not line:
            console.print(log_path.read_text()[-3000:], markup=False)
            raise SystemExit(f"the worker did not start: exit status {await process.wait()}")
        yield json.loads(line)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        status = await process.wait()
        console.print(f"worker and stack stopped with exit status {status}")


class Display:
    """One progress bar a job."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.changed = asyncio.Event()

    def show(self, row: Mapping[str, Any]) -> None:
        """Take a row as it is now; an older state never replaces a finished one."""
        if "id" not in row:
            return  # an oversize change comes without its row; the next read of the table has it
        job_id = str(row["id"])
        if self.rows.get(job_id, {}).get("status") in FINISHED:
            return
        self.rows[job_id] = {**self.rows.get(job_id, {}), **row}
        if job_id not in self._bars:
            self._bars[job_id] = self._progress.add_task(row["job_type"], total=100, state="")
        state = row["status"]
        if state == "processing":
            state = f"processing: {row.get('current_step') or 'claimed'}"
        elif state == "queued" and (end := row.get("estimated_completion")):
            state = f"queued, done by {datetime.fromisoformat(end).astimezone():%H:%M:%S}"
        self._progress.update(self._bars[job_id], completed=row.get("progress") or 0, state=state)
        if state in FINISHED:
            self._progress.stop_task(self._bars[job_id])
        self.changed.set()

    def finished(self) -> bool:
        """Return whether every job that was shown has ended."""
        return all(row["status"] in FINISHED for row in self.rows.values())


async def watch(client: AsyncClient, display: Display) -> None:
    """Subscribe to the rows' changes; return when the server says that it listens."""
    listening = asyncio.Event()

    def system(payload: Any) -> None:
        if getattr(payload, "status", None) == "ok" or (
            isinstance(payload, dict) and payload.get("status") == "ok"
        ):
            listening.set()

    channel = client.channel("my-jobs")
    channel.on_postgres_changes(
        RealtimePostgresChangesListenEvent.Update,
        schema="public",
        table="jobs",
        callback=lambda change: display.show(change["data"].get("record") or {}),
    )
    channel.on_system(system)
    await channel.subscribe()
    await asyncio.wait_for(listening.wait(), 20)


async def ask(client: AsyncClient, user_id: str, display: Display) -> None:
    """Insert the jobs, and wait until all of them have ended."""
    for job_type, metadata in JOBS:
        row = {"user_id": user_id, "job_type": job_type, "status": "queued", "metadata": metadata}
        await client.table("jobs").insert(row).execute()
    for inserted in await rows_of(client):
        display.show(inserted)
    while not display.finished():
        display.changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(display.changed.wait(), 5)
            continue
        # Events are hints: a frontend, too, reads the table when it has heard nothing.
        for row in await rows_of(client):
            display.show(row)


def save(path: Path, data: bytes) -> None:
    """Write a result file."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def as_svg() -> str:
    """Return what was shown as a picture that asks no other host for fonts."""
    return re.sub(r"@font-face\s*{[^}]*}", "", console.export_svg(title="make demo"))


async def rows_of(client: AsyncClient) -> list[dict[str, Any]]:
    """Read the user's jobs, oldest first."""
    answer = await client.table("jobs").select("*").order("created_at").execute()
    return cast(list[dict[str, Any]], answer.data)


async def collect(client: AsyncClient, display: Display) -> None:
    """Download every file, and print what came of each job."""
    table = Table("job", "status", "what came of it", show_lines=True)
    for row in await rows_of(client):
        outcome = f"{row['error_code']}: {row['error']}" if row["error"] else ""
        result = row["result"] or {}
        for artifact in result.get("artifacts", []):
            data = await client.storage.from_(artifact["bucket"]).download(artifact["path"])
            name = (
                OUTPUT
                / f"{row['job_type']}-{str(row['id'])[:8]}-{Path(artifact['path']).name[-5:]}"
            )
            await asyncio.to_thread(save, name, data)
            outcome += f"{name} ({artifact['content_type']}, {len(data)} bytes)\n"
        if "response" in result:
            question = row["metadata"]["messages"][-1]["content"]
            outcome += f"{question}\n[bold]{result['response']}[/bold]"
        table.add_row(row["job_type"], row["status"], outcome.strip())
        display.show(row)
    console.print(table)


async def demo(picture: Path | None) -> int:
    """Run the whole demonstration; return the exit status. `picture`: where to save it as SVG."""
    with tempfile.TemporaryDirectory(prefix="ourvidz-demo-") as folder:
        async with worker(Path(folder)) as facts:
            console.print(f"local stack  {facts['url']}\nworker       {facts['worker_url']}/health")
            client = await acreate_client(facts["url"], facts["anon_key"])
            session = await client.auth.sign_in_anonymously()
            if session.user is None or session.session is None:
                raise SystemExit("the local stack gave no user")
            await client.realtime.set_auth(session.session.access_token)
            with Progress(*COLUMNS, console=console) as progress:
                display = Display(progress)
                await watch(client, display)
                await ask(client, session.user.id, display)
            await collect(client, display)
            await client.remove_all_channels()
            if picture is not None:
                await asyncio.to_thread(save, picture, as_svg().encode())
    wanted = ["completed"] * (len(JOBS) - 1) + ["failed"]
    return 0 if sorted(row["status"] for row in display.rows.values()) == sorted(wanted) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(demo(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
